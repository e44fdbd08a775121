import { z } from "zod";
import { jsonText } from "../numbers.ts";
import { ALL_TYPE_NAMES, compareValues, type TypeCounts } from "./python.ts";
import {
  type AccumulatorKind,
  countKind,
  type CountState,
  extremesKind,
  type ExtremesState,
  inOrder,
  mapKind,
  type MapState,
  orderKind,
  type OrderState,
  type RowRule,
  type State,
  tableColumnsKind,
  type TableColumnsState,
  typesKind,
} from "./accumulators.ts";
import { isEventColumn } from "./batch.ts";
import { type Condition, conditionKey } from "./condition.ts";
import { distinctKind, type DistinctState } from "./distinct.ts";
import { momentsKind, type MomentsState } from "./moments.ts";
import { numbersKind, type NumbersState } from "./numbers.ts";
import { NotEvaluable, type Outcome } from "./result.ts";

/**
 * What a kind of expectation is made of, and what kinds share: schemas of kwargs, and the plan of
 * what is kept of the rows. The kinds themselves are in the files named after what they look at.
 */
export interface Kind {
  scope: Scope;
  /** Kwargs as Great Expectations 1.x names them; each may be a suite parameter, `{"$PARAMETER": "name"}`, until those are resolved. */
  kwargs: z.ZodObject;
  /** What an expectation with these kwargs, which are checked, needs and how it is judged; its accumulators are added to the plan. */
  evaluator(kwargs: Kwargs, context: Context): Evaluator;
}

/** Kinds by the type of the expectation. */
export type Kinds = Readonly<Record<string, Kind>>;

/**
 * row: the verdict on a row depends on that row alone; batch: it depends on
 * other rows, or there is none for a row.
 */
export type Scope = "row" | "batch";

export type Kwargs = Record<string, unknown>;

export interface Context {
  plan: Plan;
  condition: Condition | undefined;
}

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
  rule?: RowRule;
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

/** A kind that looks at a row, or at a batch. */
export const kind = (
  scope: Scope,
  kwargs: z.core.$ZodLooseShape,
  evaluator: Kind["evaluator"],
): Kind => ({ scope, kwargs: z.strictObject(kwargs), evaluator });

/** A reference to a suite parameter. */
const parameterReference = z.strictObject({ $PARAMETER: z.string().min(1).max(200) });

export const or = <T extends z.ZodType>(schema: T) =>
  z.union([parameterReference, schema]).optional();
export const must = <T extends z.ZodType>(schema: T) => z.union([parameterReference, schema]);

export const columnName = z.string().min(1).max(512);
const NUMERIC = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
/** A number; as Great Expectations does, a boolean counts as 0 or 1, and a text that is a number as that. */
export const number = z.union([
  z.number(),
  z.bigint(),
  z.boolean().transform((value) => +value),
  z.string().regex(NUMERIC, "is no number").transform((text) =>
    /^-?\d+$/.test(text) && !Number.isSafeInteger(Number(text)) ? BigInt(text) : Number(text)
  ),
]);
export const bound = z.union([
  z.number(),
  z.bigint(),
  z.boolean().transform((value) => +value),
  z.string().min(1).max(1_000),
]).nullable();
export const scalar = z.union([z.string(), z.number(), z.bigint(), z.boolean(), z.null()]);
export const share = number.pipe(z.number().min(0).max(1));
/** true, or what Python's libraries take for it: "true", "yes", 1. */
export const flag = z.union([
  z.boolean(),
  z.number().refine((value) => value === 0 || value === 1, "is not true or false")
    .transform((value) => value === 1),
  z.string().regex(/^(?:true|false|t|f|yes|no|y|n|on|off|1|0)$/i, "is not true or false")
    .transform((text) => /^(?:t|y|on|1)/i.test(text)),
]);
/** Lists and objects are equal to values of the same content. */
export const member = z.union([scalar, z.array(z.unknown()), z.record(z.string(), z.unknown())]);
export const MAX_SET = 100_000;
export const typeNameSchema = z.enum(ALL_TYPE_NAMES);

export const rowCondition = {
  row_condition: z.unknown().optional(),
  condition_parser: z.enum([
    "pandas",
    "great_expectations",
    "great_expectations__experimental__",
  ]).nullable().optional(),
};
export const mostly = { mostly: or(share) };
export const column = { column: must(columnName), ...rowCondition };
export const bounds = {
  min_value: or(bound),
  max_value: or(bound),
  strict_min: or(flag),
  strict_max: or(flag),
};
export const numberBounds = {
  ...bounds,
  min_value: or(number.nullable()),
  max_value: or(number.nullable()),
};
export const valueSet = { value_set: must(z.array(member).max(MAX_SET)) };
export const filledSet = { value_set: must(z.array(member).min(1).max(MAX_SET)) };
export const pattern = z.string().max(2_000);
export const escape = { escape: or(z.string().length(1).nullable()) };
export const matchOn = { match_on: or(z.enum(["any", "all"])) };
export const pair = {
  column_A: must(columnName),
  column_B: must(columnName),
  ignore_row_if: or(z.enum(["both_values_are_missing", "either_value_is_missing", "neither"])),
  ...rowCondition,
  ...mostly,
};
export const columns = {
  column_list: must(z.array(columnName).min(2, "must have at least two columns").max(50)),
  ignore_row_if: or(z.enum(["all_values_are_missing", "any_value_is_missing", "never"])),
  ...rowCondition,
  ...mostly,
};

