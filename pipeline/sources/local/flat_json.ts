import {
  ESCAPED,
  FALSE,
  FlatRecords,
  type FlatShape,
  flatShape,
  MAX_FLAT_NAMES,
  NULL,
  NUMBER,
  TEXT,
  TRUE,
  WIDE,
} from "../flat_records.ts";

const TAB = 9;
const NEWLINE = 10;
const CR = 13;
const SPACE = 32;
const QUOTE = 34;
const SLASH = 47;
const COMMA = 44;
const MINUS = 45;
const DIGIT_0 = 48;
const DIGIT_9 = 57;
const COLON = 58;
const BACKSLASH = 92;
const LETTER_U = 117;
const OPEN = 123;
const CLOSE = 125;

/** Shapes that are kept; records of ever new names are left to others. */
const MAX_SHAPES = 64;

/** What a byte is inside of a string. */
const INSIDE = 0;
const BEYOND_ASCII = 1;
const ENDS = 2;
const ESCAPES = 3;
const CLASSES = new Uint8Array(256);
CLASSES.fill(4, 0, SPACE);
CLASSES.fill(BEYOND_ASCII, 128);
CLASSES[QUOTE] = ENDS;
CLASSES[BACKSLASH] = ESCAPES;

/** Letters behind a backslash that canonical JSON writes so, too: " \ b f n r t (RFC 8785, 3.2.2.2). */
const CANONICAL_ESCAPES = new Uint8Array(256);
for (const letter of '"\\bfnrt') CANONICAL_ESCAPES[letter.charCodeAt(0)] = 1;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const NO_SHAPE: FlatShape = { names: [], nameBytes: [] };

/**
 * Finds flat records in lines of NDJSON. A line that is none, whatever the reason (an object in it, an escaped control
 * character, a number that canonical JSON writes otherwise, a name that stands there twice, no JSON at all), ends the search.
 */
export class FlatJson {
  readonly records = new FlatRecords();
  readonly #shapes = new Map<string, FlatShape | null>();
  /** The bytes in hand, whose escapes are written as canonical JSON has them. */
  #copy = new Uint8Array(0);
  #given: Uint8Array = new Uint8Array(0);
  /** Whether a text of the record in hand was rewritten. */
  #isRewritten = false;
  /** Of a text that was rewritten: where it ends now, and what it is besides. */
  #end = 0;
  #flags = 0;
  #shape = NO_SHAPE;

  /**
   * Finds the records of the lines from a byte on; answers the byte behind them, and behind blank lines. The last line must
   * end with a newline to be looked at.
   */
  find(given: Uint8Array, from: number): number {
    const { records } = this;
    // what lies behind the last search is as it was given
    if (given !== this.#given) {
      if (this.#copy.length < given.length) this.#copy = new Uint8Array(given.length * 2);
      this.#copy.set(given);
      this.#given = given;
    }
    const bytes = this.#copy.subarray(0, given.length);
    records.clear(bytes, given);
    const last = bytes.lastIndexOf(NEWLINE) + 1;
    let at = from;
    while (at < last) {
      let i = skipSpace(bytes, at);
      if (bytes[i] === OPEN) {
        i = this.#record(bytes, i);
        if (i < 0) break;
        records.begins[records.count++] = at;
        i = skipSpace(bytes, i);
      }
      if (bytes[i] === CR) i++;
      if (bytes[i] !== NEWLINE) {
        // what goes on behind its end is no record
        if (records.count > 0 && records.begins[records.count - 1] === at) this.#takeBack();
        break;
      }
      at = i + 1;
    }
    return at;
  }

  #takeBack(): void {
    const { records } = this;
    records.count--;
    records.members -= records.shapes.pop()!.names.length;
  }

  /** Reads a record from its brace on; answers the byte behind it, −1 where it is not flat. */
  #record(bytes: Uint8Array, open: number): number {
    this.#isRewritten = false;
    const end = this.#members(bytes, open, this.#shape);
    if (end !== UNEXPECTED) return end;
    // it is read again, as it was given
    if (this.#isRewritten) {
      const given = this.#given.subarray(open, this.#given.indexOf(NEWLINE, open));
      bytes.set(given, open);
    }
    const shape = this.#shapeAt(bytes, open);
    if (shape === null) return -1;
    this.#shape = shape;
    return Math.max(-1, this.#members(bytes, open, shape));
  }

