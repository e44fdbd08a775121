export interface Given {
  type: string;
  kwargs: Record<string, unknown>;
}

const of = (type: string, kwargs: Record<string, unknown>): Given => ({ type, kwargs });

/** Expectations about one column, in many variations. */
export function columnExpectations(column: string): Given[] {
  const variations: [string, Record<string, unknown>[]][] = [
    ["expect_column_to_exist", [{}, { column_index: 1 }, { column_index: 500 }]],
    ["expect_column_values_to_not_be_null", [{}, { mostly: 0.5 }]],
    ["expect_column_values_to_be_null", [{}, { mostly: 0.1 }]],
    ["expect_column_values_to_be_between", [
      { min_value: 0 },
      { max_value: 5 },
      { min_value: 1, max_value: 5, strict_min: true },
      { min_value: 1, max_value: 5, strict_max: true, mostly: 0.4 },
      { min_value: "2023-01-01", max_value: "2024-12-31" },
      { min_value: "b" },
      { max_value: "\u{1F600}", strict_max: true },
    ]],
    ["expect_column_values_to_be_in_set", [
      { value_set: [1, 2, 3, 5] },
      { value_set: ["apple", "pear", "a", "same"], mostly: 0.3 },
      { value_set: [true, "a", 2.5] },
      { value_set: [] },
    ]],
    ["expect_column_values_to_not_be_in_set", [{ value_set: [1, "a", 2.25, "\u{1F600}"] }]],
    ["expect_column_values_to_be_unique", [{}, { mostly: 0.5 }]],
    ["expect_column_values_to_be_of_type", [
      { type_: "int" },
      { type_: "int64" },
      { type_: "float" },
      { type_: "float64" },
      { type_: "str" },
      { type_: "bool" },
      { type_: "object" },
      { type_: "list" },
      { type_: "dict", mostly: 0.5 },
    ]],
    ["expect_column_values_to_be_in_type_list", [
      { type_list: ["int", "str"] },
      { type_list: ["int64", "float64"], mostly: 0.2 },
      { type_list: ["bool", "object"] },
      { type_list: ["list", "dict"] },
    ]],
    ["expect_column_value_lengths_to_be_between", [
      { min_value: 1, max_value: 3 },
      { min_value: 2 },
      { max_value: 4, strict_max: true, mostly: 0.5 },
      { min_value: 1, strict_min: true },
    ]],
    ["expect_column_value_lengths_to_equal", [{ value: 1 }, { value: 4, mostly: 0.2 }]],
    ["expect_column_values_to_match_regex", [
      { regex: "^[a-z]+$" },
      { regex: "\\d" },
      { regex: "^\\w+$", mostly: 0.6 },
      { regex: "e$|1$" },
      { regex: "[^\\x00-\\x7f]" },
      { regex: "^.$" },
      { regex: "(?i)APPLE|\\bb" },
      { regex: "\\s" },
    ]],
    ["expect_column_values_to_not_match_regex", [{ regex: "a" }, { regex: "^$" }]],
    ["expect_column_values_to_match_regex_list", [
      { regex_list: ["^a", "\\d$"] },
      { regex_list: ["a", "e"], match_on: "all" },
    ]],
    ["expect_column_values_to_not_match_regex_list", [{ regex_list: ["^a", "\\d$"] }]],
    ["expect_column_values_to_match_strftime_format", [
      { strftime_format: "%Y-%m-%d" },
      { strftime_format: "%Y-%m-%dT%H:%M:%S" },
    ]],
    ["expect_column_values_to_be_json_parseable", [{}, { mostly: 0.5 }]],
    ["expect_column_values_to_match_json_schema", [
      { json_schema: { type: "object", properties: { a: { type: "integer" } } }, mostly: 0.1 },
    ]],
    ["expect_column_values_to_be_increasing", [{}, { strictly: true }]],
    ["expect_column_values_to_be_decreasing", [{ mostly: 0.3 }]],
    ["expect_column_max_to_be_between", [{ min_value: 0, max_value: 200 }, {}]],
    ["expect_column_min_to_be_between", [
      { min_value: -9, strict_min: true },
      {},
    ]],
    ["expect_column_mean_to_be_between", [{ min_value: 0, max_value: 10 }, {}]],
    ["expect_column_median_to_be_between", [{ min_value: 3, max_value: 5 }, {}]],
    ["expect_column_stdev_to_be_between", [{ min_value: 0.1 }, {}]],
    ["expect_column_sum_to_be_between", [{ min_value: 10, max_value: 1000 }]],
    ["expect_column_quantile_values_to_be_between", [
      {
        quantile_ranges: {
          quantiles: [0, 0.25, 0.5, 0.9, 1],
          value_ranges: [[null, 1], [0, 3], [2, 5], [null, null], [8, 8]],
        },
      },
      {
        quantile_ranges: { quantiles: [0.1, 0.5], value_ranges: [[-5, 0], [3, 4]] },
        allow_relative_error: "linear",
      },
      {
        quantile_ranges: { quantiles: [0.3, 0.5], value_ranges: [[-5, 0], [3, 4]] },
        allow_relative_error: "midpoint",
      },
    ]],
    ["expect_column_proportion_of_unique_values_to_be_between", [{ min_value: 0.5, max_value: 1 }]],
    ["expect_column_proportion_of_non_null_values_to_be_between", [{ min_value: 0.9 }]],
    ["expect_column_unique_value_count_to_be_between", [{ min_value: 2, max_value: 9 }]],
    ["expect_column_distinct_values_to_be_in_set", [
      { value_set: [1, 2, 3, 5, 8, "same", true, false] },
    ]],
    ["expect_column_distinct_values_to_contain_set", [{ value_set: [1, 5, "a"] }]],
    ["expect_column_distinct_values_to_equal_set", [
      { value_set: ["same"] },
      { value_set: [true, false] },
    ]],
    ["expect_column_most_common_value_to_be_in_set", [
      { value_set: [5, "same", true, "apple"] },
      { value_set: ["apple", "a", 1], ties_okay: true },
    ]],
  ];
  return variations.flatMap(([type, kwargs]) => kwargs.map((one) => of(type, { column, ...one })));
}

