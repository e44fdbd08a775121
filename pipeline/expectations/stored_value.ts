import { shown } from "./python_value.ts";

/**
 * Values in spill files and chunk states, as JSON: text, numbers, booleans
 * and null are themselves; the rest is tagged in an object.
 */
export type StoredValue =
  | null
  | boolean
  | number
  | string
  | { int: string }
  | { float: "inf" | "-inf" }
  | { json: unknown };

const MAX_TEXT = 1_000;

export function storeValue(value: unknown): StoredValue {
  switch (typeof value) {
    case "string":
      return value.length <= MAX_TEXT ? value : String(shown(value));
    case "number":
      return Number.isFinite(value) ? value : { float: value > 0 ? "inf" : "-inf" };
    case "boolean":
      return value;
    case "bigint":
      return { int: String(value) };
    default:
      return value === null || value === undefined ? null : { json: shown(value) };
  }
}

export function restoreValue(stored: StoredValue): unknown {
  if (typeof stored !== "object" || stored === null) return stored;
  if ("int" in stored) return BigInt(stored.int);
  if ("float" in stored) return stored.float === "inf" ? Infinity : -Infinity;
  return stored.json;
}
