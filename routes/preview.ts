import { SlotClock } from "../pipeline/schedules/cron.ts";
import { speaksSpanish } from "./shared/language.ts";
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { dirname, resolve } from "node:path";
import { adapterFor } from "../pipeline/sources/adapters.ts";
import { issueErrors, parseConf } from "../pipeline/conf_errors.ts";
import { type Conf, confJsonSchema, type Params, paramsSchema } from "../pipeline/params.ts";
import type { PreviewContext } from "../pipeline/preview.ts";
import { privacyOf } from "../pipeline/private_fields.ts";
import { isBounded } from "../pipeline/sources/adapters.ts";
import { previewInWorker } from "../pipeline/workers/aside.ts";
import { confErrors, resolveParams } from "../store/params.ts";
import { findSuite } from "../store/suites.ts";
import { ownTable } from "../store/own_tables.ts";
import { declaredTable } from "../store/typed_tables.ts";
import { parseJson } from "../pipeline/sources/json_text.ts";
import type { Plain } from "../pipeline/sources/source.ts";
import { errorsText, type FieldError, Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { notEmpty, readQuery } from "./run_request.ts";
import { bodyBytesOf, routeOf } from "./access/route_rules.ts";
import { spool } from "../pipeline/sources/local/spool.ts";
import { boundedBody, DATA_TYPES, dataFormat, mediaType, readJson } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { Gate } from "./shared/load.ts";
import { jsonOf, problemResponses } from "./shared/schemas.ts";

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
  fields: z.array(z.string())
    .describe(
      "names of the events' fields in the order of the source, then those that it does not have",
    ),
  rejected: z.array(z.object({
    position: z.number().int(),
    output: z.number().int(),
    rule: z.string(),
    message: z.string(),
    field: nullableText,
    file: nullableText.describe("its file or URL"),
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
  slot: z.string().nullable().describe("what {{slot}} stood for; null: the conf has no such text"),
  columns: columnProposals,
  table: z.array(z.object({ name: z.string(), type: z.string() })).nullable()
    .describe("columns of a typed table, as it has them or its first load would make them"),
  warnings: z.array(z.string()),
}).openapi("Preview");

/** What the first records of a source would become. */
export function previewRoutes(app: OpenAPIHono, deps: AppDeps): void {
  const gate = new Gate(AT_ONCE, say("previews-made", { n: AT_ONCE }), { status: 429 });
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/etl/preview",
    summary: "What the first records of a source would become",
    description:
      "Reads about 200 records, transforms and validates them as a run would, and shows " +
      "20 events. Makes no run and writes nothing to the database.",
    request: {
      query: z.object({
        cron: z.string().optional().openapi({
          description:
            "with a JSON conf: {{slot}}, {{slot_previous}} and {{today}} stand for the next slot of this schedule; default: now",
        }),
        time_zone: z.string().optional().openapi({ description: "of the schedule; default UTC" }),
      }),
      body: {
        required: true,
        content: {
          "application/json": { schema: confJsonSchema() as never },
          ...Object.fromEntries(
            Object.keys(DATA_TYPES).map((
              type,
            ) => [type, { schema: { type: "string", format: "binary" } as never }]),
          ),
        },
      },
    },
    responses: {
      200: jsonOf(previewSchema, "the preview"),
      ...problemResponses(400, 413, 415, 422, 429, 503),
    },
  });
  app.post("/api/etl/preview", async (c) => {
    const format = dataFormat(c);
    const asked = await paramsOf(
      format === undefined ? await confOf(c) : confOfData(c, format),
      deps,
      format === undefined ? slotOf(c) : undefined,
    );
    return await gate.run(() =>
      withSource(asked, deps, async (context) => {
        if (format !== undefined) await spoolBody(c, context.source);
        const text = await previewInWorker({ ...context, spanish: speaksSpanish(c) }, {
          signal: c.req.raw.signal,
          httpConnections: deps.config.remotes.http,
        });
        return c.body(text, 200, { "content-type": "application/json" });
      })
    );
  });
}

/** The name that a body of data has in the directory of its preview. */
const BODY_FILE = "body";

/** The conf of a body of data, which is read as a file: its beginning is enough. */
function confOfData(c: Context, format: string): unknown {
  const { conf, source } = readQuery(c, format);
  return { ...conf, source: { ...source, type: "file", path: BODY_FILE } };
}

async function spoolBody(c: Context, source: PreviewContext["source"]): Promise<void> {
  const body = notEmpty(boundedBody(c.req.raw, bodyBytesOf(routeOf(c))));
  const { absolutePath } = await spool(source.spoolDir, BODY_FILE, body);
  source.dataDir = dirname(absolutePath);
}

async function confOf(c: Context): Promise<unknown> {
  if (mediaType(c) === "application/json") return await readJson(c);
  throw new Problem("unsupported-media-type", {
    detail: say("preview-type", { types: Object.keys(DATA_TYPES).join(", ") }),
  });
}

/** Parameters of a run that is not made, and how many records it would read: null for all. */
interface AskedParams {
  params: Params;
  mostRecords: number | null;
  /** What {{slot}} stood for; null: no text has such a place. */
  slot: string | null;
}

