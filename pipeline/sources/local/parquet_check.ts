import type { AsyncBuffer, ColumnMetaData, Compressors, FileMetaData, RowGroup } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { decompressPage } from "hyparquet/src/datapage.js";
import {
  getMaxDefinitionLevel,
  getMaxRepetitionLevel,
  getSchemaPath,
} from "hyparquet/src/schema.js";
import { readVarInt } from "hyparquet/src/thrift.js";

/** Values that one page may have: they are decoded together. */
const MAX_PAGE_VALUES = 2 ** 25;
/** Writers fill up the last run: to 8 values, some to a whole bit-packed run. */
const PADDING = 512;

interface Reader {
  view: DataView;
  offset: number;
}

type PageHeader = ReturnType<typeof parquetHeader>;

/** What is read of a file: rows from `start` to before `end`. */
export interface CheckedRange {
  start: number;
  end: number;
  compressors: Compressors;
}

/**
 * Refuses pages that claim more values than they have room for. A run of
 * repeated values says in five bytes that it has two billion of them, which
 * the decoder believes, and the process is out of memory.
 *
 * @throws {RangeError} for a page that cannot be honest.
 */
export async function checkPages(
  file: AsyncBuffer,
  metadata: FileMetaData,
  range: CheckedRange,
): Promise<void> {
  let first = 0;
  for (const group of metadata.row_groups) {
    const rows = Number(group.num_rows);
    const selected = { start: range.start - first, end: Math.min(rows, range.end - first) };
    if (selected.start < rows && selected.end > 0) {
      await checkGroup(file, metadata, { group, selected, compressors: range.compressors });
    }
    first += rows;
  }
}

interface GroupRange {
  group: RowGroup;
  selected: { start: number; end: number };
  compressors: Compressors;
}

async function checkGroup(
  file: AsyncBuffer,
  { schema }: FileMetaData,
  { group, selected, compressors }: GroupRange,
): Promise<void> {
  for (const { meta_data: column } of group.columns) {
    if (column === undefined) continue;
    const path = getSchemaPath(schema, column.path_in_schema);
    const levels = {
      repetition: getMaxRepetitionLevel(path),
      definition: getMaxDefinitionLevel(path),
    };
    const start = Number(column.dictionary_page_offset || column.data_page_offset);
    const bytes = await file.slice(start, start + Number(column.total_compressed_size));
    const reader: Reader = { view: new DataView(bytes), offset: 0 };
    const flat = path.length === 2;
    // the decoder too skips pages of flat columns before the rows, and ends after them
    for (let row = 0; reader.offset < reader.view.byteLength - 1;) {
      if (flat && row >= selected.end) break;
      const header = parquetHeader(reader);
      const page = takePage(reader, header);
      const values = valuesOf(header);
      if (header.type === "DICTIONARY_PAGE") continue;
      const rows = header.data_page_header_v2?.num_rows ?? values;
      if (flat && rows !== values) {
        throw new RangeError(`a page of ${rows} rows and ${values} values`);
      }
      if (!flat || row + values >= selected.start) {
        checkPage(page, header, { column, levels, compressors });
      }
      row += values;
    }
  }
}

function valuesOf({ data_page_header, data_page_header_v2, dictionary_page_header }: PageHeader) {
  const { num_values: values = 0 } = data_page_header ?? data_page_header_v2 ??
    dictionary_page_header ?? {};
  if (Number.isInteger(values) && values >= 0 && values <= MAX_PAGE_VALUES) return values;
  throw new RangeError(`a page of ${values} values`);
}

function takePage(reader: Reader, { compressed_page_size: size }: PageHeader): Uint8Array {
  const { view, offset } = reader;
  if (!(size >= 0 && offset + size <= view.byteLength)) {
    throw new RangeError(`a page of ${size} bytes, which the column has not`);
  }
  reader.offset += size;
  return new Uint8Array(view.buffer, view.byteOffset + offset, size);
}

interface PageContext {
  column: ColumnMetaData;
  levels: { repetition: number; definition: number };
  compressors: Compressors;
}

function checkPage(bytes: Uint8Array, header: PageHeader, context: PageContext): void {
  const { column, levels, compressors } = context;
  const v1 = header.data_page_header;
  const v2 = header.data_page_header_v2;
  const count = valuesOf(header);
  const size = Number(header.uncompressed_page_size);
  const unpacked = (page: Uint8Array, length: number) =>
    readerOf(decompressPage(page, length, column.codec, compressors));
  let reader: Reader;
  if (v1 !== undefined) {
    reader = unpacked(bytes, size);
    for (const level of [levels.repetition, levels.definition]) {
      if (level === 0) continue;
      const length = reader.view.getUint32(reader.offset, true);
      const start = reader.offset + 4;
      checkRuns(reader.view, { start, end: start + length, width: widthOf(level), count });
      reader.offset = start + length;
    }
  } else if (v2 !== undefined) {
    const { repetition_levels_byte_length: rep, definition_levels_byte_length: def } = v2;
    const all = readerOf(bytes);
    const level = (start: number, length: number, max: number) => {
      if (max > 0) checkRuns(all.view, { start, end: start + length, width: widthOf(max), count });
    };
    level(0, rep, levels.repetition);
    level(rep, def, levels.definition);
    const rest = bytes.subarray(rep + def);
    reader = v2.is_compressed === false ? readerOf(rest) : unpacked(rest, size - rep - def);
  } else return;
  const { encoding } = (v1 ?? v2)!;
  const end = reader.view.byteLength;
  if (encoding === "RLE_DICTIONARY" || encoding === "PLAIN_DICTIONARY") {
    if (reader.offset >= end) return;
    const width = reader.view.getUint8(reader.offset);
    if (width > 0) checkRuns(reader.view, { start: reader.offset + 1, end, width, count });
  } else if (encoding === "RLE") {
    checkRuns(reader.view, { start: reader.offset + 4, end, width: 1, count });
  }
}

const readerOf = (bytes: Uint8Array): Reader => ({
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  offset: 0,
});

/** Bits that a level has. */
const widthOf = (level: number) => 32 - Math.clz32(level);

interface Runs {
  start: number;
  end: number;
  /** Bits of a value. */
  width: number;
  /** Values that the page has at most. */
  count: number;
}

/** Walks over the runs of Parquet's RLE and bit-packed hybrid without writing any value. */
function checkRuns(view: DataView, { start, end, width, count }: Runs): void {
  const reader: Reader = { view, offset: start };
  for (let seen = 0; seen < count && reader.offset < Math.min(end, view.byteLength);) {
    const run = readVarInt(reader);
    const values = run & 1 ? (run >>> 1) * 8 : run >>> 1;
    reader.offset += run & 1 ? (run >>> 1) * width : (width + 7) >> 3;
    seen += values;
    if (seen > count + PADDING) {
      throw new RangeError(`a run of ${values} values in a page of ${count}`);
    }
  }
}
