// Dark or light: what the system says, until the person says otherwise.
import { Store } from './store';

export type Theme = 'dark' | 'light';
const SLOT = 'weir.theme';
const system = matchMedia('(prefers-color-scheme: light)');

function chosen(): Theme | undefined {
  const saved = localStorage.getItem(SLOT);
  return saved === 'dark' || saved === 'light' ? saved : undefined;
}

export const theme = new Store<Theme>(chosen() ?? (system.matches ? 'light' : 'dark'));

function apply(): void {
  document.documentElement.dataset['theme'] = theme.get();
}

export function toggleTheme(): void {
  theme.set(theme.get() === 'dark' ? 'light' : 'dark');
  localStorage.setItem(SLOT, theme.get());
}

export function startTheme(): void {
  theme.watch(apply);
  system.addEventListener('change', () => {
    if (!chosen()) theme.set(system.matches ? 'light' : 'dark');
  });
  apply();
}