/** Expectations about two columns. */
export function pairExpectations(a: string, b: string): Given[] {
  const pair = { column_A: a, column_B: b };
  return ["both_values_are_missing", "either_value_is_missing", "neither"].flatMap((ignore) => {
    const kwargs = { ...pair, ignore_row_if: ignore };
    return [
      of("expect_column_pair_values_to_be_equal", kwargs),
      of("expect_column_pair_values_a_to_be_greater_than_b", kwargs),
      of("expect_column_pair_values_a_to_be_greater_than_b", {
        ...kwargs,
        or_equal: true,
        mostly: 0.5,
      }),
      of("expect_column_pair_values_to_be_in_set", {
        ...kwargs,
        value_pairs_set: [[3, 3], ["a", "apple"], [1, 3], [null, 4], [5, 5]],
      }),
    ];
  });
}

/** Expectations about several columns. */
export function listExpectations(columns: string[]): Given[] {
  return ["all_values_are_missing", "any_value_is_missing", "never"].flatMap((ignore) => {
    const kwargs = { column_list: columns, ignore_row_if: ignore };
    return [
      of("expect_compound_columns_to_be_unique", kwargs),
      of("expect_select_column_values_to_be_unique_within_record", kwargs),
      of("expect_multicolumn_values_to_be_equal", { ...kwargs, mostly: 0.2 }),
      of("expect_multicolumn_sum_to_equal", { ...kwargs, sum_total: 6 }),
    ];
  });
}

/** Expectations about the table whose columns are given. */
export function tableExpectations(columns: string[], rows: number): Given[] {
  return [
    of("expect_table_row_count_to_equal", { value: rows }),
    of("expect_table_row_count_to_be_between", { min_value: 1, max_value: 10 }),
    of("expect_table_row_count_to_be_between", { min_value: rows, strict_min: true }),
    of("expect_table_column_count_to_equal", { value: columns.length }),
    of("expect_table_column_count_to_be_between", { min_value: 1, max_value: 5 }),
    of("expect_table_columns_to_match_ordered_list", { column_list: columns }),
    of("expect_table_columns_to_match_ordered_list", {
      column_list: ["x", ...columns.slice(2), "y"],
    }),
    of("expect_table_columns_to_match_set", { column_set: [...columns].reverse() }),
    of("expect_table_columns_to_match_set", { column_set: columns.slice(1), exact_match: false }),
    of("expect_table_columns_to_match_set", { column_set: [...columns, "z"], exact_match: false }),
    of("expect_table_columns_to_match_set", { column_set: ["z", ...columns.slice(1)] }),
  ];
}

