import type { Condition } from "./condition_parser.ts";
import { compareValues, equalityKey, equalValues } from "./python_value.ts";

/** Gives the values of a column over the rows of a batch, null where missing. */
export type ColumnValues = (column: string) => readonly unknown[];

/**
 * Which of `count` rows a condition selects, 1 or 0 a row, as
 * `DataFrame.query` does: a comparison with null is false, except `!=` and
 * `not in`, which are true. `mistyped` says that some value cannot be
 * ordered against the literal, where pandas raises a TypeError.
 */
export function selectRows(
  condition: Condition,
  { count, values }: { count: number; values: ColumnValues },
): { rows: Uint8Array; mistyped: boolean } {
  let mistyped = false;
  const select = (c: Condition): Uint8Array => {
    const rows = new Uint8Array(count);
    switch (c.kind) {
      case "and":
      case "or": {
        const parts = c.parts.map(select);
        for (let i = 0; i < count; i++) {
          rows[i] = c.kind === "and"
            ? +parts.every((part) => part[i] === 1)
            : +parts.some((part) => part[i] === 1);
        }
        return rows;
      }
      case "not": {
        const part = select(c.part);
        for (let i = 0; i < count; i++) rows[i] = 1 - part[i]!;
        return rows;
      }
      case "null": {
        const column = values(c.column);
        for (let i = 0; i < count; i++) rows[i] = +((column[i] === null) !== c.negated);
        return rows;
      }
      case "in": {
        const column = values(c.column);
        const set = new Set(c.values.map(equalityKey));
        for (let i = 0; i < count; i++) {
          const key = equalityKey(column[i]);
          rows[i] = +((key !== null && key !== undefined && set.has(key)) !== c.negated);
        }
        return rows;
      }
      case "compare": {
        const column = values(c.column);
        for (let i = 0; i < count; i++) {
          const value = column[i];
          if (c.operator === "==") rows[i] = +(value !== null && equalValues(value, c.value));
          else if (c.operator === "!=") rows[i] = +(value === null || !equalValues(value, c.value));
          else if (value !== null) {
            const order = compareValues(value, c.value);
            if (order === undefined) mistyped = true;
            else rows[i] = +holds(c.operator, order);
          }
        }
        return rows;
      }
    }
  };
  return { rows: select(condition), mistyped };
}

function holds(operator: "<" | "<=" | ">" | ">=", order: number): boolean {
  switch (operator) {
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    case ">=":
      return order >= 0;
  }
}
