import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { Problem } from "../../problem.ts";

const CHUNK_BYTES = 262_144;

/** The bytes of a file from its beginning; closes the file at the end. */
export async function* fileBytes(path: string): AsyncGenerator<Uint8Array, void, void> {
  using file = await Deno.open(path);
  while (true) {
    const buffer = new Uint8Array(CHUNK_BYTES);
    const got = await file.read(buffer);
    if (got === null) return;
    yield buffer.subarray(0, got);
  }
}

/**
 * Decompresses gzip, also several members in a row.
 *
 * @throws {Problem} `source-unreadable` for damaged or, unless `truncated`, incomplete data.
 */
export async function* gunzip(
  source: AsyncIterable<Uint8Array>,
  { label, truncated }: { label: string; truncated: boolean },
): AsyncGenerator<Uint8Array, void, void> {
  const input = Readable.from(source, { objectMode: false });
  const output = createGunzip({ chunkSize: CHUNK_BYTES });
  input.on("error", (error) => output.destroy(error));
  input.pipe(output);
  try {
    for await (const chunk of output) yield chunk;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "Z_BUF_ERROR") {
      if (truncated) return;
      throw new Problem("source-unreadable", {
        detail: `${label}: the gzip data ends too early, the file is incomplete. ` +
          "Copy or produce it again.",
        cause: error,
      });
    }
    if (typeof code === "string" && code.startsWith("Z_")) {
      throw new Problem("source-unreadable", {
        detail: `${label}: the gzip data is damaged. Check it with 'gzip -t'.`,
        cause: error,
      });
    }
    throw error;
  } finally {
    input.destroy();
    output.destroy();
  }
}

/** Turns text of another encoding into UTF-8. Latin 1 is read as Windows-1252, as browsers do. */
export async function* toUtf8(
  source: AsyncIterable<Uint8Array>,
  { encoding, label }: { encoding: string; label: string },
): AsyncGenerator<Uint8Array, void, void> {
  const decoder = new TextDecoder(encoding, { fatal: true });
  const encoder = new TextEncoder();
  try {
    for await (const chunk of source) yield encoder.encode(decoder.decode(chunk, { stream: true }));
    yield encoder.encode(decoder.decode());
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Problem("source-unreadable", {
      detail: `${label}: not valid ${encoding}. Correct source.encoding.`,
      cause: error,
    });
  }
}

/** Fails once more than `maxBytes` have passed. */
export async function* limitBytes(
  source: AsyncIterable<Uint8Array>,
  { maxBytes, label }: { maxBytes: number; label: string },
): AsyncGenerator<Uint8Array, void, void> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new Problem("source-unreadable", {
        detail: `${label}: more than ${maxBytes} bytes when unpacked, which is the limit. ` +
          "Load it in smaller files, or raise the limit.",
      });
    }
    yield chunk;
  }
}

/** The first `maxBytes`; the rest is not asked for. */
export async function* takeBytes(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Uint8Array, void, void> {
  let left = maxBytes;
  for await (const chunk of source) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}
