// Runs the checks with Node's ws, and those that only a client outside of a browser can make.
// Usage: node node.mjs DRIVER GATEWAY ALLOWED_ORIGIN; results go to the driver.
import { WebSocket } from 'ws';
import { open, runChecks } from './checks.mjs';

const [driver, url, allowedOrigin] = process.argv.slice(2);

async function post(path, body) {
  const response = await fetch(driver + path, { method: 'POST', body });
  if (!response.ok) {
    throw new Error(`${path}: HTTP status ${response.status}: ${await response.text()}`);
  }
}

const report = (result) => post('/result', JSON.stringify(result));
const publish = (topic, bytes) => post(`/publish?topic=${encodeURIComponent(topic)}`, bytes);

async function check(name, f) {
  let error = '';
  try {
    await f();
  } catch (problem) {
    error = String(problem?.stack ?? problem);
  }
  await report({ name, error });
}

/** handshake returns the HTTP status of an upgrade request: 101 when it was upgraded. */
function handshake(options) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, ['firetower.v1'], options);
    socket.on('open', () => {
      socket.close();
      resolve(101);
    });
    socket.on('unexpected-response', (request, response) => {
      request.destroy();
      resolve(response.statusCode);
    });
    socket.on('error', reject);
  });
}

await runChecks({ WebSocket, url, publish, label: 'node', report });

for (const [name, options, want] of [
  ['Origin: none', {}, 101],
  ['Origin: the gateway itself', { origin: url.replace('ws://', 'http://').replace(/\/ws$/, '') }, 403],
  ['Origin: an allowed one', { origin: allowedOrigin }, 101],
  ['Origin: another', { origin: 'https://evil.example' }, 403],
  ['Origin: one that begins like an allowed one', { origin: `${allowedOrigin}.evil.example` }, 403],
  ['Origin: null', { origin: 'null' }, 403],
]) {
  await check(name, async () => {
    const status = await handshake(options);
    if (status !== want) {
      throw new Error(`HTTP status ${status}, want ${want}`);
    }
  });
}

await check('v1: the gateway sends pings', async () => {
  const c = await open(WebSocket, url, ['firetower.v1']);
  await new Promise((resolve) => c.socket.once('ping', resolve));
  await c.close();
});

await check('v1: a fragmented message is one request', async () => {
  const c = await open(WebSocket, url, ['firetower.v1']);
  const frame = Buffer.from('{"type":"subscribe","topic":"größe","id":"f"}');
  for (let i = 0; i < frame.length; i++) { // splits "ö" and "ß" too
    c.socket.send(frame.subarray(i, i + 1), { binary: false, fin: i === frame.length - 1 });
  }
  const answer = JSON.parse(await c.next('the answer'));
  if (!answer.ok || answer.id !== 'f') {
    throw new Error(`answer ${JSON.stringify(answer)}`);
  }
  await c.close();
});

await post('/done');
