// Figures for people. Amounts stay whole numbers of any size until the last step.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const NONE = '–';

export function count(n: number | undefined | null): string {
  return n === undefined || n === null ? NONE : whole.format(n);
}

export function brief(n: number): string {
  return Math.abs(n) < 10_000 ? whole.format(n) : short.format(n);
}

export function perSecond(n: number | undefined): string {
  if (n === undefined) return NONE;
  return n >= 100 ? whole.format(n) : n.toFixed(n >= 10 ? 0 : 1);
}

export function percent(part: number, all: number): string {
  if (all === 0) return NONE;
  const share = (part / all) * 100;
  return share === 100 ? '100 %' : `${(Math.floor(share * 10) / 10).toFixed(1)} %`;
}

export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${i === 0 ? n : n.toFixed(n >= 100 ? 0 : 1)} ${units[i]}`;
}

export function duration(ms: number): string {
  const s = ms / 1000;
  if (s < 1) return `${Math.max(0, Math.round(ms))} ms`;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.round((s % 86_400) / 3600)} h`;
}

export function ago(at: string | number | null | undefined, now = Date.now()): string {
  if (at === null || at === undefined) return NONE;
  const ms = now - (typeof at === 'number' ? at : Date.parse(at));
  if (ms < 5000) return 'just now';
  if (ms < 60_000) return `${Math.round(ms / 1000)} s ago`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min ago`;
  if (ms < 86_400_000) return `${Math.round(ms / 3_600_000)} h ago`;
  return `${Math.round(ms / 86_400_000)} d ago`;
}

export function moment(at: string | number | null | undefined): string {
  if (at === null || at === undefined) return NONE;
  const date = new Date(at);
  return `${date.toISOString().slice(0, 10)} ${date.toISOString().slice(11, 19)} UTC`;
}

export function shorten(hex: string, head = 8, tail = 6): string {
  return hex.length <= head + tail + 3 ? hex : `${hex.slice(0, head)}…${hex.slice(-tail)}`;
}

function group(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+$)/g, '\u2009');
}

/** A whole number as text, scaled by decimals, at most `digits` behind the point; never rounded up. */
export function amount(raw: string, decimals: number | null | undefined, digits = 6): string {
  const negative = raw.startsWith('-');
  const magnitude = negative ? raw.slice(1) : raw;
  const sign = negative ? '−' : '';
  if (!decimals) return sign + group(magnitude);
  const padded = magnitude.padStart(decimals + 1, '0');
  const before = padded.slice(0, -decimals);
  const behind = padded.slice(-decimals).replace(/0+$/, '');
  if (!behind) return sign + group(before);
  const cut = behind.slice(0, digits).replace(/0+$/, '');
  if (cut) return `${sign}${group(before)}.${cut}${behind.length > digits ? '…' : ''}`;
  return before === '0' ? `${sign}<0.${'0'.repeat(digits - 1)}1` : `${sign}${group(before)}.0…`;
}

export function words(code: string): string {
  const text = code.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}
