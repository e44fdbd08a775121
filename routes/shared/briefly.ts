/** Answers that are kept at once: more keys than that in a second are nobody's reading. */
const MAX_KEPT = 200;

interface Kept {
  value: Promise<unknown>;
  until: number;
}

/**
 * Looks something up once for all who ask for the same within a second, which is as old as a page may
 * be that somebody has just loaded. What fails is not kept.
 */
export class Briefly {
  readonly #ms: number;
  readonly #kept = new Map<string, Kept>();

  constructor(ms = 1_000) {
    this.#ms = ms;
  }

  get<T>(key: string, look: () => Promise<T>): Promise<T> {
    const now = performance.now();
    const known = this.#kept.get(key);
    if (known !== undefined && now < known.until) return known.value as Promise<T>;
    const value = look();
    const kept = { value, until: now + this.#ms };
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    if (this.#kept.size > MAX_KEPT) this.#kept.delete(this.#kept.keys().next().value!);
    value.catch(() => {
      if (this.#kept.get(key) === kept) this.#kept.delete(key);
    });
    return value;
  }
}
