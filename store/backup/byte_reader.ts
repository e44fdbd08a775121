import { Buffer } from "node:buffer";

/** Reads a stream of bytes piece by piece, up to marks that may lie across blocks. */
export class ByteReader {
  readonly #blocks: AsyncIterator<Uint8Array>;
  /** What has been taken from the stream and not yet been read. */
  #rest: Uint8Array = new Uint8Array(0);

  constructor(blocks: AsyncIterable<Uint8Array>) {
    this.#blocks = blocks[Symbol.asyncIterator]();
  }

  /** Takes another block in; false at the end. */
  async #more(): Promise<boolean> {
    const { done, value } = await this.#blocks.next();
    if (done) return false;
    this.#rest = this.#rest.length === 0 ? value : Buffer.concat([this.#rest, value]);
    return true;
  }

  /** Whether these bytes come next; if so they are read. */
  async skip(bytes: Uint8Array): Promise<boolean> {
    while (this.#rest.length < bytes.length) {
      if (!await this.#more()) return false;
    }
    if (view(this.#rest).compare(bytes, 0, bytes.length, 0, bytes.length) !== 0) return false;
    this.#rest = this.#rest.subarray(bytes.length);
    return true;
  }

  /** The bytes before a mark, which is read too. Throws where it does not come any more. */
  async *until(mark: Uint8Array): AsyncGenerator<Uint8Array> {
    for (;;) {
      const at = view(this.#rest).indexOf(mark);
      if (at >= 0) {
        if (at > 0) yield this.#rest.subarray(0, at);
        this.#rest = this.#rest.subarray(at + mark.length);
        return;
      }
      // the mark may have begun
      const certain = this.#rest.length - mark.length + 1;
      if (certain > 0) {
        yield this.#rest.subarray(0, certain);
        this.#rest = this.#rest.subarray(certain);
      }
      if (!await this.#more()) throw new Error("the text ends before a mark");
    }
  }

  /** Lets go of the stream, wherever it is. */
  async close(): Promise<void> {
    await this.#blocks.return?.();
  }

  /** All that is left, read to nowhere. */
  async drain(): Promise<void> {
    do this.#rest = new Uint8Array(0); while (await this.#more());
  }
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
