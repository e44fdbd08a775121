import { databaseNow } from "../store/database.ts";
import { z } from "@hono/zod-openapi";
import { OVERLAPS } from "../vocabulary/words.ts";
import { parseConf } from "../pipeline/conf_errors.ts";
import { errorsText, type FieldError, Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { cronWords, SlotClock, tidyCron, tidyZone } from "../pipeline/schedules/cron.ts";
import {
  checkSlotConf,
  getSchedule,
  type ScheduleRow,
  type ScheduleValues,
} from "../store/schedules.ts";
import type { AppDeps } from "./shared/deps.ts";
import { anyMembers } from "./shared/schemas.ts";

const time = z.iso.datetime({ offset: true });
const named = z.string().regex(
  /^[A-Za-z][A-Za-z0-9_.-]{0,99}$/,
  "a name of letters, digits, _ . and -",
);

export const cronText = z.string().min(1).max(200).openapi({
  description: "five fields, or @hourly, @daily, @weekly, @monthly, @yearly",
  example: "30 2 * * 1-5",
});
export const zoneText = z.string().min(1).max(100).openapi({
  description: "IANA time zone; default UTC",
  example: "Europe/Madrid",
});

/** The path parameter of every route of one schedule. */
export const scheduleName = z.object({
  name: z.string().regex(
    /^[A-Za-z][A-Za-z0-9_.-]{0,99}$/,
    "a name of letters, digits, _ . and -",
  ).openapi({ param: { name: "name", in: "path" } }),
});

/** What PUT takes. */
export const scheduleBody = z.strictObject({
  description: z.string().max(1000).nullable().optional(),
  cron: cronText,
  time_zone: zoneText.optional(),
  conf: anyMembers("conf of its runs, as POST /api/etl/run takes it").optional(),
  configuration: named.nullable().optional().openapi({
    description: "saved configuration; the same as conf.configuration",
  }),
  active: z.boolean().optional().openapi({ description: "not given: as it is" }),
  paused_until: time.nullable().optional().openapi({ description: "not given: as it is" }),
  missed: z.enum(["last", "all", "none"]).optional().openapi({
    description: "what to run of slots later than the grace; default last",
  }),
  grace_seconds: z.number().int().min(0).max(86_400).optional().openapi({
    description: "how late a slot is still on time; default 120",
  }),
  overlap: z.enum(OVERLAPS).optional().openapi({
    description: "while a run of the same label is in progress; default skip",
  }),
}).openapi("ScheduleValues");

export const scheduleJson = z.object({
  name: z.string(),
  description: z.string().nullable(),
  cron: z.string(),
  cron_words: z.string(),
  time_zone: z.string(),
  conf: z.record(z.string(), z.any()),
  configuration: z.string().nullable(),
  active: z.boolean(),
  paused: z.boolean(),
  paused_until: time.nullable(),
  missed: z.enum(["last", "all", "none"]),
  grace_seconds: z.number().int(),
  overlap: z.enum(OVERLAPS),
  next_slot: time.nullable(),
  next_slot_local: z.string().nullable(),
  last_slot: z.object({
    slot: time,
    state: z.string(),
    run_id: z.uuid().nullable(),
    run_state: z.string().nullable(),
    note: z.string().nullable(),
  }).nullable(),
  slots_until: time.nullable(),
  problem: z.string().nullable(),
  created_at: time,
  updated_at: time,
  updated_by: z.string().nullable(),
}).openapi("Schedule");

export type ScheduleJson = z.infer<typeof scheduleJson>;

/** A stored schedule with its expression in words and its next slot as local clocks show it. */
export function shown(row: ScheduleRow): ScheduleJson {
  const next = row.next_slot ?? slotAfterPause(row);
  return {
    ...row,
    cron_words: cronWords(row.cron),
    next_slot: next,
    next_slot_local: next === null ? null : localOf(next, row.time_zone),
  };
}

/** The first slot after a pause that ends later than slots are stored. */
function slotAfterPause(row: ScheduleRow): string | null {
  const { active, paused_until: until, slots_until: stored } = row;
  if (!active || until === null || stored === null || until < stored) return null;
  const [slot] = new SlotClock(row.cron, row.time_zone)
    .after(new Date(Date.parse(until) - 1), { limit: 1 });
  return slot?.toISOString() ?? null;
}

/** A time as the clocks of a zone show it. A zone that this server does not know (SQL can store such): in UTC. */
export function localOf(at: string, timeZone: string): string {
  const instant = Temporal.Instant.from(at);
  try {
    return instant.toString({ timeZone, smallestUnit: "second" });
  } catch {
    return instant.toString({ smallestUnit: "second" });
  }
}

/**
 * The values of a body that is valid: expression, zone, and the conf, which is
 * resolved as the next slot's run request would be. Else throws one Problem
 * with everything that is wrong.
 */
export async function checkedValues(
  body: z.infer<typeof scheduleBody>,
  deps: AppDeps,
): Promise<ScheduleValues> {
  const { configuration = null, conf: given = {}, ...rest } = body;
  const conf = configuration === null ? given : { ...given, configuration };
  const errors: FieldError[] = [];
  if (
    configuration !== null && ![undefined, configuration].includes(given.configuration as string)
  ) {
    errors.push({
      field: "configuration",
      value: configuration,
      message: "is another one than conf.configuration",
      expected: "one of them",
    });
  }
  if ("overlap" in conf) {
    errors.push({
      field: "conf.overlap",
      value: conf.overlap,
      message: "belongs to the schedule itself",
      expected: "overlap beside conf",
    });
  }
  const cron = tidyCron(body.cron);
  const timeZone = tidyZone(body.time_zone ?? "UTC") ?? body.time_zone!;
  let clock = new SlotClock("@daily", "UTC");
  try {
    clock = new SlotClock(cron, timeZone);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    errors.push(...error.errors);
  }
  errors.push(...await confErrorsOf(conf, clock, deps));
  if (errors.length > 0) {
    throw new Problem("invalid-conf", {
      detail: say("schedule-errors", { errors: errorsText(errors) }),
      errors,
    });
  }
  return {
    ...rest,
    description: body.description ?? null,
    cron,
    time_zone: timeZone,
    conf,
    missed: body.missed ?? "last",
    grace_seconds: body.grace_seconds ?? 120,
    overlap: body.overlap ?? "skip",
  } as ScheduleValues;
}

async function confErrorsOf(
  conf: Record<string, unknown>,
  clock: SlotClock,
  deps: AppDeps,
): Promise<FieldError[]> {
  const [slot] = clock.after(await databaseNow(deps.sql), { limit: 1 });
  const [previous] = clock.before(slot!, { limit: 1 });
  let filled: unknown = conf;
  let found: FieldError[] = [];
  try {
    const checked = await checkSlotConf(deps.sql, conf, {
      slot: slot!,
      previous: previous!,
      timeZone: "UTC",
    });
    filled = checked.conf;
    found = checked.errors;
  } catch (error) {
    // text that jsonb cannot hold: parseConf says which
    if ((error as { code?: string }).code !== "22P05") throw error;
  }
  try {
    parseConf(filled);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const told = new Set(error.errors.map(({ field }) => field));
    found = [...error.errors, ...found.filter(({ field }) => !told.has(field))];
  }
  return found.map((each) => ({ ...each, field: `conf.${each.field}` }));
}

export async function knownSchedule(deps: AppDeps, name: string): Promise<ScheduleRow> {
  const found = await getSchedule(deps.sql, name);
  if (found === null) throw noSuchSchedule(name);
  return found;
}

export function noSuchSchedule(name: string): Problem {
  return new Problem("not-found", {
    detail: say("missing-schedule", { name }),
  });
}
