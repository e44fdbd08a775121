import { losesDigits, NumberRangeError, parseJson } from "../json_text.ts";
import type { Json, ReadContext, RecordBatch, SourceRecord, Unreadable } from "../source.ts";
import { type Position, unreadable } from "../unreadable.ts";
<<<<<<< HEAD
import { lineAt as fileLine } from "./line_numbers.ts";
=======
import { lineAt } from "./line_numbers.ts";
>>>>>>> 9a9e805 (Read a JSON document as the records it is, and keep the text of the file of what is rejected)
import { openPart } from "./open_input.ts";
import { isDerived, type Part } from "./part.ts";
import { recordBlocks } from "./record_blocks.ts";
import { LineScanner } from "./record_scanner.ts";

export type Batch = RecordBatch;

const NEWLINE = 10;
const CR = 13;
const BATCH_RECORDS = 1_000;
const MIN_PIECE_BYTES = 4_096;
const MAX_PIECE_BYTES = 262_144;

/** What counts as a blank line; the same bytes as isBlank of text_plan.ts. */
const BLANK = /^[ \t\r\n]*$/;

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The records of a piece, with the line of the piece in which each stands. */
interface Parsed {
  batch: Batch;
  lines: number;
  places: number[];
}

/** A piece of whole lines, and where it stands. */
interface Piece {
  bytes: Uint8Array;
  /** Offset of the first byte in the file. */
  offset: number;
  /** Line of the first byte, from 1; counted only when it is asked for. */
  line: () => number;
  label: string;
  maxRecordBytes: number;
  /** The lines are records of a document or table: only their number says where they stand. */
  derived: boolean;
}

/** Reads the records of one part of an NDJSON file, about 1,000 a batch. */
export async function* readNdjson(
  part: Part,
  ctx: ReadContext,
): AsyncGenerator<RecordBatch, void, void> {
  using input = await openPart(part, ctx);
  const { maxRecordBytes } = ctx.limits;
  const derived = isDerived(part);
  let pieceBytes = 65_536;
  const blocks = recordBlocks(input.file, {
    start: part.start,
    end: part.end,
    scanner: new LineScanner(),
    maxRecordBytes,
    label: part.label,
    signal: ctx.signal,
  });
  const pieceAt = (bytes: Uint8Array, offset: number): Piece => {
    let line: number | undefined;
    return {
      bytes,
      offset,
      line: () => line ??= lineAt(input, offset),
      label: part.label,
      maxRecordBytes,
      derived,
    };
  };
  for await (const { bytes, offset, oversized } of blocks) {
    if (oversized !== undefined) {
<<<<<<< HEAD
      const long: Batch = [
        tooLong(bytes, oversized, { label: part.label, line, byte: offset }, maxRecordBytes),
      ];
      const at = part.made === 1 ? null : line ?? fileLine(input, offset);
      long.origin = () => ({ file: part.label, line: at, raw: bytes, record: null });
      yield long;
      if (line !== undefined) line++;
=======
      const piece = pieceAt(bytes, offset);
      yield withOrigin([tooLong(bytes, oversized, positionOf(piece, 0), maxRecordBytes)], piece, [
        0,
      ]);
>>>>>>> 9a9e805 (Read a JSON document as the records it is, and keep the text of the file of what is rejected)
      continue;
    }
    for (let from = 0; from < bytes.length;) {
      const to = pieceEnd(bytes, from, pieceBytes);
<<<<<<< HEAD
      const piece = {
        bytes: bytes.subarray(from, to),
        at: { label: part.label, line, byte: offset + from },
        maxRecordBytes,
      };
      const { batch, lines, places } = parsePiece(piece);
      let first: number | null | undefined = part.made === 1 ? null : line;
      batch.origin = (index) => {
        if (first === undefined) first = fileLine(input, piece.at.byte);
        const place = places[index]!;
        const raw = lineBytes(piece.bytes, place);
        return { file: part.label, line: first === null ? null : first + place, raw, record: null };
      };
=======
      const piece = pieceAt(bytes.subarray(from, to), offset + from);
      const { batch, lines } = parsePiece(piece);
>>>>>>> 9a9e805 (Read a JSON document as the records it is, and keep the text of the file of what is rejected)
      if (batch.length > 0) yield batch;
      const mean = (to - from) / lines;
      pieceBytes = Math.min(
        MAX_PIECE_BYTES,
        Math.max(MIN_PIECE_BYTES, mean * BATCH_RECORDS),
        maxRecordBytes,
      );
      from = to;
    }
  }
  await input.verify();
}

