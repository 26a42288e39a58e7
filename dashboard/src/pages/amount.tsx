// An amount: scaled where the scale is known, with the exact whole number in its title.
import { amount } from '../format';

const NATIVE_DECIMALS = 18; // of every EVM chain

export function Amount({ raw, asset, decimals, signed = false }: { raw: string; asset: string; decimals?: number | null | undefined; signed?: boolean }) {
  const scale = asset === 'native' ? NATIVE_DECIMALS : decimals;
  const text = amount(raw, scale);
  return <span class="amount" title={`${raw}${scale ? ` (${scale} decimals)` : ''}`}>{signed && !raw.startsWith('-') && raw !== '0' ? `+${text}` : text}</span>;
}
