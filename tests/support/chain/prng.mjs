// A small seeded generator (xmur3 to seed, sfc32 to run; both public domain): the same seed gives the same workload everywhere.

export class Prng {
  #a; #b; #c; #d;

  constructor(seed) {
    let h = 1779033703;
    for (const character of String(seed)) {
      h = Math.imul(h ^ character.charCodeAt(0), 3432918353);
      h = (h << 13) | (h >>> 19);
    }
    const next = () => {
      h = Math.imul(h ^ (h >>> 16), 2246822507);
      h = Math.imul(h ^ (h >>> 13), 3266489909);
      return (h ^= h >>> 16) >>> 0;
    };
    [this.#a, this.#b, this.#c, this.#d] = [next(), next(), next(), next()];
    for (let i = 0; i < 12; i++) this.u32();
  }

  u32() {
    const t = (this.#a + this.#b + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t | 0;
    return t >>> 0;
  }

  /** 0 <= result < n */
  below(n) {
    return Math.floor((this.u32() / 0x1_0000_0000) * n);
  }

  /** low <= result <= high */
  between(low, high) {
    return low + this.below(high - low + 1);
  }

  chance(probability) {
    return this.u32() < probability * 0x1_0000_0000;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** From [[weight, value], ...] */
  weighted(table) {
    let at = this.below(table.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, value] of table) if ((at -= weight) < 0) return value;
    throw new Error('weighted: empty table');
  }

  shuffle(list) {
    const copy = [...list];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [copy[i], copy[j]] = [copy[j], copy[i]];
    }
    return copy;
  }

  /** An amount below `limit` with any number of digits: small and large ones alike. */
  amount(limit) {
    const bits = this.below(limit.toString(2).length) + 1;
    let value = 0n;
    for (let i = 0; i < bits; i += 32) value = (value << 32n) | BigInt(this.u32());
    return (value & ((1n << BigInt(bits)) - 1n)) % limit;
  }
}
