// A secret that is shown once: nobody can look it up later.
import type { ComponentChildren } from 'preact';

import { useAskBeforeLeaving } from '../draft';
import { Dialog } from './dialog';
import { Button, CopyButton } from './parts';

export function Once({ title, secret, what, children, onClose }: { title: string; secret: string; what: string; children: ComponentChildren; onClose: () => void }) {
  useAskBeforeLeaving(true);
  return (
    <Dialog title={title} onClose={onClose} keep>
      <p>{children}</p>
      <p class="secret"><code>{secret}</code> <CopyButton text={secret} what={what} /></p>
      <div class="dialog-actions"><Button kind="primary" onClick={onClose}>Done</Button></div>
    </Dialog>
  );
}
