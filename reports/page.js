// The page is whole without this script: it adds a cursor that the charts over time
// share, tables that sort by a click on their head, and a button that copies them.
"use strict";
(function () {
  function all(node, selector) { return Array.prototype.slice.call(node.querySelectorAll(selector)); }
  function number(text) {
    var m = /^-?[\d,]*\.?\d+(e[+-]?\d+)?/.exec(text.trim());
    return m ? parseFloat(m[0].replace(/,/g, "")) : NaN;
  }

  // A cursor stands at one place in all charts of its group, and each tells its row.
  var figures = all(document, "figure[data-cursor]").map(function (node) {
    var table = node.querySelector("table");
    var rows = table ? all(table, "tbody tr") : [];
    var tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    node.querySelector(".drawing").appendChild(tip);
    return {
      node: node, tip: tip, group: node.dataset.cursor, log: !!node.dataset.log,
      x0: +node.dataset.x0, x1: +node.dataset.x1,
      head: table ? all(table, "th").map(function (h) { return h.textContent; }) : [],
      rows: rows.map(function (row) {
        var cells = all(row, "td").map(function (c) { return c.textContent.trim(); });
        return { x: row.dataset.x ? +row.dataset.x : number(cells[0]), cells: cells };
      }).filter(function (r) { return !isNaN(r.x); }),
      lines: all(node, ".drawing > svg").map(function (svg) {
        var line = document.createElementNS(svg.namespaceURI, "path");
        line.setAttribute("class", "cursor");
        svg.appendChild(line);
        return { svg: svg, line: line };
      })
    };
  });
  function share(f, x) {
    return f.log ? Math.log(x / f.x0) / Math.log(f.x1 / f.x0) : (x - f.x0) / (f.x1 - f.x0);
  }
  function nearest(f, x) {
    var best = null, least = Infinity;
    f.rows.forEach(function (r) {
      var d = Math.abs(f.log ? Math.log(r.x / x) : r.x - x);
      if (d < least) { least = d; best = r; }
    });
    return best;
  }
  function show(f, x, asked) {
    var row = nearest(f, x);
    if (!row) { return; }
    f.lines.forEach(function (l) {
      var d = l.svg.dataset, at = share(f, asked ? row.x : x);
      var px = +d.left + at * (d.right - d.left);
      if (at < 0 || at > 1) { l.line.setAttribute("d", ""); return; }
      l.line.setAttribute("d", "M" + px + " " + d.top + "V" + d.bottom);
      var box = l.svg.getBoundingClientRect();
      if (!asked || !box.width) { return; }
      var scale = box.width / l.svg.viewBox.baseVal.width;
      f.tip.textContent = "";
      row.cells.forEach(function (cell, i) {
        if (!cell) { return; }
        var name = document.createElement("span"), value = document.createElement("b");
        name.textContent = f.head[i];
        value.textContent = cell;
        f.tip.appendChild(name);
        f.tip.appendChild(value);
      });
      f.tip.hidden = false;
      var left = px * scale + 14;
      if (left + f.tip.offsetWidth > box.width) { left = px * scale - 14 - f.tip.offsetWidth; }
      f.tip.style.left = Math.max(left, 0) + "px";
      f.tip.style.top = +d.top * scale + "px";
    });
    if (!asked) { f.tip.hidden = true; }
  }
  function hide(f) {
    f.tip.hidden = true;
    f.lines.forEach(function (l) { l.line.setAttribute("d", ""); });
  }
  figures.forEach(function (f) {
    f.lines.forEach(function (l) {
      l.svg.addEventListener("pointermove", function (e) {
        var box = l.svg.getBoundingClientRect(), d = l.svg.dataset;
        var at = ((e.clientX - box.left) * l.svg.viewBox.baseVal.width / box.width - d.left) / (d.right - d.left);
        if (at < 0 || at > 1) { figures.forEach(hide); return; }
        var x = f.log ? f.x0 * Math.pow(f.x1 / f.x0, at) : f.x0 + at * (f.x1 - f.x0);
        figures.forEach(function (other) {
          if (other === f) { show(other, x, true); } else if (other.group === f.group) { show(other, x, false); }
        });
      });
      l.svg.addEventListener("pointerleave", function () { figures.forEach(hide); });
    });
  });

  // A click on a head sorts by that column, a second one the other way round.
  all(document, "table").forEach(function (table) {
    var body = table.tBodies[0];
    all(table, "th").forEach(function (head, column) {
      head.tabIndex = 0;
      function sort() {
        var up = head.getAttribute("aria-sort") !== "ascending";
        all(table, "th").forEach(function (h) { h.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        all(body, "tr").map(function (row) {
          var text = row.cells[column] ? row.cells[column].textContent.trim() : "";
          return { row: row, text: text, value: number(text) };
        }).sort(function (a, b) {
          var na = isNaN(a.value), nb = isNaN(b.value);
          var order = na && nb ? a.text.localeCompare(b.text) : na ? 1 : nb ? -1 : a.value - b.value;
          return up || na !== nb ? order : -order;
        }).forEach(function (r) { body.appendChild(r.row); });
      }
      head.addEventListener("click", sort);
      head.addEventListener("keydown", function (e) { if (e.key === "Enter") { sort(); } });
    });
  });

  // Copying goes by way of the selection, which a page opened from a file may use.
  all(document, "figure details").forEach(function (d) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", function () {
      var range = document.createRange(), selection = window.getSelection();
      range.selectNode(d.querySelector("table"));
      selection.removeAllRanges();
      selection.addRange(range);
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    });
    d.insertBefore(button, d.children[1]);
  });
})();
