import { say } from "../../../vocabulary/messages.ts";
import {
  batchType,
  binary,
  binaryView,
  Column,
  CompressionType,
  Endianness,
  type Field,
  interval,
  IntervalUnit,
  largeBinary,
  largeUtf8,
  type Schema,
  setCompressionCodec,
  type Table,
  tableFromIPC,
  Type,
  utf8,
  utf8View,
} from "@uwdata/flechette";
import { decompress as decompressZstd } from "fzstd";
import { Problem } from "../../../vocabulary/problem.ts";
import { numericType } from "../catalogue.ts";
import { ByteReader, EndedEarly } from "./byte_reader.ts";
import {
  base64,
  decimalText,
  isoDate,
  isoDuration,
  isoTimestamp,
  shortestFloat,
  timeOfDay,
  type TimeUnit,
} from "./parquet_values.ts";
import { BYTES } from "../source.ts";

const CONTINUATION = 0xffffffff;
const SCHEMA = 1;
const DICTIONARY = 2;
const RECORD_BATCH = 3;
/** Record batches that are decoded together, so that dictionaries are not decoded for each. */
const GROUP_BYTES = 1 << 24;
const MAX_METADATA_BYTES = 1 << 26;
/** Units of text that are passed on together, about: rows may share a large text of a dictionary, which each of them has again. */
const CHUNK_UNITS = 1 << 20;

const unused = () => {
  throw new Error("nothing is compressed here");
};
setCompressionCodec(CompressionType.LZ4_FRAME, { decode: decompressLz4Frame, encode: unused });
setCompressionCodec(CompressionType.ZSTD, {
  decode: (data, length) => decompressZstd(data, new Uint8Array(length)),
  encode: unused,
});

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A text as it stands in the data. Bytes that are not UTF-8 become halves of surrogate pairs (0xff is U+DCFF), which no text has and
 * PostgreSQL cannot store, so that the row is rejected and shows them.
 */
function textOf(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte))
      .join("");
  }
}

// the library would drop a byte order mark, and put U+FFFD for what is not valid
for (
  const [text, bytes] of [[utf8(), binary()], [largeUtf8(), largeBinary()], [
    utf8View(),
    binaryView(),
  ]] as const
) {
  const { value } = batchType(bytes).prototype as { value(index: number): Uint8Array };
  batchType(text).prototype.value = function (index: number) {
    return textOf(value.call(this, index));
  };
}

// it would refuse nanoseconds beyond 2^53, which are 104 days
batchType(interval(IntervalUnit.MONTH_DAY_NANO)).prototype.value = function (index: number) {
  const { buffer, byteOffset } = this.values as Uint8Array;
  const view = new DataView(buffer, byteOffset + 16 * index, 16);
  return [view.getInt32(0, true), view.getInt32(4, true), view.getBigInt64(8, true)];
};

export interface ArrowOptions {
  label: string;
  /** Stop after so many records; default all. */
  maxRecords?: number | undefined;
  /** Bytes of one record batch with the dictionaries; more is refused. */
  maxBatchBytes: number;
}

/**
 * The rows of an Arrow IPC file or stream as NDJSON, batch by batch. The footer of a file is not
 * needed: its messages follow one another as in a stream, but for dictionaries that stand behind the batches that use them.
 * `open` reads the data from its beginning, for those a second time.
 *
 * @throws {Problem} `source-unreadable` for damaged or incomplete data, or a type that is not read.
 */
