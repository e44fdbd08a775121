import { isUtf8 } from "node:buffer";
import { PARTICULAR_NAME } from "../canonical.ts";
import type { RecordBatch } from "./source.ts";

/** What the value of a member is; of a text also whether it has more than ASCII, and escapes of JSON. */
export const NULL = 0;
export const TEXT = 1;
export const NUMBER = 2;
export const TRUE = 3;
export const FALSE = 4;
export const KIND = 7;
export const WIDE = 8;
export const ESCAPED = 16;

/** Names that a flat record may have; each place is looked up by its number. */
export const MAX_FLAT_NAMES = 256;

const MINUS = 45;
const POINT = 46;
const DIGIT_0 = 48;
const DIGIT_9 = 57;

/** Digits that a double holds, whatever they are: it prints the same again (IEEE 754, DBL_DIG). */
const EXACT_DIGITS = 15;
/** Sign, zeros, point and the 17 digits that a double prints at most (ECMA-262, Number::toString). */
const LONGEST_PRINTED = 25;
/** Zeros behind the point before which a double is printed without an exponent (the same). */
const PLAIN_ZEROS = 5;

/** Bytes that are looked at together: what is larger has few records, which are read as any are. */
export const MAX_FLAT_BYTES = 1 << 21;

/** The names of a record's members, in the order in which they stand there. */
export interface FlatShape {
  readonly names: readonly string[];
  /** Each name's bytes as they stand between quotes. */
  readonly nameBytes: readonly Uint8Array[];
}

/** The shape of names that differ, that jsonb can hold and that mean nothing to JavaScript; null where they are none. */
export function flatShape(names: string[]): FlatShape | null {
  const plain = names.length > 0 && names.length <= MAX_FLAT_NAMES &&
    new Set(names).size === names.length &&
    !names.some((name) =>
      PARTICULAR_NAME.test(name) || name === "toJSON" || name.includes("\0") || !name.isWellFormed()
    );
  return plain ? { names, nameBytes: names.map((name) => encoder.encode(name)) } : null;
}

const encoder = new TextEncoder();

/**
 * Records that need not be parsed: objects without objects or lists in them, whose values stand in the bytes as canonical
 * JSON writes them, but for quotes around texts. Each member is a place in the bytes and a kind; the members of record `i`
 * follow those of record `i - 1`. What finds them (flat_json.ts, flat_csv.ts) leaves anything else to the readers of all
 * records, so that these give what those would.
 */
export class FlatRecords {
  bytes: Uint8Array = new Uint8Array(0);
  count = 0;
  /** By record. */
  shapes: FlatShape[] = [];
  /** By record: where it begins in the bytes. */
  begins = new Int32Array(64);
  /** By member. */
  starts = new Int32Array(512);
  ends = new Int32Array(512);
  kinds = new Uint8Array(512);
  members = 0;
  /** Of the number that was read last, as it is printed. */
  numberStart = 0;
  numberEnd = 0;
  #given: Uint8Array | null = null;
  #isUtf8: boolean | undefined;

