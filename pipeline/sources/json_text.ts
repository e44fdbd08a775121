import type { Json } from "./source.ts";

/**
 * Numbers that JSON.parse would change without a word: integers of 16 and
 * more digits, and exponents of three and more digits (1e400 becomes
 * Infinity). They only count where a number token can start, so ids and
 * hashes inside strings rarely cost anything.
 */
const DELICATE = /(?:^|[:,[\s])-?(?:\d{16}|\d[\d.]*[eE]\+?\d{3})/;

const INTEGER = /^-?\d+$/;

/** A number that no JSON number of a database can hold, such as 1e400. */
export class NumberRangeError extends SyntaxError {
  override readonly name = "NumberRangeError";
}

/** Whether the text may hold numbers that only `parseJsonExactly` reads without loss. */
export function hasDelicateNumbers(text: string): boolean {
  return DELICATE.test(text);
}

// TypeScript's own lib does not know the third argument yet (ECMAScript 2026).
type Reviver = (key: string, value: Json, context: { source?: string }) => Json;
const parseWithSource = JSON.parse as (text: string, reviver: Reviver) => Json;

/**
 * JSON.parse that keeps every digit of integers (a bigint beyond 2^53).
 *
 * @throws {NumberRangeError} for a number beyond a double's range.
 * @throws {SyntaxError} for anything that is not JSON.
 */
export function parseJsonExactly(text: string): Json {
  return parseWithSource(text, (_key, value, { source }) => {
    if (typeof value !== "number" || Number.isSafeInteger(value) || source === undefined) {
      return value;
    }
    if (INTEGER.test(source)) return BigInt(source);
    if (!Number.isFinite(value)) {
      throw new NumberRangeError(`number ${source.slice(0, 40)} is out of range`);
    }
    return value;
  });
}

/** Parses one JSON text exactly, at the price of JSON.parse where that is enough. */
export function parseJson(text: string): Json {
  return hasDelicateNumbers(text) ? parseJsonExactly(text) : JSON.parse(text);
}
