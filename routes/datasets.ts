import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { join, resolve } from "node:path";
import { datasetName } from "../pipeline/consumers/consumer.ts";
import { ANALYSES, downstreamExample } from "../pipeline/consumers/downstream_example.ts";
import { type Tried, trySqlConsumer } from "../pipeline/consumers/sql_consumer.ts";
import { compareRun, compareTables } from "../store/compare.ts";
import { listConsumers, listDatasetEvents, listDatasets } from "../store/datasets.ts";
import { deliveryState, redeliver, requestDelivery } from "../store/deliveries.ts";
import { latestReport } from "../store/reports.ts";
import { delay } from "../store/retry.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { actorOf } from "./access/identity.ts";
import { readJson, requireJson } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { whileWaiting } from "./shared/load.ts";
import { decodeCursor, pageOfItems } from "./shared/page_cursor.ts";
import { jsonOf, pageOf, problemResponses } from "./shared/schemas.ts";

const time = z.string().openapi({ format: "date-time" });

const eventSchema = z.object({
  event_no: z.number().int(),
  dataset: z.string().openapi({ example: "public.etl_improved_events" }),
  run_id: z.uuid().nullable(),
  emitted_by: z.string(),
  counts: z.record(z.string(), z.number()),
  schema: z.array(z.object({ name: z.string(), type: z.string() })).nullable(),
  schema_changed: z.boolean(),
  created_at: time,
}).openapi("DatasetEvent");

const datasetSchema = z.object({
  dataset: z.string(),
  aliases: z.array(z.string()),
  events: z.number().int(),
  last_event: eventSchema.nullable(),
  consumers: z.array(z.string()),
  stale_after_seconds: z.number().nullable(),
  view: z.string().nullable().openapi({ example: "public.etl_improved_events_typed" }),
}).openapi("Dataset");

const consumerSchema = z.object({
  consumer: z.string(),
  datasets: z.array(z.string()),
  emits: z.array(z.string()),
  mode: z.enum(["each", "batch"]),
  skip_unchanged: z.boolean(),
  sha256: z.string().nullable().openapi({ description: "of its file, where it is SQL" }),
  active: z.boolean(),
  pending: z.number().int(),
  failed: z.number().int(),
  last_done_at: time.nullable(),
  last_error: z.string().nullable(),
}).openapi("Consumer");

const rowCount = z.number().int();
const triedSchema = z.object({
  event_no: z.number().int().nullable(),
  sha256: z.string(),
  inserted: rowCount.optional(),
  updated: rowCount.optional(),
  deleted: rowCount.optional(),
  elapsed_ms: z.number(),
}).openapi("TriedConsumer");
const comparisonSchema = z.object({
  dataset: z.string(),
  other: z.string(),
  rows: z.object({ dataset: rowCount, other: rowCount }),
  equal: rowCount,
  different: rowCount,
  only_in_dataset: rowCount,
  only_in_other: rowCount,
  rejected: rowCount.optional(),
  fields: z.record(z.string(), rowCount)
    .describe("in how many of the different rows each column, or field of the payload, differs"),
  differences: z.array(z.object({
    event_id: z.string(),
    what: z.enum(["only_in_dataset", "only_in_other", "different"]),
    dataset: z.record(z.string(), z.any()).nullable(),
    other: z.record(z.string(), z.any()).nullable(),
  })).describe("the first 10 of each kind: the row, or what of it differs"),
}).openapi("Comparison");

