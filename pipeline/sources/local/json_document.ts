import { type Message, say } from "../../../vocabulary/messages.ts";
import { parsePath } from "../../field_path.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import { DocumentError, JsonArrayFinder, type TokenKind } from "./json_array_finder.ts";

const NEWLINE = 10;
const CR = 13;
const SPACE = 32;
const TAB = 9;
const QUOTE = 34;
const BACKSLASH = 92;
const STRUCTURE = new Map([..."{}[],:"].map((c) => [c.charCodeAt(0), c as TokenKind]));

export interface FlattenOptions {
  /** Dotted path of the array; "" for the document itself. */
  recordsPath: string;
  label: string;
  /** Bytes of a name, of a value outside of records, or of a document that is one object; more is refused. */
  maxTokenBytes: number;
  /** Stop after so many elements; default all. */
  maxRecords?: number | undefined;
  /** The source is only a beginning: its end is no error. */
  truncated?: boolean;
  onWarning?: (warning: Message) => void;
}

/**
 * The records of a JSON document as NDJSON: the elements of each array at a
 * path, or the object or objects that it is. The bytes of a record stay as they
 * are, but for line ends between its tokens; whether it is valid is for who
 * reads it. Memory is bounded by the longest name.
 *
 * @throws {Problem} `source-unreadable` when the document is not valid or has no such array.
 */
export async function* jsonArrayToNdjson(
  source: AsyncIterable<Uint8Array>,
  options: FlattenOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { label, maxTokenBytes, maxRecords = Infinity } = options;
  let elements: [start: number, end: number][] = [];
  const finder = new JsonArrayFinder({
    path: options.recordsPath === "" ? [] : parsePath(options.recordsPath),
    maxObjectBytes: maxTokenBytes,
    onElement: (start, end) => elements.push([start, end]),
  });
  const scanner = new Scanner(finder, maxTokenBytes);

  let base = 0;
  let records = 0;
  try {
    for await (const chunk of withoutBom(source)) {
      const scanned = scanner.scan(chunk, base);
      const stopped = records + elements.length >= maxRecords;
      if (stopped) elements = elements.slice(0, maxRecords - records);
      const rest = stopped ? undefined : finder.openElement;
      yield copyElements(scanned, { base, elements, rest });
      records += elements.length;
      elements = [];
      base += chunk.length;
      if (stopped) return;
    }
    if (options.truncated) return;
    scanner.end(base);
    finder.end();
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new Problem("source-unreadable", {
      detail: error.saidOf(label),
      cause: error,
    });
  }
  if (finder.objectArrays.size > 0) {
    const paths = [...finder.objectArrays].map((path) => `"${path}"`).join(", ");
    options.onWarning?.(say("read-as-one", { file: label, paths }));
  }
}

/** Finds the tokens of JSON in bytes that come in pieces; of a record's insides only the structure. */
class Scanner {
  readonly #finder: JsonArrayFinder;
  readonly #maxBytes: number;
  #inString = false;
  #escaped = false;
  /** The bytes of a name or value so far, where they are looked at; undefined between them. */
  #text: number[] | undefined;
  #start = 0;
  /** Where strings of the chunk have line ends. */
  #wrong: number[] = [];

  constructor(finder: JsonArrayFinder, maxBytes: number) {
    this.#finder = finder;
    this.#maxBytes = maxBytes;
  }

