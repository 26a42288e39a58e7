// Pages that are about one chain, when the address names none: the first one, and a choice.
import { live, retryNow } from '../live';
import { go } from '../router';
import { useStore } from '../store';
import { Empty, Failed, Page, Select, Skeleton } from '../ui/parts';

export function useChainNames(): readonly string[] | undefined {
  const { status } = useStore(live);
  return status?.chains.map((c) => c.name);
}

export function ChainSelect({ value, href }: { value: string; href: (chain: string) => string }) {
  const names = useChainNames() ?? [];
  if (names.length < 2) return null;
  return <Select label="Chain" value={value} options={names.map((n) => [n, n] as const)} onChange={(chain) => go(href(chain))} />;
}

/** A page that cannot begin: the status is not known yet, or there is no chain. */
export function NoChain({ title }: { title: string }) {
  const { status, error } = useStore(live);
  return (
    <Page title={title}>
      {status ? <Empty title="No chain is configured.">Add one below <code>chains</code> in the settings and start the services again.</Empty>
        : error ? <Failed problem={error} retry={retryNow} /> : <Skeleton rows={8} />}
    </Page>
  );
}
