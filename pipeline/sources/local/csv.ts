import type { ReadContext, SourceRecord, Unreadable } from "../source.ts";
import { type Position, unreadable } from "../unreadable.ts";
import { readCsvHead } from "./csv_header.ts";
import { parseCsv } from "./csv_text.ts";
import { type ColumnType, toCell } from "./csv_values.ts";
import { type Batch, notUtf8, tooLong } from "./ndjson.ts";
import { openPart } from "./open_input.ts";
import type { Part } from "./part.ts";
import { recordBlocks } from "./record_blocks.ts";
import { CsvScanner } from "./record_scanner.ts";

const BATCH_RECORDS = 1_000;
const NEWLINE = 10;

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

interface Columns {
  names: string[];
  types: ColumnType[];
  delimiter: string;
}

/** Whole records and where they stand; `ends` as in RecordBlock, but of this piece. */
interface Piece {
  bytes: Uint8Array;
  ends: number[];
  at: Position;
  /** Whether a newline can only be a record's end. */
  plain: boolean;
}

/**
 * Reads the records of one part of a CSV file. Header names become keys; an
 * empty cell is null; cells of number and boolean columns are converted where
 * that loses nothing (csv_values.ts), all else is text.
 */
export async function* readCsv(part: Part, ctx: ReadContext): AsyncGenerator<Batch, void, void> {
  using input = await openPart(part, ctx);
  const delimiter = part.delimiter as string;
  const head = await readCsvHead(input.file, {
    delimiter,
    size: part.size,
    label: part.label,
    limits: ctx.limits,
    signal: ctx.signal,
    sampleRecords: 0,
  });
  const types = [...part.types as string] as ColumnType[];
  const columns = { names: head?.names ?? [], types, delimiter };
  const { maxRecordBytes } = ctx.limits;
  let line = part.line as number | undefined;
  const blocks = recordBlocks(input.file, {
    start: part.start,
    end: part.end,
    scanner: new CsvScanner(delimiter),
    maxRecordBytes,
    label: part.label,
    signal: ctx.signal,
  });
  for await (const { bytes, offset, ends, oversized } of blocks) {
    if (oversized !== undefined) {
      yield [tooLong(bytes, oversized, { label: part.label, line, byte: offset }, maxRecordBytes)];
      // How many lines it had is not known.
      line = undefined;
      continue;
    }
    const all = ends ?? lineEnds(bytes);
    for (let i = 0, from = 0; i < all.length; i += BATCH_RECORDS) {
      const own = all.slice(i, i + BATCH_RECORDS).map((end) => end - from);
      const piece: Piece = {
        bytes: bytes.subarray(from, from + own.at(-1)!),
        ends: own,
        at: { label: part.label, line, byte: offset + from },
        plain: ends === undefined,
      };
      const batch = parsePiece(piece, columns, maxRecordBytes);
      if (batch.length > 0) yield batch;
      if (line !== undefined) line += newlines(piece.bytes, piece.bytes.length);
      from += own.at(-1)!;
    }
  }
  await input.verify();
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

function newlines(bytes: Uint8Array, to: number): number {
  let count = 0;
  for (let i = bytes.indexOf(NEWLINE); i >= 0 && i < to; i = bytes.indexOf(NEWLINE, i + 1)) count++;
  return count;
}

function parsePiece(piece: Piece, columns: Columns, maxRecordBytes: number): Batch {
  const { bytes, ends } = piece;
  const rows = bytes.length > maxRecordBytes ? undefined : parseWhole(piece, columns.delimiter);
  if (rows === undefined) return parseOneByOne(piece, columns, maxRecordBytes);
  const batch: Batch = [];
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if (row.length === columns.names.length) {
      // Only a row of a single column can be an empty line.
      if (row.length > 1 || row[0] !== "" || recordBytes(bytes, ends, i).length > 0) {
        batch.push(toRecord(row, columns));
      }
    } else {
      const raw = recordBytes(bytes, ends, i);
      if (raw.length > 0) batch.push(ragged(row, raw, { columns, at: recordAt(piece, i) }));
    }
  }
  return batch;
}

/** All rows in one call, or undefined where each record must be looked at by itself. */
function parseWhole({ bytes, ends, plain }: Piece, delimiter: string): string[][] | undefined {
  try {
    let text: string;
    if (plain || bytes.indexOf(13) < 0) text = strict.decode(bytes).replaceAll("\r\n", "\n");
    else {
      // A CR belongs to the line end only where a record ends.
      text = ends.map((_, i) => `${strict.decode(recordBytes(bytes, ends, i))}\n`).join("");
    }
    const { rows, ok } = parseCsv(text, delimiter);
    return ok && rows.length === ends.length ? rows : undefined;
  } catch {
    return undefined;
  }
}

function parseOneByOne(piece: Piece, columns: Columns, maxRecordBytes: number): Batch {
  const { bytes, ends } = piece;
  const batch: Batch = [];
  for (let i = 0; i < ends.length; i++) {
    const raw = recordBytes(bytes, ends, i);
    if (raw.length === 0) continue;
    const at = recordAt(piece, i);
    if (raw.length > maxRecordBytes) batch.push(tooLong(raw, raw.length, at, maxRecordBytes));
    else batch.push(parseOne(raw, { columns, at }));
  }
  return batch;
}

interface RowContext {
  columns: Columns;
  at: Position;
}

function parseOne(raw: Uint8Array, context: RowContext): SourceRecord | Unreadable {
  let text: string;
  try {
    text = strict.decode(raw);
  } catch {
    return notUtf8(raw, context.at);
  }
  const { rows, ok } = parseCsv(`${text}\n`, context.columns.delimiter);
  if (!ok || rows.length !== 1) {
    return unreadable(
      "csv_quotes",
      'a quoted field goes on after its closing quote; write a quote inside it as ""',
      { at: context.at, raw },
    );
  }
  const row = rows[0]!;
  return row.length === context.columns.names.length
    ? toRecord(row, context.columns)
    : ragged(row, raw, context);
}

function toRecord(row: string[], { names, types }: Columns): SourceRecord {
  const record: SourceRecord = {};
  for (let i = 0; i < names.length; i++) record[names[i]!] = toCell(row[i]!, types[i]!);
  return record;
}

function ragged(row: string[], raw: Uint8Array, { columns, at }: RowContext): Unreadable {
  const fields = row.length === 1 ? "1 field" : `${row.length} fields`;
  return unreadable("csv_columns", `${fields}, the header has ${columns.names.length}`, {
    at,
    raw,
  });
}

/** The bytes of record `i`, without its line end. */
function recordBytes(bytes: Uint8Array, ends: number[], i: number): Uint8Array {
  const from = i === 0 ? 0 : ends[i - 1]!;
  let to = ends[i]!;
  if (to > from && bytes[to - 1] === NEWLINE) {
    to--;
    if (to > from && bytes[to - 1] === 13) to--;
  }
  return bytes.subarray(from, to);
}

function recordAt({ bytes, ends, at }: Piece, i: number): Position {
  const from = i === 0 ? 0 : ends[i - 1]!;
  return { ...at, byte: at.byte + from, line: at.line && at.line + newlines(bytes, from) };
}
