// All chains at a glance: is the ledger at the head, is it proven, does anything wait for a person?
import { get, type Schema } from '../api';
import { ago, brief, count, duration, perSecond, plural } from '../format';
import { chainHealth, waitsForKafka } from '../health';
import { live, rate, type ChainStatus, type Sample, type Status } from '../live';
import { useAsked } from '../query';
import { to } from '../router';
import { useStore } from '../store';
import { TimeChart, type Point } from '../ui/chart';
import { Icon } from '../ui/icon';
import { Await, Badge, Dot, Empty, Figure, Hex, Page, Panel, useNow, type Tone } from '../ui/parts';
import { BlockStrip } from '../ui/strip';
import { finalityTone } from './blocks';
import { NoChain } from './choose';
import { ProofChart, ProofRows, useProof } from './proof';
import { RATE_SECONDS, StageCharts } from './stages';

export const letterCount = (chain: ChainStatus): number => Object.values(chain.dead_letters ?? {}).reduce((a, b) => a + b, 0);

export function useNewestBlocks(chain: string, limit = 200) {
  return useAsked(`newest ${chain} ${limit}`, (signal) => get('/v1/chains/{chain}/blocks', { path: { chain }, query: { limit }, signal }), 2000);
}

/** The ledger's height before this page looked, as its newest blocks tell: a chart that begins empty says nothing. */
export function beforeHere(blocks: readonly Schema<'Block'>[], samples: readonly Sample[]): Point[] {
  const first = samples[0]?.at ?? Infinity;
  return blocks.map((b) => ({ at: Date.parse(b.applied_at), value: b.height })).filter((p) => p.at < first).toReversed();
}

function ChainCard({ chain, status, samples }: { chain: ChainStatus; status: Status; samples: readonly Sample[] }) {
  const health = chainHealth(chain, status);
  const blocks = useNewestBlocks(chain.name);
  const proof = useProof(chain.name);
  const entries = blocks.data?.items ?? [];
  const span = entries.length > 1 ? (Date.parse(entries[0]!.applied_at) - Date.parse(entries.at(-1)!.applied_at)) / 1000 : 0;
  const speed = rate(samples, (s) => s.watermark, RATE_SECONDS) ?? (span > 0 ? (entries.length - 1) / span : undefined);
  const perSecondEntries = span > 0 ? entries.slice(0, -1).reduce((n, b) => n + b.entry_count, 0) / span : undefined;
  const letters = letterCount(chain);
  const earlier = beforeHere(entries, samples);
  return (
    <article class={`panel chain ${health.tone}`} aria-label={`Chain ${chain.name}`}>
      <header class="chain-head">
        <h2><Dot tone={health.tone} /><a href={to(['chains', chain.name])}>{chain.name}</a></h2>
        <Badge tone={health.tone} title={health.why}>{health.word}</Badge>
        <span class="muted">{chain.family.toUpperCase()}{chain.chain_id !== undefined && ` · id ${chain.chain_id}`}</span>
        <span class="grow" />
        <span class="muted small">{chain.watermark ? `newest block applied ${ago(chain.watermark.at)}` : 'no block yet'}</span>
      </header>
      {health.tone !== 'good' && <p class={`why ${health.tone}`}>{health.why}</p>}
      <dl class="figures">
        <Figure label="Head" value={count(chain.head?.height)} note={chain.head ? `told ${ago(chain.head.at)}` : 'not told yet'} />
        <Figure label="Ledger" value={count(chain.watermark?.height)} note={`finalized ${count(chain.finalized)}`} {...(chain.watermark ? { href: to(['chains', chain.name, 'blocks', chain.watermark.height]) } : {})} />
        <Figure label="Lag" value={chain.watermark ? <>{brief(chain.lag_blocks ?? 0)}<small> {chain.lag_blocks === 1 ? 'block' : 'blocks'}</small></> : count(undefined)} note={!chain.watermark ? 'no block yet' : (chain.lag_seconds ?? 0) > 0 ? duration((chain.lag_seconds ?? 0) * 1000) : (chain.lag_blocks ?? 0) > 0 ? 'under a second' : 'at the head'} tone={(chain.lag_seconds ?? 0) > 60 ? 'warn' : undefined} />
        <Figure label="Blocks" value={<>{perSecond(speed)}<small>/s</small></>} note={`last ${RATE_SECONDS} s`} />
        <Figure label="Entries" value={<>{perSecond(perSecondEntries)}<small>/s</small></>} note={entries.length > 0 ? `last ${plural(entries.length, 'block')}` : 'no block yet'} />
        <Figure label="Gaps" value={count(chain.gaps)} note="open" tone={(chain.gaps ?? 0) > 0 ? 'warn' : undefined} href={to(['incidents'], { tab: 'gaps', chain: chain.name })} />
        <Figure label="Incidents" value={count(chain.incidents)} note="open" tone={(chain.incidents ?? 0) > 0 ? 'bad' : undefined} href={to(['incidents'], { chain: chain.name })} />
        <Figure label="Dead letters" value={brief(letters)} note="waiting" tone={letters > 0 ? 'warn' : undefined} href={to(['dead-letters'], { chain: chain.name })} />
      </dl>
      {entries.length > 0 && <BlockStrip blocks={entries} chain={chain.name} />}
      <div class="chain-charts">
        <TimeChart title="Height" fromZero={false} format={(n) => count(Math.round(n))} series={[
          { name: 'head', tone: 'b', points: samples.map((s) => ({ at: s.at, value: s.head })) },
          { name: 'ledger', tone: 'a', points: [...earlier, ...samples.map((s) => ({ at: s.at, value: s.watermark }))] }]} />
        <TimeChart title="Lag in blocks" series={[{ name: 'behind the head', tone: 'c', area: true, points: samples.map((s) => ({ at: s.at, value: s.lagBlocks })) }]} />
        <ProofRows asked={proof} />
      </div>
      <StageCharts samples={samples}><ProofChart chain={chain.name} height={92} /></StageCharts>
    </article>
  );
}