/** Lets a batch say where its records stand; `places` has the line in the piece of each. */
function withOrigin(batch: RecordBatch, piece: Piece, places: number[]): RecordBatch {
  let starts: number[] | undefined;
  batch.origin = (index) => {
    starts ??= lineStarts(piece.bytes);
    const place = places[index]!;
    return {
      file: piece.label,
      line: piece.derived ? null : piece.line() + place,
      raw: withoutLineEnd(piece.bytes.subarray(starts[place]!, starts[place + 1])),
      record: null,
    };
  };
  return batch;
}

function lineStarts(bytes: Uint8Array): number[] {
  const starts = [0];
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) {
    starts.push(at + 1);
  }
  return starts;
}

function withoutLineEnd(line: Uint8Array): Uint8Array {
  const end = line.at(-1) === NEWLINE ? line.length - 1 : line.length;
  return line.subarray(0, end > 0 && line[end - 1] === CR ? end - 1 : end);
}

function pieceEnd(bytes: Uint8Array, from: number, pieceBytes: number): number {
  if (bytes.length - from <= pieceBytes) return bytes.length;
  const last = bytes.lastIndexOf(NEWLINE, from + Math.floor(pieceBytes));
  if (last >= from) return last + 1;
  const next = bytes.indexOf(NEWLINE, from);
  return next < 0 ? bytes.length : next + 1;
}

/** One decode for the whole piece; only what is wrong is looked at line by line. */
<<<<<<< HEAD
function parsePiece(piece: Piece): Parsed {
=======
function parsePiece(piece: Piece): { batch: RecordBatch; lines: number } {
>>>>>>> 9a9e805 (Read a JSON document as the records it is, and keep the text of the file of what is rejected)
  let text: string;
  try {
    text = strict.decode(piece.bytes);
  } catch {
    return parsePieceByLine(piece);
  }
  if (piece.bytes.length > piece.maxRecordBytes) return parsePieceByLine(piece);
  const delicate = losesDigits(text);
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
<<<<<<< HEAD
  const batch: Batch = [];
=======
  const batch: RecordBatch = [];
>>>>>>> 9a9e805 (Read a JSON document as the records it is, and keep the text of the file of what is rejected)
  const places: number[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    let value: Json;
    try {
      value = delicate ? parseJson(line) : JSON.parse(line);
    } catch (error) {
<<<<<<< HEAD
      if (!BLANK.test(line)) {
        batch.push(syntaxError(line, error, lineAt(piece, i)));
        places.push(i);
      }
      continue;
    }
    places.push(i);
    if (isRecord(value)) batch.push(value);
    else batch.push(notAnObject(line, value, lineAt(piece, i)));
  }
  return { batch, lines: lines.length, places };
}

function parsePieceByLine({ bytes, at, maxRecordBytes }: Piece): Parsed {
  const batch: Batch = [];
=======
      if (BLANK.test(line)) continue;
      places.push(i);
      batch.push(syntaxError(line, error, positionOf(piece, i)));
      continue;
    }
    places.push(i);
    batch.push(isRecord(value) ? value : notAnObject(line, value, positionOf(piece, i)));
  }
  return { batch: withOrigin(batch, piece, places), lines: lines.length };
}

