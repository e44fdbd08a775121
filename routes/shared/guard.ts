import type { Context, MiddlewareHandler } from "hono";
import { Problem } from "../../vocabulary/problem.ts";

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
        status: 403,
        detail: "Requests from web pages of another origin are refused.",
      });
    }
    await next();
  };
}

export function refuseForeignHost(c: Context): void {
  const host = c.get("foreignHost");
  if (host === undefined) return;
  c.set("refused", { reason: "origin" });
  throw new Problem("forbidden", {
    status: 403,
    detail: `Requests for host ${
      host.slice(0, 100)
    } are not answered here. Add it to ETL_ALLOWED_HOSTS if it is this server's.`,
  });
}
