// One chain: its charts in large, what it is, and what an operator can do to it.
import { useState } from 'preact/hooks';

import { post } from '../api';
import { ago, count, moment, plural } from '../format';
import { chainHealth } from '../health';
import { live } from '../live';
import { to } from '../router';
import { useStore } from '../store';
import { useWho } from '../who';
import { TimeChart, type Point } from '../ui/chart';
import { Confirm } from '../ui/dialog';
import { Badge, Button, Empty, Hex, Page, Panel } from '../ui/parts';
import { BlockStrip } from '../ui/strip';
import { toast } from '../ui/toast';
import { NoChain } from './choose';
import { beforeHere, useNewestBlocks } from './overview';
import { ProofChart, ProofRows, useProof } from './proof';
import { History } from './statistics';
import { RATE_SECONDS, StageCharts } from './stages';

type Action = 'pause' | 'resume' | 'refetch' | 'reconcile' | 'rewind';

export function ChainActions({ chain, paused, top }: { chain: string; paused: boolean; top: number }) {
  const { may } = useWho();
  const [open, setOpen] = useState<Action>();
  const [from, setFrom] = useState('');
  const [upTo, setUpTo] = useState('');
  const [account, setAccount] = useState('');
  if (!may('operator')) return null;
  const show = (action: Action): void => {
    setFrom('');
    setUpTo('');
    setAccount('');
    setOpen(action);
  };
  const height = (text: string): number | undefined => (/^\d+$/.test(text) ? Number(text) : undefined);
  const close = (): void => setOpen(undefined);
  const sent = (what: string) => () => toast(`${what}: the command was sent`);
  return (
    <>
      {paused
        ? <Button icon="play" kind="primary" onClick={() => show('resume')}>Resume</Button>
        : <Button icon="pause" onClick={() => show('pause')}>Pause</Button>}
      <Button icon="compare" onClick={() => show('reconcile')}>Reconcile</Button>
      <Button icon="refetch" onClick={() => show('refetch')}>Fetch again</Button>
      {may('admin') && <Button icon="rewind" kind="danger" onClick={() => show('rewind')}>Rewind</Button>}
      {open === 'pause' && (
        <Confirm title={`Pause ${chain}?`} action="Pause" reason="optional" onClose={close}
          onConfirm={(reason) => post('/admin/v1/chains/{chain}/pause', { path: { chain }, body: { reason } }).then(sent('Pause'))}>
          <p>Nothing is applied to the ledger until the chain is resumed. Clients keep reading what is there.</p>
        </Confirm>
      )}
      {open === 'resume' && (
        <Confirm title={`Resume ${chain}?`} action="Resume" onClose={close}
          onConfirm={() => post('/admin/v1/chains/{chain}/resume', { path: { chain }, body: {} }).then(sent('Resume'))}>
          <p>The ledger goes on where it stopped.</p>
        </Confirm>
      )}
      {open === 'reconcile' && (
        <Confirm title={`Compare balances of ${chain}`} action="Compare" onClose={close} ready={account === '' || /^0x[0-9a-fA-F]{40}$/.test(account)}
          onConfirm={() => post('/admin/v1/chains/{chain}/reconcile', { path: { chain }, body: account ? { account } : {} }).then(sent('Reconcile'))}>
          <p>Balances of the ledger are compared with the chain at the same block. A difference opens an incident.</p>
          <label class="field"><span>Account <em>(empty: a sweep over all)</em></span><input class="mono" value={account} onInput={(e) => setAccount(e.currentTarget.value.trim())} placeholder="0x…" spellcheck={false} /></label>
        </Confirm>
      )}
      {open === 'refetch' && (
        <Confirm title={`Fetch blocks of ${chain} again`} action="Fetch" reason="optional" onClose={close} ready={height(from) !== undefined && (upTo === '' || height(upTo) !== undefined)}
          onConfirm={(reason) => post('/admin/v1/chains/{chain}/refetch', { path: { chain }, body: { from_height: height(from) ?? 0, ...(upTo ? { to_height: height(upTo) ?? 0 } : {}), reason } }).then(sent('Fetch again'))}>
          <p>The blocks are asked of the endpoints again. What is in the ledger and the same is skipped.</p>
          <div class="two">
            <label class="field"><span>From height</span><input inputMode="numeric" value={from} onInput={(e) => setFrom(e.currentTarget.value)} /></label>
            <label class="field"><span>To height <em>(empty: one block)</em></span><input inputMode="numeric" value={upTo} onInput={(e) => setUpTo(e.currentTarget.value)} /></label>
          </div>
        </Confirm>
      )}
      {open === 'rewind' && (
        <Confirm title={`Rewind ${chain}`} action="Rewind" danger reason="required" word={chain} onClose={close} ready={height(from) !== undefined && (height(from) ?? 0) < top}
          onConfirm={(reason) => post('/admin/v1/chains/{chain}/rewind', { path: { chain }, body: { to_height: height(from) ?? 0, reason } }).then(sent('Rewind'))}>
          <p>Every block above the height is taken back by reversal entries, clients are told, and the blocks are fetched again. History is superseded, not deleted.</p>
          <label class="field"><span>To height <em>(the ledger ends at {count(top)})</em></span><input inputMode="numeric" value={from} onInput={(e) => setFrom(e.currentTarget.value)} /></label>
          {height(from) !== undefined && (height(from) ?? 0) < top && <p class="form-note">{plural(top - (height(from) ?? 0), 'block')} will be taken back.</p>}
        </Confirm>
      )}
    </>
  );
}

