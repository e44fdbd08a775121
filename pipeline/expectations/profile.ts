import type { SourceRecord } from "../numbers.ts";
import {
  type Accumulator,
  type AccumulatorKind,
  extremesKind,
  type ExtremesState,
  type State,
  typesKind,
} from "./accumulators.ts";
import { Batch, type EventColumns, isEventColumn } from "./batch.ts";
import { countValues, type DistinctState, type ValueCounts } from "./distinct.ts";
import { codePointLength, columnType, type TypeCounts } from "./python.ts";
import { type Expectation, type Suite, writeSuite } from "./suite.ts";
import { summarize } from "./distinct_summary.ts";
import { restoreValue } from "./spill.ts";

export interface ProfileOptions {
  /** Name of the suite that is proposed. */
  name: string;
  /** Where to spill what does not fit in memory; default: memory. */
  spillDir?: string;
}

/** What a profile knows of a column at its end. */
export interface ColumnProfile {
  column: string;
  /** Records of the whole data set. */
  rows: number;
  types: TypeCounts;
  extremes: ExtremesState;
  lengths: LengthsState;
  /** Undefined where the values are many and repeat: neither a set nor unique. */
  distinct: DistinctState | undefined;
}

/** Columns beyond this many, and nesting deeper than this, are left out. */
const MAX_COLUMNS = 500;
const MAX_DEPTH = 3;
/** Columns of many different values that may be unique, beyond which none is proposed to be: each takes memory. */
const MAX_UNIQUE = 32;

export function newProfile(options: ProfileOptions): Profile {
  return new Profile(options);
}

/** Looks at a data set, batch by batch, and proposes a suite that holds on it. */
class Profile {
  readonly #options: ProfileOptions;
  readonly #batch = new Batch();
  readonly #columns = new Map<string, Watched>();
  readonly #top = new Set<string>();
  #rows = 0;
  /** Top-level fields that every record so far has. */
  #always: Set<string> | undefined;

  constructor(options: ProfileOptions) {
    this.#options = options;
  }

  /** `events`: those of the records, for the columns event_id, event_type and occurred_at. */
  observe(records: readonly SourceRecord[], events?: readonly EventColumns[]): void {
    if (records.length === 0) return;
    if (events !== undefined) {
      for (const column of ["event_id", "event_type", "occurred_at"]) this.#add(column);
    }
    for (const record of records) {
      this.#discover(record, "", 1);
      const names = Object.keys(record);
      for (const name of names) if (this.#top.size <= MAX_COLUMNS) this.#top.add(name);
      if (this.#always === undefined) this.#always = new Set(names);
      else {for (const name of this.#always) {
          if (!Object.hasOwn(record, name)) this.#always.delete(name);
        }}
    }
    this.#batch.load(records, { events, startPosition: this.#rows });
    for (const watched of this.#columns.values()) {
      for (const accumulator of watched.all) accumulator.observe(this.#batch);
    }
    this.#rows += records.length;
    this.#dropHopeless();
  }

  #discover(record: SourceRecord, prefix: string, depth: number): void {
    for (const [name, value] of Object.entries(record)) {
      const path = prefix + name.replace(/[\\.]/g, "\\$&");
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        // what the event has under this name is what an expectation would see
        if (depth < MAX_DEPTH && !isEventColumn(path)) {
          this.#discover(value, `${path}.`, depth + 1);
        }
      } else this.#add(path);
    }
  }

  #add(path: string): void {
    if (this.#columns.has(path) || this.#columns.size >= MAX_COLUMNS) return;
    const { spillDir } = this.#options;
    const create = spillDir === undefined
      ? {}
      : { spillPath: `${spillDir}/profile-${this.#columns.size}` };
    const types = typesKind(path).create(create);
    const extremes = extremesKind(path, undefined).create(create);
    const lengths = lengthsKind(path).create(create);
    const values = countValues(path, create);
    const all = [types, extremes, lengths, values];
    this.#columns.set(path, { types, extremes, lengths, values, all });
  }

  /** Values that can be neither a set nor unique need not be counted any longer. */
  #dropHopeless(): void {
    let unique = 0;
    for (const watched of this.#columns.values()) {
      const { values, types } = watched;
      if (values === undefined || Number.isFinite(values.different)) continue;
      const { float, bool } = types.state() as unknown as TypeCounts;
      if (!values.manyRepeat && float === 0 && bool === 0 && ++unique <= MAX_UNIQUE) continue;
      values.close?.();
      watched.values = undefined;
      watched.all = watched.all.filter((each) => each !== values);
    }
  }

