import type { MiddlewareHandler } from "hono";
import { Problem } from "../../pipeline/problem.ts";
import {
  hasDelicateNumbers,
  NumberRangeError,
  parseJsonExactly,
} from "../../pipeline/sources/json_text.ts";
import { MAX_JSON_BYTES, readText } from "./body.ts";
import { dataFormat, mediaType } from "./media_type.ts";

/** As deep as what the database stores may be (pipeline/canonical.ts). */
const MAX_DEPTH = 1000;

/**
 * Keeps bodies away from the routes that are larger than any JSON may be, no
 * text, or nested so deeply that whoever walks through them runs out of stack.
 * Bodies of data are left alone: they are stored as they come, and each record
 * is judged by itself.
 */
export function bodyLimits(): MiddlewareHandler {
  return async (c, next) => {
    const readElsewhere = dataFormat(c) !== undefined || mediaType(c) === "multipart/form-data";
    if (c.req.raw.body === null || readElsewhere) return await next();
    const text = await readText(c.req.raw, MAX_JSON_BYTES);
    if (isDeeperThan(text, MAX_DEPTH)) {
      throw new Problem("bad-request", {
        status: 400,
        detail: `The body is nested deeper than ${MAX_DEPTH} levels, which nothing here can be.`,
      });
    }
    refuseEndlessNumbers(text);
    // it can be read once only
    c.req.raw = new Request(c.req.raw, { body: text });
    await next();
  };
}

/** JSON.parse reads 1e400 as Infinity, which is null where it is written again. */
function refuseEndlessNumbers(text: string): void {
  if (!hasDelicateNumbers(text)) return;
  try {
    parseJsonExactly(text);
  } catch (error) {
    // that it is no JSON at all is told by whoever reads it
    if (!(error instanceof NumberRangeError)) return;
    throw new Problem("bad-request", {
      status: 400,
      detail: `The body is not JSON that can be kept: ${error.message}.`,
    });
  }
}

/** Whether lists and objects of a JSON text are nested deeper, without parsing it. */
function isDeeperThan(text: string, limit: number): boolean {
  let depth = 0;
  // strings whole, so that brackets in them do not count
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{\]}]/gs)) {
    if (token === "[" || token === "{") {
      if (++depth > limit) return true;
    } else if (token === "]" || token === "}") depth--;
  }
  return false;
}
