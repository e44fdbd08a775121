/**
 * Text as Python has it. Great Expectations turns values into text with
 * `str()` before it measures or matches them, counts code points and orders
 * text by code point; JavaScript counts and orders UTF-16 units.
 */

/** A code unit from which UTF-16 order and code point order may differ. */
const FIRST_SURROGATE = 0xd800;

/** Number of code points, which is what Python's `len` gives. */
export function codePointLength(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0xd800 && unit < 0xdc00) {
      const next = text.charCodeAt(i + 1);
      if (next >= 0xdc00 && next < 0xe000) {
        length--;
        i++;
      }
    }
  }
  return length;
}

/** Whether `text` orders the same by UTF-16 unit and by code point against every other text. */
export function ordersByUnit(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) >= FIRST_SURROGATE) return false;
  }
  return true;
}

/** Negative, zero or positive, by code point. */
export function compareText(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    if (x >= FIRST_SURROGATE && y >= FIRST_SURROGATE) {
      // Surrogates stand for code points above every other unit.
      const xHigh = x < 0xe000 ? 1 : 0;
      const yHigh = y < 0xe000 ? 1 : 0;
      if (xHigh !== yHigh) return xHigh - yHigh;
    }
    return x - y;
  }
  return a.length - b.length;
}

/** `repr` of a Python float: exponent below 1e-4 and from 1e16, two digits in the exponent. */
function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude < 1e-4 || magnitude >= 1e16)) {
    const [digits, exponent] = value.toExponential().split("e") as [string, string];
    return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  }
  const text = String(value);
  return text.includes(".") ? text : `${text}.0`;
}

/** What a JSON number is in Python: an integer when it has no fraction and a double holds it exactly. */
export function isInteger(value: number): boolean {
  return Number.isSafeInteger(value);
}

/**
 * `str()` of a JSON value as Python's json module reads it: "True", "None",
 * "1.5", and lists and dicts in Python's notation.
 */
export function pythonText(value: unknown): string {
  return typeof value === "string" ? value : repr(value);
}

function repr(value: unknown): string {
  switch (typeof value) {
    case "string":
      return reprText(value);
    case "number":
      return isInteger(value) ? String(value) : floatText(value);
    case "bigint":
      return String(value);
    case "boolean":
      return value ? "True" : "False";
    case "object": {
      if (value === null) return "None";
      if (Array.isArray(value)) return `[${value.map(repr).join(", ")}]`;
      const members = Object.entries(value).map(([k, v]) => `${reprText(k)}: ${repr(v)}`);
      return `{${members.join(", ")}}`;
    }
    default:
      return "None";
  }
}

const NAMED: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

function reprText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\p{C}\p{Z}\\'"]/gu, (c) => {
    if (c === " " || c === '"' || c === "'") return c === quote ? `\\${c}` : c;
    const named = NAMED[c];
    if (named !== undefined) return named;
    const code = c.codePointAt(0)!;
    if (code <= 0xff) return `\\x${code.toString(16).padStart(2, "0")}`;
    if (code <= 0xffff) return `\\u${code.toString(16).padStart(4, "0")}`;
    return `\\U${code.toString(16).padStart(8, "0")}`;
  });
  return quote + escaped + quote;
}

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

/**
 * Type names of expectations, and the types that pandas would give a column
 * of JSON values. A column is int64, uint64, float64, bool or str when all of
 * its values fit, and object otherwise.
 */
export type ColumnType = "int64" | "uint64" | "float64" | "bool" | "str" | "object_";

export interface TypeName {
  /** Column types that have this name. */
  columns: ColumnType[];
  /** Python types of single values that have this name, in object columns. */
  values: PythonType[];
}

const t = (columns: ColumnType[], values: PythonType[] = []): TypeName => ({ columns, values });

const TYPE_NAMES = {
  int: t(["int64"], ["int", "bool"]),
  long: t(["int64"], ["int", "bool"]),
  int8: t([]),
  int16: t([]),
  int32: t([]),
  int64: t(["int64"]),
  uint8: t([]),
  uint16: t([]),
  uint32: t([]),
  uint64: t(["uint64"]),
  Int64Dtype: t([]),
  float: t(["float64"], ["float"]),
  float16: t([]),
  float32: t([]),
  float64: t(["float64"]),
  double: t(["float64"]),
  Float64Dtype: t([]),
  bool: t(["bool"], ["bool"]),
  bool_: t(["bool"]),
  BooleanDtype: t([]),
  str: t(["str"], ["str"]),
  string_types: t(["str"], ["str"]),
  StringDtype: t([]),
  object: t(["object_"]),
  object_: t(["object_"]),
  O: t(["object_"]),
  list: t([], ["list"]),
  dict: t([], ["dict"]),
  none: t([], ["NoneType"]),
  bytes: t([]),
  complex: t([]),
  Timestamp: t([]),
  datetime64: t([]),
  DatetimeTZDtype: t([]),
  CategoricalDtype: t([]),
} satisfies Record<string, TypeName>;

export const ALL_TYPE_NAMES = Object.keys(TYPE_NAMES) as [string, ...string[]];

export function typeName(name: string): TypeName {
  return TYPE_NAMES[name as keyof typeof TYPE_NAMES];
}

/** How many values of each kind a column has. */
export interface TypeCounts {
  null: number;
  bool: number;
  /** Integers that fit 64 bits with sign. */
  int: number;
  /** Integers that only fit 64 bits without sign. */
  uint: number;
  /** Integers beyond 64 bits, and negative ones beside `uint`. */
  huge: number;
  negative: number;
  float: number;
  str: number;
  list: number;
  dict: number;
}

export function noTypes(): TypeCounts {
  return {
    null: 0,
    bool: 0,
    int: 0,
    uint: 0,
    huge: 0,
    negative: 0,
    float: 0,
    str: 0,
    list: 0,
    dict: 0,
  };
}

/** The dtype that `pandas.DataFrame(records)` infers for a column (pandas 3). */
export function columnType(counts: TypeCounts): ColumnType {
  const integers = counts.int + counts.uint + counts.huge;
  const numbers = integers + counts.float;
  const kinds = [counts.bool, numbers, counts.str, counts.list, counts.dict].filter((n) => n > 0);
  if (kinds.length !== 1 || counts.list > 0 || counts.dict > 0) return "object_";
  if (counts.str > 0) return "str";
  if (counts.bool > 0) return counts.null > 0 ? "object_" : "bool";
  if (counts.huge > 0 || (counts.uint > 0 && counts.negative > 0 && counts.float === 0)) {
    return "object_";
  }
  if (counts.float > 0 || counts.null > 0) return "float64";
  return counts.uint > 0 ? "uint64" : "int64";
}
