import { z } from "zod";
import { isEventColumn, splitPath } from "./batch.ts";
import {
  columnName,
  type Context,
  type Evaluator,
  flag,
  isBetween,
  type Kind,
  kind,
  type Kinds,
  type Kwargs,
  must,
  number,
  numberBounds,
  or,
  rowCondition,
} from "./kind.ts";
import type { Outcome } from "./result.ts";

const count = must(number.pipe(z.number().int().min(0)));
const names = or(z.array(z.string()).max(10_000).nullable());

/** Expectations about the rows and columns of the batch as a table. */
export const TABLE_KINDS: Kinds = {
  expect_table_row_count_to_be_between: kind(
    "batch",
    { ...numberBounds, ...rowCondition },
    rowCount,
  ),
  expect_table_row_count_to_equal: kind("batch", { value: count, ...rowCondition }, rowCount),
  expect_table_column_count_to_be_between: columns({
    min_value: or(number.nullable()),
    max_value: or(number.nullable()),
  }, (columns, kwargs) => ({
    success: isBetween(columns.length, kwargs),
    result: { observed_value: columns.length },
  })),
  expect_table_column_count_to_equal: columns({ value: count }, (columns, { value }) => ({
    success: columns.length === value,
    result: { observed_value: columns.length },
  })),
  expect_table_columns_to_match_ordered_list: columns(
    { column_list: names },
    (columns, { column_list }) => {
      const expected = (column_list ?? null) as string[] | null;
      const mismatched = expected === null
        ? []
        : Array.from({ length: Math.max(expected.length, columns.length) }, (_, i) => ({
          "Expected Column Position": i,
          Expected: expected[i] ?? null,
          Found: columns[i] ?? null,
        })).filter((pair) => pair.Expected !== pair.Found);
      return {
        success: mismatched.length === 0,
        result: {
          observed_value: columns,
          ...(mismatched.length > 0 ? { details: { mismatched } } : {}),
        },
      };
    },
  ),
  expect_table_columns_to_match_set: columns({
    column_set: names,
    exact_match: or(flag.nullable()),
  }, (columns, { column_set, exact_match }) => {
    const expected = new Set((column_set ?? []) as string[]);
    const unexpected = columns.filter((column) => !expected.has(column)).sort();
    const missing = [...expected].filter((column) => !columns.includes(column)).sort();
    const success = missing.length === 0 &&
      (unexpected.length === 0 || exact_match === false || exact_match === null);
    const mismatched = {
      ...(unexpected.length > 0 ? { unexpected } : {}),
      ...(missing.length > 0 ? { missing } : {}),
    };
    return {
      success,
      result: {
        observed_value: [...columns].sort(),
        ...(Object.keys(mismatched).length > 0 ? { details: { mismatched } } : {}),
      },
    };
  }),
  expect_column_to_exist: kind("batch", {
    column: must(columnName),
    column_index: or(z.number().int().nullable()),
  }, columnToExist),
};

function rowCount(kwargs: Kwargs, { plan, condition }: Context): Evaluator {
  const read = plan.count(undefined, condition);
  return {
    columns: [],
    evaluate({ states }) {
      const { rows } = read(states);
      const success = "value" in kwargs ? rows === kwargs.value : isBetween(rows, kwargs);
      return { success, result: { observed_value: rows } };
    },
  };
}

/** A kind that judges the names of the table's columns. */
function columns(
  kwargs: z.core.$ZodLooseShape,
  judge: (columns: string[], kwargs: Kwargs) => Outcome,
): Kind {
  return kind("batch", kwargs, (given, { plan }) => {
    const read = plan.tableColumns();
    return { columns: [], evaluate: ({ states }) => judge(read(states).columns, given) };
  });
}

function columnToExist(kwargs: Kwargs, { plan }: Context): Evaluator {
  const column = kwargs.column as string;
  const index = kwargs.column_index as number | null | undefined;
  const read = plan.tableColumns();
  const nested = splitPath(column).length > 1;
  // A nested field is looked for like any column: an accumulator must ask for it.
  const asked = nested ? plan.count(column, undefined) : undefined;
  return {
    columns: [],
    evaluate({ states, has }) {
      const { columns } = read(states);
      if (index) return { success: columns.at(index) === column, result: {} };
      const success = columns.includes(column) || isEventColumn(column) ||
        (asked !== undefined && has(column));
      return { success, result: {} };
    },
  };
}