/** What the places in a conf's texts stand for. */
type Places = Record<"{{slot}}" | "{{slot_previous}}" | "{{today}}", string>;

const second = (time: Date) => `${time.toISOString().slice(0, 19)}Z`;

/** As a run that is asked for now would have them. */
function placesNow(): Places {
  const now = second(new Date());
  return { "{{slot}}": now, "{{slot_previous}}": now, "{{today}}": now.slice(0, 10) };
}

/** As the next run of the schedule would have them that the query describes; now, where it describes none. */
function slotOf(c: Context): Places {
  const cron = c.req.query("cron");
  if (cron === undefined) return placesNow();
  const clock = new SlotClock(cron, c.req.query("time_zone") ?? "UTC");
  const now = new Date();
  const [slot = now] = clock.after(now, { limit: 1 });
  const [previous = now] = clock.before(slot, { limit: 1 });
  return {
    "{{slot}}": second(slot),
    "{{slot_previous}}": second(previous),
    "{{today}}": clock.local(slot).slice(0, 10),
  };
}

/** The parameters that a run asked for with this conf would have. Makes no run. */
export async function paramsOf(
  given: unknown,
  deps: AppDeps,
  places: Places = placesNow(),
): Promise<AskedParams> {
  const conf = parseConf(given);
  refuseUpload(conf);
  const { source } = conf;
  const records = source?.type === "inline" ? source.records : undefined;
  // records stay here: the database need not see them, and JSON.stringify knows no bigint
  const bare = records === undefined ? conf : { ...conf, source: { ...source, records: [] } };
  const asked = filledIn(bare, places);
  const [{ params: resolved, origins }, errors] = await Promise.all([
    resolveParams(deps.sql, asked),
    confErrors(deps.sql, asked),
  ]);
  if (errors.length > 0) throw invalid(errors);
  // a configuration and a variable may have such places, too
  const params = filledIn(resolved, places);
  const parsed = paramsSchema.safeParse(params, { reportInput: true });
  if (!parsed.success) {
    throw invalid(issueErrors(parsed.error.issues));
  }
  const { source: checked, batch_size } = parsed.data;
  return {
    params: records === undefined
      ? parsed.data
      : { ...parsed.data, source: { ...checked, records } as Params["source"] },
    mostRecords: isBounded(checked, origins) ? batch_size : null,
    slot: asked === bare && params === resolved ? null : places["{{slot}}"],
  };
}

/** Only a run reads what was stored of a request: without one, records are given as they are. */
function refuseUpload({ source }: Conf): void {
  if (source?.type !== "inline" || source.upload_id === undefined) return;
  throw invalid([{
    field: "source.upload_id",
    value: source.upload_id,
    message: "can be read by a run only",
    expected: "the records themselves, in source.records",
  }]);
}

/** A conf with its places filled in; itself where it has none. Records are data and stay as they are. */
function filledIn<T extends Conf | Record<string, unknown>>(conf: T, places: Places): T {
  const { records, ...described } = (conf.source ?? {}) as Record<string, unknown>;
  const bare = records === undefined ? conf : { ...conf, source: described };
  const text = JSON.stringify(bare);
  const filled = text.replaceAll(
    /\{\{(?:slot|slot_previous|today)\}\}/g,
    (name) => places[name as keyof Places],
  );
  if (filled === text) return conf;
  const { source, ...rest } = JSON.parse(filled);
  return { ...rest, source: records === undefined ? source : { ...source, records } };
}

function invalid(errors: FieldError[]): Problem {
  return new Problem("invalid-conf", {
    detail: say("conf-errors", { errors: errorsText(errors) }),
    errors,
  });
}

/** What is needed to read a source outside of a run, with a directory that is removed at the end. */
export async function withSource<T>(
  { params, mostRecords, slot }: AskedParams,
  { sql, config }: AppDeps,
  work: (context: PreviewContext) => Promise<T>,
): Promise<T> {
  const dataset = `${params.schema_name}.${params.table_name}`;
  const table = params.layout === "typed" ? await declaredTable(sql, dataset) : null;
  const suite = parseJson(await findSuite(sql, params.suite, dataset) ?? "null") as Plain | null;
  const privacy = privacyOf(params, config.hashSecret);
  const spoolDir = `${resolve(config.spoolDir)}/preview-${crypto.randomUUID()}`;
  await Deno.mkdir(spoolDir, { recursive: true });
  try {
    return await work({
      params,
      privacy,
      mostRecords,
      slot,
      transformsDir: resolve(config.transformsDir),
      sourcesDir: resolve(config.sourcesDir),
      suite,
      table,
      own: params.layout === "typed" && (table === null || table.own)
        ? await ownTable(sql, params)
        : null,
      source: {
        spoolDir,
        dataDir: resolve(config.dataDir),
        connections: config.connections,
        target: adapterFor(params.source).target?.(params.source, config.remotes),
        pageSize: params.db_page_size,
        limits: {
          maxSpoolBytes: config.maxSpoolBytes,
          maxRecordBytes: config.maxRecordBytes,
          httpHosts: [...config.httpSources, ...config.privateHosts],
          allowPrivateHosts: config.privateHosts,
        },
      },
    });
  } finally {
    await Deno.remove(spoolDir, { recursive: true });
  }
}
