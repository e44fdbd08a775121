import type { ColumnMetaData, Compressors } from "hyparquet";
import type { parquetHeader } from "hyparquet/src/column.js";
import { decompressPage } from "hyparquet/src/datapage.js";
import { readVarInt } from "hyparquet/src/thrift.js";

/** Values that one page may have: they are decoded together, in 8 bytes each and as much for each level. */
const MAX_PAGE_VALUES = 2 ** 22;
/** Writers fill up the last run: to 8 values, some to a whole bit-packed run. */
const PADDING = 512;

interface Reader {
  view: DataView;
  offset: number;
}

export type PageHeader = ReturnType<typeof parquetHeader>;

/** How many values a page has. Throws a RangeError for more than can be decoded at once. */
export function valuesOf(
  { data_page_header, data_page_header_v2, dictionary_page_header }: PageHeader,
) {
  const { num_values: values = 0 } = data_page_header ?? data_page_header_v2 ??
    dictionary_page_header ?? {};
  if (Number.isInteger(values) && values >= 0 && values <= MAX_PAGE_VALUES) return values;
  throw new RangeError(
    `a page of ${values} values; the limit is ${MAX_PAGE_VALUES}: write smaller row groups (row_group_size)`,
  );
}

export interface PageContext {
  column: ColumnMetaData;
  /** The highest of each. */
  levels: { repetition: number; definition: number };
  compressors: Compressors;
}

/**
 * Refuses a page that claims more values than it has room for. A run of repeated values says in five
 * bytes that it has two billion of them, which the decoder believes, and the process is out of memory.
 *
 * @param bytes of a page of version 1 unpacked, of one of version 2 as stored.
 * @throws {RangeError} for a page that cannot be honest.
 */
export function checkPage(bytes: Uint8Array, header: PageHeader, context: PageContext): void {
  const { column, levels, compressors } = context;
  const v1 = header.data_page_header;
  const v2 = header.data_page_header_v2;
  const count = valuesOf(header);
  const size = Number(header.uncompressed_page_size);
  const unpacked = (page: Uint8Array, length: number) =>
    readerOf(decompressPage(page, length, column.codec, compressors));
  let reader: Reader;
  if (v1 !== undefined) {
    reader = readerOf(bytes);
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
