import { type Message, say } from "../../../vocabulary/messages.ts";
import {
  cellsJson,
  cellsRecord,
  type Columns,
  type ColumnsConf,
  compileColumns,
} from "../columns.ts";
import {
  type Origin,
  type Position,
  type ReadContext,
  type RecordBatch,
  type SourceRecord,
  Unreadable,
  unreadable,
} from "../source.ts";
import { type CsvConf, type CsvFault, type CsvLayout, splitRecord } from "./csv_dialect.ts";
import { readCsvHead } from "./csv_header.ts";
import { CellFault } from "./csv_values.ts";
import { lineOfOrigin, notUtf8, tooLong } from "./ndjson.ts";
import { MAX_FLAT_BYTES, MixedReader } from "../flat_records.ts";
import { FlatCsv } from "./flat_csv.ts";
import { openPart, type Roots } from "./open_input.ts";
import { countNewlines } from "./ranges.ts";
import type { Part } from "./slice_packer.ts";
import { recordBlocks } from "./record_blocks.ts";
import { csvScanner } from "./record_scanner.ts";

const BATCH_RECORDS = 1_000;
const NEWLINE = 10;
const CR = 13;
const MARK = "\ufeff";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** How the records of one file are read. */
interface Table {
  names: string[];
  /** By column; undefined: not declared. */
  puts: ReturnType<Columns["of"]>[];
  isNull: Columns["isNull"];
  layout: CsvLayout;
  /** Whether a record of the columns' names is a header that stands where records do. */
  named: boolean;
  label: string;
  maxRecordBytes: number;
}

/** Whole records and where they stand; `ends` as in RecordBlock, but of this piece. */
interface Piece {
  bytes: Uint8Array;
  ends: number[];
  /** Of the first byte in the file. */
  offset: number;
  /** Whether a newline can only be a record's end. */
  plain: boolean;
  /** Line of the first byte; counted when it is asked for. */
  line(): number;
  /** Whether that is its line of the slice. */
  ofSlice: boolean;
}

/**
 * Reads the records of one part of a CSV or TSV file. Header names become keys. A declared column is read as it is
 * declared, any other cell by itself: csv_values.ts.
 */
export async function* readCsv(
  part: Part,
  ctx: ReadContext & Roots,
  conf: CsvConf & ColumnsConf = {},
): AsyncGenerator<RecordBatch, void, void> {
  using input = await openPart(part, ctx);
  const layout: CsvLayout = JSON.parse(part.layout as string);
  const names = Array.isArray(conf.header) ? conf.header : undefined;
  const head = await readCsvHead(input, {
    layout,
    names,
    size: part.size,
    label: part.label,
    limits: ctx.limits,
    signal: ctx.signal,
  });
  const columns = compileColumns(conf);
  const table: Table = {
    names: head?.names ?? [],
    puts: (head?.names ?? []).map((name) => columns?.of(name)),
    isNull: columns?.isNull,
    layout,
    named: layout.header || names !== undefined,
    label: part.label,
    maxRecordBytes: ctx.limits.maxRecordBytes,
  };
  const count = ctx.lines ?? { next: 1, ofSlice: true };
  const blocks = recordBlocks(input, {
    start: part.start,
    end: part.end,
    scanner: csvScanner(layout),
    maxRecordBytes: table.maxRecordBytes,
    label: part.label,
    signal: ctx.signal,
    line: input.lineAt === undefined ? count.next : undefined,
  });
  const ofSlice = input.lineAt === undefined && count.ofSlice;
  const csv = ctx.flat ? FlatCsv.of(table.names, table, conf) : null;
  const flat = csv === null ? null : flatReader(csv, table);
  for await (const { bytes, offset, ends, oversized, lines } of blocks) {
    const lineOf = (from: number) =>
      input.lineAt?.(offset + from) ?? lines!.first + countNewlines(bytes, 0, from);
    count.next = lines?.after ?? count.next;
    if (oversized !== undefined) {
      yield longRecord(
        { bytes, size: oversized, offset, line: lineOf(0), ofSlice },
        table,
      );
      continue;
    }
    const all = ends ?? lineEnds(bytes);
    for (let i = 0, from = 0; i < all.length; i += BATCH_RECORDS) {
      const own = all.slice(i, i + BATCH_RECORDS).map((end) => end - from);
      let line: number | undefined;
      const first = from;
      const piece: Piece = {
        bytes: bytes.subarray(from, from + own.at(-1)!),
        ends: own,
        offset: offset + first,
        plain: ends === undefined,
        line: () => line ??= lineOf(first),
        ofSlice,
      };
      const most = Math.min(table.maxRecordBytes, MAX_FLAT_BYTES);
      const looks = flat !== null && piece.bytes.length <= most;
      for (const batch of looks ? flat(piece) : [parsePiece(piece, table)]) {
        if (batch.length > 0 || batch.unparsed !== undefined) yield batch;
      }
      from += own.at(-1)!;
    }
  }
  await input.verify();
}

