/**
 * A JSON value as the pipeline holds it: integers that a double cannot hold
 * exactly are bigint, everything else is as JSON.parse gives it.
 */
export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };

/** What a source yields: a JSON object. */
export type SourceRecord = { [key: string]: Json };

/**
 * A number that was read is a `number`, or a `bigint` where it is an integer
 * beyond 2^53. Where the double prints other digits than those read (19.90,
 * 12345678901234567.89), the digits stand beside it: on the object or list that
 * holds the number, under this symbol, by name. Transforms, suites and schemas
 * see the double; payload, fingerprint and key have the digits, as long as the
 * number is the one that was read.
 */
export const DIGITS: unique symbol = Symbol("digits");

/** Digits as read, by name, or by position in a list. */
interface Digits {
  [name: string]: string;
}

interface Holder {
  [DIGITS]?: Digits;
}

/** Digits that a number may have; longer ones are rejected, since reading them takes too long. */
export const MAX_NUMBER_DIGITS = 1_000;

/** What marks digits whose number is a key by its value, not by its text. */
const BY_VALUE: unique symbol = Symbol("by value");
const OF_VALUES = Object.freeze(Object.create(null, { [BY_VALUE]: { value: true } }));

/**
 * Notes how a holder's number was written; `text` is a JSON number of the same double. Where the
 * source has numbers and not texts (JSON, Parquet, a database), `byValue` makes one key of 1.10 and 1.1.
 */
export function setDigits(
  holder: object,
  name: string,
  text: string,
  { byValue = false } = {},
): void {
  const digits: Digits = (holder as Holder)[DIGITS] ??= Object.create(byValue ? OF_VALUES : null);
  digits[name] = text;
}

/** A number whose digits a double does not hold, until it has a holder: see `put`. */
export class ExactNumber {
  constructor(readonly text: string) {}
}

/**
 * The number that a decimal text says: a double where it prints the same value, a bigint for an integer
 * beyond 2^53, else with its digits; of more than 1,000 digits, and of what is no number ("NaN"), the text.
 */
export function exactNumber(text: string): number | bigint | ExactNumber | string {
  if (text.length > MAX_NUMBER_DIGITS || !DECIMAL.test(text)) return text;
  const value = Number(text);
  if (!text.includes(".")) return Number.isSafeInteger(value) ? value || 0 : BigInt(text);
  if (text.length <= EXACT_DIGITS || normalNumber(text) === normalNumber(`${value}`)) {
    return value || 0;
  }
  return new ExactNumber(text);
}

const DECIMAL = /^-?\d+(?:\.\d+)?$/;
/** A double holds any decimal of so many significant digits. */
const EXACT_DIGITS = 15;

/**
 * Sets a member of an object or list that is being made, with the digits of its number; "__proto__" is a name
 * like any other in Deno.
 */
export function put(
  holder: SourceRecord | Json[],
  name: string | number,
  value: Json | ExactNumber,
): void {
  const exact = value instanceof ExactNumber;
  (holder as SourceRecord)[name] = exact ? Number(value.text) : value;
  if (exact) setDigits(holder, `${name}`, value.text);
}

/** A list whose numbers keep their digits. */
export function listOf(values: (Json | ExactNumber)[]): Json[] {
  if (!values.some((value) => value instanceof ExactNumber)) return values as Json[];
  const list: Json[] = [];
  values.forEach((value, i) => put(list, i, value));
  return list;
}

/**
 * A number as the text of a key: of a text source as it stands there, else its value in one form,
 * in which 1e21 and 1000000000000000000000 are one number.
 */
export function numberKey(value: number | bigint, holder: object, name: string): string {
  const digits = digitsOf(holder);
  const text = numberText(value, digits?.[name]);
  const verbatim = digits !== undefined && digits[name] === text && !(BY_VALUE in digits);
  return verbatim ? text : normalNumber(text);
}

/** Zeros that a number is written with before it gets an exponent. */
export const MAX_ZEROS = 40;
const PLAIN = /^-?(?:0|[1-9]\d{0,39})$/;
const NUMBER = /^(-?)0*(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/;

/**
 * The one text of a number's value: no zeros that say nothing, an exponent only in the place of
 * more than 40 zeros. `text` is a JSON number.
 */
export function normalNumber(text: string): string {
  if (PLAIN.test(text)) return text === "-0" ? "0" : text;
  const [, sign, whole = "", part = "", power = "0"] = NUMBER.exec(text)!;
  const significant = trimEnd(whole + part);
  const first = significant.search(/[1-9]/);
  if (first < 0) return "0";
  const digits = significant.slice(first);
  // digits stand for 0.digits × 10^point
  const point = whole.length + Number(power) - first;
  const plain = point <= 0
    ? -point <= MAX_ZEROS && `0.${"0".repeat(-point)}${digits}`
    : point >= digits.length
    ? point - digits.length <= MAX_ZEROS && digits + "0".repeat(point - digits.length)
    : `${digits.slice(0, point)}.${digits.slice(point)}`;
  if (plain !== false) return sign + plain;
  const mantissa = digits.length === 1 ? digits : `${digits[0]}.${digits.slice(1)}`;
  return `${sign}${mantissa}e${point > 0 ? "+" : "-"}${Math.abs(point - 1)}`;
}

/** Without zeros at the end; a loop, since a pattern would look at every zero inside again and again. */
export function trimEnd(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits[end - 1] === "0") end--;
  return digits.slice(0, end);
}

