import { once } from "node:events";
import { type Client, copyFromStream } from "./pg.ts";

/**
 * Sends blocks of COPY text to `copy … from stdin` and answers the number of
 * rows. Waits when the server is slower than the source; a failing source ends
 * the COPY with an error, so nothing of it stays.
 */
export async function copyIn(
  client: Client,
  statement: string,
  blocks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<number> {
  const stream = client.query(copyFromStream(statement));
  let failed: unknown;
  const ended = new Promise<void>((resolve) => {
    stream.once("finish", resolve);
    stream.on("error", (error) => {
      failed ??= error;
      resolve();
    });
  });
  try {
    for await (const block of blocks) {
      if (failed !== undefined) break;
      if (!stream.write(block)) await Promise.race([once(stream, "drain"), ended]);
    }
    if (failed === undefined) stream.end();
  } catch (error) {
    failed ??= error;
    stream.destroy(error as Error);
  }
  await ended;
  if (failed !== undefined) throw failed;
  return stream.rowCount ?? 0;
}

/** What a field of COPY text says, as this program writes them; null for \\N. */
export function copiedText(field: string): string | null {
  if (field === "\\N") return null;
  return field.includes("\\")
    ? field.replace(/\\(.)/g, (_, c) => c === "t" ? "\t" : c === "n" ? "\n" : c === "r" ? "\r" : c)
    : field;
}

const BLOCK_BYTES = 1 << 18;
/** Blocks that may wait for the reader before the server is held back. */
const MAX_WAITING = 4;

/** What pg calls on the query that it is at. Its types leave COPY out. */
interface Connection {
  query(text: string): void;
  stream: { pause(): void; resume(): void };
}

/**
 * The text that `copy … to stdout` sends, in blocks of 256 KiB; the number of
 * rows is known when it has ended. The server is held back while the reader is
 * slower. A reader that stops early has to close the connection.
 *
 * pg-copy-streams has this too, but on Deno its second COPY on a connection
 * never gets any data.
 */
class CopyOut implements AsyncIterable<Uint8Array> {
  rowCount = 0;
  readonly #text: string;
  #connection: Connection | undefined;
  #block = new Uint8Array(BLOCK_BYTES);
  #used = 0;
  readonly #waiting: Uint8Array[] = [];
  #paused = false;
  #ended = false;
  #error: unknown;
  #wake = () => {};

  constructor(text: string) {
    this.#text = text;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const block = this.#waiting.shift();
      if (block !== undefined) {
        yield block;
      } else if (this.#ended) {
        if (this.#error !== undefined) throw this.#error;
        return;
      } else {
        if (this.#paused) this.#connection?.stream.resume();
        this.#paused = false;
        await new Promise<void>((resolve) => this.#wake = resolve);
      }
    }
  }

  // what follows is called by pg

  submit(connection: Connection): void {
    this.#connection = connection;
    connection.query(this.#text);
  }

  handleCopyData({ chunk }: { chunk: Uint8Array }): void {
    // the chunk is part of a buffer that pg uses again
    for (let done = 0; done < chunk.length;) {
      const taken = Math.min(chunk.length - done, BLOCK_BYTES - this.#used);
      this.#block.set(chunk.subarray(done, done + taken), this.#used);
      this.#used += taken;
      done += taken;
      if (this.#used === BLOCK_BYTES) this.#pass();
    }
  }

  #pass(): void {
    this.#waiting.push(this.#block.subarray(0, this.#used));
    this.#block = new Uint8Array(BLOCK_BYTES);
    this.#used = 0;
    if (this.#waiting.length >= MAX_WAITING && !this.#paused) {
      this.#connection?.stream.pause();
      this.#paused = true;
    }
    this.#wake();
  }

  handleCommandComplete({ text }: { text: string }): void {
    this.rowCount = Number(/^COPY (\d+)/.exec(text)?.[1] ?? 0);
  }

  handleError(error: unknown): void {
    this.#error = error;
    this.#end();
  }

  handleReadyForQuery(): void {
    this.#end();
  }

  #end(): void {
    if (this.#used > 0) this.#pass();
    if (this.#paused) this.#connection?.stream.resume();
    this.#paused = false;
    this.#ended = true;
    this.#wake();
  }
}

/** Sends `copy … to stdout`. */
export function copyOut(client: Client, statement: string): CopyOut {
  const query = new CopyOut(statement);
  return client.query(query as unknown as CopyOut & { submit: never });
}
