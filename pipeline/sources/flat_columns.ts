import { isUtf8 } from "node:buffer";
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
} from "./flat_records.ts";

const SPACE = 32;
const QUOTE = 34;
const BACKSLASH = 92;
/** About what a record takes, to begin with. */
const FIRST_BYTES = 1 << 16;

const FULL_BYTES = MAX_FLAT_BYTES / 2;

const encoder = new TextEncoder();

/**
 * Makes flat records of values that have been read, one record after the other: of texts without an escape of JSON, finite
 * numbers without an exponent, booleans and nulls.
 */
export class FlatColumns {
  readonly records = new FlatRecords();
  readonly #shape: FlatShape;
  #bytes = new Uint8Array(FIRST_BYTES);
  #at = 0;

  /** Null where records of such names are never flat. */
  static of(names: string[]): FlatColumns | null {
    const shape = flatShape(names);
    return shape === null ? null : new FlatColumns(shape);
  }

  private constructor(shape: FlatShape) {
    this.#shape = shape;
  }

  /** Whether its records are to be taken before more are added. */
  get isFull(): boolean {
    return this.#at >= FULL_BYTES;
  }

  /** Begins anew. */
  clear(): void {
    this.#at = 0;
    this.records.clear(this.#bytes);
  }

  /** Adds the record at a place, whose member `i` has the value `valueOf(i)`, which may throw; false where it is not flat, and was not added. */
  add(place: number, valueOf: (member: number) => unknown): boolean {
    const { records } = this;
    const { length } = this.#shape.names;
    records.reserve(length);
    const begin = this.#at;
    let isFlat = false;
    try {
      for (let i = 0; i < length; i++) {
        const member = records.members + i;
        const from = this.#at;
        const kind = this.#put(valueOf(i));
        if (kind < 0) return false;
        records.starts[member] = from;
        records.ends[member] = this.#at;
        records.kinds[member] = kind;
      }
      isFlat = true;
    } finally {
      // also where a value cannot be told: what is not added takes no room
      if (!isFlat) this.#at = begin;
    }
    records.shapes.push(this.#shape);
    records.members += length;
    records.begins[records.count++] = place;
    return true;
  }

  /** Writes a value; answers its kind, −1 where it has to be looked at. */
  #put(value: unknown): number {
    switch (typeof value) {
      case "string":
        return this.#text(value);
      case "number":
        return this.#number(value);
      case "boolean":
        return value ? TRUE : FALSE;
      default:
        if (value === null) return NULL;
        return value instanceof Uint8Array ? this.#textBytes(value) : -1;
    }
  }

  #textBytes(text: Uint8Array): number {
    const { length } = text;
    if (length > FULL_BYTES) return -1;
    this.#reserve(length);
    const bytes = this.#bytes;
    let at = this.#at;
    let units = 0;
    for (let i = 0; i < length; i++) {
      const byte = text[i]!;
      if (byte < SPACE || byte === QUOTE || byte === BACKSLASH) return -1;
      units |= byte;
      bytes[at++] = byte;
    }
    if (units > 127 && !isUtf8(text)) return -1;
    this.#at = at;
    return units > 127 ? TEXT | WIDE : TEXT;
  }

  #text(text: string): number {
    if (text.length > FULL_BYTES) return -1;
    this.#reserve(text.length * 3);
    const bytes = this.#bytes;
    let at = this.#at;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit < SPACE || unit === QUOTE || unit === BACKSLASH) return -1;
      if (unit > 127) return this.#wideText(text);
      bytes[at++] = unit;
    }
    this.#at = at;
    return TEXT;
  }

  #wideText(text: string): number {
    if (NEEDS_ESCAPE.test(text) || !text.isWellFormed()) return -1;
    this.#at += encoder.encodeInto(text, this.#bytes.subarray(this.#at)).written;
    return TEXT | WIDE;
  }

  #number(value: number): number {
    // −0 is 0; NaN, infinities and exponents have letters
    const text = `${value}`;
    this.#reserve(text.length);
    const bytes = this.#bytes;
    let at = this.#at;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 57) return -1;
      bytes[at++] = unit;
    }
    this.#at = at;
    return NUMBER;
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(needed * 2);
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
    this.records.bytes = grown;
  }
}

// deno-lint-ignore no-control-regex
const NEEDS_ESCAPE = /["\\\u0000-\u001f]/;