/**
 * Whether an observed value lies between min_value and max_value.
 *
 * @throws NotEvaluable when it cannot be compared with them.
 */
export function isBetween(observed: unknown, kwargs: Record<string, unknown>): boolean {
  const { min_value: min, max_value: max } = kwargs;
  if (min !== null && min !== undefined) {
    const order = compared(observed, min);
    if (kwargs.strict_min === true ? order <= 0 : order < 0) return false;
  }
  if (max !== null && max !== undefined) {
    const order = compared(observed, max);
    if (kwargs.strict_max === true ? order >= 0 : order > 0) return false;
  }
  return true;
}

/** A bound for numbers: a text that is a number counts as that. */
export function numericBound(bound: unknown): unknown {
  return typeof bound === "string" && bound.trim() !== "" && Number.isFinite(Number(bound))
    ? Number.isSafeInteger(Number(bound)) || !/^-?\d+$/.test(bound) ? Number(bound) : BigInt(bound)
    : bound;
}

function compared(observed: unknown, bound: unknown): number {
  const isNumber = typeof observed !== "string";
  const order = compareValues(observed, isNumber ? numericBound(bound) : bound);
  if (order === undefined) {
    throw new NotEvaluable(
      `The observed ${typeof observed} cannot be compared with ${jsonText(bound)}.`,
    );
  }
  return order;
}

/** A key for a column under a condition: the same wherever the suite is compiled, and in any order. */
export function domain(column: string, condition: Condition | undefined): string {
  return condition === undefined ? column : `${column}\u0000${conditionKey(condition)}`;
}

/** Reads the merged state of one accumulator. */
export type Read<S> = (states: readonly State[]) => S;

/**
 * The accumulators that a suite needs. Expectations that ask for the same
 * share one.
 */
export class Plan {
  readonly kinds: AccumulatorKind[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #rowsNeeded: ReadonlySet<string>;

  /** `rowsNeeded`: columns (with condition, see `domain`) that some expectation needs duplicates of. */
  constructor(rowsNeeded: ReadonlySet<string>) {
    this.#rowsNeeded = rowsNeeded;
  }

  map(rule: RowRule, condition: Condition | undefined): Read<MapState> {
    return this.#need(`map ${this.kinds.length}`, mapKind(rule, condition));
  }

  count(column: string | undefined, condition: Condition | undefined): Read<CountState> {
    const key = `count ${domain(column ?? "", condition)}`;
    return this.#need(key, countKind(column, condition));
  }

  types(column: string): Read<TypeCounts> {
    return this.#need(`types ${column}`, typesKind(column));
  }

  extremes(column: string, condition: Condition | undefined): Read<ExtremesState> {
    return this.#need(
      `extremes ${domain(column, condition)}`,
      extremesKind(column, condition),
    );
  }

  moments(column: string, condition: Condition | undefined): Read<MomentsState> {
    return this.#need(`moments ${domain(column, condition)}`, momentsKind(column, condition));
  }

  numbers(column: string, condition: Condition | undefined): Read<NumbersState> {
    return this.#need(`numbers ${domain(column, condition)}`, numbersKind(column, condition));
  }

  distinct(column: string, condition: Condition | undefined): Read<DistinctState> {
    const key = domain(column, condition);
    return this.#need(
      `distinct ${key}`,
      distinctKind({ columns: [column], condition, rows: this.#rowsNeeded.has(key) }),
    );
  }

  compound(
    columns: string[],
    { condition, kwargs }: { condition: Condition | undefined; kwargs: Record<string, unknown> },
  ): Read<DistinctState> {
    return this.#need(
      `compound ${this.kinds.length}`,
      distinctKind({ columns, condition, rows: true, kwargs }),
    );
  }

  order(
    column: string,
    { condition, direction, strictly }: {
      condition: Condition | undefined;
      direction: 1 | -1;
      strictly: boolean;
    },
  ): Read<OrderState> {
    return this.#need(
      `order ${direction} ${strictly} ${domain(column, condition)}`,
      orderKind(column, { condition, follows: inOrder(direction, strictly) }),
    );
  }

  tableColumns(): Read<TableColumnsState> {
    return this.#need("columns", tableColumnsKind());
  }

  #need<S extends object>(key: string, kind: AccumulatorKind): Read<S> {
    let index = this.#indexes.get(key);
    if (index === undefined) {
      index = this.kinds.push(kind) - 1;
      this.#indexes.set(key, index);
    }
    const at = index;
    return (states) => states[at] as unknown as S;
  }
}
