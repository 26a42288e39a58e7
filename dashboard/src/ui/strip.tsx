// The newest blocks, oldest left: as high as they moved balances, as dark as they are final. The picture of a weir.
import type { Schema } from '../api';
import { count, moment } from '../format';
import { to } from '../router';
import { useWidth } from './chart';

const STEP = 27; // a bar as wide as a finger needs, and the gap

export function BlockStrip({ blocks: all, chain }: { blocks: readonly Schema<'Block'>[]; chain: string }) {
  const [list, width] = useWidth<HTMLOListElement>();
  const blocks = all.slice(0, Math.max(1, Math.floor((width + 3) / STEP)));
  const most = blocks.reduce((n, b) => Math.max(n, b.entry_count), 1);
  return (
    <ol class="strip" ref={list} aria-label={`Newest blocks of ${chain}`}>
      {blocks.toReversed().map((b) => (
        <li key={b.hash}>
          <a href={to(['chains', chain, 'blocks', b.height])} class={b.finality}
            title={`Block ${count(b.height)} · ${count(b.transaction_count)} transactions · ${count(b.entry_count)} entries · ${b.finality} · ${moment(b.timestamp * 1000)}`}
            aria-label={`Block ${b.height}, ${b.entry_count} entries, ${b.finality}`}>
            <span style={{ height: `${14 + Math.sqrt(b.entry_count / most) * 86}%` }} />
          </a>
        </li>
      ))}
    </ol>
  );
}
