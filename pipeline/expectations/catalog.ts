import { z } from "zod";
import { ALL_TYPE_NAMES } from "./python.ts";

/**
 * The expectations that are evaluated here, with their kwargs as Great
 * Expectations 1.x names them. Each kwarg may be a suite parameter,
 * `{"$PARAMETER": "name"}`, until parameters are resolved.
 */

/** A reference to a suite parameter. */
const parameterReference = z.strictObject({ $PARAMETER: z.string().min(1).max(200) });

const or = <T extends z.ZodType>(schema: T) => z.union([parameterReference, schema]).optional();
const must = <T extends z.ZodType>(schema: T) => z.union([parameterReference, schema]);

const columnName = z.string().min(1).max(512);
const NUMERIC = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
/** A number; as Great Expectations does, a boolean counts as 0 or 1, and a text that is a number as that. */
const number = z.union([
  z.number(),
  z.bigint(),
  z.boolean().transform((value) => +value),
  z.string().regex(NUMERIC, "is no number").transform((text) =>
    /^-?\d+$/.test(text) && !Number.isSafeInteger(Number(text)) ? BigInt(text) : Number(text)
  ),
]);
const bound = z.union([
  z.number(),
  z.bigint(),
  z.boolean().transform((value) => +value),
  z.string().min(1).max(1_000),
]).nullable();
const scalar = z.union([z.string(), z.number(), z.bigint(), z.boolean(), z.null()]);
const share = number.pipe(z.number().min(0).max(1));
/** true, or what Python's libraries take for it: "true", "yes", 1. */
const flag = z.union([
  z.boolean(),
  z.number().refine((value) => value === 0 || value === 1, "is not true or false")
    .transform((value) => value === 1),
  z.string().regex(/^(?:true|false|t|f|yes|no|y|n|on|off|1|0)$/i, "is not true or false")
    .transform((text) => /^(?:t|y|on|1)/i.test(text)),
]);
/** Lists and objects are equal to values of the same content. */
const member = z.union([scalar, z.array(z.unknown()), z.record(z.string(), z.unknown())]);
const MAX_SET = 100_000;
const typeName = z.enum(ALL_TYPE_NAMES);

const rowCondition = {
  row_condition: z.unknown().optional(),
  condition_parser: z.enum([
    "pandas",
    "great_expectations",
    "great_expectations__experimental__",
  ]).nullable().optional(),
};
const mostly = { mostly: or(share) };
const column = { column: must(columnName), ...rowCondition };
const between = {
  min_value: or(bound),
  max_value: or(bound),
  strict_min: or(flag),
  strict_max: or(flag),
};
const numbersBetween = {
  ...between,
  min_value: or(number.nullable()),
  max_value: or(number.nullable()),
};
const valueSet = { value_set: must(z.array(member).max(MAX_SET)) };
const filledSet = { value_set: must(z.array(member).min(1).max(MAX_SET)) };
const pattern = z.string().max(2_000);
const escape = { escape: or(z.string().length(1).nullable()) };
const matchOn = { match_on: or(z.enum(["any", "all"])) };
const pair = {
  column_A: must(columnName),
  column_B: must(columnName),
  ignore_row_if: or(z.enum(["both_values_are_missing", "either_value_is_missing", "neither"])),
  ...rowCondition,
  ...mostly,
};
const columns = {
  column_list: must(z.array(columnName).min(2, "must have at least two columns").max(50)),
  ignore_row_if: or(z.enum(["all_values_are_missing", "any_value_is_missing", "never"])),
  ...rowCondition,
  ...mostly,
};

/**
 * row: the verdict on a row depends on that row alone; batch: it depends on
 * other rows, or there is none for a row.
 */
export type Scope = "row" | "batch";

export interface CatalogEntry {
  scope: Scope;
  kwargs: z.ZodObject;
}

const entry = (scope: Scope, kwargs: z.core.$ZodLooseShape): CatalogEntry => ({
  scope,
  kwargs: z.strictObject(kwargs),
});

const columnMap = (kwargs: z.core.$ZodLooseShape): CatalogEntry =>
  entry("row", { ...column, ...mostly, ...kwargs });
const aggregate = (kwargs: z.core.$ZodLooseShape): CatalogEntry =>
  entry("batch", { ...column, ...kwargs });

