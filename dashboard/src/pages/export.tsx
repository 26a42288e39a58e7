// One chain's ledger to Kafka: how far it is, what it waits for, and beginning anew. Nothing where nothing is sent.
import { useState } from 'preact/hooks';

import { post } from '../api';
import { duration, plural } from '../format';
import type { ChainStatus } from '../live';
import { useWho } from '../who';
import { Confirm } from '../ui/dialog';
import { Badge, Button, Panel, type Tone } from '../ui/parts';
import { toast } from '../ui/toast';

type Kafka = NonNullable<ChainStatus['kafka']>;

const tones: Record<Kafka['state'], Tone> = { running: 'good', waiting: 'warn', stopped: 'bad' };

function Anew({ chain, onClose }: { chain: string; onClose: () => void }) {
  const [from, setFrom] = useState('');
  const valid = from === '' || /^\d+$/.test(from);
  return (
    <Confirm title={`Send ${chain} to Kafka anew`} action="Begin anew" danger reason="required" ready={valid} onClose={onClose}
      onConfirm={(why) => post('/admin/v1/chains/{chain}/kafka/restart', { path: { chain }, body: { why, ...(from ? { from_height: Number(from) } : {}) } })
        .then((done) => toast(`It begins anew, as epoch ${done.epoch}`))}>
      <p>What was sent stays in the topic. Readers are given the ledger once more under a higher epoch, by which they see that the earlier one is over.</p>
      <label class="field"><span>From height <em>(empty: as kafka.start says)</em></span>
        <input inputMode="numeric" value={from} onInput={(e) => setFrom(e.currentTarget.value.trim())} aria-invalid={!valid} /></label>
    </Confirm>
  );
}

export function Export({ chain }: { chain: ChainStatus }) {
  const { may } = useWho();
  const [anew, setAnew] = useState(false);
  const k = chain.kafka;
  if (!k) return null;
  return (
    <Panel title="Export to Kafka" actions={may('admin') && <Button icon="rewind" onClick={() => setAnew(true)}>Begin anew</Button>}>
      <dl class="facts">
        <dt>State</dt><dd><Badge tone={tones[k.state]}>{k.state}</Badge> <span class="muted">for {duration(k.state_seconds * 1000)}</span></dd>
        {k.reason && <><dt>Why</dt><dd>{k.reason}</dd></>}
        <dt>Topic</dt><dd><code>{k.topic}</code> <span class="muted">epoch {k.epoch}</span></dd>
        <dt>To go</dt><dd>{k.lag === 0 ? 'nothing' : plural(k.lag, 'event')} <span class="muted">{plural(k.records, 'record')} acknowledged</span></dd>
        <dt>Sent by</dt><dd>{k.gateway ? <code>{k.gateway}</code> : <span class="muted">nobody just now</span>}</dd>
      </dl>
      {anew && <Anew chain={chain.name} onClose={() => setAnew(false)} />}
    </Panel>
  );
}
