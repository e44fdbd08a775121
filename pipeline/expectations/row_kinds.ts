import { z } from "zod";
import {
  EXPECTED,
  isIgnored,
  MISTYPED,
  type SeveralRule,
  SKIPPED,
  UNEXPECTED,
  type Verdict,
} from "./accumulators.ts";
import { uniqueEvaluator } from "./column_kinds.ts";
import {
  columns,
  flag,
  type Kind,
  kind,
  type Kinds,
  type Kwargs,
  MAX_SET,
  must,
  number,
  or,
  pair,
  scalar,
} from "./kind.ts";
import { asNumber, compareValues, equalityKey, equalValues, shown } from "./python.ts";
import { mapCounts, mapOutcome, mistyped } from "./result.ts";

type Columns = readonly (readonly unknown[])[];
type PairTest = (a: unknown, b: unknown) => Verdict;
type ListTest = (columns: Columns, row: number) => Verdict;

/** Expectations about several columns of a row. */
export const ROW_KINDS: Kinds = {
  expect_column_pair_values_to_be_equal: ofPair(
    {},
    () => (a, b) => a !== null && b !== null && equalValues(a, b) ? EXPECTED : UNEXPECTED,
  ),
  expect_column_pair_values_a_to_be_greater_than_b: ofPair(
    { or_equal: or(flag.nullable()) },
    (kwargs) => {
      const orEqual = kwargs.or_equal === true;
      return (a, b) => {
        if (a === null || b === null) return UNEXPECTED;
        const order = compareValues(a, b);
        if (order === undefined) return MISTYPED;
        return order > 0 || (orEqual && order === 0) ? EXPECTED : UNEXPECTED;
      };
    },
  ),
  expect_column_pair_values_to_be_in_set: ofPair({
    value_pairs_set: must(z.array(z.tuple([scalar, scalar])).max(MAX_SET)),
  }, (kwargs) => {
    // Null stands for a missing value, on both sides.
    const pairs = new Map<unknown, Set<unknown>>();
    for (const [a, b] of kwargs.value_pairs_set as [unknown, unknown][]) {
      const key = equalityKey(a);
      pairs.set(key, (pairs.get(key) ?? new Set()).add(equalityKey(b)));
    }
    return (a, b) => {
      const x = equalityKey(a);
      const y = equalityKey(b);
      if (x === undefined || y === undefined) return MISTYPED;
      return pairs.get(x)?.has(y) === true ? EXPECTED : UNEXPECTED;
    };
  }),
  expect_compound_columns_to_be_unique: kind("batch", columns, (kwargs, { plan, condition }) => {
    const names = kwargs.column_list as string[];
    return uniqueEvaluator(names, {
      kwargs,
      read: plan.compound(names, { condition, kwargs }),
      show: (value) => Object.fromEntries(names.map((name, k) => [name, (value as unknown[])[k]])),
    });
  }),
  expect_select_column_values_to_be_unique_within_record: ofList({}, () => uniqueWithin),
  expect_multicolumn_sum_to_equal: ofList(
    { sum_total: must(number) },
    (kwargs) => (columns, row) => sumsTo(kwargs.sum_total as number | bigint, columns, row),
  ),
  expect_multicolumn_values_to_be_equal: ofList({}, () => (columns, row) => {
    const first = columns[0]![row];
    return columns.every((values) => equalValues(values[row], first)) ? EXPECTED : UNEXPECTED;
  }),
};

/** A kind that compares two columns of a row. */
function ofPair(shape: z.core.$ZodLooseShape, testOf: (kwargs: Kwargs) => PairTest): Kind {
  return rows({ ...pair, ...shape }, (kwargs) => {
    const test = testOf(kwargs);
    const ignore = kwargs.ignore_row_if ?? "both_values_are_missing";
    return {
      kind: "row",
      columns: [kwargs.column_A as string, kwargs.column_B as string],
      test(columns, row) {
        const a = columns[0]![row];
        const b = columns[1]![row];
        if (ignore === "both_values_are_missing" && a === null && b === null) return SKIPPED;
        if (ignore === "either_value_is_missing" && (a === null || b === null)) return SKIPPED;
        return test(a, b);
      },
      show: (columns, row) => [shown(columns[0]![row]), shown(columns[1]![row])],
    };
  });
}

/** A kind that looks at a list of columns of a row. */
function ofList(shape: z.core.$ZodLooseShape, testOf: (kwargs: Kwargs) => ListTest): Kind {
  return rows({ ...columns, ...shape }, (kwargs) => {
    const test = testOf(kwargs);
    const names = kwargs.column_list as string[];
    return {
      kind: "row",
      columns: names,
      test: (columns, row) => isIgnored(kwargs, columns, row) ? SKIPPED : test(columns, row),
      show: (columns, row) =>
        Object.fromEntries(names.map((name, k) => [name, shown(columns[k]![row])])),
    };
  });
}

function rows(shape: z.core.$ZodLooseShape, ruleOf: (kwargs: Kwargs) => SeveralRule): Kind {
  return kind("row", shape, (kwargs, { plan, condition }) => {
    const rule = ruleOf(kwargs);
    const read = plan.map(rule, condition);
    return {
      rule,
      columns: rule.columns,
      evaluate({ states }) {
        const state = read(states);
        if (state.mistyped > 0) throw mistyped(state.mistyped, rule.columns);
        return mapOutcome(mapCounts(state, { nullsCount: false }), kwargs.mostly);
      },
    };
  });
}

function sumsTo(total: number | bigint, columns: Columns, row: number): Verdict {
  let sum = 0;
  let whole = 0n;
  let missing = 0;
  let texts = 0;
  for (const values of columns) {
    const value = values[row];
    if (value === null) missing++;
    else if (typeof value === "string") texts++;
    else {
      const n = asNumber(value);
      if (n === undefined) return MISTYPED;
      if (typeof n === "bigint") whole += n;
      else sum += n;
    }
  }
  // Texts alone add up to a text, which is no number; text and number do not add up.
  if (texts > 0) return texts + missing === columns.length ? UNEXPECTED : MISTYPED;
  const exact = Number.isSafeInteger(sum) ? whole + BigInt(sum) : Number(whole) + sum;
  // deno-lint-ignore eqeqeq -- a bigint and a number of the same value
  return missing === 0 && exact == total ? EXPECTED : UNEXPECTED;
}

function uniqueWithin(columns: Columns, row: number): Verdict {
  const seen = new Set<unknown>();
  for (const values of columns) {
    const key = equalityKey(values[row]);
    if (key === undefined) return MISTYPED;
    seen.add(key);
  }
  return seen.size === columns.length ? EXPECTED : UNEXPECTED;
}
