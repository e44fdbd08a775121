import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { confJsonSchema } from "../pipeline/params.ts";
import { Problem } from "../vocabulary/problem.ts";
import { previewInWorker } from "../pipeline/workers/preview.ts";
import { readJson } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { Gate } from "./shared/gate.ts";
import { mediaType } from "./shared/media_type.ts";
import { problemResponses } from "./shared/schemas.ts";
import { paramsOf, withSource } from "./shared/source_context.ts";

/** Each has a Web Worker of its own, so there are few at once. */
const AT_ONCE = 4;

const nullableText = z.string().nullable();

/** What could be declared in source.columns. */
export const columnProposals = z.array(z.object({
  name: z.string(),
  declare: z.any().describe("as it goes into source.columns"),
  fits: z.number().describe("part of the values that fit, 0 to 1"),
  misfits: z.array(z.string()).describe("values that do not fit, a few"),
  why: z.string(),
})).describe("columns whose declaration would change what their values become");

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
    file: nullableText.describe("file or URL that it stands in"),
    line: z.number().int().nullable().describe("line in which it begins, from 1"),
    raw: z.string(),
    record: z.string().optional().describe("the record as JSON, where raw is not that"),
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
  columns: columnProposals,
  warnings: z.array(z.string()),
}).openapi("Preview");

/** What the first records of a source would become. */
export function previewRoutes(app: OpenAPIHono, deps: AppDeps): void {
  const gate = new Gate(AT_ONCE, `${AT_ONCE} previews are being made`, { status: 429 });
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/etl/preview",
    summary: "What the first records of a source would become",
    description:
      "Reads about 200 records, transforms and validates them as a run would, and shows " +
      "20 events. Makes no run and writes nothing to the database.",
    request: {
      body: {
        required: true,
        content: { "application/json": { schema: confJsonSchema() as never } },
      },
    },
    responses: {
      200: {
        description: "the preview",
        content: { "application/json": { schema: previewSchema } },
      },
      ...problemResponses(400, 413, 415, 422, 429, 503),
    },
  });
  app.post("/api/etl/preview", async (c) => {
    const params = await paramsOf(await confOf(c), deps);
    return await gate.run(() =>
      withSource(params, deps, async (context) => {
        const text = await previewInWorker(context, {
          signal: c.req.raw.signal,
          httpConnections: deps.config.httpConnections,
        });
        return c.body(text, 200, { "content-type": "application/json" });
      })
    );
  });
}

async function confOf(c: Context): Promise<unknown> {
  if (mediaType(c) === "application/json") return await readJson(c);
  throw new Problem("unsupported-media-type", {
    status: 415,
    detail: "A preview is asked for with application/json: the conf of a run, with its source. " +
      "Small data can be in source.records.",
  });
}
