import type { MiddlewareHandler } from "hono";
import { Problem } from "../../vocabulary/problem.ts";
import { eachLongNumber } from "../../pipeline/sources/json_text.ts";
import { routeOf } from "../access/route_roles.ts";
import { MAX_JSON_BYTES, readBytes, utf8 } from "./body.ts";
import { dataFormat, mediaType } from "./media_type.ts";

/** As deep as what the database stores may be (pipeline/canonical.ts). */
const MAX_DEPTH = 1000;

/** Bytes of a form: nobody needs to be known to send some of them. */
export const MAX_FORM_BYTES = 16 << 10;
const FORMS = ["application/x-www-form-urlencoded", "multipart/form-data"];

/** Bytes of the body of routes that take less than a conf may have. */
const ROUTE_BYTES: Record<string, number> = {
  "POST /etl/sign-in": MAX_FORM_BYTES,
  "POST /etl/sign-out": MAX_FORM_BYTES,
  "POST /etl/preferences": MAX_FORM_BYTES,
  "POST /api/etl/runs/{id}/cancel": 1 << 20,
  "POST /api/etl/runs/{id}/retry": 1 << 20,
  "POST /api/etl/downstream": 1 << 20,
  "POST /api/etl/maintenance": 1 << 20,
  "POST /api/schedules/{name}/pause": 1 << 20,
  "POST /api/schedules/{name}/resume": 1 << 20,
  "POST /api/schedules/{name}/run": 1 << 20,
  "POST /api/schedules/{name}/backfill": 1 << 20,
  "POST /api/schedules/preview": 1 << 20,
  "PUT /api/schedules/{name}": 1 << 20,
  "PUT /api/pools/{name}": 1 << 20,
  "PUT /api/datasets/{dataset}/columns": 1 << 20,
  "PUT /api/suites/{name}": 4 << 20,
  "POST /api/tokens": 1 << 20,
};

/**
 * Reads a body before any route does, within the limit of its route, and keeps away what is no text
 * or nested so deeply that whoever walks through it runs out of stack. Each look is one pass over the
 * bytes. A form is no JSON and is not looked at as such; data is stored as it comes, and each record
 * is judged by itself.
 */
export function bodyLimits(): MiddlewareHandler {
  return async (c, next) => {
    if (c.req.raw.body === null || dataFormat(c) !== undefined) return await next();
    const type = mediaType(c);
    const isForm = FORMS.includes(type);
    const maxBytes = Math.min(
      ROUTE_BYTES[routeOf(c) ?? ""] ?? MAX_JSON_BYTES,
      isForm ? MAX_FORM_BYTES : Infinity,
    );
    const bytes = await readBytes(c.req.raw, maxBytes);
    if (!isForm) {
      if (isDeeperThan(bytes, MAX_DEPTH)) {
        throw new Problem("bad-request", {
          status: 400,
          detail: `The body is nested deeper than ${MAX_DEPTH} levels, which nothing here can be.`,
        });
      }
      const text = utf8(bytes);
      if (type === "application/json") refuseEndlessNumbers(text);
    }
    // it can be read once only
    c.req.raw = new Request(c.req.raw, { body: bytes as BodyInit });
    await next();
  };
}

/** JSON.parse reads 1e400 as Infinity, which is null where it is written again. */
function refuseEndlessNumbers(text: string): void {
  eachLongNumber(text, (from, to) => {
    // an integer of any length keeps its digits
    const number = to - from <= 400 ? text.slice(from, to) : "";
    if (!/[eE]/.test(number) || Math.abs(Number(number)) !== Infinity) return;
    throw new Problem("bad-request", {
      status: 400,
      detail: `The body is not JSON that can be kept: number ${
        number.slice(0, 40)
      } is out of range.`,
    });
  });
}

/** Whether lists and objects of a JSON text in UTF-8 are nested deeper, without parsing it. */
export function isDeeperThan(text: Uint8Array, limit: number): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case 0x22: // a string, whole: brackets in it do not count
        for (i++; i < text.length && text[i] !== 0x22; i++) if (text[i] === 0x5c) i++;
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > limit) return true;
        break;
      case 0x5d:
      case 0x7d:
        depth--;
    }
  }
  return false;
}
