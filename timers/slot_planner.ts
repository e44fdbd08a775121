import { SlotClock } from "../pipeline/schedules/cron.ts";
import { Problem } from "../vocabulary/problem.ts";
import { type Database, databaseNow, type Sql } from "../store/database.ts";
import { delay } from "../store/retry.ts";
import {
  type ComputedSlot,
  MAX_SCHEDULES,
  type PlannedSchedule,
  schedulesToPlan,
  storePlanProblem,
  storeSlots,
} from "../store/schedules.ts";
import type { Log } from "../telemetry/log.ts";

const HOUR_MS = 3_600_000;
/** Slots are stored so far ahead. */
const AHEAD_MS = 8 * 24 * HOUR_MS;
/** More of them are stored when the last hour of that is missing. */
const REFRESH_MS = HOUR_MS;
/** Slots of a time in which no server ran: the newest so many, a week of minutes. */
const MAX_PAST = 10_080;
/** Slots that are computed before others may use the event loop. */
const BREATH = 500;

/**
 * Stores the slots of every active schedule, 8 days ahead and at least the next
 * one; of one schedule where it is named. What is stored already stays. A
 * schedule whose expression or zone is not valid (SQL can store such) gets the
 * reason in `problem`, and the others go on.
 */
export async function planSlots(
  sql: Sql,
  { now: given, name = null }: { now?: Date; name?: string | null } = {},
): Promise<number> {
  const now = given ?? await databaseNow(sql);
  const due = new Date(now.getTime() + AHEAD_MS - REFRESH_MS);
  const schedules = await schedulesToPlan(sql, due, name);
  let failure: unknown;
  for (const schedule of schedules) {
    try {
      await planSchedule(sql, schedule, now);
    } catch (error) {
      // the others go on
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return schedules.length;
}

async function planSchedule(sql: Sql, schedule: PlannedSchedule, now: Date): Promise<void> {
  let clock: SlotClock;
  try {
    clock = new SlotClock(schedule.cron, schedule.time_zone);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    await storePlanProblem(sql, schedule, error.message);
    return;
  }
  const { from } = schedule;
  const horizon = new Date(now.getTime() + AHEAD_MS);
  const start = from < now ? await oldest(clock, { from, now }) : from;
  let [previous = null] = clock.before(new Date(start.getTime() + 1), { limit: 1 });
  const slots: ComputedSlot[] = [];
  for (const slot of clock.after(start)) {
    const beyond = slot > horizon;
    // the next one is always known, however far away it is
    if (beyond && slots.some(({ slot }) => slot > now)) break;
    slots.push({ slot, previous });
    previous = slot;
    if (slots.length % BREATH === 0) await delay(0);
  }
  const last = slots.at(-1)?.slot;
  const until = last !== undefined && last > horizon ? last : horizon;
  await storeSlots(sql, schedule, { slots, until });
}

/** Where to begin after a time without any server: not so early that there are more slots than are kept. */
async function oldest(
  clock: SlotClock,
  { from, now }: { from: Date; now: Date },
): Promise<Date> {
  let first = from;
  let count = 0;
  for (const slot of clock.before(now, { limit: MAX_PAST })) {
    if (slot <= from) return from;
    first = slot;
    if (++count % BREATH === 0) await delay(0);
  }
  return count < MAX_PAST ? from : new Date(first.getTime() - 1);
}

export interface SlotPlannerOptions {
  sql: Sql;
  log: Log;
  /** Where changes of schedules are notified; without it they are looked for every 5 s. */
  database?: Database;
}

/** Keeps slots stored ahead while the server runs. Answers a function that ends it. */
export async function startSlotPlanner(
  { sql, log, database }: SlotPlannerOptions,
): Promise<() => Promise<void>> {
  let stopped = false;
  let again = false;
  let current: Promise<void> | null = null;
  const plan = async () => {
    do {
      again = false;
      try {
        // there may be more than are planned at a time
        const planned = await planSlots(sql);
        again ||= planned === MAX_SCHEDULES;
      } catch (error) {
        if (!stopped) log.warn("slots of schedules could not be stored", { error });
      }
    } while (again && !stopped);
    current = null;
  };
  const wake = () => {
    if (stopped) return;
    again = true;
    current ??= plan();
  };
  await database?.listen("etl_schedules", wake);
  wake();
  const planning = setInterval(wake, database === undefined ? 5_000 : 60_000);
  return async () => {
    stopped = true;
    clearInterval(planning);
    await current;
  };
}
