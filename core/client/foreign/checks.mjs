// The checks that any standard WebSocket client must pass: they use nothing but the interface of
// browsers (https://websockets.spec.whatwg.org), which Node's ws has too. The caller gives
//
//   WebSocket  the class to connect with
//   url        the gateway's endpoint
//   publish    async (topic, bytes) => publishes from outside, over gRPC
//
// and gets a list of { name, error } where error is empty when the check has passed.

const patience = 20000;

/** Connection collects what comes over one WebSocket and lets a check wait for it. */
class Connection {
  constructor(socket) {
    this.socket = socket;
    this.received = [];
    this.closed = null;
    this.wake = () => {};
    socket.onmessage = (event) => {
      this.received.push(event.data);
      this.wake();
    };
    socket.onclose = (event) => {
      this.closed = { code: event.code, clean: event.wasClean };
      this.wake();
    };
    socket.onerror = () => {}; // a close event follows and tells
  }

  send(frame) {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** until waits until look() returns something that is not undefined. */
  until(what, look) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.wake = () => {};
        reject(new Error(`not within ${patience} ms: ${what}; received ${JSON.stringify(this.received).slice(0, 500)}`));
      }, patience);
      this.wake = () => {
        const found = look();
        if (found === undefined) {
          return;
        }
        clearTimeout(timer);
        this.wake = () => {};
        resolve(found);
      };
      this.wake();
    });
  }

  /** next takes the next frame for which accept is true out of what was received. */
  next(what, accept = () => true) {
    return this.until(what, () => {
      const i = this.received.findIndex(accept);
      if (i >= 0) {
        return this.received.splice(i, 1)[0];
      }
      if (this.closed) {
        throw new Error(`closed with ${this.closed.code} while waiting for ${what}`);
      }
      return undefined;
    });
  }

  /** end waits for the close and returns its code. */
  end(what) {
    return this.until(what, () => this.closed ?? undefined);
  }

  async close() {
    this.socket.close(1000);
    return this.end('the closing handshake');
  }
}

export function open(WebSocket, url, protocols, options) {
  return new Promise((resolve, reject) => {
    const socket = options ? new WebSocket(url, protocols, options) : new WebSocket(url, protocols);
    const connection = new Connection(socket);
    socket.onopen = () => resolve(connection);
    const onclose = socket.onclose;
    socket.onclose = (event) => {
      onclose(event);
      reject(new Error(`closed with ${event.code} before it was open`));
    };
  });
}

function equal(got, want, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  if (a !== b) {
    throw new Error(`${what}: got ${String(a).slice(0, 300)}, want ${String(b).slice(0, 300)}`);
  }
}

const isHeartbeat = (frame) => frame === 'heartbeat';
const isPush = (frame) => !isHeartbeat(frame);

/** joinV0 subscribes without an answer: it publishes until something comes back. */
async function joinV0(connection, topic) {
  connection.send({ type: 'subscribe', topic });
  const probe = () => connection.send({ type: 'publish', topic: topic.split(',')[0], data: 'probe' });
  const timer = setInterval(probe, 50);
  try {
    probe();
    await connection.next('a probe', (frame) => frame === '"probe"');
  } finally {
    clearInterval(timer);
  }
  // No probe is left behind the fence, which takes the same way.
  connection.send({ type: 'publish', topic: topic.split(',')[0], data: 'fence' });
  await connection.next('the fence', (frame) => frame === '"fence"');
  connection.received = connection.received.filter((frame) => frame !== '"probe"');
}

