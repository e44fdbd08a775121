import type { Context, MiddlewareHandler } from "hono";
import type { Config } from "../../server/config.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { type Message, say } from "../../vocabulary/messages.ts";
import { dataFormat } from "./body.ts";

/** Who a request counts for. */
interface Caller {
  /** A token, a session's token, or an address. */
  key: string;
  /** Whether it has shown who it is, or needs not. */
  known: boolean;
  /** Whether others are there beside it, so that it has a share only. */
  shares: boolean;
}

declare module "hono" {
  interface ContextVariableMap {
    load: Load;
    /** Set by require_access.ts, before anything of the body is read. */
    caller: Caller;
    /** The request counts as one in hand no more. */
    leaveRequests: () => void;
  }
}

/** How many store what they sent at once: each has a connection to the database for it. */
const STORING_AT_ONCE = 4;

/** Bytes of forms of those who are not known yet, in all and of one address. */
const STRANGER_BYTES = { all: 4 << 20, share: 1 << 20 };

/** Answered however busy the server is: by them it is judged. */
const ALWAYS = new Set(["/livez", "/readyz", "/api/etl/health", "/api/etl/metrics"]);

/** What a server takes on at once. */
class Load {
  /** Requests until they are answered; so statements that wait for a connection are bounded, too. */
  readonly requests: Gate;
  /** Those of callers who are not known: they take nothing from the others, nor an address from other addresses. */
  readonly strangers: Gate;
  /** Requests that stay open: streams of events, and those that wait for the end of a run. */
  readonly streams: Gate;
  /** Bodies of data that are being received. */
  readonly uploads: Gate;
  /** Bytes of other bodies, which are held in memory. */
  readonly bodyBytes: Gate;
  readonly strangerBytes: Gate;
  readonly storing = new Turns(STORING_AT_ONCE);

  constructor(config: LoadConfig) {
    const { maxRequests, maxStreams, maxUploads, maxBodiesBytes } = config;
    const part = (whole: number, of: number, least: number) =>
      Math.max(least, Math.ceil(whole / of));
    this.requests = new Gate(maxRequests, say("requests-in-progress", { n: maxRequests }), {
      share: part(maxRequests * 3, 4, 1),
    });
    const strangers = part(maxRequests, 2, 8);
    this.strangers = new Gate(strangers, say("strangers-in-progress", { n: strangers }), {
      share: part(maxRequests, 8, 4),
    });
    this.streams = new Gate(maxStreams, say("streams-open", { n: maxStreams }), {
      share: part(maxStreams, 4, 10),
    });
    this.uploads = new Gate(maxUploads, say("bodies-received", { n: maxUploads }), {
      share: part(maxUploads * 3, 4, 1),
    });
    const full = say("bodies-fill-memory", {});
    this.bodyBytes = new Gate(maxBodiesBytes, full, { share: part(maxBodiesBytes, 2, 8 << 20) });
    this.strangerBytes = new Gate(STRANGER_BYTES.all, full, { share: STRANGER_BYTES.share });
  }
}

type LoadConfig = Pick<
  Config,
  "maxRequests" | "maxStreams" | "maxUploads" | "maxBodiesBytes" | "bodyTimeoutMs"
>;

const shareOf = ({ shares, key }: Caller) => shares ? key : undefined;

/** Bounds what bodies hold while they come, and how long they may take. */
export function limitLoad(config: LoadConfig): MiddlewareHandler {
  const load = new Load(config);
  return async (c, next) => {
    c.set("load", load);
    const leaving: (() => void)[] = [];
    const body = c.req.raw.body;
    if (body !== null) {
      const count = (bytes: number) => {
        const caller = c.get("caller");
        const gate = caller.known ? load.bodyBytes : load.strangerBytes;
        leaving.push(gate.enter(bytes, shareOf(caller)));
      };
      const { stream, end } = guardedBody(body, {
        timeoutMs: config.bodyTimeoutMs,
        // data goes to disk as it comes
        ...(dataFormat(c) === undefined ? { onBlock: count } : {}),
      });
      leaving.push(end);
      c.req.raw = new Request(c.req.raw, { body: stream });
    }
    try {
      await next();
    } finally {
      for (const each of leaving) each();
    }
  };
}

/**
 * Bounds the requests in hand. It comes after the body was read: one that is only being sent takes no
 * place, so that who sends slowly keeps nobody out.
 */
export function limitRequests(): MiddlewareHandler {
  return async (c, next) => {
    const { requests, strangers } = c.get("load");
    const caller = c.get("caller");
    const leave = ALWAYS.has(c.req.path)
      ? () => {}
      : (caller.known ? requests : strangers).enter(1, shareOf(caller));
    c.set("leaveRequests", leave);
    try {
      await next();
    } finally {
      leave();
    }
  };
}

