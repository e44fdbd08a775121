import type { AccumulatorKind, State } from "./accumulator.ts";
import type { Batch } from "./batch.ts";
import { codePointLength } from "./python_text.ts";

/** Shortest and longest text of a column, and whether all of it looks like a date. */
export interface LengthsState extends State {
  texts: number;
  min: number;
  max: number;
  dates: number;
}

const DATE = /^\d{4}-\d{2}-\d{2}(?:[T ]|$)/;

export function lengthsKind(column: string): AccumulatorKind {
  return {
    create: () => {
      const state: LengthsState = { texts: 0, min: Infinity, max: 0, dates: 0 };
      return {
        observe(batch: Batch) {
          const values = batch.column(column);
          for (let i = 0; i < batch.count; i++) {
            const value = values[i];
            if (typeof value !== "string") continue;
            const length = codePointLength(value);
            state.texts++;
            if (length < state.min) state.min = length;
            if (length > state.max) state.max = length;
            if (DATE.test(value)) state.dates++;
          }
        },
        state: () => state,
      };
    },
    merge(a, b) {
      const [x, y] = [a as LengthsState, b as LengthsState];
      return {
        texts: x.texts + y.texts,
        min: Math.min(x.min, y.min),
        max: Math.max(x.max, y.max),
        dates: x.dates + y.dates,
      };
    },
  };
}
