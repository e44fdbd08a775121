const BLOCK_BYTES = 1 << 20;
const NEWLINE = 10;
/** Files whose last place is remembered. */
const REMEMBERED = 64;

interface Place {
  byte: number;
  /** Newlines before it. */
  newlines: number;
}

const places = new Map<string, Place>();

/** A file that does not change: what `openPart` and `openInput` have checked. */
interface CountedFile {
  absolutePath: string;
  size: number;
  mtime_ms: number;
}

/**
 * The line, from 1, in which a byte of a file stands. Slices are read without knowing their lines, so lines are
 * counted when a record is rejected, from the last place that was asked for: a worker, whose slices come in the
 * order of the file, passes over it once at most.
 *
 * @throws {Deno.errors.NotFound} when the file is gone.
 */
export function lineAt(file: CountedFile, byte: number): number {
  const { absolutePath, size, mtime_ms } = file;
  const key = `${absolutePath}\u0000${size}\u0000${mtime_ms}`;
  let place = places.get(key);
  if (place === undefined || place.byte > byte) place = { byte: 0, newlines: 0 };
  const newlines = place.newlines + countNewlines(absolutePath, place.byte, byte);
  places.delete(key);
  places.set(key, { byte, newlines });
  if (places.size > REMEMBERED) places.delete(places.keys().next().value!);
  return newlines + 1;
}

function countNewlines(path: string, from: number, to: number): number {
  if (from >= to) return 0;
  using file = Deno.openSync(path);
  file.seekSync(from, Deno.SeekMode.Start);
  const buffer = new Uint8Array(Math.min(BLOCK_BYTES, to - from));
  let count = 0;
  for (let left = to - from; left > 0;) {
    const got = file.readSync(buffer.subarray(0, Math.min(left, buffer.length)));
    if (got === null) break;
    const block = buffer.subarray(0, got);
    for (let i = block.indexOf(NEWLINE); i >= 0; i = block.indexOf(NEWLINE, i + 1)) count++;
    left -= got;
  }
  return count;
}
