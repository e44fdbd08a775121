import type { Accumulator, AccumulatorKind, State } from "./accumulator.ts";
import { addMembers } from "./accumulator.ts";
import type { Batch } from "./batch.ts";
import type { Condition } from "./condition_parser.ts";
import { noTypes, type TypeCounts } from "./pandas_types.ts";
import { isInteger } from "./python_text.ts";
import { asNumber, compareValues } from "./python_value.ts";
import { restoreValue, type StoredValue, storeValue } from "./stored_value.ts";

/** Number of rows of a domain, and of its values of one column that are not null. */
export interface CountState extends State {
  rows: number;
  nonnull: number;
}

export function countKind(
  column: string | undefined,
  condition: Condition | undefined,
): AccumulatorKind {
  return {
    create: () => {
      const state: CountState = { rows: 0, nonnull: 0 };
      return {
        observe(batch: Batch) {
          const rows = condition && batch.select(condition).rows;
          const values = column === undefined ? undefined : batch.column(column);
          for (let i = 0; i < batch.count; i++) {
            if (rows !== undefined && rows[i] === 0) continue;
            state.rows++;
            if (values !== undefined && values[i] !== null) state.nonnull++;
          }
        },
        state: () => state,
      };
    },
    merge: (a, b) => addMembers(a as CountState, b as CountState),
  };
}

const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

/** Which types the values of a column have, over all rows. */
export function typesKind(column: string): AccumulatorKind {
  return {
    create: () => {
      const counts: TypeCounts = noTypes();
      return {
        observe(batch: Batch) {
          const values = batch.column(column);
          for (let i = 0; i < batch.count; i++) countType(values[i], counts);
        },
        state: () => ({ ...counts }),
      };
    },
    merge: (a, b) => ({ ...addMembers(a, b) }),
  };
}

function countType(value: unknown, counts: TypeCounts): void {
  switch (typeof value) {
    case "string":
      counts.str++;
      break;
    case "number":
      if (isInteger(value)) {
        counts.int++;
        if (value < 0) counts.negative++;
      } else counts.float++;
      break;
    case "boolean":
      counts.bool++;
      break;
    case "bigint":
      if (value < 0n) counts.negative++;
      if (value >= INT64_MIN && value <= INT64_MAX) counts.int++;
      else if (value > 0n && value <= UINT64_MAX) counts.uint++;
      else counts.huge++;
      break;
    default:
      if (value === null) counts.null++;
      else if (Array.isArray(value)) counts.list++;
      else counts.dict++;
  }
}

/** Smallest and largest value of a column. */
export interface ExtremesState extends State {
  nonnull: number;
  mistyped: number;
  min: StoredValue;
  max: StoredValue;
}

export function extremesKind(
  column: string,
  condition: Condition | undefined,
): AccumulatorKind {
  return {
    create: () => new Extremes(column, condition),
    merge: (a, b) => mergeExtremes(a as ExtremesState, b as ExtremesState),
  };
}

class Extremes implements Accumulator {
  readonly #column: string;
  readonly #condition: Condition | undefined;
  #nonnull = 0;
  #mistyped = 0;
  #min: unknown = null;
  #max: unknown = null;

  constructor(column: string, condition: Condition | undefined) {
    this.#column = column;
    this.#condition = condition;
  }

  observe(batch: Batch): void {
    const rows = this.#condition && batch.select(this.#condition).rows;
    const values = batch.column(this.#column);
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      const value = values[i];
      if (value !== null) this.#add(value);
    }
  }

  #add(value: unknown): void {
    this.#nonnull++;
    const min = this.#min;
    if (typeof value === "number" && typeof min === "number") {
      if (value < min) this.#min = value;
      else if (value > (this.#max as number)) this.#max = value;
      return;
    }
    if (min === null) {
      if (compareValues(value, value) === undefined) this.#mistyped++;
      else this.#min = this.#max = value;
      return;
    }
    const below = compareValues(value, min);
    if (below === undefined) {
      this.#mistyped++;
      return;
    }
    if (below < 0) this.#min = value;
    if (compareValues(value, this.#max)! > 0) this.#max = value;
  }

  state(): ExtremesState {
    return {
      nonnull: this.#nonnull,
      mistyped: this.#mistyped,
      min: storeValue(this.#min),
      max: storeValue(this.#max),
    };
  }
}

function mergeExtremes(a: ExtremesState, b: ExtremesState): ExtremesState {
  const counts = { nonnull: a.nonnull + b.nonnull, mistyped: a.mistyped + b.mistyped };
  if (a.min === null) return { ...counts, min: b.min, max: b.max };
  if (b.min === null) return { ...counts, min: a.min, max: a.max };
  const below = compareValues(restoreValue(b.min), restoreValue(a.min));
  const above = compareValues(restoreValue(b.max), restoreValue(a.max));
  if (below === undefined || above === undefined) {
    return { ...counts, mistyped: counts.mistyped + 1, min: a.min, max: a.max };
  }
  return {
    ...counts,
    min: below < 0 ? b.min : a.min,
    max: above > 0 ? b.max : a.max,
  };
}

/** Values that do not follow the one before them in order. */
export interface OrderState extends State {
  /** Rows of the domain. */
  elements: number;
  nonnull: number;
  unexpected: number;
  mistyped: number;
  first: StoredValue;
  firstPosition: number;
  last: StoredValue;
  values: unknown[];
  positions: number[];
}

/** Whether `next` may follow `previous`; undefined where Python cannot subtract them. */
export type InOrder = (previous: unknown, next: unknown) => boolean | undefined;

export function inOrder(direction: 1 | -1, strictly: boolean): InOrder {
  return (previous, next) => {
    const a = asNumber(previous);
    const b = asNumber(next);
    if (a === undefined || b === undefined) return undefined;
    return a === b ? !strictly : direction === 1 ? b > a : b < a;
  };
}
