import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";

/** Looks in a row that have to find too much: what is garbage has been collected by then. */
const LOOKS = 3;

/** Ends a chunk whose worker holds more and more, before that ends the server. */
export class MemoryWatch {
  readonly #limit: number;
  readonly #used: () => number;
  #above = 0;

  /** @param limit bytes of the worker's heap and of what it holds beside it; default: any number. */
  constructor(limit = Infinity, used = usedBytes) {
    this.#limit = limit;
    this.#used = used;
  }

  /** @throws {Problem} `out-of-memory` where the worker holds too much, and did the last times. */
  look(chunkNo: number): void {
    const used = this.#used();
    this.#above = used > this.#limit ? this.#above + 1 : 0;
    if (this.#above < LOOKS) return;
    throw new Problem("out-of-memory", {
      detail: say("chunk-memory", {
        chunk: chunkNo,
        used: megabytes(used),
        limit: megabytes(this.#limit),
      }),
    });
  }
}

function usedBytes(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

const megabytes = (bytes: number) => Math.round(bytes / 1e6).toLocaleString("en-US");
