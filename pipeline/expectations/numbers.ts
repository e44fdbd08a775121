import type { Accumulator, AccumulatorKind, CreateOptions, State } from "./accumulators.ts";
import type { Batch } from "./batch.ts";
import type { Condition } from "./condition.ts";
import { asNumber } from "./python.ts";
import { SpillReader, type SpillRef, SpillWriter } from "./spill.ts";

/** All numbers of a column, on disk as 64-bit floats. */
export interface NumbersState extends State {
  nonnull: number;
  mistyped: number;
  spills: SpillRef[];
}

/** Numbers that are sorted in memory at once: 16 MB. */
const IN_MEMORY = 2_000_000;
const BUFFER = 16_384;

export function numbersKind(
  column: string,
  condition: Condition | undefined,
): AccumulatorKind {
  return {
    create: (options) => new Numbers(column, { ...options, condition }),
    merge: (a, b) => ({
      nonnull: (a as NumbersState).nonnull + (b as NumbersState).nonnull,
      mistyped: (a as NumbersState).mistyped + (b as NumbersState).mistyped,
      spills: [...(a as NumbersState).spills, ...(b as NumbersState).spills],
    }),
  };
}

class Numbers implements Accumulator {
  readonly #column: string;
  readonly #condition: Condition | undefined;
  readonly #writer: SpillWriter;
  readonly #buffer = new Float64Array(BUFFER);
  #buffered = 0;
  #nonnull = 0;
  #mistyped = 0;

  constructor(
    column: string,
    { spillPath, condition }: CreateOptions & { condition: Condition | undefined },
  ) {
    this.#column = column;
    this.#condition = condition;
    this.#writer = new SpillWriter(spillPath);
  }

  observe(batch: Batch): void {
    const rows = this.#condition && batch.select(this.#condition).rows;
    const values = batch.column(this.#column);
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      const value = values[i];
      if (value === null) continue;
      const number = typeof value === "number" ? value : asNumber(value);
      if (number === undefined) {
        this.#mistyped++;
        continue;
      }
      this.#nonnull++;
      this.#buffer[this.#buffered++] = Number(number);
      if (this.#buffered === BUFFER) this.#flush();
    }
  }

  close(): void {
    this.#writer.close();
  }

  #flush(): void {
    this.#writer.append(new Uint8Array(this.#buffer.buffer, 0, this.#buffered * 8));
    this.#buffered = 0;
  }

  state(): NumbersState {
    if (this.#buffered > 0) this.#flush();
    const ref = this.#writer.end();
    return {
      nonnull: this.#nonnull,
      mistyped: this.#mistyped,
      spills: ref === null ? [] : [ref],
    };
  }
}

/**
 * The numbers at the given ranks (0 = smallest) of all of them in order.
 * When they are too many to sort in memory they are read several times, each
 * time narrowing where the wanted ones lie.
 */
export function numbersAtRanks(state: NumbersState, ranks: number[], limit = IN_MEMORY): number[] {
  if (state.nonnull <= limit) {
    const all = new Float64Array(state.nonnull);
    let at = 0;
    for (const part of readAll(state)) {
      all.set(part, at);
      at += part.length;
    }
    all.sort();
    return ranks.map((rank) => all[rank]!);
  }
  const found = new Map<number, number>();
  for (const rank of new Set(ranks)) found.set(rank, narrow(state, rank, limit));
  return ranks.map((rank) => found.get(rank)!);
}

/** Finds one rank by the bits of the numbers, 16 at a time from the highest. */
function narrow(state: NumbersState, rank: number, limit: number): number {
  let prefix = 0n;
  let below = rank;
  for (let shift = 48n; shift >= 0n; shift -= 16n) {
    const counts = new Float64Array(65_536);
    for (const part of readAll(state)) {
      const keys = orderedKeys(part);
      for (const key of keys) {
        if (key >> (shift + 16n) === prefix) counts[Number((key >> shift) & 0xffffn)]!++;
      }
    }
    let bucket = 0;
    while (below >= counts[bucket]!) below -= counts[bucket++]!;
    prefix = (prefix << 16n) | BigInt(bucket);
    if (counts[bucket]! <= limit) {
      const rest: number[] = [];
      for (const part of readAll(state)) {
        const keys = orderedKeys(part);
        for (let i = 0; i < keys.length; i++) if (keys[i]! >> shift === prefix) rest.push(part[i]!);
      }
      return Float64Array.from(rest).sort()[below]!;
    }
  }
  const bits = prefix >> 63n ? prefix ^ (1n << 63n) : ~prefix & 0xffff_ffff_ffff_ffffn;
  return new Float64Array(new BigUint64Array([bits]).buffer)[0]!;
}

/** Unsigned integers that order as the numbers do. */
function orderedKeys(numbers: Float64Array<ArrayBuffer>): BigUint64Array {
  const bits = new BigUint64Array(numbers.slice().buffer);
  for (let i = 0; i < bits.length; i++) {
    bits[i] = bits[i]! >> 63n ? ~bits[i]! : bits[i]! | (1n << 63n);
  }
  return bits;
}

const scratch = new Float64Array(BUFFER);

/** Each part is valid until the next. */
function* readAll(state: NumbersState): Iterable<Float64Array<ArrayBuffer>> {
  for (const ref of state.spills) {
    const reader = new SpillReader(ref);
    try {
      for (let at = 0; at < reader.size; at += BUFFER * 8) {
        const length = Math.min(BUFFER * 8, reader.size - at);
        reader.readInto(at, new Uint8Array(scratch.buffer, 0, length));
        yield scratch.subarray(0, length / 8);
      }
    } finally {
      reader.close();
    }
  }
}
