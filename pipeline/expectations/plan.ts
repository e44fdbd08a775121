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
  type State,
  tableColumnsKind,
  type TableColumnsState,
  typesKind,
} from "./accumulators.ts";
import { type Condition, conditionKey } from "./condition.ts";
import { distinctKind, type DistinctState } from "./distinct.ts";
import { momentsKind, type MomentsState } from "./moments.ts";
import { numbersKind, type NumbersState } from "./numbers.ts";
import type { TypeCounts } from "./python.ts";
import type { RowRule } from "./row_rule.ts";

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
