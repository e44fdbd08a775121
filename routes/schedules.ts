import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { Problem } from "../vocabulary/problem.ts";
import { readMoment } from "../pipeline/schedules/moment.ts";
import { planSlots } from "../queue/slot_planner.ts";
import {
  deleteSchedule,
  listSchedules,
  putSchedule,
  runSchedule,
  setPaused,
} from "../store/schedules.ts";
import { activeTraceparent } from "../telemetry/tracing.ts";
import { actorOf, clientOf } from "./access/identity.ts";
import type { AppDeps } from "./shared/deps.ts";
import { decodeCursor, encodeCursor } from "./shared/page_cursor.ts";
import {
  checkedValues,
  knownSchedule,
  noSuchSchedule,
  scheduleBody,
  scheduleJson,
  scheduleName,
  shown,
} from "./schedule_body.ts";
import { scheduleSlotRoutes } from "./schedule_slots.ts";
import { json, pageOf, problemResponses, submittedSchema } from "./shared/schemas.ts";

const path = "/api/schedules/{name}";

/** Schedules: look, create, change, pause, run now, remove; their slots. */
export function scheduleRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/schedules",
      summary: "Schedules, by name",
      request: {
        query: z.strictObject({
          limit: z.coerce.number().int().min(1).max(500).default(100),
          cursor: z.string().max(500).optional(),
        }),
      },
      responses: {
        200: { description: "a page of schedules", content: json(pageOf(scheduleJson)) },
        ...problemResponses(400),
      },
    }),
    async (c) => {
      const { limit, cursor } = c.req.valid("query");
      const after = cursor === undefined ? "" : String(decodeCursor(cursor, ["text"])[0]);
      const rows = await listSchedules(deps.sql, { after, limit: limit + 1 });
      const page = rows.slice(0, limit);
      const next = rows.length > limit ? encodeCursor([page.at(-1)!.name]) : null;
      return c.json({ items: page.map(shown), next }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: "get",
      path,
      summary: "One schedule",
      request: { params: scheduleName },
      responses: {
        200: { description: "the schedule", content: json(scheduleJson) },
        ...problemResponses(400, 404),
      },
    }),
    async (c) => c.json(shown(await knownSchedule(deps, c.req.valid("param").name)), 200),
  );
  app.openapi(
    createRoute({
      method: "put",
      path,
      summary: "Create or change a schedule",
      description: "What is not given gets its default, except active and paused_until, which " +
        "stay as they are. A changed expression makes no slots in the past.",
      request: { params: scheduleName, body: { required: true, content: json(scheduleBody) } },
      responses: {
        200: { description: "changed", content: json(scheduleJson) },
        201: { description: "created", content: json(scheduleJson) },
        // removed by somebody else before it could be answered
        ...problemResponses(400, 404, 415, 422),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const body = c.req.valid("json" as never) as z.infer<typeof scheduleBody>;
      const values = await checkedValues(body, deps);
      const isNew = await putSchedule(deps.sql, { name, values, actor: actorOf(c) });
      await planSlots(deps.sql, { name });
      return c.json(shown(await knownSchedule(deps, name)), isNew ? 201 : 200);
    },
  );
  app.openapi(
    createRoute({
      method: "delete",
      path,
      summary: "Remove a schedule with its slots; its runs stay",
      request: { params: scheduleName },
      responses: { 204: { description: "removed" }, ...problemResponses(400, 404) },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      if (!await deleteSchedule(deps.sql, { name, actor: actorOf(c) })) throw noSuchSchedule(name);
      return c.body(null, 204);
    },
  );
  app.openapi(
    createRoute({
      method: "post",
      path: `${path}/pause`,
      summary: "Pause a schedule, until a time or until it is resumed",
      description: "Slots that fall due meanwhile are skipped and never caught up.",
      request: {
        params: scheduleName,
        body: {
          content: json(
            z.strictObject({
              until: z.string().max(100).nullable().optional().openapi({
                description: "a time, or a day in the schedule's zone (paused up to its beginning)",
                example: "2027-01-07T06:00:00Z",
              }),
            }),
          ),
        },
      },
      responses: {
        200: { description: "the schedule", content: json(scheduleJson) },
        ...problemResponses(400, 404, 422),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const { until = null } = (c.req.valid("json" as never) ?? {}) as { until?: string | null };
      const { time_zone } = await knownSchedule(deps, name);
      const end = until === null
        ? null
        : readMoment(until, { field: "until", timeZone: time_zone });
      if (end !== null && end.getTime() <= Date.now()) {
        throw new Problem("invalid-conf", {
          detail: "A pause ends in the future.",
          errors: [{
            field: "until",
            value: until,
            message: "has passed",
            expected: "a time in the future; without it the schedule is paused until it is resumed",
          }],
        });
      }
      await setPaused(deps.sql, { name, active: end !== null, until: end, actor: actorOf(c) });
      await planSlots(deps.sql, { name });
      return c.json(shown(await knownSchedule(deps, name)), 200);
    },
  );
  app.openapi(
    createRoute({
      method: "post",
      path: `${path}/resume`,
      summary: "Resume a paused schedule with its next slot",
      request: { params: scheduleName },
      responses: {
        200: { description: "the schedule", content: json(scheduleJson) },
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const resumed = { name, active: true, until: null, actor: actorOf(c) };
      if (!await setPaused(deps.sql, resumed)) throw noSuchSchedule(name);
      await planSlots(deps.sql, { name });
      return c.json(shown(await knownSchedule(deps, name)), 200);
    },
  );
  app.openapi(
    createRoute({
      method: "post",
      path: `${path}/run`,
      summary: "Ask for a run with the schedule's conf now",
      description:
        "{{slot}} and {{today}} are now, {{slot_previous}} is the newest slot that has " +
        "passed. The schedule's overlap counts: with skip, no run is made while one of its label goes on.",
      request: {
        params: scheduleName,
        headers: z.object({ "Idempotency-Key": z.string().max(255).optional() }),
      },
      responses: {
        202: { description: "accepted; Location names the run", content: json(submittedSchema) },
        ...problemResponses(400, 404, 422),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const key = c.req.header("idempotency-key");
      const traceparent = activeTraceparent();
      const submitted = await runSchedule(deps.sql, name, {
        trigger: clientOf(c),
        requested_by: actorOf(c),
        ...(key === undefined ? {} : { idempotency_key: key }),
        ...(traceparent === null ? {} : { traceparent }),
      });
      c.header("Location", `/api/etl/runs/${submitted.run_id}`);
      return c.json(submitted, 202);
    },
  );
  scheduleSlotRoutes(app, deps);
}
