// Where alerts go, trying that, and silences.
import { useState } from 'preact/hooks';

import { get, post, type Schema } from '../api';
import { duration, moment } from '../format';
import { asProblem, useAsked } from '../query';
import { useWho } from '../who';
import { Confirm } from '../ui/dialog';
import { Await, Badge, Button, Empty, Page, Panel, Select, useNow } from '../ui/parts';
import { ACTIONS, Table, type Column } from '../ui/table';
import { toast } from '../ui/toast';

type Silence = Schema<'Silence'>;
const spans = [['3600', 'an hour'], ['14400', 'four hours'], ['86400', 'a day'], ['604800', 'a week']] as const;

function Silences({ silences, reload }: { silences: readonly Silence[]; reload: () => void }) {
  const { may } = useWho();
  const now = useNow(1000);
  const [ending, setEnding] = useState<Silence>();
  const columns: readonly Column<Silence>[] = [
    { head: 'Alerts', as: 'row', cell: (s) => <code>{s.pattern}</code> },
    { head: 'Why', as: 'words', cell: (s) => s.reason },
    { head: 'Who', cell: (s) => s.who },
    { head: 'Until', cell: (s) => <>{moment(s.expires_at)} <span class="muted">{duration(Math.max(0, Date.parse(s.expires_at ?? '') - now))} left</span></> },
    { head: ACTIONS, cell: (s) => may('operator') && <Button icon="cross" onClick={() => setEnding(s)}>End</Button> },
  ];
  if (silences.length === 0) return <Empty icon="calm" title="Nothing is silenced." />;
  return (
    <>
      <Table caption="Silences, the first to end first" columns={columns} items={silences} id={(s) => s.id} />
      {ending && (
        <Confirm title="End the silence" action="End it" reason="optional" onClose={() => setEnding(undefined)}
          onConfirm={async (why) => { await post('/admin/v1/alerts/silences/{id}/end', { path: { id: ending.id }, body: why ? { why } : {} }); reload(); }}>
          <p>Alerts like <code>{ending.pattern}</code> are heard again.</p>
        </Confirm>
      )}
    </>
  );
}

export function Alerts() {
  const { may } = useWho();
  const asked = useAsked('alerts', (signal) => get('/admin/v1/alerts', { signal }), 3000);
  const [tried, setTried] = useState<Schema<'AlertTest'>['items']>();
  const [busy, setBusy] = useState(false);
  const [silencing, setSilencing] = useState(false);
  const [pattern, setPattern] = useState('');
  const [seconds, setSeconds] = useState('3600');
  const test = async (): Promise<void> => {
    setBusy(true);
    try {
      setTried((await post('/admin/v1/alerts/test', { body: {} })).items);
    } catch (error) {
      toast(asProblem(error).detail, 'bad');
    }
    setBusy(false);
  };
  const result = (name: string) => tried?.find((t) => t.name === name);
  const destinations: readonly Column<Schema<'Alerts'>['destinations'][number]>[] = [
    { head: 'Name', as: 'row', cell: (d) => d.name },
    { head: 'Kind', cell: (d) => d.kind },
    { head: 'To', cell: (d) => <code>{d.to}</code> },
    { head: 'Gets', cell: (d) => (d.severity === 'page' ? 'what cannot wait' : 'everything') },
    { head: 'Last test', as: 'words', cell: (d) => { const r = result(d.name); return r ? <><Badge tone={r.taken ? 'good' : 'bad'}>{r.taken ? 'taken' : 'failed'}</Badge> {r.error}</> : '–'; } },
  ];
  return (
    <Page title="Alerts" lead="Where weir says that it needs somebody"
      actions={may('operator') && <><Button icon="play" busy={busy} onClick={() => void test()}>Send a test</Button><Button icon="pause" kind="primary" onClick={() => setSilencing(true)}>Silence</Button></>}>
      <Await asked={asked} rows={5}>
        {(a) => (
          <>
            <Panel title="Destinations" flush>
              {a.destinations.length === 0 ? <Empty icon="alert" title="Alerts are only logged.">Set <code>alerts.destinations</code> to be told.</Empty> : (
                <Table caption="Destinations of alerts" columns={destinations} items={a.destinations} id={(d) => d.name} />
              )}
            </Panel>
            <Panel title="Silences" flush><Silences silences={a.silences} reload={asked.reload} /></Panel>
          </>
        )}
      </Await>
      {silencing && (
        <Confirm title="Silence alerts" action="Silence" reason="required" ready={pattern.trim() !== ''} onClose={() => setSilencing(false)}
          onConfirm={async (why) => { await post('/admin/v1/alerts/silences', { body: { pattern: pattern.trim(), seconds: Number(seconds), why } }); setPattern(''); asked.reload(); }}>
          <p>No process sends alerts whose key matches, nor that they are over. The log still has them.</p>
          <label class="field"><span>Key, with * and ?, or a page of the runbook</span><input value={pattern} onInput={(e) => setPattern(e.currentTarget.value)} maxLength={159} placeholder="gap dev *" /></label>
          <Select label="For" value={seconds} options={spans} onChange={setSeconds} />
        </Confirm>
      )}
    </Page>
  );
}
