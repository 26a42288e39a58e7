// The dashboard as an operator uses it: real Chromium, real gateway, real ledger. What is asserted is what is seen.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { clientFlows, connect } from './client.mjs';
import { dialogFlows } from './dialogs.mjs';
import { interruptionFlows } from './interruptions.mjs';
import { letIn, loginFlows } from './login.mjs';
import { stateFlows } from './states.mjs';
import { watchlistFlows } from './watchlists.mjs';
import { hookWithMessages } from './webhooks.mjs';
import { World, SHOTS, missing } from './world.mjs';

const AXE = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');

/** @type {World} */
let world;
let watchlists;
const tabs = [];

async function open(options) {
  const page = await world.tab(options);
  tabs.push(page);
  return page;
}
const heading = (page, name) => page.getByRole('heading', { level: 1, name }).waitFor();
const panel = (page, name) => page.getByRole('region', { name, exact: true });
const button = (page, name) => page.getByRole('button', { name, exact: typeof name === 'string' });
const dialog = (page) => page.getByRole('dialog');
const number = async (locator) => Number((await locator.first().innerText()).replace(/\D/g, ''));

/** Polls until it holds; says the last value otherwise. */
async function until(what, predicate, seconds = 60) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = await predicate();
    if (value) return value;
    if (Date.now() > deadline) assert.fail(`${what}: not within ${seconds} s (${value})`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}
