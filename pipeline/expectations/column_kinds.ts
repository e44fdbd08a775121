import { z } from "zod";
import {
  bounds,
  column,
  type Context,
  type Evaluator,
  filledSet,
  flag,
  isBetween,
  type Kind,
  kind,
  type Kinds,
  type Kwargs,
  mostly,
  must,
  number,
  numberBounds,
  or,
  type Read,
  valueSet,
} from "./kind.ts";
import { mistypedOf, type State } from "./accumulators.ts";
import type { DistinctState } from "./distinct.ts";
import {
  type DistinctSummary,
  MAX_LISTED,
  summarize,
  type SummaryOptions,
} from "./distinct_summary.ts";
import { deviationOf, meanOf, type MomentsState, totalOf } from "./moments.ts";
import { numbersAtRanks, type NumbersState } from "./numbers.ts";
import { shown } from "./python.ts";
import { mapOutcome, mistyped, NotEvaluable, type Outcome } from "./result.ts";
import { restoreValue } from "./spill.ts";

type Range = [number | bigint | null, number | bigint | null];
type Judge = (states: readonly State[]) => Outcome;

/** Expectations about the values of a column together. */
export const COLUMN_KINDS: Kinds = {
  expect_column_values_to_be_unique: kind(
    "batch",
    { ...column, ...mostly },
    (kwargs, { plan, condition }) => {
      const name = kwargs.column as string;
      return uniqueEvaluator([name], { kwargs, read: plan.distinct(name, condition), show: shown });
    },
  ),
  expect_column_values_to_be_increasing: ordered(1),
  expect_column_values_to_be_decreasing: ordered(-1),
  expect_column_max_to_be_between: aggregate(bounds, extreme("max")),
  expect_column_min_to_be_between: aggregate(bounds, extreme("min")),
  expect_column_mean_to_be_between: aggregate(numberBounds, moments(meanOf)),
  expect_column_median_to_be_between: aggregate(numberBounds, (kwargs, { plan, condition }) => {
    const column = kwargs.column as string;
    const read = plan.numbers(column, condition);
    return (states) => observedBetween(median(numbersOf(read(states), column)), kwargs);
  }),
  expect_column_stdev_to_be_between: aggregate(numberBounds, moments(deviationOf)),
  expect_column_sum_to_be_between: aggregate(numberBounds, moments(totalOf)),
  expect_column_quantile_values_to_be_between: aggregate({
    quantile_ranges: must(z.strictObject({
      quantiles: z.array(z.number().min(0).max(1)).min(1).max(100),
      value_ranges: z.array(z.tuple([number.nullable(), number.nullable()])).max(100),
    })),
    allow_relative_error: or(
      z.union([z.literal(false), z.enum(["linear", "lower", "higher", "midpoint", "nearest"])]),
    ),
  }, quantiles),
  expect_column_proportion_of_unique_values_to_be_between: aggregate(
    numberBounds,
    distinct((kwargs, summary, state) =>
      observedBetween(state.considered === 0 ? 0 : summary.distinct / state.considered, kwargs)
    ),
  ),
  expect_column_proportion_of_non_null_values_to_be_between: aggregate(
    numberBounds,
    (kwargs, { plan, condition }) => {
      const read = plan.count(kwargs.column as string, condition);
      return (states) => {
        const { rows, nonnull } = read(states);
        return observedBetween(rows === 0 ? 0 : nonnull / rows, kwargs);
      };
    },
  ),
  expect_column_unique_value_count_to_be_between: aggregate(
    numberBounds,
    distinct((kwargs, summary) => observedBetween(summary.distinct, kwargs)),
  ),
  expect_column_distinct_values_to_be_in_set: aggregate(
    filledSet,
    distinct(
      (_kwargs, { unexpected }) => ({
        success: unexpected.count === 0,
        result: { observed_value: null, ...unexpectedOf(unexpected) },
      }),
      { compare: true },
    ),
  ),
  expect_column_distinct_values_to_contain_set: aggregate(
    valueSet,
    distinct(
      (_kwargs, { missing }) => ({
        success: missing.length === 0,
        result: { observed_value: null, ...missingOf(missing) },
      }),
      { compare: true },
    ),
  ),
  expect_column_distinct_values_to_equal_set: aggregate(
    valueSet,
    distinct(
      (_kwargs, { unexpected, missing }) => ({
        success: unexpected.count === 0 && missing.length === 0,
        result: { observed_value: null, ...unexpectedOf(unexpected), ...missingOf(missing) },
      }),
      { compare: true },
    ),
  ),
  expect_column_most_common_value_to_be_in_set: aggregate(
    {
      ...valueSet,
      ties_okay: or(flag.nullable()),
    },
    distinct(
      (kwargs, { mostCommon }) => ({
        success: kwargs.ties_okay === true
          ? mostCommon.inSet > 0
          : mostCommon.ties === 1 && mostCommon.inSet === 1,
        result: { observed_value: mostCommon.values.map(shown) },
      }),
      { mostCommon: true },
    ),
  ),
};

