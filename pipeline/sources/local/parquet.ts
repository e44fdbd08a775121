import { say } from "../../../vocabulary/messages.ts";
import {
  type AsyncBuffer,
  type ColumnMetaData,
  type DecodedArray,
  type FileMetaData,
  parquetMetadataAsync,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from "hyparquet";
import { assembleNested } from "hyparquet/src/assemble.js";
import { DEFAULT_PARSERS } from "hyparquet/src/convert.js";
import { readVarInt } from "hyparquet/src/thrift.js";
import { compressors } from "hyparquet-compressors";
import { Problem } from "../../../vocabulary/problem.ts";
import { Canonicalizer } from "../../canonical.ts";
import { put } from "../../numbers.ts";
import { FlatColumns } from "../flat_columns.ts";
import { MixedReader } from "../flat_records.ts";
import { RAW_LIMIT, type ReadContext, type SourceRecord, Unreadable } from "../source.ts";
import { type Batch } from "./ndjson.ts";
import { ColumnReader, TooManyValues } from "./parquet_column.ts";
import { openInput, openPart, type Roots } from "./open_input.ts";
import type { Ranges } from "./ranges.ts";
import { type InputFile, type Part, placeOf, type SlicePacker } from "./slice_packer.ts";
import {
  asStored,
  type Convert,
  converterOf,
  declaredType,
  isText,
  LOSSLESS_PARSERS,
  textOfBytes,
  TEXTS_AS_BYTES,
  ValueError,
} from "./parquet_values.ts";

const BATCH_RECORDS = 1_000;
/** Bytes of the texts of a batch, about. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024;
const PART_RECORDS = 50_000;
const PART_BYTES = 16 * 1024 * 1024;
/** The pages before a part are looked at to find its rows where columns are nested, so their parts are larger. */
const NESTED_FACTOR = 4;
/**
 * Nested values (in lists, structs and maps) of the rows that are put together at once, and the most that one
 * row may have. One takes about 600 bytes then, measured on lists of structs: arrays and objects of every level.
 */
const NESTED = { atOnce: 100_000, ofOneRow: 500_000 };
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
    detail: say("parquet-not-readable", {
      file: label,
      words: message.replace(/^parquet:? /, ""),
    }),
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
      packer.add(partOf(input, start, start + records), { records, bytes: records * rowBytes });
      done += records;
    }
    first += rows;
  }
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
    detail: say("columns-twice", { file: label, column: twice }),
  });
}

interface ReadColumn {
  name: string;
  values: ArrayLike<unknown>;
  convert: Convert;
  /** Whether its values are texts as they are stored. */
  isBytes: boolean;
}

function rowOf(
  columns: ReadColumn[],
  index: number,
  place: { label: string; row: number },
): SourceRecord | Unreadable {
  const record: SourceRecord = {};
  let wrong: { name: string; error: ValueError } | undefined;
  for (const { name, values, convert } of columns) {
    try {
      put(record, name, convert(values[index]));
    } catch (error) {
      if (!(error instanceof ValueError)) throw damaged(place.label, error);
      wrong ??= { name, error };
    }
  }
  if (wrong === undefined) return record;
  const { name, error } = wrong;
  const { label: file, row } = place;
  const what = say("row-of-file", { n: row + 1, file, column: name, what: error.message });
  // there is no text of the row: the columns that can be shown stand for it
  const raw = new Canonicalizer().text(record).slice(0, RAW_LIMIT);
  return new Unreadable(error.rule, what, raw, name);
}

/**
 * Reads the rows of one part, as many at once as their nested values allow, one column after the other so
 * that only one column's pages are held. Integers beyond 2^53 are bigint, decimals keep their
 * digits (numbers.ts), times are ISO 8601, bytes base64, NaN and
 * infinities text.
 */
