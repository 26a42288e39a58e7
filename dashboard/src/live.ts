// The heartbeat: the gateway's status once a second, with a memory of the last minutes for charts. Paused while the tab is hidden, backs
// off on errors, and says how stale what is shown has become.
import { get, Problem, type Schema } from './api';
import { asProblem } from './query';
import { isSignedIn, session } from './session';
import { Store } from './store';

const INTERVAL_MS = 1000;
const BACKOFF_MAX_MS = 15_000;
const SAMPLES_MAX = 600;

export type Status = Schema<'Status'>;
export type ChainStatus = Status['chains'][number];

export interface Sample {
  at: number;
  head: number;
  watermark: number;
  lagBlocks: number;
  lagSeconds: number;
  /** Events of the journal. */
  sequence: number;
  /** Counted by the bus since it began; undefined: Redis did not tell. */
  stages: ChainStatus['stages'];
}

export interface Live {
  status: Status | undefined;
  /** When it was true. */
  at: number;
  error: Problem | undefined;
  /** When it will be asked again after an error. */
  retryAt: number;
  history: ReadonlyMap<string, readonly Sample[]>;
}

const nothing: Live = { status: undefined, at: 0, error: undefined, retryAt: 0, history: new Map() };
export const live = new Store<Live>(nothing);

let timer: ReturnType<typeof setTimeout> | undefined;
let failures = 0;
let running = 0; // grows with each begin, so that an answer to an earlier one is dropped

function remember(status: Status, at: number): Map<string, readonly Sample[]> {
  const history = new Map<string, readonly Sample[]>();
  for (const chain of status.chains) {
    const before = live.get().history.get(chain.name) ?? [];
    if (!chain.watermark && !chain.head) {
      history.set(chain.name, before);
      continue;
    }
    const sample: Sample = {
      at, head: chain.head?.height ?? 0, watermark: chain.watermark?.height ?? -1, lagBlocks: chain.lag_blocks ?? 0,
      lagSeconds: chain.lag_seconds ?? 0, sequence: Number.parseInt(chain.offset ?? '0', 10), stages: chain.stages,
    };
    history.set(chain.name, [...before.slice(-SAMPLES_MAX + 1), sample]);
  }
  return history;
}

async function beat(run: number): Promise<void> {
  if (document.hidden) return;
  try {
    const status = await get('/admin/v1/status');
    if (run !== running) return;
    failures = 0;
    const at = Date.now();
    live.set({ status, at, error: undefined, retryAt: 0, history: remember(status, at) });
    timer = setTimeout(() => void beat(run), INTERVAL_MS);
  } catch (error) {
    if (run !== running || !isSignedIn()) return;
    failures++;
    const wait = Math.min(BACKOFF_MAX_MS, INTERVAL_MS * 2 ** Math.min(failures, 5));
    live.set({ ...live.get(), error: asProblem(error), retryAt: Date.now() + wait });
    timer = setTimeout(() => void beat(run), wait);
  }
}

function begin(): void {
  clearTimeout(timer);
  running++;
  if (isSignedIn()) void beat(running);
  else live.set(nothing);
}

export function retryNow(): void {
  begin();
}

export function startLive(): void {
  session.watch(() => {
    failures = 0;
    live.set(nothing);
    begin();
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) begin();
  });
  begin();
}

const RATE_LEAST_MS = 1500; // a rate over less says more about when we asked

/** At each moment the change of a figure per second over the `seconds` before. Samples that do not have the figure are left out. */
export function rates(samples: readonly Sample[], figure: (s: Sample) => number | undefined, seconds = 15): { at: number; value: number }[] {
  const known = samples.flatMap((s) => { const value = figure(s); return value === undefined ? [] : [{ at: s.at, value }]; });
  const found: { at: number; value: number }[] = [];
  let first = 0;
  for (const now of known) {
    while (known[first] && now.at - known[first]!.at > seconds * 1000) first++;
    const before = known[first];
    if (before && now.at - before.at >= RATE_LEAST_MS) found.push({ at: now.at, value: Math.max(0, (now.value - before.value) / ((now.at - before.at) / 1000)) });
  }
  return found;
}

/** Change of a figure per second over the last `seconds`; undefined: not known yet. */
export function rate(samples: readonly Sample[], figure: (s: Sample) => number, seconds = 10): number | undefined {
  const last = samples.at(-1);
  if (!last) return undefined;
  const first = samples.find((s) => s.at >= last.at - seconds * 1000);
  if (!first || last.at - first.at < RATE_LEAST_MS) return undefined;
  return Math.max(0, (figure(last) - figure(first)) / ((last.at - first.at) / 1000));
}
