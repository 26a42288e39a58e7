// Time charts in SVG: lines or an area over the last minutes, a cross-hair that reads the values, and the same in words for those who
// can't see it.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

import { brief, duration } from '../format';

export interface Point { at: number; value: number }
export interface Series { name: string; tone: 'a' | 'b' | 'c'; points: readonly Point[]; area?: boolean }

const LEFT = 46;
const BOTTOM = 20;
const TOP = 8;
const THREE_LABELS = 170; // narrower, those of the time would lie on each other

export function useWidth<T extends Element>() {
  const ref = useRef<T>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = ref.current;
    if (!element) return undefined;
    const observer = new ResizeObserver((entries) => setWidth(Math.floor(entries[0]?.contentRect.width ?? 0)));
    observer.observe(element);
    setWidth(Math.floor(element.getBoundingClientRect().width));
    return () => observer.disconnect();
  }, []);
  return [ref, width] as const;
}

/** Round values that divide the range: at most four, at least `least` apart. */
export function ticks(low: number, high: number, least = 0, most = 4): number[] {
  const span = high - low || 1;
  const rough = span / (most - 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(least, ([1, 2, 2.5, 5, 10].find((m) => m * power >= rough) ?? 10) * power);
  const found: number[] = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step / 1e6; v += step) found.push(Math.abs(v) < step / 1e6 ? 0 : v);
  return found;
}

export function TimeChart({ title, series, height = 150, unit = '', fromZero = true, span = 300_000, format = brief, end, axis = 'time', whole = true, apart = whole ? 1 : 0, top, lines = 4 }: {
  title: string; series: readonly Series[]; height?: number; unit?: string; fromZero?: boolean; span?: number; format?: (n: number) => string; end?: number; axis?: 'time' | 'ordinal'; whole?: boolean;
  /** The highest value there can be: the scale ends there. */
  top?: number;
  /** Of two lines at least: what the format can tell. */
  apart?: number;
  /** Lines of the grid, at most. */
  lines?: number;
}) {
  const [box, width] = useWidth<HTMLDivElement>();
  const [hover, setHover] = useState<number>();
  const all = useMemo(() => series.flatMap((s) => s.points), [series]);
  const last = end ?? all.reduce((most, p) => Math.max(most, p.at), 0);
  const oldest = all.reduce((least, p) => Math.min(least, p.at), last);
  const from = axis === 'ordinal' ? oldest : Math.max(last - span, Math.min(oldest, last - 30_000));
  const values = all.filter((p) => p.at >= from).map((p) => p.value);
  const least = Math.min(...values);
  const most = Math.max(...values);
  const pad = (most - least || Math.abs(most) || 1) * 0.12;
  const low = fromZero ? 0 : Math.max(0, least - pad);
  const high = top ?? (values.length ? Math.max(most + pad, low + (whole ? 1 : 0.1)) : 1);
  const inner = { width: Math.max(10, width - LEFT - 8), height: height - BOTTOM - TOP };
  const x = (at: number): number => LEFT + ((at - from) / Math.max(1, last - from)) * inner.width;
  const y = (value: number): number => TOP + inner.height - ((value - low) / (high - low)) * inner.height;
  const shown = series.map((s) => ({ ...s, points: s.points.filter((p) => p.at >= from) }));

  const move = (event: PointerEvent): void => {
    const left = (event.currentTarget as Element).getBoundingClientRect().left;
    setHover(from + ((event.clientX - left - LEFT) / inner.width) * (last - from));
  };
  const nearest = (points: readonly Point[]): Point | undefined => hover === undefined ? undefined
    : points.reduce<Point | undefined>((best, p) => (!best || Math.abs(p.at - hover) < Math.abs(best.at - hover) ? p : best), undefined);
  const read = shown.map((s) => ({ ...s, point: nearest(s.points) }));
  const at = read.find((r) => r.point)?.point?.at;
  const summary = shown.map((s) => {
    const now = s.points.at(-1)?.value;
    if (now === undefined) return `${s.name}: no data yet`;
    const least = s.points.reduce((n, p) => Math.min(n, p.value), now);
    const most = s.points.reduce((n, p) => Math.max(n, p.value), now);
    return `${s.name}: ${format(now)}${unit} now, ${least === most ? 'all the time' : `between ${format(least)} and ${format(most)}`}`;
  }).join('; ') + (axis === 'time' && all.length > 1 ? `; over the last ${duration(last - from)}` : '');

  return (
    <figure class="chart">
      <figcaption>
        <span>{title}</span>
        <span class="legend">
          {read.map((s) => {
            const point = s.point ?? s.points.at(-1);
            return <span key={s.name} class={`key tone-${s.tone}`}>{s.name} <b>{point ? `${format(point.value)}${unit}` : '–'}</b></span>;
          })}
        </span>
      </figcaption>
      <div ref={box}>
        {width > 0 && (
          <svg width={width} height={height} role="img" aria-label={`${title}. ${summary}.`} onPointerMove={move} onPointerLeave={() => setHover(undefined)}>
            {ticks(low, high, apart, lines).map((v) => (
              <g key={v}>
                <line class="grid" x1={LEFT} x2={LEFT + inner.width} y1={y(v)} y2={y(v)} />
                <text class="tick" x={LEFT - 8} y={y(v) + 3.5} text-anchor="end">{format(v)}</text>
              </g>
            ))}
            {(axis !== 'time' ? [] : inner.width < THREE_LABELS ? [0, 1] : [0, 0.5, 1]).map((part) => (
              <text key={part} class="tick" x={LEFT + inner.width * part} y={height - 4} text-anchor={part === 0 ? 'start' : part === 1 ? 'end' : 'middle'}>
                {part === 1 ? 'now' : `−${duration((last - from) * (1 - part))}`}
              </text>
            ))}
            {shown.map((s) => {
              if (s.points.length === 0) return null;
              const line = s.points.map((p, i) => `${i ? 'L' : 'M'}${x(p.at).toFixed(1)} ${y(p.value).toFixed(1)}`).join('');
              const first = s.points[0];
              const final = s.points.at(-1);
              return (
                <g key={s.name} class={`series tone-${s.tone}`}>
                  {s.area && first && final && <path class="area" d={`${line}L${x(final.at).toFixed(1)} ${y(low)}L${x(first.at).toFixed(1)} ${y(low)}Z`} />}
                  <path class="line" d={line} />
                  {final && hover === undefined && <circle cx={x(final.at)} cy={y(final.value)} r="2.6" />}
                </g>
              );
            })}
            {at !== undefined && hover !== undefined && (
              <g class="cross">
                <line x1={x(at)} x2={x(at)} y1={TOP} y2={TOP + inner.height} />
                {read.map((r) => r.point && <circle key={r.name} class={`tone-${r.tone}`} cx={x(r.point.at)} cy={y(r.point.value)} r="3.4" />)}
                <text class="tick strong" x={Math.min(Math.max(x(at), LEFT + 24), LEFT + inner.width - 24)} y={height - 4} text-anchor="middle">{axis === 'time' ? `−${duration(last - at)}` : `${at + 1} of ${last + 1}`}</text>
              </g>
            )}
          </svg>
        )}
        {all.length < 2 && <p class="chart-note">Collecting…</p>}
      </div>
    </figure>
  );
}
