import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { Problem } from "../../vocabulary/problem.ts";

/** So many things a minute for each caller, counted by this server. */
export class RateLimit {
  readonly #limiter: RateLimiterMemory | null;
  readonly #perMinute: number;
  readonly #what: string;

  /** `perMinute` 0: no limit. `what`: as the error names it, such as "runs and previews". */
  constructor(perMinute: number, what: string) {
    this.#perMinute = perMinute;
    this.#what = what;
    this.#limiter = perMinute === 0
      ? null
      : new RateLimiterMemory({ points: perMinute, duration: 60 });
  }

  /** Counts one for a caller. Throws a Problem with `retry_after_seconds` when it is too many. */
  async count(caller: string): Promise<void> {
    try {
      await this.#limiter?.consume(caller);
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw error;
      const seconds = Math.max(1, Math.ceil(error.msBeforeNext / 1000));
      throw new Problem("too-many-requests", {
        status: 429,
        detail: `More than ${this.#perMinute} ${this.#what} a minute. Try again in ${seconds} s.`,
        transient: true,
        extra: { retry_after_seconds: seconds },
      });
    }
  }
}
