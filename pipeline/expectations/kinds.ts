import { COLUMN_KINDS } from "./column_kinds.ts";
import type { Kinds } from "./kind.ts";
import { ROW_KINDS } from "./row_kinds.ts";
import { TABLE_KINDS } from "./table_kinds.ts";
import { VALUE_KINDS } from "./value_kinds.ts";

/** The expectations that are evaluated here. */
export const KINDS: Kinds = { ...TABLE_KINDS, ...VALUE_KINDS, ...COLUMN_KINDS, ...ROW_KINDS };

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
