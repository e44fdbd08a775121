import {
  FALSE,
  fitsDigits,
  FlatRecords,
  type FlatShape,
  flatShape,
  type MostDigits,
  mostDigits,
  NULL,
  NUMBER,
  TEXT,
  TRUE,
  WIDE,
} from "../flat_records.ts";
import { textAt } from "../../short_texts.ts";
import { toUtcText } from "../../timestamps.ts";
import type { ColumnsConf } from "../columns.ts";
import type { CsvLayout } from "./csv_dialect.ts";

const NEWLINE = 10;
const CR = 13;
const SPACE = 32;
const JSON_QUOTE = 34;
const MINUS = 45;
const POINT = 46;
const DIGIT_0 = 48;
const DIGIT_9 = 57;
const BACKSLASH = 92;

/** Digits and signs of a number that is kept as it is written, whatever it is (csv_values.ts). */
const PLAIN_LENGTH = 15;

const decoder = new TextDecoder();

/** What a byte is outside of quotes. */
const INSIDE = 0;
const BEYOND_ASCII = 1;
const ENDS = 2;
const OTHER = 3;

/**
 * Finds flat records in the records of CSV text. A record that is none (a quote or a control
 * character in a cell, another number of cells, a header that stands where records do) ends the search.
 */
export class FlatCsv {
  readonly records = new FlatRecords();
  readonly #shape: FlatShape;
  /** As they are declared; undefined: not. */
  readonly #columns: (Declared | undefined)[];
  /** By byte; a cell in quotes ends at a quote only. */
  readonly #plain: Uint8Array;
  readonly #quoted: Uint8Array;
  readonly #delimiter: number;
  /** −1: nothing quotes. */
  readonly #quote: number;
  /** The first column's name, if a record of names is a header; else null. */
  readonly #header: Uint8Array | null;

  /** Null where no record of such a file is flat. */
  static of(
    names: string[],
    { layout, named }: { layout: CsvLayout; named: boolean },
    conf: ColumnsConf = {},
  ): FlatCsv | null {
    // a line of comment is none, and spaces behind a quote might be quotes
    if (layout.comment !== null || layout.quote === " " || conf.null_values !== undefined) {
      return null;
    }
    const shape = names.every((name) => PLAIN_NAME.test(name)) ? flatShape(names) : null;
    return shape === null ? null : new FlatCsv(shape, { layout, named, conf });
  }

  private constructor(
    shape: FlatShape,
    { layout: { delimiter, quote, escape }, named, conf }: {
      layout: CsvLayout;
      named: boolean;
      conf: ColumnsConf;
    },
  ) {
    this.#shape = shape;
    this.#columns = shape.names.map((name) => declared(conf, name));
    this.#header = named ? shape.nameBytes[0]! : null;
    this.#delimiter = delimiter.charCodeAt(0);
    this.#quote = quote === null ? -1 : quote.charCodeAt(0);
    this.#plain = classes();
    this.#plain[this.#delimiter] = ENDS;
    this.#plain[NEWLINE] = ENDS;
    this.#plain[CR] = ENDS;
    this.#quoted = classes();
    if (quote !== null) {
      if (escape !== quote) this.#quoted[escape!.charCodeAt(0)] = OTHER;
      this.#quoted[this.#quote] = ENDS;
    }
  }

