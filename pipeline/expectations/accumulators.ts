import type { Batch } from "./batch.ts";
import type { Condition } from "./condition.ts";
import { asNumber, compareValues, isInteger, noTypes, shown, type TypeCounts } from "./python.ts";
import { restoreValue, type StoredValue, storeValue } from "./spill.ts";

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
function addMembers<T extends object>(a: T, b: T): T {
  const sum: Record<string, number> = {};
  for (const [key, value] of Object.entries(a)) {
    sum[key] = value + (b as Record<string, number>)[key]!;
  }
  return sum as T;
}

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

/** Smallest and largest value of a column: of its first one's type. */
export interface ExtremesState extends State {
  /** Values by what they can be compared with. */
  numbers: number;
  texts: number;
  others: number;
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
  #numbers = 0;
  #texts = 0;
  #others = 0;
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
    const min = this.#min;
    if (typeof value === "number" && typeof min === "number") {
      this.#numbers++;
      if (value < min) this.#min = value;
      else if (value > (this.#max as number)) this.#max = value;
      return;
    }
    if (typeof value === "string") this.#texts++;
    else if (asNumber(value) !== undefined) this.#numbers++;
    else {
      this.#others++;
      return;
    }
    if (min === null) {
      this.#min = this.#max = value;
      return;
    }
    const below = compareValues(value, min);
    if (below === undefined) return;
    if (below < 0) this.#min = value;
    if (compareValues(value, this.#max)! > 0) this.#max = value;
  }

  state(): ExtremesState {
    return {
      numbers: this.#numbers,
      texts: this.#texts,
      others: this.#others,
      min: storeValue(this.#min),
      max: storeValue(this.#max),
    };
  }
}

function mergeExtremes(a: ExtremesState, b: ExtremesState): ExtremesState {
  const counts = {
    numbers: a.numbers + b.numbers,
    texts: a.texts + b.texts,
    others: a.others + b.others,
  };
  if (a.min === null) return { ...counts, min: b.min, max: b.max };
  const below = compareValues(restoreValue(b.min), restoreValue(a.min));
  const above = compareValues(restoreValue(b.max), restoreValue(a.max));
  if (below === undefined || above === undefined) {
    return { ...counts, min: a.min, max: a.max };
  }
  return {
    ...counts,
    min: below < 0 ? b.min : a.min,
    max: above > 0 ? b.max : a.max,
  };
}

/** Values that cannot be compared with the first one that can be compared at all. */
export function mistypedOf({ numbers, texts, others, min }: ExtremesState): number {
  return others + (min === null ? 0 : typeof min === "string" ? numbers : texts);
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
    const order = a < b ? direction : a > b ? -direction : 0;
    return strictly ? order > 0 : order >= 0;
  };
}

/** The verdicts of a rule. */
export const EXPECTED = 0;
export const UNEXPECTED = 1;
/** A value of a type that the rule cannot look at. */
export const MISTYPED = 2;
/** The row is left out (ignore_row_if). */
export const SKIPPED = 3;
export type Verdict = 0 | 1 | 2 | 3;

/** A rule about one column's value. */
export interface ValueRule {
  kind: "value";
  columns: [string];
  /** Whether null is left out and not put to the test. */
  skipNull: boolean;
  test(value: unknown): Verdict;
  /** A stricter or laxer test for a single row, where it differs. */
  testAlone?(value: unknown): Verdict;
}

/** A rule about several columns of a row. */
export interface SeveralRule {
  kind: "row";
  columns: string[];
  test(columns: readonly (readonly unknown[])[], row: number): Verdict;
  /** What a result shows of an unexpected row. */
  show(columns: readonly (readonly unknown[])[], row: number): unknown;
}

export type RowRule = ValueRule | SeveralRule;

/** ignore_row_if of the expectations about a list of columns. */
export function isIgnored(
  kwargs: Record<string, unknown>,
  columns: readonly (readonly unknown[])[],
  row: number,
): boolean {
  const ignore = kwargs.ignore_row_if ?? "all_values_are_missing";
  if (ignore === "all_values_are_missing") return columns.every((values) => values[row] === null);
  return ignore === "any_value_is_missing" && columns.some((values) => values[row] === null);
}

/** Unexpected values that a result shows. */
export const SAMPLE = 20;

/** The state of a rule that looks at one row at a time. */
export interface MapState extends State {
  /** Rows of the domain (those that row_condition selects). */
  elements: number;
  /** Of these, rows that the rule has looked at. */
  considered: number;
  unexpected: number;
  /** Rows with a value that the rule cannot look at, where Python raises a TypeError. */
  mistyped: number;
  values: unknown[];
  positions: number[];
}

/** Counts the rows that a rule finds unexpected and keeps the first of them. */
export function mapKind(rule: RowRule, condition: Condition | undefined): AccumulatorKind {
  return {
    create: () => new MapAccumulator(rule, condition),
    merge: (a, b) => mergeMaps(a as MapState, b as MapState),
    shift: (state, rows) => {
      const { positions } = state as MapState;
      return { ...state, positions: positions.map((position) => position + rows) };
    },
  };
}

function mergeMaps(a: MapState, b: MapState): MapState {
  return {
    elements: a.elements + b.elements,
    considered: a.considered + b.considered,
    unexpected: a.unexpected + b.unexpected,
    mistyped: a.mistyped + b.mistyped,
    values: [...a.values, ...b.values].slice(0, SAMPLE),
    positions: [...a.positions, ...b.positions].slice(0, SAMPLE),
  };
}

class MapAccumulator implements Accumulator {
  readonly #rule: RowRule;
  readonly #condition: Condition | undefined;
  #elements = 0;
  #considered = 0;
  #unexpected = 0;
  #mistyped = 0;
  #values: unknown[] = [];
  #positions: number[] = [];

  constructor(rule: RowRule, condition: Condition | undefined) {
    this.#rule = rule;
    this.#condition = condition;
  }

  observe(batch: Batch): void {
    const rows = this.#condition && batch.select(this.#condition).rows;
    if (this.#rule.kind === "value") this.#observeValues(batch, rows);
    else this.#observeRows(batch, rows);
  }

  #observeValues(batch: Batch, rows: Uint8Array | undefined): void {
    const rule = this.#rule as RowRule & { kind: "value" };
    const values = batch.column(rule.columns[0]);
    const { test, skipNull } = rule;
    const count = batch.count;
    let elements = 0;
    let skipped = 0;
    for (let i = 0; i < count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      elements++;
      const value = values[i];
      if (value === null && skipNull) {
        skipped++;
        continue;
      }
      const verdict = test(value);
      if (verdict === 0) continue;
      if (verdict === UNEXPECTED) this.#addUnexpected(value, batch.startPosition + i);
      else this.#mistyped++;
    }
    this.#elements += elements;
    this.#considered += elements - skipped;
  }

  #observeRows(batch: Batch, rows: Uint8Array | undefined): void {
    const rule = this.#rule as RowRule & { kind: "row" };
    const columns = rule.columns.map((path) => batch.column(path));
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      this.#elements++;
      const verdict = rule.test(columns, i);
      if (verdict === SKIPPED) continue;
      this.#considered++;
      if (verdict === UNEXPECTED) {
        const full = this.#values.length >= SAMPLE;
        this.#addUnexpected(full ? null : rule.show(columns, i), batch.startPosition + i);
      } else if (verdict === MISTYPED) this.#mistyped++;
    }
  }

  #addUnexpected(value: unknown, position: number): void {
    this.#unexpected++;
    if (this.#values.length < SAMPLE) {
      this.#values.push(shown(value));
      this.#positions.push(position);
    }
  }

  state(): MapState {
    return {
      elements: this.#elements,
      considered: this.#considered,
      unexpected: this.#unexpected,
      mistyped: this.#mistyped,
      values: this.#values,
      positions: this.#positions,
    };
  }
}

/** Values of a column that break its order, in the order of the chunks. */
export function orderKind(
  column: string,
  { condition, follows }: { condition: Condition | undefined; follows: InOrder },
): AccumulatorKind {
  return {
    create: () => new Order(column, condition, follows),
    merge: (a, b) => mergeOrders(a as OrderState, b as OrderState, follows),
    shift: (state, rows) => {
      const { positions, firstPosition } = state as OrderState;
      return {
        ...state,
        positions: positions.map((position) => position + rows),
        firstPosition: firstPosition + rows,
      };
    },
  };
}

class Order implements Accumulator {
  readonly #column: string;
  readonly #condition: Condition | undefined;
  readonly #follows: InOrder;
  #elements = 0;
  #nonnull = 0;
  #unexpected = 0;
  #mistyped = 0;
  #first: unknown = null;
  #firstPosition = 0;
  #last: unknown = null;
  #values: unknown[] = [];
  #positions: number[] = [];

