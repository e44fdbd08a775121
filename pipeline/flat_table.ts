import { hash } from "node:crypto";
import { keyColumns, type TypedTable } from "../store/row_layout.ts";
import { parsePath } from "./field_path.ts";
import {
  ESCAPED,
  FALSE,
  fitsDigits,
  type FlatRecords,
  type FlatShape,
  KIND,
  type MostDigits,
  mostDigits,
  NULL,
  NUMBER,
  TEXT,
  TRUE,
} from "./sources/flat_records.ts";
import { textAt } from "./short_texts.ts";
import { MAX_EVENT_ID_BYTES } from "./stages/validate.ts";
import { toUtcText } from "./timestamps.ts";

/** Value of a column: null, a text or number for the encoder, or undefined: the bytes as they stand there. */
export type FlatValue = string | number | null | undefined;

interface Column {
  path: string;
  type: string;
  /** What stands before its text in the row's fingerprint. */
  prefix: Uint8Array;
  most: MostDigits | null;
}

const DIGIT_0 = 48;
const POINT = 46;
const QUOTE = 34;
const COMMA = 44;
const COLON = 58;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Makes rows of a typed table of flat records, as RowShaper (typed_rows.ts) makes them of any: finds the place of each column's
 * value, and leaves a record to it that has a value which is not plainly of its column's type.
 */
export class FlatTable {
  readonly #columns: Column[];
  readonly #order: number[];
  /** Numbers of the key's columns. */
  readonly #key: number[];
  readonly #known: Set<string>;
  readonly #maxBytes: number;
  readonly #members = new WeakMap<FlatShape, { ofColumn: Int32Array; unknown: number[] }>();
  /** By column: number of the member in `starts` and `ends`, and the value. */
  readonly places: Int32Array;
  readonly values: FlatValue[];
  /** Bytes of the key. */
  key = new Uint8Array(256);
  keyEnd = 0;
  /** Whether the key is ASCII. */
  isPlainKey = true;
  #written = new Uint8Array(4_096);

  /** Null where rows of the table have no key of their own, or columns take values otherwise than they are read. */
  static of(table: TypedTable, { maxPayloadBytes }: { maxPayloadBytes: number }): FlatTable | null {
    const { key, columns, casts = {} } = table;
    const isFlat = key !== null && Object.keys(casts).length === 0 &&
      columns.every(({ path }) => parsePath(path).length === 1);
    return isFlat ? new FlatTable(table, maxPayloadBytes) : null;
  }

