import { say } from "../../../vocabulary/messages.ts";
import { losesDigits, NumberRangeError, parseJson } from "../json_text.ts";
import { mayRepeatNames, repeatedName } from "../repeated_names.ts";
import {
  type Json,
  type Origin,
  type Position,
  type ReadContext,
  type RecordBatch,
  type SourceRecord,
  Unreadable,
  unreadable,
} from "../source.ts";
import { MAX_FLAT_BYTES, MixedReader } from "../flat_records.ts";
import { FlatJson } from "./flat_json.ts";
import { openPart, type Roots } from "./open_input.ts";
import { countNewlines } from "./ranges.ts";
import type { Part } from "./slice_packer.ts";
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

/** A piece of whole lines, and where it stands. */
interface Piece {
  bytes: Uint8Array;
  /** Offset of the first byte in the file. */
  offset: number;
  /** Line of the first byte, from 1; counted only when it is asked for. */
  line: () => number;
  /** Whether that is its line of the slice. */
  ofSlice: boolean;
  label: string;
  maxRecordBytes: number;
  /** The lines are records of a document or table: only their number says where they stand. */
  derived: boolean;
}

/** Reads the records of one part of an NDJSON file, about 1,000 a batch. */
export async function* readNdjson(
  part: Part,
  ctx: ReadContext & Roots,
): AsyncGenerator<RecordBatch, void, void> {
  using input = await openPart(part, ctx);
  const { maxRecordBytes } = ctx.limits;
  const derived = part.made === 1;
  const types: RecordBatch["types"] = part.types === undefined
    ? undefined
    : JSON.parse(part.types as string);
  const count = ctx.lines ?? { next: 1, ofSlice: true };
  const flat = ctx.flat && types === undefined ? flatReader() : null;
  let pieceBytes = 65_536;
  const blocks = recordBlocks(input, {
    start: part.start,
    end: part.end,
    scanner: new LineScanner(),
    maxRecordBytes,
    label: part.label,
    signal: ctx.signal,
    line: input.lineAt === undefined ? count.next : undefined,
  });
  const pieceAt = (bytes: Uint8Array, offset: number, lineOf: () => number): Piece => {
    let line: number | undefined;
    return {
      bytes,
      offset,
      line: () => line ??= lineOf(),
      ofSlice: input.lineAt === undefined && count.ofSlice,
      label: part.label,
      maxRecordBytes,
      derived,
    };
  };
  for await (const { bytes, offset, oversized, lines } of blocks) {
    const lineOf = (from: number) =>
      input.lineAt?.(offset + from) ?? lines!.first + countNewlines(bytes, 0, from);
    count.next = lines?.after ?? count.next;
    if (oversized !== undefined) {
      const piece = pieceAt(bytes, offset, () => lineOf(0));
      yield withOrigin([tooLong(bytes, oversized, positionOf(piece, 0), maxRecordBytes)], piece, [
        0,
      ]);
      continue;
    }
    for (let from = 0; from < bytes.length;) {
      const to = pieceEnd(bytes, from, pieceBytes);
      const first = from;
      const piece = pieceAt(bytes.subarray(from, to), offset + from, () => lineOf(first));
      let records = 0;
      const looks = flat !== null && to - from <= Math.min(maxRecordBytes, MAX_FLAT_BYTES);
      for (const batch of looks ? flat(piece) : [parsePiece(piece)]) {
        if (types !== undefined) batch.types = types;
        const count = batch.unparsed?.records.count ?? batch.length;
        records += count;
        if (count > 0) yield batch;
      }
      const mean = (to - from) / Math.max(1, records);
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
      ...(piece.derived ? { line: null } : lineOfOrigin(piece.line() + place, piece)),
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

/** Reads pieces of which some records may be flat. */
function flatReader(): (piece: Piece) => Iterable<RecordBatch> {
  const json = new FlatJson();
  const reader = new MixedReader(json.records);
  return (piece) => {
    const { bytes } = piece;
    return reader.batches({
      from: 0,
      to: bytes.length,
      find: (from) => ({ end: json.find(bytes, from) }),
      others: (from, to) => parsePiece(partOf(piece, from, to)),
      behind(from, count) {
        let at = from;
        while (count-- > 0 && at < bytes.length) {
          at = bytes.indexOf(NEWLINE, at) + 1 || bytes.length;
        }
        return at;
      },
    });
  };
}

function partOf(piece: Piece, from: number, to: number): Piece {
  let line: number | undefined;
  return {
    ...piece,
    bytes: piece.bytes.subarray(from, to),
    offset: piece.offset + from,
    line: () => line ??= piece.line() + countNewlines(piece.bytes, 0, from),
  };
}

/** One decode for the whole piece; only what is wrong is looked at line by line. */
function parsePiece(piece: Piece): RecordBatch {
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
  const batch: RecordBatch = [];
  const places: number[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    let value: Json;
    try {
      value = delicate ? parseJson(line) : JSON.parse(line);
    } catch (error) {
      if (BLANK.test(line)) continue;
      places.push(i);
      batch.push(syntaxError(line, error, positionOf(piece, i)));
      continue;
    }
    places.push(i);
    batch.push(isRecord(value) ? value : notAnObject(line, value, positionOf(piece, i)));
  }
  withOrigin(batch, piece, places);
  noteRepeatedNames(batch, piece, (index) => lines[places[index]!]!);
  return batch;
}

/** Says of a batch in how many records a name hides another of its object. */
function noteRepeatedNames(
  batch: RecordBatch,
  piece: Piece,
  textOf: (index: number) => string,
): void {
  if (!mayRepeatNames(piece.bytes, batch)) return;
  let count = 0;
  let example = "";
  for (const [index, record] of batch.entries()) {
    if (record instanceof Unreadable) continue;
    const name = repeatedName(textOf(index));
    if (name === undefined) continue;
    if (++count === 1) {
      const origin = batch.origin?.(index);
      example = JSON.stringify(name.slice(0, 100)) +
        (origin === undefined ? "" : placeOf(origin));
    }
  }
  if (count > 0) batch.repeatedNames = { records: count, example };
}

function placeOf({ file, line }: Origin): string {
  return line === null ? ` in ${file}` : ` in line ${line} of ${file}`;
}

function parsePieceByLine(piece: Piece): RecordBatch {
  const { bytes, maxRecordBytes } = piece;
  const batch: RecordBatch = [];
  const places: number[] = [];
  let lines = 0;
  for (let from = 0; from < bytes.length; lines++) {
    const newline = bytes.indexOf(NEWLINE, from);
    const to = newline < 0 ? bytes.length : newline;
    const raw = bytes.subarray(from, to);
    from = to + 1;
    const record = raw.length > maxRecordBytes
      ? tooLong(raw, raw.length, positionOf(piece, lines), maxRecordBytes)
      : parseRecordBytes(raw, () => positionOf(piece, lines));
    if (record === undefined) continue;
    places.push(lines);
    batch.push(record);
  }
  withOrigin(batch, piece, places);
  const starts = lineStarts(bytes);
  const text = (index: number) => {
    const place = places[index]!;
    return strict.decode(bytes.subarray(starts[place]!, starts[place + 1]));
  };
  noteRepeatedNames(batch, piece, text);
  return batch;
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
  const { label, offset, derived, ofSlice } = piece;
  return ofSlice
    ? { label, byte: offset + lineStarts(piece.bytes)[index]! }
    : { label, line: piece.line() + index, byte: offset, derived };
}

/** What an origin says of a line of the file, or of the slice. */
export function lineOfOrigin(
  line: number,
  { ofSlice }: { ofSlice: boolean },
): Pick<Origin, "line" | "sliceLine"> {
  return ofSlice ? { line: null, sliceLine: line } : { line };
}

function isRecord(value: Json): value is SourceRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function notAnObject(raw: string, value: Json, at: Position): Unreadable {
  const kind = value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`;
  return unreadable("not_an_object", say("not-this-kind", { kind }), {
    at,
    raw,
  });
}

function syntaxError(raw: string, error: unknown, at: Position): Unreadable {
  if (error instanceof NumberRangeError) {
    return unreadable("number_range", error.message, { at, raw });
  }
  const message = error instanceof Error ? error.message : String(error);
  const what = say("json-syntax", { error: message.replace(/ \(line 1 column \d+\)$/, "") });
  return unreadable("json_syntax", what, { at, raw });
}

export function notUtf8(raw: Uint8Array, at: Position): Unreadable {
  return unreadable("encoding", say("not-utf8", {}), {
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
  const what = say("record-too-long", { n: length, limit: maxRecordBytes });
  return unreadable("record_too_long", what, { at, raw: head.subarray(0, 4_096) });
}
