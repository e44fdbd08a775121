import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetScan,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from "hyparquet";
import { readVarInt } from "hyparquet/src/thrift.js";
import { compressors } from "hyparquet-compressors";
import { Problem } from "../../../vocabulary/problem.ts";
import { Canonicalizer } from "../../canonical.ts";
import { put } from "../../numbers.ts";
import { RAW_LIMIT, type ReadContext, type SourceRecord, Unreadable } from "../source.ts";
import { type Batch } from "./ndjson.ts";
import { checkPages } from "./parquet_check.ts";
import { openInput, openPart, type Roots } from "./open_input.ts";
import type { Ranges } from "./ranges.ts";
import { type InputFile, type Part, placeOf, type SlicePacker } from "./slice_packer.ts";
import {
  asStored,
  type Convert,
  converterOf,
  LOSSLESS_PARSERS,
  ValueError,
} from "./parquet_values.ts";

const BATCH_RECORDS = 1_000;
const PART_RECORDS = 50_000;
const PART_BYTES = 16 * 1024 * 1024;
/** Nested columns are decoded from their row group's beginning, so their parts are larger. */
const NESTED_FACTOR = 4;
/** Memory that the nested values of one part may take while they are put together. */
const MAX_NESTED_BYTES = 1 << 30;
/** What one of them takes, measured on lists of structs: arrays and objects of every level. */
const NESTED_VALUE_BYTES = 600;
const MAX_FOOTER_BYTES = 1 << 26;
/** Columns, with the levels of nested ones. */
const MAX_ELEMENTS = 20_000;
const MAX_READ_BYTES = 1 << 30;
const MAX_PAGE_BYTES = 1 << 28;
/** More than any writer puts into one; what it claims costs memory before a row is read. */
const MAX_GROUP_ROWS = 2 ** 31 - 1;

/** Codecs that refuse a page that claims to unpack to more than memory should hold. */
const boundedCompressors = Object.fromEntries(
  Object.entries(compressors).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, outputLength: number) => {
      if (outputLength > MAX_PAGE_BYTES) {
        throw new RangeError(`a page of ${outputLength} bytes; the limit is ${MAX_PAGE_BYTES}`);
      }
      // an empty page of LZ4 is one byte, which the library takes for a beginning
      return outputLength === 0 ? new Uint8Array(0) : decompress(input, outputLength);
    },
  ]),
) as typeof compressors;

function asyncBuffer(file: Ranges): AsyncBuffer {
  const { size } = file;
  return {
    byteLength: size,
    slice(start: number, end?: number): ArrayBuffer | Promise<ArrayBuffer> {
      const from = start < 0 ? Math.max(0, size + start) : start;
      const length = Math.max(0, Math.min(end ?? size, size) - from);
      if (length > MAX_READ_BYTES) {
        throw new RangeError(`a column of ${length} bytes; the limit is ${MAX_READ_BYTES}`);
      }
      return file.slice(from, from + length);
    },
  };
}

function damaged(label: string, error: unknown): unknown {
  if (error instanceof Problem || (error instanceof DOMException && error.name === "AbortError")) {
    return error;
  }
  const message = error instanceof Error ? error.message : String(error);
  return new Problem("source-unreadable", {
    detail: `${label}: the Parquet file cannot be read (${message.replace(/^parquet:? /, "")}). ` +
      "Is it complete, and does another tool read it?",
    cause: error,
  });
}

async function readMetadata(file: AsyncBuffer): Promise<FileMetaData> {
  await refuseLargeFooter(file);
  return await parquetMetadataAsync(file, { parsers: LOSSLESS_PARSERS });
}

/**
 * Refuses a footer that would take long to read, before it is read: it begins with the version
 * and the list of the schema's elements (FileMetaData of parquet.thrift, compact protocol).
 */
async function refuseLargeFooter(file: AsyncBuffer): Promise<void> {
  if (file.byteLength < 12) return;
  const end = new DataView(await file.slice(file.byteLength - 8));
  const length = end.getUint32(0, true);
  if (length > MAX_FOOTER_BYTES) {
    throw new RangeError(
      `a footer of ${length} bytes; the limit is ${MAX_FOOTER_BYTES}: write fewer columns or larger row groups`,
    );
  }
  const start = file.byteLength - 8 - length;
  if (start < 0) return;
  const head = await file.slice(start, start + Math.min(length, 32));
  const reader = { view: new DataView(head), offset: 1 };
  const [VERSION, SCHEMA, LONG_LIST] = [0x15, 0x19, 0xf];
  if (reader.view.byteLength < 32 || reader.view.getUint8(0) !== VERSION) return;
  readVarInt(reader);
  if (reader.view.getUint8(reader.offset) !== SCHEMA) return;
  if (reader.view.getUint8(reader.offset + 1) >> 4 !== LONG_LIST) return;
  reader.offset += 2;
  refuseManyColumns(readVarInt(reader));
}

function refuseManyColumns(count: number): void {
  if (count <= MAX_ELEMENTS) return;
  throw new RangeError(
    `a schema of ${count} elements; the limit is ${MAX_ELEMENTS}: select fewer columns`,
  );
}

