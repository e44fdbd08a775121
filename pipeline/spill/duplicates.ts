import { chunkFile } from "./layout.ts";

/** Keys that one pass over the hashes holds in memory (about 36 MB). */
const KEYS_A_PASS = 2_000_000;

/**
 * Finds the events whose key may occur more than once in a run: every event of
 * equal keys is among them, and now and then one more. Reads only the .hash
 * files, in as many passes as memory asks for (`keysAPass`, by default two
 * million). Yields sorted positions by chunk.
 */
export async function* possibleDuplicates(
  dir: string,
  chunks: { chunkNo: number; events: number }[],
  options: { keysAPass?: number | undefined } = {},
): AsyncGenerator<{ chunkNo: number; positions: Int32Array }> {
  const total = chunks.reduce((sum, chunk) => sum + chunk.events, 0);
  const passes = Math.max(1, Math.ceil(total / (options.keysAPass ?? KEYS_A_PASS)));
  const table = new HashTable(Math.ceil(total / passes));
  for (let pass = 0; pass < passes; pass++) {
    table.clear();
    for (const { chunkNo, events } of chunks) {
      const hashes = await readHashes(dir, chunkNo, events);
      for (let i = 0; i < hashes.length; i += 2) {
        if (hashes[i]! % passes === pass) table.add(hashes[i]!, hashes[i + 1]!);
      }
    }
    if (table.repeated === 0) continue;
    for (const { chunkNo, events } of chunks) {
      const hashes = await readHashes(dir, chunkNo, events);
      const positions: number[] = [];
      for (let i = 0; i < hashes.length; i += 2) {
        if (hashes[i]! % passes === pass && table.isRepeated(hashes[i]!, hashes[i + 1]!)) {
          positions.push(i / 2);
        }
      }
      if (positions.length > 0) yield { chunkNo, positions: Int32Array.from(positions) };
    }
  }
}

async function readHashes(dir: string, chunkNo: number, events: number): Promise<Uint32Array> {
  const bytes = await Deno.readFile(chunkFile(dir, chunkNo, "hash"));
  return new Uint32Array(bytes.buffer, bytes.byteOffset, events * 2);
}

/** A set of 64-bit hashes with open addressing that knows which were added more than once. */
class HashTable {
  #high!: Uint32Array;
  #low!: Uint32Array;
  /** 0 free, 1 once, 2 more than once. */
  #times!: Uint8Array;
  #mask!: number;
  #used = 0;
  repeated = 0;

  constructor(keys: number) {
    this.#allocate(2 ** Math.ceil(Math.log2(Math.max(1024, keys) * 1.6)));
  }

  #allocate(slots: number): void {
    this.#high = new Uint32Array(slots);
    this.#low = new Uint32Array(slots);
    this.#times = new Uint8Array(slots);
    this.#mask = slots - 1;
  }

  clear(): void {
    this.#times.fill(0);
    this.#used = 0;
    this.repeated = 0;
  }

  add(high: number, low: number): void {
    const slot = this.#slot(high, low);
    if (this.#times[slot] === 0) {
      this.#put(slot, high, low, 1);
      if (++this.#used > this.#mask * 0.75) this.#grow();
    } else if (this.#times[slot] === 1) {
      this.#times[slot] = 2;
      this.repeated++;
    }
  }

  isRepeated(high: number, low: number): boolean {
    return this.#times[this.#slot(high, low)] === 2;
  }

  #put(slot: number, high: number, low: number, times: number): void {
    this.#high[slot] = high;
    this.#low[slot] = low;
    this.#times[slot] = times;
  }

  #slot(high: number, low: number): number {
    let slot = (low ^ Math.imul(high, 0x9e3779b1)) & this.#mask;
    while (
      this.#times[slot] !== 0 && !(this.#high[slot] === high && this.#low[slot] === low)
    ) {
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }

  /** Passes are of unequal size; more than was planned for costs memory, never the answer. */
  #grow(): void {
    const [high, low, times] = [this.#high, this.#low, this.#times];
    this.#allocate(times.length * 2);
    for (let i = 0; i < times.length; i++) {
      if (times[i] !== 0) this.#put(this.#slot(high[i]!, low[i]!), high[i]!, low[i]!, times[i]!);
    }
  }
}
