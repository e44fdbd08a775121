import type { Rejected } from "../event.ts";
import type { Origin, RecordBatch } from "./source.ts";

/** The records [from, to) of a batch, which still tell their origin. */
export function sliceBatch(batch: RecordBatch, from: number, to = batch.length): RecordBatch {
  const part: RecordBatch = batch.slice(from, to);
  const { origin } = batch;
  if (origin !== undefined) part.origin = (index) => origin(from + index);
  const { file, types, cells, position, repeatedNames, noPositions } = batch;
  if (file !== undefined) part.file = file;
  if (types !== undefined) part.types = types;
  if (cells !== undefined) part.cells = cells;
  if (position !== undefined) part.position = position;
  // told once
  if (from > 0) return part;
  if (repeatedNames !== undefined) part.repeatedNames = repeatedNames;
  if (noPositions !== undefined) part.noPositions = noPositions;
  return part;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/** Says of rejected records of a batch, whose first has position `start`, where they stand and what stands there. */
export function locate(rejected: Rejected[], batch: RecordBatch, start: number): void {
  if (batch.origin === undefined) return;
  const origins = new Map<number, Origin>();
  for (const each of rejected) {
    const origin = origins.get(each.position) ?? batch.origin(each.position - start);
    origins.set(each.position, origin);
    each.file = origin.file;
    each.line = origin.line;
    if (origin.sliceLine !== undefined) each.slice_line = origin.sliceLine;
    if (origin.record !== null) each.record = origin.record;
    if (origin.raw === null) continue;
    const text = exactText(origin.raw);
    each.raw = text ?? lenient.decode(origin.raw);
    if (text === null) each.raw_bytes = origin.raw.slice();
  }
}

/** Bytes as text, if text of the database can hold them. */
function exactText(bytes: Uint8Array): string | null {
  if (bytes.includes(0)) return null;
  try {
    return strict.decode(bytes);
  } catch {
    return null;
  }
}
