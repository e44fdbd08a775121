import type { Client } from "./pg.ts";

/**
 * Sends blocks to `copy … from stdin` and answers the number of rows. A block is only lent: once the next is asked
 * for the connection has taken it, and its memory may be used again. A failing source ends the COPY with an error,
 * so nothing of it stays.
 */
export async function copyIn(
  client: Client,
  statement: string,
  blocks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<number> {
  const query = new CopyIn(statement);
  client.query(query as unknown as CopyIn & { submit: never });
  try {
    for await (const block of blocks) if (!await query.send(block)) break;
  } catch (error) {
    await query.fail((error as Error).message);
    throw error;
  }
  return await query.end();
}

/** What PostgreSQL's binary COPY begins and ends with (COPY, "Binary Format"). */
export const COPY_HEADER = Uint8Array.of(
  ...new TextEncoder().encode("PGCOPY\n"),
  ...[0xff, 0x0d, 0x0a, 0x00],
  ...[0, 0, 0, 0, 0, 0, 0, 0],
);
export const COPY_TRAILER = Uint8Array.of(0xff, 0xff);

const COPY_DATA = 0x64;
const COPY_DONE = Uint8Array.of(0x63, 0, 0, 0, 4);

/**
 * A `copy … from stdin`. pg-copy-streams has this too, but does not tell when a block has been sent: each block would
 * need memory of its own, of which 70 MB a connection waited for the garbage collector.
 */
class CopyIn {
  readonly #text: string;
  #connection: Connection | undefined;
  #taking = false;
  #over = false;
  #error: unknown;
  #rowCount = 0;
  #wake = () => {};

  constructor(text: string) {
    this.#text = text;
  }

  /** False where the server takes no more. */
  async send(block: Uint8Array): Promise<boolean> {
    while (!this.#taking && !this.#over) await this.#change();
    if (this.#over) return false;
    const head = new DataView(new ArrayBuffer(5));
    head.setUint8(0, COPY_DATA);
    head.setUint32(1, block.byteLength + 4);
    const { stream } = this.#connection!;
    stream.write(new Uint8Array(head.buffer));
    let taken = false;
    stream.write(block, () => {
      taken = true;
      this.#wake();
    });
    while (!taken && !this.#over) await this.#change();
    return !this.#over;
  }

  /** Has the server forget what it was sent. */
  async fail(reason: string): Promise<void> {
    while (!this.#taking && !this.#over) await this.#change();
    if (!this.#over) this.#connection!.sendCopyFail(reason);
    while (!this.#over) await this.#change();
  }

  /** Answers the number of rows. */
  async end(): Promise<number> {
    while (!this.#taking && !this.#over) await this.#change();
    if (!this.#over) this.#connection!.stream.write(COPY_DONE);
    while (!this.#over) await this.#change();
    if (this.#error !== undefined) throw this.#error;
    return this.#rowCount;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake = resolve);
  }

  // what follows is called by pg

  submit(connection: Connection): void {
    this.#connection = connection;
    connection.query(this.#text);
  }

  handleCopyInResponse(): void {
    this.#taking = true;
    this.#wake();
  }

  handleCommandComplete({ text }: { text: string }): void {
    this.#rowCount = rowsCopied(text);
  }

  handleError(error: unknown): void {
    this.#error = error;
    this.handleReadyForQuery();
  }

  handleReadyForQuery(): void {
    this.#over = true;
    this.#wake();
  }
}

function rowsCopied(commandTag: string): number {
  return Number(/^COPY (\d+)/.exec(commandTag)?.[1] ?? 0);
}

const ESCAPED: Record<string, string> = {
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** What a field of COPY text says, as PostgreSQL and this program write them; null for \\N. */
export function copiedText(field: string): string | null {
  if (!field.includes("\\")) return field;
  if (field === "\\N") return null;
  // what comes behind the last one is as it is
  const last = field.lastIndexOf("\\") + 2;
  let text = "";
  for (let at = 0; at < last;) {
    const end = pieceEnd(field, at, last);
    text += field.slice(at, end).replace(/\\(.)/g, (_, c) => ESCAPED[c] ?? c);
    at = end;
  }
  return text + field.slice(last);
}

/** All matches of a pattern are in memory at once, and those of 100 MB of tabs have no room there. */
const PIECE_LENGTH = 1 << 16;

/** Where a piece of a field ends, not between a backslash and what it stands before. */
function pieceEnd(field: string, at: number, last: number): number {
  const end = at + PIECE_LENGTH;
  if (end >= last) return last;
  let first = end;
  while (first > at && field[first - 1] === "\\") first--;
  return end + (end - first) % 2;
}

const BLOCK_BYTES = 1 << 18;
/** Blocks that may wait for the reader before the server is held back. */
const MAX_WAITING = 4;

/** What pg calls on the query that it is at. Its types leave COPY out. */
interface Connection {
  query(text: string): void;
  parse(statement: { text: string }): void;
  bind(values: { values: [] }): void;
  execute(portal: { rows: number }): void;
  sync(): void;
  sendCopyFail(reason: string): void;
  stream: {
    write(bytes: Uint8Array, taken?: () => void): boolean;
    pause(): void;
    resume(): void;
  };
}

/**
 * The text that `copy … to stdout` sends, in blocks of 256 KiB; the number of
 * rows is known when it has ended. The server is held back while the reader is
 * slower. What a reader that stops early has not read is thrown away.
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
  #unread = false;
  #error: unknown;
  #wake = () => {};

  constructor(text: string) {
    this.#text = text;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const block = this.#waiting.shift();
        if (block !== undefined) {
          yield block;
        } else if (this.#ended) {
          if (this.#error !== undefined) throw this.#error;
          return;
        } else {
          this.#goOn();
          await new Promise<void>((resolve) => this.#wake = resolve);
        }
      }
    } finally {
      this.#unread = true;
      this.#goOn();
    }
  }

  #goOn(): void {
    if (this.#paused) this.#connection?.stream.resume();
    this.#paused = false;
  }

  // what follows is called by pg

  submit(connection: Connection): void {
    this.#connection = connection;
    // not as a simple query, which may be several statements
    connection.parse({ text: this.#text });
    connection.bind({ values: [] });
    connection.execute({ rows: 0 });
    connection.sync();
  }

  handleCopyData({ chunk }: { chunk: Uint8Array }): void {
    if (this.#unread) return;
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
    this.rowCount = rowsCopied(text);
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
    this.#goOn();
    this.#ended = true;
    this.#wake();
  }
}

/** Sends `copy … to stdout`. */
export function copyOut(client: Client, statement: string): CopyOut {
  const query = new CopyOut(statement);
  return client.query(query as unknown as CopyOut & { submit: never });
}