  /** The proposed suite in the JSON of Great Expectations 1.x, ready to edit. */
  finish(): Record<string, unknown> {
    const expectations = [...this.#proposeForTable()];
    for (const [column, watched] of this.#columns) {
      expectations.push(...proposeForColumn({
        column,
        rows: this.#rows,
        types: watched.types.state() as unknown as TypeCounts,
        extremes: watched.extremes.state() as ExtremesState,
        lengths: watched.lengths.state() as LengthsState,
        distinct: watched.values?.state(),
      }));
    }
    const suite: Suite = {
      name: this.#options.name,
      expectations,
      suite_parameters: {},
      meta: { profiled_records: this.#rows },
    };
    return writeSuite(suite);
  }

  *#proposeForTable(): Iterable<Expectation> {
    if (this.#always === undefined || this.#top.size > MAX_COLUMNS) return;
    yield {
      type: "expect_table_columns_to_match_set",
      kwargs: { column_set: [...this.#always], exact_match: false },
      meta: {},
      severity: "critical",
    };
  }
}

interface Watched {
  types: Accumulator;
  extremes: Accumulator;
  lengths: Accumulator;
  values: ValueCounts | undefined;
  /** Those that are observed. */
  all: Accumulator[];
}

/** A column has a set of values when it has at most this many different ones … */
const MAX_SET = 20;
/** … each this often on average. */
const REPEATED = 5;
/** Fewer values than this say nothing about uniqueness. */
const ENOUGH = 20;

/** Expectations that hold on the column: types, nulls, ranges, sets, uniqueness. */
function proposeForColumn(profile: ColumnProfile): Expectation[] {
  const { rows } = profile;
  // A column that came up late was null until then.
  const nonnull = Object.values(typeTotals(profile)).reduce((sum: number, n) => sum + n, 0);
  if (nonnull === 0) return [];
  return [
    ...proposeNulls(profile.column, nonnull, rows),
    ...proposeTypes(profile, nonnull < rows),
    ...proposeRange(profile),
    ...proposeValues(profile, nonnull),
  ];
}

function one(type: string, kwargs: Record<string, unknown>): Expectation {
  return { type, kwargs, meta: {}, severity: "critical" };
}

interface Totals {
  bool: number;
  int: number;
  float: number;
  str: number;
  list: number;
  dict: number;
}

/** Values by kind, null left out. */
function typeTotals({ types }: ColumnProfile): Totals {
  return {
    bool: types.bool,
    int: types.int + types.uint + types.huge,
    float: types.float,
    str: types.str,
    list: types.list,
    dict: types.dict,
  };
}

function proposeNulls(column: string, nonnull: number, rows: number): Expectation[] {
  const type = "expect_column_values_to_not_be_null";
  if (nonnull === rows) return [one(type, { column })];
  const mostly = Math.floor((nonnull / rows) * 100) / 100;
  return mostly > 0 ? [one(type, { column, mostly })] : [];
}

function proposeTypes(profile: ColumnProfile, hasNulls: boolean): Expectation[] {
  const { column } = profile;
  const types = { ...profile.types, null: hasNulls ? 1 : 0 };
  const type = columnType(types);
  switch (type) {
    case "str":
      return [one("expect_column_values_to_be_of_type", { column, type_: "str" })];
    case "int64":
    case "uint64":
    case "float64": {
      // With nulls pandas holds integers as floats: a batch without must pass as well.
      const list = types.float > 0 || hasNulls ? ["int64", "float64"] : ["int64"];
      const names = type === "uint64" ? [...list, "uint64"] : list;
      return [one("expect_column_values_to_be_in_type_list", { column, type_list: names })];
    }
    case "bool":
      return [one("expect_column_values_to_be_in_type_list", { column, type_list: ["bool"] })];
    default: {
      const names = Object.entries(typeTotals(profile)).filter(([, n]) => n > 0)
        .map(([name]) => name);
      return [one("expect_column_values_to_be_in_type_list", { column, type_list: names })];
    }
  }
}

function proposeRange(profile: ColumnProfile): Expectation[] {
  const { column, extremes, lengths } = profile;
  const totals = typeTotals(profile);
  const min = restoreValue(extremes.min);
  const max = restoreValue(extremes.max);
  const numbersOnly = totals.str === 0 && totals.list === 0 && totals.dict === 0;
  if (numbersOnly && typeof min === "number" && typeof max === "number") {
    if (!Number.isFinite(min) || !Number.isFinite(max)) return [];
    return [
      one("expect_column_values_to_be_between", { column, min_value: min, max_value: max }),
    ];
  }
  const textOnly = totals.str > 0 && Object.values(totals).filter((n) => n > 0).length === 1;
  if (!textOnly) return [];
  const range = one("expect_column_value_lengths_to_be_between", {
    column,
    min_value: lengths.min,
    max_value: lengths.max,
  });
  return lengths.dates === lengths.texts
    ? [
      range,
      one("expect_column_values_to_match_regex", { column, regex: "^\\d{4}-\\d{2}-\\d{2}" }),
    ]
    : [range];
}

function proposeValues(profile: ColumnProfile, nonnull: number): Expectation[] {
  const { column, distinct, types } = profile;
  if (distinct === undefined || distinct.unhashable > 0 || types.float > 0 || types.bool > 0) {
    return [];
  }
  const set = distinct.few.map(([stored]) => restoreValue(stored));
  const isSet = distinct.spills.length === 0 && set.length > 0 && set.length <= MAX_SET &&
    nonnull >= set.length * REPEATED &&
    set.every((value) => typeof value === "string" || typeof value === "number");
  if (isSet) {
    const sorted = [...set].sort((a, b) => (a as string) < (b as string) ? -1 : 1);
    return [one("expect_column_values_to_be_in_set", { column, value_set: sorted })];
  }
  if (nonnull < ENOUGH || summarize(distinct, {}).distinct < nonnull) return [];
  return [one("expect_column_values_to_be_unique", { column })];
}

/** Shortest and longest text of a column, and whether all of it looks like a date. */
export interface LengthsState extends State {
  texts: number;
  min: number;
  max: number;
  dates: number;
}

const DATE = /^\d{4}-\d{2}-\d{2}(?:[T ]|$)/;

function lengthsKind(column: string): AccumulatorKind {
  return {
    create: () => {
      const state: LengthsState = { texts: 0, min: Infinity, max: 0, dates: 0 };
      return {
        observe(batch: Batch) {
          const values = batch.column(column);
          for (let i = 0; i < batch.count; i++) {
            const value = values[i];
            if (typeof value !== "string") continue;
            const length = codePointLength(value);
            state.texts++;
            if (length < state.min) state.min = length;
            if (length > state.max) state.max = length;
            if (DATE.test(value)) state.dates++;
          }
        },
        state: () => state,
      };
    },
    merge(a, b) {
      const [x, y] = [a as LengthsState, b as LengthsState];
      return {
        texts: x.texts + y.texts,
        min: Math.min(x.min, y.min),
        max: Math.max(x.max, y.max),
        dates: x.dates + y.dates,
      };
    },
  };
}