/** Datasets, their events, and who reads them. */
export function datasetRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/datasets",
      summary: "Datasets with their last event and their consumers",
      responses: { 200: jsonOf(z.object({ items: z.array(datasetSchema) }), "the datasets") },
    }),
    async (c) => c.json({ items: await listDatasets(deps.sql) }, 200),
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/datasets/events",
      summary: "Dataset events, newest first",
      request: {
        query: z.strictObject({
          limit: z.coerce.number().int().min(1).max(500).default(50),
          cursor: z.string().max(500).optional(),
          dataset: z.string().max(200).optional(),
        }),
      },
      responses: { 200: jsonOf(pageOf(eventSchema), "a page of events"), ...problemResponses(400) },
    }),
    async (c) => {
      const { limit, cursor, dataset } = c.req.valid("query");
      const position = cursor === undefined
        ? undefined
        : decodeCursor(cursor, ["bigint"])[0] as number;
      const items = await listDatasetEvents(deps.sql, {
        limit: limit + 1,
        before: position,
        dataset: dataset === undefined ? undefined : datasetName(dataset),
      });
      return c.json(pageOfItems(items, { limit, position: (last) => [last.event_no] }), 200);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/api/datasets/{dataset}/compare",
      summary: "Compare a dataset with another table, or with what a dry run has read",
      description:
        "Keys and values of a dataset of either layout; the original's tables too. A dry run needs compare: true. Nothing is written to either.",
      request: {
        params: z.object({ dataset: z.string().max(200) }),
        body: {
          required: true,
          content: {
            "application/json": {
              schema: z.union([
                z.strictObject({ table: z.string().max(200) }),
                z.strictObject({ run_id: z.uuid() }),
              ]),
            },
          },
        },
      },
      responses: {
        200: jsonOf(comparisonSchema, "how they differ"),
        ...problemResponses(400, 404, 415, 422),
      },
    }),
    async (c) => {
      const dataset = datasetName(c.req.valid("param").dataset);
      const body = c.req.valid("json");
      if (!(await listDatasets(deps.sql)).some((each) => each.dataset === dataset)) {
        throw new Problem("not-found", {
          detail: say("no-dataset", { dataset }),
        });
      }
      const found = "run_id" in body
        ? await compareRun(deps.sql, { dataset, runId: body.run_id })
        : await compareTables(deps.sql, { dataset, table: body.table });
      return c.json(found, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/consumers",
      summary: "Consumers of datasets and what waits for them",
      responses: { 200: jsonOf(z.object({ items: z.array(consumerSchema) }), "the consumers") },
    }),
    async (c) => c.json({ items: await listConsumers(deps.sql) }, 200),
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/api/consumers/{consumer}/redeliver",
      summary: "Deliver again what a consumer has given up",
      request: {
        params: z.object({ consumer: z.string() }),
        query: z.object({ delivery_id: z.coerce.number().int().positive().optional() }),
      },
      responses: {
        200: jsonOf(z.object({ redelivered: z.number().int() }), "how many wait again"),
        ...problemResponses(404),
      },
    }),
    async (c) => {
      const { consumer } = c.req.valid("param");
      const known = (await listConsumers(deps.sql)).map((each) => each.consumer);
      if (!known.includes(consumer)) {
        throw new Problem("not-found", {
          detail: known.length === 0
            ? say("no-consumer-yet", {})
            : say("no-consumer", { names: known.join(", ") }),
        });
      }
      const { delivery_id: deliveryId = null } = c.req.valid("query");
      const redelivered = await redeliver(deps.sql, consumer, { deliveryId, actor: actorOf(c) });
      return c.json({ redelivered }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/api/consumers/{consumer}/try",
      summary: "Execute a consumer in SQL as its file is now, and undo it",
      request: { params: z.object({ consumer: z.string() }) },
      responses: {
        200: jsonOf(triedSchema, "what it did, with the newest event of what it listens to"),
        ...problemResponses(404, 422),
      },
    }),
    async (c) => {
      const { consumer } = c.req.valid("param");
      return c.json(await tryConsumer(deps, consumer, c.req.raw.signal), 200);
    },
  );
}

/** Tries a consumer of ETL_CONSUMERS_DIR that is SQL. */
async function tryConsumer(deps: AppDeps, name: string, signal: AbortSignal): Promise<Tried> {
  const { consumersDir, dsn } = deps.config;
  if (consumersDir === null) {
    throw new Problem("not-found", {
      detail: say("no-consumers-dir", {}),
    });
  }
  const path = join(resolve(consumersDir), name + ".sql");
  if (!/^[a-z][a-z0-9_]*$/.test(name) || !await isFile(path)) {
    throw new Problem("not-found", {
      detail: say("no-sql-consumer", { name }),
    });
  }
  return await trySqlConsumer(path, { dsn, signal });
}

async function isFile(path: string): Promise<boolean> {
  return await Deno.stat(path).then((found) => found.isFile, () => false);
}

const WAIT_LIMIT_MS = 60_000;
const LOOK_MS = 100;

const deliverySchema = z.object({
  delivery_id: z.number().int(),
  consumer: z.string(),
  state: z.enum(["pending", "done", "failed", "skipped"]),
  attempts: z.number().int(),
  error: z.string().nullable(),
  result: z.any(),
}).openapi("Delivery");