/** The digits of the holder's numbers that a double would print otherwise, if there are any. */
export function digitsOf(holder: object): Digits | undefined {
  return (holder as Holder)[DIGITS];
}

/** A number as text, with the digits that were read where it is still that number. */
export function numberText(value: number | bigint, digits: string | undefined): string {
  return digits !== undefined && Number(digits) === value ? digits : `${value}`;
}

/** The digits of a record's numbers, to be found again in what is made of it. */
export interface DigitsRead {
  byPath: Map<string, string>;
  /** Null where several texts have the value. */
  byNumber: Map<number, string | null>;
  /** As setDigits takes it. */
  byValue: boolean;
}

/** The digits of a record before a transform may change it; undefined where doubles print them all. */
export function readDigits(record: SourceRecord): DigitsRead | undefined {
  if (!hasDigits(record)) return undefined;
  const read: DigitsRead = { byPath: new Map(), byNumber: new Map(), byValue: false };
  eachNumber(record, "", (holder, name, path) => {
    const value = (holder as SourceRecord)[name] as number;
    const digits = digitsOf(holder);
    const text = numberText(value, digits?.[name]);
    if (digits !== undefined && BY_VALUE in digits) read.byValue = true;
    read.byPath.set(path, text);
    const other = read.byNumber.get(value);
    read.byNumber.set(value, other === undefined || other === text ? text : null);
  });
  return read;
}

/**
 * Gives the numbers of a transform's output the digits that they were read with:
 * those of the same field, else those of the one number of the record that has
 * this value. A number that was computed prints as its double.
 */
export function keepDigits(read: DigitsRead, output: SourceRecord): void {
  eachNumber(output, "", (holder, name, path) => {
    const value = (holder as SourceRecord)[name] as number;
    const same = read.byPath.get(path);
    const text = same !== undefined && Number(same) === value ? same : read.byNumber.get(value);
    if (typeof text === "string" && text !== `${value}` && Object.isExtensible(holder)) {
      setDigits(holder, name, text, read);
    }
  });
}

/** What is nested deeper cannot be stored anyway (canonical.ts). */
const MAX_DEPTH = 1_000;

function hasDigits(value: Json, depth = 0): boolean {
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return false;
  if (digitsOf(value) !== undefined) return true;
  for (const member of Array.isArray(value) ? value : Object.values(value)) {
    if (hasDigits(member, depth + 1)) return true;
  }
  return false;
}

function eachNumber(
  holder: Json[] | SourceRecord,
  path: string,
  visit: (holder: object, name: string, path: string) => void,
  depth = 0,
): void {
  for (const [name, value] of Object.entries(holder)) {
    const own = `${path}\u0000${name}`;
    if (typeof value === "number") visit(holder, name, own);
    else if (typeof value === "object" && value !== null && depth < MAX_DEPTH) {
      eachNumber(value, own, visit, depth + 1);
    }
  }
}

/** JSON of any value, with every digit of its bigints; `space` as JSON.stringify takes it. */
export function jsonText(value: unknown, space?: number): string {
  const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };
  return JSON.stringify(
    value,
    (_key, member) => typeof member === "bigint" ? rawJSON(`${member}`) : member,
    space,
  );
}

// TypeScript's own lib does not know the third argument yet (ECMAScript 2026).
type Reviver = (this: object, key: string, value: Json, context: { source?: string }) => Json;
const parseWithSource = JSON.parse as (text: string, reviver: Reviver) => Json;
const INTEGER = /^-?\d+$/;

/** JSON that we wrote, read so that it is written again as it was: 19.90 too. For a few rows that are shown. */
export function parseVerbatim(text: string): Json {
  return parseWithSource(text, function (key, value, { source }) {
    if (typeof value !== "number" || source === undefined || `${value}` === source) return value;
    if (INTEGER.test(source) && !Number.isSafeInteger(value)) return BigInt(source);
    setDigits(this, key, source);
    return value;
  });
}

/** Whether the holder's digits make keys by their value, as setDigits takes it. */
export function areByValue(holder: object): boolean {
  const digits = digitsOf(holder);
  return digits !== undefined && BY_VALUE in digits;
}
