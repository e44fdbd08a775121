const NEWLINE = 10;
const QUOTE = 34;

/** Where records end in a run of bytes that follows the one before without a gap. */
export interface RecordEnds {
  /** Index after the last record end; 0 when there is none. */
  last: number;
  /**
   * Index after each record's end, where line ends alone do not tell;
   * undefined when each newline ends a record.
   */
  each: number[] | undefined;
}

/** Finds record ends. Holds state between calls: every byte must pass through it once, in order. */
export interface RecordScanner {
  scan(bytes: Uint8Array, from: number): RecordEnds;
  /** Whether the bytes so far end inside a quoted field. */
  readonly quoted: boolean;
}

/** Each newline ends a record: NDJSON. */
export class LineScanner implements RecordScanner {
  readonly quoted = false;

  scan(bytes: Uint8Array, from: number): RecordEnds {
    const last = bytes.lastIndexOf(NEWLINE);
    return { last: last < from ? 0 : last + 1, each: undefined };
  }
}

const FIELD_START = 0;
const UNQUOTED = 1;
const QUOTED = 2;
/** After a quote inside a quoted field: its end, or the first half of a doubled one. */
const QUOTE_IN_QUOTED = 3;

/**
 * Record ends of RFC 4180 text. A quote opens a field only at the field's
 * start; anywhere else in an unquoted field it is an ordinary character. It
 * decides alone where records end, for planning and reading alike, so any
 * slicing gives the same records whatever the file holds.
 */
export class CsvScanner implements RecordScanner {
  readonly #delimiter: number;
  #state = FIELD_START;
  #previous = NEWLINE;

  constructor(delimiter: string) {
    this.#delimiter = delimiter.charCodeAt(0);
  }

  get quoted(): boolean {
    return this.#state === QUOTED;
  }

  scan(bytes: Uint8Array, from: number): RecordEnds {
    const end = bytes.length;
    if (from === end) return { last: 0, each: undefined };
    let quote = bytes.indexOf(QUOTE, from);
    // Bytes kept from before may hold a quoted newline; then ends are listed.
    const quotedBefore = from > 0 && bytes.lastIndexOf(NEWLINE, from - 1) >= 0;
    if (quote < 0 && this.#state < QUOTED && !quotedBefore) {
      const last = bytes.lastIndexOf(NEWLINE);
      this.#previous = bytes[end - 1]!;
      this.#state = this.#previous === NEWLINE || this.#previous === this.#delimiter
        ? FIELD_START
        : UNQUOTED;
      return { last: last < from ? 0 : last + 1, each: undefined };
    }
    const each: number[] = [];
    let state = this.#state;
    let newline = bytes.indexOf(NEWLINE, from);
    let i = from;
    while (i < end) {
      if (state === QUOTED) {
        if (quote >= 0 && quote < i) quote = bytes.indexOf(QUOTE, i);
        if (quote < 0) break;
        i = quote + 1;
        state = QUOTE_IN_QUOTED;
      } else if (state === QUOTE_IN_QUOTED) {
        if (bytes[i] === QUOTE) {
          state = QUOTED;
          i++;
        } else state = UNQUOTED;
      } else if (state === FIELD_START && bytes[i] === QUOTE) {
        state = QUOTED;
        i++;
      } else {
        if (quote >= 0 && quote < i) quote = bytes.indexOf(QUOTE, i);
        if (newline >= 0 && newline < i) newline = bytes.indexOf(NEWLINE, i);
        if (newline >= 0 && (quote < 0 || newline < quote)) {
          i = newline + 1;
          each.push(i);
          state = FIELD_START;
        } else if (quote >= 0) {
          const before = quote > from ? bytes[quote - 1] : this.#previous;
          state = before === this.#delimiter ? QUOTED : UNQUOTED;
          i = quote + 1;
        } else {
          state = bytes[end - 1] === this.#delimiter ? FIELD_START : UNQUOTED;
          break;
        }
      }
    }
    this.#previous = bytes[end - 1]!;
    this.#state = state;
    return { last: each.at(-1) ?? 0, each };
  }
}
