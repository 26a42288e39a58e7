// Which account? Typed or pasted, or one that the newest blocks moved.
import { useState } from 'preact/hooks';

import { get, type Schema } from '../api';
import { count, words } from '../format';
import { useAsked } from '../query';
import { go, to } from '../router';
import { Await, Button, Empty, Hex, Page, Panel } from '../ui/parts';
import { Table, type Column } from '../ui/table';
import { Amount } from './amount';
import { ChainSelect, NoChain, useChainNames } from './choose';
import { AssetName } from './entries';

function Recent({ chain }: { chain: string }) {
  const asked = useAsked(`moved ${chain}`, (signal) => get('/v1/chains/{chain}/blocks/{block}/entries', { path: { chain, block: 'latest' }, query: { limit: 200 }, signal }), 4000);
  const columns: readonly Column<Schema<'Entry'>>[] = [
    { head: 'Account', as: 'row', cell: (e) => <Hex value={e.account} href={to(['chains', chain, 'accounts', e.account], { asset: e.asset })} what="the account" /> },
    { head: 'Asset', cell: (e) => <AssetName asset={e.asset} /> },
    { head: 'Last movement', cell: (e) => words(e.kind) },
    { head: 'Block', cell: (e) => count(e.height) },
    { head: 'Balance', as: 'num', cell: (e) => <Amount raw={e.balance} asset={e.asset} /> },
  ];
  return (
    <Panel title="Moved by the newest block" flush>
      <Await asked={asked} rows={6}>
        {(page) => {
          const seen = new Map(page.items.map((e) => [`${e.account} ${e.asset}`, e]));
          if (seen.size === 0) return <Empty title="The newest block moved no balance." />;
          return (
            <Table caption="Accounts that the newest block moved" columns={columns} items={[...seen.values()].slice(0, 25)} id={(e) => e.id} />
          );
        }}
      </Await>
    </Panel>
  );
}

function Find({ chain }: { chain: string }) {
  const [text, setText] = useState('');
  const [tried, setTried] = useState(false);
  const good = /^0x[0-9a-fA-F]{40}$/.test(text.trim());
  const submit = (event: Event): void => {
    event.preventDefault();
    setTried(true);
    if (good) go(to(['chains', chain, 'accounts', text.trim().toLowerCase()]));
  };
  return (
    <Page title="Accounts" lead={chain} actions={<ChainSelect value={chain} href={(c) => to(['chains', c, 'accounts'])} />}>
      <Panel label="Find an account">
        <form class="search-form" onSubmit={submit}>
          <label class="field grow"><span>Address</span>
            <input class="mono" value={text} placeholder="0x…" spellcheck={false} autocomplete="off" onInput={(e) => setText(e.currentTarget.value)} aria-invalid={tried && !good} aria-describedby="address-help" />
            <small id="address-help" class={tried && !good ? 'form-error' : ''}>{tried && !good ? 'An address is 0x and 40 hex digits.' : 'Every asset with its balance, every movement, and where each comes from.'}</small>
          </label>
          <Button type="submit" kind="primary">Explore</Button>
        </form>
      </Panel>
      <Recent chain={chain} />
    </Page>
  );
}

export function Accounts({ chain }: { chain?: string }) {
  const names = useChainNames();
  const chosen = chain ?? names?.[0];
  if (!chosen) return <NoChain title="Accounts" />;
  return <Find chain={chosen} key={chosen} />;
}
