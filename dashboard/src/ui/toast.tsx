// Short messages about what was just done, read aloud politely.
import { Store, useStore } from '../store';

interface Toast { id: number; text: string; tone: 'good' | 'bad' }

const toasts = new Store<readonly Toast[]>([]);
let last = 0;

export function toast(text: string, tone: Toast['tone'] = 'good'): void {
  const id = ++last;
  toasts.set([...toasts.get().slice(-3), { id, text, tone }]);
  setTimeout(() => toasts.set(toasts.get().filter((t) => t.id !== id)), tone === 'bad' ? 9000 : 4500);
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {useStore(toasts).map((t) => <div key={t.id} class={`toast ${t.tone}`}>{t.text}</div>)}
    </div>
  );
}
