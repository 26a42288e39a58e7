// What was typed and not sent yet. It outlives the page that it is on and a session that ends by itself, for who typed it; who signs out leaves nothing.
import { useEffect, useState } from 'preact/hooks';

const drafts = new Map<string, string>();
const DRAFTS_MAX = 20;

export function forgetDrafts(): void {
  drafts.clear();
}

/** key: whose it is and what it is about. Returns the text, how it is changed, and whether it is not as it began. Leaving the tab asks while it is so. */
export function useDraft(key: string, initial: string): readonly [text: string, set: (text: string) => void, changed: boolean] {
  const [text, setText] = useState(() => drafts.get(key) ?? initial);
  const changed = text !== initial;
  const set = (now: string): void => {
    drafts.delete(key);
    if (now !== initial) drafts.set(key, now);
    const oldest = drafts.keys().next().value;
    if (drafts.size > DRAFTS_MAX && oldest !== undefined) drafts.delete(oldest);
    setText(now);
  };
  useAskBeforeLeaving(changed);
  return [text, set, changed];
}

/** The browser asks before the tab is closed or loaded anew. */
export function useAskBeforeLeaving(when: boolean): void {
  useEffect(() => {
    if (!when) return undefined;
    const ask = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener('beforeunload', ask);
    return () => removeEventListener('beforeunload', ask);
  }, [when]);
}