export async function* arrowToNdjson(
  open: () => AsyncIterable<Uint8Array>,
  options: ArrowOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { label, maxRecords = Infinity } = options;
  const reader = new ByteReader(open());
  let records = 0;
  try {
    for await (const table of tables(reader, open, options)) {
      const rows = Math.min(table.numRows, maxRecords - records);
      yield* lines(table, rows);
      records += rows;
      if (records >= maxRecords) return;
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new Problem("source-unreadable", {
      detail: say("arrow-not-readable", { file: label, words: message }),
      cause: error,
    });
  } finally {
    await reader.close();
  }
}

/**
 * The types of `source.columns` that hold all values of its columns, by name, from the schema at the beginning; none for a
 * column whose values decide: nanoseconds fit a time or are text. None, too, where the data is damaged: reading it says so.
 */
export async function arrowTypes(
  source: AsyncIterable<Uint8Array>,
  options: ArrowOptions,
): Promise<Record<string, string>> {
  const reader = new ByteReader(source);
  try {
    const message = await firstMessage(reader, { ...options, inFile: await passMagic(reader) });
    if (message?.type !== SCHEMA) return {};
    return Object.fromEntries(
      tableFromIPC([message.bytes]).schema.fields.flatMap((field) => {
        const declared = declaredType(field);
        return declared === undefined ? [] : [[field.name, declared]];
      }),
    );
  } catch {
    return {};
  } finally {
    await reader.close();
  }
}

/** A type, with what a field says of it; a dictionary's values have only the type of their own. */
type Typed = Pick<Field, "type" | "metadata">;

/**
 * Types that others are stored as, by the word of their field: UUID as 16 bytes, JSON as text, booleans as bytes. Any other
 * extension is what it is stored as.
 * https://arrow.apache.org/docs/format/CanonicalExtensions.html
 */
function extensionOf({ type, metadata }: Typed): "uuid" | "json" | "bool8" | undefined {
  const { typeId } = type;
  switch (metadata?.get("ARROW:extension:name")) {
    case "arrow.uuid":
      return typeId === Type.FixedSizeBinary && type.stride === 16 ? "uuid" : undefined;
    case "arrow.json":
      return typeId === Type.Utf8 || typeId === Type.LargeUtf8 || typeId === Type.Utf8View
        ? "json"
        : undefined;
    case "arrow.bool8":
      return typeId === Type.Int && type.bitWidth === 8 ? "bool8" : undefined;
  }
  return undefined;
}

const EXTENSION_TYPES = { uuid: "text", json: "jsonb", bool8: "boolean" };

function declaredType(field: Typed): string | undefined {
  const extension = extensionOf(field);
  if (extension !== undefined) return EXTENSION_TYPES[extension];
  const { type, metadata } = field;
  switch (type.typeId) {
    case Type.Bool:
      return "boolean";
    case Type.Int:
      return type.bitWidth === 64 && !type.signed ? "numeric" : "integer";
    case Type.Float:
      return "numeric";
    case Type.Decimal:
      return numericType(type.precision, type.scale);
    case Type.Date:
      return "date";
    case Type.Timestamp:
      return UNITS[type.unit] === "NANOS" ? undefined : "timestamptz";
    case Type.Dictionary:
      return declaredType({ type: type.dictionary, metadata });
    case Type.RunEndEncoded:
      return declaredType(type.children[1]!);
    case Type.Null:
      return undefined;
    case Type.Binary:
    case Type.LargeBinary:
    case Type.BinaryView:
    case Type.FixedSizeBinary:
      return BYTES;
    default:
      return "children" in type && type.children.length > 0 ? "jsonb" : "text";
  }
}

/** The tables of some record batches at a time. */
async function* tables(
  reader: ByteReader,
  open: () => AsyncIterable<Uint8Array>,
  options: ArrowOptions,
): AsyncGenerator<Table> {
  /** Schema and dictionaries, which every table needs. */
  const shared: Uint8Array[] = [];
  let batches: Uint8Array[] = [];
  const sizes = { shared: 0, batches: 0 };
  /** Ids of the schema's dictionaries, and how many are here. */
  const ids = new Set<number>();
  let dictionaries = 0;
  let ahead = false;
  const share = (bytes: Uint8Array) => {
    shared.push(bytes);
    sizes.shared += bytes.length;
  };
  const table = (): Table => {
    const made = tableFromIPC([...shared, ...batches], {
      useBigInt: true,
      useBigIntTimestamp: true,
      useDecimalInt: true,
    });
    // dictionaries may follow that replace the ones before: they stay in order
    batches = [];
    sizes.batches = 0;
    return made;
  };
  const inFile = await passMagic(reader);
  for (
    let message = await firstMessage(reader, { ...options, inFile });
    message !== undefined;
    message = await readMessage(reader, options)
  ) {
    const { type, bytes } = message;
    if (type === RECORD_BATCH) {
      if (inFile && dictionaries < ids.size && !ahead) {
        // those of a file may stand anywhere, as Polars writes them
        ahead = true;
        for await (const dictionary of dictionariesOf(open, options)) share(dictionary);
      }
      batches.push(bytes);
      sizes.batches += bytes.length;
    } else if (type === SCHEMA && shared.length > 0 || type === DICTIONARY && ahead) continue;
    else {
      if (batches.length > 0) yield table();
      share(bytes);
      if (type === DICTIONARY) dictionaries++;
      if (type === SCHEMA) {
        const { schema } = tableFromIPC([bytes]);
        checkSchema(schema, options.label);
        addDictionaries(schema.fields, ids);
      }
    }
    if (sizes.shared + sizes.batches > options.maxBatchBytes) throw tooLarge(options);
    if (sizes.batches >= GROUP_BYTES) yield table();
  }
  if (shared.length === 0) throw new EndedEarly("it has no schema");
  if (batches.length > 0) yield table();
}

/** All dictionaries of a file. */
async function* dictionariesOf(
  open: () => AsyncIterable<Uint8Array>,
  options: ArrowOptions,
): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(open());
  try {
    for (
      let message = await firstMessage(reader, { ...options, inFile: await passMagic(reader) });
      message !== undefined;
      message = await readMessage(reader, options)
    ) {
      if (message.type === DICTIONARY) yield message.bytes;
    }
  } finally {
    await reader.close();
  }
}

