import type { Sql } from "./database.ts";
import { withoutConflicts } from "./retry.ts";

/** Schedules that are planned at a time. */
export const MAX_SCHEDULES = 1000;

/** A schedule whose slots have to be computed. */
export interface PlannedSchedule {
  name: string;
  cron: string;
  time_zone: string;
  /** As text: a bigint. */
  revision: string;
  /** Slots after this instant are to be stored. */
  from: Date;
}

/**
 * Active schedules whose slots do not reach as far as `until`. Those of which
 * it is known that none can be computed are left out until they are changed.
 */
export async function schedulesToPlan(
  sql: Sql,
  until: Date,
  name: string | null = null,
): Promise<PlannedSchedule[]> {
  return await sql<PlannedSchedule[]>`
    select name, cron, time_zone, revision::text, coalesce(slots_until, plan_from) as from
    from etl.schedules
    where active and problem is null and (slots_until is null or slots_until < ${until})
      and (${name}::text is null or name = ${name}::text)
    order by slots_until nulls first, name limit ${MAX_SCHEDULES}`;
}

export interface ComputedSlot {
  slot: Date;
  previous: Date | null;
}

/** Stores computed slots; false where the schedule was changed meanwhile. */
export async function storeSlots(
  sql: Sql,
  { name, revision }: Pick<PlannedSchedule, "name" | "revision">,
  { slots, until }: { slots: ComputedSlot[]; until: Date },
): Promise<boolean> {
  const [row] = await sql<{ stored: boolean }[]>`
    select etl.store_slots(${name}, ${revision}::text::bigint,
      ${slots.map(({ slot }) => slot.toISOString())}::timestamptz[],
      ${
    slots.map(({ previous }) => previous?.toISOString() ?? null)
  }::timestamptz[], ${until}) as stored`;
  return row!.stored;
}

/** Notes why no slots can be computed for a schedule. */
export async function storePlanProblem(
  sql: Sql,
  { name, revision }: Pick<PlannedSchedule, "name" | "revision">,
  problem: string,
): Promise<void> {
  await sql`update etl.schedules set problem = ${problem}
    where name = ${name} and revision = ${revision}::text::bigint`;
}

/** Deletes old decided slots, batch by batch; answers how many. */
export async function purgeSlots(
  sql: Sql,
  { signal }: { signal?: AbortSignal } = {},
): Promise<number> {
  let total = 0;
  while (!signal?.aborted) {
    const [row] = await sql<{ gone: number }[]>`select etl.purge_slots()::float8 as gone`;
    if (row!.gone === 0) break;
    total += row!.gone;
  }
  return total;
}

/** A slot as the API shows it; times are ISO 8601 in UTC. */
export interface SlotRow {
  slot: string;
  slot_previous: string | null;
  state: "pending" | "requested" | "skipped" | "missed" | "failed";
  run_id: string | null;
  run_state: string | null;
  /** The run that was going on. */
  blocked_by: string | null;
  note: string | null;
  problem: Record<string, unknown> | null;
  decided_at: string | null;
}

function slotJson(sql: Sql) {
  return sql`jsonb_build_object('slot', etl.iso(s.slot), 'slot_previous', etl.iso(s.slot_previous), 'state', s.state,
    'run_id', s.run_id, 'run_state', (select r.state from etl.runs as r where r.run_id = s.run_id),
    'blocked_by', s.blocked_by, 'note', s.note, 'problem', s.problem, 'decided_at', etl.iso(s.decided_at))`;
}

/** Slots that are to come and, as things are, will be run, soonest first: none that fall into a pause. */
export async function slotsAhead(sql: Sql, schedule: string, limit: number): Promise<SlotRow[]> {
  const rows = await sql<{ row: SlotRow }[]>`
    select ${
    slotJson(sql)
  } as row from etl.slots as s join etl.schedules as c on c.name = s.schedule
    where s.schedule = ${schedule} and s.state = 'pending' and c.active
      and s.slot > greatest(clock_timestamp(), c.paused_until - interval '1 microsecond')
    order by s.slot limit ${limit}`;
  return rows.map(({ row }) => row);
}

/** Slots that have passed, newest first. */
export async function slotsPast(
  sql: Sql,
  schedule: string,
  { before, limit }: { before: string | null; limit: number },
): Promise<SlotRow[]> {
  const rows = await sql<{ row: SlotRow }[]>`
    select ${slotJson(sql)} as row from etl.slots as s
    where s.schedule = ${schedule} and s.slot <= clock_timestamp()
      and (${before}::text is null or s.slot < ${before}::text::timestamptz)
    order by s.slot desc limit ${limit}`;
  return rows.map(({ row }) => row);
}

/** What a backfill does, or would do, with a slot. */
export interface BackfilledSlot {
  slot: string;
  slot_previous: string | null;
  /** `kept`: it has a run that waits, goes on or has succeeded. */
  action: "run" | "kept";
  run_id: string | null;
  /** State of its run before, else of the slot; null where it was not stored. */
  state_before: string | null;
}

/** Runs past slots that have no run or a failed one, in one transaction. */
export async function backfillSlots(
  sql: Sql,
  { schedule, slots, preview, actor }: {
    schedule: string;
    slots: ComputedSlot[];
    preview: boolean;
    actor: string;
  },
): Promise<BackfilledSlot[]> {
  return await withoutConflicts(() =>
    sql<BackfilledSlot[]>`
      select etl.iso(slot) as slot, etl.iso(slot_previous) as slot_previous, action, run_id, state_before
      from etl.backfill_slots(${schedule}, ${
      slots.map(({ slot }) => slot.toISOString())
    }::timestamptz[],
        ${slots.map(({ previous }) => previous?.toISOString() ?? null)}::timestamptz[],
        ${JSON.stringify({ preview, requested_by: actor })}::text::jsonb)`
  );
}
