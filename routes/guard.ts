import type { MiddlewareHandler } from "hono";
import { Problem } from "../pipeline/problem.ts";

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

/**
 * Keeps web pages of other origins out, on loopback too: the Host must be one of
 * ours (a rebound name is not), and a browser's Origin must be the Host itself.
 */
export function guard(allowedHosts: string[]): MiddlewareHandler {
  const allowed = new Set([...LOOPBACK, ...allowedHosts]);
  return async (c, next) => {
    const host = c.req.header("host") ?? "";
    const name = host.replace(/:\d+$/, "").toLowerCase();
    if (!allowed.has(name)) {
      throw new Problem("forbidden", {
        status: 403,
        detail: `Requests for host ${
          host.slice(0, 100)
        } are not answered here. Add it to ETL_ALLOWED_HOSTS if it is this server's.`,
      });
    }
    const origin = c.req.header("origin");
    if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
      throw new Problem("forbidden", {
        status: 403,
        detail: "Requests from web pages of another origin are refused.",
      });
    }
    await next();
  };
}
