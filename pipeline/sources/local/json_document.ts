import { Tokenizer } from "@streamparser/json";
import { parsePath } from "../../field_path.ts";
import { Problem } from "../../problem.ts";
import { DocumentError, JsonArrayFinder } from "./json_array_finder.ts";

const NEWLINE = 10;
const SPACE = 32;

export interface FlattenOptions {
  /** Dotted path of the array; "" for the document itself. */
  recordsPath: string;
  label: string;
  /** Bytes of one string or number; more is refused. */
  maxTokenBytes: number;
  /** Stop after so many elements; default all. */
  maxRecords?: number | undefined;
  /** The source is only a beginning: its end is no error. */
  truncated?: boolean;
}

/**
 * The elements of an array in a JSON document as NDJSON. The bytes of an
 * element stay as they are, but for line ends between its tokens. Memory is
 * bounded by the longest string.
 *
 * @throws {Problem} `source-unreadable` when the document is not valid or has no such array.
 */
export async function* jsonArrayToNdjson(
  source: AsyncIterable<Uint8Array>,
  options: FlattenOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { label, maxTokenBytes, maxRecords = Infinity } = options;
  let elements: [start: number, end: number][] = [];
  const finder = new JsonArrayFinder(
    options.recordsPath === "" ? [] : parsePath(options.recordsPath),
    (start, end) => elements.push([start, end]),
  );
  let lastToken = 0;
  const tokenizer = new Tokenizer();
  tokenizer.onToken = ({ token, value, offset }) => {
    lastToken = offset;
    finder.token(token, value, offset);
  };
  tokenizer.onError = (error) => {
    throw error;
  };

  let base = 0;
  let records = 0;
  try {
    for await (const chunk of withoutBom(source)) {
      tokenizer.write(chunk);
      if (base + chunk.length - lastToken > maxTokenBytes) {
        throw new DocumentError(`a string or number of more than ${maxTokenBytes} bytes`);
      }
      const stopped = records + elements.length >= maxRecords;
      if (stopped) elements = elements.slice(0, maxRecords - records);
      const rest = stopped ? undefined : finder.openElement;
      yield copyElements(chunk, { base, elements, rest });
      records += elements.length;
      elements = [];
      base += chunk.length;
      if (stopped) return;
    }
    if (options.truncated) return;
    tokenizer.end();
    finder.end();
  } catch (error) {
    if (error instanceof Problem) throw error;
    if (!(error instanceof Error) || !isDocumentError(error)) throw error;
    const message = error instanceof DocumentError ? error.message : tokenizerMessage(error, base);
    throw new Problem("source-unreadable", { detail: `${label}: ${message}.`, cause: error });
  }
}

function isDocumentError(error: Error): boolean {
  return error instanceof DocumentError || error.constructor.name === "TokenizerError" ||
    error instanceof TypeError;
}

function tokenizerMessage(error: Error, base: number): string {
  if (error.message.startsWith("Tokenizer ended")) {
    return "the document ends too early, the file is incomplete";
  }
  return `not valid JSON near byte ${base}: ${error.message.replace(/\.$/, "")}`;
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
      out[length++] = byte === NEWLINE || byte === 13 ? SPACE : byte;
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
