import type { Json, SourceRecord } from "./sources/source.ts";

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

/** Notes how a holder's number was written; `text` is a JSON number of the same double. */
export function setDigits(holder: object, name: string, text: string): void {
  const digits: Digits = (holder as Holder)[DIGITS] ??= Object.create(null);
  digits[name] = text;
}

/** The digits of the holder's numbers that a double would print otherwise, if there are any. */
export function digitsOf(holder: object): Digits | undefined {
  return (holder as Holder)[DIGITS];
}

/** A number as text, with the digits that were read where it is still that number. */
export function numberText(value: number, digits: string | undefined): string {
  return digits !== undefined && Number(digits) === value ? digits : `${value}`;
}

/** The digits of a record's numbers, to be found again in what is made of it. */
export interface DigitsRead {
  byPath: Map<string, string>;
  /** Null where several texts have the value. */
  byValue: Map<number, string | null>;
}

/** The digits of a record before a transform may change it; undefined where doubles print them all. */
export function readDigits(record: SourceRecord): DigitsRead | undefined {
  if (!hasDigits(record)) return undefined;
  const read: DigitsRead = { byPath: new Map(), byValue: new Map() };
  eachNumber(record, "", (holder, name, path) => {
    const value = (holder as SourceRecord)[name] as number;
    const text = numberText(value, digitsOf(holder)?.[name]);
    read.byPath.set(path, text);
    const other = read.byValue.get(value);
    read.byValue.set(value, other === undefined || other === text ? text : null);
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
    const text = same !== undefined && Number(same) === value ? same : read.byValue.get(value);
    if (typeof text === "string" && text !== `${value}` && Object.isExtensible(holder)) {
      setDigits(holder, name, text);
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
