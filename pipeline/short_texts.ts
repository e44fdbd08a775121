/** Above this a decoder is faster than a call for each eight bytes. */
const SHORT = 48;

const { fromCharCode } = String;

/**
 * The text of bytes that are UTF-8. Short ASCII, which most values are, is put together here: a call of the decoder costs three
 * times as much, whatever its length.
 */
export function textAt(bytes: Uint8Array, from: number, to: number, decoder: TextDecoder): string {
  if (to - from > SHORT) return decoder.decode(bytes.subarray(from, to));
  let units = 0;
  for (let i = from; i < to; i++) units |= bytes[i]!;
  if (units > 127) return decoder.decode(bytes.subarray(from, to));
  let text = "";
  let i = from;
  for (; i + 8 <= to; i += 8) {
    text += fromCharCode(
      bytes[i]!,
      bytes[i + 1]!,
      bytes[i + 2]!,
      bytes[i + 3]!,
      bytes[i + 4]!,
      bytes[i + 5]!,
      bytes[i + 6]!,
      bytes[i + 7]!,
    );
  }
  for (; i < to; i++) text += fromCharCode(bytes[i]!);
  return text;
}
