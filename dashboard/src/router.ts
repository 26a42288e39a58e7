// Addresses: each view has one, below /ui, and the parts that filter it are in its query. The back button works.
import { Store } from './store';

export interface Place {
  /** Segments behind /ui, decoded. */
  segments: string[];
  query: URLSearchParams;
}

export const BASE = '/ui';

function read(): Place {
  const path = location.pathname === '/' ? BASE : location.pathname;
  return {
    segments: path.slice(BASE.length).split('/').filter(Boolean).map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    }),
    query: new URLSearchParams(location.search),
  };
}

export const place = new Store<Place>(read());

/** "/ui" and the parts, escaped. */
export function to(parts: readonly (string | number)[] = [], query: Record<string, string | number | undefined> = {}): string {
  const path = [BASE, ...parts.map((part) => encodeURIComponent(String(part)))].join('/');
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== '') search.set(name, String(value));
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

export function go(href: string, replace = false): void {
  if (href === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', href);
  place.set(read());
}

/** Changes some of the query and keeps the rest. */
export function filter(changes: Record<string, string | undefined>, replace = false): void {
  const query = Object.fromEntries(place.get().query);
  go(to(place.get().segments, { ...query, ...changes }), replace);
}

export function startRouter(): void {
  if (location.pathname === '/') history.replaceState(null, '', BASE + location.search);
  addEventListener('popstate', () => place.set(read()));
  document.addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest?.('a[href]');
    if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || link.target || link.origin !== location.origin) return;
    if (link.pathname !== BASE && !link.pathname.startsWith(`${BASE}/`)) return;
    event.preventDefault();
    go(link.pathname + link.search);
    scrollTo(0, 0);
  });
}
