// The way of a block, with what waits between the stages: where the pipeline is slow is where the numbers are.
import { ago, brief, bytes, count, duration, moment, plural, words } from '../format';
import { chainHealth } from '../health';
import { live, type ChainStatus } from '../live';
import { to } from '../router';
import { useStore } from '../store';
import { Icon } from '../ui/icon';
import { Badge, Empty, Page, Panel, useNow, type Tone } from '../ui/parts';
import { Table, type Column } from '../ui/table';
import { ChainSelect, NoChain } from './choose';
import { Export } from './export';
import { stageRate } from './stages';

type Stream = NonNullable<ChainStatus['streams']>[number];

type Breaker = NonNullable<ChainStatus['breakers']>[number];

const breakerTone: Record<Breaker['state'], Tone> = { closed: 'good', half_open: 'warn', open: 'bad' };

const LATE_MS = 30_000;

function tone(s: Stream): Tone {
  if (s.lag + s.pending === 0) return 'good';
  return s.head_age_ms > LATE_MS ? 'bad' : s.lag > 1000 ? 'warn' : 'info';
}

function worst(streams: readonly Stream[]): Tone {
  const order: Tone[] = ['good', 'info', 'warn', 'bad'];
  return streams.map(tone).reduce((a, b) => (order.indexOf(b) > order.indexOf(a) ? b : a), 'good');
}

function Flow({ topic, streams, carries }: { topic: string; streams: readonly Stream[]; carries: string }) {
  const waiting = streams.reduce((n, s) => n + s.lag + s.pending, 0);
  const t = worst(streams);
  return (
    <div class={`flow ${t}`}>
      <div class="pipe" aria-hidden="true"><span /></div>
      <p class="flow-name"><b>{topic}</b> <small>{carries}</small></p>
      <p class="flow-wait">{streams.length === 0 ? '' : waiting === 0 ? 'nothing waits' : `${brief(waiting)} waiting`}</p>
    </div>
  );
}

