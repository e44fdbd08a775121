import { say } from "../../../vocabulary/messages.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import { countNewlines, type Ranges } from "./ranges.ts";
import type { RecordScanner } from "./record_scanner.ts";

const BLOCK_BYTES = 1 << 20;
const HEAD_BYTES = 4_096;

/** A run of whole records. The bytes are valid until the next block is asked for. */
export interface RecordBlock {
  bytes: Uint8Array;
  /** Offset of the first byte in the file. */
  offset: number;
  /** Index after each record's end; undefined when each newline ends a record. */
  ends: number[] | undefined;
  /** Bytes of one record that is too long to hold; `bytes` is then its beginning. */
  oversized?: number;
  /** The file's end, not a record's, ends the block. */
  unterminated?: true;
  /** Where lines are counted: that of the first byte, and that of the byte after the block. */
  lines?: { first: number; after: number };
}

export interface RecordBlocksOptions {
  start: number;
  end: number;
  scanner: RecordScanner;
  /** Longest record that is held in memory, in bytes. */
  maxRecordBytes: number;
  label: string;
  signal: AbortSignal;
  /** Line of `start`; without it lines are not counted. */
  line?: number | undefined;
  /** How much is read at once; default 1 MiB. */
  blockBytes?: number;
}

/**
 * Reads [start, end) of a file in large blocks that end where records end,
 * except that the last record may lack its newline.
 *
 * @throws {Problem} `source-changed` when the file ends early.
 */
export async function* recordBlocks(
  file: Ranges,
  options: RecordBlocksOptions,
): AsyncGenerator<RecordBlock, void, void> {
  const { end, scanner, maxRecordBytes, signal } = options;
  const blockBytes = options.blockBytes ?? BLOCK_BYTES;
  let buffer = new Uint8Array(Math.min(blockBytes, Math.max(1, end - options.start)));
  let held = 0;
  let position = options.start;
  let oversized = 0;
  let head = new Uint8Array(0);

  let line = options.line;
  let oversizedNewlines = 0;
  const linesOf = (newlines: () => number): Pick<RecordBlock, "lines"> => {
    if (line === undefined) return {};
    const first = line;
    line += newlines();
    return { lines: { first, after: line } };
  };
  const reading = file.reading(position, end);
  while (position < end) {
    signal.throwIfAborted();
    if (held === buffer.length) {
      const grown = new Uint8Array(Math.min(buffer.length * 2, maxRecordBytes + blockBytes));
      grown.set(buffer);
      buffer = grown;
    }
    const got = await reading.read(buffer.subarray(held, held + end - position));
    if (got === null) {
      throw new Problem("source-changed", {
        detail: say("file-shorter", { path: options.label }),
      });
    }
    const scanned = held;
    held += got;
    position += got;
    const view = buffer.subarray(0, held);
    const { last, each } = scanner.scan(view, scanned);
    let from = 0;
    let ends = each;
    if (oversized > 0) {
      const recordEnd = each === undefined ? view.indexOf(10) + 1 : each[0] ?? 0;
      oversized += recordEnd === 0 ? held : recordEnd;
      if (line !== undefined) oversizedNewlines += countNewlines(view, 0, recordEnd || held);
      if (recordEnd === 0) {
        held = 0;
        continue;
      }
      yield {
        bytes: head,
        offset: position - held + recordEnd - oversized,
        ends: undefined,
        oversized,
        ...linesOf(() => oversizedNewlines),
      };
      oversized = 0;
      from = recordEnd;
      ends = each?.slice(1).map((index) => index - recordEnd);
    }
    if (last > from) {
      const bytes = view.subarray(from, last);
      const lines = linesOf(() => countNewlines(bytes));
      yield { bytes, offset: position - held + from, ends, ...lines };
      from = last;
    }
    buffer.copyWithin(0, from, held);
    held -= from;
    if (held > maxRecordBytes) {
      head = buffer.slice(0, Math.min(HEAD_BYTES, held));
      oversized = held;
      if (line !== undefined) oversizedNewlines = countNewlines(buffer, 0, held);
      held = 0;
    }
  }
  if (oversized > 0) {
    const lines = linesOf(() => oversizedNewlines);
    yield { bytes: head, offset: end - oversized, ends: undefined, oversized, ...lines };
  } else if (held > 0) {
    const bytes = buffer.subarray(0, held);
    // One record without a newline at its end, quoted newlines and all.
    const lines = linesOf(() => countNewlines(bytes));
    yield { bytes, offset: end - held, ends: [held], unterminated: true, ...lines };
  }
}
