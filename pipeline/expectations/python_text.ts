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
