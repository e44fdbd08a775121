import type { Given } from "./expectations.ts";
import type { Case } from "./reference.ts";

/** Random numbers from 0 to 1 that a seed repeats (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const BEYOND = 2n ** 53n;

/** Tables and suites drawn at random: row conditions of several kinds in one suite, integers beyond 2^53. */
export function randomCases(
  random: () => number,
  options: { tables: number; each: number },
): Case[] {
  const int = (from: number, to: number): number => from + Math.floor(random() * (to - from + 1));
  const pick = <T>(list: readonly T[]): T => list[int(0, list.length - 1)]!;
  const some = <T>(list: readonly T[]): T[] => list.filter(() => random() < 0.5);
  const big = (): bigint => BEYOND + BigInt(int(-2, 6));
  const words = ["a", "b", "kiwi", "Äpfel", "x1", "", "日本"];
  const rows = (count: number): Record<string, unknown>[] =>
    Array.from({ length: count }, (_, i) => ({
      g: i % 3,
      n: int(-5, 20),
      ms: 1_700_000_000_000 + int(0, 59_999),
      big: big(),
      f: random() < 0.2 ? null : int(-800, 800) / 8 + 0.125,
      k: pick(words),
      t: random() < 0.2 ? null : pick(words),
      b: random() < 0.5,
    }));
  const condition = (): Record<string, unknown> => {
    const comparison = (name: string, operator: string, parameter: unknown) => ({
      type: "comparison",
      column: { name },
      operator,
      parameter,
    });
    switch (int(0, 8)) {
      case 0:
        return { row_condition: `g == ${int(0, 2)}`, condition_parser: "pandas" };
      case 1:
        return { row_condition: `big >= ${big()}`, condition_parser: "pandas" };
      case 2:
        return { row_condition: `${int(-5, 0)} < n <= ${int(3, 12)}`, condition_parser: "pandas" };
      case 3:
        return {
          row_condition: pick(["True == b", "not (b == False) or g == 1"]),
          condition_parser: "pandas",
        };
      case 4:
        return { row_condition: comparison("big", pick(["==", "!=", "<", "<="]), big()) };
      case 5:
        return { row_condition: { type: "nullity", column: { name: "t" }, is_null: false } };
      case 6:
        return { row_condition: comparison("k", "IN", ["a", "kiwi", "x1"]) };
      default:
        return {};
    }
  };
  const bounds = (value: () => unknown): Record<string, unknown> => ({
    min_value: value(),
    ...(random() < 0.5 ? { strict_min: true } : {}),
  });
  const mostly = () => random() < 0.3 ? { mostly: int(1, 10) / 10 } : {};
  const draws: (() => Given)[] = [
    () => ({
      type: "expect_column_values_to_not_be_null",
      kwargs: { column: pick(["f", "t", "n"]), ...mostly() },
    }),
    () => ({
      type: "expect_column_values_to_be_null",
      kwargs: { column: pick(["f", "t"]), ...mostly() },
    }),
    () => ({
      type: "expect_column_values_to_be_unique",
      kwargs: { column: pick(["n", "k", "big", "ms", "t"]), ...mostly() },
    }),
    () => ({
      type: "expect_column_values_to_be_unique",
      kwargs: { column: pick(["n", "g", "big"]) },
    }),
    () => ({
      type: "expect_compound_columns_to_be_unique",
      kwargs: { column_list: pick([["n", "k"], ["g", "big"]]) },
    }),
    () => ({
      type: "expect_column_values_to_be_between",
      kwargs: { column: "big", ...bounds(big), ...mostly() },
    }),
    () => ({
      type: "expect_column_values_to_be_between",
      kwargs: { column: pick(["n", "f"]), ...bounds(() => int(-9, 9)), ...mostly() },
    }),
    () => ({
      type: "expect_column_values_to_be_in_set",
      kwargs: { column: "big", value_set: [big(), big()] },
    }),
    () => ({
      type: "expect_column_values_to_not_be_in_set",
      kwargs: { column: "k", value_set: some(words) },
    }),
    () => ({
      type: pick(["expect_column_max_to_be_between", "expect_column_min_to_be_between"]),
      kwargs: { column: "big", ...bounds(big) },
    }),
    () => ({
      type: "expect_column_sum_to_be_between",
      kwargs: { column: pick(["big", "n", "ms"]), min_value: 0 },
    }),
    () => ({
      type: pick(["expect_column_mean_to_be_between", "expect_column_median_to_be_between"]),
      kwargs: { column: pick(["n", "f"]), min_value: int(-3, 9) },
    }),
    () => ({
      type: "expect_column_stdev_to_be_between",
      kwargs: { column: pick(["n", "f"]), min_value: int(0, 9) },
    }),
    () => ({
      type: "expect_column_unique_value_count_to_be_between",
      kwargs: { column: pick(["n", "k", "big"]), min_value: int(0, 9) },
    }),
    () => ({
      type: "expect_column_distinct_values_to_equal_set",
      kwargs: { column: "k", value_set: words },
    }),
    () => ({
      type: "expect_column_distinct_values_to_be_in_set",
      kwargs: { column: "big", value_set: [big(), big(), big()] },
    }),
    () => ({
      type: "expect_column_most_common_value_to_be_in_set",
      kwargs: { column: "k", value_set: ["a", "b"], ties_okay: true },
    }),
    () => ({
      type: "expect_column_values_to_match_regex",
      kwargs: { column: "t", regex: pick(["(?a)^\\w+$", "i}+|^.$", "\\d"]), ...mostly() },
    }),
    () => ({
      type: "expect_column_value_lengths_to_be_between",
      kwargs: { column: "k", min_value: int(0, 4) },
    }),
    () => ({
      type: "expect_column_pair_values_a_to_be_greater_than_b",
      kwargs: { column_A: "n", column_B: "g", ...mostly() },
    }),
    () => ({
      type: "expect_multicolumn_sum_to_equal",
      kwargs: { column_list: ["n", "g"], sum_total: int(0, 9) },
    }),
    () => ({ type: "expect_table_row_count_to_be_between", kwargs: { min_value: int(0, 30) } }),
  ];
  return Array.from({ length: options.tables }, (_, i) => ({
    name: `random table ${i}`,
    engine: "pandas" as const,
    records: rows(int(5, 60)),
    paths: [],
    columns: [],
    expectations: Array.from({ length: options.each }, () => {
      const { type, kwargs } = pick(draws)();
      return { type, kwargs: { ...kwargs, ...condition() } };
    }),
  }));
}
