import type { Json } from "./sources/source.ts";

/**
 * Canonical JSON as in RFC 8785 (keys sorted by UTF-16 code units, shortest
 * form of numbers, no white space), except that a bigint keeps every digit.
 * Records of one source mostly have the same keys, so the sorted order is
 * remembered for each place where an object occurs.
 */
export class Canonicalizer {
  readonly #root: Place = { shape: null };

  /** The canonical text of a value. Throws a TypeError on what JSON does not have (undefined, NaN). */
  text(value: Json): string {
    return valueText(value, this.#root);
  }
}

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
}

// deno-lint-ignore no-control-regex
const NEEDS_ESCAPE = /["\\\u0000-\u001f\ud800-\udfff]/;

function stringText(text: string): string {
  return NEEDS_ESCAPE.test(text) ? JSON.stringify(text) : `"${text}"`;
}

function valueText(value: Json, place: Place): string {
  switch (typeof value) {
    case "string":
      return stringText(value);
    case "number":
      if (!Number.isFinite(value)) throw new TypeError(`${value} is not a JSON number`);
      return value === 0 ? "0" : `${value}`;
    case "boolean":
      return value ? "true" : "false";
    case "bigint":
      return value.toString();
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? arrayText(value, place) : objectText(value, place);
    default:
      throw new TypeError(`a ${typeof value} is not a JSON value`);
  }
}

function arrayText(values: Json[], place: Place): string {
  let text = "[";
  for (let i = 0; i < values.length; i++) {
    if (i > 0) text += ",";
    text += valueText(values[i]!, place);
  }
  return text + "]";
}

function objectText(value: { [key: string]: Json }, place: Place): string {
  const keys = Object.keys(value);
  let shape = place.shape;
  if (shape === null || !sameKeys(keys, shape.given)) {
    shape = shapeOf(keys);
    place.shape = shape;
  }
  const { sorted, prefixes, places } = shape;
  if (sorted.length === 0) return "{}";
  let text = "";
  for (let i = 0; i < sorted.length; i++) {
    text += prefixes[i]! + valueText(value[sorted[i]!]!, places[i]!);
  }
  return text + "}";
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
  };
}

/** What a canonical text must not hold to be stored as jsonb: NUL, and halves of surrogate pairs. */
export function unstorable(text: string): "nul" | "surrogate" | null {
  if (!text.includes("\\u")) return null;
  const match = /(?:^|[^\\])(?:\\\\)*\\u(?:(0000)|d[89a-f][0-9a-f]{2})/.exec(text);
  if (match === null) return null;
  return match[1] === undefined ? "surrogate" : "nul";
}
