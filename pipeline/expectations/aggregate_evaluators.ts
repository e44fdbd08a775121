import { isBetween } from "./between.ts";
import type { Condition } from "./condition.ts";
import type { DistinctState } from "./distinct.ts";
import {
  type DistinctSummary,
  MAX_LISTED,
  summarize,
  type SummaryOptions,
} from "./distinct_summary.ts";
import type { Evaluator } from "./evaluators.ts";
import { deviationOf, meanOf, type MomentsState, totalOf } from "./moments.ts";
import { numbersAtRanks, type NumbersState } from "./numbers.ts";
import type { State } from "./accumulators.ts";
import type { Plan, Read } from "./plan.ts";
import { shown } from "./python.ts";
import { mistyped, NotEvaluable, type Outcome } from "./result.ts";
import { restoreValue } from "./spill.ts";

type Kwargs = Record<string, unknown>;
interface Context {
  plan: Plan;
  condition: Condition | undefined;
}

/** Expectations about one number (or a few) that a whole column gives. */
export function aggregateEvaluator(
  type: string,
  kwargs: Kwargs,
  context: Context,
): Evaluator | undefined {
  const judge = AGGREGATES[type]?.(kwargs, context);
  if (judge === undefined) return undefined;
  return { columns: [kwargs.column as string], evaluate: ({ states }) => judge(states) };
}

type Range = [number | bigint | null, number | bigint | null];
type Judge = (states: readonly State[]) => Outcome;

const AGGREGATES: Record<string, (kwargs: Kwargs, context: Context) => Judge> = {
  expect_column_max_to_be_between: extreme("max"),
  expect_column_min_to_be_between: extreme("min"),
  expect_column_mean_to_be_between: moments(meanOf),
  expect_column_sum_to_be_between: moments(totalOf),
  expect_column_stdev_to_be_between: moments(deviationOf),
  expect_column_median_to_be_between: (kwargs, { plan, condition }) => {
    const column = kwargs.column as string;
    const read = plan.numbers(column, condition);
    return (states) => observedBetween(median(numbersOf(read(states), column)), kwargs);
  },
  expect_column_quantile_values_to_be_between: quantiles,
  expect_column_proportion_of_non_null_values_to_be_between: (kwargs, { plan, condition }) => {
    const read = plan.count(kwargs.column as string, condition);
    return (states) => {
      const { rows, nonnull } = read(states);
      return observedBetween(rows === 0 ? 0 : nonnull / rows, kwargs);
    };
  },
  expect_column_unique_value_count_to_be_between: distinct((kwargs, summary) =>
    observedBetween(summary.distinct, kwargs)
  ),
  expect_column_proportion_of_unique_values_to_be_between: distinct((kwargs, summary, state) =>
    observedBetween(state.considered === 0 ? 0 : summary.distinct / state.considered, kwargs)
  ),
  expect_column_distinct_values_to_be_in_set: distinct(
    (_kwargs, { unexpected }) => ({
      success: unexpected.count === 0,
      result: { observed_value: null, ...unexpectedOf(unexpected) },
    }),
    { compare: true },
  ),
  expect_column_distinct_values_to_contain_set: distinct(
    (_kwargs, { missing }) => ({
      success: missing.length === 0,
      result: { observed_value: null, ...missingOf(missing) },
    }),
    { compare: true },
  ),
  expect_column_distinct_values_to_equal_set: distinct(
    (_kwargs, { unexpected, missing }) => ({
      success: unexpected.count === 0 && missing.length === 0,
      result: { observed_value: null, ...unexpectedOf(unexpected), ...missingOf(missing) },
    }),
    { compare: true },
  ),
  expect_column_most_common_value_to_be_in_set: distinct(
    (kwargs, { mostCommon }) => ({
      success: kwargs.ties_okay === true
        ? mostCommon.inSet > 0
        : mostCommon.ties === 1 && mostCommon.inSet === 1,
      result: { observed_value: mostCommon.values.map(shown) },
    }),
    { mostCommon: true },
  ),
};

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
      if (state.mistyped > 0) throw mistyped(state.mistyped, [column]);
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