const letters = async () => (await connect(world.facts.admin, { key: world.facts.keys.viewer }).get('/admin/v1/dlq')).items;
/** A test that leaves a photograph of where it failed, and no tab that goes on asking. */
function flow(name, body) {
  test(name, async () => {
    const from = tabs.length;
    try {
      await body();
    } catch (error) {
      const page = tabs.at(-1), path = join(SHOTS, `failed-${name.replace(/\W+/g, '-').slice(0, 40)}.png`);
      const taken = await page?.screenshot({ path }).then(() => path, (why) => `none: ${why.message}`);
      error.message += `\nat ${page?.url()}\nphotograph: ${taken}`;
      throw error;
    } finally {
      for (const page of tabs.slice(from)) await page.context().close();
    }
  });
}
const EVERY_RULE = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
/** What is not about colours is the same in both themes. */
const rulesOf = (theme) => (theme === 'dark' ? EVERY_RULE : ['color-contrast', 'link-in-text-block']);
/** What axe has to say about the page. Rows of a table are alike: the first are looked at. */
async function accessible(page, rules = EVERY_RULE, within = 'html') {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(AXE);
  const found = await page.evaluate(({ r, w }) => window.axe.run({ include: [w], exclude: ['tbody tr:nth-child(n+8)'] }, { runOnly: r }), { r: rules, w: within });
  return found.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 2).map((n) => `${n.target} ${n.failureSummary?.split('\n')[1] ?? ''}`).join(' | ')}`);
}
/** Another page without loading: the session and what was asked stay. */
const visit = (page, path) => page.evaluate((to) => { history.pushState(null, '', to); dispatchEvent(new PopStateEvent('popstate')); scrollTo(0, 0); }, path);

/** Each page that there is with something to be seen: its name, its address and its heading. */
async function everyPage(hook, message) {
  const { account, transaction } = world.facts;
  const letter = (await letters()).find((l) => l.error.includes('elsewhere')).id;
  const watched = await watchlists.one();
  return [
    ['overview', '/ui', 'Overview'], ['chain', '/ui/chains/dev', 'dev'], ['pipeline', '/ui/pipeline', 'Pipeline'],
    ['blocks', '/ui/blocks', 'Blocks'], ['block', '/ui/chains/dev/blocks/20', 'Block 20'], ['entries', '/ui/chains/dev/blocks/20?tab=entries', 'Block 20'],
    ['transaction', `/ui/chains/dev/transactions/${transaction}`, 'Transaction'], ['accounts', '/ui/accounts', 'Accounts'],
    ['account', `/ui/chains/dev/accounts/${account}?since=all`, 'Account'], ['asset', '/ui/chains/dev/assets/native', 'Asset'], ['incidents', '/ui/incidents?show=all', 'Gaps & incidents'],
    ['gaps', '/ui/incidents?tab=gaps&show=all', 'Gaps & incidents'], ['dead-letters', '/ui/dead-letters', 'Dead letters'],
    ['dead-letter', `/ui/dead-letters/dev/normalizer/${letter}?tab=decoded`, 'Dead letter'], ['dead-letter-edit', `/ui/dead-letters/dev/normalizer/${letter}?tab=edit`, 'Dead letter'],
    ['connections', '/ui/connections', 'Connections'], ['watchlists', '/ui/watchlists', 'Watch-lists'], ['watchlist', `/ui/watchlists/${watched}`, 'Watch-list'], ['webhooks', '/ui/webhooks', 'Webhooks'],
    ['webhook', `/ui/webhooks/${hook}`, 'Webhook'], ['message', `/ui/webhooks/${hook}/${message}`, 'Message'], ['alerts', '/ui/alerts', 'Alerts'], ['audit', '/ui/audit', 'Audit'], ['users', '/ui/users', 'Users'], ['keys', '/ui/keys?show=revoked', 'API keys'], ['settings', '/ui/settings', 'Settings'], ['lost', '/ui/nowhere', 'No such page'],
  ];
}

describe('dashboard', { skip: missing || false }, () => {
  before(async () => {
    world = await World.start();
    await world.order({ do: 'park', letters: 6 });
    await world.order({ do: 'trouble' });
    await world.order({ do: 'follow', account: world.facts.account });
    await letIn(world);
  });
  after(async () => world?.stop());

  // ---- getting in ----------------------------------------------------------------------------------------------------------------

  flow('a key lets in, a wrong one does not, and it is kept in this tab only', async () => {
    const page = await open({ role: null });
    await heading(page, 'weir');
    assert.equal(await page.title(), 'Sign in · weir');
    await button(page, 'Sign in').click();
    await page.getByText('Type or paste an API key.').waitFor();
    await page.getByLabel('API key').fill('wrong-key-0123456789');
    await page.keyboard.press('Enter');
    await page.getByText('This key is not known to the gateway.').waitFor();
    await page.getByLabel('API key').fill(world.facts.keys.viewer);
    await page.keyboard.press('Enter');
    await heading(page, 'Overview');
    await page.locator('.who', { hasText: /eyes\s*viewer/ }).waitFor();
    assert.equal(await page.evaluate(() => JSON.stringify([{ ...localStorage }, document.cookie])), '[{},""]');
    assert.ok(!page.asked.some((url) => url.includes('key-0123456789')), 'no address holds a key');
    await button(page, 'Sign out').click();
    await heading(page, 'weir');
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await page.goBack().catch(() => {});
    assert.ok(!(await page.content()).includes('Newest blocks'), 'nothing of the ledger is left to see');
  });

  flow('a link with the key in its fragment lets in, and the key leaves the address at once', async () => {
    const page = await open({ path: '/' });
    await heading(page, 'Overview');
    assert.equal(page.url(), `${world.facts.admin}/ui`);
    assert.ok(!page.asked.some((url) => url.includes(world.facts.keys.admin)));
    await page.evaluate(() => sessionStorage.setItem('weir.key', 'revoked-key-0123456789'));
    await page.reload();
    await page.getByText('The key is not valid any more. Sign in again.').waitFor();
  });

  // ---- every page, both themes -----------------------------------------------------------------------------------------------------

  for (const theme of ['dark', 'light']) {
    flow(`each page is drawn, accessible and photographed: ${theme}`, async () => {
      const { hook, message, remove } = await hookWithMessages(world);
      const pages = [['sign-in', null, 'weir'], ['sign-in-name', null, 'weir'], ...(await everyPage(hook, message))];
      const page = await open({ theme, role: null });
      const faults = [];
      for (const [name, path, title] of pages) {
        if (path) await visit(page, path);
        if (name === 'sign-in-name') await page.getByRole('tab', { name: 'Name and password' }).click();
        if (path === '/ui') {
          await page.getByRole('tab', { name: 'Key' }).click();
          await page.getByLabel('API key').fill(world.facts.keys.admin);
          await page.keyboard.press('Enter');
        }
        await heading(page, title);
        await page.locator('.skeleton').first().waitFor({ state: 'detached' });
        if (name === 'overview' || name === 'chain') await page.getByText('Collecting…').first().waitFor({ state: 'detached' });
        if (name === 'account') await button(page, 'Explain').click();
        if (name === 'account') await page.getByText('Adds up').first().waitFor();
        await page.evaluate(() => scrollTo(0, 0));
        await page.screenshot({ path: join(SHOTS, `${name}-${theme}.png`), fullPage: name !== 'account' && name !== 'settings' });
        const found = await accessible(page, rulesOf(theme));
        faults.push(...found.map((v) => `${name}: ${v}`));
      }
      await remove();
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), theme);
      assert.deepEqual(faults, []);
      assert.deepEqual([...new Set(page.asked.map((url) => new URL(url).origin))], [world.facts.admin], 'no other host is asked');
    });
  }

  // ---- looking -----------------------------------------------------------------------------------------------------------------------

  flow('the overview lives: heights grow, charts are drawn, what needs a person is listed', async () => {
    const page = await open();
    const ledger = page.getByRole('article', { name: 'Chain dev' }).locator('.figure', { hasText: 'Ledger' }).locator('dd');
    const first = await number(ledger);
    assert.ok(first > 0);
    await until('the ledger grows', async () => (await number(ledger)) > first);
    assert.ok(await page.getByRole('img', { name: /^Height\. head: .* now, .*; ledger: [\d,]+ now, between [\d,]+ and [\d,]+; over the last .*\.$/ }).isVisible());
    const rates = page.getByRole('group', { name: 'Rate of each stage' });
    for (const stage of ['Fetched', 'Normalized', 'Applied']) await rates.getByRole('img', { name: new RegExp(`^${stage}\\. blocks: (?!0\\.0)[\\d.]+/s now`) }).waitFor();
    await rates.getByRole('img', { name: /^Published\. events: (?!0\.0)[\d.]+\/s now/ }).waitFor();
    await page.getByRole('img', { name: /^Proof\. verified: 100 % now.*; reconciled: \d+ % now/ }).waitFor();
    assert.ok((await page.getByRole('list', { name: 'Newest blocks of dev' }).getByRole('link').count()) > 20);
    await page.getByText(/^\d+ of the last \d+ blocks proven: [\d,]+ checks, none failed$/).waitFor();
    const needs = panel(page, 'Needs a person');
    assert.equal(await page.locator('main section').first().getAttribute('aria-label'), 'Needs a person', 'first of all');
    await page.getByRole('navigation').getByRole('link', { name: /^dev\W+Incident$/ }).waitFor();
    assert.match(await needs.innerText(), /\d open incidents?[\s\S]*1 open gap[\s\S]*6 dead letters/);
    await needs.getByRole('link', { name: /dead letters/ }).click();
    await heading(page, 'Dead letters');
    assert.match(page.url(), /\/ui\/dead-letters\?chain=dev$/);
    await page.goBack();
    await heading(page, 'Overview');
    await page.getByRole('navigation').getByRole('link', { name: 'dev' }).click();
    await heading(page, 'dev');
    await until('nine charts', async () => (await page.locator('.panel:not([aria-label="History"]) .chart svg').count()) === 9);
    const chart = page.getByRole('img', { name: /^Entries per block/ });
    await chart.hover({ position: { x: 200, y: 60 } });
    await page.locator('.cross circle').first().waitFor();
  });

  flow('the pipeline shows each stage and stream', async () => {
    const page = await open({ path: '/ui/pipeline' });
    for (const stage of ['Nodes', 'Fetcher', 'Normalizer', 'Reconciler', 'Gateway']) await panel(page, stage).waitFor();
    assert.match(await panel(page, 'Normalizer').innerText(), /6 dead letters/);
    for (const stage of ['Fetcher', 'Normalizer', 'Reconciler', 'Gateway']) await until(`the rate of the ${stage}`, async () => /(Blocks|Events)\/s\s*[\d.]+/.test(await panel(page, stage).innerText()));
    const rows = page.getByRole('table', { name: 'Streams of dev' }).getByRole('row');
    await until('streams', async () => (await rows.count()) > 3);
    assert.match(await rows.filter({ hasText: 'ledger' }).innerText(), /clear|flowing/);
    const breakers = page.getByRole('table', { name: 'Breakers of endpoints' }).getByRole('row');
    for (const process of ['fetcher', 'reconciler']) await until(`the breakers of the ${process}`, async () => /closed/i.test(await breakers.filter({ hasText: process }).first().innerText()));
    await panel(page, 'Normalizer').getByRole('link').click();
    assert.match(page.url(), /subscription=normalizer/);
  });

  flow('from the newest blocks to a certificate, an entry, a transaction and an account, by clicking', async () => {
    const page = await open({ path: '/ui/blocks' });
    await page.getByLabel('Height or hash').fill('20');
    await button(page, 'Go').click();
    await heading(page, 'Block 20');
    await page.getByText(/of 15 checks passed/).waitFor();
    assert.match(await panel(page, 'Certificate').innerText(), /Proven[\s\S]*Receipts root\s*passed/);
    await page.getByRole('tab', { name: /Entries/ }).click();
    assert.match(page.url(), /tab=entries/);
    const entries = page.getByRole('table', { name: /Entries of block/ });
    await until('entries', async () => (await entries.getByRole('row').count()) > 5);
    await entries.getByRole('row').filter({ hasText: 'Fee' }).first().getByRole('link').nth(1).click();
    await heading(page, 'Transaction');
    assert.match(await panel(page, 'Transaction').innerText(), /Block[\s\S]*20[\s\S]*From/);
    await panel(page, 'Transaction').getByRole('link').nth(1).click();
    await heading(page, 'Account');
    for (let i = 0; i < 2; i++) await page.goBack();
    await heading(page, 'Block 20');
    await page.getByRole('link', { name: '21 ›' }).click();
    await heading(page, 'Block 21');
  });

  flow('an account: every asset, the running balance, and an explanation that adds up', async () => {
    const { account } = world.facts;
    const page = await open({ path: '/ui/accounts' });
    await page.getByLabel('Address').fill('0x12');
    await button(page, 'Explore').click();
    await page.getByText('An address is 0x and 40 hex digits.').waitFor();
    await page.getByLabel('Address').fill(account);
    await button(page, 'Explore').click();
    await heading(page, 'Account');
    const balances = page.getByRole('table', { name: 'Balances of the account' });
    assert.match(await balances.getByRole('row').filter({ hasText: 'native' }).innerText(), /reconciled at|not compared yet/);
    await page.getByLabel('Since').selectOption('all');
    await button(page, 'Explain').click();
    await page.getByText(/\d+ movements added again here, one by one/).waitFor();
    await page.getByText(/\d+ certificates? of \d+ blocks? looked at/).waitFor();
    const movements = page.getByRole('table', { name: 'Movements of native' });
    assert.ok((await movements.getByText('adds up', { exact: true }).count()) > 3);
    assert.equal(await movements.getByText('does not add up').count(), 0);
    await movements.getByText(/proven, 1\d of 15 checks/).first().waitFor();
    const others = balances.getByRole('button', { name: 'Movements' });
    if ((await others.count()) > 1) {
      await others.nth(1).click();
      assert.match(page.url(), /asset=0x/);
    }
    await visit(page, `/ui/chains/dev/accounts/0x${'12'.repeat(20)}`);
    await page.getByText('The ledger never saw this account.').waitFor();
  });

  flow('statistics: what came and went, who holds an asset, and how a chain went over time', async () => {
    const weir = connect(world.facts.admin, { key: world.facts.keys.viewer });
    const { account } = world.facts;
    const page = await open({ path: `/ui/chains/dev/accounts/${account}?since=all` });
    const sums = page.getByRole('table', { name: 'What came and went, by asset and kind' });
    await sums.waitFor();
    const told = await weir.get('/v1/chains/{chain}/accounts/{account}/statistics', { path: { chain: 'dev', account } });
    await until('a row for each asset and kind', async () => (await sums.getByRole('row').count()) > told.items.length);
    const fees = sums.getByRole('row').filter({ hasText: /^nativeFee/ });
    assert.match(await fees.innerText(), /native\s*Fee\s*0\s*−[\d.…]+\s*\d/, 'fees only go');
    await page.getByRole('table', { name: 'Balances of the account' }).getByRole('link', { name: 'native' }).click();
    await heading(page, 'Asset');
    assert.match(page.url(), /\/ui\/chains\/dev\/assets\/native$/);
    const holders = page.getByRole('table', { name: 'Largest holders' });
    const asset = await weir.get('/v1/chains/{chain}/assets/{asset}/statistics', { path: { chain: 'dev', asset: 'native' }, query: { top: 20 } });
    await until('the holders', async () => (await holders.getByRole('row').count()) === asset.top.length + 1);
    assert.match(await panel(page, 'Held').innerText(), /Supply\s*[\d.…\u2009]+[\s\S]*Holders\s*\d+/);
    await page.getByRole('table', { name: 'What moved, by kind' }).getByRole('row').filter({ hasText: 'Transfer' }).first().waitFor();
    await panel(page, 'Moved').getByRole('combobox').selectOption('1000');
    assert.match(page.url(), /blocks=1000/);
    await until('asked of so many', () => page.asked.some((url) => /\/native\/statistics\?.*blocks=1000/.test(url)));
    await until('from the first block on', async () => /blocks [01] to/.test(await panel(page, 'Moved').innerText()));
    await holders.getByRole('link').first().click();
    await heading(page, 'Account');
    assert.match(page.url(), /asset=native/);
    await visit(page, `/ui/chains/dev/assets/0x${'12'.repeat(20)}`);
    await page.getByText('nobody ever moved this asset in the ledger').first().waitFor();
    await visit(page, '/ui/chains/dev?step=day');
    await panel(page, 'History').getByRole('combobox').selectOption('minute');
    assert.match(page.url(), /step=minute/);
    const transactions = page.getByRole('img', { name: /^Transactions by minute\. all: [\d,]+ now.*; failed: \d/ });
    await until('two minutes of it', () => transactions.isVisible(), 150);
    await panel(page, 'History').screenshot({ path: join(SHOTS, 'history-dark.png') });
    await page.keyboard.press('t');
    await panel(page, 'History').screenshot({ path: join(SHOTS, 'history-light.png') });
  });

  flow('gaps and incidents tell what, why and since when', async () => {
    const page = await open({ path: '/ui/incidents' });
    const incident = page.locator('details.incident').filter({ hasText: 'Finality violation' }); // tokens that lie open others now and then
    await incident.waitFor();
    assert.equal(await page.getByText('healed', { exact: true }).count(), 0, 'open ones first');
    const words = await incident.innerText();
    assert.match(words, /Ledger says\s*1\b/);
    assert.match(words, /1000000000000000005/);
    assert.match(words, /First wrong block\s*11/);
    await incident.getByText('Evidence').click();
    await incident.getByText('"endpoints"').waitFor();
    await page.getByLabel('Show').selectOption('all');
    await page.getByText('healed', { exact: true }).first().waitFor();
    await page.getByRole('tab', { name: 'Gaps' }).click();
    assert.match(page.url(), /tab=gaps/);
    await page.getByLabel('Show').selectOption('open');
    const row = page.getByRole('row').filter({ hasText: '900,000 – 900,002' });
    assert.match(await row.innerText(), /open[\s\S]*Missing/);
  });

  // ---- acting --------------------------------------------------------------------------------------------------------------------------

  flow('pause and resume reach the ledger, with the reason in the audit log', async () => {
    const page = await open({ path: '/ui/chains/dev' });
    await button(page, 'Pause').click();
    await dialog(page).getByLabel(/Reason/).fill('tests look');
    await dialog(page).getByRole('button', { name: 'Pause' }).click();
    await page.getByText('Pause: the command was sent').waitFor();
    await button(page, 'Resume').waitFor();
    await page.getByText('An operator paused this chain').first().waitFor();
    await button(page, 'Resume').click();
    await dialog(page).getByRole('button', { name: 'Resume' }).click();
    await button(page, 'Pause').waitFor();
    await visit(page, '/ui/audit');
    await page.getByText('Unbroken').waitFor();
    const line = page.getByRole('row').filter({ hasText: 'tests look' });
    assert.match(await line.first().innerText(), /local\s*pause/);
  });

  flow('fetching again, comparing and rewinding ask first, and say what is wrong', async () => {
    const page = await open({ path: '/ui/chains/dev' });
    await button(page, 'Fetch again').click();
    assert.ok(await dialog(page).getByRole('button', { name: 'Fetch' }).isDisabled());
    await dialog(page).getByLabel(/From height/).fill('9');
    await dialog(page).getByLabel(/To height/).fill('3');
    await dialog(page).getByRole('button', { name: 'Fetch' }).click();
    await dialog(page).getByText('to_height must be from_height').waitFor();
    await dialog(page).getByLabel(/To height/).fill('10');
    await dialog(page).getByRole('button', { name: 'Fetch' }).click();
    await page.getByText('Fetch again: the command was sent').waitFor();
    await button(page, 'Reconcile').click();
    await dialog(page).getByRole('button', { name: 'Compare' }).click();
    await page.getByText('Reconcile: the command was sent').waitFor();
    await button(page, 'Rewind').click();
    const act = dialog(page).getByRole('button', { name: 'Rewind' });
    await dialog(page).getByLabel(/To height/).fill('5');
    await dialog(page).getByText(/\d+ blocks will be taken back/).waitFor();
    await dialog(page).getByLabel(/Reason/).fill('never');
    assert.ok(await act.isDisabled(), 'not before the chain is named');
    await dialog(page).getByLabel(/to confirm/).fill('dev');
    assert.ok(await act.isEnabled());
    await page.keyboard.press('Escape');
    await dialog(page).waitFor({ state: 'detached' });
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Rewind', 'the focus is where it was');
  });

  flow('the export to Kafka: how far it is, what it waits for, and beginning anew', async () => {
    const page = await open({ path: '/ui/pipeline/dev' });
    const kafka = panel(page, 'Export to Kafka');
    await kafka.getByText('running', { exact: true }).waitFor();
    const epoch = async () => Number(/weir\.dev\.ledger epoch (\d+)/.exec(await kafka.innerText())?.[1]);
    const first = await epoch();
    assert.match(await kafka.innerText(), /[1-9]\d* records? acknowledged/);
    await world.order({ do: 'kafka', say: 'refuse 29', times: 20 });
    await until('state and reason in one look', async () => /waiting[\s\S]*Topic authorization failed/.test(await kafka.innerText()));
    await kafka.getByText('running', { exact: true }).waitFor({ timeout: 120000 });
    await button(kafka, 'Begin anew').click();
    const act = dialog(page).getByRole('button', { name: 'Begin anew' });
    assert.ok(await act.isDisabled(), 'not without a reason');
    await dialog(page).getByLabel(/Reason/).fill('the readers moved');
    await dialog(page).getByLabel(/From height/).fill('-3');
    assert.ok(await act.isDisabled(), 'no height');
    await dialog(page).getByLabel(/From height/).fill('4');
    await act.click();
    await page.getByText(/It begins anew, as epoch \d+/).waitFor();
    await until('a higher epoch', async () => (await epoch()) > first);
    const line = (await world.order({ do: 'audit' })).find((words) => words.action === 'kafka_restart');
    assert.match(line?.detail, /from height 4: the readers moved/);
    const viewer = await open({ role: 'viewer', path: '/ui/pipeline/dev' });
    await panel(viewer, 'Export to Kafka').getByText('weir.dev.ledger').waitFor();
    assert.equal(await button(viewer, 'Begin anew').count(), 0);
  });

  flow('a viewer sees everything and no button that would be refused', async () => {
    const page = await open({ role: 'viewer', path: '/ui/chains/dev' });
    await panel(page, 'Proof').waitFor();
    await page.getByText('viewer', { exact: true }).waitFor();
    for (const name of ['Pause', 'Rewind', 'Fetch again', 'Reconcile']) assert.equal(await button(page, name).count(), 0, name);
    await visit(page, '/ui/dead-letters?subscription=normalizer');
    await page.getByRole('table', { name: /Dead letters/ }).waitFor();
    assert.equal(await page.getByRole('button', { name: /Replay|Purge/ }).count(), 0);
    const operator = await open({ role: 'operator', path: '/ui/dead-letters?subscription=normalizer' });
    await button(operator, 'Replay all').waitFor();
    assert.equal(await operator.getByRole('button', { name: /Purge/ }).count(), 0);
  });

  flow('dead letters: by cause, one by one, decoded and raw', async () => {
    const page = await open({ path: '/ui/dead-letters' });
    const causes = panel(page, 'By cause').getByRole('button');
    await causes.first().waitFor();
    assert.equal(await causes.count(), 2);
    await page.getByText('6 messages could not be handled, for 2 causes.').waitFor();
    await causes.filter({ hasText: 'elsewhere' }).click();
    assert.match(page.url(), /reason=invalid&pattern=/);
    const rows = page.getByRole('table', { name: /Dead letters/ }).locator('tbody tr');
    await until('only this cause', async () => (await rows.count()) === 4);
    assert.equal(await rows.getByText('not a RawBlock').count(), 0);
    const narrow = page.getByRole('search', { name: 'Narrow the letters' });
    await narrow.getByLabel('Kind').selectOption('skipped');
    await page.getByText('No letter matches.').waitFor();
    assert.match(page.url(), /kind=skipped/);
    await narrow.getByLabel('Kind').selectOption('');
    await narrow.getByLabel('until').fill('2020-01-01T00:00');
    await page.getByText('No letter matches.').waitFor();
    assert.match(page.url(), /to=2020-01-01T00%3A00%3A00Z/);
    await narrow.getByLabel('until').fill('');
    await until('this cause again', async () => (await rows.count()) === 4);
    assert.ok(await rows.first().getByText('<b>key</b>').isVisible(), 'a key from outside is text, not markup');
    await rows.first().getByRole('link').click();
    await heading(page, 'Dead letter');
    assert.match(await panel(page, 'Letter').innerText(), /came on the stream of chain dev/);
    assert.match(await page.getByRole('table', { name: /Attempts/ }).innerText(), /invalid/);
    await page.getByRole('tab', { name: 'Decoded' }).click();
    assert.match(await page.getByRole('region', { name: 'The decoded message' }).innerText(), /"chain": "elsewhere"[\s\S]*"height": 10\d/);
    await page.getByRole('tab', { name: 'Raw' }).click();
    assert.match(await page.getByRole('region', { name: "The frame's bytes" }).innerText(), /^000000 {2}57 46 01[^\n]*WF/);
    await button(page, 'Copy the bytes as hex').click();
    await page.getByText('Copied the bytes as hex').waitFor();
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^574601/);
    await button(page, 'Skip').click();
    await dialog(page).getByLabel(/Reason/).fill('let the others go on');
    await dialog(page).getByRole('button', { name: 'Skip' }).click();
    await dialog(page).getByText(/nothing to skip/).waitFor(); // of a shared lane nothing waits behind it
    await button(dialog(page), 'Cancel').click();
    const operator = await open({ role: 'operator', path: new URL(page.url()).pathname });
    await button(operator, 'Replay 1').waitFor();
    assert.equal(await button(operator, 'Skip').count(), 0);
  });

  flow('dead letters: a message is edited with what changes in view', async () => {
    const { id } = (await letters()).find((l) => l.error.includes('elsewhere'));
    const page = await open({ path: `/ui/dead-letters/dev/normalizer/${id}?tab=edit` });
    const text = page.getByLabel(/The message, in hex/);
    const before = await text.inputValue();
    assert.ok(before.endsWith('18 65'), before);
    await text.fill(`${before} z`);
    await page.getByText('Only pairs of hex digits.').waitFor();
    await text.fill('ff ff ff');
    await button(page, 'Review and keep').click();
    await dialog(page).getByLabel(/Reason/).fill('not a message');
    await dialog(page).getByRole('button', { name: 'Keep' }).click();
    await dialog(page).getByText('the body is not a weir.v1.RawBlock').waitFor();
    await page.keyboard.press('Escape');
    await text.fill(`${before.slice(0, -2)}66`);
    assert.match(await page.getByRole('group', { name: 'What changes' }).innerText(), /1 taken out, 1 put in[\s\S]*65[\s\S]*66/);
    await button(page, 'Review and keep').click();
    await dialog(page).getByLabel(/Reason/).fill('the next height');
    await dialog(page).getByRole('button', { name: 'Keep' }).click();
    await page.getByText('The letter was edited').waitFor();
    await page.getByText(/by local, .*: the next height/).waitFor();
    await page.getByRole('tab', { name: 'Decoded' }).click();
    await page.getByText('"height": 102').waitFor();
  });

  flow('dead letters: replay of a cause counts first, is followed, and what fails again comes back', async () => {
    const page = await open({ path: '/ui/dead-letters' });
    // As from a gateway that has looked long enough for one page, and found none.
    await page.route(/admin\/v1\/dlq\?.*pattern/, async (route) => {
      const url = route.request().url();
      const whole = url.replace('&cursor=further', '');
      return route.fulfill(url === whole ? { json: { items: [], next_cursor: 'further' } } : { response: await route.fetch({ url: whole }) });
    });
    await panel(page, 'By cause').getByRole('button').filter({ hasText: 'elsewhere' }).click();
    await until('the page looks further by itself', async () => (await page.getByRole('table', { name: /Dead letters/ }).locator('tbody tr').count()) === 4);
    await page.unroute(/admin\/v1\/dlq\?.*pattern/);
    await page.route('**/admin/v1/dlq/jobs', (route) => route.fulfill({ json: { dry_run: true, total: 10_000, matching: 23_412, complete: false, job: null } }), { times: 1 });
    await button(page, 'Replay all').click();
    await dialog(page).getByText(/The first 10,000 of at least 23,412 letters/).waitFor();
    await button(dialog(page), 'Cancel').click();
    await button(page, 'Replay all').click();
    await dialog(page).getByText(/4 letters/).waitFor();
    assert.ok(!page.asked.some((url) => url.includes('limit=1000')), 'the server counts');
    await dialog(page).getByLabel(/Reason/).fill('once more');
    await dialog(page).getByRole('button', { name: 'Replay 4' }).click();
    await page.getByText('Replay of 4 letters has begun').waitFor();
    const job = panel(page, 'Replays').getByRole('listitem').first();
    assert.match(await job.innerText(), /4 letters[\s\S]*by local/);
    await job.getByText('4 failed again').waitFor();
    await job.getByText(/4 of 4 replays failed again: resume it when the cause is gone/).waitFor();
    await page.getByText('4 tried again').waitFor();
    await job.getByRole('button', { name: 'Cancel' }).click();
    await job.getByText('canceled', { exact: true }).waitFor();
  });

  flow('dead letters: a slow replay is paused, resumed and cancelled', async () => {
    const page = await open({ path: '/ui/dead-letters?subscription=normalizer&chain=dev' });
    await button(page, 'Replay all').click();
    await dialog(page).getByText(/6 letters/).waitFor();
    await dialog(page).getByLabel(/At most per second/).fill('1');
    await dialog(page).getByRole('button', { name: 'Replay 6' }).click();
    const job = panel(page, 'Replays').getByRole('listitem').first();
    await job.getByRole('button', { name: 'Pause' }).click();
    await job.getByText('paused', { exact: true }).waitFor();
    await job.getByRole('button', { name: 'Resume' }).click();
    await job.getByText('running', { exact: true }).waitFor();
    await job.getByRole('button', { name: 'Cancel' }).click();
    await panel(page, 'Replays').getByText('canceled', { exact: true }).first().waitFor();
  });

  flow('dead letters: those that wait behind another are chosen apart from it, and go on when it is skipped', async () => {
    assert.deepEqual(await world.order({ do: 'queue', behind: 60 }), { imported: 61, known: 0 });
    const page = await open({ path: '/ui/dead-letters?subscription=reconciler' });
    const causes = panel(page, 'By cause').getByRole('button').filter({ hasText: 'chain_fork' });
    await until('the one, and those behind it', async () => (await causes.count()) === 2);
    const rows = page.getByRole('table', { name: /Dead letters/ }).locator('tbody tr');
    await causes.filter({ hasText: 'waits behind' }).click();
    await until('a page of those behind it', async () => (await rows.count()) === 50);
    await button(page, 'Show more').click();
    await until('only those behind it', async () => (await rows.count()) === 60);
    assert.equal(await button(page, 'Show more').count(), 0);
    assert.ok(page.asked.some((url) => /dlq\/groups\?.*subscription=reconciler/.test(url)), 'clusters of this subscription');
    assert.equal(await causes.filter({ hasText: 'waits behind' }).getAttribute('aria-pressed'), 'true');
    assert.equal(await causes.filter({ hasText: 'timeout' }).getAttribute('aria-pressed'), 'false');
    await button(page, 'Purge all').click();
    await dialog(page).getByText(/60 letters/).waitFor();
    await button(dialog(page), 'Cancel').click();
    await causes.filter({ hasText: 'timeout' }).click();
    await until('only the one', async () => (await rows.count()) === 1);
    await rows.first().getByRole('link').click();
    await heading(page, 'Dead letter');
    await button(page, 'Skip').click();
    await dialog(page).getByLabel(/Reason/).fill('the others may go on');
    await dialog(page).getByRole('button', { name: 'Skip' }).click();
    await panel(page, 'Letter').getByText(/skipped by an operator/).waitFor();
    await visit(page, '/ui/dead-letters?subscription=reconciler&chain=dev&kind=skipped');
    await until('the others were handled', async () => (await letters()).filter((l) => l.subscription === 'reconciler').length === 1);
    await button(page, 'Purge all').click();
    await dialog(page).getByText(/1 letter\b/).waitFor();
    await dialog(page).getByLabel(/Reason/).fill('nobody needs it');
    await dialog(page).getByLabel(/to confirm/).fill('purge 1');
    await dialog(page).getByRole('button', { name: 'Purge 1' }).click();
    await page.getByText('1 letter purged').waitFor();
    await page.getByText(/No (dead )?letter/).first().waitFor();
  });

  flow('dead letters: purging asks for a reason and the word, and then they are gone', async () => {
    const page = await open({ path: '/ui/dead-letters?chain=dev&subscription=normalizer' });
    const table = page.getByRole('table', { name: /Dead letters/ });
    await table.getByRole('checkbox', { name: /^Select letter/ }).first().check();
    await table.getByRole('checkbox', { name: /^Select letter/ }).nth(1).check();
    await button(page, 'Purge 2').click();
    const purge = dialog(page).getByRole('button', { name: 'Purge 2' });
    await dialog(page).getByLabel(/Reason/).fill('tidying up');
    assert.ok(await purge.isDisabled());
    await dialog(page).getByLabel(/to confirm/).fill('purge 2');
    await purge.click();
    await page.getByText('2 letters purged').waitFor();
    await until('four left', async () => (await table.locator('tbody tr').count()) === 4);
    const [line] = (await world.order({ do: 'audit' })).filter((words) => JSON.stringify(words).includes('tidying up'));
    assert.equal(line?.who, 'local');
  });

  flow('dead letters: one of more than 16 KiB is edited whole', async () => {
    await world.order({ do: 'park', letters: 1, bytes: 20_000 });
    const large = await until('the large letter', async () => (await letters()).find((l) => l.bytes > 20_000));
    const page = await open({ path: `/ui/dead-letters/dev/normalizer/${large.id}?tab=raw` });
    await page.getByText('the first 16.0 KiB are shown').waitFor();
    await page.getByRole('tab', { name: 'Edit' }).click();
    const text = page.getByLabel(/The message, in hex/);
    const before = await text.inputValue();
    assert.ok(before.split(/\s+/).length > 20_000 && before.endsWith('00'), before.slice(-40));
    await text.fill(`${before.slice(0, -2)}07`);
    assert.match(await page.getByRole('group', { name: 'What changes' }).innerText(), /1 taken out, 1 put in/);
    await button(page, 'Review and keep').click();
    await dialog(page).getByLabel(/Reason/).fill('its last byte');
    await dialog(page).getByRole('button', { name: 'Keep' }).click();
    await page.getByText('The letter was edited').waitFor();
    await page.getByText(/by local, .*: its last byte/).waitFor();
  });

  flow('connections and settings show what is, and no secret', async () => {
    await watchlists.one();
    const page = await open({ path: '/ui/connections' });
    const table = page.getByRole('table', { name: 'Subscriptions of 127.0.0.1' });
    await table.waitFor();
    assert.match(await table.innerText(), /blocks[\s\S]*live|entries[\s\S]*live/);
    assert.match(await table.getByRole('row').filter({ hasText: 'entries' }).innerText(), /Token transfer/);
    assert.equal(await table.getByRole('row').filter({ hasText: 'blocks' }).getByRole('cell', { name: 'all', exact: true }).count(), 2);
    await page.getByText('2 connections with 3 subscriptions').waitFor();
    assert.ok(await page.locator('.side-foot').evaluate((foot) => foot.innerText.includes('weir 0') && foot.scrollWidth <= foot.clientWidth), 'versions of builds are long');
    await panel(page, 'Connection of local').getByText('from 127.0.0.1 by WebSocket').waitFor();
    await page.getByLabel('Find', { exact: true }).fill('watch-list');
    await table.waitFor({ state: 'detached' });
    assert.match(page.url(), /find=watch-list/);
    assert.match(await page.getByRole('table', { name: 'Gateways over this Redis' }).innerText(), /answers this page/);
    await page.getByLabel('Find', { exact: true }).fill('nobody at all');
    await page.getByText('No connection matches.').waitFor();
    await visit(page, '/ui/settings');
    await page.getByText('gateway.keys[0].key').waitFor();
    const text = await page.locator('main').innerText();
    for (const key of Object.values(world.facts.keys)) assert.ok(!text.includes(key));
    assert.match(await page.getByRole('row').filter({ hasText: 'gateway.keys[0].key' }).innerText(), /secret, set/);
    await page.getByLabel('Find', { exact: true }).fill('websocket_queue');
    await until('one setting', async () => (await page.locator('tbody tr').count()) === 1);
    await page.getByLabel('Find', { exact: true }).fill('');
    await page.getByLabel('Changed only').check();
    assert.match(page.url(), /show=changed/);
    assert.equal(await page.getByText('reconciler.batch_blocks').count(), 0);
  });

  // ---- watch-lists: watchlists.mjs -----------------------------------------------------------------------------------------------------

  watchlists = watchlistFlows({ flow, open, world: () => world, heading, button, dialog, panel, until, visit });

  // ---- each page in each state: states.mjs ------------------------------------------------------------------------------------------------

  stateFlows({ flow, open, world: () => world, heading, visit, watched: () => watchlists.one(), axe: accessible });

  // ---- each dialog: dialogs.mjs -----------------------------------------------------------------------------------------------------------

  dialogFlows({ flow, open, world: () => world, heading, button, dialog, visit, letters, axe: (page, theme) => accessible(page, rulesOf(theme), 'dialog') });

  // ---- what comes between: interruptions.mjs -----------------------------------------------------------------------------------------------

  interruptionFlows({ flow, open, world: () => world, heading, button, dialog, panel, until, visit, letters });

  // ---- telling others ------------------------------------------------------------------------------------------------------------------

  flow('webhooks: registered with a secret shown once, tried, stopped, sent again, removed', async () => {
    const page = await open({ path: '/ui/webhooks' });
    await page.getByText('No receiver is registered.').waitFor();
    await button(page, 'Register').click();
    await dialog(page).getByLabel(/^URL/).fill('https://10.0.0.1/');
    await dialog(page).getByRole('button', { name: 'Register' }).click();
    await dialog(page).getByText(/where webhooks may not go/).waitFor();
    await dialog(page).getByLabel(/^URL/).fill(world.facts.receiver);
    await dialog(page).getByLabel('Topic').selectOption('accounts');
    assert.equal(await dialog(page).getByLabel('Kind').count(), 0, 'balances are of all kinds');
    await dialog(page).getByLabel('Topic').selectOption('entries');
    await dialog(page).getByLabel('Kind').selectOption('mint');
    await dialog(page).getByRole('button', { name: 'Register' }).click();
    await button(dialog(page), 'Done').click();
    await heading(page, 'Webhook');
    await page.getByText('entries of dev, kind Mint').waitFor();
    await button(page, 'Remove').click();
    await dialog(page).getByLabel(/Reason/).fill('another one');
    await dialog(page).getByLabel(/to confirm/).fill(`remove ${page.url().match(/webhooks\/(\d+)/)[1]}`);
    await dialog(page).getByRole('button', { name: 'Remove' }).click();
    await heading(page, 'Webhooks');
    await button(page, 'Register').click();
    await dialog(page).getByLabel(/^URL/).fill(world.facts.receiver);
    await dialog(page).getByLabel('Topic').selectOption('chain_status');
    await dialog(page).getByLabel(/Description/).fill('for the test');
    await dialog(page).getByRole('button', { name: 'Register' }).click();
    const secret = await dialog(page).locator('.secret code').innerText();
    assert.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
    await button(dialog(page), 'Done').click();
    await heading(page, 'Webhook');
    assert.ok(!(await page.content()).includes(secret), 'it is not shown again');
    assert.ok(!(await page.content()).includes('token-in-path'), 'nor what may be a secret in the URL');
    await button(page, 'Test').click();
    await until('the receiver has it', async () => (await world.order({ do: 'received' })).includes('test'));
    const messages = page.getByRole('table', { name: /Messages/ });
    await messages.getByRole('row').filter({ hasText: 'test' }).filter({ hasText: 'delivered' }).waitFor();
    await world.order({ do: 'received', status: 500 });
    await button(page, 'Test').click();
    await page.getByRole('tab', { name: 'failed' }).click();
    const failed = messages.getByRole('row').filter({ hasText: 'test' });
    await failed.first().waitFor();
    assert.match(await failed.first().innerText(), /the receiver answered 500/);
    await world.order({ do: 'received', status: 200 });
    await failed.first().getByRole('link').click();
    await heading(page, 'Message');
    await page.getByRole('table', { name: /Tries/ }).getByText('the receiver answered 500').first().waitFor();
    assert.match(await page.getByLabel("The message's body").innerText(), /"type": "test"/);
    await button(page, 'Send again').click();
    await page.getByText('It is sent again').waitFor();
    await panel(page, 'Message').getByText('delivered').waitFor();
    await page.goBack();
    await heading(page, 'Webhook');
    await world.order({ do: 'received', status: 500 });
    for (let i = 0; i < 2; i++) await button(page, 'Test').click();
    await page.getByRole('tab', { name: 'failed' }).click();
    await until('two were given up', async () => (await messages.getByRole('row').filter({ hasText: 'test' }).count()) >= 2);
    await world.order({ do: 'received', status: 200 });
    const taken = (await world.order({ do: 'received' })).filter((type) => type === 'test').length;
    await button(page, 'Send failed again').click();
    await dialog(page).getByText(/^\d+ messages were given up\.$/).waitFor();
    await dialog(page).getByLabel(/Reason/).fill('it is well again');
    await dialog(page).getByRole('button', { name: 'Send' }).click();
    await page.getByText(/^\d+ messages sent again$/).waitFor();
    await page.getByText('No message is failed.').waitFor();
    await until('the receiver has both', async () => (await world.order({ do: 'received' })).filter((type) => type === 'test').length >= taken + 2);
    await until('nothing is left to be sent', () => button(page, 'Send failed again').isDisabled());
    await button(page, 'Disable').click();
    await dialog(page).getByLabel(/Reason/).fill('maintenance there');
    await dialog(page).getByRole('button', { name: 'Disable' }).click();
    await panel(page, 'Receiver').getByText(/maintenance there/).waitFor();
    await visit(page, '/ui/webhooks');
    await page.getByRole('row').filter({ hasText: 'disabled' }).getByText('maintenance there').waitFor();
    await page.goBack();
    await button(page, 'Enable').click();
    await dialog(page).getByRole('button', { name: 'Enable' }).click();
    await panel(page, 'Receiver').getByText('enabled', { exact: true }).waitFor();
    await button(page, 'New secret').click();
    await dialog(page).getByRole('button', { name: 'Make it' }).click();
    assert.notEqual(await page.locator('.secret code').innerText(), secret);
    await button(page, 'Done').click();
    await button(page, 'Remove').click();
    await dialog(page).getByLabel(/Reason/).fill('no longer needed');
    await dialog(page).getByLabel(/to confirm/).fill(`remove ${page.url().match(/webhooks\/(\d+)/)[1]}`);
    await dialog(page).getByRole('button', { name: 'Remove' }).click();
    await heading(page, 'Webhooks');
    await page.getByText('No receiver is registered.').waitFor();
    const viewer = await open({ role: 'viewer', path: '/ui/webhooks' });
    await viewer.getByText('No receiver is registered.').waitFor();
    assert.equal(await button(viewer, 'Register').count(), 0);
  });

  flow('alerts: destinations are tried, and silenced with a reason', async () => {
    const page = await open({ path: '/ui/alerts' });
    const destinations = page.getByRole('table', { name: 'Destinations of alerts' });
    await destinations.getByText('chat').waitFor();
    assert.ok(!(await page.content()).includes('secret-path'));
    await button(page, 'Send a test').click();
    await destinations.getByText('taken').waitFor();
    await button(page, 'Silence').click();
    await dialog(page).getByLabel(/^Key/).fill('gap dev *');
    await dialog(page).getByLabel(/Reason/).fill('the provider moves');
    await dialog(page).getByRole('button', { name: 'Silence' }).click();
    const row = page.getByRole('row').filter({ hasText: 'gap dev *' });
    await row.getByText('the provider moves').waitFor();
    await row.getByRole('button', { name: 'End' }).click();
    await dialog(page).getByRole('button', { name: 'End it' }).click();
    await page.getByText('Nothing is silenced.').waitFor();
    const viewer = await open({ role: 'viewer', path: '/ui/alerts' });
    await viewer.getByText('Nothing is silenced.').waitFor();
    assert.equal(await viewer.getByRole('button', { name: /Silence|test/ }).count(), 0);
  });

  // ---- keys, addresses, trouble ------------------------------------------------------------------------------------------------------

  flow('everything is reached from the keyboard', async () => {
    const page = await open();
    await heading(page, 'Overview');
    await page.keyboard.press('g');
    await page.keyboard.press('d');
    await heading(page, 'Dead letters');
    await page.keyboard.press('?');
    await page.getByText('Dark or light').waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('t');
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light');
    await page.reload();
    await page.getByText('Live', { exact: true }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light', 'the choice stays');
    await page.keyboard.press('/');
    await page.keyboard.type('21');
    await page.getByRole('option', { name: /Block 21/ }).waitFor();
    await page.keyboard.press('Enter');
    await heading(page, 'Block 21');
    await page.keyboard.press('Control+k');
    await page.keyboard.type(world.facts.transaction);
    await page.keyboard.press('Enter');
    await heading(page, 'Transaction');
    await page.keyboard.press('Control+k');
    await page.keyboard.type('conn');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await heading(page, 'Connections');
    const skip = page.getByRole('link', { name: 'Skip to content' });
    assert.ok(await skip.evaluate((link) => link.compareDocumentPosition(document.querySelector('nav')) & Node.DOCUMENT_POSITION_FOLLOWING), 'first of all');
    await skip.focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'H1');
    await visit(page, '/ui/chains/dev/blocks/20');
    await page.getByRole('tab', { name: 'Certificate' }).focus();
    await page.keyboard.press('ArrowRight');
    await page.getByRole('tab', { name: /Entries/, selected: true }).waitFor();
  });

  flow('each view has an address of its own, and what is not there says so', async () => {
    const page = await open({ path: '/ui/chains/dev/blocks/20?tab=entries' });
    await page.getByRole('table', { name: /Entries of block/ }).waitFor();
    await visit(page, '/ui/chains/dev/blocks/99999999');
    await page.getByText('The ledger does not have this block.').waitFor();
    await visit(page, '/ui/chains/none');
    await page.getByText('No chain of that name is served here.').waitFor();
    await visit(page, `/ui/chains/dev/transactions/0x${'ab'.repeat(32)}`);
    await page.getByText('The ledger does not have this transaction.').waitFor();
    await visit(page, '/ui/dead-letters/dev/normalizer/1-1');
    await page.getByText('This letter is not there any more.').waitFor();
    await visit(page, '/ui/chains/dev/blocks/%');
    await page.getByText('This could not be loaded').waitFor();
  });

  flow('no page is wider than the window, at 360 and at 768', async () => {
    const { hook, message, remove } = await hookWithMessages(world);
    const page = await open({ width: 360, height: 780 });
    await heading(page, 'Overview');
    const faults = [];
    for (const [name, path, title] of await everyPage(hook, message)) {
      await visit(page, path);
      await heading(page, title);
      await page.locator('.skeleton').first().waitFor({ state: 'detached' });
      for (const width of [768, 360]) {
        await page.setViewportSize({ width, height: 780 });
        let wide = 0;
        for (let i = 0; i < 20 && (wide = await page.evaluate(() => new Promise((told) => { requestAnimationFrame(() => told(document.documentElement.scrollWidth - innerWidth)); }))) > 0; i++); // charts are drawn anew
        if (wide > 0) faults.push(`${name}: ${wide} px wider than ${width}`);
        await page.screenshot({ path: join(SHOTS, `window-${width}-${name}.png`) });
      }
    }
    await remove();
    assert.deepEqual(faults, []);
  });

  flow('on a small screen the pages are behind a menu, which the keyboard and a press beside it close', async () => {
    const page = await open({ width: 390, height: 800 });
    await heading(page, 'Overview');
    await page.screenshot({ path: join(SHOTS, 'small-dark.png') });
    const menu = button(page, 'Menu');
    const blocks = page.getByRole('navigation').getByRole('link', { name: 'Blocks' });
    await menu.focus();
    await page.keyboard.press('Enter');
    await until('the focus is in the menu', () => page.evaluate(() => document.activeElement?.closest('nav') !== null));
    await page.keyboard.press('Escape');
    await blocks.waitFor({ state: 'hidden' });
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Menu', 'and back');
    await menu.click();
    await blocks.waitFor();
    await page.mouse.click(370, 500);
    await blocks.waitFor({ state: 'hidden' });
    await menu.click();
    await blocks.click();
    await heading(page, 'Blocks');
  });

  flow('a hidden tab asks nothing, and asks at once when it is seen again', async () => {
    const page = await open();
    await heading(page, 'Overview');
    const hide = (hidden) => page.evaluate((h) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => h });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await hide(true);
    let before = -1;
    await until('what was under way ends', async () => {
      before = page.asked.length;
      await new Promise((resolve) => { setTimeout(resolve, 1500); });
      return page.asked.length === before;
    });
    await new Promise((resolve) => { setTimeout(resolve, 2500); });
    assert.equal(page.asked.length, before);
    await hide(false);
    await until('asked again', () => page.asked.length > before);
  });

  flow('while the gateway is away the last view stays, says how old it is, and recovers', async () => {
    const page = await open();
    await heading(page, 'Overview');
    const ledger = page.getByRole('article', { name: 'Chain dev' }).locator('.figure', { hasText: 'Ledger' }).locator('dd');
    await ledger.first().waitFor();
    await world.order({ do: 'stop', service: 'gateway' });
    await page.getByText(/Not up to date: what you see is .* old\./).waitFor();
    assert.ok((await number(ledger)) > 0, 'what was known is still there');
    await page.screenshot({ path: join(SHOTS, 'stale-dark.png') });
    await world.order({ do: 'start', service: 'gateway' });
    await button(page, 'Try now').click({ timeout: 2000 }).catch(() => {}); // it may have tried by itself
    await page.locator('.stale').waitFor({ state: 'detached' });
  });

  // ---- signing in by name: login.mjs ---------------------------------------------------------------------------------------------------

  loginFlows({ flow, open, world: () => world, heading, button, dialog, until, visit });

  // ---- what the pages ask through: client.mjs --------------------------------------------------------------------------------------------

  clientFlows({ test, world: () => world });

  test('no page complained', () => {
    assert.deepEqual(tabs.flatMap((page) => page.complaints), []);
  });
});
