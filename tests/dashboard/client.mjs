// weir-client, the package that everybody may use: against a real gateway, and held against its own types by the compiler.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { BUILD } from './world.mjs';

const PACKAGE = join(BUILD, 'share', 'weir', 'client');
export const { connect, Problem } = await import(join(PACKAGE, 'client.js')).catch(() => ({ connect: undefined, Problem: Error }));

// Each line behind a @ts-expect-error must be refused, all others must pass.
const USE = `import { connect, Problem, type Schema } from 'weir-client';
const weir = connect('http://localhost', { key: 'k' });
export async function use(): Promise<[number, Schema<'Block'>[]]> {
  const chain = await weir.get('/v1/chains/{chain}', { path: { chain: 'dev' } });
  const blocks: Schema<'Block'>[] = [];
  for await (const block of weir.items('/v1/chains/{chain}/blocks', { path: { chain: 'dev' }, query: { since: 5, limit: 10 } })) blocks.push(block);
  const made = await weir.post('/v1/watchlists', { body: { chain: 'dev', name: 'x' }, once: 'a' });
  await weir.post('/v1/watchlists/{watchlist}/rename', { path: { watchlist: made.id }, body: { name: 'y' } });
  // @ts-expect-error there is no such path
  await weir.get('/v1/nothing');
  // @ts-expect-error the path's chain is missing
  await weir.get('/v1/chains/{chain}');
  // @ts-expect-error no such parameter
  await weir.get('/v1/chains/{chain}/blocks', { path: { chain: 'dev' }, query: { page: 1 } });
  // @ts-expect-error a member of the body is missing
  await weir.post('/v1/watchlists', { body: { chain: 'dev' } });
  // @ts-expect-error not a list
  weir.items('/v1/chains/{chain}', { path: { chain: 'dev' } });
  // @ts-expect-error no such member of the answer
  chain.nothing;
  const code: Schema<'ProblemCode'> = 'chain_unknown';
  // @ts-expect-error no such problem
  const other: Schema<'ProblemCode'> = 'nothing';
  const problem = new Error();
  if (problem instanceof Problem && problem.beginAgain?.height === 5) throw new Error(problem.beginAgain.cursor ?? 'from the start');
  // @ts-expect-error no such member of it
  if (problem instanceof Problem) problem.beginAgain?.nothing;
  if (new Error() instanceof Problem) return [chain.lag_blocks ?? 0, blocks];
  throw new Error(code + other);
}
`;

export function clientFlows({ test, world }) {
  test('weir-client: every list, answer and problem is the gateway’s', async () => {
    const weir = connect(`${world().facts.api}/`);
    assert.equal((await weir.get('/v1/chains/{chain}', { path: { chain: 'dev' } })).name, 'dev');
    const place = { chain: 'dev', block: '10' }; // below what reorgs take back
    const { entry_count: count } = await weir.get('/v1/chains/{chain}/blocks/{block}', { path: place });
    const entries = [];
    for await (const entry of weir.items('/v1/chains/{chain}/blocks/{block}/entries', { path: place, query: { limit: 2 } })) entries.push(entry.ordinal);
    assert.deepEqual(entries, Array.from({ length: count }, (_, n) => n));
    const unknown = await weir.get('/v1/chains/{chain}', { path: { chain: 'none' } }).catch((error) => error);
    assert.ok(unknown instanceof Problem);
    assert.deepEqual([unknown.status, unknown.code], [404, 'chain_unknown']);
    const nobody = await weir.post('/v1/watchlists', { body: { chain: 'dev', name: 'x' } }).catch((error) => error);
    assert.deepEqual([nobody.status, nobody.code], [401, 'unauthorized']);
    const operator = connect(world().facts.admin, { key: world().facts.keys.admin });
    assert.equal((await operator.get('/admin/v1/session')).role, 'admin');
    const name = 'made once';
    const made = () => operator.post('/v1/watchlists', { body: { chain: 'dev', name }, once: 'weir-client-1' });
    const { id } = await made();
    assert.equal((await made()).id, id, 'the answer got lost, and it is asked again');
    await operator.post('/v1/watchlists/{watchlist}/delete', { path: { watchlist: id }, body: {} });
    assert.equal((await connect('http://127.0.0.1:9').get('/v1/chains').catch((error) => error)).code, 'unreachable');
  });

  test('weir-client: a list that a reorg ends says where to go on', async () => {
    const weir = connect(world().facts.api);
    const at = (cursor) => weir.get('/v1/chains/{chain}/blocks', { path: { chain: 'dev' }, query: { limit: 1, ...(cursor ? { cursor } : {}) } });
    const lists = new Map(); // by the newest block that they began with: its height, and the cursor behind it
    let problem;
    for (const deadline = Date.now() + 240_000; !problem; await new Promise((resolve) => setTimeout(resolve, 100))) {
      assert.ok(Date.now() < deadline, `no reorg in ${lists.size} blocks`);
      const { items: [block], next_cursor: cursor } = await at();
      lists.set(block.hash, { height: block.height, cursor });
      for (const list of [...lists.values()].slice(-20)) {
        problem = await at(list.cursor).then(() => undefined, (error) => Object.assign(error, { began: list.height }));
        if (problem) break;
      }
    }
    assert.deepEqual([problem.status, problem.code], [410, 'cursor_reorged']);
    assert.ok(problem.beginAgain.height < problem.began && problem.beginAgain.cursor === null);
    const shared = await weir.get('/v1/chains/{chain}/blocks/{block}', { path: { chain: 'dev', block: problem.beginAgain.hash } });
    assert.equal(shared.height, problem.beginAgain.height);
  });

  test('weir-client: the compiler refuses what the document does not have', () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-client-'));
    try {
      mkdirSync(join(folder, 'node_modules'));
      cpSync(PACKAGE, join(folder, 'node_modules', 'weir-client'), { recursive: true });
      writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
      writeFileSync(join(folder, 'use.ts'), USE);
      const compiler = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'dashboard', 'node_modules', 'typescript', 'bin', 'tsc');
      const options = ['--noEmit', '--strict', '--module', 'nodenext', '--moduleResolution', 'nodenext', '--target', 'es2022', '--lib', 'es2023,dom'];
      execFileSync(process.execPath, [compiler, ...options, 'use.ts'], { cwd: folder, encoding: 'utf8' });
    } catch (error) {
      assert.fail(error.stdout || error);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
