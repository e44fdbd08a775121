import { repeatedNameOf } from "../../pipeline/sources/repeated_names.ts";
import type { Context, MiddlewareHandler } from "hono";
import { Buffer } from "node:buffer";
import { MAX_DEPTH, MAX_NAMES } from "../../pipeline/canonical.ts";
import { MAX_NUMBER_DIGITS } from "../../pipeline/numbers.ts";
import { eachLongNumber, parseJson } from "../../pipeline/sources/json_text.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { type Message, say } from "../../vocabulary/messages.ts";
import { bodyBytesOf, MAX_FORM_BYTES, routeOf } from "../access/route_rules.ts";

/** Values that a body of JSON may have, lists and objects included: parsing more would keep the main thread. */
const MAX_BODY_VALUES = 500_000;

/** Of these, numbers that JSON.parse alone would change, each of which costs as much as fifty others. */
const MAX_LONG_NUMBERS = 50_000;

/**
 * Bytes of a body that comes in chunks without its length: for each chunk, Deno's HTTP server copies all that waits to
 * be read, in the main thread, so 60 MB kept all others waiting for seconds (docs/operations.md).
 */
const MAX_CHUNKED_BYTES = 16 << 20;

/**
 * The JSON of a body, which body_limits.ts has looked at; an empty body is an empty object. `onRepeated` is told a name that
 * an object has twice, of which the last value counts.
 */
export async function readJson(
  c: Context,
  onRepeated?: (name: string) => void,
): Promise<unknown> {
  const text = utf8(await readBytes(c.req.raw, Infinity));
  if (text.trim() === "") return {};
  try {
    const value = parseJson(text);
    const twice = onRepeated === undefined ? undefined : repeatedNameOf(text, value);
    if (twice !== undefined) onRepeated!(twice);
    return value;
  } catch (error) {
    throw new Problem("bad-request", {
      detail: say("body-no-json", { error: (error as Error).message }),
    });
  }
}

/** Reads a body of bounded size. */
async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array> {
  const blocks: Uint8Array[] = [];
  for await (const block of boundedBody(request, maxBytes)) blocks.push(block);
  return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks);
}

/** Bytes as text. Throws a Problem where they are none. */
function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Problem("bad-request", { detail: say("body-not-utf8", {}) });
  }
}

/** The blocks of a body. Throws a Problem where it has more than `most` bytes, or comes in chunks and is larger than those may be. */
export async function* boundedBody(
  request: Request,
  most: number,
): AsyncGenerator<Uint8Array> {
  const chunked = request.headers.has("transfer-encoding") && most > MAX_CHUNKED_BYTES;
  const maxBytes = chunked ? MAX_CHUNKED_BYTES : most;
  const tooLarge = () =>
    new Problem("payload-too-large", {
      detail: chunked
        ? say("chunked-too-large", { n: maxBytes })
        : say("body-too-large", { n: maxBytes }),
    });
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge();
  let size = 0;
  for await (const block of request.body ?? []) {
    size += block.byteLength;
    if (size > maxBytes) throw tooLarge();
    yield block;
  }
}

/** Media types that carry data instead of a conf, with the format they mean. */
export const DATA_TYPES: Record<string, string> = {
  "text/csv": "csv",
  "text/tab-separated-values": "tsv",
  "application/x-ndjson": "ndjson",
  "application/ndjson": "ndjson",
  "application/jsonl": "ndjson",
  "application/vnd.apache.parquet": "parquet",
  "application/vnd.apache.arrow.file": "arrow",
  "application/vnd.apache.arrow.stream": "arrow",
};

