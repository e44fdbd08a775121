/** A stream that ended in the middle of something. */
export class EndedEarly extends Error {
  override readonly name = "EndedEarly";
}

/** Bytes of a stream by their number. */
export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async atEnd(): Promise<boolean> {
    while (this.#held.length === 0) {
      const { value, done } = await this.#source.next();
      if (done) return true;
      this.#held = value;
    }
    return false;
  }

  /**
   * Exactly so many bytes, in a buffer of their own.
   *
   * @throws {EndedEarly} when there are fewer.
   */
  async take(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const taken = new Uint8Array(count);
    for (let at = 0; at < count;) {
      at += this.#pass(await this.#next(count - at), taken, at);
    }
    return taken;
  }

  /** @throws {EndedEarly} when there are fewer. */
  async skip(count: number): Promise<void> {
    for (let left = count; left > 0;) left -= this.#pass(await this.#next(left));
  }

  /** Makes bytes that were taken the next ones again. */
  putBack(bytes: Uint8Array): void {
    const held = new Uint8Array(bytes.length + this.#held.length);
    held.set(bytes);
    held.set(this.#held, bytes.length);
    this.#held = held;
  }

  /** Lets go of the source. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #next(atMost: number): Promise<Uint8Array> {
    if (await this.atEnd()) throw new EndedEarly("the data ends too early");
    return this.#held.subarray(0, atMost);
  }

  #pass(piece: Uint8Array, into?: Uint8Array, at = 0): number {
    into?.set(piece, at);
    this.#held = this.#held.subarray(piece.length);
    return piece.length;
  }
}