function parsePieceByLine(piece: Piece): { batch: RecordBatch; lines: number } {
  const { bytes, maxRecordBytes } = piece;
  const batch: RecordBatch = [];
>>>>>>> 9a9e805 (Read a JSON document as the records it is, and keep the text of the file of what is rejected)
  const places: number[] = [];
  let lines = 0;
  for (let from = 0; from < bytes.length; lines++) {
    const newline = bytes.indexOf(NEWLINE, from);
    const to = newline < 0 ? bytes.length : newline;
    const raw = bytes.subarray(from, to);
<<<<<<< HEAD
    const here = { ...at, line: at.line && at.line + lines, byte: at.byte + from };
    const record = raw.length > maxRecordBytes
      ? tooLong(raw, raw.length, here, maxRecordBytes)
      : parseRecordBytes(raw, here);
    if (record !== undefined) {
      batch.push(record);
      places.push(lines);
    }
    lines++;
=======
>>>>>>> 9a9e805 (Read a JSON document as the records it is, and keep the text of the file of what is rejected)
    from = to + 1;
    const record = raw.length > maxRecordBytes
      ? tooLong(raw, raw.length, positionOf(piece, lines), maxRecordBytes)
      : parseRecordBytes(raw, () => positionOf(piece, lines));
    if (record === undefined) continue;
    places.push(lines);
    batch.push(record);
  }
<<<<<<< HEAD
  return { batch, lines, places };
}

/** The bytes of one line of a piece, without its end. */
function lineBytes(bytes: Uint8Array, index: number): Uint8Array {
  let from = 0;
  for (let i = 0; i < index; i++) from = bytes.indexOf(NEWLINE, from) + 1;
  const newline = bytes.indexOf(NEWLINE, from);
  let to = newline < 0 ? bytes.length : newline;
  if (bytes[to - 1] === 13 && to > from) to--;
  return bytes.subarray(from, to);
=======
  return { batch: withOrigin(batch, piece, places), lines };
>>>>>>> 9a9e805 (Read a JSON document as the records it is, and keep the text of the file of what is rejected)
}

function parseRecordBytes(
  raw: Uint8Array,
  at: () => Position,
): SourceRecord | Unreadable | undefined {
  let text: string;
  try {
    text = strict.decode(raw);
  } catch {
    return notUtf8(raw, at());
  }
  if (BLANK.test(text)) return undefined;
  try {
    const value = parseJson(text);
    return isRecord(value) ? value : notAnObject(text, value, at());
  } catch (error) {
    return syntaxError(text, error, at());
  }
}

/** Where line `index` of a piece stands; only asked for an error's message. */
function positionOf(piece: Piece, index: number): Position {
  const { label, offset, derived } = piece;
  return { label, line: piece.line() + index, byte: offset, derived };
}

function isRecord(value: Json): value is SourceRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function notAnObject(raw: string, value: Json, at: Position): Unreadable {
  const kind = value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`;
  return unreadable("not_an_object", `a record must be a JSON object, this is ${kind}`, {
    at,
    raw,
  });
}

function syntaxError(raw: string, error: unknown, at: Position): Unreadable {
  if (error instanceof NumberRangeError) {
    return unreadable("number_range", error.message, { at, raw });
  }
  const message = error instanceof Error ? error.message : String(error);
  return unreadable("json_syntax", message.replace(/ \(line 1 column \d+\)$/, ""), { at, raw });
}

export function notUtf8(raw: Uint8Array, at: Position): Unreadable {
  return unreadable("encoding", "not valid UTF-8; set source.encoding if it is another one", {
    at,
    raw,
  });
}

export function tooLong(
  head: Uint8Array,
  length: number,
  at: Position,
  maxRecordBytes: number,
): Unreadable {
  const what = `a record of ${length} bytes; the limit is ${maxRecordBytes}`;
  return unreadable("record_too_long", what, { at, raw: head.subarray(0, 4_096) });
}
