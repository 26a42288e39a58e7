// Editing a dead letter's message, byte by byte, with what changes in view before it is kept. The server refuses what is no message of the
// kind, and what was changed by somebody else meanwhile.
import { useState } from 'preact/hooks';

import { post, type Schema } from '../api';
import { useDraft } from '../draft';
import { bytes, count } from '../format';
import { Confirm } from '../ui/dialog';
import { Button, Empty } from '../ui/parts';
import { toast } from '../ui/toast';

const HEADER = 64; // of a frame: see lib/wire/frame.h
const CONTEXT = 6; // bytes shown around a change

function fromHex(text: string): Uint8Array | undefined {
  const digits = text.replace(/\s+/g, '');
  if (digits.length % 2 !== 0 || /[^0-9a-fA-F]/.test(digits)) return undefined;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function toHex(data: Uint8Array): string {
  return Array.from(data, (b, i) => b.toString(16).padStart(2, '0') + ((i + 1) % 16 === 0 ? '\n' : ' ')).join('').trim();
}

/** The message inside a frame; undefined: not a whole frame. */
export function bodyOf(frame: Uint8Array): Uint8Array | undefined {
  if (frame.length < HEADER || frame[0] !== 0x57 || frame[1] !== 0x46) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const begin = HEADER + view.getUint16(8, true);
  const end = begin + view.getUint32(12, true);
  return end <= frame.length ? frame.slice(begin, end) : undefined;
}

/** Where two byte strings begin and end to differ. */
export function difference(before: Uint8Array, after: Uint8Array): { at: number; taken: Uint8Array; put: Uint8Array } {
  let at = 0;
  while (at < before.length && at < after.length && before[at] === after[at]) at++;
  let tail = 0;
  while (tail < before.length - at && tail < after.length - at && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  return { at, taken: before.slice(at, before.length - tail), put: after.slice(at, after.length - tail) };
}

const readable = (data: Uint8Array): string => Array.from(data, (b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : '·')).join('');

function Side({ sign, data, whole, at }: { sign: string; data: Uint8Array; whole: Uint8Array; at: number }) {
  const lead = whole.slice(Math.max(0, at - CONTEXT), at);
  const trail = whole.slice(at + data.length, at + data.length + CONTEXT);
  return (
    <p class={`diff ${sign === '+' ? 'plus' : 'minus'}`}>
      <span aria-hidden="true">{sign === '+' ? '+' : '−'}</span><span class="sr">{sign === '+' ? 'after' : 'before'}</span>
      <code><span class="muted">{toHex(lead)}</span> <mark>{toHex(data) || '(nothing)'}</mark> <span class="muted">{toHex(trail)}</span></code>
      <code class="muted">{readable(lead)}<mark>{readable(data)}</mark>{readable(trail)}</code>
    </p>
  );
}

/** owner: who edits it; what was typed is kept for nobody else. */
export function LetterEdit({ letter, payload, owner, onDone }: { letter: Schema<'DeadLetterFull'>; payload: Schema<'DeadLetterPayload'>; owner: string; onDone: () => void }) {
  const before = bodyOf(fromHex(payload.raw_hex) ?? new Uint8Array());
  const [text, setText, changed] = useDraft(`${owner} ${letter.chain} ${letter.subscription} ${letter.id} ${letter.frame_sha256}`, before ? toHex(before) : '');
  const [asking, setAsking] = useState(false);
  if (!before) {
    return <Empty icon="letters" title="This cannot be edited here.">{payload.raw_hex.length / 2 < payload.raw_bytes ? <>It has {bytes(payload.raw_bytes)}: export it with <code>weirctl</code>, and edit the file.</> : 'The frame itself is damaged.'}</Empty>;
  }
  const after = fromHex(text);
  const change = after && difference(before, after);
  const same = change && change.taken.length === 0 && change.put.length === 0;
  const keep = async (why: string): Promise<void> => {
    if (!after) return;
    await post('/admin/v1/dlq/{subscription}/{id}/edit', {
      path: { subscription: letter.subscription, id: letter.id },
      body: { chain: letter.chain, body: btoa(Array.from(after, (b) => String.fromCharCode(b)).join('')), frame_sha256: letter.frame_sha256, why },
    });
    setText(toHex(before));
    toast('The letter was edited: replay it to try the new message');
    onDone();
  };
  const shown = change && !same && after && (
    <div class="diffs" role="group" aria-label="What changes">
      <p class="muted small">At byte {count(change.at)} of the message: {count(change.taken.length)} taken out, {count(change.put.length)} put in</p>
      <Side sign="-" data={change.taken} whole={before} at={change.at} />
      <Side sign="+" data={change.put} whole={after} at={change.at} />
    </div>
  );
  return (
    <div class="edit">
      <label class="field"><span>The message, in hex <em>({payload.message ?? 'of an unknown kind'}, {count(before.length)} bytes)</em></span>
        <textarea class="mono" rows={Math.min(18, Math.max(4, Math.ceil(before.length / 16) + 1))} spellcheck={false} value={text} onInput={(e) => setText(e.currentTarget.value)} aria-invalid={!after} />
      </label>
      {!after && <p class="form-error" role="alert">Only pairs of hex digits.</p>}
      {shown}
      <div class="actions">
        <Button kind="primary" disabled={!after || same} onClick={() => setAsking(true)}>Review and keep</Button>
        <Button disabled={!changed} onClick={() => setText(toHex(before))}>Undo</Button>
      </div>
      {asking && <Confirm title="Keep this edit?" action="Keep" reason="required" onClose={() => setAsking(false)} onConfirm={keep}>{shown}<p>The first form of the letter is kept beside it. Nothing is replayed yet.</p></Confirm>}
    </div>
  );
}
