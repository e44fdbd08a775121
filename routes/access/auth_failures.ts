import type { Context, MiddlewareHandler } from "hono";
import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import type { Config } from "../../server/config.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { type Message, say } from "../../vocabulary/messages.ts";
import type { AppDeps } from "../shared/deps.ts";
import { clientOfRequest, limitKey } from "./client_address.ts";
import { tokenPrefix } from "./credential.ts";

/** Why a caller was refused, for the log and the metric. */
type RefusedReason =
  /** Nothing was shown. */
  | "missing"
  /** A token that is not known, has expired or was revoked. */
  | "token"
  /** A cookie of a session that is over, or never was. */
  | "session"
  | "sign_in"
  /** The role does not suffice. */
  | "role"
  /** A page of another origin, or a host name that is none of ours. */
  | "origin"
  /** Too many wrong tokens. */
  | "limited";

declare module "hono" {
  interface ContextVariableMap {
    /** Why it was refused, and the part of the token that is no secret. */
    refused: { reason: RefusedReason; token?: string };
  }
}

/** Lines of the log for one address in a minute; what is beyond it is in the metric. */
const LINES = 20;
const MINUTE_MS = 60_000;
/** Addresses whose lines are counted. */
const MAX_ADDRESSES = 5_000;

/**
 * Counts wrong tokens, by address and by the token's prefix. Only failures count, and a right token is
 * never refused for them: many may come from one address.
 */
export class WrongTokens {
  readonly #limit: RateLimit;
  readonly #config: Pick<Config, "trustedProxies">;

  constructor(config: Pick<Config, "trustedProxies" | "signInsPerMinute">) {
    this.#config = config;
    this.#limit = new RateLimit(config.signInsPerMinute, say("wrong-tokens", {}));
  }

  /** What is to be answered to who has shown this text: the error, or that there were too many. */
  async answerTo(error: unknown, c: Context, shown: string): Promise<unknown> {
    if (!(error instanceof Problem) || error.status !== 401) return error;
    const { address } = clientOfRequest(c, this.#config.trustedProxies);
    try {
      await this.#limit.count(`address ${limitKey(address)}`);
      const prefix = tokenPrefix(shown);
      if (prefix !== undefined) await this.#limit.count(`token ${prefix}`);
      return error;
    } catch (tooMany) {
      const refused = c.get("refused");
      c.set("refused", { ...refused, reason: "limited" });
      return tooMany;
    }
  }
}

/** Logs and counts who was refused: 401, 403, and 429 for wrong tokens. */
export function noteRefused(
  { log, metrics, config }: Pick<AppDeps, "log" | "metrics" | "config">,
): MiddlewareHandler {
  const lines = new Map<string, { count: number; until: number }>();
  return async (c, next) => {
    await next();
    const refused = c.get("refused");
    if (refused === undefined || c.res.status < 300) return;
    metrics.refused(refused.reason);
    const { address } = clientOfRequest(c, config.trustedProxies);
    const now = performance.now();
    const known = lines.get(address);
    const told = known !== undefined && now < known.until
      ? known
      : { count: 0, until: now + MINUTE_MS };
    if (told.count++ >= LINES) return;
    if (lines.size >= MAX_ADDRESSES) lines.clear();
    lines.set(address, told);
    log.warn(told.count === LINES ? "refused; more of this minute are not logged" : "refused", {
      reason: refused.reason,
      status: c.res.status,
      address,
      method: c.req.method,
      path: c.req.path.slice(0, 200),
      ...(refused.token === undefined ? {} : { token: refused.token }),
    });
  };
}

/** So many things a minute for each caller, counted by this server. */
export class RateLimit {
  readonly #limiter: RateLimiterMemory | null;
  readonly #perMinute: number;
  readonly #what: Message;

  /** `perMinute` 0: no limit. `what`: as the error names it, such as "runs and previews". */
  constructor(perMinute: number, what: Message) {
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
        detail: say("rate-exceeded", { n: this.#perMinute, what: this.#what, seconds }),
        transient: true,
        extra: { retry_after_seconds: seconds },
      });
    }
  }
}