/** Reads pieces of which some records may be flat. */
function flatReader(csv: FlatCsv, table: Table): (piece: Piece) => Iterable<RecordBatch> {
  const reader = new MixedReader(csv.records);
  return (piece) =>
    reader.batches({
      from: 0,
      to: piece.ends.length,
      find: (from) => ({ end: csv.find(piece.bytes, piece.ends, from) }),
      others: (from, to) => parsePiece(partOf(piece, from, to), table),
    });
}

/** Some of the records of a piece. */
function partOf(piece: Piece, first: number, after: number): Piece {
  const from = first === 0 ? 0 : piece.ends[first - 1]!;
  let line: number | undefined;
  return {
    ...piece,
    bytes: piece.bytes.subarray(from, piece.ends[after - 1]!),
    ends: piece.ends.slice(first, after).map((end) => end - from),
    offset: piece.offset + from,
    line: () => line ??= piece.line() + countNewlines(piece.bytes, 0, from),
  };
}

function longRecord(
  { bytes, size, offset, line, ofSlice }:
    & Pick<Piece, "bytes" | "offset" | "ofSlice">
    & { size: number; line: number },
  { label, maxRecordBytes }: Table,
): RecordBatch {
  const at = { label, line: ofSlice ? undefined : line, byte: offset };
  const batch: RecordBatch = [tooLong(bytes, size, at, maxRecordBytes)];
  const place = lineOfOrigin(line, { ofSlice });
  batch.origin = () => ({ file: label, ...place, raw: bytes, record: null });
  return batch;
}

function lineEnds(bytes: Uint8Array): number[] {
  const ends: number[] = [];
  for (let from = 0; from < bytes.length;) {
    const newline = bytes.indexOf(NEWLINE, from);
    from = newline < 0 ? bytes.length : newline + 1;
    ends.push(from);
  }
  return ends;
}

function parsePiece(piece: Piece, table: Table): RecordBatch {
  const { layout, label } = table;
  const { bytes, ends } = piece;
  const batch: RecordBatch = [];
  batch.cells = true;
  /** By record of the batch, its place in the piece. */
  const places: number[] = [];
  const texts = bytes.length > table.maxRecordBytes ? undefined : recordTexts(piece);
  const mark = layout.comment;
  for (let i = 0; i < ends.length; i++) {
    const text = texts?.[i];
    if (text === undefined) {
      const raw = recordBytes(bytes, ends, i);
      if (isEmpty(raw) || (mark !== null && raw[0] === mark.charCodeAt(0))) continue;
    } else if (text === "" || text === "\r" || (mark !== null && text.startsWith(mark))) continue;
    places.push(i);
    batch.push(text === undefined ? parseBytes(piece, i, table) : parseText(text, piece, i, table));
  }
  let lines: number[] | undefined;
  batch.origin = (index): Origin => {
    const i = places[index]!;
    lines ??= recordLines(piece);
    const raw = recordBytes(bytes, ends, i);
    const record = recordJson(raw, table);
    return { file: label, ...lineOfOrigin(lines[i]!, piece), raw, record };
  };
  return batch;
}

/** The text of each record without its line end; undefined where bytes must be looked at one by one. */
function recordTexts(piece: Piece): string[] | undefined {
  const { bytes, ends, plain } = piece;
  let text: string;
  try {
    text = strict.decode(bytes);
  } catch {
    return undefined;
  }
  if (plain) {
    if (bytes.includes(CR)) text = text.replaceAll("\r\n", "\n");
    const texts = text.split("\n");
    if (texts.length > ends.length) texts.pop();
    return texts;
  }
  const ascii = text.length === bytes.length;
  const texts: string[] = [];
  for (let i = 0, from = 0; i < ends.length; i++) {
    const to = ends[i]!;
    if (ascii) {
      let end = to;
      if (bytes[end - 1] === NEWLINE) end -= bytes[end - 2] === CR ? 2 : 1;
      texts.push(text.slice(from, end));
    } else texts.push(strict.decode(recordBytes(bytes, ends, i)));
    from = to;
  }
  return texts;
}

