import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { datasetName } from "../pipeline/consumers/consumer.ts";
import { downstreamExample } from "../pipeline/consumers/downstream_example.ts";
import { listConsumers, listDatasetEvents, listDatasets } from "../store/datasets.ts";
import { deliveryState, redeliver, requestDelivery } from "../store/deliveries.ts";
import { latestReport } from "../store/reports.ts";
import { delay } from "../store/retry.ts";
import { Problem } from "../vocabulary/problem.ts";
import { actorOf } from "./access/identity.ts";
import { readJson, requireJson } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { whileWaiting } from "./shared/load.ts";
import { decodeCursor, encodeCursor } from "./shared/page_cursor.ts";
import { jsonOf, pageOf, problemResponses } from "./shared/schemas.ts";

const time = z.string().openapi({ format: "date-time" });

const eventSchema = z.object({
  event_no: z.number().int(),
  dataset: z.string().openapi({ example: "public.etl_improved_events" }),
  run_id: z.uuid().nullable(),
  emitted_by: z.string(),
  counts: z.record(z.string(), z.number()),
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
  active: z.boolean(),
  pending: z.number().int(),
  failed: z.number().int(),
  last_done_at: time.nullable(),
  last_error: z.string().nullable(),
}).openapi("Consumer");

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
      const page = items.slice(0, limit);
      const next = items.length > limit ? encodeCursor([page.at(-1)!.event_no]) : null;
      return c.json({ items: page, next }, 200);
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
          status: 404,
          detail: `There is no consumer of that name. There are: ${known.join(", ") || "none"}.`,
        });
      }
      const { delivery_id: deliveryId = null } = c.req.valid("query");
      const redelivered = await redeliver(deps.sql, consumer, { deliveryId, actor: actorOf(c) });
      return c.json({ redelivered }, 200);
    },
  );
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
              analysis_type: z.enum(["daily_summary"]).optional(),
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
    requireJson(c, 'The parameters are application/json, e.g. {"top_n": 5}');
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
      throw new Problem("not-found", { status: 404, detail: "There is no such delivery." });
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
  downstreamExample.parseParams(given);
  const { name } = downstreamExample;
  const id = await requestDelivery(deps.sql, name, {
    params: given as Record<string, unknown>,
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
        200: {
          description: "the report",
          content: { "application/json": { schema: reportSchema } },
        },
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { consumer, analysis_type: analysisType } = c.req.valid("query");
      const report = await latestReport(deps.sql, { consumer, analysisType });
      if (report === null) {
        throw new Problem("not-found", {
          status: 404,
          detail:
            "There is no such report yet: etl_downstream_example writes one after each run, and on POST /api/etl/downstream.",
        });
      }
      return c.json(report, 200);
    },
  );
}
