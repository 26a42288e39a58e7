// Signing in by name, as a browser does it: what is kept where, sessions that go on and end in all tabs, roles, users and keys.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';

const PASSWORD = 'correct horse battery staple';

function admin(world, method, path, body) {
  return fetch(`${world.facts.admin}/admin/v1/${path}`, {
    method, headers: { Authorization: `Bearer ${world.facts.keys.admin}`, 'Content-Type': 'application/json' }, body: body ? JSON.stringify(body) : undefined });
}

/** Somebody and something to be seen on the pages of users and keys. */
export async function letIn(world) {
  assert.equal((await admin(world, 'POST', 'users', { name: 'nina', role: 'operator', password: PASSWORD })).status, 201);
  assert.equal((await admin(world, 'POST', 'keys', { name: 'archive', scopes: ['read'], addresses: '192.0.2.0/24' })).status, 201);
}

export function loginFlows({ flow, open, world, heading, button, dialog, until, visit }) {
  const make = async (name, role) => assert.equal((await admin(world(), 'POST', 'users', { name, role, password: PASSWORD })).status, 201);

  async function signIn(page, name, password = PASSWORD) {
    await heading(page, 'weir');
    await page.getByRole('tab', { name: 'Name and password' }).click();
    await page.getByLabel('Name', { exact: true }).fill(name);
    await page.getByLabel('Password').fill(password);
    await page.keyboard.press('Enter');
  }
  const told = (page) => page.locator('.who').innerText();
  const asked = (page, path) => page.asked.filter((url) => url.endsWith(path)).length;

  flow('a name and a password let in, and no script can read what the session goes on with', async () => {
    await make('olga', 'operator');
    const page = await open({ role: null });
    await heading(page, 'weir');
    await page.getByRole('tab', { name: 'Name and password' }).click();
    await button(page, 'Sign in').click();
    await page.getByText('Type your name and your password.').waitFor();
    await signIn(page, 'olga', 'not the password');
    await page.getByText('Name and password do not belong together').waitFor();
    await signIn(page, 'olga');
    await heading(page, 'Overview');
    await page.locator('.who', { hasText: /user:olga\s*operator/ }).waitFor();
    const seen = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
    assert.equal(seen, '[{"weir.session":"1","weir.way":"name"},{},""]', 'nothing secret where scripts look');
    const [cookie] = await page.context().cookies();
    assert.deepEqual([cookie.name, cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path], ['weir-session', true, true, 'Strict', '/admin/v1/']);
    assert.ok(!page.asked.some((url) => url.includes(PASSWORD.slice(0, 7)) || url.includes('weirs_')), 'no address holds a secret');
    await page.reload();
    await heading(page, 'Overview');
    await page.locator('.who', { hasText: 'user:olga' }).waitFor();
  });

  flow('the access token is renewed before it ends, and at once when it is refused', async () => {
    await make('petra', 'viewer');
    const page = await open({ role: null });
    await page.clock.install();
    await signIn(page, 'petra');
    await page.clock.runFor(2000);
    await heading(page, 'Overview');
    const before = asked(page, '/refresh');
    await page.clock.runFor(250_000);
    await until('renewed by the clock', async () => { await page.clock.runFor(1000); return asked(page, '/refresh') === before + 1; });
    let refused = 0;
    await page.route('**/admin/v1/status', (route) => (refused++ === 0 ? route.fulfill({ status: 401, contentType: 'application/problem+json', body: '{"status":401,"code":"unauthorized","detail":"x"}' }) : route.fallback()));
    await until('renewed when refused', async () => { await page.clock.runFor(1000); return asked(page, '/refresh') === before + 2; });
    assert.match(await told(page), /user:petra/);
    assert.equal(await page.getByRole('alert').count(), 0, 'nobody noticed');
  });

  flow('a session that cannot be opened yet says why, and is opened when it can be', async () => {
    await make('vera', 'viewer');
    const page = await open({ role: null });
    await signIn(page, 'vera');
    await heading(page, 'Overview');
    const away = (route) => route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"status":503,"code":"dependency_unavailable","detail":"PostgreSQL does not answer"}' });
    await page.route('**/admin/v1/refresh', away);
    await page.reload();
    await page.getByRole('alert').getByText('PostgreSQL does not answer').waitFor();
    await page.unroute('**/admin/v1/refresh', away);
    await button(page, 'Try again').click();
    await heading(page, 'Overview');
    await page.locator('.who', { hasText: 'user:vera' }).waitFor();
  });

  flow('signing out ends the session in every tab, on the server, and for whoever kept a token', async () => {
    await make('quentin', 'viewer');
    const page = await open({ role: null });
    await signIn(page, 'quentin');
    await heading(page, 'Overview');
    const second = await page.context().newPage();
    await second.goto(`${world().facts.admin}/ui/blocks`);
    await heading(second, 'Blocks');
    const token = await new Promise((resolve) => { second.on('request', (r) => r.headers().authorization && resolve(r.headers().authorization)); });
    await page.route('**/admin/v1/logout', async (route) => { // the other tab is told before the server ends the session, else it would find it lapsed
      await second.getByText('Signed out in another tab.').waitFor();
      await route.continue();
    });
    await button(page, 'Sign out').click();
    await heading(page, 'weir');
    await second.getByText('Signed out in another tab.').waitFor();
    assert.equal((await fetch(`${world().facts.admin}/admin/v1/session`, { headers: { Authorization: token } })).status, 401);
    assert.deepEqual(await page.context().cookies(), []);
    await page.reload();
    await heading(page, 'weir');
  });

  flow('who is disabled is out at once, and a role that changes changes the page', async () => {
    await make('rosa', 'viewer');
    const page = await open({ role: null });
    await signIn(page, 'rosa');
    await heading(page, 'Overview');
    assert.equal(await page.getByRole('navigation').getByRole('link', { name: 'Users' }).count(), 0, 'a viewer is not led there');
    await visit(page, '/ui/users');
    await page.getByText('Not allowed').waitFor();
    assert.equal(await button(page, 'Add').count(), 0);
    assert.equal((await admin(world(), 'POST', 'users/rosa/role', { role: 'admin' })).status, 200);
    await page.reload();
    await page.getByRole('navigation').getByRole('link', { name: 'Users' }).click();
    await page.getByRole('table', { name: 'Users, by name' }).getByText('This is you').waitFor({ state: 'detached' });
    await button(page, 'Disable rosa').click();
    await dialog(page).getByText('This is you.').waitFor();
    await dialog(page).getByLabel(/Reason/).fill('a test');
    await dialog(page).getByRole('button', { name: 'Disable' }).click();
    await page.getByText('The session has ended. Sign in again.').waitFor();
    assert.ok(!(await page.content()).includes('olga'), 'nothing is left to see');
  });

  flow('an admin lets somebody in, gives another role and password, and locks out', async () => {
    const page = await open({ path: '/ui/users' });
    await button(page, 'Add').click();
    const add = dialog(page).getByRole('button', { name: 'Add' });
    await dialog(page).getByLabel('Name').fill('sam');
    await dialog(page).getByLabel('Password').fill('short');
    assert.ok(await add.isDisabled());
    await dialog(page).getByLabel('Password').fill(PASSWORD);
    await add.click();
    const row = page.getByRole('row').filter({ hasText: 'sam' });
    await row.getByText('never').waitFor();
    await button(page, 'Add').click();
    await dialog(page).getByLabel('Name').fill('sam');
    await dialog(page).getByLabel('Password').fill(PASSWORD);
    await add.click();
    await page.getByText('there is a user of that name already').waitFor();
    await page.keyboard.press('Escape');
    await button(page, 'Role of sam').click();
    await dialog(page).getByLabel('Role').selectOption('operator');
    await dialog(page).getByRole('button', { name: 'Change' }).click();
    await row.getByText('operator').waitFor();
    await button(page, 'Password of sam').click();
    await dialog(page).getByLabel('Password').fill('another good password');
    await dialog(page).getByRole('button', { name: 'Set' }).click();
    await dialog(page).waitFor({ state: 'detached' });
    const other = await open({ role: null });
    await signIn(other, 'sam', 'another good password');
    await heading(other, 'Overview');
    await button(page, 'Disable sam').click();
    await dialog(page).getByLabel(/Reason/).fill('left');
    await dialog(page).getByRole('button', { name: 'Disable' }).click();
    await row.getByText('disabled').waitFor();
    await other.getByText('The session has ended. Sign in again.').waitFor();
    await visit(page, '/ui/audit/gateway');
    await page.getByRole('row').filter({ hasText: 'user disable' }).filter({ hasText: 'sam: left' }).first().waitFor();
  });

  flow('a key is made, shown once, used, and revoked', async () => {
    const page = await open({ path: '/ui/keys' });
    await page.getByRole('row').filter({ hasText: 'archive' }).getByText('192.0.2.0/24').waitFor();
    await button(page, 'Make').click();
    await dialog(page).getByLabel('Name').fill('reports');
    await dialog(page).getByRole('checkbox', { name: /^viewer/ }).check();
    await dialog(page).getByLabel('Good').selectOption({ label: '30 days' });
    await dialog(page).getByRole('button', { name: 'Make' }).click();
    const key = await dialog(page).locator('.secret code').innerText();
    assert.match(key, /^weir_/);
    const session = () => fetch(`${world().facts.admin}/admin/v1/session`, { headers: { 'X-Api-Key': key } });
    await until('the key is known', async () => (await session()).status === 200);
    await dialog(page).getByRole('button', { name: 'Done' }).click();
    assert.ok(!(await page.content()).includes(key), 'it is not shown again');
    await page.getByRole('row').filter({ hasText: 'reports' }).getByText('read, stream, viewer').waitFor();
    await button(page, 'Revoke reports').click();
    await dialog(page).getByLabel(/Reason/).fill('no longer needed');
    await dialog(page).getByRole('button', { name: 'Revoke' }).click();
    await page.getByRole('row').filter({ hasText: 'reports' }).waitFor({ state: 'detached' });
    await until('the key is refused', async () => (await session()).status === 401);
    await page.getByLabel('Revoked too').check();
    await page.getByRole('row').filter({ hasText: 'reports' }).getByText('revoked').waitFor();
  });

  flow('a page of another origin moves nothing with an operator’s cookie and reads nothing', async () => {
    await make('tess', 'admin');
    const page = await open({ role: null });
    await signIn(page, 'tess');
    await heading(page, 'Overview');
    // Another port of the same host: same-site for SameSite, another origin for everything else.
    const server = createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end('<!doctype html><title>elsewhere</title>'));
    await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    try {
      const elsewhere = await page.context().newPage();
      await elsewhere.goto(`http://127.0.0.1:${server.address().port}/`);
      const outcomes = await elsewhere.evaluate(async ([base, api]) => {
        const attempt = (path, options) => fetch(`${base}${path}`, { credentials: 'include', ...options }).then((r) => r.status, () => 'refused');
        const json = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' };
        return {
          json: await attempt('/admin/v1/refresh', json), read: await attempt('/admin/v1/session', {}),
          simple: await attempt('/admin/v1/logout', { method: 'POST', mode: 'no-cors', body: '{}', headers: { 'Content-Type': 'text/plain' } }),
          socket: await new Promise((resolve) => {
            const socket = new WebSocket(`${api.replace('http', 'ws')}/v1/ws`);
            socket.onopen = () => resolve('open');
            socket.onerror = () => resolve('refused');
          }),
          frame: await new Promise((resolve) => {
            const frame = document.createElement('iframe');
            frame.onload = () => { try { resolve(frame.contentDocument ? 'readable' : 'refused'); } catch { resolve('refused'); } };
            frame.src = `${base}/ui`;
            document.body.append(frame);
          }),
        };
      }, [world().facts.admin, world().facts.api]);
      assert.deepEqual(outcomes, { json: 'refused', read: 'refused', simple: 'refused', socket: 'refused', frame: 'refused' });
    } finally {
      server.close();
    }
    await page.reload();
    await page.locator('.who', { hasText: 'user:tess' }).waitFor(); // the session is as it was
  });
}
