import { type Message, say } from "../../vocabulary/messages.ts";
import {
  digitsOf,
  ExactNumber,
  MAX_NUMBER_DIGITS,
  normalNumber,
  setDigits,
  trimEnd,
} from "../numbers.ts";
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
const JSON_NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** A number that no JSON number of a database can hold, such as 1e400000. */
export class NumberRangeError extends SyntaxError {
  override readonly name = "NumberRangeError";
  constructor(override readonly message: Message) {
    super(message);
  }
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

/** Stands before a number while JSON.parse reads the rest; nobody outside can know it. Short, as there may be millions. */
const MARK = crypto.randomUUID().replaceAll("-", "").slice(0, 16);

const MARKED = `"${MARK}`;
const PARTS = 4_000;

/**
 * JSON.parse that keeps every digit: of integers as a bigint beyond 2^53, of
 * other numbers beside the double (numbers.ts). The time is linear in the size;
 * a reviver would be called with its source text for each value.
 *
 * @throws {NumberRangeError} for a number of more than 1,000 digits, written out.
 * @throws {SyntaxError} for anything that is not JSON.
 */
export function parseJsonExactly(text: string): Json {
  return inList(text)[0]!;
}

/** The same, in a list that has the digits of a text that is one number. */
function inList(text: string): Json[] {
  const blocks: string[] = [];
  const parts: string[] = [];
  let copied = 0;
  eachLongNumber(text, (from, to) => {
    const number = text.slice(from, to);
    if (!JSON_NUMBER.test(number) || (!isLongPlain(number) && isPrinted(number))) return;
    parts.push(text.slice(copied, from), MARKED, number, '"');
    copied = to;
    // millions of parts at once would fill the heap, and so would a sum of them, which V8 keeps as a tree
    if (parts.length >= PARTS) blocks.push(parts.splice(0).join(""));
  });
  if (copied === 0) return [JSON.parse(text)];
  let value: Json;
  try {
    value = JSON.parse(blocks.join("") + parts.join("") + text.slice(copied));
  } catch (error) {
    // the text as it was given says best what is wrong
    JSON.parse(text);
    throw error;
  }
  return withNumbers(value);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;

/** Tells where number tokens are that may need a look: long ones, and those with an exponent of three digits. */
export function eachLongNumber(text: string, told: (from: number, to: number) => void): void {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) {
      for (i++; i < text.length; i++) {
        const inside = text.charCodeAt(i);
        if (inside === QUOTE) break;
        if (inside === BACKSLASH) i++;
      }
    } else if (code === MINUS || (code >= 0x30 && code <= 0x39)) {
      const from = i;
      let exponentAt = Infinity;
      for (i++; i < text.length; i++) {
        const part = text.charCodeAt(i);
        const isExponent = part === 0x65 || part === 0x45;
        if (isExponent) exponentAt = i;
        // digits . + - e E
        if (
          !((part >= 0x30 && part <= 0x39) || part === 0x2e || part === 0x2b || part === MINUS ||
            isExponent)
        ) break;
      }
      if (i - exponentAt > 3 || i - from >= 16) {
        let next = i;
        while (next < text.length && text.charCodeAt(next) <= 0x20) next++;
        // a number is no name of a member, and must not become one
        if (text[next] !== ":") told(from, i);
      }
      i--;
    }
  }
}

/** Puts the numbers back that were marked. */
function withNumbers(root: Json): Json[] {
  const holder: Json[] = [root];
  const waiting: (Json[] | Record<string, Json>)[] = [holder];
  const look = (part: Json[] | Record<string, Json>, key: string | number): void => {
    const value = (part as Json[])[key as number]!;
    if (typeof value === "string") {
      if (!value.startsWith(MARK)) return;
      const number = value.slice(MARK.length);
      (part as Json[])[key as number] = exactNumber(number, part, `${key}`);
    } else if (value !== null) waiting.push(value as Json[]);
  };
  for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
    if (Array.isArray(part)) {
      for (let i = 0; i < part.length; i++) {
        // most are nothing to look at, and this is where the time goes
        if (typeof part[i] === "string" || typeof part[i] === "object") look(part, i);
      }
    } else {
      for (const key of Object.keys(part)) {
        if (typeof part[key] === "string" || typeof part[key] === "object") look(part, key);
      }
    }
  }
  return holder;
}

