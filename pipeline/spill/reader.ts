import { createHash } from "node:crypto";
import { chunkFile } from "./layout.ts";
import { COPY_HEADER, COPY_TRAILER } from "../../store/copy.ts";

const NEWLINE = 10;

export interface ReadOptions {
  /** Sorted positions of what is chosen; undefined: all. */
  positions?: Int32Array | undefined;
  /** Bytes a read at most; default 256 KiB. */
  blockBytes?: number;
}

/** Yields a chunk's rows, all or the chosen ones, as one binary COPY. A block is only lent: the next takes its memory. */
export function* readRows(
  dir: string,
  chunkNo: number,
  options: ReadOptions = {},
): Generator<Uint8Array> {
  const { positions, blockBytes = 1 << 18 } = options;
  using file = Deno.openSync(chunkFile(dir, chunkNo, "rows"));
  yield COPY_HEADER;
  const ranges = positions === undefined
    ? [{ from: 0, to: file.statSync().size }]
    : byteRanges(readEnds(dir, chunkNo), positions);
  // read and sent in whole blocks, however small the ranges: a system call or a message for each row costs more than the row
  const block = new Uint8Array(blockBytes);
  let [start, end] = [0, 0];
  const full = new Uint8Array(blockBytes);
  let used = 0;
  for (const { from, to } of ranges) {
    for (let at = from; at < to;) {
      if (at >= end) {
        file.seekSync(at, Deno.SeekMode.Start);
        const size = file.readSync(block);
        if (size === null) throw new Error(`${chunkFile(dir, chunkNo, "rows")} ends too early`);
        [start, end] = [at, at + size];
      }
      const size = Math.min(to, end, at + blockBytes - used) - at;
      full.set(block.subarray(at - start, at - start + size), used);
      at += size;
      used += size;
      if (used < blockBytes) continue;
      yield full;
      used = 0;
    }
  }
  if (used > 0) yield full.subarray(0, used);
  yield COPY_TRAILER;
}

/** Where the chosen rows are, neighbours in one range. */
function* byteRanges(
  ends: Float64Array,
  positions: Int32Array,
): Generator<{ from: number; to: number }> {
  for (let i = 0; i < positions.length;) {
    const first = positions[i]!;
    let last = first;
    while (++i < positions.length && positions[i] === last + 1) last++;
    yield { from: first === 0 ? 0 : ends[first - 1]!, to: ends[last]! };
  }
}

/** Yields the keys of a chunk's rejected records, as far as they could be read; there must be some. */
export function* readPresent(dir: string, chunkNo: number): Generator<Uint8Array> {
  using file = Deno.openSync(chunkFile(dir, chunkNo, "present"));
  const buffer = new Uint8Array(1 << 18);
  for (;;) {
    const size = file.readSync(buffer);
    if (size === null) return;
    yield buffer.subarray(0, size);
  }
}

function readEnds(dir: string, chunkNo: number): Float64Array {
  const bytes = Deno.readFileSync(chunkFile(dir, chunkNo, "ends"));
  return new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8);
}

/** Yields the lines of a chunk's keys as blocks of bytes, all of them or the chosen ones. A block is only lent, as of rows. */
export function* readKeys(
  dir: string,
  chunkNo: number,
  options: ReadOptions = {},
): Generator<Uint8Array> {
  const { positions, blockBytes = 1 << 18 } = options;
  using file = Deno.openSync(chunkFile(dir, chunkNo, "keys"));
  const buffer = new Uint8Array(blockBytes);
  let line = 0;
  let next = 0;
  for (;;) {
    const size = file.readSync(buffer);
    if (size === null) return;
    const block = buffer.subarray(0, size);
    if (positions === undefined) {
      yield block;
      continue;
    }
    // what is chosen moves together: a message for each line costs more than the line
    let used = 0;
    for (let at = 0; at < size && next < positions.length;) {
      const newline = block.indexOf(NEWLINE, at);
      const end = newline < 0 ? size : newline + 1;
      if (positions[next] === line) {
        buffer.copyWithin(used, at, end);
        used += end - at;
        if (newline >= 0) next++;
      }
      if (newline >= 0) line++;
      at = end;
    }
    if (used > 0) yield buffer.subarray(0, used);
    if (next >= positions.length) return;
  }
}

/** A digest of a chunk's positions, keys, fingerprints and versions: what resolve knows of it. */
export function keysDigest(dir: string, chunkNo: number): string {
  const hash = createHash("sha256");
  for (const block of readKeys(dir, chunkNo)) hash.update(block);
  return hash.digest("hex");
}
