import { Problem } from "../pipeline/problem.ts";

/**
 * Lets so much through at once and refuses the rest, before anything of it was
 * begun: with 503 and Retry-After, so that a client that comes again loses nothing.
 */
export class Gate {
  readonly #limit: number;
  readonly #what: string;
  #inside = 0;

  /** `what`: as the error says it, such as "512 requests are in hand". */
  constructor(limit: number, what: string) {
    this.#limit = limit;
    this.#what = what;
  }

  /** How much is inside. */
  get inside(): number {
    return this.#inside;
  }

  /** Answers a function that leaves; calling it again does nothing. */
  enter(weight = 1): () => void {
    if (this.#inside + weight > this.#limit) {
      throw new Problem("unavailable", {
        status: 503,
        detail: `This server is busy: ${this.#what} already. Nothing was begun; try again in a ` +
          "few seconds.",
        transient: true,
      });
    }
    this.#inside += weight;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#inside -= weight;
    };
  }
}

/** Lets so many do something at once; the others wait for their turn, first come first served. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((go) => this.#waiting.push(go));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
