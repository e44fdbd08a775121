import {
  FALSE,
  FlatRecords,
  type FlatShape,
  flatShape,
  MAX_FLAT_BYTES,
  NULL,
  NUMBER,
  TEXT,
  TRUE,
  WIDE,
} from "../flat_records.ts";
import type { ColumnReader, FlatText } from "./values.ts";

const TAB = 9;
const LINE_END = 10;
const SPACE = 32;
const QUOTE = 34;
const PLUS = 43;
const MINUS = 45;
const POINT = 46;
const DIGIT_0 = 48;
const COLON = 58;
const LETTER_N = 78;
const LETTER_T = 84;
const LETTER_Z = 90;
const BACKSLASH = 92;

/** Whole rows as COPY writes them. */
interface Rows {
  bytes: Uint8Array;
  ends: readonly number[];
  begin(i: number): number;
}

/** Finds flat records in rows that COPY has written as text. One that has an escape, or a value that has to be read, ends the search. */
export class FlatCopy {
  readonly records = new FlatRecords();
  readonly #shape: FlatShape;
  readonly #kinds: (FlatText | null)[];
  /** The rows in hand, up to one and from a byte of the page on; their times are written as ISO 8601 has them. */
  #rows: Rows | null = null;
  #to = 0;
  #start = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #copy = new Uint8Array(0);

  /** Null where no row of such columns is flat. */
  static of(columns: ColumnReader[]): FlatCopy | null {
    const shape = flatShape(columns.map(({ name }) => name));
    const isPlain = shape !== null && shape.names.every((name) => !UNPLAIN_NAME.test(name));
    return isPlain ? new FlatCopy(shape, columns.map(({ flat }) => flat)) : null;
  }

  private constructor(shape: FlatShape, kinds: (FlatText | null)[]) {
    this.#shape = shape;
    this.#kinds = kinds;
  }

  /**
   * Finds the records among the rows [from, to), or among those of them that are not too many bytes; answers the number of the
   * first row that is left, and whether it was not looked at.
   */
  find(rows: Rows, from: number, to: number): { end: number; more: boolean } {
    if (rows !== this.#rows || from >= this.#to) this.#take(rows, from, to);
    const { records } = this;
    records.clear(this.#bytes);
    // none where a row is too large by itself
    for (let i = from; i < this.#to; i++) {
      if (!this.#record(this.#bytes, rows.begin(i) - this.#start)) return { end: i, more: false };
      records.begins[records.count++] = i;
    }
    return { end: this.#to, more: true };
  }

  /** Copies rows. */
  #take(rows: Rows, from: number, most: number): void {
    const start = rows.begin(from);
    let to = most;
    while (to > from && rows.ends[to - 1]! - start > MAX_FLAT_BYTES) to--;
    const size = to === from ? 0 : rows.ends[to - 1]! - start;
    if (this.#copy.length < size) this.#copy = new Uint8Array(size * 2);
    this.#bytes = this.#copy.subarray(0, size);
    this.#bytes.set(rows.bytes.subarray(start, start + size));
    this.#rows = rows;
    this.#start = start;
    this.#to = to;
  }

  #record(bytes: Uint8Array, begin: number): boolean {
    const { records } = this;
    const kinds = this.#kinds;
    records.reserve(kinds.length);
    let member = records.members;
    let i = begin;
    for (let n = 0; n < kinds.length; n++) {
      let kind = TEXT;
      const from = i;
      let end = -1;
      if (bytes[i] === BACKSLASH) {
        if (bytes[i + 1] !== LETTER_N) return false;
        kind = NULL;
        i += 2;
      } else {
        switch (kinds[n]) {
          case "text":
            for (; bytes[i]! >= SPACE; i++) {
              const byte = bytes[i]!;
              if (byte === QUOTE || byte === BACKSLASH) return false;
              if (byte > 127) {
                if (!records.isUtf8()) return false;
                kind |= WIDE;
              }
            }
            break;
          case "number":
            kind = NUMBER;
            i = records.number(bytes, i);
            if (i < 0) return false;
            end = records.numberEnd;
            break;
          case "boolean":
            kind = bytes[i] === 0x74 ? TRUE : FALSE;
            i++;
            break;
          case "time":
            i = isoTime(bytes, i);
            if (i < 0) return false;
            end = bytes[i - 3] === LETTER_Z ? i - 2 : i;
            break;
          default:
            return false;
        }
      }
      if (bytes[i] !== TAB && bytes[i] !== LINE_END) return false;
      records.starts[member] = kind === NUMBER ? records.numberStart : from;
      records.ends[member] = end < 0 ? i : end;
      records.kinds[member] = kind;
      member++;
      i++;
    }
    records.shapes.push(this.#shape);
    records.members = member;
    return true;
  }
}

/** A name that JSON writes otherwise. */
// deno-lint-ignore no-control-regex
const UNPLAIN_NAME = /["\\\u0000-\u001f\ud800-\udfff]/;

/**
 * Writes a time as ISO 8601 has it, where its year has four digits and no BC, and its zone is UTC or none: 2026-02-03 04:05:06.789+00
 * becomes 2026-02-03T04:05:06.789Z, two bytes shorter. Answers the byte behind what it takes for the time, −1 where it is another.
 */
function isoTime(bytes: Uint8Array, from: number): number {
  if (bytes[from + 4] !== MINUS || bytes[from + 10] !== SPACE) return -1;
  let i = from + 11;
  while (bytes[i]! >= POINT && bytes[i]! <= COLON) i++;
  if (bytes[i] === PLUS) {
    if (bytes[i + 1] !== DIGIT_0 || bytes[i + 2] !== DIGIT_0) return -1;
    bytes[i] = LETTER_Z;
    i += 3;
  }
  bytes[from + 10] = LETTER_T;
  return i;
}
