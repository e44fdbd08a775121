import type { Context, MiddlewareHandler } from "hono";
import type { Config } from "../../server/config.ts";
import { Gate, Turns } from "./gate.ts";
import { guardedBody } from "./guarded_body.ts";
import { dataFormat } from "./media_type.ts";

/** Who a request counts for. */
export interface Caller {
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
    this.requests = new Gate(maxRequests, `${maxRequests} requests are in hand`, {
      share: part(maxRequests * 3, 4, 1),
    });
    const strangers = part(maxRequests, 2, 8);
    this.strangers = new Gate(strangers, `${strangers} requests without a token are in hand`, {
      share: part(maxRequests, 8, 4),
    });
    this.streams = new Gate(maxStreams, `${maxStreams} streams and waiting requests are open`, {
      share: part(maxStreams, 4, 10),
    });
    this.uploads = new Gate(maxUploads, `${maxUploads} bodies of data are being received`, {
      share: part(maxUploads * 3, 4, 1),
    });
    const full = "request bodies fill the memory meant for them";
    this.bodyBytes = new Gate(maxBodiesBytes, full, { share: part(maxBodiesBytes, 2, 8 << 20) });
    this.strangerBytes = new Gate(STRANGER_BYTES.all, full, { share: STRANGER_BYTES.share });
  }
}

export type LoadConfig = Pick<
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