  private constructor(table: TypedTable, maxBytes: number) {
    const { columns } = table;
    this.#columns = columns.map(({ name, path, type }) => ({
      path: parsePath(path)[0]!,
      type: type.startsWith("numeric") ? "numeric" : type,
      prefix: encoder.encode(JSON.stringify(name)),
      most: mostDigits(type),
    }));
    this.#order = columns.map((_, i) => i).sort((a, b) =>
      columns[a]!.name < columns[b]!.name ? -1 : 1
    );
    this.#key = keyColumns(table).map((column) => columns.indexOf(column));
    this.#known = new Set(this.#columns.map(({ path }) => path));
    this.#maxBytes = maxBytes;
    this.places = new Int32Array(columns.length);
    this.values = new Array(columns.length).fill(null);
  }

  /** Finds the values and the key of a record, whose first member has this number; false where others have to look at it. */
  read(flat: FlatRecords, shape: FlatShape, member: number): boolean {
    const { ofColumn, unknown } = this.#membersOf(shape);
    const { bytes, starts, ends, kinds } = flat;
    for (const each of unknown) if (kinds[member + each] !== NULL) return false;
    for (let i = 0; i < ofColumn.length; i++) {
      const place = ofColumn[i]! < 0 ? -1 : member + ofColumn[i]!;
      const kind = place < 0 ? NULL : kinds[place]!;
      this.places[i] = place;
      if (kind === NULL) {
        this.values[i] = null;
        continue;
      }
      if ((kind & ESCAPED) !== 0) return false;
      const value = valueOf(bytes, starts[place]!, ends[place]!, kind & KIND, this.#columns[i]!);
      if (value === null) return false;
      this.values[i] = value;
    }
    return this.#readKey(flat);
  }

  #membersOf(shape: FlatShape): { ofColumn: Int32Array; unknown: number[] } {
    let known = this.#members.get(shape);
    if (known === undefined) {
      const { names } = shape;
      known = {
        ofColumn: Int32Array.from(this.#columns, ({ path }) => names.indexOf(path)),
        unknown: [...names.keys()].filter((i) => !this.#known.has(names[i]!)),
      };
      this.#members.set(shape, known);
    }
    return known;
  }

  #readKey({ bytes, starts, ends }: FlatRecords): boolean {
    let size = 2;
    for (const i of this.#key) {
      if (this.values[i] === null) return false;
      const place = this.places[i]!;
      const length = ends[place]! - starts[place]!;
      // dates and times are keys in one form, and so are numbers
      if (
        length === 0 ||
        !isKeyText(bytes, starts[place]!, ends[place]!, this.values[i], this.#columns[i]!)
      ) {
        return false;
      }
      size += length + 3;
    }
    if (size > this.key.length) this.key = new Uint8Array(size * 2);
    const { key } = this;
    const isAlone = this.#key.length === 1;
    let at = 0;
    let any = 0;
    // an array of PostgreSQL's where it has several parts
    if (!isAlone) key[at++] = 123;
    for (let n = 0; n < this.#key.length; n++) {
      const place = this.places[this.#key[n]!]!;
      if (n > 0) key[at++] = COMMA;
      if (!isAlone) key[at++] = QUOTE;
      for (let i = starts[place]!; i < ends[place]!; i++) any |= key[at++] = bytes[i]!;
      if (!isAlone) key[at++] = QUOTE;
    }
    if (!isAlone) key[at++] = 125;
    this.keyEnd = at;
    this.isPlainKey = any < 128;
    return at <= MAX_EVENT_ID_BYTES;
  }

  /** The row's fingerprint in hex, as RowShaper makes it; null where it has too many bytes. */
  fingerprint({ bytes, starts, ends, kinds }: FlatRecords, version: string | null): string | null {
    let needed = (version?.length ?? 0) + 1;
    for (let i = 0; i < this.values.length; i++) {
      const value = this.values[i];
      if (value === null) continue;
      const place = this.places[i]!;
      needed += this.#columns[i]!.prefix.length + 24 + 32 + ends[place]! - starts[place]!;
    }
    if (needed > this.#written.length) this.#written = new Uint8Array(needed * 2);
    const written = this.#written;
    let at = 0;
    if (version !== null) {
      written[at++] = 118;
      for (let i = 0; i < version.length; i++) written[at++] = version.charCodeAt(i);
    }
    for (const i of this.#order) {
      const value = this.values[i];
      if (value === null) continue;
      const { prefix } = this.#columns[i]!;
      for (let k = 0; k < prefix.length; k++) written[at++] = prefix[k]!;
      if (typeof value === "string") {
        at = writeLength(written, at, value.length);
        for (let k = 0; k < value.length; k++) written[at++] = value.charCodeAt(k);
        continue;
      }
      const place = this.places[i]!;
      const [from, to] = [starts[place]!, ends[place]!];
      const units = kinds[place]! > KIND ? unitsOf(bytes, from, to) : to - from;
      at = writeLength(written, at, units);
      for (let k = from; k < to; k++) written[at++] = bytes[k]!;
    }
    if (at > this.#maxBytes) return null;
    return hash("sha256", written.subarray(0, at), "hex").slice(0, 32);
  }
}

/** What the encoder is given of a value; null where it is not plainly of its column's type. */
function valueOf(
  bytes: Uint8Array,
  from: number,
  to: number,
  kind: number,
  { type, most }: Column,
): Exclude<FlatValue, null> | null {
  switch (type) {
    case "text":
      return kind === TEXT || kind === NUMBER ? undefined : null;
    case "boolean":
      return kind === TRUE ? "true" : kind === FALSE ? "false" : null;
    case "integer": {
      if (kind !== NUMBER) return null;
      let value = 0;
      const first = bytes[from] === 45 ? from + 1 : from;
      if (to - first > 15) return null;
      for (let i = first; i < to; i++) {
        if (bytes[i] === POINT) return null;
        value = value * 10 + bytes[i]! - DIGIT_0;
      }
      return first === from ? value : -value;
    }
    case "numeric":
      return kind === NUMBER && (most === null || fitsDigits(bytes, from, to, most))
        ? undefined
        : null;
    case "date": {
      if (kind !== TEXT || to - from !== 10) return null;
      const text = textAt(bytes, from, to, decoder);
      return toUtcText(text) === null ? null : text;
    }
    case "timestamptz": {
      if (kind !== TEXT || to - from > 27) return null;
      const text = textAt(bytes, from, to, decoder);
      const time = toUtcText(text);
      // of longer ones there may be more decimals than the column holds
      return to - from <= 26 || time === text ? time : null;
    }
    default:
      return null;
  }
}

/** Whether the bytes are what the key has of them: a number without zeros at its end, a time as it was read. */
function isKeyText(
  bytes: Uint8Array,
  from: number,
  to: number,
  value: FlatValue,
  { type }: Column,
): boolean {
  if (type === "numeric") {
    for (let i = from; i < to; i++) if (bytes[i] === POINT) return bytes[to - 1] !== DIGIT_0;
    return true;
  }
  return typeof value !== "string" || value === textAt(bytes, from, to, decoder);
}

/** Writes a length and a colon; answers the place behind them. */
function writeLength(target: Uint8Array, from: number, length: number): number {
  let at = from;
  if (length < 10) target[at++] = DIGIT_0 + length;
  else if (length < 100) {
    target[at++] = DIGIT_0 + Math.floor(length / 10);
    target[at++] = DIGIT_0 + length % 10;
  } else {
    const text = `${length}`;
    for (let i = 0; i < text.length; i++) target[at++] = text.charCodeAt(i);
  }
  target[at++] = COLON;
  return at;
}

/** UTF-16 units of UTF-8: one a sequence, two of those of four bytes. */
function unitsOf(bytes: Uint8Array, from: number, to: number): number {
  let units = 0;
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    if ((byte & 0xc0) !== 0x80) units += byte >= 0xf0 ? 2 : 1;
  }
  return units;
}
