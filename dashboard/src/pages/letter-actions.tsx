// Replaying and purging dead letters: how many are meant is counted first, then it is done; a replay is a job of the server, which goes on
// when this page is left.
import { useState } from 'preact/hooks';

import { post } from '../api';
import { count, plural } from '../format';
import { useAsked } from '../query';
import { useWho } from '../who';
import { Confirm } from '../ui/dialog';
import { Button } from '../ui/parts';
import { toast } from '../ui/toast';
import { asQuery, inWords, type Filter, type Letter } from './letters';

/** n: so many are acted on, the oldest of those that match. */
function Preview({ n, matching, complete, words }: { n: number; matching: number; complete: boolean; words: string }) {
  if (n === matching && complete) return <p class="preview" role="status"><b>{plural(n, 'letter')}</b> match <code>{words}</code>.</p>;
  return (
    <p class="preview" role="status">
      The first <b>{count(n)}</b> of {complete ? '' : 'at least '}<b>{plural(matching, 'letter')}</b> that match <code>{words}</code>.
      {' '}{complete ? 'Do it again for the rest.' : 'Younger ones were not looked at: do it again for them.'}
    </p>
  );
}

/** letters given: exactly those; otherwise all that match the filter. several: chains are served, so one must be chosen. */
export function LetterActions({ filter, letters, several = false, onDone }: { filter: Filter; letters?: readonly Letter[]; several?: boolean; onDone: () => void }) {
  const { may } = useWho();
  const [open, setOpen] = useState<'replay' | 'purge'>();
  const [rate, setRate] = useState('');
  const { chain: _chain, subscription: _subscription, ...narrower } = asQuery(filter);
  const scope = { ...(filter.chain ? { chain: filter.chain } : {}), subscription: filter.subscription, ...(letters ? { ids: letters.map((l) => l.id) } : narrower) };
  const meant = useAsked(open ? `meant ${open} ${inWords(filter)} ${letters?.map((l) => l.id).join(' ') ?? ''}` : null, () => post('/admin/v1/dlq/jobs', { body: { ...scope, dry_run: true } }));
  // A job takes so many of a cluster at once; a purge takes all that were found.
  const n = open === 'purge' ? meant.data?.matching : meant.data?.total;
  if (!may('operator')) return null;
  if (several && filter.chain === '') return <span class="muted small">Choose a chain to act on all its letters.</span>;
  const blocked = filter.subscription === '' || letters?.length === 0;
  const close = (): void => setOpen(undefined);
  const replay = async (why: string): Promise<void> => {
    const speed = /^\d+$/.test(rate) ? Number(rate) : 0;
    const answer = await post('/admin/v1/dlq/jobs', { body: { ...scope, ...(why ? { why } : {}), ...(speed > 0 ? { rate: speed } : {}) } });
    toast(`Replay of ${plural(answer.total, 'letter')} has begun`);
    onDone();
  };
  const purge = async (why: string): Promise<void> => {
    const narrow = letters || Object.keys(narrower).length > 0;
    const answer = await post('/admin/v1/dlq/purge', { body: { ...scope, ...(narrow ? {} : { all: true }), why } });
    toast(`${plural(answer.count, 'letter')} purged`);
    onDone();
  };
  const preview = meant.error ? <p class="form-error" role="alert">{meant.error.detail}</p>
    : n === undefined || !meant.data ? <p class="preview" role="status">Counting…</p>
      : letters ? <p class="preview" role="status"><b>{plural(n, 'letter')}</b> selected.</p>
        : <Preview n={n} matching={meant.data.matching} complete={meant.data.complete} words={inWords(filter)} />;
  return (
    <>
      <Button icon="replay" kind="primary" disabled={blocked} onClick={() => setOpen('replay')}>Replay{letters ? ` ${count(letters.length)}` : ' all'}</Button>
      {may('admin') && <Button icon="trash" kind="danger" disabled={blocked} onClick={() => setOpen('purge')}>Purge{letters ? ` ${count(letters.length)}` : ' all'}</Button>}
      {open === 'replay' && (
        <Confirm title="Replay dead letters" action={n === undefined ? 'Replay' : `Replay ${count(n)}`} reason="optional" ready={(n ?? 0) > 0} onClose={close} onConfirm={replay}>
          {preview}
          <p>They are handled again in the order of their keys. One that fails again comes back here with one more attempt.</p>
          <label class="field"><span>At most per second <em>(empty: as fast as they are handled)</em></span><input inputMode="numeric" value={rate} onInput={(e) => setRate(e.currentTarget.value)} /></label>
        </Confirm>
      )}
      {open === 'purge' && (
        <Confirm title="Purge dead letters" action={n === undefined ? 'Purge' : `Purge ${count(n)}`} danger reason="required" word={`purge ${n ?? ''}`.trim()} ready={(n ?? 0) > 0} onClose={close} onConfirm={purge}>
          {preview}
          <p>They are dropped for good: nothing brings them back. A block that was lost with one must be fetched again.</p>
        </Confirm>
      )}
    </>
  );
}
