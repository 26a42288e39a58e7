// Tables, and lists that go on: their columns are told in one place, heading beside cell, and loading, error, emptiness and the next page are the same everywhere.
import type { ComponentChildren } from 'preact';

import { More, type Paged } from './more';
import { Await } from './parts';

export interface Column<T> {
  head: ComponentChildren;
  cell: (item: T) => ComponentChildren;
  /** row: names the row, for screen readers. num: to the right. words: may break. */
  as?: 'row' | 'num' | 'words';
  tone?: (item: T) => string;
  title?: (item: T) => string | undefined;
}

/** A column of buttons. */
export const ACTIONS = <span class="sr">Actions</span>;

export function Table<T>({ caption, columns, items, id }: { caption: string; columns: readonly Column<T>[]; items: readonly T[]; id: (item: T) => string | number }) {
  return (
    <div class="scroll">
      <table>
        <caption class="sr">{caption}</caption>
        <thead><tr>{columns.map((c, i) => <th key={i} scope="col" class={c.as === 'num' ? 'num' : undefined}>{c.head}</th>)}</tr></thead>
        <tbody>
          {items.map((item) => (
            <tr key={id(item)}>
              {columns.map((c, i) => c.as === 'row' ? <th key={i} scope="row" class={c.tone?.(item)} title={c.title?.(item)}>{c.cell(item)}</th>
                : <td key={i} class={[c.as ?? '', c.tone?.(item) ?? ''].join(' ').trim() || undefined} title={c.title?.(item)}>{c.cell(item)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function List<T>({ list, empty, rows = 5, ...table }: {
  list: Paged<T>; empty: ComponentChildren; rows?: number; caption: string; columns: readonly Column<T>[]; id: (item: T) => string | number;
}) {
  return (
    <Await asked={list} rows={rows}>
      {() => list.items.length === 0 ? empty : <><Table {...table} items={list.items} /><More list={list} /></>}
    </Await>
  );
}
