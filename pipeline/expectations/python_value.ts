import { compareText, isInteger } from "./python_text.ts";

/** A value as it may stand in a column. */
export type Value = unknown;

/**
 * A key under which two values are one exactly when Python says that they
 * are equal: `True == 1 == 1.0`, and integers equal floats of the same value.
 * Lists and dicts have none (they are not hashable): undefined.
 */
export function equalityKey(value: Value): string | number | bigint | null | undefined {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
      return value === 0 ? 0 : value;
    case "boolean":
      return value ? 1 : 0;
    case "bigint": {
      const double = Number(value);
      return Number.isFinite(double) && BigInt(double) === value ? double : value;
    }
    default:
      return value === null ? null : undefined;
  }
}

/**
 * Order of two values where Python has one: numbers (booleans count as 0 and
 * 1) among themselves, text among itself; undefined where Python raises a
 * TypeError.
 */
export function compareValues(a: Value, b: Value): number | undefined {
  if (typeof a === "string") return typeof b === "string" ? compareText(a, b) : undefined;
  const x = asNumber(a);
  const y = asNumber(b);
  if (x === undefined || y === undefined) return undefined;
  return x < y ? -1 : x > y ? 1 : 0;
}

/** A number that can be compared exactly, or undefined where the value is none. */
export function asNumber(value: Value): number | bigint | undefined {
  switch (typeof value) {
    case "number":
    case "bigint":
      return value;
    case "boolean":
      return value ? 1 : 0;
    default:
      return undefined;
  }
}

/** Equality in the sense of Python's `==`, lists and dicts by content. */
export function equalValues(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (typeof a === "object" || typeof b === "object") return equalContainers(a, b);
  const x = equalityKey(a);
  return x !== undefined && x === equalityKey(b);
}

function equalContainers(a: Value, b: Value): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length &&
      a.every((item, i) => equalValues(item, b[i]));
  }
  const left = Object.entries(a);
  const right = b as Record<string, unknown>;
  return left.length === Object.keys(right).length &&
    left.every(([k, v]) => Object.hasOwn(right, k) && equalValues(v, right[k]));
}

/** Longest text that a sample of a result keeps of one value. */
const MAX_SHOWN = 1_000;

/**
 * A value as it is shown in a result: plain JSON of bounded size. Integers
 * beyond 2^53 become text with every digit, infinities "inf" and "-inf".
 */
export function shown(value: Value): unknown {
  switch (typeof value) {
    case "string":
      return value.length > MAX_SHOWN ? value.slice(0, MAX_SHOWN) + "…" : value;
    case "number":
      return Number.isFinite(value)
        ? value
        : Number.isNaN(value)
        ? null
        : value > 0
        ? "inf"
        : "-inf";
    case "bigint":
      return String(value);
    case "boolean":
      return value;
    case "object": {
      if (value === null) return null;
      const text = JSON.stringify(
        value,
        (_key, member) => typeof member === "bigint" ? String(member) : member,
      );
      return text.length > MAX_SHOWN ? text.slice(0, MAX_SHOWN) + "…" : JSON.parse(text);
    }
    default:
      return null;
  }
}

/** Order of a sample of values of any types: as Python sorts them, numbers before text otherwise. */
export function compareForDisplay(a: Value, b: Value): number {
  const order = compareValues(a, b);
  if (order !== undefined) return order;
  return typeof a === typeof b ? 0 : typeof a === "string" ? 1 : -1;
}

/** The Python type of a JSON value. */
export type PythonType = "NoneType" | "bool" | "int" | "float" | "str" | "list" | "dict";

export function pythonType(value: Value): PythonType {
  switch (typeof value) {
    case "string":
      return "str";
    case "number":
      return isInteger(value) ? "int" : "float";
    case "bigint":
      return "int";
    case "boolean":
      return "bool";
    default:
      return value === null || value === undefined
        ? "NoneType"
        : Array.isArray(value)
        ? "list"
        : "dict";
  }
}
