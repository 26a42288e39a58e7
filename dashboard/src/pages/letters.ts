// Dead letters as the pages speak of them: a filter, the letters behind it, and the words for both.
import type { Schema } from '../api';

export type Letter = Schema<'DeadLetter'>;
export type Job = Schema<'ReplayJob'>;
/** pattern: of the error, as the clusters tell it. from, to: when it was parked, as the API writes times. */
export interface Filter { chain: string; subscription: string; type: string; reason: string; error_class: 'transient' | 'dependency' | 'permanent' | 'crash' | ''; pattern: string; key: string; kind: Letter['kind'] | ''; from: string; to: string }

export const everything: Filter = { chain: '', subscription: '', type: '', reason: '', error_class: '', pattern: '', key: '', kind: '', from: '', to: '' };

export function asQuery(f: Filter): { [K in keyof Filter]?: Exclude<Filter[K], ''> } {
  return Object.fromEntries(Object.entries(f).filter(([, v]) => v));
}

export const kinds: readonly (readonly [Filter['kind'], string])[] = [['', 'all'], ['head', 'failed itself'], ['follower', 'waits behind'], ['skipped', 'skipped']];

export const classes: readonly (readonly [Filter['error_class'], string])[] = [['', 'all'], ['transient', 'transient'], ['dependency', 'dependency down'], ['permanent', 'permanent'], ['crash', 'crash']];

export function inWords(f: Filter): string {
  const { from, to, kind, ...rest } = f;
  return [...Object.values(rest), kinds.find(([k]) => k && k === kind)?.[1], from && `from ${from}`, to && `until ${to}`].filter(Boolean).join(' · ');
}