function Stage({ icon, title, what, rows, letters, href, state }: {
  icon: string; title: string; what: string; rows: readonly (readonly [string, string])[]; letters?: number | undefined; href?: string; state?: Tone;
}) {
  return (
    <section class={`stage ${state ?? ''}`} aria-label={title}>
      <h2><Icon name={icon} />{title}</h2>
      <p class="muted small">{what}</p>
      <dl>{rows.map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>
      {letters !== undefined && (
        <a class={letters > 0 ? 'letters some' : 'letters'} href={href}><Icon name="letters" />{plural(letters, 'dead letter')}</a>
      )}
    </section>
  );
}

function Breakers({ breakers }: { breakers: readonly Breaker[] }) {
  const now = useNow(1000);
  const columns: readonly Column<Breaker>[] = [
    { head: 'Endpoint', as: 'row', cell: (b) => b.endpoint },
    { head: 'Asked by', cell: (b) => b.process },
    { head: 'Breaker', cell: (b) => <Badge tone={breakerTone[b.state]}>{words(b.state)}</Badge> },
    { head: 'Since', title: (b) => (b.opened_at ? moment(b.opened_at) : ''), cell: (b) => (b.opened_at ? ago(b.opened_at, now) : '–') },
    { head: 'Why', as: 'words', cell: (b) => b.reason || '–' },
    { head: 'Errors in a row', as: 'num', cell: (b) => count(b.errors) },
    { head: 'Probed next', title: (b) => (b.probe_at ? moment(b.probe_at) : ''), cell: (b) => (b.state === 'closed' ? '–' : !b.probe_at || Date.parse(b.probe_at) <= now ? 'now' : `in ${duration(Date.parse(b.probe_at) - now)}`) },
  ];
  const open = breakers.filter((b) => b.state !== 'closed').length;
  return (
    <Panel title="Breakers" hint={breakers.length === 0 ? '' : open === 0 ? 'every endpoint is asked' : `${plural(open, 'breaker')} not closed: those endpoints are only probed`} flush>
      {breakers.length === 0 ? <Empty title="Nobody tells of endpoints.">No fetcher or reconciler of this chain said anything for 15 s.</Empty>
        : <Table caption="Breakers of endpoints" columns={columns} items={breakers} id={(b) => `${b.process} ${b.endpoint}`} />}
    </Panel>
  );
}

export function Pipeline({ chain: named }: { chain?: string | undefined }) {
  const { status, history } = useStore(live);
  if (!status || status.chains.length === 0) return <NoChain title="Pipeline" />;
  const chain = named ? status.chains.find((c) => c.name === named) : status.chains[0];
  if (!chain) return <Page title="Pipeline"><Empty icon="search" title="No such chain is served here." /></Page>;
  const health = chainHealth(chain, status);
  const samples = history.get(chain.name) ?? [];
  const of = (topic: string): Stream[] => (chain.streams ?? []).filter((s) => s.topic === topic);
  const letters = (subscription: string) => ({
    letters: chain.dead_letters?.[subscription], href: to(['dead-letters'], { chain: chain.name, subscription }),
  });
  const speed = (title: string): string => stageRate(samples, title);
  return (
    <Page title="Pipeline" lead={<>{chain.name} <Badge tone={health.tone}>{health.word}</Badge> {health.why}</>}
      actions={<ChainSelect value={chain.name} href={(c) => to(['pipeline', c])} />}>
      <div class="map" role="group" aria-label="From the nodes to the clients">
        <Stage icon="connections" title="Nodes" what="Chain endpoints" rows={[['Head', count(chain.head?.height)], ['Safe', count(chain.safe)], ['Final', count(chain.finalized)]]} />
        <Flow topic="JSON-RPC" streams={[]} carries="answers" />
        <Stage icon="refetch" title="Fetcher" what="Brings each block whole" rows={[['Head', count(chain.head?.height)], ['Blocks/s', speed('Fetched')]]} {...letters('fetcher')} />
        <Flow topic="raw" streams={of('raw')} carries="blocks as told" />
        <Stage icon="check" title="Normalizer" what="Proves and reads it" rows={[['Blocks/s', speed('Normalized')]]} {...letters('normalizer')} />
        <Flow topic="blocks" streams={of('blocks')} carries="proven blocks" />
        <Stage icon="blocks" title="Reconciler" what="Writes the ledger" rows={[['Ledger', count(chain.watermark?.height)], ['Blocks/s', speed('Applied')], ...((chain.gaps ?? 0) > 0 ? [['Open gaps', count(chain.gaps)] as [string, string]] : [])]} {...letters('reconciler')}
          state={!status.postgres.ok ? 'bad' : (chain.gaps ?? 0) > 0 ? 'warn' : 'good'} />
        <Flow topic="ledger" streams={of('ledger')} carries="events" />
        <Stage icon="account" title="Gateway" what="Serves clients" rows={[['Live at', brief(Number.parseInt(chain.live_offset, 10))], ['Events/s', speed('Published')], ['Clients', count(status.websockets.connections)], ['Following', count(status.websockets.subscriptions)]]} />
      </div>
      <Panel title="Streams" hint="Redis Streams between the stages; classes never used are left out" flush>
        {!chain.streams || chain.streams.length === 0 ? <Empty title="Redis tells no streams.">{status.redis.ok ? 'The chain has not begun.' : status.redis.reason}</Empty> : (
          <div class="scroll">
            <table>
              <caption class="sr">Streams of {chain.name}</caption>
              <thead><tr><th scope="col">Topic</th><th scope="col">Class</th><th scope="col">State</th><th scope="col" class="num">Not read</th><th scope="col" class="num">In work</th><th scope="col" class="num">Oldest waits</th>
                <th scope="col" class="num">Kept</th><th scope="col" class="num">Last sequence</th><th scope="col" class="num">Memory</th></tr></thead>
              <tbody>
                {chain.streams.filter((s) => s.last_sequence > 0 || s.length > 0).map((s) => (
                  <tr key={s.topic + s.class}>
                    <th scope="row">{s.topic}</th><td>{s.class}</td>
                    <td><Badge tone={tone(s)}>{{ good: 'clear', info: 'flowing', warn: 'queueing', bad: 'stuck', quiet: '' }[tone(s)]}</Badge></td>
                    <td class="num">{count(s.lag)}</td><td class="num">{count(s.pending)}</td><td class="num">{s.lag + s.pending > 0 ? duration(s.head_age_ms) : '–'}</td>
                    <td class="num">{count(s.length)}</td><td class="num">{count(s.last_sequence)}</td><td class="num">{bytes(s.memory_bytes)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      {chain.breakers && <Breakers breakers={chain.breakers} />}
      <Export chain={chain} />
      <Panel title="Stores">
        <dl class="facts">
          <dt>PostgreSQL</dt><dd>{status.postgres.ok ? <Badge tone="good">answers</Badge> : <><Badge tone="bad">away</Badge> {status.postgres.reason}</>} <span class="muted">the ledger: the only durable truth</span></dd>
          <dt>Redis</dt><dd>{status.redis.ok ? <Badge tone="good">answers</Badge> : <><Badge tone="bad">away</Badge> {status.redis.reason}</>} <span class="muted">the bus: rebuilt from the ledger when it is lost</span></dd>
        </dl>
      </Panel>
    </Page>
  );
}
