import type { Context, MiddlewareHandler } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { Buffer } from "node:buffer";
import type { Config } from "../../server/config.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { mediaType } from "../shared/body.ts";
import { clientOfRequest, isLoopback } from "./client_address.ts";
import { sameHash, sha256 } from "./credential.ts";
import { identityOf } from "./identity.ts";

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

/** The field of a form that holds its token. */
export const FORM_TOKEN = "form_token";

/** What the forms of a session's pages send: who has not got the cookie cannot know it. */
export function formToken(session: string): string {
  return Buffer.from(sha256(`form ${session}`)).toString("base64url");
}

/** Has {@linkcode checkPage} look at whatever a session vouches for. */
export function requireOurPage(): MiddlewareHandler {
  return async (c, next) => {
    const session = identityOf(c)?.session;
    if (session !== undefined) await checkPage(c, session.text);
    await next();
  };
}

/** What any page may send to any server; only the first is taken, with a token. */
const FORM = "application/x-www-form-urlencoded";
const UNASKED = [FORM, "multipart/form-data", "text/plain", ""];

/**
 * A request that a cookie vouches for and that may change something must come
 * from a page of ours: a form has its token; a script's request has our Origin,
 * which guard() has compared with the Host, and a type that no page of another
 * origin may send unasked. Throws a Problem where it has neither.
 */
export async function checkPage(c: Context, session: string): Promise<void> {
  if (["GET", "HEAD"].includes(c.req.method)) return;
  const type = mediaType(c);
  if (!UNASKED.includes(type) && c.req.header("origin") !== undefined) return;
  if (type === FORM) {
    // the handler reads the same form again; Hono keeps it
    const given = (await readForm(c)).get(FORM_TOKEN);
    if (typeof given === "string" && sameHash(sha256(given), sha256(formToken(session)))) return;
  }
  throw new Problem("forbidden", {
    detail: say("form-not-ours", {}),
  });
}

/** The fields of a form. Throws a Problem where the body is none. */
export async function readForm(c: Context): Promise<FormData> {
  const type = mediaType(c);
  if (!["application/x-www-form-urlencoded", "multipart/form-data"].includes(type)) {
    throw new Problem("unsupported-media-type", {
      detail: say("form-expected", {}),
    });
  }
  try {
    return await c.req.formData();
  } catch (error) {
    // too large, found out while it was read
    if (error instanceof Problem) throw error;
    throw new Problem("bad-request", { detail: say("form-unreadable", {}) });
  }
}

const HERE = /^\/(?:etl|api)(?:[/?][\x21-\x5b\x5d-\x7e]*)?$/;

/** A path of this server to go back to, never another server's address; else the overview. */
export function returnPath(to: unknown): string {
  return typeof to === "string" && HERE.test(to) && !to.split("?", 1)[0]!.includes("/..")
    ? to
    : "/etl";
}