  #members(bytes: Uint8Array, open: number, shape: FlatShape): number {
    const { records } = this;
    const { nameBytes } = shape;
    records.reserve(nameBytes.length);
    const { starts, ends, kinds } = records;
    let member = records.members;
    let i = open + 1;
    for (let n = 0; n < nameBytes.length; n++) {
      i = skipSpace(bytes, i);
      if (bytes[i] !== QUOTE) return UNEXPECTED;
      const name = nameBytes[n]!;
      i++;
      for (let k = 0; k < name.length; k++) if (bytes[i++] !== name[k]) return UNEXPECTED;
      if (bytes[i] !== QUOTE) return UNEXPECTED;
      i = skipSpace(bytes, i + 1);
      if (bytes[i] !== COLON) return -1;
      i = skipSpace(bytes, i + 1);
      const first = bytes[i]!;
      if (first === QUOTE) {
        const from = ++i;
        let end = -1;
        let kind = TEXT;
        for (;;) {
          const what = CLASSES[bytes[i]!];
          if (what === INSIDE) i++;
          else if (what === ENDS) break;
          else if (what === BEYOND_ASCII) {
            if (!this.records.isUtf8()) return -1;
            kind |= WIDE;
            i++;
          } else if (what === ESCAPES && CANONICAL_ESCAPES[bytes[i + 1]!] === 1) {
            kind |= ESCAPED;
            i += 2;
          } else if (what === ESCAPES) {
            i = this.#unescape(bytes, i);
            if (i < 0) return -1;
            end = this.#end;
            kind |= this.#flags;
            break;
          } else return -1;
        }
        starts[member] = from;
        ends[member] = end < 0 ? i : end;
        i++;
        kinds[member] = kind;
      } else if (first === MINUS || first >= DIGIT_0 && first <= DIGIT_9) {
        i = records.number(bytes, i);
        if (i < 0) return -1;
        starts[member] = records.numberStart;
        ends[member] = records.numberEnd;
        kinds[member] = NUMBER;
      } else {
        const kind = literal(bytes, i);
        if (kind < 0) return -1;
        starts[member] = i;
        i += kind === FALSE ? 5 : 4;
        ends[member] = i;
        kinds[member] = kind;
      }
      member++;
      i = skipSpace(bytes, i);
      if (bytes[i] === COMMA) {
        // a name more than the shape has, or none
        if (n === nameBytes.length - 1) return UNEXPECTED;
        i++;
      } else if (bytes[i] !== CLOSE) return -1;
      else if (n < nameBytes.length - 1) return UNEXPECTED;
    }
    if (nameBytes.length === 0) return UNEXPECTED;
    records.shapes.push(shape);
    records.members = member;
    return i + 1;
  }

  /**
   * Rewrites the rest of a text from an escape on that canonical JSON does not have: as the character, which is shorter.
   * Answers the quote that ends it, −1 where canonical JSON has another escape or it is none.
   */
  #unescape(bytes: Uint8Array, from: number): number {
    let i = from;
    let at = from;
    this.#flags = 0;
    this.#isRewritten = true;
    for (;;) {
      const byte = bytes[i]!;
      const what = CLASSES[byte];
      if (what === ENDS) break;
      if (what === BEYOND_ASCII) {
        if (!this.records.isUtf8()) return -1;
        this.#flags |= WIDE;
      }
      if (what === INSIDE || what === BEYOND_ASCII) {
        bytes[at++] = byte;
        i++;
      } else if (what !== ESCAPES) return -1;
      else if (CANONICAL_ESCAPES[bytes[i + 1]!] === 1) {
        this.#flags |= ESCAPED;
        bytes[at++] = byte;
        bytes[at++] = bytes[i + 1]!;
        i += 2;
      } else if (bytes[i + 1] === SLASH) {
        bytes[at++] = SLASH;
        i += 2;
      } else {
        let point = unitAt(bytes, i);
        i += 6;
        if (point >= 0xd800 && point < 0xe000) {
          const low = unitAt(bytes, i);
          if (point >= 0xdc00 || low < 0xdc00 || low > 0xdfff) return -1;
          point = 0x10000 + (point - 0xd800) * 0x400 + low - 0xdc00;
          i += 6;
        }
        if (point < SPACE || point === QUOTE || point === BACKSLASH) return -1;
        if (point > 127) this.#flags |= WIDE;
        at = putUtf8(bytes, at, point);
      }
    }
    this.#end = at;
    return i;
  }

  /** The shape of the record that begins here; null where its names, or what is between them, are not flat. */
  #shapeAt(bytes: Uint8Array, open: number): FlatShape | null {
    const names: string[] = [];
    let i = open + 1;
    for (;;) {
      i = skipSpace(bytes, i);
      const end = bytes[i] === QUOTE ? stringEnd(bytes, i) : -1;
      if (end < 0 || names.length === MAX_FLAT_NAMES) return null;
      const name = bytes.subarray(i + 1, end);
      if (name.some((byte) => byte < SPACE || byte === BACKSLASH)) return null;
      if (name.some((byte) => byte > 127) && !this.records.isUtf8()) return null;
      names.push(decoder.decode(name));
      i = skipSpace(bytes, end + 1);
      if (bytes[i] !== COLON) return null;
      i = skipSpace(bytes, i + 1);
      if (bytes[i] === QUOTE) {
        i = stringEnd(bytes, i) + 1;
        if (i === 0) return null;
      } else {
        for (; bytes[i] !== COMMA && bytes[i] !== CLOSE; i++) {
          if (bytes[i] === NEWLINE || bytes[i] === undefined) return null;
        }
      }
      i = skipSpace(bytes, i);
      if (bytes[i] === CLOSE) break;
      if (bytes[i++] !== COMMA) return null;
    }
    const key = names.join('"');
    let shape = this.#shapes.get(key);
    if (shape === undefined) {
      shape = this.#shapes.size < MAX_SHAPES ? flatShape(names) : null;
      if (this.#shapes.size < MAX_SHAPES) this.#shapes.set(key, shape);
    }
    return shape;
  }
}