/** A kind about one number (or a few) that a whole column gives. */
function aggregate(
  shape: z.core.$ZodLooseShape,
  judgeOf: (kwargs: Kwargs, context: Context) => Judge,
): Kind {
  return kind("batch", { ...column, ...shape }, (kwargs, context) => {
    const judge = judgeOf(kwargs, context);
    return { columns: [kwargs.column as string], evaluate: ({ states }) => judge(states) };
  });
}

function ordered(direction: 1 | -1): Kind {
  return kind(
    "batch",
    { ...column, ...mostly, strictly: or(flag.nullable()) },
    (kwargs, { plan, condition }) => {
      const name = kwargs.column as string;
      const read = plan.order(name, { condition, direction, strictly: kwargs.strictly === true });
      return {
        columns: [name],
        evaluate({ states }) {
          const state = read(states);
          if (state.mistyped > 0) throw mistyped(state.mistyped, [name]);
          return mapOutcome({ ...state, considered: state.nonnull }, kwargs.mostly);
        },
      };
    },
  );
}

/** Judges that no two rows have the same value, or values, in `columns`; `show` makes a result's value of it. */
export function uniqueEvaluator(
  columns: string[],
  { kwargs, read, show }: {
    kwargs: Kwargs;
    read: Read<DistinctState>;
    show: (value: unknown) => unknown;
  },
): Evaluator {
  return {
    columns,
    evaluate({ states }) {
      const state = read(states);
      if (columns.length > 1 && state.unhashable > 0) {
        throw new NotEvaluable(
          `${state.unhashable} rows have lists or dicts in ${columns.join(", ")}, ` +
            "which are not compared as values.",
        );
      }
      const { duplicatedRows, duplicates } = summarize(state, { duplicates: true });
      return mapOutcome({
        elements: state.elements,
        considered: state.considered,
        unexpected: duplicatedRows,
        values: duplicates.map(({ value }) => show(value)),
        positions: duplicates.map(({ position }) => position),
      }, kwargs.mostly);
    },
  };
}

function unexpectedOf({ count, values }: DistinctSummary["unexpected"]): Record<string, unknown> {
  return { unexpected_count: count, partial_unexpected_list: values.map(shown) };
}

function missingOf(missing: unknown[]): Record<string, unknown> {
  return {
    missing_count: missing.length,
    partial_missing_list: missing.slice(0, MAX_LISTED).map(shown),
  };
}

function observedBetween(observed: unknown, kwargs: Kwargs): Outcome {
  if (observed === null || Number.isNaN(observed)) {
    return { success: false, result: { observed_value: null } };
  }
  return { success: isBetween(observed, kwargs), result: { observed_value: shown(observed) } };
}

function extreme(which: "min" | "max"): (kwargs: Kwargs, context: Context) => Judge {
  return (kwargs, { plan, condition }) => {
    const column = kwargs.column as string;
    const read = plan.extremes(column, condition);
    return (states) => {
      const state = read(states);
      const others = mistypedOf(state);
      if (others > 0) throw mistyped(others, [column]);
      return observedBetween(restoreValue(state[which]), kwargs);
    };
  };
}

