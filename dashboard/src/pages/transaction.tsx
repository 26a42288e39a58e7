// One transaction and each balance that it moved.
import { get } from '../api';
import { count, plural } from '../format';
import { useAsked } from '../query';
import { to } from '../router';
import { Await, Badge, Button, Empty, Hex, Page, Panel } from '../ui/parts';
import { Amount } from './amount';
import { finalityTone } from './blocks';
import { EntriesTable } from './entries';

export function TransactionPage({ chain, hash }: { chain: string; hash: string }) {
  const asked = useAsked(`transaction ${chain} ${hash}`, (signal) => get('/v1/chains/{chain}/transactions/{hash}', { path: { chain, hash }, signal }));
  const t = asked.data;
  return (
    <Page title="Transaction" lead={<>{chain} {t && <><Badge tone={t.succeeded ? 'good' : 'bad'}>{t.succeeded ? 'succeeded' : 'failed'}</Badge> <Badge tone={finalityTone[t.finality]}>{t.finality}</Badge></>}</>}>
      {asked.error?.status === 404 ? <Empty icon="search" title="The ledger does not have this transaction.">It may not be in a block yet. <Button kind="ghost" onClick={asked.reload}>Look again</Button></Empty> : <Await asked={asked} rows={8}>
        {(x) => (
          <>
            <Panel label="Transaction">
              <dl class="facts two-columns">
                <dt>Hash</dt><dd><Hex value={x.hash} what="the hash" whole copy /></dd>
                <dt>Block</dt><dd><a href={to(['chains', chain, 'blocks', x.block.hash])}>{count(x.block.height)}</a> <span class="muted">index {x.index}</span></dd>
                <dt>From</dt><dd><Hex value={x.from} href={to(['chains', chain, 'accounts', x.from])} what="the sender" copy /></dd>
                <dt>To</dt><dd>{x.to ? <Hex value={x.to} href={to(['chains', chain, 'accounts', x.to])} what="the recipient" copy /> : <span class="muted">creates a contract</span>}</dd>
                {x.created && <><dt>Created</dt><dd><Hex value={x.created} href={to(['chains', chain, 'accounts', x.created])} what="the contract" copy /></dd></>}
                <dt>Value</dt><dd><Amount raw={x.value} asset="native" /> <span class="muted">native</span></dd>
                <dt>Gas</dt><dd>{count(x.gas_used)} {x.effective_gas_price !== null && <span class="muted">at <Amount raw={x.effective_gas_price} asset="" decimals={9} /> gwei</span>}</dd>
                <dt>Nonce · type</dt><dd>{count(x.nonce)} · {x.type}</dd>
                <dt>Logs</dt><dd>{count(x.log_count)}</dd>
              </dl>
            </Panel>
            <Panel title="Entries" hint={x.entries_truncated ? 'the first ones only: see the block for all' : plural(x.entries.length, 'movement')} flush>
              {x.entries.length === 0 ? <Empty title="This transaction moved no balance." /> : <EntriesTable entries={x.entries} chain={chain} caption="Entries of the transaction" hide={['height', 'transaction']} />}
            </Panel>
          </>
        )}
      </Await>}
    </Page>
  );
}
