// Balances the ledger of a load test's result. Usage: node ledger.mjs DIRECTORY
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** find returns the result file in a directory or below it. */
function find(directory) {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    if (name === 'result.json') {
      return path;
    }
    if (statSync(path).isDirectory()) {
      const found = find(path);
      if (found) {
        return found;
      }
    }
  }
  return undefined;
}

const path = find(process.argv[2]);
if (!path) {
  console.error(`no result.json in ${process.argv[2]}`);
  process.exit(1);
}
const result = JSON.parse(readFileSync(path, 'utf8'));
const { expected, received, verdict } = result;
console.log(`${path}: verdict ${verdict}, expected ${expected}, received ${received}`);
const wrong = ['lost', 'duplicated', 'reordered', 'corrupt', 'foreign', 'negative'].filter((key) => result[key] !== 0);
if (!(expected > 0) || received !== expected || wrong.length > 0 || verdict === 'invalid') {
  console.error(`the ledger does not balance: ${wrong.map((key) => `${key} ${result[key]}`).join(', ') || 'see above'}`);
  process.exit(1);
}
