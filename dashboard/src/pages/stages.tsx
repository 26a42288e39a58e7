// How fast each stage works, side by side: where the numbers fall, the pipeline is held up.
import type { ComponentChildren } from 'preact';

import { perSecond } from '../format';
import { rates, type Sample } from '../live';
import { TimeChart } from '../ui/chart';

export const RATE_SECONDS = 15; // each rate is over so long: blocks come one by one

const stages: readonly { title: string; what: string; figure: (s: Sample) => number | undefined }[] = [
  { title: 'Fetched', what: 'blocks', figure: (s) => s.stages?.fetched },
  { title: 'Normalized', what: 'blocks', figure: (s) => s.stages?.normalized },
  { title: 'Applied', what: 'blocks', figure: (s) => s.watermark },
  { title: 'Published', what: 'events', figure: (s) => s.stages?.published },
];

/** Now, per second: of the stage of that title. */
export function stageRate(samples: readonly Sample[], title: string): string {
  const stage = stages.find((s) => s.title === title);
  return perSecond(stage && rates(samples, stage.figure, RATE_SECONDS).at(-1)?.value);
}

/** children: charts that stand beside them. */
export function StageCharts({ samples, height = 92, children }: { samples: readonly Sample[]; height?: number; children?: ComponentChildren }) {
  return (
    <div class="stage-charts" role="group" aria-label="Rate of each stage">
      {stages.map((stage, i) => (
        <TimeChart key={stage.title} title={stage.title} height={height} unit="/s" whole={false} apart={0.1} lines={3} format={perSecond}
          series={[{ name: stage.what, tone: i === 3 ? 'b' : 'a', area: true, points: rates(samples, stage.figure, RATE_SECONDS) }]} />
      ))}
      {children}
    </div>
  );
}
