import { Problem } from "../../vocabulary/problem.ts";

export interface GateOptions {
  /** How the rest is refused: 503, the server has too much to do, or 429, of this kind; default 503. */
  status?: 503 | 429;
  /** How much of it one caller may have, who is told 429 beyond it; default all. */
  share?: number;
}

/**
 * Lets so much through at once and refuses the rest, before anything of it was
 * begun: with Retry-After, so that a client that comes again loses nothing.
 */
export class Gate {
  readonly #limit: number;
  readonly #what: string;
  readonly #status: 503 | 429;
  readonly #share: number;
  readonly #callers = new Map<string, number>();
  #inside = 0;

  /** `what`: as the error says it, such as "512 requests are in hand". */
  constructor(limit: number, what: string, { status = 503, share = limit }: GateOptions = {}) {
    this.#limit = limit;
    this.#what = what;
    this.#status = status;
    this.#share = share;
  }

  /** How much is inside. */
  get inside(): number {
    return this.#inside;
  }

  /**
   * Answers a function that leaves; calling it again does nothing. `caller`: whose share it is of;
   * without one there is no share.
   */
  enter(weight = 1, caller?: string): () => void {
    const used = caller === undefined ? 0 : this.#callers.get(caller) ?? 0;
    if (caller !== undefined && used + weight > this.#share) {
      throw new Problem("too-many-requests", {
        status: 429,
        detail:
          `One caller may have ${this.#share} of this at once, and you have: this server is ` +
          `full when ${this.#what}. Nothing was begun; try again in a few seconds.`,
        transient: true,
      });
    }
    if (this.#inside + weight > this.#limit) {
      throw new Problem(this.#status === 503 ? "unavailable" : "too-many-requests", {
        status: this.#status,
        detail: `This server is busy: ${this.#what} already. Nothing was begun; try again in a ` +
          "few seconds.",
        transient: true,
      });
    }
    this.#inside += weight;
    if (caller !== undefined) this.#callers.set(caller, used + weight);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#inside -= weight;
      if (caller === undefined) return;
      const rest = this.#callers.get(caller)! - weight;
      if (rest > 0) this.#callers.set(caller, rest);
      else this.#callers.delete(caller);
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
