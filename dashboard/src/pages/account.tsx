// One account: what it holds, every movement with the balance after it, and on request where each comes from: the running balance is added
// up again here and each block's certificate is asked for.
import { useState } from 'preact/hooks';

import { get, type Schema } from '../api';
import { count, plural } from '../format';
import { live } from '../live';
import { useAsked } from '../query';
import { filter, to } from '../router';
import { useStore } from '../store';
import { TimeChart } from '../ui/chart';
import { Icon } from '../ui/icon';
import { More, usePaged } from '../ui/more';
import { Await, Badge, Button, Empty, Hex, Page, Panel, Select } from '../ui/parts';
import { Amount } from './amount';
import { AssetName, EntriesTable } from './entries';
import { AssetLink, CameAndWent } from './statistics';

type Entry = Schema<'Entry'>;
type Balance = Schema<'Balance'>;

const NEWEST_BLOCKS = 250;
const CERTIFICATES_MAX = 60; // asked for one explanation
const ASSETS_MAX = 40;       // whose symbol and decimals are asked

function reconciled(b: Balance) {
  if (b.non_conserving) return <Badge tone="warn" title="The asset's logs do not tell its balances: the amount is what the chain says.">told by the chain</Badge>;
  if (b.reconciled_at_height === null) return <Badge tone="quiet">not compared yet</Badge>;
  return <Badge tone="good" title="The chain said the same at that block.">reconciled at {count(b.reconciled_at_height)}</Badge>;
}