/** Plans the row ranges of a Parquet file into the packer; no range crosses a row group. */
export async function planParquet(input: InputFile, packer: SlicePacker): Promise<void> {
  using opened = await openInput(input);
  const metadata = await readMetadata(asyncBuffer(opened)).catch((error) => {
    throw damaged(input.label, error);
  });
  checkColumns(parquetSchema(metadata).children, input.label);
  const nested = parquetSchema(metadata).children.some((column) => column.children.length > 0);
  const factor = nested ? NESTED_FACTOR : 1;
  let first = 0;
  for (const group of metadata.row_groups) {
    const rows = Number(group.num_rows);
    if (rows < 0 || rows > MAX_GROUP_ROWS) {
      throw damaged(input.label, new RangeError(`a row group of ${rows} rows`));
    }
    const rowBytes = rows === 0 ? 1 : Number(group.total_byte_size) / rows;
    const most = Math.max(1, Math.min(PART_RECORDS, Math.floor(PART_BYTES / rowBytes))) * factor;
    const even = Math.ceil(rows / Math.max(1, Math.ceil(rows / most)));
    for (let done = 0; done < rows;) {
      if (packer.full) return;
      const records = Math.min(rows - done, packer.counts ? packer.room : even);
      const start = first + done;
      if (nested) refuseLargeNesting(group, { rows, end: done + records }, input.label);
      packer.add(partOf(input, start, start + records), { records, bytes: records * rowBytes });
      done += records;
    }
    first += rows;
  }
}

/**
 * Refuses a part whose nested columns would not fit into memory: the library puts their values together
 * from the row group's beginning.
 */
function refuseLargeNesting(
  group: RowGroup,
  { rows, end }: { rows: number; end: number },
  label: string,
): void {
  let values = 0;
  for (const { meta_data: column } of group.columns) {
    if (column !== undefined && column.path_in_schema.length > 1) {
      values += Number(column.num_values);
    }
  }
  const bytes = values * (end / rows) * NESTED_VALUE_BYTES;
  if (bytes <= MAX_NESTED_BYTES) return;
  const fitting = Math.floor((MAX_NESTED_BYTES / NESTED_VALUE_BYTES / values) * rows);
  throw new Problem("source-unreadable", {
    detail: `${label}: a row group of ${rows.toLocaleString("en-US")} rows has ` +
      `${values.toLocaleString("en-US")} values in lists, structs and maps, which would take ` +
      `about ${Math.round(bytes / 2 ** 20)} MiB of memory; the limit is ${
        MAX_NESTED_BYTES / 2 ** 20
      } MiB. Write row groups of at most ${fitting.toLocaleString("en-US")} rows (row_group_size).`,
  });
}

function partOf(input: InputFile, start: number, end: number): Part {
  return { ...placeOf(input), format: "parquet", start, end };
}

function checkColumns(columns: SchemaTree[], label: string): void {
  const names = columns.map((column) => column.element.name);
  const seen = new Set<string>();
  const twice = names.find((name) => seen.size === seen.add(name).size);
  if (twice === undefined) return;
  throw new Problem("source-unreadable", {
    detail: `${label}: two columns are called "${twice}". Rename one, or one would hide the other.`,
  });
}

interface ReadColumn {
  name: string;
  values: ArrayLike<unknown>;
  convert: Convert;
}

function rowOf(columns: ReadColumn[], row: number, part: Part): SourceRecord | Unreadable {
  const record: SourceRecord = {};
  let wrong: { name: string; error: ValueError } | undefined;
  for (const { name, values, convert } of columns) {
    try {
      put(record, name, convert(values[row]));
    } catch (error) {
      if (!(error instanceof ValueError)) throw damaged(part.label, error);
      wrong ??= { name, error };
    }
  }
  if (wrong === undefined) return record;
  const { name, error } = wrong;
  const where = `row ${part.start + row + 1} of ${part.label}: column "${name}"`;
  // there is no text of the row: the columns that can be shown stand for it
  const raw = new Canonicalizer().text(record).slice(0, RAW_LIMIT);
  return new Unreadable(error.rule, `${where}: ${error.message}`, raw, name);
}

/**
 * Reads the rows of one part, one column after the other so that only one
 * column's bytes are held. Integers beyond 2^53 are bigint, decimals keep their
 * digits (numbers.ts), times are ISO 8601, bytes base64, NaN and
 * infinities text.
 */
export async function* readParquet(
  part: Part,
  ctx: ReadContext & Roots,
): AsyncGenerator<Batch, void, void> {
  using input = await openPart(part, ctx);
  const file = asyncBuffer(input);
  const columns: ReadColumn[] = [];
  try {
    const metadata = await readMetadata(file);
    const tree = parquetSchema(metadata);
    await checkPages(file, metadata, {
      start: part.start,
      end: part.end,
      compressors: boundedCompressors,
    });
    const scan = await parquetScan({
      file,
      metadata: { ...metadata, schema: metadata.schema.map(asStored) },
      compressors: boundedCompressors,
      parsers: LOSSLESS_PARSERS,
      utf8: false,
      rowStart: part.start,
      rowEnd: part.end,
      // an index could lead to pages that were not checked
      useOffsetIndex: false,
    });
    for (const column of tree.children) {
      ctx.signal.throwIfAborted();
      const name = column.element.name;
      const values = await scan.readColumn({
        column: name,
        rowStart: part.start,
        rowEnd: part.end,
      });
      columns.push({ name, values, convert: converterOf(column) });
    }
  } catch (error) {
    throw damaged(part.label, error);
  }
  const rows = part.end - part.start;
  for (let from = 0; from < rows; from += BATCH_RECORDS) {
    ctx.signal.throwIfAborted();
    const batch: Batch = [];
    const to = Math.min(rows, from + BATCH_RECORDS);
    for (let row = from; row < to; row++) batch.push(rowOf(columns, row, part));
    yield batch;
  }
  await input.verify();
}
