// The manager's page: asks for /api/overview once a second and shows it. All
// names come from outside, so they are put in as text, never as markup.
"use strict";

const every = 1000; // ms between two questions
const patience = 5000; // ms until a question is given up
const history = 120; // points of a curve: two minutes
const smooth = 3000; // ms over which a rate is taken
const fewTopics = 20; // rows at first
const mostTopics = 500; // as many as the manager gives

const $ = (id) => document.getElementById(id);
const samples = []; // {t: ms of the manager's clock, counters, drops, evictions}
const curves = { publishes: [], deliveries: [] };
let managerID = "";
let limit = fewTopics;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

function count(n) {
  return n < 100000 ? whole.format(n) : short.format(n);
}

function rate(n) {
  if (n > 0 && n < 10) return n.toFixed(1);
  return count(n);
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i === 0 || n >= 100 ? n.toFixed(0) : n.toFixed(1)) + " " + units[i];
}

function span(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s / 60) % 60 + " min";
  return Math.floor(s / 86400) + " d " + Math.floor(s / 3600) % 24 + " h";
}

function plural(n, one, many) {
  return count(n) + " " + (n === 1 ? one : many || one + "s");
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function sum(of) {
  return Object.values(of).reduce((a, b) => a + b, 0);
}

// rows keeps one child of parent per item, in order, made once and filled each time.
function rows(parent, items, make, fill) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, i) => {
    let row = parent.children[i];
    if (!row) {
      row = make();
      parent.append(row);
    }
    fill(row, item);
  });
}

// perSecond is how fast a total has grown lately; null until there are two of it.
function perSecond(total) {
  const last = samples[samples.length - 1];
  const first = samples.find((s) => s.t >= last.t - smooth) || last;
  if (first === last) return null;
  return (total(last) - total(first)) / ((last.t - first.t) / 1000);
}

function figure(id, value, unit) {
  $(id).replaceChildren(document.createTextNode(value === null ? "–" : rate(value)), element("small", "", unit));
}

function draw(id, points) {
  const svg = $(id + "-spark");
  const top = Math.max(...points, 1e-9);
  const at = points.map((v, i) => [history - points.length + i, 29 - 27 * v / top]);
  const line = at.map(([x, y]) => x + " " + y.toFixed(2)).join("L");
  while (svg.children.length < 2) svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  const [under, over] = svg.children;
  under.setAttribute("class", "under");
  const drawn = points.length > 1 && sum(points) > 0;
  under.setAttribute("d", drawn ? "M" + at[0][0] + " 30L" + line + "L" + at[at.length - 1][0] + " 30Z" : "");
  over.setAttribute("d", drawn ? "M" + line : "");
}

function showTiles(o) {
  const live = o.gateways.filter((g) => g.state === "live").length;
  const away = o.gateways.length - live;
  $("gateways").textContent = count(live);
  $("gateways-note").textContent = away ? plural(away, "is away", "are away") : live ? "all linked" : "";
  $("topics").textContent = count(o.totals.topics);
  $("topics-note").textContent = plural(o.totals.subscribers, "subscriber");

  const publishes = perSecond((s) => sum(s.counters.publishes));
  const deliveries = perSecond((s) => s.counters.deliveries);
  const queued = perSecond((s) => s.counters.queued);
  const bandwidth = perSecond((s) => s.counters.link_bytes);
  figure("publishes", publishes, "a second");
  figure("deliveries", deliveries, "a second");
  $("publishes-note").textContent = queued === null ? "" : rate(queued) + "/s to gateways, " + bytes(bandwidth) + "/s";
  $("deliveries-note").textContent = publishes > 0 ? rate(deliveries / publishes) + " per message" : count(o.counters.deliveries) + " since the start";
  if (publishes !== null) {
    for (const [id, v] of [["publishes", publishes], ["deliveries", deliveries]]) {
      curves[id].push(v);
      if (curves[id].length > history) curves[id].shift();
      draw(id, curves[id]);
    }
  }
}

function showTopics(o) {
  const most = o.topics.length ? o.topics[0].subscribers : 1;
  rows($("topic-rows"), o.topics, () => {
    const row = element("tr");
    const name = element("td");
    name.append(element("span", "share"), element("span", "name"));
    row.append(name, element("td", "n"), element("td", "n"));
    return row;
  }, (row, t) => {
    const [name, gateways, subscribers] = row.children;
    name.children[0].style.width = 100 * t.subscribers / most + "%";
    name.children[1].textContent = t.topic;
    name.children[1].title = t.topic;
    gateways.textContent = count(t.gateways);
    subscribers.textContent = whole.format(t.subscribers);
  });
  const filter = $("filter").value;
  $("topics-panel").querySelector("table").hidden = !o.topics.length;
  $("topics-empty").hidden = o.topics.length > 0;
  $("topics-empty").textContent = filter ? "No topic contains “" + filter + "”." : "No topic has a subscriber yet.";
  const rest = o.topics_matched - o.topics.length;
  $("topics-more").hidden = rest <= 0;
  $("topics-rest").textContent = plural(rest, "more topic") + (filter ? " with this filter" : "");
  $("more").hidden = limit >= mostTopics;
}

