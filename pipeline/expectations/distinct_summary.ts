import {
  type Block,
  type DistinctState,
  hashValue,
  partitionOf,
  PARTITIONS,
  readBlocks,
} from "./distinct.ts";
import { compareForDisplay, equalityKey } from "./python.ts";
import { restoreValue, SpillReader, type StoredValue } from "./spill.ts";

/** Entries that are looked at together: about 10 MB. */
const PER_PASS = 1 << 18;
/** Values that an observed value or a sample lists. */
export const MAX_LISTED = 20;
const MAX_MODES = 100;

/** What expectations ask about the different values of a column. */
export interface DistinctSummary {
  distinct: number;
  /** Rows whose value other rows have too, and the first of them. */
  duplicatedRows: number;
  duplicates: { value: unknown; position: number }[];
  /**
   * The values seen most often: all of them up to 100, in order; how many
   * there are, and how many of them are in the given set.
   */
  mostCommon: { count: number; values: unknown[]; ties: number; inSet: number };
  /** Values that are not in the given set, the smallest of them first, and members that no row has. */
  unexpected: { count: number; values: unknown[] };
  missing: unknown[];
}

export interface SummaryOptions {
  duplicates?: boolean;
  mostCommon?: boolean;
  /** The set that expectations compare with. */
  set?: unknown[];
  /** Find what is not in the set, and what of it is missing. */
  compare?: boolean;
  /** Entries a pass; for tests. */
  perPass?: number;
}

/** Puts the values of all chunks together, in passes that each fit in memory. */
export function summarize(state: DistinctState, options: SummaryOptions): DistinctSummary {
  const readers = state.spills.map((ref) => new SpillReader(ref));
  try {
    const blocks = readers.flatMap((reader, chunk) => [...readBlocks(reader, chunk)]);
    const summary = new Summary(options);
    const tables = new Tables();
    for (const pass of passesOver(state, blocks, options.perPass ?? PER_PASS)) {
      summary.addPass(new Pass({ state, blocks }, pass, { tables }));
    }
    return summary.result();
  } finally {
    for (const reader of readers) reader.close();
  }
}

/** What the passes give together. */
class Summary {
  readonly #options: SummaryOptions;
  readonly #set: unknown[];
  #distinct = 0;
  #duplicatedRows = 0;
  #duplicates: { chunk: number; position: number; value: unknown }[] = [];
  #mostCount = 0;
  #modes: unknown[] = [];
  #ties = 0;
  #inSet = 0;
  #unexpected = 0;
  #unexpectedValues: unknown[] = [];
  #missing: unknown[] = [];

  constructor(options: SummaryOptions) {
    this.#options = options;
    this.#set = [...new Map(options.set?.map((value) => [equalityKey(value), value])).values()];
  }

  addPass(pass: Pass): void {
    this.#distinct += pass.size;
    if (this.#options.duplicates) this.#addDuplicates(pass);
    if (this.#options.mostCommon) this.#addModes(pass);
    if (this.#options.compare) this.#compare(pass);
  }

  #addDuplicates(pass: Pass): void {
    let duplicated = 0;
    for (let g = 0; g < pass.size; g++) if (pass.counts[g]! > 1) duplicated += pass.counts[g]!;
    if (duplicated === 0) return;
    this.#duplicatedRows += duplicated;
    for (const row of pass.duplicatedRows()) {
      const kept = this.#duplicates;
      const isBefore = (other: { chunk: number; position: number }): boolean =>
        row.chunk < other.chunk || (row.chunk === other.chunk && row.position < other.position);
      if (kept.length === MAX_LISTED && !isBefore(kept[MAX_LISTED - 1]!)) continue;
      let at = kept.length;
      while (at > 0 && isBefore(kept[at - 1]!)) at--;
      kept.splice(at, 0, {
        chunk: row.chunk,
        position: row.position,
        value: restoreValue(row.read()),
      });
      if (kept.length > MAX_LISTED) kept.pop();
    }
  }

  #addModes(pass: Pass): void {
    let most = 0;
    for (let g = 0; g < pass.size; g++) if (pass.counts[g]! > most) most = pass.counts[g]!;
    if (most === 0 || most < this.#mostCount) return;
    if (most > this.#mostCount) {
      this.#mostCount = most;
      this.#modes = [];
      this.#ties = 0;
      this.#inSet = 0;
    }
    const groups: number[] = [];
    for (let g = 0; g < pass.size; g++) if (pass.counts[g] === most) groups.push(g);
    this.#ties += groups.length;
    for (const member of this.#set) {
      const group = member === null ? -1 : pass.find(member);
      if (group >= 0 && pass.counts[group] === most) this.#inSet++;
    }
    this.#modes = smallest(this.#modes, pass.values(groups), MAX_MODES);
  }

  #compare(pass: Pass): void {
    const expected = new Set<number>();
    for (const member of this.#set) {
      // Null is no value of a column: it is missing from every one.
      const group = pass.find(member);
      if (group >= 0) expected.add(group);
      else if (pass.covers(member)) this.#missing.push(member);
    }
    const groups: number[] = [];
    for (let g = 0; g < pass.size; g++) if (!expected.has(g)) groups.push(g);
    if (groups.length === 0) return;
    this.#unexpected += groups.length;
    this.#unexpectedValues = smallest(this.#unexpectedValues, pass.values(groups), MAX_LISTED);
  }

  result(): DistinctSummary {
    return {
      distinct: this.#distinct,
      duplicatedRows: this.#duplicatedRows,
      duplicates: this.#duplicates.map(({ position, value }) => ({ position, value })),
      mostCommon: {
        count: this.#mostCount,
        values: this.#modes,
        ties: this.#ties,
        inSet: this.#inSet,
      },
      unexpected: { count: this.#unexpected, values: this.#unexpectedValues },
      missing: this.#missing,
    };
  }
}

/** The smallest `limit` of the kept values and more, in order. */
function smallest(kept: unknown[], more: Iterable<unknown>, limit: number): unknown[] {
  const values = [...kept];
  for (const value of more) {
    if (values.length === limit && compareForDisplay(value, values[limit - 1]) >= 0) continue;
    let at = values.length;
    while (at > 0 && compareForDisplay(value, values[at - 1]) < 0) at--;
    values.splice(at, 0, value);
    if (values.length > limit) values.pop();
  }
  return values;
}

/** Which values a pass looks at. */
export interface PassRange {
  from: number;
  to: number;
  /** Of these partitions, the values whose hash leaves `rest` when divided by `parts`. */
  parts: number;
  rest: number;
}

/** Passes that each look at `limit` entries at most. */
function passesOver(state: DistinctState, blocks: Block[], limit: number): PassRange[] {
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
class Pass {
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
