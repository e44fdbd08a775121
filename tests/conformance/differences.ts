import type { Given } from "./expectations.ts";
import type { Case } from "./reference.ts";
import { at } from "./data.ts";

/** A difference that docs/expectations.md explains. */
export interface Difference {
  reason: string;
  /** Whether the answers must differ; else they may. */
  always: boolean;
}

/** Where the answers differ on purpose; undefined where they must not. */
export function documentedDifference(given: Given, one: Case): Difference | undefined {
  if (one.differs !== undefined) return { reason: one.differs, always: true };
  if ([given.kwargs.min_value, given.kwargs.max_value].some((b) => typeof b === "bigint")) {
    return { reason: "bounds beyond 2^53 are rounded to floats there", always: false };
  }
  const values = typeof given.kwargs.column === "string"
    ? one.records.map((record) => at(record, given.kwargs.column as string) ?? null)
    : [];
  const present = values.filter((value) => value !== null);
  const all = (type: string): boolean =>
    present.length > 0 && present.every((value) => typeof value === type);
  const numbers = present.every((value) => typeof value === "number" || typeof value === "bigint");

  switch (given.type) {
    case "expect_column_values_to_be_between": {
      if (one.dates !== undefined) return undefined;
      const bounds = [given.kwargs.min_value, given.kwargs.max_value].filter((b) =>
        typeof b === "string"
      );
      if (bounds.some((bound) => !/^\d{4}-/.test(bound as string))) {
        return { reason: "text bounds are refused there", always: true };
      }
      if (bounds.length > 0 && all("string")) {
        return { reason: "dates are not compared with text there", always: true };
      }
      return undefined;
    }
    case "expect_column_value_lengths_to_be_between":
    case "expect_column_value_lengths_to_equal":
    case "expect_column_values_to_match_regex":
    case "expect_column_values_to_not_match_regex":
    case "expect_column_values_to_match_regex_list":
    case "expect_column_values_to_not_match_regex_list": {
      const floats = present.some((value) =>
        typeof value === "number" && !Number.isSafeInteger(value)
      );
      return numbers && (floats || present.length < values.length)
        ? { reason: "integers beside nulls or fractions are 5.0 there", always: false }
        : undefined;
    }
    case "expect_column_values_to_be_in_type_list":
      return all("string") && (given.kwargs.type_list as string[]).includes("str")
        ? { reason: "str is no type of a str column there", always: true }
        : undefined;
    case "expect_column_values_to_be_increasing":
    case "expect_column_values_to_be_decreasing":
      if (given.kwargs.column === "unsigned") {
        return { reason: "unsigned differences wrap around there", always: true };
      }
      return all("boolean")
        ? { reason: "booleans are not ordered there", always: false }
        : undefined;
    case "expect_column_quantile_values_to_be_between":
      return all("boolean") && !("allow_relative_error" in given.kwargs)
        ? { reason: "quantiles of booleans are booleans there", always: true }
        : all("boolean")
        ? { reason: "booleans are not interpolated there", always: false }
        : undefined;
    case "expect_column_pair_values_a_to_be_greater_than_b":
      return given.kwargs.column_B === "nothing" &&
          given.kwargs.ignore_row_if !== "either_value_is_missing"
        ? { reason: "a column of nulls alone cannot be compared there", always: true }
        : undefined;
    case "expect_column_distinct_values_to_be_in_set":
    case "expect_column_distinct_values_to_equal_set":
      return new Set(present.map((value) => typeof value)).size > 1
        ? { reason: "values of several types have no order there", always: false }
        : undefined;
    default:
      return undefined;
  }
}