  /**
   * Finds the records from number `first` on, which begins at `from`; `ends` has the byte behind each. Answers the number of
   * the first one that is left.
   */
  find(bytes: Uint8Array, ends: number[], first: number): number {
    const { records } = this;
    records.clear(bytes);
    for (let i = first; i < ends.length; i++) {
      const from = i === 0 ? 0 : ends[i - 1]!;
      const end = ends[i]!;
      // the last one of a file may end without a newline
      if (bytes[end - 1] !== NEWLINE) return i;
      if (end - from === 1 || end - from === 2 && bytes[from] === CR) continue;
      if (!this.#record(bytes, from, end)) return i;
      records.begins[records.count++] = i;
    }
    return ends.length;
  }

  #record(bytes: Uint8Array, begin: number, end: number): boolean {
    const { records } = this;
    const count = this.#shape.names.length;
    records.reserve(count);
    const { starts, ends, kinds } = records;
    const delimiter = this.#delimiter;
    let member = records.members;
    let i = begin;
    for (let n = 0; n < count; n++) {
      const isQuoted = bytes[i] === this.#quote;
      const ofByte = isQuoted ? this.#quoted : this.#plain;
      const from = isQuoted ? ++i : i;
      let kind = TEXT;
      for (;;) {
        const what = ofByte[bytes[i]!];
        if (what === INSIDE) i++;
        else if (what === ENDS) break;
        else if (what === BEYOND_ASCII && records.isUtf8()) {
          kind |= WIDE;
          i++;
        } else return false;
      }
      starts[member] = from;
      ends[member] = i;
      const column = this.#columns[n];
      kinds[member] = column !== undefined
        ? declaredKindOf(bytes, from, i, kind, column)
        : kind === TEXT
        ? kindOf(bytes, from, i)
        : kind;
      if (kinds[member] === ODD) return false;
      if (n === 0 && this.#header !== null && mayBe(bytes, from, i, this.#header)) return false;
      member++;
      if (isQuoted) {
        i++;
        while (bytes[i] === SPACE && delimiter !== SPACE) i++;
      }
      if (n < count - 1) {
        if (bytes[i++] !== delimiter) return false;
      } else if (bytes[i] === CR) i++;
    }
    if (i !== end - 1) return false;
    // files that were joined bring their marks along
    if (bytes[begin] === 0xef && bytes[begin + 1] === 0xbb && bytes[begin + 2] === 0xbf) {
      return false;
    }
    records.shapes.push(this.#shape);
    records.members = member;
    return true;
  }
}

/** A name that stands in JSON as it is. */
// deno-lint-ignore no-control-regex
const PLAIN_NAME = /^[^"\\\u0000-\u001f\ud800-\udfff]+$/;

/** What a byte is that neither separates nor quotes. */
function classes(): Uint8Array {
  const made = new Uint8Array(256);
  made.fill(BEYOND_ASCII, 128);
  // JSON writes them otherwise, or a reader of CSV looks twice
  made.fill(OTHER, 0, SPACE);
  made[JSON_QUOTE] = OTHER;
  made[BACKSLASH] = OTHER;
  return made;
}

/** A number that others look at: a long one, or −0. */
const ODD = 255;

/** What the text of a cell is (setCell of csv_values.ts). */
function kindOf(bytes: Uint8Array, from: number, to: number): number {
  if (from === to) return NULL;
  const first = bytes[from]!;
  if (first === MINUS || first >= DIGIT_0 && first <= DIGIT_9) {
    if (!isNumber(bytes, first === MINUS ? from + 1 : from, to)) return TEXT;
    return to - from > PLAIN_LENGTH || first === MINUS && isZero(bytes, from + 1, to)
      ? ODD
      : NUMBER;
  }
  if (to - from === 4) {
    return first === 0x74 && bytes[from + 1] === 0x72 && bytes[from + 2] === 0x75 &&
        bytes[from + 3] === 0x65
      ? TRUE
      : TEXT;
  }
  return to - from === 5 && first === 0x66 && bytes[from + 1] === 0x61 &&
      bytes[from + 2] === 0x6c && bytes[from + 3] === 0x73 && bytes[from + 4] === 0x65
    ? FALSE
    : TEXT;
}

/** A column as it is declared. */
interface Declared {
  type: string;
  most: MostDigits | null;
}

/** Undefined where a column is not declared. */
function declared(
  { columns = {}, true_values, false_values }: ColumnsConf,
  name: string,
): Declared | undefined {
  if (!Object.hasOwn(columns, name)) return undefined;
  const column = columns[name]!;
  if (typeof column !== "string" && !("type" in column)) return undefined;
  const { type, column: _column, ...other } = typeof column === "string"
    ? { type: column }
    : column;
  // what says how its texts are read is for their reader
  const isPlain = Object.values(other).every((value) => value === undefined) &&
    true_values === undefined && false_values === undefined;
  const bare = type === "bigint" ? "integer" : /^num/.test(type) ? "numeric" : type;
  return { type: isPlain ? bare : "read", most: mostDigits(type) };
}

/** What the text of a cell is in a declared column (columns.ts); `ODD` where its reader has to look at it. */
function declaredKindOf(
  bytes: Uint8Array,
  from: number,
  to: number,
  kind: number,
  { type, most }: Declared,
): number {
  if (from === to) return NULL;
  if (type === "text") return kind;
  if (kind !== TEXT) return ODD;
  const own = kindOf(bytes, from, to);
  switch (type) {
    case "integer":
      return own === NUMBER && isWhole(bytes, from, to) ? NUMBER : ODD;
    case "numeric":
      return own === NUMBER && (most === null || fitsDigits(bytes, from, to, most)) ? NUMBER : ODD;
    case "boolean":
      return own === TRUE || own === FALSE ? own : ODD;
    case "date":
      return to - from === 10 && toUtcText(textAt(bytes, from, to, decoder)) !== null ? TEXT : ODD;
    case "timestamptz": {
      const text = textAt(bytes, from, to, decoder);
      return toUtcText(text) === text ? TEXT : ODD;
    }
    default:
      return ODD;
  }
}

/** Digits without zeros before them, and a point and digits or not. */
function isNumber(bytes: Uint8Array, from: number, to: number): boolean {
  let i = from;
  while (i < to && bytes[i]! >= DIGIT_0 && bytes[i]! <= DIGIT_9) i++;
  if (i === from || i - from > 1 && bytes[from] === DIGIT_0) return false;
  if (i === to) return true;
  if (bytes[i] !== POINT || ++i === to) return false;
  while (i < to && bytes[i]! >= DIGIT_0 && bytes[i]! <= DIGIT_9) i++;
  return i === to;
}

/** Whether a number has no point. */
function isWhole(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] === POINT) return false;
  return true;
}

/** Whether a number has no digit but 0. */
function isZero(bytes: Uint8Array, from: number, to: number): boolean {
  let i = from;
  while (i < to && bytes[i]! <= DIGIT_0) i++;
  return i === to;
}

/** Whether a cell is a name, white space beside it or not: of other white space than a space any cell that ends so. */
function mayBe(bytes: Uint8Array, from: number, to: number, name: Uint8Array): boolean {
  let [begin, end] = [from, to];
  while (begin < end && bytes[begin] === SPACE) begin++;
  while (begin < end && bytes[end - 1] === SPACE) end--;
  if (begin < end && (bytes[begin]! > 127 || bytes[end - 1]! > 127)) {
    for (let at = begin; at <= end - name.length; at++) if (isAt(bytes, at, name)) return true;
    return false;
  }
  return end - begin === name.length && isAt(bytes, begin, name);
}

function isAt(bytes: Uint8Array, at: number, text: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false;
  return true;
}
