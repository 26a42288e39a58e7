// What comes between: a session that ends, a page that is loaded anew, a gateway that restarts, while somebody is in the middle of something.
import assert from 'node:assert/strict';

import { connect } from './client.mjs';

/** The browser asks first, and who stays has everything as it was. */
export async function refusesToReload(page) {
  const asked = page.waitForEvent('dialog');
  const reload = page.evaluate(() => location.reload());
  const question = await asked;
  assert.equal(question.type(), 'beforeunload');
  await question.dismiss();
  await reload;
}

export function interruptionFlows({ flow, open, world, heading, button, dialog, panel, until, visit, letters }) {
  const weir = () => connect(world().facts.admin, { key: world().facts.keys.admin });
  async function madeKey(name) {
    const made = await weir().post('/admin/v1/keys', { body: { name, scopes: ['read', 'admin'] } });
    const known = () => fetch(`${world().facts.admin}/admin/v1/session`, { headers: { 'X-Api-Key': made.key } });
    await until('the key is known', async () => (await known()).status === 200);
    return made;
  }

  flow('what comes late takes nobody’s focus', async () => {
    const page = await open();
    await heading(page, 'Overview');
    let release;
    const held = new Promise((resolve) => { release = resolve; });
    await page.route('**/v1/chains/dev/blocks/20', async (route) => { await held; await route.continue(); });
    await visit(page, '/ui/chains/dev/blocks/20');
    await heading(page, /^Block$/);
    await until('the heading has the focus', () => page.evaluate(() => document.activeElement?.tagName === 'H1'));
    await button(page, 'Keyboard shortcuts').focus();
    release();
    await heading(page, 'Block 20');
    await page.getByRole('tab', { name: 'Certificate' }).waitFor();
    await until('the title is told', async () => (await page.title()) === 'Block 20 · weir');
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Keyboard shortcuts');
    await page.getByRole('link', { name: '21 ›' }).click();
    await heading(page, 'Block 21');
    await until('the next page’s heading has it', () => page.evaluate(() => document.activeElement?.tagName === 'H1'));
    await page.unrouteAll({ behavior: 'ignoreErrors' });
  });

  flow('a session that ends in the middle of an edit costs nothing that was typed, and shows it to nobody else', async () => {
    const password = 'correct horse battery staple';
    await weir().post('/admin/v1/users', { body: { name: 'uma', role: 'admin', password } });
    const { id } = (await letters()).find((l) => l.error.includes('elsewhere') && l.bytes < 1000);
    const page = await open({ role: null, path: `/ui/dead-letters/dev/normalizer/${id}?tab=edit` });
    const asUma = async () => {
      await page.getByRole('tab', { name: 'Name and password' }).click();
      await page.getByLabel('Name', { exact: true }).fill('uma');
      await page.getByLabel('Password').fill(password);
      await page.keyboard.press('Enter');
    };
    const withKey = async (key) => {
      await page.getByRole('tab', { name: 'Key' }).click();
      await page.getByLabel('API key').fill(key);
      await page.keyboard.press('Enter');
    };
    await asUma();
    const text = page.getByLabel(/The message, in hex/);
    const before = await text.inputValue();
    await text.fill(`${before} 20 07`);
    await visit(page, '/ui/blocks');
    await heading(page, 'Blocks');
    await page.goBack();
    await text.waitFor();
    assert.equal(await text.inputValue(), `${before} 20 07`, 'another page was looked at meanwhile');
    await weir().post('/admin/v1/users/{name}/password', { path: { name: 'uma' }, body: { password } }); // which ends the session
    await page.getByText('The session has ended. Sign in again.').waitFor();
    assert.ok(!(await page.content()).includes('The message, in hex'), 'nothing is left to see');
    const { id: other, key } = await madeKey('another editor');
    await withKey(key);
    await text.waitFor();
    assert.equal(await text.inputValue(), before, 'what another typed is not shown');
    await weir().post('/admin/v1/keys/{id}/revoke', { path: { id: other }, body: { why: 'in the middle of it' } });
    await page.getByText('The key is not valid any more. Sign in again.').waitFor();
    await asUma();
    await text.waitFor();
    assert.equal(await text.inputValue(), `${before} 20 07`, 'what was typed is there again');
    assert.match(await page.getByRole('group', { name: 'What changes' }).innerText(), /0 taken out, 2 put in/);
    await refusesToReload(page);
    await button(page, 'Sign out').click();
    await heading(page, 'weir');
    await asUma();
    await text.waitFor();
    assert.equal(await text.inputValue(), before, 'who signs out leaves nothing');
    const viewer = await open({ role: 'viewer', path: `/ui/dead-letters/dev/normalizer/${id}?tab=edit` });
    await viewer.getByText('Only an admin edits letters.').waitFor();
  });

  flow('a page that is loaded anew in the middle of a replay goes on showing it', async () => {
    const page = await open({ path: '/ui/dead-letters?subscription=normalizer&chain=dev' });
    await button(page, 'Replay all').click();
    await dialog(page).getByLabel(/At most per second/).fill('1');
    await dialog(page).getByLabel(/Reason/).fill('loaded anew');
    await dialog(page).getByRole('button', { name: /^Replay \d/ }).click();
    const job = panel(page, 'Replays').getByRole('listitem').filter({ hasText: 'loaded anew' });
    await job.getByRole('button', { name: 'Pause' }).click();
    await job.getByText('paused', { exact: true }).waitFor();
    const told = await job.locator('.job-figures').innerText();
    await page.reload();
    await job.getByText('paused', { exact: true }).waitFor();
    assert.equal(await job.locator('.job-figures').innerText(), told);
    await visit(page, '/ui/blocks');
    await heading(page, 'Blocks');
    await page.goBack();
    await job.getByRole('button', { name: 'Cancel' }).click();
    await job.getByText('canceled', { exact: true }).waitFor();
  });

  flow('pages that are asked for once come by themselves when the gateway is back', async () => {
    const page = await open();
    await heading(page, 'Overview');
    await page.clock.install();
    let refused = 0;
    const away = (route) => { refused++; return route.abort('connectionrefused'); };
    await page.route('**/admin/v1/settings', away);
    await visit(page, '/ui/settings');
    await page.clock.runFor(1000);
    await page.getByText('This could not be loaded').waitFor();
    await until('it is tried longer than a restart takes', async () => { await page.clock.runFor(5000); return refused > 6; });
    await page.unroute('**/admin/v1/settings', away);
    await until('and there it is', async () => { await page.clock.runFor(5000); return page.getByText('gateway.keys[0].key').isVisible(); });
  });

  flow('the gateway restarts while somebody reads an account: nothing moves, and it goes on', async () => {
    const page = await open({ path: `/ui/chains/dev/accounts/${world().facts.account}?since=all` });
    const balances = page.getByRole('table', { name: 'Balances of the account' });
    await balances.waitFor();
    await world().order({ do: 'stop', service: 'gateway' });
    await page.getByText(/Not up to date: what you see is .* old\./).waitFor();
    assert.ok(await balances.isVisible(), 'what was known is still there');
    await button(page, 'Explain').click();
    await page.getByText('The gateway does not answer.').first().waitFor();
    await world().order({ do: 'start', service: 'gateway' });
    await page.locator('.stale').waitFor({ state: 'detached' });
    assert.ok(await balances.isVisible());
    assert.match(page.url(), /since=all$/);
    await page.getByText(/\d+ certificates? of \d+ blocks? looked at/).waitFor(); // by itself
  });
}