export function ChainPage({ chain: name, query }: { chain: string; query: URLSearchParams }) {
  const { status, history } = useStore(live);
  const blocks = useNewestBlocks(name);
  const proof = useProof(name);
  const chain = status?.chains.find((c) => c.name === name);
  if (!status) return <NoChain title={name} />;
  if (!chain) return <Page title={name}><Empty icon="search" title="No chain of that name is served here." /></Page>;
  const health = chainHealth(chain, status);
  const samples = history.get(name) ?? [];
  const items = (blocks.data?.items ?? []).toReversed();
  const applied = (figure: (b: (typeof items)[number]) => number): Point[] => items.map((b) => ({ at: Date.parse(b.applied_at), value: figure(b) }));
  const end = samples.at(-1)?.at ?? Date.now();
  return (
    <Page title={name} lead={<><Badge tone={health.tone}>{health.word}</Badge> {health.why}</>}
      actions={<ChainActions chain={name} paused={chain.paused ?? false} top={chain.watermark?.height ?? 0} />}>
      {items.length > 0 && <Panel title="Newest blocks" hint={<span class="keys-legend"><i class="seen" /> seen <i class="safe" /> safe <i class="finalized" /> finalized</span>}
        actions={<a href={to(['chains', name, 'blocks'])}>All blocks</a>}><BlockStrip blocks={items.slice(-80).toReversed()} chain={name} /></Panel>}
      <Panel title="Rate of each stage" hint={`over ${RATE_SECONDS} s at each moment`}><StageCharts samples={samples} height={110} /></Panel>
      <div class="grid two-up">
        <Panel label="Height"><TimeChart title="Height" height={180} fromZero={false} format={(n) => count(Math.round(n))} series={[
          { name: 'head', tone: 'b', points: samples.map((s) => ({ at: s.at, value: s.head })) },
          { name: 'ledger', tone: 'a', points: [...beforeHere(blocks.data?.items ?? [], samples), ...samples.map((s) => ({ at: s.at, value: s.watermark }))] }]} /></Panel>
        <Panel label="Lag"><TimeChart title="Lag in blocks" height={180} series={[
          { name: 'behind the head', tone: 'c', area: true, points: samples.map((s) => ({ at: s.at, value: s.lagBlocks })) }]} /></Panel>
        <Panel label="Entries per block"><TimeChart title="Entries per block" height={180} end={end} series={[{ name: 'entries', tone: 'a', area: true, points: applied((b) => b.entry_count) }]} /></Panel>
        <Panel label="Age of blocks when applied"><TimeChart title="Age of blocks when applied" height={180} end={end} unit=" s" whole={false} apart={0.1} format={(n) => (n < 10 ? n.toFixed(1) : count(Math.round(n)))} series={[
          { name: 'block time to ledger', tone: 'b', points: applied((b) => Math.max(0, Date.parse(b.applied_at) / 1000 - b.timestamp)) }]} /></Panel>
      </div>
      <History chain={name} query={query} />
      <div class="grid two-up">
        <Panel title="Proof"><ProofRows asked={proof} /><ProofChart chain={name} height={130} /></Panel>
        <Panel title="What it is">
          <dl class="facts">
            <dt>Family</dt><dd>{chain.family} · profile {chain.profile}</dd>
            <dt>Chain id</dt><dd>{chain.chain_id}</dd>
            <dt>Genesis</dt><dd>{chain.genesis_hash ? <Hex value={chain.genesis_hash} what="the genesis hash" copy /> : '–'}</dd>
            <dt>Ledger from</dt><dd>block {count(chain.start_height)}</dd>
            <dt>Head</dt><dd>{chain.head ? <>{count(chain.head.height)} <span class="muted">told {ago(chain.head.at)}</span></> : '–'}</dd>
            <dt>Applied</dt><dd>{chain.watermark ? <>{count(chain.watermark.height)} <span class="muted" title={moment(chain.watermark.at)}>{ago(chain.watermark.at)}</span></> : '–'}</dd>
            <dt>Safe · finalized</dt><dd>{count(chain.safe)} · {count(chain.finalized)}</dd>
            <dt>Journal</dt><dd>{count(Number.parseInt(chain.offset ?? '0', 10))} events</dd>
          </dl>
        </Panel>
      </div>
    </Page>
  );
}
