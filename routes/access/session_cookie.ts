import type { Context } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import type { Config } from "../../server/config.ts";
import { clientOfRequest, isLoopback } from "./client_address.ts";

/** Browsers take a name with this beginning only from https, for this host alone. */
export const SECURE_COOKIE = "__Host-etl_session";
/** On this machine there is no TLS, and need not be. */
const PLAIN_COOKIE = "etl_session";

/** How long somebody stays signed in. */
export const SESSION_HOURS = 12;

/** The cookie of a session, as the browser sent it. */
export function readSessionCookie(c: Context): string | undefined {
  return getCookie(c, isPlainLoopback(c) ? PLAIN_COOKIE : SECURE_COOKIE) ??
    getCookie(c, SECURE_COOKIE);
}

export function setSessionCookie(c: Context, text: string): void {
  const plain = isPlainLoopback(c);
  setCookie(c, plain ? PLAIN_COOKIE : SECURE_COOKIE, text, {
    path: "/",
    httpOnly: true,
    sameSite: "Strict",
    secure: !plain,
    maxAge: SESSION_HOURS * 3600,
  });
}

export function deleteSessionCookie(c: Context): void {
  deleteCookie(c, PLAIN_COOKIE, { path: "/" });
  deleteCookie(c, SECURE_COOKIE, { path: "/", secure: true });
}

/** Whether the page was reached as http://localhost or an address like it. */
function isPlainLoopback(c: Context): boolean {
  const host = (c.req.header("host") ?? "").replace(/:\d+$/, "");
  return isLoopback(host) && c.req.header("x-forwarded-proto") === undefined;
}

/** Whether a browser may be expected to keep the cookie: over TLS, or on this machine. */
export function keepsSessions(
  c: Context,
  config: Pick<Config, "trustedProxies" | "telemetry">,
): boolean {
  return isPlainLoopback(c) || clientOfRequest(c, config.trustedProxies).https ||
    (config.telemetry.publicUrl?.startsWith("https:") ?? false);
}
