// Replay jobs: how far each is, and pause, resume, cancel.
import { useEffect, useRef, useState } from 'preact/hooks';

import { get, post } from '../api';
import { ago, count, plural } from '../format';
import { asProblem, useAsked } from '../query';
import { useWho } from '../who';
import { Badge, Button, Meter, Panel, useNow, type Tone } from '../ui/parts';
import { toast } from '../ui/toast';
import type { Job } from './letters';

const FINISHED_SHOWN_MS = 10 * 60_000;

const tones: Record<Job['state'], Tone> = { running: 'info', paused: 'warn', done: 'good', canceled: 'quiet' };
const alive = (job: Job): boolean => job.state === 'running' || job.state === 'paused';

function JobRow({ job, reload }: { job: Job; reload: () => void }) {
  const { may } = useWho();
  const now = useNow(2000);
  const [busy, setBusy] = useState(false);
  const ended = job.succeeded + job.failed + job.gone;
  const tell = async (action: 'pause' | 'resume' | 'cancel'): Promise<void> => {
    setBusy(true);
    try {
      await post(`/admin/v1/dlq/jobs/{id}/${action}`, { path: { id: job.id }, body: { chain: job.chain } });
      reload();
    } catch (error) {
      toast(asProblem(error).detail, 'bad');
    }
    setBusy(false);
  };
  return (
    <li class="job">
      <p><Badge tone={tones[job.state]}>{job.state}</Badge> <b>{plural(job.total, 'letter')}</b> <span class="muted">{job.chain} · {job.subscription}{job.filter.named ? ' · chosen one by one' : ''}{job.filter.reason ? ` · ${job.filter.reason}` : ''} · by {job.who}, {ago(job.created_at, now)}{job.why && `: ${job.why}`}</span></p>
      <Meter part={ended} all={job.total} label="Letters replayed" />
      <p class="job-figures">
        <span class="good">{count(job.succeeded)} done</span> · <span class={job.failed > 0 ? 'bad' : 'muted'}>{count(job.failed)} failed again</span>
        {job.gone > 0 && <span class="muted"> · {count(job.gone)} gone meanwhile</span>}
        {alive(job) && <span class="muted"> · {count(Math.max(0, job.total - ended))} to go</span>}
        {job.rate > 0 && <span class="muted"> · at most {count(job.rate)} a second</span>}
        {job.note && <span class="warn-words"> · {job.note}</span>}
      </p>
      {alive(job) && may('operator') && (
        <div class="actions">
          {job.state === 'running' ? <Button icon="pause" busy={busy} onClick={() => void tell('pause')}>Pause</Button> : <Button icon="play" busy={busy} onClick={() => void tell('resume')}>Resume</Button>}
          <Button icon="cross" busy={busy} onClick={() => void tell('cancel')}>Cancel</Button>
        </div>
      )}
    </li>
  );
}

/** turn: grows when a job was begun here, so that it is seen at once. onEnd: one has ended. */
export function Jobs({ chain, turn, onEnd }: { chain: string; turn: number; onEnd: () => void }) {
  const [fast, setFast] = useState(true);
  const asked = useAsked(`jobs ${chain}`, (signal) => get('/admin/v1/dlq/jobs', { query: chain ? { chain } : {}, signal }), fast ? 1000 : 4000);
  const jobs = (asked.data?.items ?? []).filter((j) => alive(j) || (j.finished_at !== null && Date.now() - Date.parse(j.finished_at) < FINISHED_SHOWN_MS));
  const living = jobs.filter(alive).length;
  const before = useRef(0);
  useEffect(() => {
    setFast(living > 0);
    if (living < before.current) onEnd();
    before.current = living;
  }, [living]);
  useEffect(() => {
    if (turn > 0) asked.reload();
  }, [turn]);
  if (jobs.length === 0) return null;
  return (
    <Panel title="Replays" hint={living > 0 ? `${count(living)} under way` : 'none under way'} flush>
      <ul class="jobs">{jobs.toSorted((a, b) => Number(alive(b)) - Number(alive(a)) || (b.created_at ?? '').localeCompare(a.created_at ?? '')).slice(0, 6).map((j) => <JobRow key={j.id} job={j} reload={asked.reload} />)}</ul>
    </Panel>
  );
}
