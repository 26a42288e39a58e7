// What operators did, newest first, and whether that record is as it was written: each line holds the hash of the one before.
import { get, type Answer } from '../api';
import { ago, count, moment, plural } from '../format';
import { useAsked } from '../query';
import { go, to } from '../router';
import { Icon } from '../ui/icon';
import { usePaged } from '../ui/more';
import { Empty, Page, Panel, Select, useNow } from '../ui/parts';
import { List, type Column } from '../ui/table';
import { NoChain, useChainNames } from './choose';

type Line = Answer<'/admin/v1/audit'>['items'][number];

const ACCESS = 'gateway'; // the record of what belongs to no chain

function Record({ chain, names }: { chain: string; names: readonly string[] }) {
  const now = useNow(5000);
  const list = usePaged(`audit ${chain}`, (cursor, signal) => get('/admin/v1/audit', { query: { chain, limit: 50, ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 5000);
  const check = useAsked(`verify ${chain}`, (signal) => get('/admin/v1/audit/verify', { query: { chain }, signal }), 30_000);
  const columns: readonly Column<Line>[] = [
    { head: 'Line', as: 'num', tone: () => 'muted', cell: (l) => count(l.number) },
    { head: 'When', title: (l) => moment(l.at), cell: (l) => ago(l.at, now) },
    { head: 'Who', cell: (l) => l.words['who'] || '–' },
    { head: 'Action', as: 'row', cell: (l) => (l.words['action'] ?? '').replaceAll('_', ' ') },
    { head: 'Details', as: 'words', cell: (l) => Object.entries(l.words).filter(([k, v]) => v && k !== 'action' && k !== 'who')
      .map(([k, v]) => <span key={k} class="pair"><span class="muted">{k.replaceAll('_', ' ')}</span> {v}</span>) },
  ];
  return (
    <Page title="Audit" lead={chain === ACCESS ? 'Who signed in, and who was let in by whom' : `What operators did to ${chain}`} actions={<Select label="Of" value={chain} options={[...names.map((n) => [n, n] as const), [ACCESS, 'access: who signed in, users, keys']]} onChange={(c) => go(to(['audit', c]))} />}>
      {check.data && (
        <div class={check.data.sound ? 'seal good' : 'seal bad'} role="status">
          <Icon name={check.data.sound ? 'check' : 'alert'} />
          <div>
            <p>{check.data.sound ? <><b>Unbroken</b>: {plural(check.data.lines, 'line')}, each holds the hash of the one before.</> : <><b>Broken at line {count(check.data.wrong)}</b>: {check.data.words}</>}</p>
            {check.data.hash && <p class="muted small">Newest line {count(check.data.last)}: <code>{check.data.hash}</code>. Note it elsewhere, and nobody can rewrite what came before unseen.</p>}
          </div>
        </div>
      )}
      <Panel label="Actions" flush>
        <List list={list} rows={6} caption="Actions of operators, newest first" columns={columns} id={(line) => line.number} empty={<Empty title="No operator did anything yet." />} />
      </Panel>
    </Page>
  );
}

export function Audit({ chain }: { chain?: string | undefined }) {
  const names = useChainNames();
  const chosen = chain ?? names?.[0];
  if (!chosen) return <NoChain title="Audit" />;
  return <Record chain={chosen} names={names ?? []} key={chosen} />;
}
