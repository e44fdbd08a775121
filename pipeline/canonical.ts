import { say } from "../vocabulary/messages.ts";
import { digitsOf, type Json, numberText, type SourceRecord } from "./numbers.ts";

/** As it was before a module of the user's could change it, whose thread this may be. */
const { stringify } = JSON;

/**
 * Canonical JSON as in RFC 8785 (keys sorted by UTF-16 code units, shortest
 * form of numbers, no white space), except that a bigint, and a number whose
 * digits were kept (numbers.ts), has the digits that were read.
 * Records of one source mostly have the same keys, so the sorted order is
 * remembered for each place where an object occurs.
 */
export class Canonicalizer {
  readonly #root: Place = { shape: null };

  /**
   * The canonical text of a value.
   *
   * @throws {TypeError} on what JSON does not have (undefined, NaN, a Date).
   * @throws {RangeError} on what PostgreSQL's jsonb cannot hold: nested deeper
   * than 1,000 levels, or an integer of more than 131,072 digits.
   */
  text(value: Json): string {
    return valueText(value, this.#root, 0);
  }
}

/** A record as the quarantine shows it: canonical where that is possible. */
export function rawText(record: SourceRecord): string {
  try {
    return new Canonicalizer().text(record);
  } catch {
    try {
      return stringify(
        record,
        (_key, value) => typeof value === "bigint" ? `${value}` : value,
      );
    } catch (error) {
      return `(cannot be shown: ${(error as Error).message})`;
    }
  }
}

/** PostgreSQL's stack takes about 10,000 levels with its default settings, ours less. */
export const MAX_DEPTH = 1000;
/** Digits before the point that numeric holds. */
const MAX_DIGITS = 131_072;
/** Names that one object may have, as columns of a file: sorting and comparing them takes its time. */
export const MAX_NAMES = 10_000;

/** A place in a document where an object occurs, with the shape that was last seen there. */
interface Place {
  shape: Shape | null;
}

interface Shape {
  /** Keys in the order of the object. */
  given: string[];
  /** The same, sorted. */
  sorted: string[];
  /** `{"key":` for the first, `,"key":` for the others. */
  prefixes: string[];
  places: Place[];
  /** An object whose members come in the sorted order, to be filled; null where JavaScript has an order of its own. */
  copy: Record<string, Json> | null;
}

// deno-lint-ignore no-control-regex
const NEEDS_ESCAPE = /["\\\u0000-\u001f\ud800-\udfff]/;

function stringText(text: string): string {
  return NEEDS_ESCAPE.test(text) ? stringify(text) : `"${text}"`;
}

function valueText(value: Json, place: Place, depth: number): string {
  switch (typeof value) {
    case "string":
      return stringText(value);
    case "number":
      if (!Number.isFinite(value)) throw new TypeError(say("not-json-number", { value }));
      return value === 0 ? "0" : `${value}`;
    case "boolean":
      return value ? "true" : "false";
    case "bigint":
      return bigintText(value);
    case "object":
      if (value === null) return "null";
      if (depth >= MAX_DEPTH) throw new RangeError(say("too-deep", { n: MAX_DEPTH }));
      return Array.isArray(value)
        ? arrayText(value, place, depth + 1)
        : objectText(value, place, depth + 1);
    default:
      throw new TypeError(say("not-json-value", { kind: typeof value }));
  }
}

function bigintText(value: bigint): string {
  const text = value.toString();
  if (text.length <= MAX_DIGITS || text.length - (value < 0n ? 1 : 0) <= MAX_DIGITS) return text;
  throw new RangeError(say("integer-digits", { n: MAX_DIGITS }));
}

function arrayText(values: Json[], place: Place, depth: number): string {
  const digits = digitsOf(values);
  let text = "[";
  for (let i = 0; i < values.length; i++) {
    if (i > 0) text += ",";
    const value = values[i]!;
    text += digits !== undefined && typeof value === "number" && Number.isFinite(value)
      ? numberText(value, digits[i])
      : valueText(value, place, depth);
  }
  return text + "]";
}

function objectText(value: { [key: string]: Json }, place: Place, depth: number): string {
  const keys = Object.keys(value);
  if (keys.length === 0) return emptyText(value);
  let shape = place.shape;
  if (shape === null || !sameKeys(keys, shape.given)) {
    if (keys.length > MAX_NAMES) {
      throw new RangeError(say("too-many-names", { n: keys.length, limit: MAX_NAMES }));
    }
    shape = shapeOf(keys);
    place.shape = shape;
  }
  const { sorted, prefixes, places, copy } = shape;
  const digits = digitsOf(value);
  // the engine's own writer is faster than any that is written in it
  if (copy !== null && digits === undefined && !("toJSON" in copy) && fill(copy, value, sorted)) {
    return stringify(copy);
  }
  let text = "";
  if (digits !== undefined) {
    for (let i = 0; i < sorted.length; i++) {
      const member = value[sorted[i]!]!;
      text += prefixes[i]! + (typeof member === "number" && digits[sorted[i]!] !== undefined &&
          Number.isFinite(member)
        ? numberText(member, digits[sorted[i]!])
        : valueText(member, places[i]!, depth));
    }
    return text + "}";
  }
  for (let i = 0; i < sorted.length; i++) {
    text += prefixes[i]! + valueText(value[sorted[i]!]!, places[i]!, depth);
  }
  return text + "}";
}

/** Fills a copy with members that JSON.stringify writes as canonical JSON has them; false where one is something else. */
function fill(
  copy: Record<string, Json>,
  value: { [key: string]: Json },
  sorted: string[],
): boolean {
  for (let i = 0; i < sorted.length; i++) {
    const key = sorted[i]!;
    const member = value[key]!;
    if (typeof member === "number") {
      if (!Number.isFinite(member)) return false;
    } else if (typeof member !== "string" && typeof member !== "boolean" && member !== null) {
      return false;
    }
    copy[key] = member;
  }
  return true;
}

/** Names with a place or a meaning of their own in an object of JavaScript. */
export const PARTICULAR_NAME = /^(?:\d+|__proto__)$/;
/** Objects of more members are no longer the engine's fast ones. */
const MAX_COPIED = 64;

/** A Date, Map or Promise has no keys either, and would be lost without a word. */
function emptyText(value: object): string {
  const prototype = Object.getPrototypeOf(value);
  // an object of another realm has another Object.prototype, whose own prototype is null, too
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return "{}";
  throw new TypeError(say("not-json-value", { kind: value.constructor?.name ?? "class instance" }));
}

function sameKeys(a: string[], b: string[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function shapeOf(given: string[]): Shape {
  // the default order of sort() is by UTF-16 code units, as RFC 8785 asks
  const sorted = [...given].sort();
  return {
    given,
    sorted,
    prefixes: sorted.map((key, i) => `${i === 0 ? "{" : ","}${stringText(key)}:`),
    places: sorted.map(() => ({ shape: null })),
    copy: sorted.length > MAX_COPIED || sorted.some((key) => PARTICULAR_NAME.test(key))
      ? null
      : Object.fromEntries(sorted.map((key) => [key, null])),
  };
}

/** What a canonical text must not hold to be stored as jsonb: NUL, and halves of surrogate pairs. */
export function unstorable(text: string): "nul" | "surrogate" | null {
  if (!text.includes("\\u")) return null;
  const match = /(?:^|[^\\])(?:\\\\)*\\u(?:(0000)|d[89a-f][0-9a-f]{2})/.exec(text);
  if (match === null) return null;
  return match[1] === undefined ? "surrogate" : "nul";
}

/** The rule that such a text breaks, and what is said of its record or field. */
export const UNSTORABLE = {
  nul: { rule: "nul_character", message: say("nul-character", {}) },
  surrogate: {
    rule: "unicode",
    message: say("half-surrogate", {}),
  },
} as const;