  constructor(column: string, condition: Condition | undefined, follows: InOrder) {
    this.#column = column;
    this.#condition = condition;
    this.#follows = follows;
  }

  observe(batch: Batch): void {
    const rows = this.#condition && batch.select(this.#condition).rows;
    const values = batch.column(this.#column);
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      this.#elements++;
      const value = values[i];
      if (value !== null) this.#add(value, batch.startPosition + i);
    }
  }

  #add(value: unknown, position: number): void {
    this.#nonnull++;
    if (this.#last === null) {
      this.#first = value;
      this.#firstPosition = position;
    }
    const follows = this.#follows(this.#last ?? value, value);
    if (follows === undefined) this.#mistyped++;
    else if (!follows && this.#last !== null) {
      this.#unexpected++;
      if (this.#values.length < SAMPLE) {
        this.#values.push(shown(value));
        this.#positions.push(position);
      }
    }
    this.#last = value;
  }

  state(): OrderState {
    return {
      elements: this.#elements,
      nonnull: this.#nonnull,
      unexpected: this.#unexpected,
      mistyped: this.#mistyped,
      first: storeValue(this.#first),
      firstPosition: this.#firstPosition,
      last: storeValue(this.#last),
      values: this.#values,
      positions: this.#positions,
    };
  }
}

function mergeOrders(a: OrderState, b: OrderState, follows: InOrder): OrderState {
  const merged: OrderState = {
    elements: a.elements + b.elements,
    nonnull: a.nonnull + b.nonnull,
    unexpected: a.unexpected + b.unexpected,
    mistyped: a.mistyped + b.mistyped,
    first: a.first ?? b.first,
    firstPosition: a.first === null ? b.firstPosition : a.firstPosition,
    last: b.last ?? a.last,
    values: [...a.values, ...b.values],
    positions: [...a.positions, ...b.positions],
  };
  if (a.last !== null && b.first !== null) {
    const first = restoreValue(b.first);
    const ok = follows(restoreValue(a.last), first);
    // b has counted a first value that is mistyped itself
    if (ok === undefined) merged.mistyped += follows(first, first) === undefined ? 0 : 1;
    else if (!ok) {
      merged.unexpected++;
      merged.values = [...a.values, shown(first), ...b.values];
      merged.positions = [...a.positions, b.firstPosition, ...b.positions];
    }
  }
  merged.values = merged.values.slice(0, SAMPLE);
  merged.positions = merged.positions.slice(0, SAMPLE);
  return merged;
}

/** Names of the payload's top-level fields, in the order in which they were first seen. */
export interface TableColumnsState extends State {
  columns: string[];
}

/** A record set with more field names than this has no columns in any useful sense. */
const MAX_COLUMNS = 10_000;

export function tableColumnsKind(): AccumulatorKind {
  return {
    create: () => {
      const columns: string[] = [];
      const known = new Set<string>();
      return {
        observe(batch: Batch) {
          for (const record of batch.records) {
            let k = 0;
            for (const name in record) {
              // Records mostly have the same fields in the same order.
              if (columns[k++] === name || known.has(name) || known.size >= MAX_COLUMNS) continue;
              known.add(name);
              columns.push(name);
            }
          }
        },
        state: () => ({ columns }),
      };
    },
    merge: (a, b) => ({
      columns: [
        ...new Set([
          ...(a as TableColumnsState).columns,
          ...(b as TableColumnsState).columns,
        ]),
      ].slice(0, MAX_COLUMNS),
    }),
  };
}
