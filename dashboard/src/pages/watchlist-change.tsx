// Adding addresses to a watch-list, or taking them out: pasted, read line by line, and sent in pieces; what is wrong is told before anything is sent.
import { useMemo, useState } from 'preact/hooks';

import { readAddresses, type Pasted } from '../addresses';
import { post } from '../api';
import { count, plural } from '../format';
import { asProblem } from '../query';
import { Icon } from '../ui/icon';
import { Button, Meter, Tabs } from '../ui/parts';
import { toast } from '../ui/toast';

const PIECE = 10_000; // addresses that one request takes
const TEXT_MAX = 64 << 20;
const FAULTS_SHOWN = 20;
const addresses = (n: number): string => plural(n, 'address', 'addresses');

function Faults({ pasted }: { pasted: Pasted }) {
  const more = pasted.bad.length - FAULTS_SHOWN;
  return (
    <div class="faults" role="alert">
      <p><Icon name="alert" /> <b>{pasted.bad.length === 1 ? 'One entry is no address' : `${count(pasted.bad.length)} entries are no addresses`}:</b></p>
      <ul>
        {pasted.bad.slice(0, FAULTS_SHOWN).map((b, i) => <li key={i}>Line {count(b.line)}: <code>{b.text}</code> <span>{b.why}</span></li>)}
        {more > 0 && <li>and {count(more)} more</li>}
      </ul>
    </div>
  );
}

export function WatchlistChange({ id, onDone }: { id: string; onDone: () => void }) {
  const [kind, setKind] = useState('add');
  const [text, setText] = useState('');
  const [always, setAlways] = useState(false);
  const [skip, setSkip] = useState(false);
  const [sent, setSent] = useState<number>();
  const [problem, setProblem] = useState('');
  const pasted = useMemo(() => readAddresses(text), [text]);
  const n = pasted.good.length;
  const adds = kind === 'add';
  const busy = sent !== undefined;
  const file = async (input: HTMLInputElement): Promise<void> => {
    const chosen = input.files?.[0];
    if (!chosen) return;
    if (chosen.size > TEXT_MAX) setProblem(`The file has more than ${count(TEXT_MAX >> 20)} MiB: give it in parts.`);
    else setText(await chosen.text());
    input.value = '';
  };
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const path = { watchlist: id };
    let changed = 0;
    let unchanged = 0;
    let done = 0;
    setProblem('');
    setSent(0);
    try {
      for (; done < n; done += PIECE) {
        const piece = pasted.good.slice(done, done + PIECE).map((g) => g.address);
        const answer = adds ? await post('/v1/watchlists/{watchlist}/addresses', { path, body: { addresses: piece, ...(always ? { always } : {}) } })
          : await post('/v1/watchlists/{watchlist}/addresses/remove', { path, body: { addresses: piece } });
        changed += answer.changed;
        unchanged += answer.unchanged;
        setSent(Math.min(n, done + PIECE));
      }
      toast(`${addresses(changed)} ${adds ? 'added' : 'taken out'}${unchanged > 0 ? `, ${count(unchanged)} ${adds ? 'belonged to it already' : 'did not belong to it'}` : ''}`);
      setText('');
    } catch (error) {
      setProblem(`${asProblem(error).detail}${done > 0 ? ` The first ${addresses(done)} were sent before: sending all again does no harm.` : ''}`);
    }
    setSent(undefined);
    onDone();
  };
  return (
    <form class="edit" onSubmit={(event) => void submit(event)}>
      <Tabs label="What to do" value={kind} items={[['add', 'Add'], ['remove', 'Take out']]} onChange={setKind} />
      <label class="field"><span>Addresses <em>(one a line, or with commas between them)</em></span>
        <textarea class="mono" rows={6} value={text} spellcheck={false} placeholder="0x…" onInput={(e) => setText(e.currentTarget.value)} aria-invalid={pasted.bad.length > 0} disabled={busy} />
      </label>
      <label class="field"><span>Or a file of them</span><input type="file" accept=".txt,.csv,.ndjson,.json,text/plain,text/csv" onChange={(e) => void file(e.currentTarget)} disabled={busy} /></label>
      {pasted.bad.length > 0 && <Faults pasted={pasted} />}
      {pasted.bad.length > 0 && n > 0 && <label class="check"><input type="checkbox" checked={skip} onChange={(e) => setSkip(e.currentTarget.checked)} /> Leave {pasted.bad.length === 1 ? 'it' : 'them'} out</label>}
      {adds && <label class="check"><input type="checkbox" checked={always} onChange={(e) => setAlways(e.currentTarget.checked)} /> <span>For earlier events, too <span class="muted">as if they had always belonged to it; else from the next event on</span></span></label>}
      {busy && <Meter part={sent} all={n} label={`${count(sent)} of ${addresses(n)} sent`} />}
      {problem && <p class="form-error" role="alert">{problem}</p>}
      <div class="actions">
        <Button type="submit" kind={adds ? 'primary' : 'danger'} busy={busy} disabled={n === 0 || (pasted.bad.length > 0 && !skip)}>{adds ? 'Add' : 'Take out'}{n > 0 && ` ${addresses(n)}`}</Button>
        <span class="muted" role="status">{pasted.twice > 0 && `${addresses(pasted.twice)} given twice ${pasted.twice === 1 ? 'counts' : 'count'} once.`}{busy && ` ${count(sent)} of ${count(n)} sent`}</span>
      </div>
    </form>
  );
}