/** LIKE patterns, which only the SQL engines of Great Expectations have. */
export function likeExpectations(column: string): Given[] {
  return [
    of("expect_column_values_to_match_like_pattern", { column, like_pattern: "%a%" }),
    of("expect_column_values_to_match_like_pattern", { column, like_pattern: "_" }),
    of("expect_column_values_to_match_like_pattern", {
      column,
      like_pattern: "A%",
      mostly: 0.1,
    }),
    of("expect_column_values_to_not_match_like_pattern", { column, like_pattern: "%e" }),
    of("expect_column_values_to_match_like_pattern", {
      column,
      like_pattern: "a!_b",
      escape: "!",
    }),
    of("expect_column_values_to_match_like_pattern_list", {
      column,
      like_pattern_list: ["a%", "%i%"],
    }),
    of("expect_column_values_to_match_like_pattern_list", {
      column,
      like_pattern_list: ["%a%", "%p%"],
      match_on: "all",
    }),
    of("expect_column_values_to_not_match_like_pattern_list", {
      column,
      like_pattern_list: ["%a%", "%p%"],
    }),
  ];
}

/** Expectations on a part of the rows. */
export function conditionedExpectations(): Given[] {
  const pandas = (row_condition: string): Record<string, unknown> => ({
    row_condition,
    condition_parser: "pandas",
  });
  const comparison = (column: string, operator: string, parameter: unknown) => ({
    type: "comparison",
    column: { name: column },
    operator,
    parameter,
  });
  const conditions: Record<string, unknown>[] = [
    pandas("amount > 10"),
    pandas('country == "ES"'),
    pandas("country != 'ES' and amount <= 50"),
    pandas("not (amount > 10) or country in ['MX', 'AR']"),
    pandas("amount.isnull()"),
    pandas("amount.notnull() & ~(limit >= 40)"),
    pandas("country not in ('ES', 'MX')"),
    pandas("`part.name` == 'n1'"),
    pandas("10 < amount"),
    pandas("country > 'B'"),
    { row_condition: comparison("amount", ">=", 10) },
    { row_condition: comparison("country", "IN", ["ES", "AR"]) },
    { row_condition: comparison("limit", "!=", 33) },
    { row_condition: { type: "nullity", column: { name: "amount" }, is_null: true } },
    {
      row_condition: {
        type: "and",
        conditions: [
          comparison("amount", "<", 60),
          { type: "nullity", column: { name: "country" }, is_null: false },
        ],
      },
    },
    {
      row_condition: {
        type: "or",
        conditions: [comparison("amount", ">", 70), comparison("country", "==", "MX")],
      },
    },
    { row_condition: { type: "pass_through", pass_through_filter: "amount > limit - 0" } },
  ];
  return conditions.slice(0, -1).flatMap((condition) => [
    of("expect_column_values_to_be_between", {
      column: "limit",
      min_value: 0,
      max_value: 50,
      ...condition,
    }),
    of("expect_column_values_to_not_be_null", { column: "country", ...condition }),
    of("expect_column_values_to_be_unique", { column: "id", ...condition }),
    of("expect_column_mean_to_be_between", { column: "limit", min_value: 5, ...condition }),
    of("expect_column_unique_value_count_to_be_between", {
      column: "part.name",
      min_value: 2,
      ...condition,
    }),
    of("expect_table_row_count_to_be_between", { min_value: 5, ...condition }),
    of("expect_column_pair_values_a_to_be_greater_than_b", {
      column_A: "amount",
      column_B: "limit",
      ...condition,
    }),
    of("expect_compound_columns_to_be_unique", { column_list: ["id", "country"], ...condition }),
  ]);
}

/** Dates and times as text, which the reference compares as times. */
export function dateExpectations(): Given[] {
  return [
    of("expect_column_values_to_be_between", {
      column: "day",
      min_value: "2023-12-24",
      max_value: "2024-01-06",
      strict_max: true,
      mostly: 0.2,
    }),
    of("expect_column_values_to_be_between", { column: "day", max_value: "2024-01-15" }),
    of("expect_column_values_to_be_between", {
      column: "time",
      min_value: "2024-01-01T06:00:00",
      strict_min: true,
    }),
    of("expect_column_values_to_be_between", {
      column: "time",
      min_value: "2024-01-01T00:00:00",
      max_value: "2024-01-02T23:59:59",
    }),
    of("expect_column_values_to_be_unique", { column: "time" }),
    of("expect_column_unique_value_count_to_be_between", { column: "day", min_value: 10 }),
    of("expect_column_proportion_of_unique_values_to_be_between", {
      column: "day",
      max_value: 0.9,
    }),
  ];
}
