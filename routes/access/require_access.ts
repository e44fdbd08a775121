import type { Context, MiddlewareHandler } from "hono";
import { Problem } from "../../vocabulary/problem.ts";
import type { AppDeps } from "../shared/deps.ts";
import { refuseForeignHost } from "../shared/guard.ts";
import type { Access } from "./access.ts";
import { clientOfRequest, limitKey } from "./client_address.ts";
import { clientOf, type Identity, mayAct } from "./identity.ts";
import { RateLimit } from "./rate_limit.ts";
import type { WrongTokens } from "./auth_failures.ts";
import { tokenPrefix } from "./credential.ts";
import { neededFor, routeOf, TRIGGERS } from "./route_roles.ts";
import { readSessionCookie } from "./session_cookie.ts";
import { endWithAccess } from "./stream_access.ts";

/** Finds out who asks, and refuses what they may not do. */
export function requireAccess(
  deps: AppDeps,
  access: Access,
  wrongTokens: WrongTokens,
): MiddlewareHandler {
  const { config } = deps;
  const triggers = new RateLimit(config.triggersPerMinute, "requests that start work");
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
        status: 401,
        detail: "This needs an API token, in the header `Authorization: Bearer etl_…`. " +
          "People sign in at /etl/sign-in.",
      });
    }
    if (!mayAct(identity.role, needed)) {
      c.set("refused", { reason: "role", token: identity.name });
      throw new Problem("forbidden", {
        status: 403,
        detail:
          `This needs the role ${needed}, and ${identity.name} has the role ${identity.role}.`,
        extra: { needed_role: needed, role: identity.role },
      });
    }
    c.set("identity", identity);
    const key = identity.via === "open" ? address : identity.tokenId ?? identity.name;
    // while there is no token everybody is the owner of this machine
    c.set("caller", { key, known: true, shares: ["token", "session"].includes(identity.via) });
    if (route !== undefined && TRIGGERS.has(route) && identity.via !== "process") {
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
      status: 401,
      detail: "The Authorization header must be `Bearer etl_…`, with an API token.",
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