export async function* readParquet(
  part: Part,
  ctx: ReadContext & Roots,
): AsyncGenerator<Batch, void, void> {
  using input = await openPart(part, ctx);
  const file = asyncBuffer(input);
  let rows: RowReader;
  try {
    rows = new RowReader(file, await readMetadata(file), part, { asBytes: ctx.flat === true });
  } catch (error) {
    throw damaged(part.label, error);
  }
  const table = ctx.flat ? FlatColumns.of(rows.names) : null;
  const flat = table === null ? null : { table, reader: new MixedReader(table.records) };
  for (let start = part.start; start < part.end;) {
    ctx.signal.throwIfAborted();
    const { columns, end } = await rows.next(start).catch((error) => {
      throw damaged(part.label, error);
    });
    const asRecords = (from: number, to: number): Batch => {
      const batch: Batch = [];
      batch.types = rows.types;
      for (let row = from; row < to; row++) {
        batch.push(rowOf(columns, row - start, { label: part.label, row }));
      }
      return batch;
    };
    const step = rowsAtOnce(columns);
    for (let from = start; from < end; from += step) {
      const to = Math.min(end, from + step);
      if (flat === null) yield asRecords(from, to);
      else {
        const find = (at: number) =>
          findFlat(flat.table, { columns, start, label: part.label }, at, to);
        yield* flat.reader.batches({ from, to, find, others: asRecords });
      }
    }
    start = end;
  }
  await input.verify();
}

/** Rows that are passed on together: few of those that share large texts of a dictionary, which each of them has again. */
function rowsAtOnce(columns: ReadColumn[]): number {
  let largest = 1;
  for (const { values } of columns) {
    if (ArrayBuffer.isView(values)) continue;
    let most = 0;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (typeof value === "string" || value instanceof Uint8Array) {
        most = Math.max(most, value.length);
      }
    }
    largest += most;
  }
  return Math.min(BATCH_RECORDS, Math.ceil(MAX_BATCH_BYTES / largest));
}

/** Finds the flat rows from a row on. */
function findFlat(
  flat: FlatColumns,
  { columns, start, label }: { columns: ReadColumn[]; start: number; label: string },
  from: number,
  to: number,
): { end: number; more: boolean } {
  flat.clear();
  let row = from;
  const valueOf = (column: number) => {
    const { values, convert, isBytes } = columns[column]!;
    const value = values[row - start];
    return isBytes && value instanceof Uint8Array ? value : convert(value);
  };
  try {
    while (row < to && !flat.isFull && flat.add(row, valueOf)) row++;
  } catch (error) {
    if (!(error instanceof ValueError)) throw damaged(label, error);
  }
  return { end: row, more: flat.isFull };
}

interface TopColumn {
  name: string;
  /** As hyparquet reads it. */
  tree: SchemaTree;
  readers: ColumnReader[];
  convert: Convert;
  isBytes: boolean;
}

/** Reads the rows of a part in turn. */
class RowReader {
  readonly #part: Part;
  readonly #columns: TopColumn[];
  get names(): string[] {
    return this.#columns.map(({ name }) => name);
  }

  /** Types that hold the values of its columns, where the schema says them. */
  readonly types: Record<string, string>;
  /** Row of the file at which its group begins. */
  readonly #first: number;
  /** Rows that are read at once, as their nested values are spread. */
  #atOnce: number;

