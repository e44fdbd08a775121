import { say } from "../../../vocabulary/messages.ts";
import fs from "node:fs";
import { basename } from "node:path";
import { Readable, type Transform } from "node:stream";
import { createGunzip, createInflate, createInflateRaw } from "node:zlib";
import { Problem } from "../../../vocabulary/problem.ts";
import { unzstd, ZstdError } from "./zstd.ts";

const CHUNK_BYTES = 262_144;

/** An open regular file, read by position; closes with `using`. */
export class OpenFile implements Disposable {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Opens what is a file still. A pipe that was put in its place would be waited for until somebody writes into
   * it, if it were opened as files are, and a look before could come too early.
   *
   * @throws {Problem} `source-changed` where it is none.
   */
  static async open(path: string): Promise<OpenFile> {
    const { O_RDONLY, O_NONBLOCK } = fs.constants;
    const file = new OpenFile(
      await new Promise<number>((resolve, reject) => {
        fs.open(path, O_RDONLY | O_NONBLOCK, (error, fd) => error ? reject(error) : resolve(fd));
      }),
    );
    if (file.stat().isFile()) return file;
    file[Symbol.dispose]();
    throw new Problem("source-changed", {
      detail: say("file-no-longer-regular", { path: basename(path) }),
    });
  }

  stat(): fs.Stats {
    return fs.fstatSync(this.#fd);
  }

  /** Puts bytes from `position` on into a buffer: how many; null at the end. */
  async read(buffer: Uint8Array, position: number): Promise<number | null> {
    const got = await new Promise<number>((resolve, reject) => {
      fs.read(
        this.#fd,
        buffer,
        0,
        buffer.length,
        position,
        (error, count) => error ? reject(error) : resolve(count),
      );
    });
    return got === 0 ? null : got;
  }

  readSync(buffer: Uint8Array, position: number): number | null {
    const got = fs.readSync(this.#fd, buffer, 0, buffer.length, position);
    return got === 0 ? null : got;
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#fd);
  }
}

/** The bytes of a file from its beginning; closes the file at the end. */
export async function* fileBytes(path: string): AsyncGenerator<Uint8Array, void, void> {
  using file = await OpenFile.open(path);
  for (let at = 0;;) {
    const buffer = new Uint8Array(CHUNK_BYTES);
    const got = await file.read(buffer, at);
    if (got === null) return;
    at += got;
    yield buffer.subarray(0, got);
  }
}

/** Compressions that are read, by the names of Content-Encoding. */
export type Compression = "gzip" | "deflate" | "br" | "zstd";

interface DecompressOptions {
  label: string;
  /** The source is only a beginning: its end is no error. */
  truncated: boolean;
}

/**
 * Decompresses; of gzip and zstd also several members in a row.
 *
 * @throws {Problem} `source-unreadable` for damaged or, unless `truncated`, incomplete data.
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  { label, truncated }: DecompressOptions,
): AsyncGenerator<Uint8Array, void, void> {
  let ended = false;
  let failed: unknown;
  const watched = async function* () {
    try {
      yield* source;
      ended = true;
    } catch (error) {
      failed = error;
      throw error;
    }
  };
  try {
    yield* DECODERS[compression](watched());
  } catch (error) {
    if (failed !== undefined) throw failed;
    const incomplete = isIncomplete(error);
    // what the platform says of brotli does not tell an early end from damage
    if (truncated && ended && incomplete !== false) return;
    if (incomplete === undefined && !isDamage(error)) throw error;
    const name = compression === "br" ? "Brotli" : compression;
    throw new Problem("source-unreadable", {
      detail: incomplete ? say("packed-incomplete", { file: label, name }) : say("packed-damaged", {
        file: label,
        name,
        what: error instanceof ZstdError ? error.message : say("is-damaged", {}),
      }),
      cause: error,
    });
  }
}

const DECODERS: Record<
  Compression,
  (source: AsyncGenerator<Uint8Array>) => AsyncIterable<Uint8Array>
> = {
  gzip: (source) => throughZlib(source, createGunzip({ chunkSize: CHUNK_BYTES })),
  deflate: inflate,
  br: (source) =>
    ReadableStream.from(source).pipeThrough(
      // the types know gzip and deflate only
      new DecompressionStream("brotli" as CompressionFormat) as unknown as ReadableWritablePair<
        Uint8Array,
        Uint8Array
      >,
    ),
  zstd: unzstd,
};

/** True for an early end, false for damage, undefined where that cannot be told. */
function isIncomplete(error: unknown): boolean | undefined {
  if (error instanceof ZstdError) return error.incomplete;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "Z_BUF_ERROR") return true;
  return code.startsWith("Z_") ? false : undefined;
}

function isDamage(error: unknown): boolean {
  return error instanceof TypeError;
}

/** HTTP's deflate is zlib's format; some servers send the bare data. */
async function* inflate(source: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const first = await source.next();
  const head = first.done ? new Uint8Array(0) : first.value;
  const zlib = head.length > 1 && (head[0]! & 0x0f) === 8 &&
    ((head[0]! << 8) | head[1]!) % 31 === 0;
  const whole = async function* () {
    yield head;
    yield* source;
  };
  yield* throughZlib(whole(), zlib ? createInflate() : createInflateRaw());
}

async function* throughZlib(
  source: AsyncIterable<Uint8Array>,
  output: Transform,
): AsyncGenerator<Uint8Array> {
  const input = Readable.from(source, { objectMode: false });
  input.on("error", (error) => output.destroy(error));
  input.pipe(output);
  try {
    yield* output as AsyncIterable<Uint8Array>;
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
      detail: say("text-other-encoding", { file: label, encoding }),
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
        detail: say("unpacked-too-large", { file: label, n: maxBytes }),
      });
    }
    yield chunk;
  }
}

/** The first `maxBytes`; the rest is not asked for. `onCut` hears that there may be more. */
export async function* takeBytes(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
  onCut?: () => void,
): AsyncGenerator<Uint8Array, void, void> {
  let left = maxBytes;
  for await (const chunk of source) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return onCut?.();
  }
}
