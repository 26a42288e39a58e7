// The frame around every page: where one can go, how fresh what is shown is, who is signed in; and the keys that work everywhere.
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

import { count, duration } from '../format';
import { chainHealth } from '../health';
import { live, retryNow } from '../live';
import { go, place, to } from '../router';
import { logout } from '../login';
import { useStore } from '../store';
import { theme, toggleTheme } from '../theme';
import { useWho } from '../who';
import { Dialog } from './dialog';
import { Icon } from './icon';
import { pages } from './pages';
import { Palette } from './palette';
import { Button, Dot, useNow } from './parts';
import { Toasts } from './toast';

const address = (segment: string): string => to(segment ? [segment] : []);

function current(segments: readonly string[]): string {
  if (segments[0] !== 'chains') return segments[0] ?? '';
  return segments[2] === 'accounts' || segments[2] === 'assets' ? 'accounts' : segments[2] ? 'blocks' : 'chain';
}

/** In whole seconds: less is of no use to anybody. */
const age = (ms: number): string => duration(Math.max(1, Math.round(ms / 1000)) * 1000).replace('.0 s', ' s');

function StaleBanner() {
  const { error, at, retryAt } = useStore(live);
  const now = useNow(500);
  if (!error || !at) return null; // without any data the page says so itself
  return (
    <div class="stale" role="alert">
      <Icon name="alert" />
      <span>
        <b>Not up to date: what you see is {age(now - at)} old.</b> {error.detail}
      </span>
      <span class="muted">{retryAt > now ? `Trying again in ${Math.ceil((retryAt - now) / 1000)} s` : 'Trying again…'}</span>
      <Button kind="ghost" onClick={retryNow}>Try now</Button>
    </div>
  );
}

function Help({ onClose }: { onClose: () => void }) {
  const { may } = useWho();
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl class="keys">
        <dt><kbd>/</kbd> or <kbd>Ctrl</kbd> <kbd>K</kbd></dt><dd>Find a block, transaction, account or page</dd>
        {pages.filter((p) => !p.needs || may(p.needs)).map((p) => [<dt key={p.key}><kbd>g</kbd> <kbd>{p.key}</kbd></dt>, <dd key={`${p.key}-`}>{p.title}</dd>])}
        <dt><kbd>t</kbd></dt><dd>Dark or light</dd>
        <dt><kbd>?</kbd></dt><dd>This list</dd>
        <dt><kbd>Esc</kbd></dt><dd>Close what is open</dd>
      </dl>
      <div class="dialog-actions"><Button onClick={onClose}>Close</Button></div>
    </Dialog>
  );
}

function useKeys(open: (what: 'palette' | 'help') => void): void {
  useLayoutEffect(() => {
    let waiting = false;
    const onKey = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
        event.preventDefault();
        open('palette');
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest('input, textarea, select, dialog')) return;
      if (waiting) {
        waiting = false;
        const page = pages.find((p) => p.key === event.key);
        if (page) go(address(page.segment));
      } else if (event.key === 'g') {
        waiting = true;
        setTimeout(() => { waiting = false; }, 1500);
      } else if (event.key === '/') {
        event.preventDefault();
        open('palette');
      } else if (event.key === '?') {
        open('help');
      } else if (event.key === 't') {
        toggleTheme();
      }
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
}

/** The pages on a small screen: the focus goes there, and back when it is closed by Escape; a press beside it closes it, too. */
function useMenu(open: boolean, close: () => void) {
  const side = useRef<HTMLElement>(null);
  useEffect(() => {
    if (!open) return undefined;
    const opener = document.activeElement;
    side.current?.querySelector<HTMLElement>('nav a')?.focus();
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== 'Escape') return;
      close();
      if (opener instanceof HTMLElement) opener.focus();
    };
    const onPress = (event: PointerEvent): void => {
      if (event.target instanceof Element && !event.target.closest('.side, .menu')) close();
    };
    addEventListener('keydown', onKey);
    addEventListener('pointerdown', onPress);
    return () => {
      removeEventListener('keydown', onKey);
      removeEventListener('pointerdown', onPress);
    };
  }, [open]);
  return side;
}

