import { Buffer } from "node:buffer";
import type { Context } from "hono";
import { Problem } from "../../vocabulary/problem.ts";
import { parseJson } from "../../pipeline/sources/json_text.ts";

/** Bytes that a body of JSON may have. */
export const MAX_JSON_BYTES = 8 << 20;

/** The JSON of a body, which body_limits.ts has looked at; an empty body is an empty object. */
export async function readJson(c: Context): Promise<unknown> {
  const text = utf8(await readBytes(c.req.raw, MAX_JSON_BYTES));
  if (text.trim() === "") return {};
  try {
    return parseJson(text);
  } catch (error) {
    throw new Problem("bad-request", {
      status: 400,
      detail: `The body is not JSON: ${(error as Error).message}`,
    });
  }
}

/** Reads a body of bounded size. */
export async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array> {
  const blocks: Uint8Array[] = [];
  for await (const block of boundedBody(request, maxBytes)) blocks.push(block);
  return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks);
}

/** Bytes as text. Throws a Problem where they are none. */
export function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Problem("bad-request", { status: 400, detail: "The body is not UTF-8 text." });
  }
}

/** The blocks of a body. Throws a Problem where it has more than `maxBytes`. */
export async function* boundedBody(
  request: Request,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  const tooLarge = () =>
    new Problem("payload-too-large", {
      status: 413,
      detail:
        `The body has more than ${maxBytes} bytes. Put the data where a file or http source can read it.`,
    });
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge();
  let size = 0;
  for await (const block of request.body ?? []) {
    size += block.byteLength;
    if (size > maxBytes) throw tooLarge();
    yield block;
  }
}
