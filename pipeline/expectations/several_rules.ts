import { asNumber, compareValues, equalityKey, equalValues, shown } from "./python.ts";
import {
  EXPECTED,
  MISTYPED,
  type SeveralRule,
  SKIPPED,
  UNEXPECTED,
  type Verdict,
} from "./row_rule.ts";

type Kwargs = Record<string, unknown>;
type Columns = readonly (readonly unknown[])[];

/** The rule of a pair or multi-column expectation, or undefined for other types. */
export function severalRule(type: string, kwargs: Kwargs): SeveralRule | undefined {
  return pairRule(type, kwargs) ?? listRule(type, kwargs);
}

function pairRule(type: string, kwargs: Kwargs): SeveralRule | undefined {
  const test = pairTest(type, kwargs);
  if (test === undefined) return undefined;
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
}

function pairTest(
  type: string,
  kwargs: Kwargs,
): ((a: unknown, b: unknown) => Verdict) | undefined {
  switch (type) {
    case "expect_column_pair_values_to_be_equal":
      return (a, b) => a !== null && b !== null && equalValues(a, b) ? EXPECTED : UNEXPECTED;
    case "expect_column_pair_values_a_to_be_greater_than_b": {
      const orEqual = kwargs.or_equal === true;
      return (a, b) => {
        if (a === null || b === null) return UNEXPECTED;
        const order = compareValues(a, b);
        if (order === undefined) return MISTYPED;
        return order > 0 || (orEqual && order === 0) ? EXPECTED : UNEXPECTED;
      };
    }
    case "expect_column_pair_values_to_be_in_set": {
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
    }
    default:
      return undefined;
  }
}

function listRule(type: string, kwargs: Kwargs): SeveralRule | undefined {
  const test = listTest(type, kwargs);
  if (test === undefined) return undefined;
  const names = kwargs.column_list as string[];
  return {
    kind: "row",
    columns: names,
    test: (columns, row) => isIgnored(kwargs, columns, row) ? SKIPPED : test(columns, row),
    show: (columns, row) => showRow(names, columns, row),
  };
}

/** ignore_row_if of the expectations about a list of columns. */
export function isIgnored(kwargs: Kwargs, columns: Columns, row: number): boolean {
  const ignore = kwargs.ignore_row_if ?? "all_values_are_missing";
  if (ignore === "all_values_are_missing") return columns.every((values) => values[row] === null);
  return ignore === "any_value_is_missing" && columns.some((values) => values[row] === null);
}

/** A row as results show it: the values by column. */
function showRow(names: readonly string[], columns: Columns, row: number): unknown {
  return Object.fromEntries(names.map((name, k) => [name, shown(columns[k]![row])]));
}

function listTest(
  type: string,
  kwargs: Kwargs,
): ((columns: Columns, row: number) => Verdict) | undefined {
  switch (type) {
    case "expect_multicolumn_sum_to_equal":
      return (columns, row) => sumsTo(kwargs.sum_total as number | bigint, columns, row);
    case "expect_select_column_values_to_be_unique_within_record":
      return uniqueWithin;
    case "expect_multicolumn_values_to_be_equal":
      return (columns, row) => {
        const first = columns[0]![row];
        return columns.every((values) => equalValues(values[row], first)) ? EXPECTED : UNEXPECTED;
      };
    default:
      return undefined;
  }
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
