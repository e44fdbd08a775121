import { SpillReader, type SpillRef, SpillWriter } from "./spill.ts";
import { type StoredValue, storeValue } from "./stored_value.ts";
import { hashValue } from "./value_hash.ts";

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

export class DistinctWriter {
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
    partition.values.length = count;
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