function showGateways(o) {
  rows($("gateway-rows"), o.gateways, () => {
    const row = element("li");
    const who = element("div", "who");
    who.append(element("span", "id"), element("span", "state"));
    const queue = element("div", "queue");
    queue.append(element("i"));
    row.append(who, queue, element("div", "detail"));
    return row;
  }, (row, g) => {
    const [who, queue, detail] = row.children;
    row.className = g.state;
    who.children[0].textContent = g.id;
    who.children[0].title = g.id + (g.remote === g.id ? "" : ", from " + g.remote);
    who.children[1].textContent = (g.state === "live" ? "linked" : "away") + " " + span(g.state_ms);
    queue.children[0].style.width = 100 * Math.min(1, g.queue_fill) + "%";
    queue.title = "link queue: " + (100 * g.queue_fill).toFixed(1) + " % full";
    const parts = [plural(g.subscribers, "subscriber"), plural(g.topics, "topic")];
    if (g.queued_messages) parts.push(count(g.queued_messages) + " waiting (" + bytes(g.queued_bytes) + ")");
    else if (g.state === "live") parts.push("queue empty");
    if (g.dropped) parts.push(count(g.dropped) + " dropped");
    if (g.legacy) parts.push("no hello");
    if (g.version && g.version !== o.manager.version) parts.push(g.version);
    detail.textContent = parts.join(" · ");
  });
  $("gateways-empty").hidden = o.gateways.length > 0;
}

const losses = [
  { kind: "dropped", of: "drops" },
  { kind: "evicted", of: "evictions" },
];

function showLosses(o) {
  const list = [];
  for (const { kind, of } of losses) {
    for (const reason of Object.keys(o[of]).sort()) {
      if (o[of][reason] > 0) list.push({ kind, reason, n: o[of][reason], now: perSecond((s) => s[of][reason]) });
    }
  }
  if (o.counters.missed > 0) list.push({ kind: "never arrived", reason: "missed", n: o.counters.missed, now: perSecond((s) => s.counters.missed) });
  const cells = list.flatMap((l) => [
    { tag: "DT", text: l.reason.replaceAll("_", " "), kind: l.kind },
    { tag: "DD", text: count(l.n) },
    { tag: "DD", text: l.now > 0 ? rate(l.now) + "/s" : "", className: l.now > 0 ? "rate now" : "rate" },
  ]);
  $("loss-rows").replaceChildren(...cells.map((c) => {
    const e = element(c.tag, c.className, c.text);
    if (c.kind) e.append(element("span", "", c.kind));
    return e;
  }));
  $("losses-empty").hidden = list.length > 0;
}

function status(state, text) {
  const s = $("status");
  if (s.dataset.state !== state) s.dataset.state = state;
  if (s.textContent !== text) s.textContent = text;
  document.body.classList.toggle("stale", state === "lost");
}

function show(o) {
  if (o.manager.id !== managerID) { // another life of the manager: its counters began anew
    managerID = o.manager.id;
    samples.length = 0;
  }
  samples.push({ t: o.manager.uptime_ms, counters: o.counters, drops: o.drops, evictions: o.evictions });
  while (samples[0].t < o.manager.uptime_ms - 4 * smooth) samples.shift();
  $("about").textContent = o.manager.version + ", up " + span(o.manager.uptime_ms);
  status(o.manager.draining ? "draining" : "live", o.manager.draining ? "stopping" : "live");
  showTiles(o);
  showTopics(o);
  showGateways(o);
  showLosses(o);
}

let asked = 0; // numbers the questions, so that a late answer to an older filter is not shown
let timer;

async function ask() {
  clearTimeout(timer);
  const mine = ++asked;
  try {
    const res = await fetch("/api/overview?limit=" + limit + "&q=" + encodeURIComponent($("filter").value), {
      headers: { Accept: "application/json" }, signal: AbortSignal.timeout(patience),
    });
    if (!res.ok) throw new Error("HTTP " + res.status);
    const o = await res.json();
    if (mine === asked) show(o);
  } catch (err) {
    if (mine === asked) status("lost", "no answer from the manager");
  }
  if (mine === asked && !document.hidden) timer = setTimeout(ask, every);
}

$("filter").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(ask, 150);
});
$("more").addEventListener("click", () => {
  limit = Math.min(mostTopics, limit < 100 ? 100 : mostTopics);
  ask();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
ask();
