// Watch-lists as an operator works with them: made, filled by pasting, looked at while somebody follows, renamed and deleted.
import assert from 'node:assert/strict';

import { connect } from './client.mjs';

export function watchlistFlows({ flow, open, world, heading, button, dialog, panel, until, visit }) {
  const address = (n) => `0x${n.toString(16).padStart(40, '0')}`;
  const weir = () => connect(world().facts.admin, { key: world().facts.keys.admin });
  let made;
  /** The id of one with some addresses, that somebody follows: for the photographs. */
  const one = () => {
    made ??= (async () => {
      const { id } = await weir().post('/v1/watchlists', { body: { chain: 'dev', name: 'hot wallets' } });
      const addresses = [world().facts.account, ...Array.from({ length: 40 }, (_, i) => address(i + 1))];
      await weir().post('/v1/watchlists/{watchlist}/addresses', { path: { watchlist: id }, body: { addresses } });
      await world().order({ do: 'watch', watchlist: id });
      return id;
    })();
    return made;
  };

  flow('watch-lists: made, filled by pasting with each wrong line told, and deleted by its name', async () => {
    const page = await open({ path: '/ui/watchlists' });
    await heading(page, 'Watch-lists');
    await button(page, 'Make').click();
    await dialog(page).getByLabel('Name').fill('treasury');
    await dialog(page).getByRole('button', { name: 'Make' }).click();
    await heading(page, 'Watch-list');
    await page.getByText('No address belongs to it.').waitFor();
    await page.getByText('Nobody follows it now.').waitFor();
    const text = page.getByRole('textbox', { name: /^Addresses/ });
    await text.fill(`${address(1)}\n0x12\n"${address(2).toUpperCase().replace('X', 'x')}", ${address(1)};\n\n${address(3)}z\n${address(4).slice(2)}`);
    const faults = page.getByRole('alert').filter({ hasText: '3 entries are no addresses' });
    assert.deepEqual(await faults.getByRole('listitem').allInnerTexts(), ['Line 2: 0x12 it has 2 hex digits, not 40',
      `Line 5: ${address(3)}z it has characters that are no hex digits`, `Line 6: ${address(4).slice(2)} it begins without 0x`]);
    await page.getByText('1 address given twice counts once.').waitFor();
    assert.ok(await button(page, 'Add 2 addresses').isDisabled(), 'not while some are wrong');
    await page.getByLabel('Leave them out').check();
    await button(page, 'Add 2 addresses').click();
    await page.getByText('2 addresses added').waitFor();
    const members = page.getByRole('table', { name: /^Addresses of the list/ });
    await members.getByRole('row').nth(2).waitFor();
    // More than one request takes, by a file.
    await page.getByLabel('Or a file of them').setInputFiles({ name: 'many.csv', mimeType: 'text/csv', buffer: Buffer.from(Array.from({ length: 12_000 }, (_, i) => address(i + 1)).join('\n')) });
    await button(page, 'Add 12,000 addresses').click();
    await page.getByText('11,998 addresses added, 2 belonged to it already').waitFor();
    await until('the count', async () => /Addresses\s*12,000/.test(await panel(page, 'Watch-list').innerText()));
    await page.getByRole('tab', { name: 'Take out' }).click();
    await text.fill(`${address(1)}, ${address(99_999)}`);
    await button(page, 'Take out 2 addresses').click();
    await page.getByText('1 address taken out, 1 did not belong to it').waitFor();
    await button(page, `Take out ${address(2)}`).click();
    await members.getByText(address(2)).waitFor({ state: 'detached' });
    await members.getByText(address(3)).waitFor();
    await button(page, 'Rename').click();
    const rename = dialog(page).getByRole('button', { name: 'Rename' });
    assert.ok(await rename.isDisabled(), 'it has this name');
    await dialog(page).getByLabel('Name').fill('vault');
    await rename.click();
    await page.getByText('vault').waitFor();
    await button(page, 'Delete').click();
    const act = dialog(page).getByRole('button', { name: 'Delete' });
    await dialog(page).getByText(/11,998 addresses of local are forgotten[\s\S]*Nobody follows it now/).waitFor();
    assert.ok(await act.isDisabled());
    await dialog(page).getByLabel(/to confirm/).fill('vault');
    await act.click();
    await page.getByText('Watch-list vault deleted').waitFor();
    await heading(page, 'Watch-lists');
    await page.getByRole('row').filter({ hasText: 'vault' }).waitFor({ state: 'detached' });
    await visit(page, '/ui/watchlists/99999');
    await page.getByText('There is no such watch-list.').waitFor();
  });

  flow('watch-lists: who follows one, and the memory that it takes', async () => {
    const id = await one();
    const page = await open({ path: '/ui/watchlists' });
    const row = page.getByRole('row').filter({ hasText: 'hot wallets' });
    await until('its memory and who follows', async () => /dev\s*41\s*[\d.]+ (B|KiB) in memory\s*local\s*local/.test(await row.innerText()));
    await row.getByRole('link', { name: 'hot wallets' }).click();
    const followers = page.getByRole('table', { name: 'Subscriptions to the list' });
    await followers.getByRole('row').filter({ hasText: 'local' }).filter({ hasText: /127\.0\.0\.1\s*websocket/ }).waitFor();
    // A receiver is told of it, too.
    await visit(page, '/ui/webhooks');
    await button(page, 'Register').click();
    await dialog(page).getByLabel(/^URL/).fill(world().facts.receiver);
    await dialog(page).getByLabel('Topic').selectOption('watchlist');
    await dialog(page).getByLabel(/^Watch-list/).selectOption({ label: 'hot wallets (local, 41 addresses)' });
    await dialog(page).getByRole('button', { name: 'Register' }).click();
    await button(dialog(page), 'Done').click();
    await heading(page, 'Webhook');
    await panel(page, 'Receiver').getByRole('link', { name: `watch-list ${id}` }).click();
    await panel(page, 'Followed by').getByRole('link', { name: /^\d+$/ }).click();
    await heading(page, 'Webhook');
    await button(page, 'Remove').click();
    await dialog(page).getByLabel(/Reason/).fill('seen');
    await dialog(page).getByLabel(/to confirm/).fill(`remove ${page.url().match(/webhooks\/(\d+)/)[1]}`);
    await dialog(page).getByRole('button', { name: 'Remove' }).click();
    await heading(page, 'Webhooks');
    await visit(page, `/ui/watchlists/${id}`);
    await panel(page, 'Addresses').getByRole('link').first().click();
    await heading(page, 'Account');
    const viewer = await open({ role: 'viewer', path: '/ui/watchlists' });
    await viewer.getByText('You have no watch-list.').waitFor();
    assert.equal(await button(viewer, 'Make').count(), 0);
    const other = await open({ role: 'viewer', path: `/ui/watchlists/${id}` });
    await other.getByText('There is no such watch-list.').waitFor();
  });

  return { one };
}
