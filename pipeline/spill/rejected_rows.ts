import { join } from "node:path";
import { quarantineText } from "../../store/quarantine.ts";
import { diskProblem } from "./layout.ts";
import type { Rejected } from "../event.ts";

/** Characters of rows that wait in memory. */
const MAX_WAITING = 1 << 22;
const BLOCK_BYTES = 1 << 18;

/**
 * The rejected records of a chunk until they go to the quarantine, with its counters: as text of COPY, in memory as long as
 * they are few, else in a file. Each may have 64 KiB as it was read, and there may be 100,000.
 */
export class RejectedRows implements Disposable {
  readonly #dir: string;
  readonly #path: string;
  readonly #runId: string;
  readonly #chunkNo: number;
  readonly #encoder = new TextEncoder();
  #file: Deno.FsFile | null = null;
  #waiting = "";
  /** How many there are. */
  count = 0;
  /** One of them, as an example. */
  first: Rejected | undefined;

  constructor({ dir, runId, chunkNo }: { dir: string; runId: string; chunkNo: number }) {
    this.#dir = dir;
    this.#path = join(dir, `${chunkNo}.rejected.${crypto.randomUUID().slice(0, 8)}`);
    this.#runId = runId;
    this.#chunkNo = chunkNo;
  }

  add(row: Rejected): void {
    this.count++;
    this.first ??= row;
    this.#waiting += quarantineText(this.#runId, this.#chunkNo, row);
    if (this.#waiting.length < MAX_WAITING) return;
    try {
      this.#file ??= Deno.openSync(this.#path, { createNew: true, read: true, write: true });
      const bytes = this.#encoder.encode(this.#waiting);
      for (let from = 0; from < bytes.length;) from += this.#file.writeSync(bytes.subarray(from));
    } catch (error) {
      throw diskProblem(error, this.#dir);
    }
    this.#waiting = "";
  }

  /** All of them, in their order; any number of times. A block is only lent: the next takes its memory. */
  *blocks(): Generator<Uint8Array> {
    this.#file?.seekSync(0, Deno.SeekMode.Start);
    const block = new Uint8Array(BLOCK_BYTES);
    for (;;) {
      const length = this.#file?.readSync(block) ?? null;
      if (length === null) break;
      yield block.subarray(0, length);
    }
    if (this.#waiting !== "") yield this.#encoder.encode(this.#waiting);
  }

  [Symbol.dispose](): void {
    if (this.#file === null) return;
    this.#file.close();
    Deno.removeSync(this.#path);
  }
}
