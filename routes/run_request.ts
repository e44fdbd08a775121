import { type Message, say } from "../vocabulary/messages.ts";
import type { Context } from "hono";
import { dirname, join, resolve } from "node:path";
import type { z } from "zod";
import { Canonicalizer } from "../pipeline/canonical.ts";
import { confProblem, parseConf } from "../pipeline/conf_errors.ts";
import { type Conf, confSchema } from "../pipeline/params.ts";
import { headerAbsent } from "../pipeline/sources/local/csv_dialect.ts";
import { ENCODINGS } from "../pipeline/sources/local/encoding.ts";
import { spool, uploadName } from "../pipeline/sources/local/spool.ts";
import { fileBytes } from "../pipeline/sources/local/streams.ts";
import { inlineSource } from "../pipeline/sources/schema.ts";
import type { Json } from "../pipeline/sources/source.ts";
import { Connection } from "../store/connection.ts";
import { confErrors } from "../store/params.ts";
import { isLarge, type StoredUpload, storeUpload } from "../store/uploads.ts";
import { type FieldError, MAX_ERRORS, Problem } from "../vocabulary/problem.ts";
import { boundedBody, DATA_TYPES, dataFormat, readJson, requireJson } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { uploads } from "./shared/load.ts";

/** Members of the source that the query of a data request may hold. */
const SOURCE_MEMBERS = [
  "name",
  "key",
  "event_type",
  "occurred_at",
  "version",
  "records_path",
  "delimiter",
  "quote",
  "escape",
  "comment",
  "header",
  "skip_lines",
  "encoding",
  "columns",
  "null_values",
  "true_values",
  "false_values",
];

/**
 * The conf of a run request: the JSON body, or, with a body of data, the query.
 * Data is stored before the run is asked for; the conf names where.
 */
export async function readRunRequest(
  c: Context,
  deps: AppDeps,
  warnings: Message[] = [],
): Promise<Conf> {
  const format = dataFormat(c);
  if (format !== undefined) return await readDataRequest(c, deps, format);
  requireJson(
    c,
    say("run-request-types", { types: Object.keys(DATA_TYPES).join(", ") }),
  );
  refuseQuery(c);
  try {
    const onRepeated = (name: string) =>
      warnings.push(say("body-name-twice", { name: name.slice(0, 100) }));
    const conf = ofAirflow(await readJson(c, onRepeated));
    return await storeRecords(await checkedConf(conf, deps), c, deps);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Problem("invalid-conf", {
      detail: say("conf-not-storable", { what: error.message }),
    });
  }
}

/** What Airflow's REST API takes beside the conf of a DAG run. */
const AIRFLOW_FIELDS = [
  "dag_run_id",
  "logical_date",
  "execution_date",
  "data_interval_start",
  "data_interval_end",
  "note",
];

/** The conf of `{"conf": {…}}`, as scripts send it to Airflow's REST API; anything else as it is. */
function ofAirflow(body: unknown): unknown {
  if (typeof body !== "object" || body === null || !("conf" in body)) return body;
  const { conf, ...others } = body as { conf: unknown };
  const names = Object.keys(others);
  if (names.some((name) => !AIRFLOW_FIELDS.includes(name))) return body;
  if (names.length > 0) {
    throw new Problem("unknown-parameter", {
      detail: say("dag-run-members", { names: names.join(", ") }),
      errors: names.map((field) => ({ field, message: "is Airflow's, and has no meaning here" })),
    });
  }
  return conf ?? {};
}

/** Parameters of a JSON request are in its body: what the query says would be lost. */
function refuseQuery(c: Context): void {
  const names = Object.keys(c.req.query()).filter((name) => name !== "wait");
  if (names.length === 0) return;
  throw new Problem("bad-request", {
    detail: say("params-in-query", { names: names.join(", ") }),
    errors: names.map((field) => ({
      field,
      value: c.req.query(field)!.slice(0, 100),
      message: "is in the query",
      expected: "a member of the JSON body",
    })),
  });
}

/** A conf that is valid; else one problem with every error, also those that only the database sees. */
async function checkedConf(value: unknown, deps: AppDeps): Promise<Conf> {
  try {
    return parseConf(value);
  } catch (error) {
    if (!(error instanceof Problem) || error.errors.length === 0) throw error;
    const told = (field: string) =>
      error.errors.some((known) =>
        `${field}.`.startsWith(`${known.field}.`) || `${known.field}.`.startsWith(`${field}.`)
      );
    let more: FieldError[] = [];
    try {
      // what is wrong with a conf in more than one answer's errors need not be known in whole
      if (error.errors.length < MAX_ERRORS) {
        more = (await confErrors(deps.sql, withoutRecords(value))).filter(({ field }) =>
          !told(field)
        );
      }
    } catch {
      // text that jsonb cannot hold: what is known is enough to refuse the conf
    }
    throw confProblem([...error.errors, ...more]);
  }
}

/** The conf for a database that need not see its records. */
function withoutRecords(value: unknown): unknown {
  const conf = value as { source?: { records?: unknown } | null };
  return Array.isArray(conf.source?.records)
    ? { ...conf, source: { ...conf.source, records: [] } }
    : conf;
}

