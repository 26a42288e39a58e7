// Find: what is typed or pasted is read as a page, a height, a hash or an address, on each chain.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import { get } from '../api';
import { live } from '../live';
import { go, to } from '../router';
import { useStore } from '../store';
import { useWho } from '../who';
import { Dialog } from './dialog';
import { Icon } from './icon';
import { pages } from './pages';

const HITS_MAX = 24;

interface Hit { icon: string; text: string; note: string; open: () => void | Promise<void> }

async function openHash(chain: string, hash: string): Promise<void> {
  const found = await get('/v1/chains/{chain}/transactions/{hash}', { path: { chain, hash } }).then(() => true, () => false);
  go(to(['chains', chain, found ? 'transactions' : 'blocks', hash]));
}

function hits(text: string, chains: readonly string[], may: (role: 'admin') => boolean): Hit[] {
  const t = text.trim().toLowerCase();
  const found: Hit[] = [];
  for (const chain of chains) {
    const add = (icon: string, what: string, open: Hit['open']): void => void found.push({ icon, text: what, note: chain, open });
    if (/^\d[\d,\s]*$/.test(t)) {
      const height = t.replace(/\D/g, '');
      add('blocks', `Block ${height}`, () => go(to(['chains', chain, 'blocks', height])));
    } else if (/^0x[0-9a-f]{64}$/.test(t)) {
      add('search', 'Transaction or block with this hash', () => openHash(chain, t));
    } else if (/^0x[0-9a-f]{40}$/.test(t)) {
      add('account', `Account ${t.slice(0, 10)}…${t.slice(-6)}`, () => go(to(['chains', chain, 'accounts', t])));
    } else if (t === '' || 'latest'.startsWith(t)) {
      add('blocks', 'Latest block', () => go(to(['chains', chain, 'blocks', 'latest'])));
    }
    if (chain.includes(t)) add('overview', `Chain ${chain}`, () => go(to(['chains', chain])));
  }
  for (const page of pages) {
    if (page.title.toLowerCase().includes(t) && (!page.needs || may(page.needs))) {
      found.push({ icon: page.icon, text: page.title, note: 'page', open: () => go(to(page.segment ? [page.segment] : [])) });
    }
  }
  return found.slice(0, HITS_MAX);
}

export function Palette({ onClose }: { onClose: () => void }) {
  const { status } = useStore(live);
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const input = useRef<HTMLInputElement>(null);
  const names = (status?.chains ?? []).map((c) => c.name).join(' ');
  const chains = useMemo(() => names.split(' ').filter(Boolean), [names]);
  const { may, role } = useWho();
  const found = useMemo(() => hits(text, chains, may), [text, chains, role]);
  useLayoutEffect(() => input.current?.focus(), []);
  useEffect(() => setAt(0), [text]);
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => list.current?.children[at]?.scrollIntoView({ block: 'nearest' }), [at, found]);
  const open = (hit: Hit | undefined): void => {
    if (!hit) return;
    onClose();
    void hit.open();
  };
  const onKey = (event: KeyboardEvent): void => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step) {
      event.preventDefault();
      setAt((n) => (n + step + found.length) % Math.max(1, found.length));
    } else if (event.key === 'Enter') {
      event.preventDefault();
      // What is typed may be ahead of what is drawn.
      const typed = input.current?.value ?? text;
      open(typed === text ? found[at] : hits(typed, chains, may)[0]);
    }
  };
  return (
    <Dialog title="Find" onClose={onClose} wide>
      <input ref={input} class="palette-input" role="combobox" aria-expanded="true" aria-controls="found" aria-activedescendant={found[at] ? `found-${at}` : undefined}
        aria-label="Height, hash, address or page" placeholder="Height, hash, address or page" value={text} onInput={(e) => setText(e.currentTarget.value)} onKeyDown={onKey}
        spellcheck={false} autocomplete="off" />
      <ul ref={list} class="palette" id="found" role="listbox" aria-label="Found">
        {found.map((hit, i) => (
          <li key={hit.text + hit.note} id={`found-${i}`} role="option" aria-selected={i === at} onPointerMove={() => setAt(i)} onClick={() => open(hit)}>
            <Icon name={hit.icon} /><span>{hit.text}</span><small>{hit.note}</small>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p class="muted palette-none">Nothing looks like that: a height is digits, a hash has 64 hex digits, an address 40.</p>}
    </Dialog>
  );
}
