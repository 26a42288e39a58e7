// Asking and asking again: what a page shows comes from here. Nothing is asked while the tab is hidden; errors back off and keep the last
// good answer in view.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

import { Problem } from './api';

const kept = new Map<string, unknown>();
const KEPT_MAX = 60;
const BACKOFF_MAX_MS = 15_000;

export interface Asked<T> {
  data: T | undefined;
  error: Problem | undefined;
  loading: boolean;
  reload: () => void;
}

function keep(key: string, value: unknown): void {
  kept.delete(key);
  kept.set(key, value);
  const oldest = kept.keys().next().value;
  if (kept.size > KEPT_MAX && oldest !== undefined) kept.delete(oldest);
}

export function forgetAll(): void {
  kept.clear();
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, 'unexpected', error instanceof Error ? error.message : String(error), '', 0);
}

/** key: what is asked, as text; null: nothing. every: milliseconds until it is asked again; 0: once. */
export function useAsked<T>(key: string | null, ask: (signal: AbortSignal) => Promise<T>, every = 0): Asked<T> {
  const [state, setState] = useState<{ key: string | null; data: T | undefined; error: Problem | undefined; loading: boolean }>(
    { key, data: key === null ? undefined : (kept.get(key) as T | undefined), error: undefined, loading: key !== null });
  const [turn, setTurn] = useState(0);
  const latest = useRef(ask);
  latest.current = ask;

  useEffect(() => {
    if (key === null) {
      setState({ key, data: undefined, error: undefined, loading: false });
      return undefined;
    }
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0;
    let transient = false; // it may be well by itself: a gateway that restarts is waited for
    let busy = false;
    setState((before) => ({
      key, data: before.key === key ? before.data : (kept.get(key) as T | undefined), error: before.key === key ? before.error : undefined, loading: true,
    }));

    const later = (ms: number): void => {
      clearTimeout(timer);
      timer = setTimeout(() => void go(), ms);
    };
    const go = async (): Promise<void> => {
      if (busy || (document.hidden && kept.has(key))) return;
      busy = true;
      try {
        const data = await latest.current(abort.signal);
        if (abort.signal.aborted) return;
        failures = 0;
        keep(key, data);
        setState({ key, data, error: undefined, loading: false });
      } catch (error) {
        if (abort.signal.aborted) return;
        failures++;
        transient = asProblem(error).status === 0 || asProblem(error).status >= 500;
        setState((before) => ({ ...before, error: asProblem(error), loading: false }));
      } finally {
        busy = false;
      }
      if (abort.signal.aborted) return;
      if (failures > 0 && (every > 0 || transient || failures < 4)) later(Math.min(BACKOFF_MAX_MS, 1000 * 2 ** failures));
      else if (every > 0) later(every);
    };
    const onVisible = (): void => {
      if (!document.hidden && (every > 0 || failures > 0)) later(0);
    };
    document.addEventListener('visibilitychange', onVisible);
    void go();
    return () => {
      abort.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisible);
    };
  }, [key, every, turn]);

  const reload = useCallback(() => setTurn((n) => n + 1), []);
  const current = state.key === key;
  return { data: current ? state.data : undefined, error: current ? state.error : undefined, loading: current ? state.loading : key !== null, reload };
}
