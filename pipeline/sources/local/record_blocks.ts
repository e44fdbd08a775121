import { Problem } from "../../../vocabulary/problem.ts";
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
}

export interface RecordBlocksOptions {
  start: number;
  end: number;
  scanner: RecordScanner;
  /** Longest record that is held in memory, in bytes. */
  maxRecordBytes: number;
  label: string;
  signal: AbortSignal;
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
  file: Deno.FsFile,
  options: RecordBlocksOptions,
): AsyncGenerator<RecordBlock, void, void> {
  const { end, scanner, maxRecordBytes, signal } = options;
  const blockBytes = options.blockBytes ?? BLOCK_BYTES;
  let buffer = new Uint8Array(Math.min(blockBytes, Math.max(1, end - options.start)));
  let held = 0;
  let position = options.start;
  let oversized = 0;
  let head = new Uint8Array(0);

  await file.seek(position, Deno.SeekMode.Start);
  while (position < end) {
    signal.throwIfAborted();
    if (held === buffer.length) {
      const grown = new Uint8Array(Math.min(buffer.length * 2, maxRecordBytes + blockBytes));
      grown.set(buffer);
      buffer = grown;
    }
    const got = await file.read(buffer.subarray(held, held + end - position));
    if (got === null) {
      throw new Problem("source-changed", {
        detail: `The file ${options.label} became shorter while it was read: ` +
          "start a new run to load it as it is now.",
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
      if (recordEnd === 0) {
        held = 0;
        continue;
      }
      yield {
        bytes: head,
        offset: position - held + recordEnd - oversized,
        ends: undefined,
        oversized,
      };
      oversized = 0;
      from = recordEnd;
      ends = each?.slice(1).map((index) => index - recordEnd);
    }
    if (last > from) {
      yield { bytes: view.subarray(from, last), offset: position - held + from, ends };
      from = last;
    }
    buffer.copyWithin(0, from, held);
    held -= from;
    if (held > maxRecordBytes) {
      head = buffer.slice(0, Math.min(HEAD_BYTES, held));
      oversized = held;
      held = 0;
    }
  }
  if (oversized > 0) {
    yield { bytes: head, offset: end - oversized, ends: undefined, oversized };
  } else if (held > 0) {
    const bytes = buffer.subarray(0, held);
    // One record without a newline at its end, quoted newlines and all.
    yield { bytes, offset: end - held, ends: [held], unterminated: true };
  }
}
