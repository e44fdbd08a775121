import type { State } from "./accumulators.ts";
import { isEventColumn } from "./batch.ts";
import { numericBound } from "./between.ts";
import type { Condition } from "./condition.ts";
import { aggregateEvaluator } from "./aggregate_evaluators.ts";
import { columnType, compareValues, shown, type TypeCounts, typeName } from "./python.ts";
import type { Plan, Read } from "./plan.ts";
import { mapCounts, mapOutcome, mistyped, NotEvaluable, type Outcome } from "./result.ts";
import type { SeveralRule, ValueRule } from "./row_rule.ts";
import { severalRule } from "./several_rules.ts";
import { summarize } from "./distinct_summary.ts";
import { tableEvaluator } from "./table_evaluators.ts";
import { valueRule } from "./value_rules.ts";

type Kwargs = Record<string, unknown>;

/** What the states of a whole batch say about an expectation. */
export interface Evidence {
  states: readonly State[];
  /** Rows of the batch, whatever the conditions. */
  rows: number;
  /** Whether any record has the field. */
  has(column: string): boolean;
  /** A field of the records that has the name in other letters, for one that no record has. */
  near(column: string): string | undefined;
}

/** Judges one expectation by the merged states. @throws NotEvaluable */
export type Evaluate = (evidence: Evidence) => Outcome;

export interface Evaluator {
  evaluate: Evaluate;
  /** Columns that must exist. */
  columns: string[];
  /** For row-wise expectations. */
  rule?: ValueRule | SeveralRule;
}

/** What an expectation needs to be judged; its accumulators are added to the plan. */
export function evaluatorOf(
  { type, kwargs }: { type: string; kwargs: Kwargs },
  { plan, condition }: { plan: Plan; condition: Condition | undefined },
): Evaluator {
  const context = { plan, condition };
  const evaluator = tableEvaluator(type, kwargs, context) ??
    mapEvaluator(type, kwargs, context) ??
    orderedEvaluator(type, kwargs, context) ??
    uniqueEvaluator(type, kwargs, context) ??
    aggregateEvaluator(type, kwargs, context);
  if (evaluator === undefined) throw new TypeError(`No evaluator for ${type}`);
  return evaluator;
}

interface Context {
  plan: Plan;
  condition: Condition | undefined;
}

const NULLS_COUNT = new Set([
  "expect_column_values_to_be_null",
  "expect_column_values_to_not_be_null",
]);

function mapEvaluator(type: string, kwargs: Kwargs, context: Context): Evaluator | undefined {
  const rule = valueRule(type, kwargs) ?? severalRule(type, kwargs);
  if (rule === undefined) return undefined;
  const read = context.plan.map(rule, context.condition);
  const { min_value: min, max_value: max } = kwargs;
  const contradictory = type === "expect_column_values_to_be_between" &&
    (compareValues(numericBound(min), numericBound(max)) ?? 0) > 0;
  const judge: Evaluate = ({ states }) => {
    if (contradictory) throw new NotEvaluable("min_value cannot be greater than max_value");
    const state = read(states);
    if (state.mistyped > 0) throw mistyped(state.mistyped, rule.columns);
    return mapOutcome(mapCounts(state, { nullsCount: NULLS_COUNT.has(type) }), kwargs.mostly);
  };
  const names = typeNames(type, kwargs);
  const evaluate = names === undefined ? judge : typeJudge(names, {
    read: context.plan.types(rule.columns[0]!),
    judge,
    single: type === "expect_column_values_to_be_of_type",
  });
  return { rule, columns: rule.columns, evaluate };
}

/** The names that a type expectation asks for; null: any. */
function typeNames(type: string, kwargs: Kwargs): string[] | null | undefined {
  if (type === "expect_column_values_to_be_of_type") return [kwargs.type_ as string];
  if (type === "expect_column_values_to_be_in_type_list") {
    return (kwargs.type_list ?? null) as string[] | null;
  }
  return undefined;
}

const OBJECT_NAMES = new Set(["object", "object_", "O"]);

/** The type of the column decides, and of an object column the types of its values. */
function typeJudge(
  names: string[] | null,
  { read, judge, single }: { read: Read<TypeCounts>; judge: Evaluate; single: boolean },
): Evaluate {
  return (evidence) => {
    const observed = columnType(read(evidence.states));
    const asksForObject = single && names !== null && OBJECT_NAMES.has(names[0]!);
    if (observed === "object_" && names !== null && !asksForObject) return judge(evidence);
    const success = names === null ||
      names.some((name) => typeName(name).columns.includes(observed));
    return { success, result: { observed_value: observed } };
  };
}

function orderedEvaluator(type: string, kwargs: Kwargs, context: Context): Evaluator | undefined {
  const direction = type === "expect_column_values_to_be_increasing"
    ? 1
    : type === "expect_column_values_to_be_decreasing"
    ? -1
    : undefined;
  if (direction === undefined) return undefined;
  const column = kwargs.column as string;
  const read = context.plan.order(column, {
    condition: context.condition,
    direction,
    strictly: kwargs.strictly === true,
  });
  return {
    columns: [column],
    evaluate({ states }) {
      const state = read(states);
      if (state.mistyped > 0) throw mistyped(state.mistyped, [column]);
      return mapOutcome({ ...state, considered: state.nonnull }, kwargs.mostly);
    },
  };
}

function uniqueEvaluator(type: string, kwargs: Kwargs, context: Context): Evaluator | undefined {
  const single = type === "expect_column_values_to_be_unique";
  if (!single && type !== "expect_compound_columns_to_be_unique") return undefined;
  const columns = single ? [kwargs.column as string] : kwargs.column_list as string[];
  const { plan, condition } = context;
  const read = single
    ? plan.distinct(columns[0]!, condition)
    : plan.compound(columns, { condition, kwargs });
  const show = (value: unknown): unknown =>
    single
      ? shown(value)
      : Object.fromEntries(columns.map((name, k) => [name, (value as unknown[])[k]]));
  return {
    columns,
    evaluate({ states }) {
      const state = read(states);
      if (!single && state.unhashable > 0) {
        throw new NotEvaluable(
          `${state.unhashable} rows have lists or dicts in ${columns.join(", ")}, ` +
            "which are not compared as values.",
        );
      }
      const { duplicatedRows, duplicates } = summarize(state, { duplicates: true });
      return mapOutcome({
        elements: state.elements,
        considered: state.considered,
        unexpected: duplicatedRows,
        values: duplicates.map(({ value }) => show(value)),
        positions: duplicates.map(({ position }) => position),
      }, kwargs.mostly);
    },
  };
}

/** @throws NotEvaluable when a column is in no record of a batch that has some. */
export function requireColumns(columns: string[], evidence: Evidence): void {
  if (evidence.rows === 0) return;
  for (const column of columns) {
    if (!isEventColumn(column) && !evidence.has(column)) {
      const near = evidence.near(column);
      throw new NotEvaluable(
        `The column "${column}" does not exist: no record has it.` +
          (near === undefined ? "" : ` Did you mean "${near}"?`),
      );
    }
  }
}
