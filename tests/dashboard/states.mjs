// Each page while it loads, when it fails, and when there is nothing: photographed, and with words for the person. In the gateway's place the browser
// answers here; nothing else is faked anywhere.
import assert from 'node:assert/strict';
import { join } from 'node:path';

import { SHOTS } from './world.mjs';

const NONE = { items: [], next_cursor: null };
const ZERO_PROOF = { from_height: 0, to_height: 0, blocks: 0, proven: 0, transactions: 0, entries: 0, checks_passed: 0, checks_failed: 0, checks_not_possible: 0, balances_changed: 0, balances_compared: 0 };
const PROBLEM = { type: 'urn:weir:problem:dependency_unavailable', title: 'Service Unavailable', status: 503, code: 'dependency_unavailable', request_id: '0123456789abcdef',
  detail: 'PostgreSQL does not answer: ask again in a moment' };

/** What an endpoint says when there is nothing; undefined: what it says anyway. */
function nothingAt(path) {
  const tail = path.replace(/^\/(admin\/)?v1\//, '');
  if (/\/balances$/.test(tail)) return { height: 0, items: [] };
  if (/\/assets\/native\/statistics$/.test(tail)) return { chain: 'dev', asset: 'native', non_conserving: false, holders: 0, supply: '0', openings_unknown: 0, top: [], from_height: 0, to_height: 0, moved: [] };
  if (/\/statistics\/history$/.test(tail)) return { chain: 'dev', step_seconds: 3600, items: [] };
  if (/\/proof$/.test(tail)) return { chain: 'dev', ...ZERO_PROOF };
  if (tail === 'connections') return { items: [], connections: 0, subscriptions: 0, instances: [], next_cursor: null };
  if (path === '/admin/v1/watchlists') return { items: [], followed: 0, bytes: 0, bytes_max: 67_108_864 };
  if (tail === 'alerts') return { destinations: [], silences: [] };
  if (tail === 'dlq/groups') return { items: [], complete: true, scanned: 0 };
  if (/(^|\/)(blocks|entries|dlq|jobs|gaps|incidents|audit|users|keys|webhooks|watchlists|addresses|settings)$/.test(tail)) return NONE;
  return undefined;
}

export function stateFlows({ flow, open, world, heading, visit, watched, axe }) {
  // Those that show the status itself, and cannot begin without it.
  const first = () => [['overview', '/ui', 'Overview'], ['chain', '/ui/chains/dev', 'dev'], ['pipeline', '/ui/pipeline', 'Pipeline'], ['blocks', '/ui/blocks', 'Blocks'],
    ['accounts', '/ui/accounts', 'Accounts'], ['audit', '/ui/audit', 'Audit']];
  const others = async () => [['blocks', '/ui/chains/dev/blocks', 'Blocks'], ['block', '/ui/chains/dev/blocks/20?tab=entries', /^Block/], ['transaction', `/ui/chains/dev/transactions/0x${'ab'.repeat(32)}`, 'Transaction'],
    ['account', `/ui/chains/dev/accounts/${world().facts.account}`, 'Account'], ['asset', '/ui/chains/dev/assets/native', 'Asset'], ['accounts', '/ui/chains/dev/accounts', 'Accounts'], ['incidents', '/ui/incidents', 'Gaps & incidents'], ['gaps', '/ui/incidents?tab=gaps', 'Gaps & incidents'],
    ['dead-letters', '/ui/dead-letters?subscription=normalizer', 'Dead letters'], ['dead-letter', '/ui/dead-letters/dev/normalizer/1-1', 'Dead letter'], ['connections', '/ui/connections', 'Connections'],
    ['watchlists', '/ui/watchlists', 'Watch-lists'], ['watchlist', `/ui/watchlists/${await watched()}`, 'Watch-list'], ['webhooks', '/ui/webhooks', 'Webhooks'], ['webhook', '/ui/webhooks/1', 'Webhook'], ['message', '/ui/webhooks/1/1', 'Message'],
    ['alerts', '/ui/alerts', 'Alerts'], ['audit', '/ui/audit/dev', 'Audit'], ['users', '/ui/users', 'Users'], ['keys', '/ui/keys', 'API keys'], ['settings', '/ui/settings', 'Settings']];

  /** A tab in which `answer(route, path)` speaks for the gateway; the session is real. Without status, the first one is answered so, too. */
  async function faked(answer, path) {
    const page = await open({ role: null, path: '/ui/nowhere' });
    await page.route(/\/(admin\/)?v1\//, (route) => {
      const at = new URL(route.request().url()).pathname;
      return at === '/admin/v1/session' ? route.continue() : answer(route, at);
    });
    await page.goto(`${world().facts.admin}${path}#key=${world().facts.keys.admin}`);
    return page;
  }

  async function photograph(page, state, pages, sign, faults) {
    for (const [i, [name, path, title]] of pages.entries()) {
      if (i > 0) await visit(page, path);
      await heading(page, title);
      await page.locator(`main ${sign}`).first().waitFor();
      const theme = (i + state.length) % 2 ? 'dark' : 'light';
      if ((await page.evaluate(() => document.documentElement.dataset.theme)) !== theme) await page.keyboard.press('t');
      await page.screenshot({ path: join(SHOTS, `state-${state}-${name}-${theme}.png`) });
      for (const v of await axe(page)) faults.push(`${state} ${name} ${theme}: ${v}`);
    }
  }

  for (const state of ['loading', 'failed', 'empty']) {
    flow(`each page while it is ${state} says so`, async () => {
      const sign = { loading: '.skeleton', failed: '.failed', empty: '.empty' }[state];
      const faults = [];
      let turn = 0;
      const answers = {
        loading: () => {}, // never
        failed: (route) => (turn++ % 4 === 3 ? route.abort('connectionrefused') : route.fulfill({ status: 503, contentType: 'application/problem+json', body: JSON.stringify(PROBLEM) })),
        empty: (route, path) => {
          const none = nothingAt(path);
          return none ? route.fulfill({ json: none }) : route.continue();
        },
      };
      // Without status.
      let page = await faked(async (route, path) => {
        if (state !== 'empty' || path !== '/admin/v1/status') return answers[state](route, path);
        return route.fulfill({ json: { ...(await (await route.fetch()).json()), chains: [] } });
      }, '/ui');
      await photograph(page, `${state}-all`, first(), sign, faults);
      await page.close();
      // With it.
      page = await faked((route, path) => (path === '/admin/v1/status' ? route.continue() : answers[state](route, path)), (await others())[0][1]);
      await photograph(page, state, await others(), sign, faults);
      await page.close();
      assert.deepEqual(faults, []);
    });
  }

  flow('a chain whose ledger has no block yet is told as such', async () => {
    const page = await faked(async (route, path) => {
      const none = nothingAt(path);
      if (path !== '/admin/v1/status') return none ? route.fulfill({ json: none }) : route.continue();
      const status = await (await route.fetch()).json();
      const young = { head: null, watermark: null, safe: null, finalized: null, lag_blocks: 0, lag_seconds: 0, gaps: 0, incidents: 0, offset: '0', live_offset: '0', streams: [], dead_letters: {},
        stages: { fetched: 0, normalized: 0, published: 0 } };
      return route.fulfill({ json: { ...status, chains: status.chains.map((c) => ({ ...c, ...young })) } });
    }, '/ui');
    await page.getByText('The ledger has no block of this chain yet.').first().waitFor();
    await page.screenshot({ path: join(SHOTS, 'state-young-overview-dark.png'), fullPage: true });
    await visit(page, '/ui/chains/dev');
    await heading(page, 'dev');
    await page.screenshot({ path: join(SHOTS, 'state-young-chain-dark.png'), fullPage: true });
    await page.close();
  });

  flow('figures of a large chain are whole in windows of every size', async () => {
    const page = await faked(async (route, path) => {
      if (path !== '/admin/v1/status') return route.continue();
      const status = await (await route.fetch()).json();
      const place = (height) => ({ height, hash: `0x${'5a'.repeat(32)}`, at: new Date().toISOString() });
      const large = { head: place(391_234_567), watermark: place(378_901_234), safe: 378_901_200, finalized: 378_901_100, lag_blocks: 12_333_333, lag_seconds: 4_933_333, gaps: 12_345, incidents: 2_345,
        dead_letters: { normalizer: 12_345_678, reconciler: 12 }, name: 'a-chain-with-a-name-of-32-letters' };
      return route.fulfill({ json: { ...status, chains: [...status.chains, { ...status.chains[0], ...large }] } });
    }, '/ui');
    const card = page.getByRole('article', { name: 'Chain a-chain-with-a-name' });
    await card.getByText('391,234,567').first().waitFor();
    for (const width of [1440, 1100, 768, 360]) {
      await page.setViewportSize({ width, height: 900 });
      const cut = await page.locator('.figure dd').evaluateAll((all) => all.filter((dd) => dd.scrollWidth > dd.clientWidth).map((dd) => dd.innerText));
      assert.deepEqual(cut, [], `cut at ${width}`);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `wider than ${width}`);
    }
    await page.setViewportSize({ width: 1440, height: 1000 });
    await page.screenshot({ path: join(SHOTS, 'state-large-overview-dark.png'), fullPage: true });
    await page.close();
  });
}
