/** Tells whether the timers of this thread fire: leases, looks for work and pauses hang on them. */
export class Pulse {
  #at = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(everyMs = 1_000) {
    this.#timer = setInterval(() => this.#at = performance.now(), everyMs);
  }

  /** Milliseconds since a timer has fired. */
  get silentMs(): number {
    return performance.now() - this.#at;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
