import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { maintenanceConfSchema } from "../pipeline/maintenance/params.ts";
import {
  listMaintenance,
  MAINTENANCE_TASKS,
  type MaintenanceView,
  maintenanceView,
  previewMaintenance,
  requestMaintenance,
} from "../store/maintenance.ts";
import { delay } from "../store/retry.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { actorOf, clientOf } from "./access/identity.ts";
import { readJson, requireJson } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { flagOf, whileWaiting } from "./shared/load.ts";
import { decodeCursor, pageOfItems } from "./shared/page_cursor.ts";
import { json, jsonOf, pageOf, problemResponses } from "./shared/schemas.ts";

const LOOK_MS = 200;

const yesOrNo = z.enum(["true", "false"]);
const time = z.string().openapi({ format: "date-time" });
const taskSchema = z.object({
  task: z.enum(MAINTENANCE_TASKS),
  state: z.enum(["pending", "running", "succeeded", "failed", "skipped"]),
  cutoff: time.nullable(),
  started_at: time.nullable(),
  ended_at: time.nullable(),
  deleted: z.number().int(),
  batches: z.number().int(),
  tables: z.array(z.object({ table: z.string(), deleted: z.number().int(), done: z.boolean() })),
  warnings: z.array(z.string()),
  error: z.string().nullable(),
});
const maintenanceSchema = z.object({
  maintenance_id: z.uuid(),
  state: z.enum(["queued", "running", "succeeded", "failed"]),
  trigger: z.string(),
  requested_by: z.string(),
  params: z.record(z.string(), z.number()),
  origins: z.record(z.string(), z.string()),
  attempt: z.number().int(),
  requested_at: time,
  started_at: time.nullable(),
  ended_at: time.nullable(),
  duration_ms: z.number().nullable(),
  deleted: z.number().int(),
  tasks: z.array(taskSchema),
  error: z.string().nullable(),
}).openapi("Maintenance");

const previewSchema = z.object({
  dry_run: z.literal(true),
  params: z.record(z.string(), z.number()),
  origins: z.record(z.string(), z.string()),
  would_delete: z.number().int(),
  tasks: z.array(z.object({
    task: z.enum(MAINTENANCE_TASKS),
    cutoff: time.nullable(),
    would_delete: z.number().int(),
    tables: z.array(z.object({ table: z.string(), would_delete: z.number().int() })),
    warnings: z.array(z.string()),
  })),
}).openapi("MaintenancePreview");

/** etl_maintenance: ask for one now, look at those there were. */
export function maintenanceRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/etl/maintenance",
    summary: "Run etl_maintenance now",
    description:
      "Deletes rows older than their retention, refreshes the daily views, vacuums. With wait=true the response comes when it has ended.",
    request: {
      query: z.object({
        wait: yesOrNo.optional(),
        dry_run: yesOrNo.optional().openapi({ description: "count what would go, delete nothing" }),
        confirm: yesOrNo.optional().openapi({
          description: "agree, once, that events go by occurred_at (installations of 0.1.0)",
        }),
      }),
      body: { content: json(maintenanceConfSchema) },
    },
    responses: {
      200: jsonOf(
        z.union([maintenanceSchema, previewSchema]),
        "the maintenance, ended (wait=true); or what would go (dry_run=true)",
      ),
      202: jsonOf(maintenanceSchema, "it will be carried out; Location shows how it goes"),
      ...problemResponses(400, 409, 415, 422),
    },
  });
  app.post("/api/etl/maintenance", (c) => {
    requireJson(c, say("maintenance-is-json", {}));
    return whileWaiting(c, (wait) => askForMaintenance(c, deps, wait));
  });

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/maintenance",
      summary: "Maintenances, newest first",
      request: {
        query: z.strictObject({
          limit: z.coerce.number().int().min(1).max(100).default(20),
          cursor: z.string().max(500).optional(),
        }),
      },
      responses: { 200: jsonOf(pageOf(maintenanceSchema), "a page"), ...problemResponses(400) },
    }),
    async (c) => {
      const { limit, cursor } = c.req.valid("query");
      const items = await listMaintenance(deps.sql, {
        limit: limit + 1,
        before: cursor === undefined ? undefined : decodeCursor(cursor, ["uuid"])[0] as string,
      });
      const position = (last: { maintenance_id: string }) => [last.maintenance_id];
      return c.json(pageOfItems(items, { limit, position }), 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/maintenance/{id}",
      summary: "One maintenance with its tasks and what each has deleted",
      request: {
        params: z.object({ id: z.uuid().openapi({ param: { name: "id", in: "path" } }) }),
      },
      responses: { 200: jsonOf(maintenanceSchema, "it"), ...problemResponses(400, 404) },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const view = await maintenanceView(deps.sql, id);
      if (view === null) {
        throw new Problem("not-found", {
          detail: say("no-maintenance", { id }),
        });
      }
      return c.json(view, 200);
    },
  );
}

async function askForMaintenance(
  c: Context,
  deps: AppDeps,
  wait: boolean,
): Promise<Response> {
  const conf = await readJson(c);
  if (flagOf(c, "dry_run")) return c.json(await previewMaintenance(deps.sql, conf), 200);
  const id = await requestMaintenance(deps.sql, conf, {
    trigger: clientOf(c),
    requested_by: actorOf(c),
    confirm: flagOf(c, "confirm"),
  });
  const read = async (): Promise<MaintenanceView> => (await maintenanceView(deps.sql, id))!;
  c.header("Location", `/api/etl/maintenance/${id}`);
  let view = await read();
  if (!wait) return c.json(view, 202);
  const { signal } = c.req.raw;
  while (view.ended_at === null && !signal.aborted && !deps.status().draining) {
    await delay(LOOK_MS, signal);
    view = await read();
  }
  return c.json(view, view.ended_at === null ? 202 : 200);
}