function v0Checks(protocols, selected) {
  const label = protocols.length ? protocols.join(',') : 'no subprotocol';
  return [
    [`v0 (${label}): subprotocol`, async ({ connect }) => {
      const c = await connect(protocols);
      equal(c.socket.protocol, selected, 'selected subprotocol');
      equal((await c.close()).clean, true, 'clean close');
    }],
    [`v0 (${label}): the published data alone, in order`, async ({ connect, topic }) => {
      const c = await connect(protocols);
      await joinV0(c, topic);
      const want = Array.from({ length: 300 }, (_, i) => JSON.stringify({ n: i }));
      want.forEach((data) => c.send(`{"type":"publish","topic":"${topic}","data":${data}}`));
      const got = [];
      for (let i = 0; i < want.length; i++) {
        got.push(await c.next(`message ${i}`, isPush));
      }
      equal(got, want, 'messages');
      await c.close();
    }],
    [`v0 (${label}): from outside, text that is not JSON`, async ({ connect, topic, publish }) => {
      const c = await connect(protocols);
      await joinV0(c, topic);
      await publish(topic, new TextEncoder().encode('grüße, 世界 🔥'));
      equal(await c.next('the text', isPush), 'grüße, 世界 🔥', 'text');
      await c.close();
    }],
    [`v0 (${label}): several topics, and unSubscribe`, async ({ connect, topic }) => {
      const c = await connect(protocols);
      await joinV0(c, `${topic},${topic}-2`);
      c.send({ type: 'publish', topic: `${topic}-2`, data: 'two' });
      equal(await c.next('the second topic', isPush), '"two"', 'message');
      c.send({ type: 'unSubscribe', topic });
      c.send({ type: 'publish', topic, data: 'not for me' });
      c.send({ type: 'publish', topic: `${topic}-2`, data: 'for me' });
      equal(await c.next('a message', isPush), '"for me"', 'first message after unSubscribe');
      await c.close();
    }],
    [`v0 (${label}): the heartbeat is text`, async ({ connect }) => {
      const c = await connect(protocols);
      await c.next('a heartbeat', isHeartbeat);
      c.send('heartbeat'); // a client may say it too
      await c.next('another heartbeat', isHeartbeat);
      await c.close();
    }],
  ];
}

const v1 = ['firetower.v1'];

/** ask sends a v1 request with an id and returns the answer. */
async function ask(connection, request) {
  ask.last = (ask.last ?? 0) + 1;
  const id = String(ask.last);
  connection.send({ ...request, id });
  const answer = await connection.next(`the answer to ${JSON.stringify(request).slice(0, 200)}`, (frame) => JSON.parse(frame).id === id);
  return JSON.parse(answer);
}

async function joinV1(connect, topic) {
  const c = await connect(v1);
  const answer = await ask(c, { type: 'subscribe', topic });
  equal(answer.ok, true, `subscribe ${topic}`);
  return c;
}

const nextPush = async (c, what) => JSON.parse(await c.next(what, (frame) => JSON.parse(frame).type === 'publish' && 'data' in JSON.parse(frame)));

