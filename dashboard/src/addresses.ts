// Addresses out of pasted text: one or several a line, with commas, semicolons, blanks or quotes between them; each wrong one is told with its line.

export interface Pasted {
  /** In order, each once, in lower case. */
  good: { address: string; line: number }[];
  bad: { line: number; text: string; why: string }[];
  /** Given more than once. */
  twice: number;
}

const ADDRESS = /^0x[0-9a-f]{40}$/;
const SHOWN = 60;

function fault(text: string): string {
  const digits = text.replace(/^0x/i, '');
  if (/^[0-9a-f]{40}$/i.test(text)) return 'it begins without 0x';
  if (!/^0x/i.test(text)) return 'it does not begin with 0x';
  if (/[^0-9a-f]/i.test(digits)) return 'it has characters that are no hex digits';
  return `it has ${digits.length} hex digits, not 40`;
}

export function readAddresses(text: string): Pasted {
  const found: Pasted = { good: [], bad: [], twice: 0 };
  const seen = new Set<string>();
  text.split(/\r\n|\r|\n/).forEach((row, i) => {
    for (const word of row.split(/[\s,;"'`]+/)) {
      const address = word.toLowerCase();
      if (!word) continue;
      if (!ADDRESS.test(address)) found.bad.push({ line: i + 1, text: word.length > SHOWN ? `${word.slice(0, SHOWN)}…` : word, why: fault(word) });
      else if (seen.has(address)) found.twice++;
      else found.good.push({ address, line: i + 1 });
      seen.add(address);
    }
  });
  return found;
}
