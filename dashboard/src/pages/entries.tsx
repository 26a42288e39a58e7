// A table of entries: one movement of one account each.
import type { ComponentChildren } from 'preact';

import type { Schema } from '../api';
import { count, shorten, words } from '../format';
import { to } from '../router';
import { Badge, Hex } from '../ui/parts';
import { Amount } from './amount';

type Entry = Schema<'Entry'>;

export function AssetName({ asset }: { asset: string }) {
  if (asset === 'native') return <span>native</span>;
  const [contract = '', id] = asset.split(':');
  return <span class="hex" title={asset}>{shorten(contract)}{id !== undefined && ` #${shorten(id, 6, 4)}`}</span>;
}

export function EntriesTable({ entries, chain, caption, hide = [], extra, extraHead, decimals }: {
  entries: readonly Entry[]; chain: string; caption: string; hide?: readonly ('account' | 'height' | 'transaction' | 'asset')[];
  extra?: (entry: Entry, index: number) => ComponentChildren; extraHead?: string; decimals?: number | null | undefined;
}) {
  const shows = (column: 'account' | 'height' | 'transaction' | 'asset'): boolean => !hide.includes(column);
  return (
    <div class="scroll">
      <table>
        <caption class="sr">{caption}</caption>
        <thead>
          <tr>
            {shows('height') && <th scope="col">Block</th>}
            <th scope="col">Kind</th>
            {shows('account') && <th scope="col">Account</th>}
            {shows('asset') && <th scope="col">Asset</th>}
            {shows('transaction') && <th scope="col">Transaction</th>}
            <th scope="col" class="num">Change</th><th scope="col" class="num">Balance after</th>
            {extraHead && <th scope="col">{extraHead}</th>}
          </tr>
        </thead>
        <tbody>
          {entries.map((e, i) => (
            <tr key={e.id} class={e.superseded ? 'superseded' : undefined}>
              {shows('height') && <td>{e.block_hash ? <a href={to(['chains', chain, 'blocks', e.block_hash])}>{count(e.height)}</a> : <span class="muted">before {count(e.height + 1)}</span>}</td>}
              <td>{words(e.kind)}{e.superseded && <> <Badge tone="bad">superseded</Badge></>}</td>
              {shows('account') && <td><Hex value={e.account} href={to(['chains', chain, 'accounts', e.account], { asset: e.asset })} what="the account" /></td>}
              {shows('asset') && <td><AssetName asset={e.asset} /></td>}
              {shows('transaction') && <td>{e.transaction_hash ? <Hex value={e.transaction_hash} href={to(['chains', chain, 'transactions', e.transaction_hash])} what="the transaction" /> : <span class="muted">none</span>}</td>}
              <td class={`num ${e.delta.startsWith('-') ? 'minus' : 'plus'}`}><Amount raw={e.delta} asset={e.asset} decimals={decimals} signed /></td>
              <td class="num"><Amount raw={e.balance} asset={e.asset} decimals={decimals} /></td>
              {extra && <td>{extra(e, i)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