/** For a request that stays open: it counts as such from here on. Answers a function that ends that. */
export function staysOpen(c: Context): () => void {
  const leave = c.get("load").streams.enter(1, shareOf(c.get("caller")));
  c.get("leaveRequests")();
  return leave;
}

/** For a request that sends data: it counts as such as long as it comes. Answers a function that ends that. */
export function uploads(c: Context): () => void {
  return c.get("load").uploads.enter(1, shareOf(c.get("caller")));
}

interface GateOptions {
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
  readonly #what: Message;
  readonly #status: 503 | 429;
  readonly #share: number;
  readonly #callers = new Map<string, number>();
  #inside = 0;

  /** `what`: as the error says it, such as "512 requests are in hand". */
  constructor(limit: number, what: Message, { status = 503, share = limit }: GateOptions = {}) {
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
        detail: say("share-used", { share: this.#share, what: this.#what }),
        transient: true,
      });
    }
    if (this.#inside + weight > this.#limit) {
      throw new Problem(this.#status === 503 ? "unavailable" : "too-many-requests", {
        status: this.#status,
        detail: say("server-busy", { what: this.#what }),
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

  /** Does work when there is a turn; null where there is none within `mostMs`. */
  async take<T>(work: () => Promise<T>, mostMs: number): Promise<T | null>;
  async take<T>(work: () => Promise<T>): Promise<T>;
  async take<T>(work: () => Promise<T>, mostMs = Infinity): Promise<T | null> {
    if (this.#free > 0) this.#free--;
    else if (!await this.#turn(mostMs)) return null;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }

  /** Whether it is one's turn, within so many milliseconds. */
  #turn(mostMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const go = () => {
      clearTimeout(timer);
      resolve(true);
    };
    const timer = mostMs === Infinity ? undefined : setTimeout(() => {
      this.#waiting.splice(this.#waiting.indexOf(go), 1);
      resolve(false);
    }, mostMs);
    this.#waiting.push(go);
    return promise;
  }
}

/**
 * Calls with whether the client waits for the end (`wait=true`). A request that waits counts as
 * one that stays open from before anything is begun: one that is refused has begun nothing.
 */
export async function whileWaiting<T>(c: Context, work: (wait: boolean) => Promise<T>): Promise<T> {
  const wait = flagOf(c, "wait");
  const leave = wait ? staysOpen(c) : () => {};
  try {
    return await work(wait);
  } finally {
    leave();
  }
}

/** Whether a parameter of the query says true; without it false. Throws a Problem for anything else. */
export function flagOf(c: Context, name: string): boolean {
  const text = c.req.query(name) ?? "false";
  if (text === "true" || text === "false") return text === "true";
  throw new Problem("bad-request", {
    detail: say("neither-true-nor-false", { name }),
    errors: [{
      field: name,
      value: text.slice(0, 100),
      message: "is not an accepted value",
      expected: "one of: true, false",
    }],
  });
}

/** Bytes a second that a body has to have on average, after the first `timeoutMs`. */
const SLOWEST = 32 << 10;

interface GuardedBodyOptions {
  /** Milliseconds without a byte after which a body is given up; so long it may be slow, too. */
  timeoutMs: number;
  /** Told of each block before it is passed on; what it throws ends the body. */
  onBlock?: (bytes: number) => void;
}

interface GuardedBody {
  stream: ReadableStream<Uint8Array>;
  /** Nobody reads it any more. */
  end(): void;
}

/** A request body that fails with 408 when it stops coming, or comes so slowly that it is meant to be slow. */
export function guardedBody(
  body: ReadableStream<Uint8Array>,
  { timeoutMs, onBlock }: GuardedBodyOptions,
): GuardedBody {
  const reader = body.getReader();
  const started = performance.now();
  let received = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isOver = false;
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const allowed = started + timeoutMs + received / SLOWEST * 1000 - performance.now();
      const late = Promise.withResolvers<never>();
      timer = setTimeout(() => late.reject(tooSlow(timeoutMs)), Math.min(timeoutMs, allowed));
      try {
        const { done, value } = await Promise.race([reader.read(), late.promise]);
        if (done) {
          isOver = true;
          return controller.close();
        }
        received += value.byteLength;
        onBlock?.(value.byteLength);
        controller.enqueue(value);
      } catch (error) {
        await reader.cancel(error).catch(() => {});
        throw error;
      } finally {
        clearTimeout(timer);
      }
    },
    cancel: (reason) => reader.cancel(reason),
    // nothing is read before somebody wants it
  }, { highWaterMark: 0 });
  return {
    stream,
    end() {
      clearTimeout(timer);
      // who was refused before the body was read goes on sending otherwise
      if (!isOver) reader.cancel().catch(() => {});
    },
  };
}

function tooSlow(timeoutMs: number): Problem {
  return new Problem("bad-request", {
    status: 408,
    detail: say("body-too-slow", { seconds: timeoutMs / 1000, rate: SLOWEST >> 10 }),
    transient: true,
  });
}