interface Message {
  type: number;
  /** The message, whole, as the library takes it. */
  bytes: Uint8Array;
}

/** Passes the word with which a file begins, which a stream has not; gives whether it was there. */
async function passMagic(reader: ByteReader): Promise<boolean> {
  const start = await reader.take(8);
  const inFile = uint32(start) !== CONTINUATION;
  if (!inFile) reader.putBack(start);
  return inFile;
}

async function firstMessage(
  reader: ByteReader,
  { inFile, ...options }: ArrowOptions & { inFile: boolean },
): Promise<Message | undefined> {
  if (!inFile) return await readMessage(reader, options);
  const first = await reader.take(8);
  reader.putBack(first);
  // where a table of a flatbuffer is, right at its beginning: Polars 2 writes the schema without its mark and length
  const bare = uint32(first) >= 4 && uint32(first) < 64;
  return bare ? await bareSchema(reader) : await readMessage(reader, options);
}

/** A schema that ends where the mark of the next message stands, as it does not say how long it is. */
async function bareSchema(reader: ByteReader): Promise<Message> {
  const parts: Uint8Array[] = [];
  for (let length = 0; length <= MAX_METADATA_BYTES; length += 8) {
    const part = await reader.take(8);
    if (uint32(part) === CONTINUATION) {
      reader.putBack(part);
      const metadata = new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
      return { type: headerOf(metadata).type, bytes: messageOf(metadata) };
    }
    parts.push(part);
  }
  throw new RangeError("the schema has no end");
}

/** The next message; undefined at the end. */
async function readMessage(
  reader: ByteReader,
  options: ArrowOptions,
): Promise<Message | undefined> {
  // a stream may end without a word, a file never does so before its mark of the end
  if (await reader.atEnd()) return undefined;
  const mark = uint32(await reader.take(4));
  if (mark !== CONTINUATION) {
    throw new RangeError("a message has no beginning, as before Arrow 0.15");
  }
  const length = uint32(await reader.take(4));
  if (length === 0) return undefined;
  if (length > MAX_METADATA_BYTES) throw new RangeError(`a message header of ${length} bytes`);
  const metadata = await reader.take(length);
  const { type, bodyLength } = headerOf(metadata);
  if (bodyLength > options.maxBatchBytes) throw tooLarge(options);
  return { type, bytes: messageOf(metadata, await reader.take(bodyLength)) };
}

function messageOf(metadata: Uint8Array, body = new Uint8Array(0)): Uint8Array {
  const bytes = new Uint8Array(8 + metadata.length + body.length);
  new DataView(bytes.buffer).setUint32(0, CONTINUATION, true);
  new DataView(bytes.buffer).setUint32(4, metadata.length, true);
  bytes.set(metadata, 8);
  bytes.set(body, 8 + metadata.length);
  return bytes;
}

const uint32 = (bytes: Uint8Array<ArrayBuffer>) => new DataView(bytes.buffer).getUint32(0, true);

/** Kind and body length of a message, from its flatbuffer (Message.fbs: fields 1 and 3). */
function headerOf(metadata: Uint8Array<ArrayBuffer>): { type: number; bodyLength: number } {
  const view = new DataView(metadata.buffer);
  const table = view.getUint32(0, true);
  const vtable = table - view.getInt32(table, true);
  const place = (field: number) => {
    const entry = 4 + 2 * field;
    return entry < view.getUint16(vtable, true) ? view.getUint16(vtable + entry, true) : 0;
  };
  const [type, body] = [place(1), place(3)];
  const bodyLength = body === 0 ? 0 : Number(view.getBigInt64(table + body, true));
  if (bodyLength < 0) throw new RangeError(`a message of ${bodyLength} bytes`);
  return { type: type === 0 ? 0 : view.getUint8(table + type), bodyLength };
}

function tooLarge({ label, maxBatchBytes }: ArrowOptions): Problem {
  return new Problem("source-unreadable", {
    detail: say("arrow-large-batch", { file: label, n: maxBatchBytes }),
  });
}

