import { deadline } from "../shared/deadline.ts";

export interface RememberedOptions {
  /** Milliseconds that an answer is used without asking again; default 5,000. */
  freshMs?: number;
  /** Milliseconds that an answer is used when asking again fails; default 300,000. */
  staleMs?: number;
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
 * What was not found is not kept, so that nobody can fill the memory by guessing.
 */
export class Remembered<T> {
  readonly #lookUp: (key: string) => Promise<T | null>;
  readonly #options: Required<RememberedOptions>;
  readonly #entries = new Map<string, Entry<T>>();
  readonly #asking = new Map<string, Promise<T | null>>();
  #changes = 0;

  constructor(lookUp: (key: string) => Promise<T | null>, options: RememberedOptions = {}) {
    this.#lookUp = lookUp;
    this.#options = { freshMs: 5_000, staleMs: 300_000, max: 1_000, now: Date.now, ...options };
  }

  /** Has every answer looked up again before it is used. */
  expire(): void {
    this.#changes++;
    this.#asking.clear();
    for (const entry of this.#entries.values()) entry.freshUntil = 0;
  }

  async get(key: string): Promise<T | null> {
    const { freshMs, staleMs, now } = this.#options;
    const known = this.#entries.get(key);
    if (known !== undefined && now() < known.freshUntil) return known.value;
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
    if (value === null) return;
    const at = this.#options.now();
    this.#entries.set(key, { value, at, freshUntil: at + this.#options.freshMs });
    if (this.#entries.size <= this.#options.max) return;
    // the one that was looked up longest ago
    this.#entries.delete(this.#entries.keys().next().value!);
  }
}
