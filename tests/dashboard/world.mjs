// The world of the tests: the suite (world.py) and a browser over it. Debian's Chromium, driven by playwright-core.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
export const BUILD = resolve(process.env.BUILD ?? join(here, '..', '..', 'build'));
export const SHOTS = join(BUILD, 'dashboard', 'screenshots');
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
/** Why the tests cannot run here, if they cannot. */
export const missing = CHROMIUM ? '' : 'no Chromium on this machine: apt-get install chromium';

export class World {
  static async start({ several = false } = {}) {
    const world = new World();
    const dashboard = join(BUILD, 'share', 'weir', 'dashboard');
    if (!existsSync(dashboard)) throw new Error(`${dashboard} is not there: make dashboard`);
    world.child = spawn('/usr/bin/python3', [join(here, 'world.py'), dashboard, ...(several ? ['several'] : [])],
      { stdio: ['pipe', 'pipe', 'inherit'], env: { WEIR_BIN: join(BUILD, 'bin'), ...process.env } });
    world.lines = createInterface({ input: world.child.stdout })[Symbol.asyncIterator]();
    world.facts = await world.#answer();
    mkdirSync(SHOTS, { recursive: true });
    world.browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] });
    return world;
  }

  async #answer() {
    const { value, done } = await this.lines.next();
    if (done) throw new Error('the suite did not start, or ended');
    return JSON.parse(value);
  }

  /** One order to world.py. */
  async order(order) {
    this.child.stdin.write(`${JSON.stringify(order)}\n`);
    return this.#answer();
  }

  /** A tab of its own, signed in by the link's fragment as `make demo` prints it. What the page complains about ends up in tab.complaints. */
  async tab({ role = 'admin', path = '/ui', theme = 'dark', width = 1440, height = 1000, at = this.facts.admin } = {}) {
    const context = await this.browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: 'reduce', permissions: ['clipboard-read', 'clipboard-write'] });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.complaints = [];
    page.asked = [];
    page.on('pageerror', (error) => page.complaints.push(String(error)));
    page.on('console', (message) => { if (message.type() === 'error' && !/Failed to load resource|ERR_CONNECTION/.test(message.text())) page.complaints.push(message.text()); });
    page.on('request', (request) => page.asked.push(request.url()));
    await page.goto(at + path + (role ? `#key=${this.facts.keys[role]}` : ''));
    return page;
  }

  async stop() {
    await this.browser?.close();
    const ended = new Promise((done) => { this.child.once('exit', done); });
    this.child.stdin.end();
    await ended;
  }
}
