import type { Context } from "hono";
import { parseConf } from "../pipeline/conf_errors.ts";
import type { Conf } from "../pipeline/params.ts";
import { paramNames } from "../pipeline/params.ts";
import { Canonicalizer } from "../pipeline/canonical.ts";
import { Problem } from "../pipeline/problem.ts";
import { parseJson } from "../pipeline/sources/json_text.ts";
import type { Json } from "../pipeline/sources/source.ts";
import { Connection } from "../store/connection.ts";
import { storeUpload } from "../store/uploads.ts";
import type { AppDeps } from "./deps.ts";

const MAX_JSON_BYTES = 8 << 20;

/** Content types that carry data instead of a conf, with the format they mean. */
export const DATA_TYPES: Record<string, string> = {
  "text/csv": "csv",
  "text/tab-separated-values": "tsv",
  "application/x-ndjson": "ndjson",
  "application/ndjson": "ndjson",
  "application/jsonl": "ndjson",
  "application/vnd.apache.parquet": "parquet",
};

/** Members of the source that the query of a data request may hold. */
const SOURCE_MEMBERS = [
  "name",
  "key",
  "event_type",
  "occurred_at",
  "version",
  "delimiter",
  "encoding",
];

/**
 * The conf of a run request: the JSON body, or, with a body of data, the query.
 * Data is stored before the run is asked for; the conf names where.
 */
export async function readRunRequest(c: Context, deps: AppDeps): Promise<Conf> {
  const type = (c.req.header("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
  const format = DATA_TYPES[type];
  if (format !== undefined) return await readDataRequest(c, deps, format);
  if (type !== "application/json") {
    throw new Problem("unsupported-media-type", {
      status: 415,
      detail: `A run request is application/json, or data as one of ${
        Object.keys(DATA_TYPES).join(", ")
      }; not ${type || "a body without a content type"}.`,
    });
  }
  return await storeRecords(parseConf(parseBody(await readText(c.req.raw, MAX_JSON_BYTES))), deps);
}

/**
 * Inline records are stored like a body of data: the conf stays small, and
 * integers keep every digit, which jsonb in the conf would not need to lose but
 * JSON.parse on the way would.
 */
async function storeRecords(conf: Conf, deps: AppDeps): Promise<Conf> {
  const { source } = conf;
  if (source?.type !== "inline" || source.records === undefined) return conf;
  const { records, ...rest } = source;
  const { uploadId } = await withConnection(
    deps,
    (connection) => storeUpload(connection, lines(records as Json[])),
  );
  return { ...conf, source: { ...rest, format: "ndjson", upload_id: uploadId } };
}

function* lines(records: Json[]): Generator<Uint8Array> {
  const canonical = new Canonicalizer();
  const encoder = new TextEncoder();
  for (let from = 0; from < records.length; from += 1000) {
    const page = records.slice(from, from + 1000);
    yield encoder.encode(page.map((record) => canonical.text(record) + "\n").join(""));
  }
}

/** Opens a connection for a transaction that a request needs. */
export async function withConnection<T>(
  { config }: AppDeps,
  use: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = new Connection(config.dsn, "etl-improved upload");
  try {
    return await use(connection);
  } finally {
    await connection.close();
  }
}

/** The JSON of a body; an empty body is an empty object. */
export function parseBody(text: string): unknown {
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

/** Reads a body of bounded size as text. */
export async function readText(request: Request, maxBytes: number): Promise<string> {
  const blocks: Uint8Array[] = [];
  for await (const block of limited(request, maxBytes)) blocks.push(block);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(
      await new Blob(blocks as BlobPart[]).arrayBuffer(),
    );
  } catch {
    throw new Problem("bad-request", { status: 400, detail: "The body is not UTF-8 text." });
  }
}

async function* limited(request: Request, maxBytes: number): AsyncGenerator<Uint8Array> {
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

async function readDataRequest(c: Context, deps: AppDeps, format: string): Promise<Conf> {
  const query = c.req.query();
  const conf: Record<string, unknown> = {};
  const source: Record<string, unknown> = { type: "inline", format };
  for (const [name, text] of Object.entries(query)) {
    if (name === "wait") continue;
    if (SOURCE_MEMBERS.includes(name)) source[name] = looseValue(text);
    else if (name === "batch_size" || paramNames.includes(name as never)) {
      conf[name] = looseValue(text);
    } else conf[name] = text;
  }
  parseConf({ ...conf, source });
  const { maxBodyBytes } = deps.config;
  const uploadId = await withConnection(deps, async (connection) => {
    const stored = await storeUpload(connection, limited(c.req.raw, maxBodyBytes));
    if (stored.bytes === 0) {
      throw new Problem("bad-request", {
        status: 400,
        detail: "The body is empty: there is nothing to load.",
      });
    }
    return stored.uploadId;
  });
  return parseConf({ ...conf, source: { ...source, upload_id: uploadId } });
}

/** A query value: JSON where it is a number, boolean, list or object, else text. */
function looseValue(text: string): unknown {
  if (!/^(-?\d|true$|false$|null$|\[|\{)/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
