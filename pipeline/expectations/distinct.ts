import {
  type Accumulator,
  type AccumulatorKind,
  type CreateOptions,
  isIgnored,
  type State,
} from "./accumulators.ts";
import type { Batch } from "./batch.ts";
import type { Condition } from "./condition.ts";
import { equalityKey } from "./python.ts";
import {
  restoreValue,
  SpillReader,
  type SpillRef,
  SpillWriter,
  type StoredValue,
  storeValue,
} from "./spill.ts";

/**
 * The different values of a column (or of several together): the few of a
 * chunk by themselves, the many in spill files.
 */
export interface DistinctState extends State {
  /** Rows of the domain. */
  elements: number;
  /** Rows with a value: not null, or not left out by ignore_row_if. */
  considered: number;
  /** Rows with a list or dict, which Python cannot hash. */
  unhashable: number;
  /** Values and how often each was seen. */
  few: [StoredValue, number][];
  /** One spill a chunk, in chunk order, so that rows have an order. */
  spills: SpillRef[];
}

export interface DistinctOptions {
  columns: string[];
  condition: Condition | undefined;
  /** Keep every row with its position, for expectations about duplicates. */
  rows: boolean;
  /** ignore_row_if of expectations about several columns. */
  kwargs?: Record<string, unknown>;
}

/** Different values, and their characters, that a chunk may count in memory before it spills them. */
const MAX_COUNTED = 4_096;
const MAX_COUNTED_TEXT = 1 << 20;
/** Different values, and their characters, that a chunk's state carries by itself. */
const MAX_FEW = 256;
const MAX_FEW_TEXT = 16_384;

export function distinctKind(options: DistinctOptions): AccumulatorKind {
  return {
    create: (create) => options.rows ? new Rows(options, create) : new Counts(options, create),
    merge: (a, b) => mergeDistinct(a as DistinctState, b as DistinctState),
    shift: (state, rows) => {
      const { spills } = state as DistinctState;
      return {
        ...state,
        spills: spills.map((ref) => ({ ...ref, start: (ref.start ?? 0) + rows })),
      };
    },
  };
}

/** Counts the values of a column for a profile, which may stop when they tell nothing more. */
export function countValues(column: string, create: CreateOptions): ValueCounts {
  return new Counts({ columns: [column], condition: undefined, rows: false }, create);
}

export interface ValueCounts extends Accumulator {
  /** Different values in memory, or infinite once they were too many for it. */
  readonly different: number;
  /** There were too many for memory, and yet some repeat. */
  readonly manyRepeat: boolean;
  state(): DistinctState;
}

interface Counted {
  value: unknown;
  count: number;
}

/** Counts each value. */
class Counts implements ValueCounts {
  readonly #column: string;
  readonly #condition: Condition | undefined;
  readonly #writer: DistinctWriter;
  #counted = new Map<unknown, Counted>();
  #elements = 0;
  #considered = 0;
  #unhashable = 0;
  #countedText = 0;
  #spilled = false;
  /** Values hardly repeat: counting them in memory first is in vain. */
  #mostlyNew = false;
  manyRepeat = false;

  constructor({ columns, condition }: DistinctOptions, { spillPath }: CreateOptions) {
    this.#column = columns[0]!;
    this.#condition = condition;
    this.#writer = new DistinctWriter(spillPath, { rows: false });
  }

  get different(): number {
    return this.#spilled ? Infinity : this.#counted.size;
  }

  observe(batch: Batch): void {
    const rows = this.#condition && batch.select(this.#condition).rows;
    const values = batch.column(this.#column);
    const counted = this.#counted;
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      this.#elements++;
      const value = values[i];
      if (value === null) continue;
      this.#considered++;
      const key = typeof value === "string" ? value : equalityKey(value);
      if (key === undefined) {
        this.#unhashable++;
        continue;
      }
      if (this.#mostlyNew) {
        this.#writer.add(value, 1);
        continue;
      }
      const one = counted.get(key);
      if (one !== undefined) one.count++;
      else {
        counted.set(key, { value, count: 1 });
        if (typeof value === "string") this.#countedText += value.length;
        if (counted.size >= MAX_COUNTED || this.#countedText >= MAX_COUNTED_TEXT) {
          this.#mostlyNew = !this.#spilled && this.#considered < counted.size * 2;
          this.manyRepeat ||= this.#considered - this.#unhashable > counted.size;
          this.#spill();
        }
      }
    }
  }