interface Need { tone: Tone; icon: string; text: string; why: string; href: string }

function needs(status: Status): Need[] {
  const found: Need[] = [];
  if (!status.postgres.ok) found.push({ tone: 'bad', icon: 'alert', text: 'PostgreSQL does not answer', why: status.postgres.reason, href: to(['pipeline']) });
  if (!status.redis.ok) found.push({ tone: 'bad', icon: 'alert', text: 'Redis does not answer', why: status.redis.reason, href: to(['pipeline']) });
  for (const c of status.chains) {
    if ((c.incidents ?? 0) > 0) found.push({ tone: 'bad', icon: 'incidents', text: plural(c.incidents ?? 0, 'open incident'), why: `${c.name}: the ledger and the chain differ`, href: to(['incidents'], { chain: c.name }) });
    if ((c.gaps ?? 0) > 0) found.push({ tone: 'warn', icon: 'incidents', text: plural(c.gaps ?? 0, 'open gap'), why: `${c.name}: blocks are missing or not proven`, href: to(['incidents'], { tab: 'gaps', chain: c.name }) });
    if (c.paused) found.push({ tone: 'warn', icon: 'pause', text: 'Paused', why: `${c.name}: nothing is applied until it is resumed`, href: to(['chains', c.name]) });
    if (waitsForKafka(c) && c.kafka) found.push({ tone: 'warn', icon: 'pipeline', text: `Export to Kafka ${c.kafka.state}`, why: `${c.name}: ${c.kafka.reason}`, href: to(['pipeline', c.name]) });
    if (letterCount(c) > 0) found.push({ tone: 'warn', icon: 'letters', text: plural(letterCount(c), 'dead letter'), why: `${c.name}: messages that could not be handled`, href: to(['dead-letters'], { chain: c.name }) });
  }
  return found;
}

function Attention({ status }: { status: Status }) {
  const found = needs(status);
  return (
    <Panel title="Needs a person" hint={found.length > 0 ? plural(found.length, 'thing') : undefined} flush>
      {found.length === 0 ? (
        <p class="all-well"><Icon name="check" /><b>Nothing needs a person.</b> {status.chains.some((c) => c.watermark) && <span class="muted">No gap, no incident, no dead letter.</span>}</p>
      ) : (
        <ul class="needs">
          {found.map((n) => (
            <li key={n.text + n.why}><a href={n.href}><span class={`need-icon ${n.tone}`}><Icon name={n.icon} /></span><span><b>{n.text}</b><small class="muted">{n.why}</small></span><Icon name="next" /></a></li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Newest({ chain }: { chain: string }) {
  const blocks = useNewestBlocks(chain);
  const now = useNow();
  return (
    <Panel title={`Newest blocks of ${chain}`} actions={<a href={to(['chains', chain, 'blocks'])}>All blocks</a>} flush>
      <Await asked={blocks} rows={5}>
        {(page) => page.items.length === 0 ? <Empty title="The ledger has no block yet." /> : (
          <div class="scroll">
            <table>
              <caption class="sr">Newest blocks of {chain}</caption>
              <thead><tr><th scope="col">Height</th><th scope="col">Hash</th><th scope="col">Finality</th><th scope="col" class="num">Transactions</th><th scope="col" class="num">Entries</th><th scope="col">Applied</th></tr></thead>
              <tbody>
                {page.items.slice(0, 7).map((b) => (
                  <tr key={b.hash}>
                    <th scope="row"><a href={to(['chains', chain, 'blocks', b.height])}>{count(b.height)}</a></th><td><Hex value={b.hash} what="the hash" /></td>
                    <td><Badge tone={finalityTone[b.finality]}>{b.finality}</Badge></td><td class="num">{count(b.transaction_count)}</td><td class="num">{count(b.entry_count)}</td><td>{ago(b.applied_at, now)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Await>
    </Panel>
  );
}

export function Overview() {
  const { status, history } = useStore(live);
  const chains = status?.chains ?? [];
  const behind = chains.reduce((n, c) => n + (c.lag_blocks ?? 0), 0);
  if (chains.length === 0) return <NoChain title="Overview" />;
  return (
    <Page title="Overview" lead={status && <>{plural(chains.length, 'chain')} · {!chains.every((c) => c.watermark) ? 'not every ledger has begun' : behind === 0 ? 'every ledger is at its head' : `${behind === 1 ? '1 block' : `${brief(behind)} blocks`} behind in all`} · {plural(status.websockets.connections, 'client')} connected</>}>
      {status && <Attention status={status} />}
      {status && chains.map((c) => <ChainCard key={c.name} chain={c} status={status} samples={history.get(c.name) ?? []} />)}
      {chains[0] && <Newest chain={chains[0].name} />}
    </Page>
  );
}