  /** Gives the chunk, with a tab for each line end within a string: there it is just as wrong, but ends no line. */
  scan(chunk: Uint8Array, base: number): Uint8Array {
    for (let i = 0; i < chunk.length; i++) {
      if (this.#inString) {
        i = this.#passString(chunk, i, base);
        continue;
      }
      const byte = chunk[i]!;
      if (byte === SPACE || byte === NEWLINE || byte === CR || byte === TAB) this.#endValue();
      else if (byte === QUOTE) {
        this.#endValue();
        this.#inString = true;
        this.#start = base + i;
        this.#text = this.#finder.inside ? undefined : [];
      } else {
        const kind = STRUCTURE.get(byte);
        if (kind === undefined) this.#passValue(byte, base + i);
        else {
          this.#endValue();
          this.#finder.token(kind, kind, base + i);
        }
      }
    }
    if (this.#wrong.length === 0) return chunk;
    const scanned = chunk.slice();
    for (const i of this.#wrong) scanned[i] = TAB;
    this.#wrong = [];
    return scanned;
  }

  end(base: number): void {
    if (this.#inString) {
      throw new DocumentError((file) => say("json-incomplete", { file }));
    }
    this.#endValue();
    if (base === 0) throw new DocumentError((file) => say("file-empty", { file }));
  }

  /** Goes to the end of a string, or of the chunk; gives the index of the last byte passed. */
  #passString(chunk: Uint8Array, from: number, base: number): number {
    const text = this.#text;
    for (let i = from; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (byte === NEWLINE || byte === CR) this.#wrong.push(i);
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) {
        this.#inString = false;
        this.#text = undefined;
        this.#finder.token("string", text === undefined ? "" : this.#decoded(text), this.#start);
        return i;
      }
      if (text !== undefined) this.#keep(text, byte, base + i);
    }
    return chunk.length;
  }

  #passValue(byte: number, offset: number): void {
    if (this.#text === undefined) {
      this.#text = [];
      this.#start = offset;
    }
    if (!this.#finder.inside) this.#keep(this.#text, byte, offset);
  }

  /** Ends a number, true, false, null, or what stands in their place. */
  #endValue(): void {
    const text = this.#text;
    if (text === undefined) return;
    this.#text = undefined;
    const value = this.#finder.strict ? bytesText(text) : "";
    if (this.#finder.strict) this.#check(value);
    this.#finder.token("value", value, this.#start);
  }

  #keep(text: number[], byte: number, offset: number): void {
    text.push(byte);
    // a long value of a record is the record's affair
    if (text.length <= this.#maxBytes) return;
    if (!this.#finder.strict) text.length = 0;
    else {
      throw new DocumentError((file) =>
        say("json-long-value", { file, n: this.#maxBytes, at: offset })
      );
    }
  }

  #decoded(text: number[]): string {
    const json = `"${bytesText(text)}"`;
    try {
      return JSON.parse(json);
    } catch {
      if (this.#finder.strict) throw notValid(json, this.#start);
      return "";
    }
  }

  #check(text: string): void {
    try {
      JSON.parse(text);
    } catch {
      throw notValid(text, this.#start);
    }
  }
}

function bytesText(bytes: number[]): string {
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

function notValid(text: string, offset: number): DocumentError {
  return new DocumentError((file) =>
    say("json-not-valid", { file, at: offset, text: text.slice(0, 40) })
  );
}

interface CopyOptions {
  /** Offset of the chunk in the document. */
  base: number;
  /** Elements that ended in this chunk. */
  elements: [start: number, end: number][];
  /** Start of the element that is still open after it, if any. */
  rest: number | undefined;
}

function copyElements(chunk: Uint8Array, { base, elements, rest }: CopyOptions): Uint8Array {
  const out = new Uint8Array(chunk.length + elements.length);
  let length = 0;
  const copy = (start: number, end: number) => {
    for (let i = Math.max(0, start - base); i < end - base; i++) {
      const byte = chunk[i]!;
      out[length++] = byte === NEWLINE || byte === CR ? SPACE : byte;
    }
  };
  for (const [start, end] of elements) {
    copy(start, end);
    out[length++] = NEWLINE;
  }
  if (rest !== undefined) copy(rest, base + chunk.length);
  return out.subarray(0, length);
}

async function* withoutBom(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let head = new Uint8Array(0);
  let started = false;
  for await (const chunk of source) {
    if (started) {
      yield chunk;
      continue;
    }
    const joined = new Uint8Array(head.length + chunk.length);
    joined.set(head);
    joined.set(chunk, head.length);
    head = joined;
    if (head.length < 3) continue;
    started = true;
    yield head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf ? head.subarray(3) : head;
  }
  if (!started) yield head;
}