export function Shell({ children }: { children: ComponentChildren }) {
  const where = useStore(place);
  const { status } = useStore(live);
  const shade = useStore(theme);
  const who = useWho();
  const [open, setOpen] = useState<'palette' | 'help' | 'menu' | ''>('');
  useKeys(setOpen);
  useEffect(() => setOpen((what) => (what === 'menu' ? '' : what)), [where]);
  const menu = useMenu(open === 'menu', () => setOpen(''));
  const chains = status?.chains ?? [];
  const trouble = chains.reduce((n, c) => n + (c.gaps ?? 0) + (c.incidents ?? 0), 0);
  const letters = chains.reduce((n, c) => n + Object.values(c.dead_letters ?? {}).reduce((a, b) => a + b, 0), 0);
  const marks: Record<string, number> = { incidents: trouble, 'dead-letters': letters };
  const here = current(where.segments);
  return (
    <div class={open === 'menu' ? 'shell menu-open' : 'shell'}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.querySelector<HTMLElement>('main h1')?.focus(); }}>Skip to content</a>
      <aside class="side" ref={menu}>
        <a class="brand" href={to()} aria-label="weir, overview">
          <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true"><rect width="32" height="32" rx="8" /><path d="M7 9v12M13 9v12M19 13v8M25 16v5" /><path class="water" d="M5 26h22" /></svg>
          <span>weir</span>
        </a>
        <nav aria-label="Pages">
          <ul>
            {pages.filter((p) => !p.needs || who.may(p.needs)).map((p) => (
              <li key={p.segment}>
                <a href={address(p.segment)} aria-current={here === p.segment ? 'page' : undefined}>
                  <Icon name={p.icon} /><span>{p.title}</span>
                  {(marks[p.segment] ?? 0) > 0 && <span class={`count ${p.segment === 'incidents' ? 'bad' : 'warn'}`}>{count(marks[p.segment])}</span>}
                </a>
              </li>
            ))}
          </ul>
          {chains.length > 0 && (
            <>
              <h2>Chains</h2>
              <ul>
                {chains.map((c) => (
                  <li key={c.name}>
                    <a href={to(['chains', c.name])} aria-current={where.segments[1] === c.name && where.segments.length === 2 && where.segments[0] === 'chains' ? 'page' : undefined}>
                      {status && <Dot tone={chainHealth(c, status).tone} />}<span>{c.name}</span>{status && <span class="sr">, {chainHealth(c, status).word}</span>}
                    </a>
                  </li>
                ))}
              </ul>
            </>
          )}
        </nav>
        <div class="side-foot">
          {status && <span>weir {status.version}<br />up {duration(status.uptime_seconds * 1000)}</span>}
        </div>
      </aside>
      <header class="top">
        <button type="button" class="icon-button menu" aria-label="Menu" aria-expanded={open === 'menu'} onClick={() => setOpen(open === 'menu' ? '' : 'menu')}><Icon name="menu" /></button>
        <button type="button" class="find" aria-label="Find a block, transaction or account" onClick={() => setOpen('palette')}>
          <Icon name="search" /><span>Find a block, transaction or account</span><kbd>/</kbd>
        </button>
        <span class="grow" />
        <Freshness />
        <button type="button" class="icon-button" onClick={toggleTheme} aria-label={shade === 'dark' ? 'Light theme' : 'Dark theme'} title="Theme (t)"><Icon name={shade === 'dark' ? 'sun' : 'moon'} /></button>
        <button type="button" class="icon-button" onClick={() => setOpen('help')} aria-label="Keyboard shortcuts" title="Keyboard (?)"><span aria-hidden="true">?</span></button>
        <span class="who"><b>{who.name}</b><span>{who.role}</span></span>
        <button type="button" class="icon-button" onClick={() => void logout()} aria-label="Sign out" title="Sign out"><Icon name="out" /></button>
      </header>
      <main id="main">
        <StaleBanner />
        {children}
      </main>
      {open === 'palette' && <Palette onClose={() => setOpen('')} />}
      {open === 'help' && <Help onClose={() => setOpen('')} />}
      <Toasts />
    </div>
  );
}

function Freshness() {
  const { at, error, status } = useStore(live);
  const now = useNow();
  if (!at) return error ? <span class="fresh bad" title={error.detail}><span class="pulse" aria-hidden="true" />No status</span> : null;
  const down = [status?.postgres.ok === false && 'PostgreSQL', status?.redis.ok === false && 'Redis'].filter(Boolean).join(' and ');
  const late = error || now - at > 5000;
  return (
    <span class={`fresh ${late || down ? 'bad' : 'good'}`} title={down ? `${down} does not answer the gateway` : 'Asked once a second'}>
      <span class="pulse" aria-hidden="true" />{down ? `${down} away` : late ? `${age(now - at)} old` : 'Live'}
    </span>
  );
}