function checkSchema({ fields, endianness }: Schema, label: string): void {
  if (endianness !== Endianness.Little) {
    throw new Problem("source-unreadable", { detail: say("arrow-big-endian", { file: label }) });
  }
  refuseNamesTwice(fields, label);
  // compiling it finds types that are not read
  for (const field of fields) writerOf(field);
}

/** Adds the ids of the dictionaries that columns have, however deep. */
function addDictionaries(fields: Field[], ids: Set<number>): void {
  for (const { type } of fields) {
    if (type.typeId === Type.Dictionary) ids.add(type.id);
    const own = type.typeId === Type.Dictionary ? type.dictionary : type;
    if ("children" in own) addDictionaries(own.children, ids);
  }
}

/** Two of a struct's members have one name as well: one value would hide the other. */
function refuseNamesTwice(fields: Field[], label: string, above = ""): void {
  const names = new Set<string>();
  for (const { name, type } of fields) {
    const column = `${above}${name}`;
    if (names.has(name)) {
      throw new Problem("source-unreadable", {
        detail: say("columns-twice", { file: label, column }),
      });
    }
    names.add(name);
    const own = type.typeId === Type.Dictionary ? type.dictionary : type;
    if ("children" in own) refuseNamesTwice(own.children, label, `${column}.`);
  }
}

function* lines(table: Table, rows: number): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  const columns = table.schema.fields.map((field, i) => ({
    start: `${i === 0 ? "{" : ","}${JSON.stringify(field.name)}:`,
    column: table.getChildAt(i) as Column<unknown>,
    write: writerOf(field),
  }));
  let text = "";
  for (let row = 0; row < rows; row++) {
    for (const { start, column, write } of columns) text += start + write(column.at(row));
    text += columns.length === 0 ? "{}\n" : "}\n";
    if (text.length < CHUNK_UNITS) continue;
    yield encoder.encode(text);
    text = "";
  }
  if (text !== "") yield encoder.encode(text);
}

/** The JSON text of a value as the library gives it. */
type Write = (value: unknown) => string;

const UNITS: TimeUnit[] = ["SECONDS", "MILLIS", "MICROS", "NANOS"];

function writerOf(field: Typed): Write {
  const extension = extensionOf(field);
  const write = extension === undefined ? presentWriter(field) : EXTENSIONS[extension];
  return (value) => value === null || value === undefined ? "null" : write(value);
}

const EXTENSIONS: Record<"uuid" | "json" | "bool8", Write> = {
  uuid: (value) =>
    `"${(value as Uint8Array).toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")}"`,
  json: (value) => inOneLine(value as string),
  bool8: (value) => String(value !== 0),
};

/** A text of JSON as it stands. What is none stays none in its line, which is rejected and shows it. */
function inOneLine(text: string): string {
  try {
    JSON.parse(text);
    if (text.isWellFormed()) return text.replace(/[\r\n]/g, " ");
  } catch {
    // as below
  }
  return `not JSON: ${JSON.stringify(text)}`;
}

function presentWriter({ type, metadata }: Typed): Write {
  switch (type.typeId) {
    case Type.Null:
      return () => "null";
    case Type.Bool:
    case Type.Int:
      return String;
    case Type.Float:
      return type.precision === 1
        ? (value) => JSON.stringify(shortestFloat(value as number))
        : (value) => Number.isFinite(value) ? JSON.stringify(value) : JSON.stringify(String(value));
    case Type.Utf8:
    case Type.LargeUtf8:
    case Type.Utf8View:
      return (value) => JSON.stringify(value);
    case Type.Binary:
    case Type.LargeBinary:
    case Type.BinaryView:
    case Type.FixedSizeBinary:
      return (value) => `"${base64(value as Uint8Array)}"`;
    case Type.Decimal:
      if (type.scale < 0) {
        throw new Error(
          "a decimal has a negative scale, which is not read: cast it to another one",
        );
      }
      return (value) => decimalText(BigInt(value as number | bigint), type.scale);
    case Type.Date:
      return (value) => JSON.stringify(isoDate(Math.floor(Number(value) / 86_400_000)));
    case Type.Time:
      return (value) => JSON.stringify(timeOfDay(BigInt(value as number), UNITS[type.unit]!));
    case Type.Timestamp: {
      const format = { unit: UNITS[type.unit]!, utc: type.timezone !== null };
      return (value) => JSON.stringify(isoTimestamp(value as bigint, format));
    }
    case Type.Duration:
      return (value) =>
        JSON.stringify(isoDuration({ value: BigInt(value as number), unit: UNITS[type.unit]! }));
    case Type.Interval:
      return (value) => JSON.stringify(intervalText(type.unit, value));
    case Type.List:
    case Type.LargeList:
    case Type.ListView:
    case Type.LargeListView:
    case Type.FixedSizeList: {
      const element = writerOf(type.children[0]!);
      return (value) => `[${Array.from(value as Iterable<unknown>, element).join(",")}]`;
    }
    case Type.Struct: {
      const members = type.children.map((member) => [member.name, writerOf(member)] as const);
      return (value) =>
        `{${
          members.map(([name, write]) =>
            `${JSON.stringify(name)}:${write((value as Record<string, unknown>)[name])}`
          ).join(",")
        }}`;
    }
    case Type.Map: {
      const [key, member] = (type.children[0]!.type as { children: Field[] }).children;
      const asList = "children" in key!.type;
      return mapWriter(writerOf(key!), writerOf(member!), asList);
    }
    case Type.Dictionary:
      return writerOf({ type: type.dictionary, metadata });
    case Type.RunEndEncoded:
      return writerOf(type.children[1]!);
    default:
      throw new Error("a column is of a type that is not read (union): cast it to another one");
  }
}

