import type { Context, MiddlewareHandler } from "hono";
import type { Config } from "../../config.ts";
import { Gate, Turns } from "./gate.ts";
import { guardedBody } from "./guarded_body.ts";
import { dataFormat } from "./media_type.ts";

declare module "hono" {
  interface ContextVariableMap {
    load: Load;
    /** The request counts as one in hand no more. */
    leaveRequests: () => void;
  }
}

/** How many store what they sent at once: each has a connection to the database for it. */
const STORING_AT_ONCE = 4;

/** Answered however busy the server is: by them it is judged. */
const ALWAYS = new Set(["/livez", "/readyz", "/api/etl/health", "/api/etl/metrics"]);

/** What a server takes on at once. */
class Load {
  /** Requests until they are answered; so statements that wait for a connection are bounded, too. */
  readonly requests: Gate;
  /** Requests that stay open: streams of events, and those that wait for the end of a run. */
  readonly streams: Gate;
  /** Bodies of data that are being received. */
  readonly uploads: Gate;
  /** Bytes of other bodies, which are held in memory. */
  readonly bodyBytes: Gate;
  readonly storing = new Turns(STORING_AT_ONCE);

  constructor(config: LoadConfig) {
    const { maxRequests, maxStreams, maxUploads, maxBodiesBytes } = config;
    this.requests = new Gate(maxRequests, `${maxRequests} requests are in hand`);
    this.streams = new Gate(maxStreams, `${maxStreams} streams and waiting requests are open`);
    this.uploads = new Gate(maxUploads, `${maxUploads} bodies of data are being received`);
    this.bodyBytes = new Gate(maxBodiesBytes, "request bodies fill the memory meant for them");
  }
}

export type LoadConfig = Pick<
  Config,
  "maxRequests" | "maxStreams" | "maxUploads" | "maxBodiesBytes" | "bodyTimeoutMs"
>;

/** Bounds what is in hand at once, and how long a body may take. */
export function limitLoad(config: LoadConfig): MiddlewareHandler {
  const load = new Load(config);
  return async (c, next) => {
    c.set("load", load);
    const leave = ALWAYS.has(c.req.path) ? () => {} : load.requests.enter();
    c.set("leaveRequests", leave);
    const leaving = [leave];
    const body = c.req.raw.body;
    if (body !== null) {
      const { stream, end } = guardedBody(body, {
        timeoutMs: config.bodyTimeoutMs,
        // data goes to disk as it comes
        ...(dataFormat(c) === undefined
          ? { onBlock: (bytes) => leaving.push(load.bodyBytes.enter(bytes)) }
          : {}),
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

/** For a request that stays open: it counts as such from here on. Answers a function that ends that. */
export function staysOpen(c: Context): () => void {
  const leave = c.get("load").streams.enter();
  c.get("leaveRequests")();
  return leave;
}
