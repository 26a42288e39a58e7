// Letting those behind a dead letter go on without it.
import { useState } from 'preact/hooks';

import { post, type Schema } from '../api';
import { useWho } from '../who';
import { Confirm } from '../ui/dialog';
import { Button } from '../ui/parts';
import { toast } from '../ui/toast';

export function LetterSkip({ letter, onDone }: { letter: Schema<'DeadLetterFull'>; onDone: () => void }) {
  const { may } = useWho();
  const [open, setOpen] = useState(false);
  if (!may('admin') || letter.kind !== 'head') return null;
  const skip = async (why: string): Promise<void> => {
    await post('/admin/v1/dlq/{subscription}/{id}/skip', { path: { subscription: letter.subscription, id: letter.id }, body: { chain: letter.chain, why } });
    toast('Skipped: those behind it go on');
    onDone();
  };
  return (
    <>
      <Button icon="next" onClick={() => setOpen(true)}>Skip</Button>
      {open && (
        <Confirm title="Skip this letter" action="Skip" danger reason="required" onClose={() => setOpen(false)} onConfirm={skip}>
          <p>Those of the key <code>{letter.key || '–'}</code> that wait behind it are handled without it. It stays here, can be replayed later, and then comes out of its order.</p>
        </Confirm>
      )}
    </>
  );
}
