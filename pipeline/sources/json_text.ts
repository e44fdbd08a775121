import { MAX_NUMBER_DIGITS, normalNumber, setDigits } from "../numbers.ts";
import type { Json } from "./source.ts";

/**
 * Numbers that JSON.parse may change without a word: those of 16 and more
 * digits, and exponents of three and more. They only count where a number token
 * can start, so ids and hashes inside strings rarely cost anything.
 */
const DELICATE = /(?:^|[:,[\s])-?\d(?:[\d.]{15}|[\d.]*[eE][+-]?\d{3})/;

/** The same numbers, whole, with what is before them. */
const DELICATE_NUMBERS = /(?:^|[:,[\s])-?\d(?:[\d.]{15,}(?:[eE][+-]?\d+)?|[\d.]*[eE][+-]?\d{3,})/g;

const INTEGER = /^-?\d+$/;

/** A number that no JSON number of a database can hold, such as 1e400000. */
export class NumberRangeError extends SyntaxError {
  override readonly name = "NumberRangeError";
}

/** Whether the text may hold numbers that only `parseJsonExactly` reads without loss. */
export function hasDelicateNumbers(text: string): boolean {
  return DELICATE.test(text);
}

/**
 * Whether JSON.parse would lose digits of the text (or of a string in it that looks like a number):
 * most numbers of 16 and 17 digits are what their double prints.
 */
export function losesDigits(text: string): boolean {
  if (!DELICATE.test(text)) return false;
  DELICATE_NUMBERS.lastIndex = 0;
  for (let match; (match = DELICATE_NUMBERS.exec(text)) !== null;) {
    const [found] = match;
    const number = /[\d-]/.test(found[0]!) ? found : found.slice(1);
    const value = Number(number);
    if (`${value}` !== number || (isBeyond(value) && INTEGER.test(number))) return true;
  }
  return false;
}

// TypeScript's own lib does not know the third argument yet (ECMAScript 2026).
type Reviver = (this: object, key: string, value: Json, context: { source?: string }) => Json;
const parseWithSource = JSON.parse as (text: string, reviver: Reviver) => Json;

/**
 * JSON.parse that keeps every digit: of integers as a bigint beyond 2^53, of
 * other numbers beside the double (numbers.ts).
 *
 * @throws {NumberRangeError} for a number of more than 1,000 digits, written out.
 * @throws {SyntaxError} for anything that is not JSON.
 */
export function parseJsonExactly(text: string): Json {
  return parseWithSource(text, function (key, value, { source }) {
    if (typeof value !== "number" || source === undefined) return value;
    if (source === `${value}` && !isBeyond(value)) return value;
    return exactNumber(source, value, this, key);
  });
}

/** Whether a number is not among those whose integers are all doubles. */
function isBeyond(value: number): boolean {
  return value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER;
}

function exactNumber(source: string, value: number, holder: object, key: string): Json {
  if (source.length > MAX_NUMBER_DIGITS) throw outOfRange(source);
  if (INTEGER.test(source)) return Number.isSafeInteger(value) ? value : BigInt(source);
  const normal = normalNumber(source);
  if (Number.isFinite(value) && normal === normalNumber(`${value}`)) return value;
  const [, digits, power] = /^-?([\d.]+)(?:e([+-]\d+))?$/.exec(normal)!;
  if (Math.abs(Number(power ?? 0)) + digits!.length > MAX_NUMBER_DIGITS) throw outOfRange(source);
  if (Number.isFinite(value)) {
    setDigits(holder, key, source, { byValue: true });
    return value;
  }
  // beyond a double's range, but an integer all the same, like 1e400
  const zeros = Number(power ?? 0) - digits!.replace(".", "").length + 1;
  if (zeros < 0) throw outOfRange(source);
  const whole = BigInt(digits!.replace(".", "")) * 10n ** BigInt(zeros);
  return normal.startsWith("-") ? -whole : whole;
}

function outOfRange(source: string): NumberRangeError {
  return new NumberRangeError(
    `number ${source.slice(0, 40)}${source.length > 40 ? "…" : ""} is out of range: ` +
      `written out it has more than ${MAX_NUMBER_DIGITS} digits`,
  );
}

/** Parses one JSON text exactly, at the price of JSON.parse where that is enough. */
export function parseJson(text: string): Json {
  return losesDigits(text) ? parseJsonExactly(text) : JSON.parse(text);
}
