import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { datasetName } from "../pipeline/consumers/consumer.ts";
import { listConsumers, listDatasetEvents, listDatasets } from "../store/datasets.ts";
import type { AppDeps } from "./shared/deps.ts";
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
}
