// Each dialog, the command palette and the list of keys, open in both themes: photographed, and what axe says of them; and how they are closed.
import assert from 'node:assert/strict';
import { join } from 'node:path';

import { refusesToReload } from './interruptions.mjs';
import { SHOTS } from './world.mjs';

const SMALL = { width: 360, height: 640 };

export function dialogFlows({ flow, open, world, heading, button, dialog, visit, letters, axe }) {
  // [name, page, its heading, what opens it]; by opening alone nothing is done.
  const all = async () => {
    const letter = (await letters()).find((l) => l.subscription === 'normalizer').id;
    const press = (name) => (page) => button(page, name).click();
    return [
      ['palette', '/ui', 'Overview', (page) => page.keyboard.press('/')], ['keys', '/ui', 'Overview', (page) => page.keyboard.press('?')],
      ...['Pause', 'Reconcile', 'Fetch again', 'Rewind'].map((name) => [name, '/ui/chains/dev', 'dev', press(name)]),
      ['export', '/ui/pipeline/dev', 'Pipeline', press('Begin anew')],
      ['compare', '/ui/incidents', 'Gaps & incidents', (page) => page.locator('details.incident').filter({ hasText: 'Finality violation' }).getByRole('button', { name: 'Compare again' }).click()],
      ['replay', '/ui/dead-letters?subscription=normalizer&chain=dev', 'Dead letters', press('Replay all')], ['purge', '/ui/dead-letters?subscription=normalizer&chain=dev', 'Dead letters', press('Purge all')],
      ['skip', `/ui/dead-letters/dev/normalizer/${letter}`, 'Dead letter', press('Skip')],
      ['watchlist', '/ui/watchlists', 'Watch-lists', press('Make')], ['webhook', '/ui/webhooks', 'Webhooks', press('Register')],
      ['silence', '/ui/alerts', 'Alerts', press('Silence')],
      ['user', '/ui/users', 'Users', press('Add')], ['role', '/ui/users', 'Users', press('Role of nina')], ['password', '/ui/users', 'Users', press('Password of nina')], ['disable', '/ui/users', 'Users', press('Disable nina')],
      ['key', '/ui/keys', 'API keys', press('Make')], ['revoke', '/ui/keys', 'API keys', press('Revoke archive')],
    ];
  };

  for (const theme of ['dark', 'light']) {
    flow(`each dialog is accessible and photographed: ${theme}`, async () => {
      const page = await open({ theme, ...(theme === 'light' ? SMALL : { width: 1100, height: 760 }) }); // the light ones in a small window
      await heading(page, 'Overview');
      const faults = [];
      for (const [name, path, title, show] of await all()) {
        await visit(page, path);
        await heading(page, title);
        await show(page);
        await dialog(page).waitFor();
        await dialog(page).getByText('Counting…').waitFor({ state: 'detached' });
        await page.screenshot({ path: join(SHOTS, `dialog-${name.replace(/\W+/g, '-').toLowerCase()}-${theme}.png`) });
        faults.push(...(await axe(page, theme)).map((v) => `${name}: ${v}`));
        assert.ok(await dialog(page).evaluate((d) => d.contains(document.activeElement)), `${name}: the focus is in it`);
        assert.ok(await dialog(page).evaluate((d) => { const { top, left, right, bottom } = d.getBoundingClientRect(); return top >= 0 && left >= 0 && right <= innerWidth && bottom <= innerHeight; }), `${name}: it is in the window`);
        await page.keyboard.press('Escape');
        await dialog(page).waitFor({ state: 'detached' });
      }
      assert.deepEqual(faults, []);
    });
  }

  flow('a dialog is left by a press beside it and by the back button, not by letting go there', async () => {
    const page = await open({ path: '/ui/alerts' });
    await heading(page, 'Alerts');
    await visit(page, '/ui/webhooks');
    await heading(page, 'Webhooks');
    const ask = async () => {
      await button(page, 'Register').click();
      await dialog(page).waitFor();
    };
    await ask();
    const url = dialog(page).getByLabel(/^URL/);
    await url.fill('https://hooks.example.com/weir');
    const box = await url.boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(10, 700); // the text is selected to its begin, and the button let go beside the dialog
    await page.mouse.up();
    assert.equal(await url.inputValue(), 'https://hooks.example.com/weir', 'nothing that was typed is lost');
    await page.mouse.click(10, 700);
    await dialog(page).waitFor({ state: 'detached' });
    await visit(page, '/ui/dead-letters');
    await visit(page, '/ui/dead-letters?subscription=normalizer&chain=dev');
    await button(page, 'Replay all').click();
    await dialog(page).waitFor();
    await page.goBack();
    await dialog(page).waitFor({ state: 'detached' });
    await heading(page, 'Dead letters'); // another choice of letters than it asked about
  });

  flow('a secret that is shown once is not lost by Escape or a press beside it', async () => {
    const page = await open({ path: '/ui/keys' });
    await button(page, 'Make').click();
    await dialog(page).getByLabel('Name').fill('shown once');
    await dialog(page).getByRole('button', { name: 'Make' }).click();
    const secret = dialog(page).locator('.secret code');
    const key = await secret.innerText();
    for (let i = 0; i < 3; i++) await page.keyboard.press('Escape');
    await page.mouse.click(10, 700);
    await secret.waitFor();
    assert.equal(await secret.innerText(), key);
    await refusesToReload(page);
    await secret.waitFor();
    await button(dialog(page), 'Done').click();
    await dialog(page).waitFor({ state: 'detached' });
  });
}