/**
 * Inline records are stored like a body of data: the conf stays small, and
 * integers keep every digit, which jsonb in the conf would not need to lose but
 * JSON.parse on the way would.
 */
async function storeRecords(conf: Conf, c: Context, deps: AppDeps): Promise<Conf> {
  const { source } = conf;
  if (source?.type !== "inline" || source.records === undefined) return conf;
  const { records, ...rest } = source;
  const { uploadId } = await keepUpload(lines(records as Json[]), c, deps);
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

async function readDataRequest(c: Context, deps: AppDeps, format: string): Promise<Conf> {
  const { conf, source } = readQuery(c, format);
  await checkedConf({ ...conf, source }, deps);
  const { maxBodyBytes, spoolDir } = deps.config;
  const leave = uploads(c);
  let file: string | undefined;
  try {
    // a client may take its time, and must have no connection to the database meanwhile
    const body = notEmpty(boundedBody(c.req.raw, maxBodyBytes));
    file = (await spool(resolve(spoolDir), `upload-${crypto.randomUUID()}`, body)).absolutePath;
    const stored = await keepUpload(fileBytes(file), c, deps);
    if (isLarge(stored) && deps.config.role !== "api") {
      // a run that begins here within a minute need not read it from the database
      await Deno.rename(file, join(dirname(file), uploadName(stored.uploadId)));
      file = undefined;
    }
    return parseConf({ ...conf, source: { ...source, upload_id: stored.uploadId } });
  } finally {
    leave();
    if (file !== undefined) await Deno.remove(file);
  }
}

export async function* notEmpty(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let empty = true;
  for await (const block of body) {
    empty &&= block.byteLength === 0;
    yield block;
  }
  if (!empty) return;
  throw new Problem("bad-request", { detail: say("body-empty", {}) });
}

/** A compressed body would be read as the bytes that it is. */
function refuseEncoding(c: Context): void {
  const encoding = c.req.header("content-encoding") ?? "identity";
  if (encoding === "identity") return;
  throw new Problem("unsupported-media-type", {
    detail: say("body-encoded", { encoding: encoding.slice(0, 50) }),
  });
}

/** The encoding that the media type of text names: a wrong one would be read as other text. */
function charsetOf(c: Context, format: string): { encoding?: string } {
  if (!["csv", "tsv", "ndjson"].includes(format)) return {};
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(c.req.header("content-type") ?? "")?.[1];
  if (charset === undefined || /^(?:us-)?ascii$|^utf-?8$/i.test(charset)) return {};
  let encoding: string | undefined;
  try {
    encoding = /^utf-16$/i.test(charset) ? "utf-16" : new TextDecoder(charset).encoding;
  } catch {
    // no name of an encoding
  }
  if (ENCODINGS.some((known) => known === encoding)) return { encoding: encoding! };
  throw new Problem("unsupported-media-type", {
    detail: say("charset-not-read", {
      charset: charset.slice(0, 50),
      encodings: ENCODINGS.join(", "),
    }),
  });
}

/** Parameters and members of the source from the query of a data request. */
export function readQuery(c: Context, format: string) {
  refuseEncoding(c);
  const conf: Record<string, unknown> = {};
  const source: Record<string, unknown> = {
    type: "inline",
    format,
    ...(headerAbsent(c.req.header("content-type")) ? { header: false } : {}),
    ...charsetOf(c, format),
  };
  const members = new Map(Object.entries(inlineSource.shape));
  for (const [name, texts] of Object.entries(c.req.queries())) {
    if (name === "wait") continue;
    const isMember = SOURCE_MEMBERS.includes(name);
    const known = isMember
      ? members.get(name)
      : confSchema.shape[name as keyof typeof confSchema.shape];
    const takesList = known?.safeParse(texts).success ?? false;
    if (texts.length > 1 && !takesList || name === "source") {
      throw new Problem("bad-request", {
        detail: name === "source"
          ? say("source-is-data", {})
          : say("given-several-times", { name, n: texts.length }),
        errors: [{
          field: name,
          value: texts[0]!.slice(0, 100),
          message: "cannot be told",
          expected: name === "source" ? SOURCE_MEMBERS.join(", ") : "one value",
        }],
      });
    }
    const values = texts.map((text) => queryValue(text, known));
    const value = values.length === 1 ? values[0] : values.flat();
    // a list of one
    const inList = takesList && !known!.safeParse(value).success;
    (isMember ? source : conf)[name] = inList ? [value].flat() : value;
  }
  return { conf, source };
}

/** A query value: JSON where it is a list or object, text where that is accepted, else what JSON says. */
function queryValue(text: string, schema: z.ZodType | undefined): unknown {
  const structured = /^[[{]/.test(text);
  if (!structured && (schema === undefined || schema.safeParse(text).success)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Stores what a run will read, in a transaction of its own; few requests do at once. */
async function keepUpload(
  blocks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  c: Context,
  { config }: AppDeps,
): Promise<StoredUpload> {
  return await c.get("load").storing.take(async () => {
    const connection = new Connection(config.dsn, "etl-improved upload");
    try {
      return await storeUpload(connection, blocks);
    } finally {
      await connection.close();
    }
  });
}