  close(): void {
    this.#writer.close();
  }

  #spill(): void {
    this.#spilled = true;
    for (const { value, count } of this.#counted.values()) this.#writer.add(value, count);
    this.#counted.clear();
    this.#countedText = 0;
  }

  state(): DistinctState {
    const values = [...this.#counted.values()];
    const few = !this.#spilled && values.length <= MAX_FEW && isShort(values);
    if (!few) this.#spill();
    const ref = this.#writer.end();
    return {
      elements: this.#elements,
      considered: this.#considered,
      unhashable: this.#unhashable,
      few: few ? values.map(({ value, count }) => [storeValue(value), count]) : [],
      spills: ref === null ? [] : [ref],
    };
  }
}

function isShort(values: Counted[]): boolean {
  let length = 0;
  for (const { value } of values) if (typeof value === "string") length += value.length;
  return length <= MAX_FEW_TEXT &&
    values.every(({ value }) => typeof value !== "string" || value.length <= 1_000);
}

/** Keeps each row's value, by hash, with its position. */
class Rows implements Accumulator {
  readonly #options: DistinctOptions;
  readonly #writer: DistinctWriter;
  #elements = 0;
  #considered = 0;
  #unhashable = 0;

  constructor(options: DistinctOptions, { spillPath }: CreateOptions) {
    this.#options = options;
    this.#writer = new DistinctWriter(spillPath, { rows: true });
  }

  observe(batch: Batch): void {
    const { condition, columns: names, kwargs } = this.#options;
    const rows = condition && batch.select(condition).rows;
    const columns = names.map((name) => batch.column(name));
    const single = names.length === 1 && kwargs === undefined ? columns[0] : undefined;
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      this.#elements++;
      let value: unknown;
      if (single !== undefined) {
        value = single[i];
        if (value === null) continue;
        if (typeof value === "object") this.#unhashable++;
      } else {
        if (isIgnored(kwargs!, columns, i)) continue;
        value = columns.map((column) => column[i]);
        if ((value as unknown[]).some((one) => typeof one === "object" && one !== null)) {
          this.#unhashable++;
        }
      }
      this.#considered++;
      this.#writer.addRow(value, batch.startPosition + i);
    }
  }

  close(): void {
    this.#writer.close();
  }

  state(): DistinctState {
    const ref = this.#writer.end();
    return {
      elements: this.#elements,
      considered: this.#considered,
      unhashable: this.#unhashable,
      few: [],
      spills: ref === null ? [] : [ref],
    };
  }
}

function mergeDistinct(a: DistinctState, b: DistinctState): DistinctState {
  return {
    elements: a.elements + b.elements,
    considered: a.considered + b.considered,
    unhashable: a.unhashable + b.unhashable,
    few: mergeFew(a.few, b.few),
    spills: [...a.spills, ...b.spills],
  };
}

function mergeFew(a: DistinctState["few"], b: DistinctState["few"]): DistinctState["few"] {
  if (a.length === 0 || b.length === 0) return [...a, ...b];
  const merged = new Map<unknown, [StoredValue, number]>();
  for (const [stored, count] of [...a, ...b]) {
    const value = restoreValue(stored);
    const key = equalityKey(value) ?? stableText(value);
    const known = merged.get(key);
    if (known === undefined) merged.set(key, [stored, count]);
    else known[1] += count;
  }
  return [...merged.values()];
}

/**
 * A spill of values, in blocks that each hold values of one partition (by
 * their hash). A block is: partition, number of entries, bytes of the values
 * (as Uint32, and one unused), then of each entry the hash (4 × Int32), the
 * position or count (Float64), and the values as one JSON array.
 */
export const PARTITIONS = 16;
const BLOCK = 4_096;
/** Characters of the values of a block, about. */
const BLOCK_TEXT = 1 << 18;
const HEADER_BYTES = 16;

/** The partition that a value belongs to, by the first word of its hash. */
export function partitionOf(hash: number): number {
  return hash >>> 28;
}

