import { jsonText } from "../numbers.ts";
import { compareValues } from "./python.ts";
import { NotEvaluable } from "./result.ts";

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