const v1Checks = [
  ['v1: subprotocol and clean close', async ({ connect }) => {
    const c = await connect(['chat', ...v1, 'firetower.v0']);
    equal(c.socket.protocol, 'firetower.v1', 'selected subprotocol');
    equal(await c.close(), { code: 1000, clean: true }, 'close');
  }],
  ['v1: subscribe is answered by topic', async ({ connect, topic }) => {
    const c = await connect(v1);
    const answer = await ask(c, { type: 'subscribe', topic: `${topic},${topic}-2` });
    equal(answer.type, 'subscribe', 'type');
    equal(answer.ok, true, 'ok');
    equal(answer.topics, [{ topic, ok: true }, { topic: `${topic}-2`, ok: true }], 'topics');
    await c.close();
  }],
  ['v1: publish is answered, and arrives with its topic', async ({ connect, topic }) => {
    const c = await joinV1(connect, topic);
    const other = await connect(v1);
    const answer = await ask(other, { type: 'publish', topic, data: { text: 'hello', list: [1, null, true] } });
    equal([answer.type, answer.ok], ['publish', true], 'answer');
    equal(await nextPush(c, 'the push'), { type: 'publish', topic, data: { text: 'hello', list: [1, null, true] } }, 'push');
    await c.close();
    await other.close();
  }],
  ['v1: many messages in order', async ({ connect, topic }) => {
    const c = await joinV1(connect, topic);
    for (let i = 0; i < 500; i++) {
      c.send({ type: 'publish', topic, data: i });
    }
    for (let i = 0; i < 500; i++) {
      equal((await nextPush(c, `message ${i}`)).data, i, 'message');
    }
    await c.close();
  }],
  ['v1: UTF-8', async ({ connect, topic }) => {
    const c = await joinV1(connect, `${topic}-größe-🔥`);
    const text = 'grüße, 世界 🔥 \u0000 \u2028 "quoted" \\ </script>';
    await ask(c, { type: 'publish', topic: `${topic}-größe-🔥`, data: text });
    equal(await nextPush(c, 'the push'), { type: 'publish', topic: `${topic}-größe-🔥`, data: text }, 'push');
    await c.close();
  }],
  ['v1: text and bytes that are not JSON', async ({ connect, topic, publish }) => {
    const c = await joinV1(connect, topic);
    await publish(topic, new TextEncoder().encode('plain'));
    equal(await nextPush(c, 'the text'), { type: 'publish', topic, data: 'plain', encoding: 'text' }, 'text');
    await publish(topic, new Uint8Array([0xff, 0x00, 0x01]));
    equal(await nextPush(c, 'the bytes'), { type: 'publish', topic, data: '/wAB', encoding: 'base64' }, 'bytes');
    await c.close();
  }],
  ['v1: large messages', async ({ connect, topic, publish }) => {
    const c = await joinV1(connect, topic);
    const large = 'é'.repeat(30000); // 60,000 bytes: below what a client may send
    await ask(c, { type: 'publish', topic, data: large });
    equal((await nextPush(c, 'the large one')).data === large, true, 'data of 60,000 bytes');
    const huge = 'x'.repeat(1 << 20); // what a server may publish is bounded later
    await publish(topic, new TextEncoder().encode(JSON.stringify(huge)));
    equal((await nextPush(c, 'the huge one')).data === huge, true, 'data of 1 MiB');
    await c.close();
  }],
  ['v1: a message above the limit closes with 1009', async ({ connect }) => {
    const c = await connect(v1);
    c.send('x'.repeat(70000));
    equal((await c.end('the close')).code, 1009, 'close code');
  }],
  ['v1: unSubscribe is answered and ends the messages', async ({ connect, topic }) => {
    const c = await joinV1(connect, `${topic},${topic}-2`);
    equal((await ask(c, { type: 'unSubscribe', topic })).ok, true, 'ok');
    const again = await ask(c, { type: 'unSubscribe', topic });
    equal([again.ok, again.topics?.[0]?.code], [false, 'not_subscribed'], 'a second time');
    await ask(c, { type: 'publish', topic, data: 'not for me' });
    await ask(c, { type: 'publish', topic: `${topic}-2`, data: 'for me' });
    equal((await nextPush(c, 'a push')).data, 'for me', 'first message after unSubscribe');
    await c.close();
  }],
  ['v1: mistakes are answered with codes, and the connection goes on', async ({ connect, topic }) => {
    const c = await connect(v1);
    const mistakes = [
      [{ type: 'fly', topic }, 'unknown_type'],
      [{ type: 'subscribe', topic: 'a b' }, 'bad_topic'],
      [{ type: 'subscribe', topic: '' }, 'bad_topic'],
      [{ type: 'subscribe', topic: 'x'.repeat(300) }, 'bad_topic'],
      [{ type: 'subscribe', topic: 7 }, 'bad_request'],
      [{ type: 'publish', topic }, 'bad_request'],
      // What servers order of each other is no request.
      [{ type: 'offline_user', topic }, 'unknown_type'],
    ];
    for (const [request, code] of mistakes) {
      const answer = await ask(c, request);
      equal([answer.type, answer.code], ['error', code], JSON.stringify(request).slice(0, 100));
    }
    equal((await ask(c, { type: 'subscribe', topic })).ok, true, 'a good request after them');
    await c.close();
  }],
  ...['null', '[]', 'nonsense', '{"type":"subscribe"', ''].map((frame) => [
    `v1: ${JSON.stringify(frame)} closes with 4000`,
    async ({ connect }) => {
      const c = await connect(v1);
      c.send(frame);
      equal((await c.end('the close')).code, 4000, 'close code');
    },
  ]),
  ['v1: idle connections live on pings', async ({ connect, topic }) => {
    const idle = await joinV1(connect, topic);
    const clock = await connect([]);
    for (let i = 0; i < 5; i++) { // a connection without pongs ends after two heartbeats
      await clock.next(`heartbeat ${i}`, isHeartbeat);
    }
    await ask(idle, { type: 'publish', topic, data: 'alive' });
    equal((await nextPush(idle, 'the push')).data, 'alive', 'push');
    equal(idle.received, [], 'other frames');
    await idle.close();
    await clock.close();
  }],
];

export async function runChecks({ WebSocket, url, publish, label, report }) {
  const checks = [...v0Checks([], ''), ...v0Checks(['firetower.v0'], 'firetower.v0'), ...v1Checks];
  let number = 0;
  for (const [name, check] of checks) {
    number++;
    const connections = [];
    const connect = async (protocols) => {
      const c = await open(WebSocket, url, protocols);
      connections.push(c);
      return c;
    };
    let error = '';
    try {
      await check({ connect, publish, topic: `${label}-${number}` });
    } catch (problem) {
      error = String(problem?.stack ?? problem);
    }
    connections.forEach((c) => c.socket.close());
    await report({ name, error });
  }
}