  /** Forgets the records; others are looked for in these bytes, which may be a copy of what is given. */
  clear(bytes: Uint8Array, given = bytes): void {
    if (given !== this.#given) this.#isUtf8 = undefined;
    this.#given = given;
    this.bytes = bytes;
    this.count = 0;
    this.members = 0;
    this.shapes.length = 0;
  }

  /** Whether the bytes are UTF-8: to be asked before a text beyond ASCII counts as flat. */
  isUtf8(): boolean {
    return this.#isUtf8 ??= isUtf8(this.#given!);
  }

  /**
   * Reads a number that a double prints as it stands there, but for zeros at its end; answers the byte behind it, −1 where it is
   * none of these.
   */
  number(bytes: Uint8Array, from: number): number {
    let i = bytes[from] === MINUS ? from + 1 : from;
    const whole = i;
    while (isDigit(bytes[i]!)) i++;
    let digits = i - whole;
    if (digits === 0 || digits > 1 && bytes[whole] === DIGIT_0) return -1;
    let end = i;
    if (bytes[i] === POINT) {
      const part = ++i;
      while (isDigit(bytes[i]!)) i++;
      if (i === part) return -1;
      digits += i - part;
      end = i;
      while (end > part && bytes[end - 1] === DIGIT_0) end--;
      if (end === part) end--;
      else if (digits > PLAIN_ZEROS && bytes[whole] === DIGIT_0) {
        let zeros = part;
        while (bytes[zeros] === DIGIT_0) zeros++;
        if (zeros - part > PLAIN_ZEROS) return -1;
      }
    }
    if (bytes[i] === 0x65 || bytes[i] === 0x45) return -1;
    if (digits > EXACT_DIGITS && !isPrinted(bytes.subarray(from, i))) return -1;
    // −0 is 0
    const isZero = end === whole + 1 && bytes[whole] === DIGIT_0;
    this.numberStart = isZero ? whole : from;
    this.numberEnd = end;
    return i;
  }

  /** Makes room for the members of one more record. */
  reserve(members: number): void {
    if (this.count === this.begins.length) this.begins = grown(this.begins);
    if (this.members + members <= this.starts.length) return;
    this.starts = grown(this.starts);
    this.ends = grown(this.ends);
    const kinds = new Uint8Array(this.kinds.length * 2);
    kinds.set(this.kinds);
    this.kinds = kinds;
    this.reserve(members);
  }
}

/** Flat records between two others for which it is worth to look for them. */
const WORTH = 16;
/** Records that are read as any are, at most, before flat ones are looked for again. */
const MAX_OTHERS = 1_000;

/** Records among which flat ones are looked for. Places are the reader's own, numbers of rows or of bytes, as in `begins`. */
export interface MixedRecords {
  from: number;
  to: number;
  /** Finds the flat records from a place on; answers the place behind them, and whether others may follow there at once. */
  find(from: number): { end: number; more?: boolean };
  /** Reads records as any are read. */
  others(from: number, to: number): RecordBatch;
  /** The place of the record so many behind the one at a place; default: places are numbers of records. */
  behind?(from: number, count: number): number;
}

/** Reads flat records and the others between them, in their order. Where few are flat, it looks for them ever less often. */
export class MixedReader {
  readonly #records: FlatRecords;
  #others = 1;

  constructor(records: FlatRecords) {
    this.#records = records;
  }

  *batches(
    { from, to, find, others, behind = (at, count) => at + count }: MixedRecords,
  ): Generator<RecordBatch> {
    const records = this.#records;
    for (let at = from; at < to;) {
      const { end, more = false } = find(at);
      const { count } = records;
      if (count > 0) {
        const batch: RecordBatch = [];
        batch.unparsed = { records, rest: (i) => others(records.begins[i]!, end) };
        yield batch;
      }
      const found = end > at;
      at = end;
      if (end === to || more && found) continue;
      this.#others = count >= WORTH ? 1 : Math.min(this.#others * 2, MAX_OTHERS);
      at = Math.min(to, behind(end, this.#others));
      yield others(end, at);
    }
  }
}

/** Digits that a numeric(p,s) has before the point, and behind it. */
export interface MostDigits {
  whole: number;
  part: number;
}

/** Null where a type has no such limits. */
export function mostDigits(type: string): MostDigits | null {
  const match = /^numeric\( *(\d+) *(?:, *(\d+) *)?\)$/.exec(type);
  if (match === null) return null;
  const [, precision, scale = "0"] = match;
  return { whole: Number(precision) - Number(scale), part: Number(scale) };
}

/** Whether a number has no more digits than its column. */
export function fitsDigits(
  bytes: Uint8Array,
  from: number,
  to: number,
  most: MostDigits,
): boolean {
  const first = bytes[from] === 45 ? from + 1 : from;
  let point = first;
  while (point < to && bytes[point] !== POINT) point++;
  let end = to;
  while (end > point + 1 && bytes[end - 1] === DIGIT_0) end--;
  const whole = point - first === 1 && bytes[first] === DIGIT_0 ? 0 : point - first;
  return whole <= most.whole && Math.max(0, end - point - 1) <= most.part;
}

function isDigit(byte: number): boolean {
  return byte >= DIGIT_0 && byte <= DIGIT_9;
}

/** Whether a double prints a longer number, too, as it stands there; of integers only those count of which all are doubles. */
function isPrinted(bytes: Uint8Array): boolean {
  if (bytes.length > LONGEST_PRINTED) return false;
  const text = String.fromCharCode(...bytes);
  const value = Number(text);
  return `${value}` === text && Math.abs(value) <= Number.MAX_SAFE_INTEGER;
}

function grown(from: Int32Array): Int32Array<ArrayBuffer> {
  const to = new Int32Array(from.length * 2);
  to.set(from);
  return to;
}
