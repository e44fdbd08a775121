import type { OpenFile } from "./streams.ts";

const WINDOW_BYTES = 1 << 16;
const NEWLINE = 10;

/** Bytes that are read by ranges: of a file here, or of an object elsewhere that is the same as when it was planned. */
export interface Ranges {
  readonly size: number;
  /** The bytes [start, end) in their order, read as they are asked for. */
  reading(start: number, end: number): Reading;
  /** The bytes [start, end), which are below `size`, all at once. */
  slice(start: number, end: number): ArrayBuffer | Promise<ArrayBuffer>;
}

export interface Reading {
  /** Puts the next bytes into a buffer: how many, at least one; null after the last. */
  read(buffer: Uint8Array): Promise<number | null>;
}

/** The ranges of an open file. */
export class FileRanges implements Ranges {
  constructor(readonly file: OpenFile, readonly size: number) {}

  reading(start: number, end: number): Reading {
    const { file } = this;
    let at = start;
    return {
      async read(buffer) {
        const got = at < end ? await file.read(buffer.subarray(0, end - at), at) : null;
        at += got ?? 0;
        return got;
      },
    };
  }

  slice(start: number, end: number): ArrayBuffer {
    const bytes = new Uint8Array(end - start);
    for (let read = 0; read < bytes.length;) {
      const got = this.file.readSync(bytes.subarray(read), start + read);
      if (got === null) throw new RangeError("the file ends too early");
      read += got;
    }
    return bytes.buffer;
  }
}

/** Puts the bytes from `start` on into a buffer; how many, fewer than it holds only where `end` comes first. */
export async function fill(
  ranges: Ranges,
  buffer: Uint8Array,
  { start, end }: { start: number; end: number },
): Promise<number> {
  const reading = ranges.reading(start, Math.min(end, start + buffer.length));
  let filled = 0;
  while (filled < buffer.length) {
    const got = await reading.read(buffer.subarray(filled));
    if (got === null) break;
    filled += got;
  }
  return filled;
}

/** The bytes [start, end) in pieces of 64 KiB at most; each is valid until the next is asked for. */
export async function* windows(
  ranges: Ranges,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array, void, void> {
  const buffer = new Uint8Array(WINDOW_BYTES);
  for (let at = start; at < end;) {
    const got = await fill(ranges, buffer, { start: at, end });
    if (got === 0) return;
    yield buffer.subarray(0, got);
    at += got;
  }
}

/** Newlines of the bytes [from, to). */
export function countNewlines(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let count = 0;
  for (let i = bytes.indexOf(NEWLINE, from); i >= 0 && i < to; i = bytes.indexOf(NEWLINE, i + 1)) {
    count++;
  }
  return count;
}