export const CATALOG: Readonly<Record<string, CatalogEntry>> = {
  // of the table
  expect_table_row_count_to_be_between: entry("batch", { ...numbersBetween, ...rowCondition }),
  expect_table_row_count_to_equal: entry("batch", {
    value: must(number.pipe(z.number().int().min(0))),
    ...rowCondition,
  }),
  expect_table_column_count_to_be_between: entry("batch", {
    min_value: or(number.nullable()),
    max_value: or(number.nullable()),
  }),
  expect_table_column_count_to_equal: entry("batch", {
    value: must(number.pipe(z.number().int().min(0))),
  }),
  expect_table_columns_to_match_ordered_list: entry("batch", {
    column_list: or(z.array(z.string()).max(10_000).nullable()),
  }),
  expect_table_columns_to_match_set: entry("batch", {
    column_set: or(z.array(z.string()).max(10_000).nullable()),
    exact_match: or(flag.nullable()),
  }),
  expect_column_to_exist: entry("batch", {
    column: must(columnName),
    column_index: or(z.number().int().nullable()),
  }),

  // of each value of a column
  expect_column_values_to_not_be_null: columnMap({}),
  expect_column_values_to_be_null: columnMap({}),
  expect_column_values_to_be_between: columnMap(between),
  expect_column_values_to_be_in_set: columnMap(valueSet),
  expect_column_values_to_not_be_in_set: columnMap(valueSet),
  expect_column_values_to_be_of_type: columnMap({ type_: must(typeName) }),
  expect_column_values_to_be_in_type_list: columnMap({
    type_list: or(z.array(typeName).min(1).max(100).nullable()),
  }),
  expect_column_value_lengths_to_be_between: columnMap(numbersBetween),
  expect_column_value_lengths_to_equal: columnMap({ value: must(number) }),
  expect_column_values_to_match_regex: columnMap({ regex: or(pattern) }),
  expect_column_values_to_not_match_regex: columnMap({ regex: must(pattern) }),
  expect_column_values_to_match_regex_list: columnMap({
    regex_list: must(z.array(pattern).min(1).max(100)),
    ...matchOn,
  }),
  expect_column_values_to_not_match_regex_list: columnMap({
    regex_list: must(z.array(pattern).min(1).max(100)),
  }),
  expect_column_values_to_match_like_pattern: columnMap({ like_pattern: must(pattern), ...escape }),
  expect_column_values_to_not_match_like_pattern: columnMap({
    like_pattern: must(pattern),
    ...escape,
  }),
  expect_column_values_to_match_like_pattern_list: columnMap({
    like_pattern_list: must(z.array(pattern).min(1).max(100)),
    ...matchOn,
    ...escape,
  }),
  expect_column_values_to_not_match_like_pattern_list: columnMap({
    like_pattern_list: must(z.array(pattern).min(1).max(100)),
    ...escape,
  }),
  expect_column_values_to_match_strftime_format: columnMap({
    strftime_format: must(z.string().min(1).max(200)),
  }),
  expect_column_values_to_be_json_parseable: columnMap({}),
  expect_column_values_to_match_json_schema: columnMap({
    json_schema: must(z.record(z.string(), z.unknown())),
  }),

  // of a column's values together
  expect_column_values_to_be_unique: entry("batch", { ...column, ...mostly }),
  expect_column_values_to_be_increasing: entry("batch", {
    ...column,
    ...mostly,
    strictly: or(flag.nullable()),
  }),
  expect_column_values_to_be_decreasing: entry("batch", {
    ...column,
    ...mostly,
    strictly: or(flag.nullable()),
  }),
  expect_column_max_to_be_between: aggregate(between),
  expect_column_min_to_be_between: aggregate(between),
  expect_column_mean_to_be_between: aggregate(numbersBetween),
  expect_column_median_to_be_between: aggregate(numbersBetween),
  expect_column_stdev_to_be_between: aggregate(numbersBetween),
  expect_column_sum_to_be_between: aggregate(numbersBetween),
  expect_column_quantile_values_to_be_between: aggregate({
    quantile_ranges: must(z.strictObject({
      quantiles: z.array(z.number().min(0).max(1)).min(1).max(100),
      value_ranges: z.array(z.tuple([number.nullable(), number.nullable()])).max(100),
    })),
    allow_relative_error: or(
      z.union([z.literal(false), z.enum(["linear", "lower", "higher", "midpoint", "nearest"])]),
    ),
  }),
  expect_column_proportion_of_unique_values_to_be_between: aggregate(numbersBetween),
  expect_column_proportion_of_non_null_values_to_be_between: aggregate(numbersBetween),
  expect_column_unique_value_count_to_be_between: aggregate(numbersBetween),
  expect_column_distinct_values_to_be_in_set: aggregate(filledSet),
  expect_column_distinct_values_to_contain_set: aggregate(valueSet),
  expect_column_distinct_values_to_equal_set: aggregate(valueSet),
  expect_column_most_common_value_to_be_in_set: aggregate({
    ...valueSet,
    ties_okay: or(flag.nullable()),
  }),

  // of two columns
  expect_column_pair_values_to_be_equal: entry("row", pair),
  expect_column_pair_values_a_to_be_greater_than_b: entry("row", {
    ...pair,
    or_equal: or(flag.nullable()),
  }),
  expect_column_pair_values_to_be_in_set: entry("row", {
    ...pair,
    value_pairs_set: must(z.array(z.tuple([scalar, scalar])).max(MAX_SET)),
  }),

  // of several columns
  expect_compound_columns_to_be_unique: entry("batch", columns),
  expect_select_column_values_to_be_unique_within_record: entry("row", columns),
  expect_multicolumn_sum_to_equal: entry("row", { ...columns, sum_total: must(number) }),
  expect_multicolumn_values_to_be_equal: entry("row", columns),
};

/** Known to Great Expectations but not evaluated here, with the reason. */
export const UNSUPPORTED: Readonly<Record<string, string>> = {
  expect_column_kl_divergence_to_be_less_than:
    "it compares distributions over partitions of its own",
  expect_column_value_z_scores_to_be_less_than:
    "it needs a second pass over the batch once mean and deviation are known",
  expect_column_values_to_not_be_outliers:
    "it needs a second pass over the batch once its quartiles are known",
  expect_column_values_to_be_dateutil_parseable:
    "what dateutil accepts is defined by its code alone; use expect_column_values_to_match_strftime_format or a regex",
  expect_column_type_to_be:
    "it names storage types of a data frame; use expect_column_values_to_be_of_type",
  expect_multicolumn_values_to_be_unique:
    "Great Expectations itself cannot evaluate it; use expect_select_column_values_to_be_unique_within_record",
  expect_table_row_count_to_equal_other_table: "it needs another table",
  expect_query_results_to_match_comparison: "it needs a query",
  unexpected_rows_expectation: "it needs a query",
  expect_column_bootstrapped_ks_test_p_value_to_be_greater_than: "it draws random samples",
  expect_column_chisquare_test_p_value_to_be_greater_than: "it needs statistical distributions",
  expect_column_parameterized_distribution_ks_test_p_value_to_be_greater_than:
    "it needs statistical distributions",
  expect_column_pair_cramers_phi_value_to_be_less_than: "it needs a contingency table",
};