/** The media type of a request's body, without parameters, in lower case; empty where it has none. */
export function mediaType(c: Context): string {
  return (c.req.header("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
}

/** The paths that take data. */
const DATA_PATHS = ["/api/etl/run", "/api/etl/preview"];

/** The format of the data that a request carries; undefined where its body is none. */
export function dataFormat(c: Context): string | undefined {
  if (!DATA_PATHS.includes(c.req.path)) return undefined;
  return DATA_TYPES[mediaType(c)];
}

/** Refuses a body that is not JSON. `wanted` says what is: "The conf is application/json". */
export function requireJson(c: Context, wanted: Message): void {
  const type = mediaType(c);
  if (type === "application/json") return;
  throw new Problem("unsupported-media-type", {
    detail: say("type-not-taken", { wanted, type: type || say("no-content-type", {}) }),
  });
}

const FORMS = ["application/x-www-form-urlencoded", "multipart/form-data"];

/**
 * Reads a body before any route does, within the limit of its route, and keeps away what is no text,
 * nested so deeply that whoever walks through it runs out of stack, an object of more names than can
 * be stored, or so many values that parsing them would keep all others waiting. Each look is one pass over the bytes. A form is no JSON and is not looked at as such; data is stored as it comes, and each record
 * is judged by itself.
 */
export function bodyLimits(): MiddlewareHandler {
  return async (c, next) => {
    const type = mediaType(c);
    if (c.req.raw.body === null) {
      emptyAsNone(c, type);
      return await next();
    }
    if (dataFormat(c) !== undefined) return await next();
    const isForm = FORMS.includes(type);
    const maxBytes = Math.min(
      bodyBytesOf(routeOf(c)),
      isForm ? MAX_FORM_BYTES : Infinity,
    );
    const bytes = await readBytes(c.req.raw, maxBytes);
    if (!isForm) {
      const excess = excessOf(bytes);
      if (excess !== null) {
        throw new Problem("bad-request", {
          detail: say("body-excess", { what: excess }),
        });
      }
      const text = utf8(bytes);
      if (type === "application/json") refuseEndlessNumbers(text);
    }
    // it can be read once only
    c.req.raw = new Request(c.req.raw, { body: bytes as BodyInit });
    if (bytes.length === 0) emptyAsNone(c, type);
    await next();
  };
}

/** Clients say application/json of every request: JSON of no bytes is an object without members. */
function emptyAsNone(c: Context, type: string): void {
  if (type !== "application/json" || ["GET", "HEAD"].includes(c.req.method)) return;
  c.req.raw = new Request(c.req.raw, { body: "{}" });
}

/** JSON.parse reads 1e400 as Infinity, which is null where it is written again. */
function refuseEndlessNumbers(text: string): void {
  eachLongNumber(text, (from, to) => {
    // an integer of any length keeps its digits
    const number = to - from <= 400 ? text.slice(from, to) : "";
    if (!/[eE]/.test(number) || Math.abs(Number(number)) !== Infinity) return;
    throw new Problem("bad-request", {
      detail: say("body-number", { number: number.slice(0, 40) }),
    });
  });
}

/** What a JSON text in UTF-8 has too much of, without parsing it; null where it can be parsed. */
export function excessOf(text: Uint8Array): Message | null {
  let depth = 0;
  let values = 1;
  let longNumbers = 0;
  const names = new Uint32Array(MAX_DEPTH + 1);
  for (let i = 0; i < text.length; i++) {
    const byte = text[i]!;
    switch (byte) {
      case 0x22: // a string, whole: brackets in it do not count
        for (i++; i < text.length && text[i] !== 0x22; i++) if (text[i] === 0x5c) i++;
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > MAX_DEPTH) return say("is-too-deep", { n: MAX_DEPTH });
        if (++values > MAX_BODY_VALUES) return MANY_VALUES;
        names[depth] = 0;
        break;
      case 0x5d:
      case 0x7d:
        depth--;
        break;
      case 0x2c: // ,
        if (++values > MAX_BODY_VALUES) return MANY_VALUES;
        break;
      case 0x3a: // :
        if (++names[depth]! > MAX_NAMES) return say("has-too-many-names", { n: MAX_NAMES });
        break;
      default: {
        if (byte !== 0x2d && (byte < 0x30 || byte > 0x39)) break;
        const from = i;
        let exponentAt = Infinity;
        for (i++; i < text.length; i++) {
          const part = text[i]!;
          if (part === 0x65 || part === 0x45) exponentAt = i;
          else if ((part < 0x30 || part > 0x39) && ![0x2e, 0x2b, 0x2d].includes(part)) break;
        }
        if (i - from > MAX_NUMBER_DIGITS) {
          return say("has-too-many-digits", { n: MAX_NUMBER_DIGITS });
        }
        if ((i - from >= 16 || i - exponentAt > 3) && ++longNumbers > MAX_LONG_NUMBERS) {
          return say("has-too-many-long-numbers", { n: MAX_LONG_NUMBERS });
        }
        i--;
      }
    }
  }
  return null;
}

const MANY_VALUES = say("has-too-many-values", { n: MAX_BODY_VALUES });
