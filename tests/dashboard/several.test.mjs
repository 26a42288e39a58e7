// The dashboard over two chains and two gateways: each chain by itself, each gateway's clients, and the same from either gateway.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connect } from './client.mjs';
import { World, missing } from './world.mjs';

let world;
const heading = (page, name) => page.getByRole('heading', { level: 1, name }).waitFor();
const height = async (page, chain) => Number((await page.getByRole('article', { name: `Chain ${chain}` }).locator('.figure', { hasText: 'Ledger' }).locator('dd').first().innerText()).replace(/\D/g, ''));

async function until(what, predicate, seconds = 60) {
  const deadline = Date.now() + seconds * 1000;
  while (!(await predicate())) {
    if (Date.now() > deadline) assert.fail(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

describe('several chains and gateways', { skip: missing || false }, () => {
  before(async () => {
    world = await World.start({ several: true });
    await world.order({ do: 'park', letters: 3 });
    await world.order({ do: 'follow', chain: 'second' });
    await world.order({ do: 'follow', chain: 'dev', at: world.facts.second.api });
  });
  after(async () => world?.stop());

  test('each chain has its own figures, blocks, letters and record', async () => {
    const page = await world.tab();
    await heading(page, 'Overview');
    for (const chain of ['dev', 'second']) {
      await until(`${chain} is told`, async () => (await page.getByRole('article', { name: `Chain ${chain}` }).count()) === 1);
      await until(`the ledger of ${chain}`, async () => (await height(page, chain)) > 0);
      const before = await height(page, chain);
      await until(`the ledger of ${chain} grows`, async () => (await height(page, chain)) > before);
    }
    await page.getByRole('navigation').getByRole('link', { name: 'second' }).click();
    await heading(page, 'second');
    await page.getByRole('navigation').getByRole('link', { name: 'Blocks' }).click();
    await page.getByRole('table', { name: 'Blocks of dev, newest first' }).waitFor();
    await page.getByRole('combobox', { name: 'Chain' }).selectOption('second');
    await page.getByRole('table', { name: 'Blocks of second, newest first' }).waitFor();
    assert.match(page.url(), /\/ui\/chains\/second\/blocks$/);
    const newest = page.getByRole('table', { name: 'Blocks of second, newest first' }).getByRole('link').first();
    await newest.click();
    await until('a block of the other chain', () => /\/chains\/second\/blocks\/\d+$/.test(page.url()));
    await page.goto(`${world.facts.admin}/ui/dead-letters?chain=second`);
    await page.getByText(/No (dead )?letter/).first().waitFor();
    await page.goto(`${world.facts.admin}/ui/dead-letters?chain=dev`);
    await until('letters of the first', async () => (await page.getByRole('table', { name: /Dead letters/ }).locator('tbody tr').count()) === 3);
    await page.goto(`${world.facts.admin}/ui/dead-letters?subscription=normalizer`);
    await page.getByText('Choose a chain to act on all its letters.').waitFor();
    assert.equal(await page.getByRole('button', { name: /Replay all|Purge all/ }).count(), 0, 'the letters of two chains are no one order');
    await page.getByRole('combobox', { name: 'Chain' }).selectOption('dev');
    await page.getByRole('button', { name: 'Replay all' }).waitFor();
    const weir = connect(world.facts.admin, { key: world.facts.keys.admin });
    await weir.post('/admin/v1/chains/{chain}/pause', { path: { chain: 'second' }, body: { reason: 'only this one' } });
    await page.goto(`${world.facts.admin}/ui/audit/second`);
    await page.getByRole('row').filter({ hasText: 'only this one' }).waitFor();
    await page.getByRole('combobox', { name: 'Of' }).selectOption('dev');
    await page.getByText('No operator did anything yet.').waitFor();
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  test('what is done at one gateway is seen at the other, and the clients of both are told', async () => {
    const other = await world.tab({ at: world.facts.second.admin, path: '/ui/chains/second' });
    await other.getByText('An operator paused this chain').first().waitFor();
    await other.getByRole('button', { name: 'Resume', exact: true }).click();
    await other.getByRole('dialog').getByRole('button', { name: 'Resume' }).click();
    const weir = connect(world.facts.admin, { key: world.facts.keys.viewer });
    await until('the other gateway knows', async () => (await weir.get('/v1/chains/{chain}', { path: { chain: 'second' } })).paused === false);
    assert.deepEqual(other.complaints, []);
    await other.context().close();
    const page = await world.tab({ path: '/ui/connections' });
    const gateways = page.getByRole('table', { name: 'Gateways over this Redis' });
    await until('two gateways', async () => (await gateways.locator('tbody tr').count()) === 2);
    await page.getByText('1 connection with 1 subscription on this gateway').waitFor();
    await page.getByRole('table', { name: 'Subscriptions of 127.0.0.1' }).getByText('second').waitFor();
    await gateways.getByRole('button', { name: 'Show', exact: true }).click();
    await page.getByRole('table', { name: 'Subscriptions of 127.0.0.1' }).getByText('dev').waitFor();
    await world.order({ do: 'stop', service: 'gateway2' });
    await until('it is forgotten', async () => (await gateways.locator('tbody tr').count()) === 1);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });
});
