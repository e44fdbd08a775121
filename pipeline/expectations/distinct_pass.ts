import type { DistinctState } from "./distinct.ts";
import { type Block, partitionOf, PARTITIONS } from "./distinct_spill.ts";
import { restoreValue, type StoredValue } from "./stored_value.ts";
import { hashValue } from "./value_hash.ts";

/** Which values a pass looks at. */
export interface PassRange {
  from: number;
  to: number;
  /** Of these partitions, the values whose hash leaves `rest` when divided by `parts`. */
  parts: number;
  rest: number;
}

/** Passes that each look at `limit` entries at most. */
export function passesOver(state: DistinctState, blocks: Block[], limit: number): PassRange[] {
  const sizes = new Array<number>(PARTITIONS).fill(Math.ceil(state.few.length / PARTITIONS));
  for (const block of blocks) sizes[block.partition]! += block.count;
  const passes: PassRange[] = [];
  for (let from = 0; from < PARTITIONS;) {
    let to = from + 1;
    let size = sizes[from]!;
    while (to < PARTITIONS && size + sizes[to]! <= limit) size += sizes[to++]!;
    const parts = Math.max(1, Math.ceil(size / limit));
    for (let rest = 0; rest < parts; rest++) passes.push({ from, to, parts, rest });
    from = to;
  }
  return passes;
}

/** A group of equal values. */
interface Entry {
  block: number;
  index: number;
}

/** The arrays of a pass, used again by the next. */
export class Tables {
  slots = new Int32Array(16);
  hashes = new Int32Array(0);
  counts = new Float64Array(0);
  firstBlock = new Int32Array(0);
  firstIndex = new Int32Array(0);

  /** Makes room for `entries` values. */
  clear(entries: number): void {
    let capacity = 16;
    while (capacity < entries * 2) capacity *= 2;
    if (capacity > this.slots.length) this.slots = new Int32Array(capacity);
    else this.slots.fill(0);
    if (entries > this.counts.length) {
      this.hashes = new Int32Array(entries * 4);
      this.counts = new Float64Array(entries);
      this.firstBlock = new Int32Array(entries);
      this.firstIndex = new Int32Array(entries);
    }
  }
}

/** The values of one pass in a hash table with open addressing. */
export class Pass {
  readonly #state: DistinctState;
  readonly #blocks: Block[];
  readonly #range: PassRange;
  readonly #mask: number;
  readonly #slots: Int32Array;
  readonly #hashes: Int32Array;
  readonly counts: Float64Array;
  /** Where each group's first entry is: block (−1: of the few) and index. */
  readonly #firstBlock: Int32Array;
  readonly #firstIndex: Int32Array;
  size = 0;

  constructor(
    { state, blocks }: { state: DistinctState; blocks: Block[] },
    range: PassRange,
    { tables }: { tables: Tables },
  ) {
    this.#state = state;
    this.#blocks = blocks;
    this.#range = range;
    let most = state.few.length;
    for (const block of blocks) if (this.#inRange(block.partition)) most += block.count;
    tables.clear(most);
    this.#slots = tables.slots;
    this.#mask = tables.slots.length - 1;
    this.#hashes = tables.hashes;
    this.counts = tables.counts;
    this.#firstBlock = tables.firstBlock;
    this.#firstIndex = tables.firstIndex;
    this.#fill();
  }

  #inRange(partition: number): boolean {
    return partition >= this.#range.from && partition < this.#range.to;
  }

  #isMine(hashes: Int32Array, at: number): boolean {
    return this.#range.parts === 1 ||
      (hashes[at + 1]! >>> 0) % this.#range.parts === this.#range.rest;
  }

  #fill(): void {
    this.#state.few.forEach(([stored, count], index) => {
      const hash = hashValue(restoreValue(stored));
      if (this.#inRange(partitionOf(hash[0]!)) && this.#isMine(hash, 0)) {
        this.#add(hash, 0, { block: -1, index }, count);
      }
    });
    this.#blocks.forEach((block, b) => {
      if (!this.#inRange(block.partition)) return;
      const hashes = block.hashes();
      const numbers = block.rows ? undefined : block.numbers();
      const first = { block: b, index: 0 };
      for (let i = 0; i < block.count; i++) {
        if (!this.#isMine(hashes, i * 4)) continue;
        first.index = i;
        this.#add(hashes, i * 4, first, numbers === undefined ? 1 : numbers[i]!);
      }
    });
  }

  #add(hashes: Int32Array, at: number, first: Entry, count: number): void {
    const slot = this.#slotOf(hashes, at);
    const known = this.#slots[slot]!;
    if (known !== 0) {
      this.counts[known - 1]! += count;
      return;
    }
    const group = this.size++;
    this.#slots[slot] = group + 1;
    for (let k = 0; k < 4; k++) this.#hashes[group * 4 + k] = hashes[at + k]!;
    this.counts[group] = count;
    this.#firstBlock[group] = first.block;
    this.#firstIndex[group] = first.index;
  }

  #slotOf(hashes: Int32Array, at: number): number {
    let slot = (hashes[at + 2]! ^ hashes[at]!) & this.#mask;
    for (;;) {
      const known = this.#slots[slot]!;
      if (known === 0) return slot;
      const g = (known - 1) * 4;
      if (
        this.#hashes[g] === hashes[at] && this.#hashes[g + 1] === hashes[at + 1] &&
        this.#hashes[g + 2] === hashes[at + 2] && this.#hashes[g + 3] === hashes[at + 3]
      ) return slot;
      slot = (slot + 1) & this.#mask;
    }
  }

  /** The group of a value, or −1. */
  find(value: unknown): number {
    return this.#slots[this.#slotOf(hashValue(value), 0)]! - 1;
  }

  /** Whether a value would be of this pass. */
  covers(value: unknown): boolean {
    const hash = hashValue(value);
    return this.#inRange(partitionOf(hash[0]!)) && this.#isMine(hash, 0);
  }

  /** Each row whose value several rows have. */
  *duplicatedRows(): Iterable<{ chunk: number; position: number; read: () => StoredValue }> {
    for (const block of this.#blocks) {
      if (!block.rows || !this.#inRange(block.partition)) continue;
      const hashes = block.hashes();
      let numbers: Float64Array | undefined;
      let values: StoredValue[] | undefined;
      for (let i = 0; i < block.count; i++) {
        if (!this.#isMine(hashes, i * 4)) continue;
        const group = this.#slots[this.#slotOf(hashes, i * 4)]! - 1;
        if (this.counts[group]! < 2) continue;
        numbers ??= block.numbers();
        yield {
          chunk: block.chunk,
          position: block.start + numbers[i]!,
          read: () => (values ??= block.values())[i]!,
        };
      }
    }
  }

  /** The values of groups, block by block. */
  *values(groups: Iterable<number>): Iterable<unknown> {
    const byBlock = new Map<number, number[]>();
    for (const group of groups) {
      const block = this.#firstBlock[group]!;
      const indexes = byBlock.get(block);
      if (indexes === undefined) byBlock.set(block, [this.#firstIndex[group]!]);
      else indexes.push(this.#firstIndex[group]!);
    }
    for (const [block, indexes] of byBlock) {
      const stored = block < 0
        ? this.#state.few.map(([value]) => value)
        : this.#blocks[block]!.values();
      for (const index of indexes) yield restoreValue(stored[index]!);
    }
  }
}
