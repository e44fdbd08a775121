import type { Context, MiddlewareHandler } from "hono";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import type { AppDeps } from "../shared/deps.ts";
import type { Access } from "./access.ts";
import { RateLimit, type WrongTokens } from "./auth_failures.ts";
import { clientOfRequest, limitKey } from "./client_address.ts";
import { tokenPrefix } from "./credential.ts";
import { clientOf, type Identity, mayAct } from "./identity.ts";
import { neededFor, routeOf, startsWork } from "./route_rules.ts";
import { readSessionCookie } from "./session.ts";

/** Finds out who asks, and refuses what they may not do. */
export function requireAccess(
  deps: AppDeps,
  access: Access,
  wrongTokens: WrongTokens,
): MiddlewareHandler {
  const { config } = deps;
  const triggers = new RateLimit(config.triggersPerMinute, say("requests-that-start-work", {}));
  return async (c, next) => {
    const route = routeOf(c);
    const needed = neededFor(route);
    const address = limitKey(clientOfRequest(c, config.trustedProxies).address);
    c.set("caller", { key: address, known: false, shares: true });
    if (needed === "anyone") {
      refuseForeignHost(c);
      return await next();
    }
    const identity = await identify(c, deps, access).catch(async (error) => {
      throw await wrongTokens.answerTo(error, c, shownToken(c) ?? "");
    });
    if (identity?.via !== "token") refuseForeignHost(c);
    if (identity === null) {
      c.set("refused", { reason: readSessionCookie(c) === undefined ? "missing" : "session" });
      if (isPage(c)) return c.redirect(signInPath(c), 302);
      throw new Problem("unauthorized", {
        detail: say("needs-token", {}),
      });
    }
    if (!mayAct(identity.role, needed)) {
      c.set("refused", { reason: "role", token: identity.name });
      throw new Problem("forbidden", {
        detail: say("needs-role", { needed, name: identity.name, role: identity.role }),
        extra: { needed_role: needed, role: identity.role },
      });
    }
    c.set("identity", identity);
    const key = identity.via === "open" ? address : identity.tokenId ?? identity.name;
    // while there is no token everybody is the owner of this machine
    c.set("caller", { key, known: true, shares: ["token", "session"].includes(identity.via) });
    if (startsWork(route) && identity.via !== "process") {
      await triggers.count(key);
    }
    await next();
    endWithAccess(c, () => identify(c, deps, access));
  };
}

/** Who asks; null: nobody that is known. Throws a Problem where a token is no good. */
export async function identify(
  c: Context,
  { trusted = false }: Pick<AppDeps, "trusted">,
  access: Access,
): Promise<Identity | null> {
  if (trusted) return { name: clientOf(c), role: "admin", via: "process", tokenId: null };
  if (!await access.required()) {
    return { name: clientOf(c), role: "admin", via: "open", tokenId: null };
  }
  const authorization = c.req.header("authorization");
  if (authorization !== undefined) {
    const token = shownToken(c);
    const prefix = token === undefined ? undefined : tokenPrefix(token);
    c.set("refused", { reason: "token", ...(prefix === undefined ? {} : { token: prefix }) });
    if (token !== undefined) {
      const identity = await access.byToken(token);
      c.set("refused", undefined as never);
      return identity;
    }
    throw new Problem("unauthorized", {
      detail: say("authorization-form", {}),
      extra: { error: "invalid_request" },
    });
  }
  const cookie = readSessionCookie(c);
  return cookie === undefined ? null : await access.bySession(cookie);
}

/** The token of the Authorization header; undefined where it has none. */
function shownToken(c: Context): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(c.req.header("authorization") ?? "")?.[1];
}

/** Whether a person's browser asks for something to look at. */
function isPage(c: Context): boolean {
  return ["GET", "HEAD"].includes(c.req.method) &&
    (c.req.header("accept") ?? "").includes("text/html") &&
    c.req.header("authorization") === undefined;
}

function signInPath(c: Context): string {
  const { pathname, search } = new URL(c.req.url);
  const to = pathname + search;
  return to === "/etl" ? "/etl/sign-in" : `/etl/sign-in?to=${encodeURIComponent(to)}`;
}

/** An open stream looks so often whether its reader may still read. */
const LOOK_MS = 5_000;

/**
 * Ends a stream of events when its reader's token is revoked or expires, or its
 * session is over. `identify` answers who reads as of now, or throws.
 */
function endWithAccess(c: Context, identify: () => Promise<Identity | null>): void {
  const body = c.res.body;
  if (body === null || !c.res.headers.get("content-type")?.startsWith("text/event-stream")) return;
  const reader = body.getReader();
  let timer: ReturnType<typeof setInterval>;
  const guarded = new ReadableStream<Uint8Array>({
    start(controller) {
      timer = setInterval(async () => {
        if (await mayRead(identify)) return;
        clearInterval(timer);
        await reader.cancel().catch(() => {});
        try {
          controller.close();
        } catch {
          // it has ended by itself meanwhile
        }
      }, LOOK_MS);
    },
    async pull(controller) {
      const { done, value } = await reader.read();
      if (!done) return controller.enqueue(value);
      clearInterval(timer);
      try {
        controller.close();
      } catch {
        // closed above
      }
    },
    async cancel(reason) {
      clearInterval(timer);
      await reader.cancel(reason);
    },
  });
  c.res = new Response(guarded, c.res);
}

async function mayRead(identify: () => Promise<Identity | null>): Promise<boolean> {
  try {
    return await identify() !== null;
  } catch (error) {
    // a database out of reach says nothing about the reader
    return (error as { status?: number }).status !== 401;
  }
}

declare module "hono" {
  interface ContextVariableMap {
    /** The Host that was asked for, where it is none of ours. */
    foreignHost: string;
  }
}

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);
/** Probes ask by address, and learn nothing that others may not. */
const PROBES = new Set(["/livez", "/readyz"]);

/**
 * Keeps web pages of other origins out, on loopback too: the Host must be one of
 * ours (a rebound name is not), and a browser's Origin must be the Host itself.
 * A foreign Host is noted here and refused by {@linkcode refuseForeignHost},
 * unless a token vouches for the caller: no page of another origin has one.
 */
export function guard(allowedHosts: string[]): MiddlewareHandler {
  const allowed = new Set([...LOOPBACK, ...allowedHosts]);
  return async (c, next) => {
    const host = c.req.header("host") ?? "";
    const name = host.replace(/:\d+$/, "").toLowerCase();
    if (!allowed.has(name) && !PROBES.has(c.req.path)) c.set("foreignHost", host);
    const origin = c.req.header("origin");
    const isOurs = origin === undefined || origin === `http://${host}` ||
      origin === `https://${host}`;
    const site = c.req.header("sec-fetch-site");
    const changes = !["GET", "HEAD"].includes(c.req.method);
    if (!isOurs || (changes && (site === "cross-site" || site === "same-site"))) {
      c.set("refused", { reason: "origin" });
      throw new Problem("forbidden", {
        detail: say("other-origin", {}),
      });
    }
    await next();
  };
}

function refuseForeignHost(c: Context): void {
  const host = c.get("foreignHost");
  if (host === undefined) return;
  c.set("refused", { reason: "origin" });
  throw new Problem("forbidden", {
    detail: say("host-refused", { host: host.slice(0, 100) }),
  });
}