/** The record has other names than those that were expected. */
const UNEXPECTED = -2;

/** The UTF-16 unit of an escape, a backslash, u and four hexadecimal digits; −1 where it is something else. */
function unitAt(bytes: Uint8Array, from: number): number {
  if (bytes[from] !== BACKSLASH || bytes[from + 1] !== LETTER_U) return -1;
  let unit = 0;
  for (let i = from + 2; i < from + 6; i++) {
    const byte = bytes[i]!;
    const letter = byte | 0x20;
    if (byte >= 48 && byte <= 57) unit = unit * 16 + byte - 48;
    else if (letter >= 0x61 && letter <= 0x66) unit = unit * 16 + letter - 0x57;
    else return -1;
  }
  return unit;
}

/** Writes a character as UTF-8; answers the byte behind it. */
function putUtf8(bytes: Uint8Array, from: number, point: number): number {
  let at = from;
  if (point < 0x80) bytes[at++] = point;
  else {
    if (point < 0x800) bytes[at++] = 0xc0 | point >> 6;
    else {
      if (point < 0x10000) bytes[at++] = 0xe0 | point >> 12;
      else {
        bytes[at++] = 0xf0 | point >> 18;
        bytes[at++] = 0x80 | point >> 12 & 0x3f;
      }
      bytes[at++] = 0x80 | point >> 6 & 0x3f;
    }
    bytes[at++] = 0x80 | point & 0x3f;
  }
  return at;
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let i = from;
  while (bytes[i] === SPACE || bytes[i] === TAB) i++;
  return i;
}

/** The quote that ends the string that begins here; −1 where its line has none. */
function stringEnd(bytes: Uint8Array, from: number): number {
  for (let i = from + 1; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === BACKSLASH) i++;
    else if (byte === QUOTE) return i;
    else if (byte === NEWLINE) return -1;
  }
  return -1;
}

/** The kind of true, false or null; −1 where it is something else. What may follow is looked at behind it. */
function literal(bytes: Uint8Array, i: number): number {
  const [a, b, c, d, e] = [bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3], bytes[i + 4]];
  if (a === 0x74 && b === 0x72 && c === 0x75 && d === 0x65) return TRUE;
  if (a === 0x6e && b === 0x75 && c === 0x6c && d === 0x6c) return NULL;
  return a === 0x66 && b === 0x61 && c === 0x6c && d === 0x73 && e === 0x65 ? FALSE : -1;
}
