// One word for how a chain is doing, and why: the same everywhere in the dashboard.
import { count, duration, plural } from './format';
import type { ChainStatus, Status } from './live';
import type { Tone } from './ui/parts';

export interface Health { tone: Tone; word: string; why: string }

const LATE_SECONDS = 60;
const WAITS_SECONDS = 30; // as long as before an alert

/** Long enough to tell. */
export function waitsForKafka({ kafka }: ChainStatus): boolean {
  return kafka !== undefined && kafka.state !== 'running' && kafka.state_seconds >= WAITS_SECONDS;
}

export function chainHealth(chain: ChainStatus, status: Status): Health {
  const letters = Object.values(chain.dead_letters ?? {}).reduce((a, b) => a + b, 0);
  if (!status.postgres.ok) return { tone: 'bad', word: 'Ledger away', why: status.postgres.reason };
  if (!status.redis.ok) return { tone: 'bad', word: 'Bus away', why: status.redis.reason };
  if (!chain.watermark) return { tone: 'info', word: 'Starting', why: 'The ledger has no block of this chain yet.' };
  if (chain.paused) return { tone: 'warn', word: 'Paused', why: 'An operator paused this chain: nothing is applied until it is resumed.' };
  if ((chain.incidents ?? 0) > 0) return { tone: 'bad', word: 'Incident', why: `${plural(chain.incidents ?? 0, 'incident is', 'incidents are')} open: the ledger and the chain differ.` };
  if ((chain.gaps ?? 0) > 0 && (chain.lag_seconds ?? 0) > LATE_SECONDS) return { tone: 'bad', word: 'Held up', why: 'A block is missing or not proven, and the ledger waits for it.' };
  if ((chain.lag_blocks ?? 0) > 2 && (chain.lag_seconds ?? 0) > LATE_SECONDS) {
    return { tone: 'info', word: 'Catching up', why: `${count(chain.lag_blocks)} blocks behind the head (${duration((chain.lag_seconds ?? 0) * 1000)}).` };
  }
  if (letters > 0) return { tone: 'warn', word: 'Live, with dead letters', why: `${count(letters)} messages could not be handled and wait for a person.` };
  if (chain.kafka && waitsForKafka(chain)) return { tone: 'warn', word: `Live, Kafka ${chain.kafka.state}`, why: chain.kafka.reason };
  return { tone: 'good', word: 'Live', why: 'The ledger is at the head.' };
}
