import type { Batch } from "./batch.ts";

/**
 * What is kept of the rows seen so far. Each chunk has accumulators of its
 * own; their states are plain data of bounded size that refer to spill files
 * for the rest, and are merged in chunk order.
 */
export interface Accumulator {
  observe(batch: Batch): void;
  /** Ends the observation; what was spilled is complete on disk when this returns. */
  state(): State;
  /** Closes the spill file of an observation that is given up. */
  close?(): void;
}

/** Plain JSON, and bytes where nothing may be written to disk. */
export type State = { [key: string]: unknown };

export interface AccumulatorKind {
  create(options: CreateOptions): Accumulator;
  /** The state of `a`'s rows followed by `b`'s. */
  merge(a: State, b: State): State;
  /** The state with the positions of its rows moved by `rows`; absent where it has none. */
  shift?(state: State, rows: number): State;
}

export interface CreateOptions {
  /** Where to spill; default: memory, for samples and tests. */
  spillPath?: string;
}

/** Members that are added up. */
export function addMembers<T extends object>(a: T, b: T): T {
  const sum: Record<string, number> = {};
  for (const [key, value] of Object.entries(a)) {
    sum[key] = value + (b as Record<string, number>)[key]!;
  }
  return sum as T;
}