/** "n of m" checks per block hash, as far as certificates could be asked for. */
async function certificates(chain: string, hashes: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const queue = hashes.slice(0, CERTIFICATES_MAX);
  const worker = async (): Promise<void> => {
    for (let hash = queue.shift(); hash !== undefined; hash = queue.shift()) {
      const c = await get('/v1/chains/{chain}/blocks/{block}/certificate', { path: { chain, block: hash } });
      found.set(hash, `${c.proven ? 'proven' : 'not proven'}, ${c.checks.filter((k) => k.result === 'passed').length} of ${c.checks.length} checks`);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  return found;
}

/** Does each balance follow from the one before it? The first is taken as it is. */
export function chained(entries: readonly Pick<Entry, 'delta' | 'balance' | 'superseded'>[]): boolean[] {
  let running: bigint | undefined;
  return entries.map((e) => {
    if (e.superseded) return true;
    const balance = BigInt(e.balance);
    const fits = running === undefined || running + BigInt(e.delta) === balance;
    running = balance;
    return fits;
  });
}

function Movements({ chain, account, balance, from }: { chain: string; account: string; balance: Balance; from: number }) {
  const asset = balance.asset;
  const [explain, setExplain] = useState(false);
  const list = usePaged(`entries ${chain} ${account} ${asset} ${from}`, (cursor, signal) => get('/v1/chains/{chain}/accounts/{account}/entries', {
    path: { chain, account }, query: { asset, limit: 200, ...(from > 0 ? { from } : {}), ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 3000);
  const facts = useAsked(asset === 'native' ? null : `asset ${chain} ${asset}`, (signal) => get('/v1/chains/{chain}/assets/{asset}', { path: { chain, asset }, signal }));
  const hashes = [...new Set(list.items.map((e) => e.block_hash).filter((h) => h !== null))];
  const proofs = useAsked(explain && list.data ? `proofs ${chain} ${hashes.join(' ')}` : null, () => certificates(chain, hashes));
  const decimals = facts.data?.decimals;
  const fits = chained(list.items);
  const wrong = fits.filter((f) => !f).length;
  const last = list.items.filter((e) => !e.superseded).at(-1);
  const level = last !== undefined && !list.next && last.balance === balance.amount;
  const scale = 10 ** (asset === 'native' ? 18 : (decimals ?? 0));
  return (
    <Panel title={<>Movements of <AssetName asset={asset} />{facts.data?.symbol && <small class="muted" title="As the contract says: not to be trusted"> “{facts.data.symbol}”</small>}</>}
      hint={from > 0 ? `from block ${count(from)}` : 'from the beginning'} flush
      actions={<>
        <Select label="Since" value={from > 0 ? 'recent' : 'all'} options={[['recent', `last ${NEWEST_BLOCKS} blocks`], ['all', 'the beginning']]} onChange={(v) => filter({ since: v === 'all' ? 'all' : undefined }, true)} />
        <Button icon="check" kind={explain ? 'primary' : 'plain'} aria-pressed={explain} onClick={() => setExplain(!explain)}>Explain</Button>
      </>}>
      <Await asked={list} rows={8}>
        {() => list.items.length === 0 ? <Empty title="No movement in these blocks.">{from > 0 && <Button kind="ghost" onClick={() => filter({ since: 'all' }, true)}>Look from the beginning</Button>}</Empty> : (
          <>
            {list.items.length > 1 && (
              <div class="pad"><TimeChart title="Balance by movement" height={130} span={Number.MAX_SAFE_INTEGER} fromZero={false} end={list.items.length - 1} axis="ordinal" whole={false}
                format={(n) => (n >= 1e6 || (n !== 0 && n < 1e-3) ? n.toExponential(2) : n >= 1000 ? count(Math.round(n)) : String(Number(n.toPrecision(5))))}
                series={[{ name: 'balance', tone: 'a', area: true, points: list.items.map((e, i) => ({ at: i, value: Number(e.balance) / scale })) }]} /></div>
            )}
            {explain && (
              <div class={wrong === 0 ? 'seal good' : 'seal bad'} role="status">
                <Icon name={wrong === 0 ? 'check' : 'alert'} />
                <div>
                  <p><b>{wrong === 0 ? 'Adds up' : `${plural(wrong, 'movement')} do not add up`}</b>: {plural(list.items.length, 'movement')} added again here, one by one.{' '}
                    {balance.non_conserving ? 'The balance served is the chain’s own word, because the asset’s logs do not tell it.' : level ? 'They end at exactly the balance served.' : list.next ? 'There are more movements below.' : 'A newer block has just moved it.'}</p>
                  <p class="muted small">{proofs.data ? `${plural(proofs.data.size, 'certificate')} of ${plural(hashes.length, 'block')} looked at.` : proofs.error ? proofs.error.detail : 'Asking for the certificates…'}</p>
                </div>
              </div>
            )}
            <EntriesTable entries={list.items} chain={chain} caption={`Movements of ${asset}`} hide={['account', 'asset']} decimals={decimals}
              {...(explain ? {
                extraHead: 'Where it comes from',
                extra: (e: Entry, i: number) => (
                  <span class="origin">
                    <Badge tone={fits[i] ? 'good' : 'bad'}>{fits[i] ? 'adds up' : 'does not add up'}</Badge>{' '}
                    {e.block_hash === null ? 'asked of the chain: before the ledger' : (proofs.data?.get(e.block_hash) ?? '…')}{e.path && <small class="muted"> · {e.path}</small>}
                  </span>
                ),
              } : {})} />
            <More list={list} />
          </>
        )}
      </Await>
    </Panel>
  );
}

export function AccountPage({ chain, account, query }: { chain: string; account: string; query: URLSearchParams }) {
  const { status } = useStore(live);
  const asked = useAsked(`balances ${chain} ${account}`, (signal) => get('/v1/chains/{chain}/accounts/{account}/balances', { path: { chain, account }, signal }), 3000);
  const held = (asked.data?.items ?? []).map((b) => b.asset).filter((a) => a !== 'native').slice(0, ASSETS_MAX);
  const facts = useAsked(held.length > 0 ? `assets ${chain} ${held.join(' ')}` : null, async (signal) => new Map(
    await Promise.all(held.map(async (asset) => [asset, await get('/v1/chains/{chain}/assets/{asset}', { path: { chain, asset }, signal })] as const))));
  const named = [...(facts.data?.values() ?? [])].some((f) => f.symbol !== null);
  const top = status?.chains.find((c) => c.name === chain)?.watermark?.height;
  // The window stays where it was when the page was opened: movements must not leave it while they are read.
  const [opened] = useState<{ top?: number }>({});
  if (opened.top === undefined && top !== undefined) opened.top = top;
  const from = query.get('since') === 'all' ? 0 : Math.max(0, (opened.top ?? 0) - NEWEST_BLOCKS);
  return (
    <Page title="Account" lead={<><Hex value={account} what="the address" whole copy /> on <a href={to(['chains', chain])}>{chain}</a></>}>
      <Panel title="Balances" hint={asked.data && `at block ${count(asked.data.height)}`} flush>
        <Await asked={asked}>
          {(page) => page.items.length === 0 ? <Empty icon="account" title="The ledger never saw this account.">No block since the ledger's first one moved a balance of it.</Empty> : (
            <div class="scroll">
              <table>
                <caption class="sr">Balances of the account</caption>
                <thead><tr><th scope="col">Asset</th>{named && <th scope="col">Symbol</th>}<th scope="col" class="num">Balance</th><th scope="col">Finality</th><th scope="col">Proof</th><th scope="col"><span class="sr">Movements</span></th></tr></thead>
                <tbody>
                  {page.items.map((b) => (
                    <tr key={b.asset} class={(query.get('asset') ?? page.items[0]?.asset) === b.asset ? 'chosen' : undefined}>
                      <th scope="row"><AssetLink chain={chain} asset={b.asset} /></th>
                      {named && <td>{facts.data?.get(b.asset)?.symbol ? <span title="As the contract says: not to be trusted">“{facts.data.get(b.asset)?.symbol}”</span> : <span class="muted">–</span>}</td>}
                      <td class="num"><Amount raw={b.amount} asset={b.asset} decimals={facts.data?.get(b.asset)?.decimals} /></td>
                      <td>{b.finality}</td>
                      <td>{reconciled(b)}{!b.opening_known && <> <Badge tone="warn" title="No node had the state before the ledger's first block.">change only</Badge></>}</td>
                      <td class="end"><Button kind="ghost" aria-pressed={(query.get('asset') ?? page.items[0]?.asset) === b.asset} onClick={() => filter({ asset: b.asset }, true)}>Movements</Button></td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </Await>
      </Panel>
      {asked.data && asked.data.items.length > 0 && opened.top !== undefined && <CameAndWent chain={chain} account={account} from={from} decimals={(asset) => facts.data?.get(asset)?.decimals} />}
      {asked.data && opened.top !== undefined && (() => {
        const wanted = query.get('asset');
        const balance = asked.data.items.find((b) => b.asset === wanted) ?? asked.data.items[0];
        return balance && <Movements chain={chain} account={account} balance={balance} from={from} key={balance.asset} />;
      })()}
    </Page>
  );
}