class Partition {
  count = 0;
  readonly hashes = new Int32Array(BLOCK * 4);
  /** Position of a row, or how often a value was seen. */
  readonly numbers = new Float64Array(BLOCK);
  values: unknown[] = [];
  /** Characters of the values. */
  text = 0;
}

/** Partitions of ended chunks, for the next: making their arrays anew costs memory until they are collected. */
const spare: Partition[] = [];
const MAX_SPARE = 4 * PARTITIONS;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const hashScratch = new Int32Array(BLOCK * 4);
const numberScratch = new Float64Array(BLOCK);

class DistinctWriter {
  readonly #writer: SpillWriter;
  readonly #partitions: (Partition | undefined)[] = new Array(PARTITIONS).fill(undefined);
  readonly #rows: boolean;

  constructor(path: string | undefined, { rows }: { rows: boolean }) {
    this.#writer = new SpillWriter(path);
    this.#rows = rows;
  }

  /** A value that was seen `count` times. */
  add(value: unknown, count: number): void {
    this.#append(value, count);
  }

  /** A row's value, and the position of the row. */
  addRow(value: unknown, position: number): void {
    this.#append(value, position);
  }

  #append(value: unknown, number: number): void {
    const hash = hashValue(value);
    const index = partitionOf(hash[0]!);
    const partition = this.#partitions[index] ??= spare.pop() ?? new Partition();
    const n = partition.count++;
    const at = n * 4;
    partition.hashes[at] = hash[0]!;
    partition.hashes[at + 1] = hash[1]!;
    partition.hashes[at + 2] = hash[2]!;
    partition.hashes[at + 3] = hash[3]!;
    partition.numbers[n] = number;
    const stored = typeof value === "string" && value.length <= 1_000 ? value : storeValue(value);
    partition.values[n] = stored;
    if (typeof stored === "string") partition.text += stored.length;
    if (partition.count === BLOCK || partition.text >= BLOCK_TEXT) this.#flush(index);
  }

  /** Gives up what was added. */
  close(): void {
    this.#writer.close();
  }

  #flush(index: number): void {
    const partition = this.#partitions[index]!;
    const { count } = partition;
    const values = encoder.encode(JSON.stringify(partition.values));
    const header = new Uint32Array([index, count, values.length, this.#rows ? 1 : 0]);
    this.#writer.append(new Uint8Array(header.buffer));
    this.#writer.append(new Uint8Array(partition.hashes.buffer, 0, count * 16));
    this.#writer.append(new Uint8Array(partition.numbers.buffer, 0, count * 8));
    this.#writer.append(values);
    partition.count = 0;
    partition.values = [];
    partition.text = 0;
  }

  end(): SpillRef | null {
    this.#partitions.forEach((partition, index) => {
      if (partition === undefined) return;
      if (partition.count > 0) this.#flush(index);
      if (spare.length < MAX_SPARE) spare.push(partition);
      this.#partitions[index] = undefined;
    });
    return this.#writer.end();
  }
}

/** One block of a spill; its parts are read when they are asked for. */
export class Block {
  readonly partition: number;
  readonly count: number;
  /** Whether each entry is a row, with its position; else a value, with its count. */
  readonly rows: boolean;
  /** Which chunk the block is of, in chunk order. */
  readonly chunk: number;
  /** Where the positions of its rows count from. */
  readonly start: number;
  readonly #reader: SpillReader;
  readonly #offset: number;
  readonly #valuesBytes: number;

  constructor(reader: SpillReader, { offset, chunk }: { offset: number; chunk: number }) {
    const header = new Uint32Array(reader.read(offset, HEADER_BYTES).buffer);
    this.partition = header[0]!;
    this.count = header[1]!;
    this.#valuesBytes = header[2]!;
    this.rows = header[3] === 1;
    this.chunk = chunk;
    this.start = reader.start;
    this.#reader = reader;
    this.#offset = offset;
  }

  get end(): number {
    return this.#offset + HEADER_BYTES + this.count * 24 + this.#valuesBytes;
  }

  /** Valid until the hashes of another block are read. */
  hashes(): Int32Array {
    const into = new Uint8Array(hashScratch.buffer, 0, this.count * 16);
    this.#reader.readInto(this.#offset + HEADER_BYTES, into);
    return hashScratch;
  }

