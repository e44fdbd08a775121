import {
  type ColumnMetaData,
  type FileMetaData,
  parquetSchema,
  type ParquetType,
  type SchemaElement,
} from "hyparquet";
import { getMaxDefinitionLevel, getMaxRepetitionLevel, getTreePath } from "hyparquet/src/schema.js";
import { ByteWriter } from "hyparquet-writer/src/bytewriter.js";
import { writeRleBitPackedHybrid } from "hyparquet-writer/src/encoding.js";
import { writeMetadata } from "hyparquet-writer/src/metadata.js";
import { writePlain } from "hyparquet-writer/src/plain.js";
import { serializeTCompactProtocol } from "hyparquet-writer/src/thrift.js";

/** The levels of a page's entries, where its column has such, and the values of those that have one. */
export interface RawPage {
  repetition?: number[];
  definition?: number[];
  values: unknown[];
  /** The largest value that its header tells of, of any length. */
  largest?: Uint8Array;
  /** Makes it a page of version 2 of the format, which claims so many rows. */
  rows?: number;
}

export interface RawColumn {
  path: string[];
  type: ParquetType;
  pages: RawPage[];
}

const [DATA_PAGE, DATA_PAGE_V2] = [0, 3];
const [PLAIN, RLE] = [0, 3];

/**
 * A Parquet file of one row group with the pages as they are given: the library that writes the other files
 * has version 2 of the format only, begins each page with a row, and knows no repeated columns.
 */
export function parquetOfPages(
  { schema, columns, rows }: { schema: SchemaElement[]; columns: RawColumn[]; rows: number },
): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter();
  writer.appendBytes(new TextEncoder().encode("PAR1"));
  const tree = parquetSchema({ schema } as FileMetaData);
  const chunks = columns.map((column) => {
    const start = writer.offset;
    const path = getTreePath(tree, column.path);
    const highest = [getMaxRepetitionLevel(path), getMaxDefinitionLevel(path)] as const;
    for (const page of column.pages) writePage(writer, page, { type: column.type, highest });
    const size = BigInt(writer.offset - start);
    const meta_data: ColumnMetaData = {
      type: column.type,
      encodings: ["PLAIN", "RLE"],
      path_in_schema: column.path,
      codec: "UNCOMPRESSED",
      num_values: BigInt(column.pages.reduce((sum, page) => sum + entriesOf(page), 0)),
      total_uncompressed_size: size,
      total_compressed_size: size,
      data_page_offset: BigInt(start),
    };
    return { file_offset: BigInt(start), meta_data };
  });
  const group = {
    columns: chunks,
    total_byte_size: BigInt(writer.offset),
    num_rows: BigInt(rows),
  };
  const metadata = { version: 1, schema, num_rows: BigInt(rows), row_groups: [group] };
  writeMetadata(writer, metadata as unknown as FileMetaData);
  writer.appendBytes(new TextEncoder().encode("PAR1"));
  return Uint8Array.from(writer.getBytes());
}

function entriesOf({ definition, repetition, values }: RawPage): number {
  return (definition ?? repetition ?? values).length;
}

function writePage(
  writer: ByteWriter,
  page: RawPage,
  { type, highest }: { type: ParquetType; highest: readonly [number, number] },
): void {
  const body = new ByteWriter();
  const lengths = [page.repetition, page.definition].map((levels, i) => {
    if (levels === undefined) return 0;
    const runs = new ByteWriter();
    writeRleBitPackedHybrid(runs, levels, 32 - Math.clz32(highest[i]!));
    if (page.rows === undefined) body.appendUint32(runs.offset);
    body.appendBytes(runs.getBytes());
    return runs.offset;
  });
  writePlain(body, page.values as never, type, undefined);
  const statistics = page.largest && { field_1: page.largest };
  const header = page.rows === undefined
    ? {
      field_5: {
        field_1: entriesOf(page),
        field_2: PLAIN,
        field_3: RLE,
        field_4: RLE,
        field_5: statistics,
      },
    }
    : {
      field_8: {
        field_1: entriesOf(page),
        field_2: 0,
        field_3: page.rows,
        field_4: PLAIN,
        field_5: lengths[1]!,
        field_6: lengths[0]!,
        field_7: false,
        field_8: statistics,
      },
    };
  serializeTCompactProtocol(writer, {
    field_1: page.rows === undefined ? DATA_PAGE : DATA_PAGE_V2,
    field_2: body.offset,
    field_3: body.offset,
    ...header,
  });
  writer.appendBytes(body.getBytes());
}
