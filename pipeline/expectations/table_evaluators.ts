import { isEventColumn, splitPath } from "./batch.ts";
import type { Condition } from "./condition.ts";
import type { Evaluator } from "./evaluators.ts";
import type { Plan } from "./plan.ts";
import type { Outcome } from "./result.ts";
import { isBetween } from "./between.ts";

type Kwargs = Record<string, unknown>;

/** Expectations about the rows and columns of the batch as a table. */
export function tableEvaluator(
  type: string,
  kwargs: Kwargs,
  { plan, condition }: { plan: Plan; condition: Condition | undefined },
): Evaluator | undefined {
  switch (type) {
    case "expect_table_row_count_to_be_between":
    case "expect_table_row_count_to_equal": {
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
    case "expect_column_to_exist":
      return columnToExist(kwargs, plan);
    default:
      return columnsEvaluator(type, kwargs, plan);
  }
}

function columnToExist(kwargs: Kwargs, plan: Plan): Evaluator {
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

function columnsEvaluator(type: string, kwargs: Kwargs, plan: Plan): Evaluator | undefined {
  const judge = COLUMNS[type];
  if (judge === undefined) return undefined;
  const read = plan.tableColumns();
  return { columns: [], evaluate: ({ states }) => judge(read(states).columns, kwargs) };
}

const COLUMNS: Record<string, (columns: string[], kwargs: Kwargs) => Outcome> = {
  expect_table_column_count_to_be_between: (columns, kwargs) => ({
    success: isBetween(columns.length, kwargs),
    result: { observed_value: columns.length },
  }),
  expect_table_column_count_to_equal: (columns, { value }) => ({
    success: columns.length === value,
    result: { observed_value: columns.length },
  }),
  expect_table_columns_to_match_ordered_list: (columns, { column_list }) => {
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
  expect_table_columns_to_match_set: (columns, { column_set, exact_match }) => {
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
  },
};
