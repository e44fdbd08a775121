import type { Accumulator, AccumulatorKind } from "./accumulator.ts";
import type { Batch } from "./batch.ts";
import type { InOrder, OrderState } from "./column_accumulators.ts";
import type { Condition } from "./condition_parser.ts";
import { SAMPLE } from "./map_accumulator.ts";
import { shown } from "./python_value.ts";
import { restoreValue, storeValue } from "./stored_value.ts";

/** Values of a column that break its order, in the order of the chunks. */
export function orderKind(
  column: string,
  { condition, follows }: { condition: Condition | undefined; follows: InOrder },
): AccumulatorKind {
  return {
    create: () => new Order(column, condition, follows),
    merge: (a, b) => mergeOrders(a as OrderState, b as OrderState, follows),
    shift: (state, rows) => {
      const { positions, firstPosition } = state as OrderState;
      return {
        ...state,
        positions: positions.map((position) => position + rows),
        firstPosition: firstPosition + rows,
      };
    },
  };
}

class Order implements Accumulator {
  readonly #column: string;
  readonly #condition: Condition | undefined;
  readonly #follows: InOrder;
  #elements = 0;
  #nonnull = 0;
  #unexpected = 0;
  #mistyped = 0;
  #first: unknown = null;
  #firstPosition = 0;
  #last: unknown = null;
  #values: unknown[] = [];
  #positions: number[] = [];

  constructor(column: string, condition: Condition | undefined, follows: InOrder) {
    this.#column = column;
    this.#condition = condition;
    this.#follows = follows;
  }

  observe(batch: Batch): void {
    const rows = this.#condition && batch.select(this.#condition).rows;
    const values = batch.column(this.#column);
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      this.#elements++;
      const value = values[i];
      if (value !== null) this.#add(value, batch.startPosition + i);
    }
  }

  #add(value: unknown, position: number): void {
    this.#nonnull++;
    if (this.#last === null) {
      this.#first = value;
      this.#firstPosition = position;
    }
    const follows = this.#follows(this.#last ?? value, value);
    if (follows === undefined) this.#mistyped++;
    else if (!follows && this.#last !== null) {
      this.#unexpected++;
      if (this.#values.length < SAMPLE) {
        this.#values.push(shown(value));
        this.#positions.push(position);
      }
    }
    this.#last = value;
  }

  state(): OrderState {
    return {
      elements: this.#elements,
      nonnull: this.#nonnull,
      unexpected: this.#unexpected,
      mistyped: this.#mistyped,
      first: storeValue(this.#first),
      firstPosition: this.#firstPosition,
      last: storeValue(this.#last),
      values: this.#values,
      positions: this.#positions,
    };
  }
}

function mergeOrders(a: OrderState, b: OrderState, follows: InOrder): OrderState {
  const merged: OrderState = {
    elements: a.elements + b.elements,
    nonnull: a.nonnull + b.nonnull,
    unexpected: a.unexpected + b.unexpected,
    mistyped: a.mistyped + b.mistyped,
    first: a.first ?? b.first,
    firstPosition: a.first === null ? b.firstPosition : a.firstPosition,
    last: b.last ?? a.last,
    values: [...a.values, ...b.values],
    positions: [...a.positions, ...b.positions],
  };
  if (a.last !== null && b.first !== null) {
    const ok = follows(restoreValue(a.last), restoreValue(b.first));
    if (ok === undefined) merged.mistyped++;
    else if (!ok) {
      merged.unexpected++;
      merged.values = [...a.values, shown(restoreValue(b.first)), ...b.values];
      merged.positions = [...a.positions, b.firstPosition, ...b.positions];
    }
  }
  merged.values = merged.values.slice(0, SAMPLE);
  merged.positions = merged.positions.slice(0, SAMPLE);
  return merged;
}
