import { compareValues } from "./python_value.ts";
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

function compared(observed: unknown, bound: unknown): number {
  const order = compareValues(observed, bound);
  if (order === undefined) {
    throw new NotEvaluable(
      `The observed ${typeof observed} cannot be compared with ${JSON.stringify(bound)}.`,
    );
  }
  return order;
}
