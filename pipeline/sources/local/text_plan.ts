import type { SourceLimits } from "../source.ts";
import { type InputFile, type Part, placeOf, type SlicePacker } from "./slice_packer.ts";
import { openInput } from "./open_input.ts";
import { countNewlines, fill, type Ranges, windows } from "./ranges.ts";
import { recordBlocks } from "./record_blocks.ts";
import { LineScanner, type RecordScanner } from "./record_scanner.ts";

const SAMPLE_BYTES = 65_536;
const SAMPLES = 8;
const NEWLINE = 10;

/** How a text format is cut. */
export interface TextCut {
  /** The rest of each part. */
  part: Record<string, string> & { format: "ndjson" | "csv" };
  /** A new scanner at a record's start. */
  scanner(): RecordScanner;
  /** Whether records can only be told apart from the file's beginning (quoted newlines). */
  sequential: boolean;
  /** Whether the bytes [from, to) hold no record. */
  isBlank(bytes: Uint8Array, from: number, to: number): boolean;
  /** First byte of the first record, and its line; 0: lines are not counted while planning. */
  start: number;
  line: number;
  /** Called when the file ends inside a quoted field, which begins at this byte. */
  onUnclosedQuote?: (openedAt: number) => never | Promise<never>;
}

export interface TextPlanContext {
  limits: SourceLimits;
  signal: AbortSignal;
}

/** Whether the bytes [from, to) hold nothing but white space: no record of NDJSON. */
function isBlank(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    if (byte > 32 || (byte < 32 && byte !== 9 && byte !== NEWLINE && byte !== 13)) return false;
  }
  return true;
}

/** Whether the bytes [from, to) are a line end and nothing before it but a CR: no record of CSV. */
export function isEmptyLine(bytes: Uint8Array, from: number, to: number): boolean {
  let end = to;
  if (end > from && bytes[end - 1] === NEWLINE) {
    end--;
    if (end > from && bytes[end - 1] === 13) end--;
  }
  return end === from || (end === from + 1 && bytes[from] === 13);
}

/** Mean bytes of a record, from a few places in the file; at least 1. */
async function meanRecordBytes(file: Ranges, start: number, end: number): Promise<number> {
  const length = end - start;
  const spots = length <= SAMPLE_BYTES * SAMPLES ? 1 : SAMPLES;
  const buffer = new Uint8Array(spots === 1 ? length : SAMPLE_BYTES);
  let bytes = 0;
  let records = 0;
  for (let spot = 0; spot < spots; spot++) {
    const at = start + Math.floor((length / spots) * spot);
    const got = await fill(file, buffer, { start: at, end });
    bytes += got;
    records += countNewlines(buffer, 0, got);
  }
  return Math.max(1, bytes / Math.max(1, records));
}

/** The first record start at or after `target`, found by the next line end. */
async function nextLineStart(file: Ranges, target: number, end: number): Promise<number> {
  // The byte before tells whether target itself starts a line.
  let position = target - 1;
  for await (const bytes of windows(file, position, end)) {
    const newline = bytes.indexOf(NEWLINE);
    if (newline >= 0) return Math.min(end, position + newline + 1);
    position += bytes.length;
  }
  return end;
}

/** Plans the parts of one NDJSON or CSV file into the packer. */
export async function planText(
  input: InputFile,
  cut: TextCut,
  options: { packer: SlicePacker; context: TextPlanContext },
): Promise<void> {
  const { packer, context } = options;
  if (cut.start >= input.size || packer.full) return;
  using opened = await openInput(input);
  const part = (start: number, end: number, line: number): Part => ({
    ...placeOf(input),
    ...(input.made ? { made: 1 } : {}),
    ...(input.types ? { types: JSON.stringify(input.types) } : {}),
    ...cut.part,
    start,
    end,
    ...(line > 0 ? { line } : {}),
  });

  if (!packer.counts && !cut.sequential) {
    const mean = await meanRecordBytes(opened, cut.start, input.size);
    const target = packer.targetBytes(mean);
    let start = cut.start;
    while (start < input.size) {
      context.signal.throwIfAborted();
      const end = start + target >= input.size
        ? input.size
        : await nextLineStart(opened, start + target, input.size);
      packer.add(part(start, end, start === cut.start ? cut.line : 0), {
        records: (end - start) / mean,
        bytes: end - start,
      });
      start = end;
    }
    return;
  }
  await scanParts(opened, input, cut, { packer, context, part });
}

interface ScanOptions {
  packer: SlicePacker;
  context: TextPlanContext;
  part: (start: number, end: number, line: number) => Part;
}

/** Reads the whole file and cuts at exact record counts, or at the first record past a target size. */
async function scanParts(
  file: Ranges,
  input: InputFile,
  cut: TextCut,
  { packer, context, part }: ScanOptions,
): Promise<void> {
  const scanner = cut.scanner();
  const target = packer.counts
    ? Infinity
    : packer.targetBytes(await meanRecordBytes(file, cut.start, input.size));
  let start = cut.start;
  let line = cut.line;
  let nextLine = line;
  let records = 0;
  let end = start;
  const finishPart = () => {
    if (end > start && records > 0) {
      packer.add(part(start, end, line), { records, bytes: end - start });
    }
    start = end;
    line = nextLine;
    records = 0;
  };

  const blocks = recordBlocks(file, {
    start,
    end: input.size,
    scanner,
    maxRecordBytes: context.limits.maxRecordBytes,
    label: input.label,
    signal: context.signal,
    line: line > 0 ? line : undefined,
  });
  for await (const { bytes, offset, ends, oversized, unterminated, lines } of blocks) {
    if (oversized !== undefined) {
      nextLine = lines?.after ?? 0;
      records++;
      end = offset + oversized;
      if (records >= packer.room || end - start >= target) finishPart();
      if (packer.full) return;
      continue;
    }
    let from = 0;
    let counted = 0;
    for (let i = 0; from < bytes.length; i++) {
      let to = ends === undefined ? bytes.indexOf(NEWLINE, from) + 1 : ends[i] ?? bytes.length;
      if (to === 0) to = bytes.length;
      if (unterminated && input.truncated) break;
      if (!cut.isBlank(bytes, from, to)) records++;
      from = to;
      if (records >= packer.room || offset + to - start >= Math.min(target, packer.roomBytes)) {
        end = offset + to;
        if (nextLine > 0) nextLine += countNewlines(bytes, counted, to);
        counted = to;
        finishPart();
        if (packer.full) return;
      }
    }
    end = offset + from;
    if (nextLine > 0) nextLine += countNewlines(bytes, counted, bytes.length);
  }
  if (scanner.quoted && !input.truncated) await cut.onUnclosedQuote?.(cut.start + scanner.openedAt);
  finishPart();
}

/** The cut of NDJSON: each line is a record. */
export function lineCut(start: number): TextCut {
  return {
    part: { format: "ndjson" },
    scanner: () => new LineScanner(),
    sequential: false,
    isBlank,
    start,
    line: 1,
  };
}