  /** asBytes: texts are left as they are stored. */
  constructor(
    file: AsyncBuffer,
    metadata: FileMetaData,
    part: Part,
    { asBytes }: { asBytes: boolean },
  ) {
    this.#part = part;
    const { group, first } = groupOf(metadata, part);
    this.#first = first;
    const tree = parquetSchema(metadata);
    this.types = Object.fromEntries(
      tree.children.flatMap((column) => {
        const type = declaredType(column);
        return type === undefined ? [] : [[column.element.name, type]];
      }),
    );
    const schema = parquetSchema({ ...metadata, schema: metadata.schema.map(asStored) });
    const texts = new Set(
      tree.children.filter((column) => asBytes && isText(column)).map(({ element }) =>
        element.name
      ),
    );
    const parsers = { ...DEFAULT_PARSERS, ...LOSSLESS_PARSERS };
    const asBytesParsers = { ...DEFAULT_PARSERS, ...TEXTS_AS_BYTES };
    const readers = group.columns.flatMap(({ meta_data: column }) =>
      column === undefined ? [] : [{
        column,
        reader: new ColumnReader({
          file,
          schema,
          column,
          compressors: boundedCompressors,
          parsers: texts.has(column.path_in_schema[0]!) ? asBytesParsers : parsers,
          dictionaryParsers: parsers,
        }),
      }]
    );
    const infinities = { ofNanos: metadata.created_by?.startsWith("DuckDB") ?? false };
    const byName = Map.groupBy(readers, ({ column }) => column.path_in_schema[0]!);
    this.#columns = tree.children.map((column, i) => {
      const name = column.element.name;
      const own = byName.get(name);
      if (own === undefined) throw new RangeError(`a row group without the column ${name}`);
      return {
        name,
        tree: schema.children[i]!,
        readers: own.map(({ reader }) => reader),
        isBytes: texts.has(name),
        convert: texts.has(name) ? textOfBytes : converterOf(column, infinities),
      };
    });
    const values = nestedValues(readers);
    const share = NESTED.atOnce / (values / Math.max(1, Number(group.num_rows)));
    this.#atOnce = values === 0 ? Infinity : Math.max(1, Math.floor(share));
  }

  /** The rows from `start` on, as many as may be held at once. */
  async next(start: number): Promise<{ columns: ReadColumn[]; end: number }> {
    for (;;) {
      const end = Math.min(this.#part.end, start + this.#atOnce);
      try {
        return { columns: await this.#read(start, end), end };
      } catch (error) {
        if (!(error instanceof TooManyValues)) throw error;
        if (end - start === 1) throw tooManyNested(error.values, start, this.#part.label);
        this.#atOnce = Math.ceil((end - start) / 2);
      }
    }
  }

  async #read(start: number, end: number): Promise<ReadColumn[]> {
    const [from, to] = [start - this.#first, end - this.#first];
    const most = end - start === 1 ? NESTED.ofOneRow : 2 * NESTED.atOnce;
    let left = most;
    const columns: ReadColumn[] = [];
    const before = this.#columns.flatMap(({ readers }) => readers.map((reader) => reader.place));
    try {
      for (const { name, tree, readers, convert, isBytes } of this.#columns) {
        const leaves = new Map<string, DecodedArray>();
        for (const reader of readers) {
          const { values, taken } = await reader.read(from, to, reader.nested ? left : Infinity);
          leaves.set(reader.path, values);
          if (reader.nested) left -= taken;
        }
        if (tree.children.length > 0) {
          assembleNested(leaves, tree, { ...DEFAULT_PARSERS, ...LOSSLESS_PARSERS });
        }
        columns.push({ name, values: leaves.get(name)!, convert, isBytes });
      }
    } catch (error) {
      // the rows are read again, fewer of them
      this.#columns.flatMap(({ readers }) => readers).forEach((reader, i) => {
        reader.place = before[i]!;
      });
      throw error;
    }
    return columns;
  }
}

/** The row group that holds a part, and the row of the file at which it begins. */
function groupOf(metadata: FileMetaData, part: Part): { group: RowGroup; first: number } {
  let first = 0;
  for (const group of metadata.row_groups) {
    const end = first + Number(group.num_rows);
    if (part.start < end) {
      if (part.end > end) break;
      return { group, first };
    }
    first = end;
  }
  throw new RangeError(`no row group with the rows ${part.start} to ${part.end}`);
}

function nestedValues(readers: { column: ColumnMetaData; reader: ColumnReader }[]): number {
  let values = 0;
  for (const { column, reader } of readers) if (reader.nested) values += Number(column.num_values);
  return values;
}

function tooManyNested(values: number, row: number, label: string): Problem {
  return new Problem("source-unreadable", {
    detail: say("parquet-nested", {
      row: row + 1,
      file: label,
      count: values.toLocaleString("en-US"),
      most: NESTED.ofOneRow.toLocaleString("en-US"),
    }),
  });
}
