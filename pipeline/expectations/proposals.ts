import { summarize } from "./distinct_summary.ts";
import { columnType } from "./pandas_types.ts";
import type { ColumnProfile } from "./profile.ts";
import { restoreValue } from "./stored_value.ts";
import type { Expectation } from "./suite.ts";

/** A column has a set of values when it has at most this many different ones … */
const MAX_SET = 20;
/** … each this often on average. */
const REPEATED = 5;
/** Fewer values than this say nothing about uniqueness. */
const ENOUGH = 20;

/** Expectations that hold on the column: types, nulls, ranges, sets, uniqueness. */
export function proposeForColumn(profile: ColumnProfile): Expectation[] {
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
