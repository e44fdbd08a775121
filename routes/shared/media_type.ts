import type { Context } from "hono";
import { Problem } from "../../vocabulary/problem.ts";

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

/** The one path that takes data. */
const DATA_PATH = "/api/etl/run";

/** The format of the data that a request carries; undefined where its body is none. */
export function dataFormat(c: Context): string | undefined {
  if (c.req.path !== DATA_PATH) return undefined;
  return DATA_TYPES[mediaType(c)];
}

/** Refuses a body that is not JSON. `wanted` says what is: "The conf is application/json". */
export function requireJson(c: Context, wanted: string): void {
  const type = mediaType(c);
  if (type === "application/json") return;
  throw new Problem("unsupported-media-type", {
    status: 415,
    detail: `${wanted}; not ${type || "a body without a content type"}.`,
  });
}