function moments(
  observe: (state: MomentsState) => number | bigint | null,
): (kwargs: Kwargs, context: Context) => Judge {
  return (kwargs, { plan, condition }) => {
    const column = kwargs.column as string;
    const read = plan.moments(column, condition);
    return (states) => {
      const state = read(states);
      if (state.mistyped > 0) throw mistyped(state.mistyped, [column]);
      return observedBetween(observe(state), kwargs);
    };
  };
}

function numbersOf(state: NumbersState, column: string): NumbersState {
  if (state.mistyped > 0) throw mistyped(state.mistyped, [column]);
  return state;
}

function median(state: NumbersState): number | null {
  const n = state.nonnull;
  if (n === 0) return null;
  const [low, high] = numbersAtRanks(state, [Math.floor((n - 1) / 2), Math.floor(n / 2)]);
  return low === high ? low! : (low! + high!) / 2;
}

function quantiles(kwargs: Kwargs, { plan, condition }: Context): Judge {
  const column = kwargs.column as string;
  const ranges = kwargs.quantile_ranges as {
    quantiles: number[];
    value_ranges: Range[];
  };
  const method = (kwargs.allow_relative_error || "nearest") as string;
  const read = plan.numbers(column, condition);
  return (states) => {
    const state = numbersOf(read(states), column);
    const values = ranges.quantiles.map((q) => quantile(state, q, method));
    const details = values.map((value, i) => isInRange(value, ranges.value_ranges[i]!));
    return {
      success: details.every((ok) => ok),
      result: {
        observed_value: { quantiles: ranges.quantiles, values: values.map(shown) },
        details: { success_details: details },
      },
    };
  };
}

function quantile(state: NumbersState, q: number, method: string): number | null {
  if (state.nonnull === 0) return null;
  const at = (state.nonnull - 1) * q;
  const low = Math.floor(at);
  const high = Math.ceil(at);
  const [a, b] = numbersAtRanks(state, [low, high]) as [number, number];
  switch (method) {
    case "lower":
      return a;
    case "higher":
      return b;
    case "midpoint":
      return a === b ? a : (a + b) / 2;
    case "linear":
      return interpolate(a, b, at - low);
    default: {
      // Halves go to the even rank.
      const half = at - low === 0.5;
      return half ? (low % 2 === 0 ? a : b) : at - low < 0.5 ? a : b;
    }
  }
}

/** From the nearer end, as numpy does, so that the last digit is the same. */
function interpolate(a: number, b: number, share: number): number {
  if (a === b) return a;
  return share >= 0.5 ? b - (b - a) * (1 - share) : a + (b - a) * share;
}

/** Inclusive, and with the tolerance of 1e-4 that Great Expectations has here. */
function isInRange(value: number | null, [low, high]: Range): boolean {
  if (value === null) return false;
  const isClose = (given: number | bigint): boolean => {
    const bound = Number(given);
    return value === bound || Math.abs(value - bound) <= 1e-8 + 1e-4 * Math.abs(bound);
  };
  return (low !== null && isClose(low)) || (high !== null && isClose(high)) ||
    ((low === null || value >= low) && (high === null || value <= high));
}

function distinct(
  judge: (kwargs: Kwargs, summary: DistinctSummary, state: DistinctState) => Outcome,
  options: SummaryOptions = {},
): (kwargs: Kwargs, context: Context) => Judge {
  return (kwargs, { plan, condition }) => {
    const read: Read<DistinctState> = plan.distinct(kwargs.column as string, condition);
    return (states) => {
      const state = read(states);
      if (state.unhashable > 0) {
        throw new NotEvaluable(
          `${state.unhashable} values of ${kwargs.column} are lists or dicts, ` +
            "which are not compared as values.",
        );
      }
      const set = kwargs.value_set as unknown[] | undefined;
      if (set?.some((one) => typeof one === "object" && one !== null)) {
        throw new NotEvaluable("value_set has lists or dicts, which are not compared as values.");
      }
      return judge(kwargs, summarize(state, { ...options, ...(set ? { set } : {}) }), state);
    };
  };
}
