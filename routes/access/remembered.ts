import { deadline } from "../shared/deadline.ts";

export interface RememberedOptions {
  /** Milliseconds that an answer is used without asking again; default 5,000. */
  freshMs?: number;
  /** Milliseconds that an answer is used when asking again fails; default 300,000. */
  staleMs?: number;
  /** Milliseconds that what was not found counts as not there; default 0. */
  missingMs?: number;
  /** Answers that are kept; default 1,000. */
  max?: number;
  now?: () => number;
}

interface Entry<T> {
  value: T;
  /** When the database said so. */
  at: number;
  /** Until then nobody asks again. */
  freshUntil: number;
}

/** A look-up must not hang where the database does. */
const LIMIT_MS = 3_000;

/**
 * Answers of a look-up, kept for a short while. While the database cannot be
 * asked an older answer counts: nobody can have changed it there meanwhile.
 * What was not found is kept for `missingMs`, as many as are found: guesses do not fill the memory.
 */
export class Remembered<T> {
  readonly #lookUp: (key: string) => Promise<T | null>;
  readonly #options: Required<RememberedOptions>;
  readonly #entries = new Map<string, Entry<T>>();
  /** Until when each counts as not there. */
  readonly #missing = new Map<string, number>();
  readonly #asking = new Map<string, Promise<T | null>>();
  #changes = 0;

  constructor(lookUp: (key: string) => Promise<T | null>, options: RememberedOptions = {}) {
    this.#lookUp = lookUp;
    this.#options = {
      freshMs: 5_000,
      staleMs: 300_000,
      max: 1_000,
      missingMs: 0,
      now: Date.now,
      ...options,
    };
  }

  /** Has every answer looked up again before it is used. */
  expire(): void {
    this.#changes++;
    this.#asking.clear();
    this.#missing.clear();
    for (const entry of this.#entries.values()) entry.freshUntil = 0;
  }

  async get(key: string): Promise<T | null> {
    const { freshMs, staleMs, now } = this.#options;
    const known = this.#entries.get(key);
    if (known !== undefined && now() < known.freshUntil) return known.value;
    if (known === undefined && now() < (this.#missing.get(key) ?? 0)) return null;
    try {
      return await (this.#asking.get(key) ?? this.#ask(key));
    } catch (error) {
      if (known === undefined || now() - known.at > staleMs) throw error;
      known.freshUntil = now() + freshMs;
      return known.value;
    }
  }

  /** Asks once for all who want to know. */
  #ask(key: string): Promise<T | null> {
    const asked = this.#changes;
    const asking = deadline(this.#lookUp(key), LIMIT_MS).then((value) => {
      // an answer from before a change is used by those who waited for it, and not kept
      if (asked === this.#changes) this.#keep(key, value);
      return value;
    }).finally(() => {
      if (this.#asking.get(key) === asking) this.#asking.delete(key);
    });
    this.#asking.set(key, asking);
    return asking;
  }

  #keep(key: string, value: T | null): void {
    this.#entries.delete(key);
    if (value === null) {
      if (this.#missing.size >= this.#options.max) this.#missing.clear();
      this.#missing.set(key, this.#options.now() + this.#options.missingMs);
      return;
    }
    const at = this.#options.now();
    this.#entries.set(key, { value, at, freshUntil: at + this.#options.freshMs });
    if (this.#entries.size <= this.#options.max) return;
    // the one that was looked up longest ago
    this.#entries.delete(this.#entries.keys().next().value!);
  }
}

/** Keys of one look-up together. */
const MAX_TOGETHER = 500;

/** Looks up together what is asked for while a look-up is under way, so that there is one at a time. */
export class Batched<T> {
  readonly #lookUp: (keys: string[]) => Promise<Map<string, T>>;
  #waiting = new Map<string, PromiseWithResolvers<T | null>>();
  #busy = false;

  constructor(lookUp: (keys: string[]) => Promise<Map<string, T>>) {
    this.#lookUp = lookUp;
  }

  get(key: string): Promise<T | null> {
    const asked = this.#waiting.get(key) ?? Promise.withResolvers<T | null>();
    this.#waiting.set(key, asked);
    if (!this.#busy) void this.#work();
    return asked.promise;
  }

  async #work(): Promise<void> {
    this.#busy = true;
    while (this.#waiting.size > 0) {
      const together = [...this.#waiting].slice(0, MAX_TOGETHER);
      for (const [key] of together) this.#waiting.delete(key);
      try {
        const found = await deadline(this.#lookUp(together.map(([key]) => key)), LIMIT_MS);
        for (const [key, { resolve }] of together) resolve(found.get(key) ?? null);
      } catch (error) {
        for (const [, { reject }] of together) reject(error);
      }
    }
    this.#busy = false;
  }
}
