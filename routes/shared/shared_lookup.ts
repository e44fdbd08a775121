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
