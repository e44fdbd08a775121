import type { Accumulator, AccumulatorKind, State } from "./accumulator.ts";
import type { Batch } from "./batch.ts";
import type { Condition } from "./condition_parser.ts";
import { asNumber } from "./python_value.ts";

/** Sum, mean and squared deviations of a column's numbers. */
export interface MomentsState extends State {
  nonnull: number;
  mistyped: number;
  /** The sum is `sum + carry`: what rounding lost is kept apart, so that chunks do not matter. */
  sum: number;
  carry: number;
  mean: number;
  /** Sum of squared deviations from the mean. */
  squares: number;
}

export function momentsKind(
  column: string,
  condition: Condition | undefined,
): AccumulatorKind {
  return {
    create: () => new Moments(column, condition),
    merge: (a, b) => mergeMoments(a as MomentsState, b as MomentsState),
  };
}

/** The sum with what rounding lost put back. */
export function totalOf(state: MomentsState): number {
  return Number.isFinite(state.sum) ? state.sum + state.carry : state.sum;
}

class Moments implements Accumulator {
  readonly #column: string;
  readonly #condition: Condition | undefined;
  #state: MomentsState = { nonnull: 0, mistyped: 0, sum: 0, carry: 0, mean: 0, squares: 0 };
  #numbers: number[] = [];

  constructor(column: string, condition: Condition | undefined) {
    this.#column = column;
    this.#condition = condition;
  }

  observe(batch: Batch): void {
    const rows = this.#condition && batch.select(this.#condition).rows;
    const values = batch.column(this.#column);
    const numbers = this.#numbers;
    let n = 0;
    let mistyped = 0;
    let sum = 0;
    let carry = 0;
    const add = (value: number): void => {
      numbers[n++] = value;
      const next = sum + value;
      carry += Math.abs(sum) >= Math.abs(value) ? (sum - next) + value : (value - next) + sum;
      sum = next;
    };
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      const value = values[i];
      if (value === null) continue;
      if (typeof value === "number") add(value);
      else {
        const number = asNumber(value);
        if (number === undefined) mistyped++;
        else if (typeof number === "number") add(number);
        else {
          add(Number(number));
          // The digits that the double has not.
          if (Number.isFinite(Number(number))) carry += Number(number - BigInt(Number(number)));
        }
      }
    }
    const mean = n === 0 ? 0 : (sum + carry) / n;
    let squares = 0;
    for (let i = 0; i < n; i++) squares += (numbers[i]! - mean) ** 2;
    this.#state = mergeMoments(
      this.#state,
      { nonnull: n, mistyped, sum, carry, mean, squares },
    );
  }

  state(): MomentsState {
    return this.#state;
  }
}

function mergeMoments(a: MomentsState, b: MomentsState): MomentsState {
  const n = a.nonnull + b.nonnull;
  const sum = a.sum + b.sum;
  const lost = Math.abs(a.sum) >= Math.abs(b.sum) ? (a.sum - sum) + b.sum : (b.sum - sum) + a.sum;
  const merged = {
    nonnull: n,
    mistyped: a.mistyped + b.mistyped,
    sum,
    carry: a.carry + b.carry + lost,
  };
  if (a.nonnull === 0 || b.nonnull === 0) {
    const other = a.nonnull === 0 ? b : a;
    return { ...merged, mean: other.mean, squares: other.squares };
  }
  const delta = b.mean - a.mean;
  return {
    ...merged,
    mean: Number.isFinite(sum) ? (merged.sum + merged.carry) / n : sum / n,
    squares: a.squares + b.squares + delta * delta * (a.nonnull / n) * b.nonnull,
  };
}
