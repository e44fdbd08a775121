import type {
  AsyncBuffer,
  ColumnMetaData,
  Compressors,
  DecodedArray,
  ParquetParsers,
  SchemaTree,
} from "hyparquet";
import { assembleLists } from "hyparquet/src/assemble.js";
import { parquetHeader, readPage } from "hyparquet/src/column.js";
import { convert, convertWithDictionary } from "hyparquet/src/convert.js";
import { decompressPage, readDataPage, readDataPageV2 } from "hyparquet/src/datapage.js";
import { readRleBitPackedHybrid } from "hyparquet/src/encoding.js";
import {
  getMaxDefinitionLevel,
  getMaxRepetitionLevel,
  getTreePath,
  isFlatColumn,
} from "hyparquet/src/schema.js";
import { checkPage, type PageHeader, valuesOf } from "./parquet_check.ts";

/** Bytes of a column that are held while its pages are looked at: beyond the first of a file elsewhere, a request each. */
const BLOCK_BYTES = 1 << 25;
/** What the header of a page mostly fits into; its statistics, which may be whole texts, make some longer. */
const HEADER_BYTES = 1 << 12;
const MAX_HEADER_BYTES = 1 << 24;

/** More values than may be held at once. */
export class TooManyValues extends Error {
  constructor(readonly values: number) {
    super(`${values} values at once`);
  }
}

/** A page, and how many rows begin before it. */
interface Place {
  offset: number;
  rows: number;
}

export interface ColumnOptions {
  file: AsyncBuffer;
  /** Root of the schema as hyparquet reads it. */
  schema: SchemaTree;
  column: ColumnMetaData;
  compressors: Compressors;
  parsers: ParquetParsers;
  /** Those of a dictionary's values, which many rows share; default `parsers`. */
  dictionaryParsers?: ParquetParsers;
}

/** A page with its levels and values decoded, and the rows that begin in it. */
interface Page {
  definition: number[];
  /** Empty where every value is a row. */
  repetition: number[];
  values: DecodedArray;
  entries: number;
}

/**
 * Reads rows of one column of a row group from its pages: what is held follows the rows and not the group,
 * which hyparquet puts together from its beginning where columns are nested. Rows are asked for in their
 * order; each read goes on from the page where the last one ended.
 */
export class ColumnReader {
  readonly #options: ColumnOptions;
  readonly #path: SchemaTree[];
  readonly #levels: { repetition: number; definition: number };
  readonly #end: number;
  readonly #start: number;
  #dictionary: DecodedArray | undefined;
  /** Where it goes on reading. */
  place: Place;
  #block: { start: number; bytes: Uint8Array } | undefined;

