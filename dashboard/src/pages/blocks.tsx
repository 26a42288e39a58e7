// The newest blocks of a chain, kept up to date.
import { get, type Schema } from '../api';
import { ago, count, moment } from '../format';
import { go, to } from '../router';
import { useState } from 'preact/hooks';
import { Badge, Empty, Hex, Page, Panel, Button, useNow, type Tone } from '../ui/parts';
import { usePaged } from '../ui/more';
import { List, type Column } from '../ui/table';
import { ChainSelect, NoChain, useChainNames } from './choose';

type Block = Schema<'Block'>;

export const finalityTone: Record<Schema<'Finality'>, Tone> = { seen: 'info', safe: 'info', finalized: 'good', superseded: 'bad' };

function Jump({ chain }: { chain: string }) {
  const [text, setText] = useState('');
  const ok = /^(\d+|0x[0-9a-fA-F]{64}|latest)$/.test(text.trim());
  return (
    <form class="jump" onSubmit={(event) => { event.preventDefault(); if (ok) go(to(['chains', chain, 'blocks', text.trim().toLowerCase()])); }}>
      <label><span class="sr">Height or hash</span><input value={text} placeholder="Height or hash" spellcheck={false} onInput={(e) => setText(e.currentTarget.value)} /></label>
      <Button type="submit" disabled={!ok}>Go</Button>
    </form>
  );
}

function Newest({ chain }: { chain: string }) {
  const now = useNow(2000);
  const list = usePaged(`blocks ${chain}`, (cursor, signal) => get('/v1/chains/{chain}/blocks', { path: { chain }, query: { limit: 40, ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 2000);
  const columns: readonly Column<Block>[] = [
    { head: 'Height', as: 'row', cell: (b) => <a href={to(['chains', chain, 'blocks', b.height])}>{count(b.height)}</a> },
    { head: 'Hash', cell: (b) => <Hex value={b.hash} href={to(['chains', chain, 'blocks', b.hash])} what="the hash" /> },
    { head: 'Finality', cell: (b) => <Badge tone={finalityTone[b.finality]}>{b.finality}</Badge> },
    { head: 'Transactions', as: 'num', cell: (b) => count(b.transaction_count) },
    { head: 'Entries', as: 'num', cell: (b) => count(b.entry_count) },
    { head: 'Gas', as: 'num', cell: (b) => count(b.gas_used) },
    { head: 'Told by', cell: (b) => b.endpoints.join(', ') },
    { head: 'Time', title: (b) => moment(b.timestamp * 1000), cell: (b) => ago(b.timestamp * 1000, now) },
  ];
  return (
    <Page title="Blocks" lead={chain} actions={<><ChainSelect value={chain} href={(c) => to(['chains', c, 'blocks'])} /><Jump chain={chain} /></>}>
      <Panel label="Blocks" flush>
        <List list={list} rows={10} caption={`Blocks of ${chain}, newest first`} columns={columns} id={(b) => b.hash} empty={<Empty title="The ledger has no block yet." />} />
      </Panel>
    </Page>
  );
}

export function Blocks({ chain }: { chain?: string }) {
  const names = useChainNames();
  const chosen = chain ?? names?.[0];
  if (!chosen) return <NoChain title="Blocks" />;
  return <Newest chain={chosen} key={chosen} />;
}