  /** Valid until the numbers of another block are read. */
  numbers(): Float64Array {
    const into = new Uint8Array(numberScratch.buffer, 0, this.count * 8);
    this.#reader.readInto(this.#offset + HEADER_BYTES + this.count * 16, into);
    return numberScratch;
  }

  values(): StoredValue[] {
    const at = this.end - this.#valuesBytes;
    return JSON.parse(decoder.decode(this.#reader.read(at, this.#valuesBytes)));
  }
}

/** The blocks of one spill. */
export function* readBlocks(reader: SpillReader, chunk: number): Iterable<Block> {
  for (let offset = 0; offset < reader.size;) {
    const block = new Block(reader, { offset, chunk });
    yield block;
    offset = block.end;
  }
}

/**
 * A 128-bit hash of a value, the same for values that Python says are equal.
 * Two different values among a billion collide with a chance below 1e-20
 * unless someone who knows the function makes them collide on purpose.
 * The array that is returned is filled anew by the next call.
 */
export function hashValue(value: unknown): Int32Array {
  const key = equalityKey(value);
  switch (typeof key) {
    case "string":
      return hashText(key, 1);
    case "number":
      return hashNumber(key);
    case "bigint":
      return hashText(String(key), 2);
    default:
      return key === null ? hashText("", 3) : hashText(stableText(value), 4);
  }
}

const float = new Float64Array(1);
const words = new Int32Array(float.buffer);
const hash = new Int32Array(4);

function hashNumber(value: number): Int32Array {
  float[0] = value;
  let a = 0x2545f491 ^ words[0]!;
  let b = 0x5bd1e995 ^ words[1]!;
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b);
  b = Math.imul(b ^ (b >>> 16), 0xc2b2ae35);
  hash[0] = a + b;
  hash[1] = a ^ Math.imul(b, 0x9e3779b1);
  hash[2] = b ^ Math.imul(a, 0x27d4eb2f);
  hash[3] = a - b;
  return finish();
}

function hashText(text: string, seed: number): Int32Array {
  const length = text.length;
  let a = 0x239b961b ^ seed;
  let b = 0x38b34ae5 ^ length;
  let c = 0x2f0b4c47 ^ seed;
  let d = 0x5f1e6a31 ^ length;
  let i = 0;
  for (; i + 1 < length; i += 2) {
    const k = text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16);
    a = Math.imul(a ^ k, 0x85ebca6b);
    a = (a << 13) | (a >>> 19);
    b = Math.imul(b ^ k, 0xc2b2ae35);
    b = (b << 15) | (b >>> 17);
    c = Math.imul(c + k, 0x9e3779b1);
    c = (c << 11) | (c >>> 21);
    d = Math.imul(d ^ (k + 0x7ed55d16), 0x27d4eb2f);
    d = (d << 17) | (d >>> 15);
  }
  if (i < length) {
    const k = text.charCodeAt(i) | 0x10000000;
    a = Math.imul(a ^ k, 0x85ebca6b);
    b = Math.imul(b ^ k, 0xc2b2ae35);
    c = Math.imul(c + k, 0x9e3779b1);
    d = Math.imul(d ^ k, 0x27d4eb2f);
  }
  hash[0] = a;
  hash[1] = b;
  hash[2] = c;
  hash[3] = d;
  return finish();
}

/** Makes each word depend on all four before it is mixed. */
function finish(): Int32Array {
  const a = hash[0]!;
  const b = hash[1]!;
  const c = hash[2]!;
  const d = hash[3]!;
  const all = a ^ Math.imul(b, 0x9e3779b1) ^ Math.imul(c, 0x85ebca6b) ^ Math.imul(d, 0xc2b2ae35);
  hash[0] = mix(a ^ all);
  hash[1] = mix(b + all);
  hash[2] = mix(c ^ (all >>> 7));
  hash[3] = mix(d + (all << 3));
  return hash;
}

function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Text of a list or dict that is the same for equal ones. */
function stableText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stableText).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1);
    return `{${members.map(([k, v]) => `${JSON.stringify(k)}:${stableText(v)}`).join(",")}}`;
  }
  const key = equalityKey(value);
  return typeof key === "string" ? JSON.stringify(key) : String(key);
}
