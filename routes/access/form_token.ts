import { Buffer } from "node:buffer";
import type { Context, MiddlewareHandler } from "hono";
import { Problem } from "../../vocabulary/problem.ts";
import { mediaType } from "../shared/media_type.ts";
import { identityOf } from "./identity.ts";
import { readForm } from "./read_form.ts";
import { sameHash, sha256 } from "./credential.ts";

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
 * which guard.ts has compared with the Host, and a type that no page of another
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
    status: 403,
    detail: "This does not come from a page of this server, or from an old one. " +
      "Load the page again. Programs send an API token instead of a cookie.",
  });
}