/** Starts etl_downstream_example by hand, and shows how that went. */
export function downstreamRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/etl/downstream",
    summary: "Run etl_downstream_example now",
    description: "Its report is at /api/reports/latest; wait=true answers when it is there.",
    request: {
      query: z.object({ wait: z.enum(["true", "false"]).optional() }),
      body: {
        required: true,
        content: {
          "application/json": {
            schema: z.strictObject({
              analysis_type: z.string().max(63).optional().openapi({
                description:
                  "daily_summary, by_type or anomalies, or the name of a consumer of your own, which then takes the other members",
              }),
              top_n: z.number().int().min(1).max(1000).optional(),
              cleanup: z.boolean().optional(),
            }),
          },
        },
      },
    },
    responses: {
      200: jsonOf(deliverySchema, "how it ended (wait=true)"),
      202: jsonOf(deliverySchema, "it will run; Location shows how it went"),
      ...problemResponses(400, 413, 415, 422),
    },
  });
  app.post("/api/etl/downstream", (c) => {
    requireJson(c, say("parameters-are-json", {}));
    return whileWaiting(c, (wait) => requestDownstream(c, deps, wait));
  });

  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/api/deliveries/{id}",
    summary: "How the run of a consumer went",
    request: { params: z.object({ id: z.string() }) },
    responses: { 200: jsonOf(deliverySchema, "the delivery"), ...problemResponses(404) },
  });
  app.get("/api/deliveries/:id{[0-9]{1,15}}", async (c) => {
    const delivery = await deliveryState(deps.sql, Number(c.req.param("id")));
    if (delivery === null) {
      throw new Problem("not-found", { detail: say("no-delivery", {}) });
    }
    return c.json(delivery);
  });
}

async function requestDownstream(
  c: Context,
  deps: AppDeps,
  wait: boolean,
): Promise<Response> {
  const given = await readJson(c);
  const { name, params } = await chosenConsumer(deps, given as Record<string, unknown>);
  const id = await requestDelivery(deps.sql, name, {
    params,
    actor: actorOf(c),
  });
  const read = async () => (await deliveryState(deps.sql, id))!;
  c.header("Location", `/api/deliveries/${id}`);
  if (!wait) return c.json(await read(), 202);
  const deadline = performance.now() + WAIT_LIMIT_MS;
  let delivery = await read();
  while (delivery.state === "pending" && performance.now() < deadline) {
    await delay(LOOK_MS, c.req.raw.signal);
    if (c.req.raw.signal.aborted) break;
    delivery = await read();
  }
  return c.json(delivery, delivery.state === "pending" ? 202 : 200);
}

/** The consumer that an analysis_type names, and its parameters: the example, or one of the user's own. */
async function chosenConsumer(
  deps: AppDeps,
  given: Record<string, unknown>,
): Promise<{ name: string; params: Record<string, unknown> }> {
  const { analysis_type: type, ...params } = given ?? {};
  if (typeof type === "string" && !(ANALYSES as readonly string[]).includes(type)) {
    const own = (await listConsumers(deps.sql)).filter(({ active }) => active)
      .map(({ consumer }) => consumer);
    if (own.includes(type)) return { name: type, params };
    const expected = say("one-of-or-consumer", {
      names: ANALYSES.join(", "),
      consumers: own.join(", "),
    });
    throw new Problem("invalid-conf", {
      detail: say("no-analysis", { type, expected }),
      errors: [{ field: "analysis_type", value: type, message: "is not known", expected }],
    });
  }
  downstreamExample.parseParams(given);
  return { name: downstreamExample.name, params: given };
}

const reportSchema = z.object({
  report_id: z.number().int(),
  consumer: z.string(),
  dataset: z.string().nullable(),
  analysis_type: z.string(),
  run_ids: z.array(z.uuid()),
  report: z.record(z.string(), z.any()),
  created_at: z.string().openapi({ format: "date-time" }),
}).openapi("Report");

/** Reports of consumers such as etl_downstream_example. */
export function reportRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/reports/latest",
      summary: "The newest report",
      request: {
        query: z.strictObject({
          consumer: z.string().max(100).optional(),
          analysis_type: z.string().max(100).optional(),
        }),
      },
      responses: {
        200: jsonOf(reportSchema, "the report"),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { consumer, analysis_type: analysisType } = c.req.valid("query");
      const report = await latestReport(deps.sql, { consumer, analysisType });
      if (report === null) {
        throw new Problem("not-found", {
          detail: say("no-report", {}),
        });
      }
      return c.json(report, 200);
    },
  );
}
