// How much of the newest blocks is proven, and how much of what they changed was compared with the chain: now, and over the last minutes.
import { get, type Answer } from '../api';
import { count, percent, plural } from '../format';
import { useAsked, type Asked } from '../query';
import { session } from '../session';
import { TimeChart, type Point } from '../ui/chart';
import { Empty, Failed, Meter, Skeleton } from '../ui/parts';

type Proof = Answer<'/admin/v1/chains/{chain}/proof'>;

const EVERY_MS = 5000;
const POINTS_MAX = 120; // ten minutes

interface Shares { proven: Point[]; compared: Point[] }

const remembered = new Map<string, Shares>(); // by chain: there are as many as are configured
session.watch(() => remembered.clear());

const share = (part: number, all: number): number => (all > 0 ? (part / all) * 100 : 0);

function remember(chain: string, proof: Proof): void {
  const { proven, compared } = remembered.get(chain) ?? { proven: [], compared: [] };
  const at = Date.now();
  const add = (points: readonly Point[], part: number, all: number): Point[] => (all > 0 ? [...points.slice(1 - POINTS_MAX), { at, value: share(part, all) }] : [...points]);
  remembered.set(chain, { proven: add(proven, proof.proven, proof.blocks), compared: add(compared, proof.balances_compared, proof.balances_changed) });
}

export function useProof(chain: string): Asked<Proof> {
  return useAsked(`proof ${chain}`, async (signal) => {
    const proof = await get('/admin/v1/chains/{chain}/proof', { path: { chain }, signal });
    remember(chain, proof);
    return proof;
  }, EVERY_MS);
}

export function ProofRows({ asked }: { asked: Asked<Proof> }) {
  const { data } = asked;
  if (!data) return asked.error ? <Failed problem={asked.error} retry={asked.reload} /> : <Skeleton rows={3} />;
  if (data.blocks === 0) return <Empty title="There is no block to verify yet." />;
  const checks = data.checks_passed + data.checks_failed;
  return (
    <div class="proof">
      <div>
        <span>Blocks verified</span><b>{percent(data.proven, data.blocks)}</b>
        <Meter part={data.proven} all={data.blocks} label={`${data.proven} of ${data.blocks} blocks proven`} />
        <small>{count(data.proven)} of the last {plural(data.blocks, 'block')} proven: {plural(checks, 'check')}{data.checks_failed > 0 ? `, ${count(data.checks_failed)} failed` : ', none failed'}</small>
      </div>
      <div>
        <span>Balances reconciled</span><b>{percent(data.balances_compared, data.balances_changed)}</b>
        <Meter part={data.balances_compared} all={data.balances_changed} label={`${data.balances_compared} of ${data.balances_changed} changed balances compared with the chain`} />
        <small>{count(data.balances_compared)} of {plural(data.balances_changed, 'balance')} that these blocks changed were compared with the chain since</small>
      </div>
    </div>
  );
}

export function ProofChart({ chain, height }: { chain: string; height?: number }) {
  const { proven, compared } = remembered.get(chain) ?? { proven: [], compared: [] };
  return (
    <TimeChart title="Proof" {...(height ? { height } : {})} unit=" %" top={100} lines={3} format={(n) => String(Math.floor(n))}
      series={[{ name: 'verified', tone: 'a', points: proven }, { name: 'reconciled', tone: 'b', points: compared }]} />
  );
}
