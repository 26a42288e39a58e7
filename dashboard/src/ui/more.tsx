// Lists that go on: the first page is asked again now and then, further pages on demand.
import { useEffect, useState } from 'preact/hooks';

import { Button, Failed } from './parts';
import { asProblem, useAsked, type Asked } from '../query';
import type { Problem } from '../api';

export interface PageOf<T> { items: T[]; next_cursor: string | null }

export interface Paged<T, P extends PageOf<T> = PageOf<T>> extends Asked<P> {
  items: T[];
  next: string | null;
  more: () => void;
  moreBusy: boolean;
  moreError: Problem | undefined;
}

/** Of a page that says more than its items, `data` has what the first one said. */
export function usePaged<P extends PageOf<unknown>>(key: string | null, ask: (cursor: string | undefined, signal?: AbortSignal) => Promise<P>, every = 0): Paged<P['items'][number], P> {
  type T = P['items'][number];
  const [rest, setRest] = useState<{ key: string | null; items: T[]; next: string | null | undefined }>({ key, items: [], next: undefined });
  const [busy, setBusy] = useState(false);
  const [moreError, setMoreError] = useState<Problem>();
  const extended = rest.key === key && rest.next !== undefined;
  // What was loaded further stays what it is: a list that moves under the reader's eyes is asked again only from its start.
  const first = useAsked(key, (signal) => ask(undefined, signal), extended ? 0 : every);
  useEffect(() => setRest({ key, items: [], next: undefined }), [key]);
  const next = extended ? (rest.next ?? null) : (first.data?.next_cursor ?? null);
  const more = (): void => {
    if (busy || !next) return;
    setBusy(true);
    setMoreError(undefined);
    ask(next).then(
      (page) => setRest({ key, items: [...(extended ? rest.items : []), ...page.items], next: page.next_cursor }),
      (error: unknown) => setMoreError(asProblem(error)),
    ).finally(() => setBusy(false));
  };
  const reload = (): void => {
    setRest({ key, items: [], next: undefined });
    first.reload();
  };
  return { ...first, reload, items: [...(first.data?.items ?? []), ...(extended ? rest.items : [])], next, more, moreBusy: busy, moreError };
}

export function More<T>({ list }: { list: Paged<T> }) {
  if (list.moreError) return <Failed problem={list.moreError} retry={list.moreError.status === 410 ? list.reload : list.more} />;
  return list.next ? <div class="more"><Button onClick={list.more} busy={list.moreBusy}>Show more</Button></div> : null;
}
