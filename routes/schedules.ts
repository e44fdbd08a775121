import { parseExact } from "../vocabulary/exact_json.ts";
import { databaseNow } from "../store/database.ts";
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { cronWords, SlotClock } from "../pipeline/schedules/cron.ts";
import { readMoment } from "../pipeline/schedules/moment.ts";
import { planSlots } from "../timers/slot_planner.ts";
import {
  type BackfilledSlot,
  backfillSlots,
  type ComputedSlot,
  deleteSchedule,
  listSchedules,
  putSchedule,
  runSchedule,
  setPaused,
  slotsAhead,
  slotsPast,
} from "../store/schedules.ts";
import { activeTraceparent } from "../telemetry/integrations/opentelemetry.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { actorOf, clientOf } from "./access/identity.ts";
import { acceptedLang } from "./dashboard/preferences.ts";
import {
  checkedValues,
  cronText,
  knownSchedule,
  localOf,
  noSuchSchedule,
  scheduleBody,
  scheduleJson,
  scheduleName,
  shown,
  zoneText,
} from "./schedule_body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { nameTaken, onlyNew, onlyNewHeader } from "./shared/only_new.ts";
import { decodeCursor, pageOfItems } from "./shared/page_cursor.ts";
import { submittedSchema } from "../vocabulary/run_schema.ts";
import { json, jsonBody, jsonOf, pageOf, problemResponses } from "./shared/schemas.ts";

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
        200: jsonOf(pageOf(scheduleJson), "a page of schedules"),
        ...problemResponses(400),
      },
    }),
    async (c) => {
      const { limit, cursor } = c.req.valid("query");
      const after = cursor === undefined ? "" : String(decodeCursor(cursor, ["text"])[0]);
      const rows = await listSchedules(deps.sql, { after, limit: limit + 1 });
      const { items, next } = pageOfItems(rows, { limit, position: (last) => [last.name] });
      return c.json({ items: items.map(shown), next }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: "get",
      path,
      summary: "One schedule",
      request: { params: scheduleName },
      responses: {
        200: jsonOf(scheduleJson, "the schedule"),
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
      description:
        "Members that are not given get their defaults, except active and paused_until, which " +
        "stay as they are. A changed expression makes no slots in the past.",
      request: { params: scheduleName, headers: onlyNewHeader, body: jsonBody(scheduleBody) },
      responses: {
        200: jsonOf(scheduleJson, "changed"),
        201: jsonOf(scheduleJson, "created"),
        // removed by somebody else before it could be answered
        ...problemResponses(400, 404, 412, 415, 422),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const body = c.req.valid("json" as never) as z.infer<typeof scheduleBody>;
      const checked = await checkedValues(body, deps);
      // what is stored has the digits of the body, which JSON.parse has rounded
      const { conf } = parseExact(await c.req.text()) as typeof body;
      const values = { ...checked, conf: { ...checked.conf, ...conf } };
      const isNew = await putSchedule(deps.sql, {
        name,
        values,
        actor: actorOf(c),
        onlyNew: onlyNew(c),
      });
      if (isNew === null) throw nameTaken(name);
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
        200: jsonOf(scheduleJson, "the schedule"),
        ...problemResponses(400, 404, 422),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const { until = null } = c.req.valid("json" as never) as { until?: string | null };
      const { time_zone } = await knownSchedule(deps, name);
      const end = until === null
        ? null
        : readMoment(until, { field: "until", timeZone: time_zone });
      if (end !== null && end <= await databaseNow(deps.sql)) {
        throw new Problem("invalid-conf", {
          detail: say("pause-past", {}),
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
        200: jsonOf(scheduleJson, "the schedule"),
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
      summary: "Request a run with the schedule's conf now",
      description:
        "{{slot}} and {{today}} are now, {{slot_previous}} is the newest slot that has " +
        "passed. The schedule's overlap applies: with skip, no run is created while one of its label is in progress.",
      request: {
        params: scheduleName,
        headers: z.object({ "Idempotency-Key": z.string().max(255).optional() }),
      },
      responses: {
        202: jsonOf(submittedSchema, "accepted; Location names the run"),
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

/** Slots that one request runs at most, and those of one transaction. */
const MAX_BACKFILL = 1000;
const BATCH = 100;

const time = z.string().openapi({ format: "date-time" });
const moment = z.string().max(100).openapi({
  description: "a time, a local time of the schedule's zone, or a day of it",
  example: "2027-03-01",
});

const slotJson = z.object({
  slot: time,
  local: z.string(),
  slot_previous: time.nullable(),
  state: z.enum(["pending", "requested", "skipped", "missed", "failed"]),
  run_id: z.uuid().nullable(),
  run_state: z.string().nullable(),
  blocked_by: z.uuid().nullable(),
  note: z.string().nullable(),
  problem: z.record(z.string(), z.any()).nullable(),
  decided_at: time.nullable(),
}).openapi("Slot");

const backfillJson = z.object({
  schedule: z.string(),
  preview: z.boolean(),
  runs: z.number().int(),
  kept: z.number().int(),
  items: z.array(z.object({
    slot: time,
    local: z.string(),
    slot_previous: time.nullable(),
    action: z.enum(["run", "kept"]),
    run_id: z.uuid().nullable(),
    state_before: z.string().nullable(),
  })),
}).openapi("Backfill");

/** Slots of schedules: past ones and those to come, of an expression that is not saved, and backfills. */
function scheduleSlotRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/schedules/{name}/slots",
      summary: "Slots to come, soonest first, and past ones, newest first",
      request: {
        params: scheduleName,
        query: z.strictObject({
          limit: z.coerce.number().int().min(1).max(500).default(20),
          cursor: z.string().max(500).optional(),
        }),
      },
      responses: {
        200: jsonOf(
          z.object({
            ahead: z.array(slotJson),
            past: z.array(slotJson),
            next: z.string().nullable(),
          }),
          "up to `limit` of each; `next` is the cursor of more past ones",
        ),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const { limit, cursor } = c.req.valid("query");
      const before = cursor === undefined ? null : String(decodeCursor(cursor, ["time"])[0]);
      const { time_zone } = await knownSchedule(deps, name);
      const [ahead, past] = await Promise.all([
        slotsAhead(deps.sql, name, limit),
        slotsPast(deps.sql, name, { before, limit: limit + 1 }),
      ]);
      const { items, next } = pageOfItems(past, { limit, position: (last) => [last.slot] });
      const local = <T extends { slot: string }>(row: T) => ({
        ...row,
        local: localOf(row.slot, time_zone),
      });
      return c.json({ ahead: ahead.map(local), past: items.map(local), next }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: "post",
      path: "/api/schedules/preview",
      summary: "When an expression would be due; stores nothing",
      request: {
        body: jsonBody(z.strictObject({
          cron: cronText,
          time_zone: zoneText.optional(),
          count: z.number().int().min(1).max(100).optional().openapi({
            description: "how many slots; default 5",
          }),
          after: moment.optional().openapi({ description: "slots after this; default now" }),
        })),
      },
      responses: {
        200: jsonOf(
          z.object({
            cron_words: z.string(),
            slots: z.array(z.object({ slot: time, local: z.string() })),
          }),
          "the next slots",
        ),
        ...problemResponses(400, 422),
      },
    }),
    async (c) => {
      const { cron, time_zone: timeZone = "UTC", count = 5, after } = c.req.valid(
        "json" as never,
      ) as { cron: string; time_zone?: string; count?: number; after?: string };
      const clock = new SlotClock(cron, timeZone);
      const from = after === undefined
        ? await databaseNow(deps.sql)
        : readMoment(after, { field: "after", timeZone });
      const slots = [...clock.after(from, { limit: count })].map((slot) => ({
        slot: slot.toISOString(),
        local: clock.local(slot),
      }));
      const lang = acceptedLang(c.req.header("accept-language"));
      return c.json({ cron_words: cronWords(cron, lang), slots }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: "post",
      path: "/api/schedules/{name}/backfill",
      summary: "Run past slots that have no run or a failed one",
      description: "Safe to repeat: a slot whose run waits, goes on or has succeeded is kept. " +
        `Runs wait for each other. At most ${MAX_BACKFILL} slots a request.`,
      request: {
        params: scheduleName,
        body: jsonBody(z.strictObject({
          from: moment,
          to: moment.optional().openapi({ description: "inclusive; default now" }),
          preview: z.boolean().optional().openapi({
            description: "only say what would be run; default false",
          }),
        })),
      },
      responses: {
        200: jsonOf(backfillJson, "what is, or would be, done"),
        ...problemResponses(400, 404, 422),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const { from, to, preview = false } = c.req.valid("json" as never) as {
        from: string;
        to?: string;
        preview?: boolean;
      };
      const { cron, time_zone } = await knownSchedule(deps, name);
      const clock = new SlotClock(cron, time_zone);
      const slots = pastSlots(
        clock,
        range({
          from,
          to,
          timeZone: time_zone,
          now: await databaseNow(deps.sql),
        }),
      );
      const items: BackfilledSlot[] = [];
      for (let i = 0; i < slots.length; i += BATCH) {
        const batch = slots.slice(i, i + BATCH);
        const done = { schedule: name, slots: batch, preview, actor: actorOf(c) };
        items.push(...await backfillSlots(deps.sql, done));
      }
      const runs = items.filter(({ action }) => action === "run").length;
      return c.json({
        schedule: name,
        preview,
        runs,
        kept: items.length - runs,
        items: items.map((each) => ({ ...each, local: localOf(each.slot, time_zone) })),
      }, 200);
    },
  );
}

/** The time from `from` to `to`, or to now where that is earlier. */
function range(
  { from, to, timeZone, now }: {
    from: string;
    to: string | undefined;
    timeZone: string;
    now: Date;
  },
) {
  const start = readMoment(from, { field: "from", timeZone });
  const end = to === undefined ? now : readMoment(to, { field: "to", timeZone, end: true });
  const wrong = (field: string, value: string | undefined, message: string, expected: string) =>
    new Problem("invalid-conf", {
      detail: say("range-refused", { errors: `${field} ${message}` }),
      errors: [{ field, value, message, expected }],
    });
  if (start > now) throw wrong("from", from, "has not come yet", "a time in the past");
  if (end < start) throw wrong("to", to, "is before from", "a time after from");
  return { start, end: end > now ? now : end };
}

function pastSlots(clock: SlotClock, { start, end }: { start: Date; end: Date }): ComputedSlot[] {
  const slots: ComputedSlot[] = [];
  let [previous = null] = clock.before(start, { limit: 1 });
  const found = clock.after(new Date(start.getTime() - 1), { until: end, limit: MAX_BACKFILL + 1 });
  for (const slot of found) {
    if (slots.length === MAX_BACKFILL) {
      const last = slots.at(-1)!.slot.toISOString();
      throw new Problem("invalid-conf", {
        detail: say("too-many-slots", { n: MAX_BACKFILL, last }),
        errors: [{
          field: "to",
          value: end.toISOString(),
          message: `is more than ${MAX_BACKFILL} slots after from`,
          expected: `at most ${last}`,
        }],
      });
    }
    slots.push({ slot, previous });
    previous = slot;
  }
  return slots;
}
