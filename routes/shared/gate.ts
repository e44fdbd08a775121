import { Problem } from "../../pipeline/problem.ts";

export interface GateOptions {
  /** How the rest is refused: 503, the server has too much to do, or 429, of this kind; default 503. */
  status?: 503 | 429;
}

/**
 * Lets so much through at once and refuses the rest, before anything of it was
 * begun: with Retry-After, so that a client that comes again loses nothing.
 */
export class Gate {
  readonly #limit: number;
  readonly #what: string;
  readonly #status: 503 | 429;
  #inside = 0;

  /** `what`: as the error says it, such as "512 requests are in hand". */
  constructor(limit: number, what: string, { status = 503 }: GateOptions = {}) {
    this.#limit = limit;
    this.#what = what;
    this.#status = status;
  }

  /** How much is inside. */
  get inside(): number {
    return this.#inside;
  }

  /** Answers a function that leaves; calling it again does nothing. */
  enter(weight = 1): () => void {
    if (this.#inside + weight > this.#limit) {
      throw new Problem(this.#status === 503 ? "unavailable" : "too-many-requests", {
        status: this.#status,
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

  /** Does something inside, and leaves when it is done. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const leave = this.enter();
    try {
      return await work();
    } finally {
      leave();
    }
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
