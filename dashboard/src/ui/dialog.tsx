// Asking before doing: a modal dialog that the browser keeps the focus in, with what will happen, a reason for the audit log, and a word to
// type where it can't be undone.
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';

import type { Problem } from '../api';
import { asProblem } from '../query';
import { place } from '../router';
import { Button } from './parts';

/** keep: nothing but its own buttons closes it, for what cannot be shown again. */
export function Dialog({ title, onClose, children, wide = false, keep = false }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean; keep?: boolean }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const pressed = useRef<EventTarget | null>(null);
  const id = useId();
  // At once, not after painting: what is typed next belongs to the dialog.
  useLayoutEffect(() => {
    const before = document.activeElement;
    const element = dialog.current;
    element?.showModal();
    return () => {
      element?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  // What it asks about is no longer what is behind it: the back button closes it.
  useEffect(() => place.watch(() => { if (!keep) onClose(); }), []);
  // Pressed and let go outside: who selects text and lets go beside the dialog has not left it.
  const outside = (event: MouseEvent): boolean => event.target === dialog.current && pressed.current === dialog.current;
  return (
    <dialog ref={dialog} class={wide ? 'wide' : ''} aria-labelledby={id} onCancel={(event) => { event.preventDefault(); if (!keep) onClose(); }}
      onClose={() => { if (keep && dialog.current?.isConnected) dialog.current.showModal(); /* browsers obey the second Escape in any case */ }}
      onPointerDown={(event) => { pressed.current = event.target; }} onClick={(event) => { if (!keep && outside(event)) onClose(); }}>
      <div class="dialog-body">
        <h2 id={id}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

export function Confirm({ title, children, action, danger = false, reason, word, ready = true, onConfirm, onClose }: {
  title: string; children: ComponentChildren; action: string; danger?: boolean;
  /** Is a reason asked for, and must it be given? */
  reason?: 'optional' | 'required';
  /** What must be typed. */
  word?: string;
  ready?: boolean;
  onConfirm: (reason: string) => Promise<void>;
  onClose: () => void;
}) {
  const [why, setWhy] = useState('');
  const [typed, setTyped] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const blocked = !ready || (reason === 'required' && !why.trim()) || (word !== undefined && typed !== word);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (blocked || busy) return;
    setBusy(true);
    setProblem(undefined);
    try {
      await onConfirm(why.trim());
      onClose();
    } catch (error) {
      setProblem(asProblem(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        {children}
        {reason && (
          <label class="field">
            <span>Reason {reason === 'optional' && <em>(optional)</em>}</span>
            <input value={why} maxLength={200} onInput={(event) => setWhy(event.currentTarget.value)} required={reason === 'required'} autofocus />
            <small>Written into the audit log with your key's name.</small>
          </label>
        )}
        {word !== undefined && (
          <label class="field">
            <span>Type <code>{word}</code> to confirm</span>
            <input value={typed} onInput={(event) => setTyped(event.currentTarget.value)} autocomplete="off" spellcheck={false} />
          </label>
        )}
        {problem && <p class="form-error" role="alert">{problem.detail}</p>}
        <div class="dialog-actions">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind={danger ? 'danger' : 'primary'} disabled={blocked} busy={busy}>{action}</Button>
        </div>
      </form>
    </Dialog>
  );
}