  constructor(options: ColumnOptions) {
    this.#options = options;
    const { column, schema } = options;
    this.#path = getTreePath(schema, column.path_in_schema);
    this.#levels = {
      repetition: getMaxRepetitionLevel(this.#path),
      definition: getMaxDefinitionLevel(this.#path),
    };
    this.#start = Number(column.dictionary_page_offset || column.data_page_offset);
    this.#end = this.#start + Number(column.total_compressed_size);
    this.place = { offset: this.#start, rows: 0 };
  }

  /** Its name, and those of the columns that it is part of. */
  get path(): string {
    return this.#options.column.path_in_schema.join(".");
  }

  /** Whether its values are assembled with those of other columns, or into lists. */
  get nested(): boolean {
    return !isFlatColumn(this.#path);
  }

  /**
   * The values of the rows [start, end) of the group, nested ones in their lists, and how many there are.
   *
   * @throws {TooManyValues} for more than `most`.
   */
  async read(
    start: number,
    end: number,
    most: number,
  ): Promise<{ values: DecodedArray; taken: number }> {
    const output: unknown[] = [];
    let taken = 0;
    let over = false;
    try {
      while (!over && this.place.offset < this.#end - 1) {
        const { header, content, offset } = await this.#page();
        const { rows } = this.place;
        const skipped = this.#dictionaryOf(header, content) ? 0 : this.#skip(header, content, {
          rows: start - rows,
        });
        if (skipped !== null) {
          this.place = { offset, rows: rows + skipped };
          continue;
        }
        const page = this.#decode(header, content);
        const from = this.#entryOf(page, start - rows);
        const to = this.#entryOf(page, end - rows);
        taken += to.entry - from.entry;
        if (taken > most) throw new TooManyValues(taken);
        this.#add(output, page, from, to);
        over = to.begins;
        // the page in which the row `end` begins is read again for it
        if (!over) this.place = { offset, rows: rows + to.rows };
      }
    } finally {
      this.#block = undefined;
    }
    if (output.length !== end - start) {
      throw new RangeError(
        `column ${this.path} has not the rows ${start} to ${end}`,
      );
    }
    return { values: output as DecodedArray, taken };
  }

  /** The next page as stored, and where the one after it begins. */
  async #page(): Promise<{ header: PageHeader; content: Uint8Array; offset: number }> {
    const { offset: at } = this.place;
    let header: PageHeader;
    let length: number;
    for (let most = HEADER_BYTES;; most *= 16) {
      const bytes = await this.#bytes(at, most);
      const reader = { view: viewOf(bytes), offset: 0 };
      try {
        header = parquetHeader(reader);
        length = reader.offset;
        break;
      } catch (error) {
        // one that is cut off fails at its end in one way or another
        if (at + bytes.length >= this.#end || most >= MAX_HEADER_BYTES) throw error;
      }
    }
    const size = header.compressed_page_size;
    const from = at + length;
    if (!(size >= 0 && from + size <= this.#end)) {
      throw new RangeError(`a page of ${size} bytes, which the column has not`);
    }
    return { header, content: await this.#bytes(from, size), offset: from + size };
  }

  /** The bytes from `at` on, of this column only; fewer than `length` at its end. */
  async #bytes(at: number, length: number): Promise<Uint8Array> {
    const to = Math.min(this.#end, at + length);
    const block = Math.floor((at - this.#start) / BLOCK_BYTES);
    const start = this.#start + block * BLOCK_BYTES;
    const end = Math.min(this.#end, start + BLOCK_BYTES);
    const { file } = this.#options;
    if (to > end) return new Uint8Array(await file.slice(at, to));
    if (this.#block?.start !== start) {
      this.#block = undefined;
      this.#block = { start, bytes: new Uint8Array(await file.slice(start, end)) };
    }
    return this.#block.bytes.subarray(at - start, to - start);
  }

  #dictionaryOf(header: PageHeader, content: Uint8Array): boolean {
    if (header.type !== "DICTIONARY_PAGE") return false;
    if (this.#dictionary !== undefined) return true;
    valuesOf(header);
    const reader = { view: viewOf(content), offset: 0 };
    const { data } = readPage(reader, header, this.#decoder(), undefined, undefined, 0);
    const { parsers, dictionaryParsers = parsers } = this.#options;
    if (data !== undefined) {
      this.#dictionary = convert(data, { ...this.#decoder(), parsers: dictionaryParsers });
    }
    return true;
  }

  /** How many rows begin in a page, where all of them end before the first that is wanted; else null. */
  #skip(header: PageHeader, content: Uint8Array, wanted: { rows: number }): number | null {
    const count = valuesOf(header);
    const v2 = header.data_page_header_v2;
    if (v2 === undefined && header.data_page_header === undefined) {
      throw new Error(`parquet unsupported page type: ${header.type}`);
    }
    const { repetition } = this.#levels;
    if (repetition === 0 && v2 !== undefined && v2.num_rows !== count) {
      throw new RangeError(`a page of ${v2.num_rows} rows and ${count} values`);
    }
    // of lists at most as many rows as values begin
    if (wanted.rows <= 0) return null;
    if (repetition === 0) return count <= wanted.rows ? count : null;
    if (v2 !== undefined) return v2.num_rows <= wanted.rows ? v2.num_rows : null;
    const bytes = this.#unpacked(header, content);
    this.#check(bytes, header);
    const levels = new Array<number>(count);
    readRleBitPackedHybrid(
      { view: viewOf(bytes), offset: 0 },
      32 - Math.clz32(repetition),
      levels as never,
    );
    let rows = 0;
    for (const level of levels) if (level === 0) rows++;
    // one that begins in it may go on in the next page
    return rows <= wanted.rows ? rows : null;
  }

  #decode(header: PageHeader, content: Uint8Array): Page {
    const decoder = this.#decoder();
    const v1 = header.data_page_header;
    const bytes = v1 === undefined ? content : this.#unpacked(header, content);
    this.#check(bytes, header);
    const { definitionLevels, repetitionLevels, dataPage } = v1 === undefined
      ? readDataPageV2(bytes, header, decoder)
      : readDataPage(bytes, v1, decoder);
    const { encoding } = (v1 ?? header.data_page_header_v2)!;
    return {
      definition: definitionLevels ?? [],
      repetition: repetitionLevels,
      values: convertWithDictionary(dataPage, this.#dictionary, encoding, decoder),
      entries: valuesOf(header),
    };
  }

  #unpacked(header: PageHeader, content: Uint8Array): Uint8Array {
    const { column, compressors } = this.#options;
    const size = Number(header.uncompressed_page_size);
    return decompressPage(content, size, column.codec, compressors);
  }

  #check(bytes: Uint8Array, header: PageHeader): void {
    const { column, compressors } = this.#options;
    checkPage(bytes, header, { column, compressors, levels: this.#levels });
  }

  /** Where row `row` of a page begins; its end where it begins later. */
  #entryOf({ repetition, entries }: Page, row: number): Entry {
    if (repetition.length === 0) {
      const entry = Math.min(Math.max(row, 0), entries);
      return { entry, begins: row < entries, rows: entry };
    }
    if (row < 0) return { entry: 0, begins: false, rows: 0 };
    let rows = 0;
    for (let entry = 0; entry < entries; entry++) {
      if (repetition[entry] !== 0) continue;
      if (rows === row) return { entry, begins: true, rows };
      rows++;
    }
    return { entry: entries, begins: false, rows };
  }

  #add(output: unknown[], page: Page, from: Entry, to: Entry): void {
    const { definition, repetition, values } = page;
    const max = this.#levels.definition;
    const whole = definition.length === 0;
    const valuesBefore = (entry: number) => {
      if (whole) return entry;
      let count = 0;
      for (let i = 0; i < entry; i++) if (definition[i] === max) count++;
      return count;
    };
    let at = valuesBefore(from.entry);
    if (!this.nested || (max === 0 && repetition.length === 0)) {
      for (let i = from.entry; i < to.entry; i++) {
        output.push(whole || definition[i] === max ? values[at++] : null);
      }
      return;
    }
    if (output.length === 0 && (repetition[from.entry] ?? 0) !== 0) {
      throw new RangeError("a page begins within a row that no page has begun");
    }
    assembleLists(
      output,
      definition.slice(from.entry, to.entry),
      repetition.slice(from.entry, to.entry),
      values.slice(at, valuesBefore(to.entry)),
      this.#path,
    );
  }

  #decoder() {
    const { column, compressors, parsers } = this.#options;
    return {
      ...column,
      pathInSchema: column.path_in_schema,
      element: this.#path.at(-1)!.element,
      schemaPath: this.#path,
      compressors,
      parsers,
      utf8: false,
    };
  }
}

interface Entry {
  /** Index of the first entry of the row. */
  entry: number;
  /** Whether the row begins in this page. */
  begins: boolean;
  /** Rows of this page that begin before it. */
  rows: number;
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