/** Maps as in Parquet: names where keys are scalars and differ, else a list of entries. */
function mapWriter(key: Write, member: Write, asList: boolean): Write {
  return (value) => {
    const entries = (value as [unknown, unknown][]).map(([k, v]) => [key(k), member(v)] as const);
    const scalars = new Set(entries.map(([k]) => k).filter((k) => !/^[[{]|^null$/.test(k)));
    if (asList || scalars.size < entries.length) {
      return `[${entries.map(([k, v]) => `{"key":${k},"value":${v}}`).join(",")}]`;
    }
    return `{${
      entries.map(([k, v]) => `${k.startsWith('"') ? k : JSON.stringify(k)}:${v}`).join(",")
    }}`;
  };
}

function intervalText(unit: number, value: unknown): string {
  if (unit === 0) return isoDuration({ months: Number(value), value: 0n, unit: "MILLIS" });
  const parts = value as [number, number, bigint];
  return unit === 1
    ? isoDuration({ days: parts[0], value: BigInt(parts[1]), unit: "MILLIS" })
    : isoDuration({ months: parts[0], days: parts[1], value: parts[2], unit: "NANOS" });
}

const MAGIC = 0x184d2204;

/**
 * Decompresses one LZ4 frame, as Arrow's buffers are; `hyparquet-compressors`, which reads the
 * blocks of Parquet, knows neither frames nor blocks that refer to the one before.
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 *
 * @throws {RangeError} for data that is no such frame of `length` bytes.
 */
export function decompressLz4Frame(input: Uint8Array, length: number): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw new RangeError("no LZ4 frame");
  const flags = input[4]!;
  const blockChecksum = (flags & 0x10) !== 0 ? 4 : 0;
  let at = 7 + ((flags & 0x08) !== 0 ? 8 : 0) + ((flags & 0x01) !== 0 ? 4 : 0);
  const output = new Uint8Array(length);
  let filled = 0;
  while (true) {
    const word = view.getUint32(at, true);
    at += 4;
    if (word === 0) break;
    const size = word & 0x7fffffff;
    const block = input.subarray(at, at + size);
    if (block.length < size) throw new RangeError("the LZ4 data ends too early");
    if (word >>> 31 === 1) {
      output.set(block, filled);
      filled += size;
    } else filled = decompressBlock(block, output, filled);
    at += size + blockChecksum;
  }
  if (filled !== length) {
    throw new RangeError(`LZ4 data of ${filled} bytes in the place of ${length}`);
  }
  return output;
}

/** Appends a block to `output` from `filled` on; gives where it ends. */
function decompressBlock(block: Uint8Array, output: Uint8Array, filled: number): number {
  let at = 0;
  let end = filled;
  const extended = (nibble: number): number => {
    let length = nibble;
    for (let byte = nibble === 15 ? 255 : 0; byte === 255;) length += byte = block[at++] ?? 0;
    return length;
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = extended(token >> 4);
    output.set(block.subarray(at, at + literals), end);
    at += literals;
    end += literals;
    if (at >= block.length) break;
    const offset = block[at]! | (block[at + 1]! << 8);
    at += 2;
    const length = extended(token & 15) + 4;
    if (offset === 0 || offset > end || end + length > output.length) {
      throw new RangeError("the LZ4 data is damaged");
    }
    // a match may overlap with what it makes, so byte by byte
    for (const stop = end + length; end < stop; end++) output[end] = output[end - offset]!;
  }
  return end;
}
