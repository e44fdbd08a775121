/**
 * Looks something up once for all who ask at the same time. Whoever asks while a
 * look is under way gets the next one, which begins when that has ended: what he
 * is told is never older than his question.
 */
export class SharedLookup<T> {
  readonly #look: (key: string) => Promise<T>;
  readonly #running = new Map<string, Promise<T>>();
  readonly #next = new Map<string, Promise<T>>();

  constructor(look: (key: string) => Promise<T>) {
    this.#look = look;
  }

  get(key: string): Promise<T> {
    const running = this.#running.get(key);
    if (running === undefined) return this.#start(key);
    const known = this.#next.get(key);
    if (known !== undefined) return known;
    const next = running.then(() => {}, () => {}).then(() => {
      this.#next.delete(key);
      return this.#start(key);
    });
    this.#next.set(key, next);
    return next;
  }

  #start(key: string): Promise<T> {
    const looking = this.#look(key).finally(() => {
      if (this.#running.get(key) === looking) this.#running.delete(key);
    });
    this.#running.set(key, looking);
    return looking;
  }
}

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

/**
 * What the work answers, or an error with the code ETIMEDOUT after `limitMs`: a
 * database that does not answer must not hang who asks. The work itself goes on.
 */
export async function deadline<T>(work: Promise<T>, limitMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () =>
      late.reject(Object.assign(new Error(`no answer in ${limitMs} ms`), { code: "ETIMEDOUT" })),
    limitMs,
  );
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
