import { chunkFile } from "./layout.ts";

const NEWLINE = 10;

export interface ReadLinesOptions {
  /** Sorted positions of the lines to send; undefined: all. */
  positions?: Int32Array | undefined;
  /** Bytes a read; default 256 KiB. */
  blockBytes?: number;
}

/**
 * Yields a spill file as blocks of bytes, all of it or only the chosen lines.
 */
export async function* readLines(
  dir: string,
  chunkNo: number,
  kind: "rows" | "keys",
  options: ReadLinesOptions = {},
): AsyncGenerator<Uint8Array> {
  const { positions, blockBytes = 1 << 18 } = options;
  using file = await Deno.open(chunkFile(dir, chunkNo, kind));
  let line = 0;
  let next = 0;
  for (;;) {
    // a new one each time: a socket may still be sending the one before
    const buffer = new Uint8Array(blockBytes);
    const size = await file.read(buffer);
    if (size === null) return;
    const block = buffer.subarray(0, size);
    if (positions === undefined) {
      yield block;
      continue;
    }
    // runs of neighbouring chosen lines are passed on in one piece
    let at = 0;
    let from = -1;
    while (at < size) {
      if (next >= positions.length) break;
      const chosen = positions[next] === line;
      if (chosen && from < 0) from = at;
      if (!chosen && from >= 0) {
        yield block.subarray(from, at);
        from = -1;
      }
      const end = block.indexOf(NEWLINE, at);
      if (end < 0) {
        at = size;
        break;
      }
      at = end + 1;
      line++;
      if (chosen) next++;
    }
    if (from >= 0) yield block.subarray(from, at);
    if (next >= positions.length) return;
  }
}
