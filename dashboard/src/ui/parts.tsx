// The small parts that pages are made of.
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import type { Problem } from '../api';
import { shorten } from '../format';
import type { Asked } from '../query';
import { place } from '../router';
import { useStore } from '../store';
import { Icon } from './icon';
import { toast } from './toast';

export type Tone = 'good' | 'warn' | 'bad' | 'info' | 'quiet';

/** The page's heading takes the focus when the page is entered, so that a screen reader says where one is; not when its title is known better later: whoever went on meanwhile stays there. */
export function Page({ title, lead, actions, children }: {
  title: string; lead?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  const where = useStore(place).segments.join('/');
  useEffect(() => { document.title = `${title} · weir`; }, [title]);
  useEffect(() => heading.current?.focus({ preventScroll: true }), [where]);
  return (
    <>
      <header class="page-head">
        <div>
          <h1 ref={heading} tabIndex={-1}>{title}</h1>
          {lead && <p class="lead">{lead}</p>}
        </div>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {children}
    </>
  );
}

export function Panel({ title, hint, actions, children, flush = false, label }: {
  title?: ComponentChildren; hint?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren; flush?: boolean; label?: string;
}) {
  return (
    <section class="panel" aria-label={label ?? (typeof title === 'string' ? title : undefined)}>
      {title !== undefined && (
        <div class="panel-head">
          <h2>{title}</h2>
          {hint && <span class="hint">{hint}</span>}
          {actions && <div class="actions">{actions}</div>}
        </div>
      )}
      <div class={flush ? 'panel-body flush' : 'panel-body'}>{children}</div>
    </section>
  );
}

export function Badge({ tone = 'quiet', children, title }: { tone?: Tone; children: ComponentChildren; title?: string }) {
  return <span class={`badge ${tone}`} title={title}>{children}</span>;
}

export function Dot({ tone }: { tone: Tone }) {
  return <span class={`dot ${tone}`} aria-hidden="true" />;
}

export function Figure({ label, value, note, tone, href }: {
  label: string; value: ComponentChildren; note?: ComponentChildren; tone?: Tone | undefined; href?: string;
}) {
  return (
    <div class={`figure ${tone ?? ''}`}>
      <dt>{label}</dt>
      <dd>{href ? <a href={href}>{value}</a> : value}</dd>
      {note && <dd class="note">{note}</dd>}
    </div>
  );
}

export function Button({ children, kind = 'plain', icon, busy = false, ...rest }: JSX.HTMLAttributes<HTMLButtonElement> & {
  kind?: 'plain' | 'primary' | 'danger' | 'ghost'; icon?: string; busy?: boolean; disabled?: boolean; type?: 'button' | 'submit'; children?: ComponentChildren;
}) {
  return (
    <button type="button" {...rest} class={`button ${kind}`} disabled={rest.disabled || busy} aria-busy={busy}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

export function CopyButton({ text, what }: { text: string; what: string }) {
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      toast(`Copied ${what}`);
    } catch {
      toast(`The browser did not allow copying ${what}`, 'bad');
    }
  };
  return <button type="button" class="icon-button small" onClick={() => void copy()} aria-label={`Copy ${what}`} title={`Copy ${what}`}><Icon name="copy" /></button>;
}

/** A hash or address: short in a table, whole in its title, one click to copy. */
export function Hex({ value, href, what, whole = false, copy = false }: { value: string; href?: string | undefined; what: string; whole?: boolean; copy?: boolean }) {
  const text = whole ? value : shorten(value);
  return (
    <span class="hex">
      {href ? <a href={href} title={value}>{text}</a> : <span title={value}>{text}</span>}
      {copy && <CopyButton text={value} what={what} />}
    </span>
  );
}

export function Empty({ icon = 'calm', title, children }: { icon?: string; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <p class="empty-title">{title}</p>
      {children && <p>{children}</p>}
    </div>
  );
}

export function Failed({ problem, retry }: { problem: Problem; retry?: () => void }) {
  return (
    <div class="failed" role="alert">
      <Icon name="alert" />
      <div>
        <p class="empty-title">{problem.status === 404 ? 'Not found' : problem.status === 403 ? 'Not allowed' : 'This could not be loaded'}</p>
        <p>{problem.detail}</p>
        <p class="muted small">
          <code>{problem.code}</code>{problem.requestId && <> · request <code>{problem.requestId}</code></>}
        </p>
      </div>
      {retry && <Button onClick={retry}>Try again</Button>}
    </div>
  );
}

export function Skeleton({ rows = 4 }: { rows?: number }) {
  return (
    <div class="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, i) => <span key={i} />)}
    </div>
  );
}

/** Loading, error, or content; an error after a good answer leaves the answer in view and says so. */
export function Await<T>({ asked, rows, children }: { asked: Asked<T>; rows?: number; children: (data: T) => ComponentChildren }) {
  if (asked.data === undefined) return asked.error ? <Failed problem={asked.error} retry={asked.reload} /> : <Skeleton rows={rows ?? 4} />;
  return (
    <>
      {asked.error && <p class="inline-stale" role="status"><Icon name="alert" /> Not up to date: {asked.error.detail}</p>}
      {children(asked.data)}
    </>
  );
}

export function Select({ label, value, options, onChange }: {
  label: string; value: string; options: readonly (readonly [value: string, text: string])[]; onChange: (value: string) => void;
}) {
  return (
    <label class="field inline">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([v, text]) => <option key={v} value={v}>{text}</option>)}
      </select>
    </label>
  );
}

export function Tabs({ label, value, items, onChange }: {
  label: string; value: string; items: readonly (readonly [value: string, text: ComponentChildren])[]; onChange: (value: string) => void;
}) {
  const list = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent): void => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const at = items.findIndex(([v]) => v === value);
    const next = items[(at + step + items.length) % items.length];
    if (!next) return;
    onChange(next[0]);
    list.current?.querySelectorAll<HTMLButtonElement>('button')[items.indexOf(next)]?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} ref={list} onKeyDown={move}>
      {items.map(([v, text]) => (
        <button key={v} type="button" role="tab" aria-selected={v === value} tabIndex={v === value ? 0 : -1} onClick={() => onChange(v)}>{text}</button>
      ))}
    </div>
  );
}

/** The moment, again every second: for "12 s ago". */
export function useNow(every = 1000): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

export function Meter({ part, all, label }: { part: number; all: number; label: string }) {
  const share = all > 0 ? part / all : 0;
  return (
    <div class={`meter ${share >= 1 ? 'good' : share >= 0.5 ? 'info' : 'warn'}`} role="meter" aria-valuemin={0} aria-valuemax={all} aria-valuenow={part} aria-label={label}>
      <span style={{ width: `${Math.min(100, share * 100)}%` }} />
    </div>
  );
}
