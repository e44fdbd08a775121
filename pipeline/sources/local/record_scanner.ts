import type { CsvDialect } from "./csv_dialect.ts";

const NEWLINE = 10;

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
  /** Where it begins, in bytes from the first one scanned. */
  readonly openedAt: number;
}

/** Each newline ends a record: NDJSON. */
export class LineScanner implements RecordScanner {
  readonly quoted = false;
  readonly openedAt = 0;

  scan(bytes: Uint8Array): RecordEnds {
    return { last: bytes.lastIndexOf(NEWLINE) + 1, each: undefined };
  }
}

/** The scanner of CSV text: without quotes, each newline ends a record. */
export function csvScanner(dialect: CsvDialect): RecordScanner {
  return dialect.quote === null ? new LineScanner() : new CsvScanner(dialect);
}

const RECORD_START = 0;
/** In a field, or at its start: a quote opens one behind a delimiter. */
const UNQUOTED = 1;
const COMMENT = 2;
const QUOTED = 3;
/** After a quote inside a quoted field: its end, or the first half of a doubled one. */
const QUOTE_IN_QUOTED = 4;
/** After an escape inside a quoted field. */
const ESCAPED = 5;

/**
 * Record ends of CSV text. A quote opens a field only at the field's start;
 * anywhere else in an unquoted field it is an ordinary character. It decides
 * alone where records end, for planning and reading alike, so any slicing
 * gives the same records whatever the file holds. A line of comment is a
 * record of its own here.
 */
export class CsvScanner implements RecordScanner {
  readonly #delimiter: number;
  readonly #quote: number;
  /** The quote's own code where it is doubled. */
  readonly #escape: number;
  /** -1: none. */
  readonly #comment: number;
  #state = RECORD_START;
  #previous = NEWLINE;
  /** Bytes that were scanned before this call. */
  #passed = 0;
  #openedAt = 0;

  constructor({ delimiter, quote, escape, comment }: CsvDialect) {
    this.#delimiter = delimiter.charCodeAt(0);
    this.#quote = quote === null ? -1 : quote.charCodeAt(0);
    this.#escape = escape === null ? this.#quote : escape.charCodeAt(0);
    this.#comment = comment === null ? -1 : comment.charCodeAt(0);
  }

  get quoted(): boolean {
    return this.#state === QUOTED || this.#state === ESCAPED;
  }

  /** Where the quoted field that was opened last begins, in bytes from the first one scanned. */
  get openedAt(): number {
    return this.#openedAt;
  }

  scan(bytes: Uint8Array, from: number): RecordEnds {
    const end = bytes.length;
    if (from === end) return { last: 0, each: undefined };
    const offset = this.#passed - from;
    this.#passed += end - from;
    const [QUOTE, ESCAPE] = [this.#quote, this.#escape];
    let quote = QUOTE < 0 ? -1 : bytes.indexOf(QUOTE, from);
    // Bytes kept from before may hold a quoted newline; then ends are listed.
    const quotedBefore = from > 0 && bytes.lastIndexOf(NEWLINE, from - 1) >= 0;
    if (quote < 0 && this.#state < QUOTED && !quotedBefore) {
      const last = bytes.lastIndexOf(NEWLINE);
      const fresh = last >= from;
      if (fresh && last + 1 < end && bytes[last + 1] === this.#comment) this.#state = COMMENT;
      else if (!fresh && this.#state === RECORD_START && bytes[from] === this.#comment) {
        this.#state = COMMENT;
      } else if (fresh || this.#state !== COMMENT) {
        this.#state = bytes[end - 1] === NEWLINE ? RECORD_START : UNQUOTED;
      }
      this.#previous = bytes[end - 1]!;
      return { last: fresh ? last + 1 : 0, each: undefined };
    }
    const each: number[] = [];
    let state = this.#state;
    let newline = bytes.indexOf(NEWLINE, from);
    let escape = ESCAPE === QUOTE ? -1 : bytes.indexOf(ESCAPE, from);
    let i = from;
    while (i < end) {
      if (state === QUOTED) {
        if (quote >= 0 && quote < i) quote = bytes.indexOf(QUOTE, i);
        if (escape >= 0 && escape < i) escape = bytes.indexOf(ESCAPE, i);
        if (escape >= 0 && (quote < 0 || escape < quote)) {
          i = escape + 1;
          state = ESCAPED;
        } else if (quote < 0) break;
        else {
          i = quote + 1;
          state = ESCAPE === QUOTE ? QUOTE_IN_QUOTED : UNQUOTED;
        }
      } else if (state === ESCAPED) {
        i++;
        state = QUOTED;
      } else if (state === QUOTE_IN_QUOTED) {
        if (bytes[i] === QUOTE) {
          state = QUOTED;
          i++;
        } else state = UNQUOTED;
      } else if (state === COMMENT) {
        if (newline >= 0 && newline < i) newline = bytes.indexOf(NEWLINE, i);
        if (newline < 0) break;
        i = newline + 1;
        each.push(i);
        state = RECORD_START;
      } else if (state === RECORD_START && bytes[i] === QUOTE) {
        this.#openedAt = offset + i;
        state = QUOTED;
        i++;
      } else if (state === RECORD_START && bytes[i] === this.#comment) {
        state = COMMENT;
      } else {
        if (quote >= 0 && quote < i) quote = bytes.indexOf(QUOTE, i);
        if (newline >= 0 && newline < i) newline = bytes.indexOf(NEWLINE, i);
        if (newline >= 0 && (quote < 0 || newline < quote)) {
          i = newline + 1;
          each.push(i);
          state = RECORD_START;
        } else if (quote >= 0) {
          const before = quote > from ? bytes[quote - 1] : this.#previous;
          state = before === this.#delimiter ? QUOTED : UNQUOTED;
          if (state === QUOTED) this.#openedAt = offset + quote;
          i = quote + 1;
        } else {
          state = UNQUOTED;
          break;
        }
      }
    }
    this.#previous = bytes[end - 1]!;
    this.#state = state;
    return { last: each.at(-1) ?? 0, each };
  }
}