function parseBytes(piece: Piece, i: number, table: Table): SourceRecord | Unreadable {
  const raw = recordBytes(piece.bytes, piece.ends, i);
  if (raw.length > table.maxRecordBytes) {
    return tooLong(raw, raw.length, positionOf(piece, i, table), table.maxRecordBytes);
  }
  let text: string;
  try {
    text = strict.decode(raw);
  } catch {
    return notUtf8(raw, positionOf(piece, i, table));
  }
  return parseText(text, piece, i, table);
}

const FAULTS: Record<CsvFault, (layout: CsvLayout) => [rule: string, message: Message]> = {
  unclosed: () => ["csv_quotes", say("csv-unclosed", {})],
  after_quote: ({ quote, escape }) => [
    "csv_quotes",
    say("csv-after-quote", { written: `${escape}${quote}` }),
  ],
  bare_cr: () => ["csv_line_end", say("csv-bare-cr", {})],
};

function parseText(
  text: string,
  piece: Piece,
  i: number,
  table: Table,
): SourceRecord | Unreadable {
  const { names, layout } = table;
  // files that were joined bring their marks along
  const joined = text.charCodeAt(0) === 0xfeff;
  const fields = splitRecord(joined ? text.slice(1) : text, layout);
  const reject = (rule: string, message: Message, field: string | null = null) => {
    const raw = recordBytes(piece.bytes, piece.ends, i);
    return unreadable(rule, message, { at: positionOf(piece, i, table), raw, field });
  };
  if (typeof fields === "string") return reject(...FAULTS[fields](layout));
  if (fields.length !== names.length) {
    const [n, columns] = [fields.length, names.length];
    return reject(
      "csv_columns",
      n === 1 ? say("one-field", { columns }) : say("fields-differ", { n, columns }),
    );
  }
  if (table.named && fields[0]!.trim() === names[0] && isHeader(fields, names)) {
    return reject("csv_header_repeated", say("header-again", {}));
  }
  try {
    return cellsRecord(names, fields, table);
  } catch (error) {
    if (!(error instanceof CellFault)) throw error;
    return reject(error.rule, error.message, error.field);
  }
}

/** `trim` takes a byte order mark away, too. */
function isHeader(fields: string[], names: string[]): boolean {
  return fields.every((field, column) => field.trim() === names[column]);
}

/** The record as JSON that a replay reads back as the same cells. Null where it has no cells. */
function recordJson(raw: Uint8Array, { names, layout }: Table): string | null {
  let fields: string[] | CsvFault;
  try {
    const text = strict.decode(raw);
    fields = splitRecord(text.startsWith(MARK) ? text.slice(1) : text, layout);
  } catch {
    return null;
  }
  if (typeof fields === "string" || fields.length !== names.length) return null;
  return cellsJson(names, fields);
}

/** The bytes of record `i`, without its line end. */
function recordBytes(bytes: Uint8Array, ends: number[], i: number): Uint8Array {
  const from = i === 0 ? 0 : ends[i - 1]!;
  let to = ends[i]!;
  if (to > from && bytes[to - 1] === NEWLINE) {
    to--;
    if (to > from && bytes[to - 1] === CR) to--;
  }
  return bytes.subarray(from, to);
}

function isEmpty(raw: Uint8Array): boolean {
  return raw.length === 0 || (raw.length === 1 && raw[0] === CR);
}

function positionOf(piece: Piece, i: number, { label }: Table): Position {
  const from = i === 0 ? 0 : piece.ends[i - 1]!;
  const line = piece.ofSlice ? undefined : recordLines(piece)[i];
  return { label, line, byte: piece.offset + from };
}

const linesOf = new WeakMap<Piece, number[]>();

/** The line in which each record of a piece begins. */
function recordLines(piece: Piece): number[] {
  const known = linesOf.get(piece);
  if (known !== undefined) return known;
  const { bytes, ends } = piece;
  let line = piece.line();
  let newline = bytes.indexOf(NEWLINE);
  const lines = ends.map((_, i) => {
    const from = i === 0 ? 0 : ends[i - 1]!;
    while (newline >= 0 && newline < from) {
      line++;
      newline = bytes.indexOf(NEWLINE, newline + 1);
    }
    return line;
  });
  linesOf.set(piece, lines);
  return lines;
}
