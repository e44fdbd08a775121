const MAGIC = 0x184d2204;

/**
 * Decompresses one LZ4 frame, as Arrow's buffers are; `hyparquet-compressors`, which reads the
 * blocks of Parquet, knows neither frames nor blocks that refer to the one before.
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 *
 * @throws {RangeError} for data that is no such frame of `length` bytes.
 */
export function decompressLz4Frame(input: Uint8Array, length: number): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw new RangeError("no LZ4 frame");
  const flags = input[4]!;
  const blockChecksum = (flags & 0x10) !== 0 ? 4 : 0;
  let at = 7 + ((flags & 0x08) !== 0 ? 8 : 0) + ((flags & 0x01) !== 0 ? 4 : 0);
  const output = new Uint8Array(length);
  let filled = 0;
  while (true) {
    const word = view.getUint32(at, true);
    at += 4;
    if (word === 0) break;
    const size = word & 0x7fffffff;
    const block = input.subarray(at, at + size);
    if (block.length < size) throw new RangeError("the LZ4 data ends too early");
    if (word >>> 31 === 1) {
      output.set(block, filled);
      filled += size;
    } else filled = decompressBlock(block, output, filled);
    at += size + blockChecksum;
  }
  if (filled !== length) {
    throw new RangeError(`LZ4 data of ${filled} bytes in the place of ${length}`);
  }
  return output;
}

/** Appends a block to `output` from `filled` on; gives where it ends. */
function decompressBlock(block: Uint8Array, output: Uint8Array, filled: number): number {
  let at = 0;
  let end = filled;
  const extended = (nibble: number): number => {
    let length = nibble;
    for (let byte = nibble === 15 ? 255 : 0; byte === 255;) length += byte = block[at++] ?? 0;
    return length;
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = extended(token >> 4);
    output.set(block.subarray(at, at + literals), end);
    at += literals;
    end += literals;
    if (at >= block.length) break;
    const offset = block[at]! | (block[at + 1]! << 8);
    at += 2;
    const length = extended(token & 15) + 4;
    if (offset === 0 || offset > end || end + length > output.length) {
      throw new RangeError("the LZ4 data is damaged");
    }
    // a match may overlap with what it makes, so byte by byte
    for (const stop = end + length; end < stop; end++) output[end] = output[end - offset]!;
  }
  return end;
}