/** Whether a JSON number is surely none that a double prints: of 18 and more digits, the first of which counts. */
function isLongPlain(number: string): boolean {
  return number.length > LONGEST_PLAIN && LONG_PLAIN.test(number);
}

/** Sign, point and the 17 digits that a double prints at most. */
const LONGEST_PLAIN = 19;
const LONG_PLAIN = /^-?[1-9][\d.]*$/;

/** Whether all but the zeros at its end is so long, and is no integer. */
function hasLongPart(plain: string): boolean {
  const digits = trimEnd(plain);
  return digits.length > LONGEST_PLAIN && !digits.endsWith(".");
}

/** Whether JSON.parse keeps all that a JSON number says. */
function isPrinted(number: string): boolean {
  const value = Number(number);
  // a double keeps 15 digits, and most long tokens of numbers have an exponent instead of more
  if (number.length < 18 && /[eE]/.test(number) && isNormal(value)) return true;
  return !isBeyond(value) && number === `${value}`;
}

/** Whether a double has its full precision: neither 0, nor close to it, nor infinite. */
function isNormal(value: number): boolean {
  return Number.isFinite(value) && Math.abs(value) > 1e-300;
}

/** Whether a number is not among those whose integers are all doubles. */
function isBeyond(value: number): boolean {
  return value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER;
}

function exactNumber(source: string, holder: object, key: string): Json {
  if (source.length > MAX_NUMBER_DIGITS) throw outOfRange(source);
  const isInteger = INTEGER.test(source);
  if (isInteger && source.length > LONGEST_PLAIN) return BigInt(source);
  const value = Number(source);
  if (isInteger) return Number.isSafeInteger(value) ? value : BigInt(source);
  const exact = () => {
    setDigits(holder, key, source, { byValue: true });
    return value;
  };
  if (Number.isFinite(value) && isLongPlain(source) && hasLongPart(source)) return exact();
  const normal = normalNumber(source);
  if (Number.isFinite(value) && normal === normalNumber(`${value}`)) return value;
  const [, digits, power] = /^-?([\d.]+)(?:e([+-]\d+))?$/.exec(normal)!;
  if (Math.abs(Number(power ?? 0)) + digits!.length > MAX_NUMBER_DIGITS) throw outOfRange(source);
  if (Number.isFinite(value)) return exact();
  // beyond a double's range, but an integer all the same, like 1e400
  const zeros = Number(power ?? 0) - digits!.replace(".", "").length + 1;
  if (zeros < 0) throw outOfRange(source);
  const whole = BigInt(digits!.replace(".", "")) * 10n ** BigInt(zeros);
  return normal.startsWith("-") ? -whole : whole;
}

function outOfRange(source: string): NumberRangeError {
  return new NumberRangeError(
    say("number-range", {
      number: `${source.slice(0, 40)}${source.length > 40 ? "…" : ""}`,
      limit: MAX_NUMBER_DIGITS,
    }),
  );
}

/** Parses the JSON text of a value that will have a holder (see `put`): a text that is one number keeps its digits too. */
export function parseJsonValue(text: string): Json | ExactNumber {
  if (!losesDigits(text)) return JSON.parse(text);
  const list = inList(text);
  const digits = digitsOf(list)?.[0];
  return digits === undefined ? list[0]! : new ExactNumber(digits);
}

/** Parses one JSON text exactly, at the price of JSON.parse where that is enough. */
export function parseJson(text: string): Json {
  return losesDigits(text) ? parseJsonExactly(text) : JSON.parse(text);
}
