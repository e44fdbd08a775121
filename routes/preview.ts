import { resolve } from "node:path";
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { Canonicalizer } from "../pipeline/canonical.ts";
import { fieldErrors, parseConf } from "../pipeline/conf_errors.ts";
import { confJsonSchema, type Params, paramsSchema } from "../pipeline/params.ts";
import type { PreviewContext } from "../pipeline/preview.ts";
import { type FieldError, Problem } from "../pipeline/problem.ts";
import type { Json } from "../pipeline/sources/source.ts";
import { previewInWorker } from "../pipeline/workers/preview.ts";
import { resolveParams } from "../store/params.ts";
import type { AppDeps } from "./deps.ts";
import { parseBody, readText } from "./run_request.ts";
import { problemResponses } from "./schemas.ts";

const MAX_JSON_BYTES = 8 << 20;
/** Each has a Web Worker of its own, so there are few at once. */
const AT_ONCE = 4;

const nullableText = z.string().nullable();

const previewSchema = z.object({
  sampled: z.number().int().describe("records that were read; the source may have more"),
  events: z.array(z.object({
    position: z.number().int().describe("number of the record, from 0"),
    event_id: z.string(),
    event_type: z.string(),
    occurred_at: nullableText,
    source: z.string(),
    version: nullableText,
    payload: z.any(),
    fingerprint: z.string(),
    event_date: nullableText,
    event_hour: z.number().int().nullable(),
  })).describe("up to 20 rows, as a run would store them"),
  rejected: z.array(z.object({
    position: z.number().int(),
    output: z.number().int(),
    rule: z.string(),
    message: z.string(),
    field: nullableText,
    raw: z.string(),
  })).describe("up to 20 records that would go to the quarantine"),
  counts: z.object({
    events: z.number().int(),
    rejected: z.number().int(),
    filtered: z.number().int(),
    extra: z.number().int(),
  }).describe("over all records that were read"),
  rules: z.record(z.string(), z.number().int()).describe("rejected records by rule"),
  key: z.object({
    fields: z.array(z.string()).nullable().describe("null: the record's hash identifies it"),
    distinct: z.number().int(),
    unique: z.boolean().describe("within the sample"),
    repeated: z.array(z.object({ event_id: z.string(), positions: z.array(z.number().int()) })),
  }),
  warnings: z.array(z.string()),
}).openapi("Preview");

/** What the first records of a source would become. */
export function previewRoutes(app: OpenAPIHono, deps: AppDeps): void {
  let going = 0;
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/etl/preview",
    summary: "What the first records of a source would become",
    description:
      "Reads about 200 records, transforms and validates them as a run would, and shows " +
      "20 events. Makes no run and writes nothing to the database.",
    request: { body: { content: { "application/json": { schema: confJsonSchema() as never } } } },
    responses: {
      200: {
        description: "the preview",
        content: { "application/json": { schema: previewSchema } },
      },
      ...problemResponses(400, 413, 415, 422, 429, 503),
    },
  });
  app.post("/api/etl/preview", async (c) => {
    const params = await previewParams(c, deps);
    if (going >= AT_ONCE) throw tooMany();
    going++;
    try {
      return await makePreview(c, deps, params);
    } finally {
      going--;
    }
  });
}

async function previewParams(c: Context, deps: AppDeps): Promise<Params> {
  const type = (c.req.header("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
  if (type !== "application/json") {
    throw new Problem("unsupported-media-type", {
      status: 415,
      detail: "A preview is asked for with application/json: the conf of a run, with its source. " +
        "Small data can be in source.records.",
    });
  }
  const conf = parseConf(parseBody(await readText(c.req.raw, MAX_JSON_BYTES)));
  const { source } = conf;
  const records = source?.type === "inline" ? source.records : undefined;
  // records stay here: the database need not see them, and JSON.stringify knows no bigint
  const { params, errors } = await resolveParams(
    deps.sql,
    withToday(records === undefined ? conf : { ...conf, source: { ...source, records: [] } }),
  );
  if (errors.length > 0) throw invalid(errors);
  const parsed = paramsSchema.safeParse(params, { reportInput: true });
  if (!parsed.success) {
    throw invalid(parsed.error.issues.flatMap((issue) => fieldErrors(issue, [])));
  }
  return records === undefined
    ? parsed.data
    : { ...parsed.data, source: { ...parsed.data.source, records } as Params["source"] };
}

/** Templates as a run that is asked for now would have them. */
function withToday(conf: unknown): unknown {
  const text = JSON.stringify(conf);
  if (!text.includes("{{")) return conf;
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  return JSON.parse(
    text.replaceAll("{{slot}}", now)
      .replaceAll("{{slot_previous}}", now)
      .replaceAll("{{today}}", now.slice(0, 10)),
  );
}

function invalid(errors: FieldError[]): Problem {
  const some = errors.length === 1 ? "an error" : `${errors.length} errors`;
  return new Problem("invalid-conf", {
    detail: `The conf has ${some}: ${
      errors.map(({ field, message }) => `${field} ${message}`).join("; ")
    }`,
    errors,
  });
}

async function makePreview(c: Context, deps: AppDeps, params: Params): Promise<Response> {
  const { config } = deps;
  const spoolDir = `${resolve(config.spoolDir)}/preview-${crypto.randomUUID()}`;
  const context: PreviewContext = {
    params,
    transformsDir: resolve(config.transformsDir),
    source: {
      spoolDir,
      dataDir: resolve(config.dataDir),
      connections: config.connections,
      pageSize: params.db_page_size,
      limits: {
        maxSpoolBytes: config.maxSpoolBytes,
        maxRecordBytes: config.maxRecordBytes,
        allowPrivateHosts: config.privateHosts,
      },
    },
  };
  await Deno.mkdir(spoolDir, { recursive: true });
  try {
    const preview = await previewInWorker(context, { signal: c.req.raw.signal });
    // JSON.stringify knows no bigint, and payloads keep every digit
    const text = new Canonicalizer().text(preview as unknown as Json);
    return c.body(text, 200, { "content-type": "application/json" });
  } finally {
    await Deno.remove(spoolDir, { recursive: true });
  }
}

function tooMany(): Problem {
  return new Problem("too-many-requests", {
    status: 429,
    detail: `${AT_ONCE} previews are being made already. Try again in a few seconds.`,
    transient: true,
  });
}
