import { parseExact } from "../vocabulary/exact_json.ts";
import type { Sql } from "./database.ts";
import { withoutConflicts } from "./retry.ts";
import type { ResolvedParams } from "./params.ts";
import type { Submitted } from "../vocabulary/run_schema.ts";
import { admitSoon, type SubmitOptions } from "./runs.ts";

/** What a caller sets of a schedule. */
export interface ScheduleValues {
  description: string | null;
  cron: string;
  time_zone: string;
  conf: Record<string, unknown>;
  /** Not given: as it is, true for a new one. */
  active?: boolean;
  /** Not given: as it is, null for a new one. */
  paused_until?: string | null;
  missed: "last" | "all" | "none";
  grace_seconds: number;
  overlap: "queue" | "skip" | "cancel";
}

/** A schedule as the API shows it; times are ISO 8601 in UTC. */
/** Its conf has numbers that JSON.stringify writes with the digits that they have in the database. */
export interface ScheduleRow extends Required<ScheduleValues> {
  name: string;
  configuration: string | null;
  paused: boolean;
  /** The slot that will be run next; null where it is paused without an end or no slots are stored. */
  next_slot: string | null;
  /** The newest slot that has been decided. */
  last_slot: {
    slot: string;
    state: string;
    run_id: string | null;
    run_state: string | null;
    note: string | null;
  } | null;
  slots_until: string | null;
  problem: string | null;
  created_at: string;
  updated_at: string;
  updated_by: string | null;
}

function scheduleJson(sql: Sql) {
  return sql`jsonb_build_object('name', s.name, 'description', s.description, 'cron', s.cron, 'time_zone', s.time_zone,
    'conf', etl.without_secrets(s.conf), 'configuration', s.conf ->> 'configuration', 'active', s.active,
    'paused', etl.is_paused(s.active, s.paused_until, clock_timestamp()), 'paused_until', etl.iso(s.paused_until),
    'missed', s.missed, 'grace_seconds', s.grace_seconds, 'overlap', s.overlap,
    'next_slot', (select etl.iso(min(n.slot)) from etl.slots as n where s.active and n.schedule = s.name and n.state = 'pending'
      and n.slot > greatest(clock_timestamp(), s.paused_until - interval '1 microsecond')),
    'last_slot', (select jsonb_build_object('slot', etl.iso(l.slot), 'state', l.state, 'run_id', l.run_id,
        'run_state', (select r.state from etl.runs as r where r.run_id = l.run_id), 'note', coalesce(l.note, l.problem ->> 'detail'))
      from etl.slots as l where l.schedule = s.name and l.state <> 'pending' and l.slot <= clock_timestamp()
      order by l.slot desc limit 1),
    'slots_until', etl.iso(s.slots_until), 'problem', s.problem, 'created_at', etl.iso(s.created_at),
    'updated_at', etl.iso(s.updated_at), 'updated_by', s.updated_by)`;
}

export interface NextSchedule {
  name: string;
  cron: string;
  zone: string;
  paused: boolean;
  next_slot: string | null;
}

/** Schedules by name, those after a name. */
export async function listSchedules(
  sql: Sql,
  { after = "", limit }: { after?: string; limit: number },
): Promise<ScheduleRow[]> {
  const rows = await sql<{ row: string }[]>`
    select ${scheduleJson(sql)}::text as row from etl.schedules as s
    where s.name collate "C" > ${after}::text order by s.name collate "C" limit ${limit}`;
  return rows.map(({ row }) => parseExact(row) as ScheduleRow);
}

/** Schedules as the overview lists them: those that are due next first, then paused ones. */
export async function nextSchedules(sql: Sql, limit: number): Promise<NextSchedule[]> {
  return await sql<NextSchedule[]>`
    select s.name, s.cron, s.time_zone as zone, etl.is_paused(s.active, s.paused_until, clock_timestamp()) as paused,
      etl.iso(n.slot) as next_slot
    from etl.schedules as s
    left join lateral (
      select min(p.slot) as slot from etl.slots as p where s.active and p.schedule = s.name and p.state = 'pending'
        and p.slot > greatest(clock_timestamp(), s.paused_until - interval '1 microsecond')) as n on true
    order by n.slot nulls last, s.name limit ${limit}`;
}

export async function getSchedule(sql: Sql, name: string): Promise<ScheduleRow | null> {
  const [found] = await sql<{ row: string }[]>`
    select ${scheduleJson(sql)}::text as row from etl.schedules as s where s.name = ${name}`;
  return found === undefined ? null : parseExact(found.row) as ScheduleRow;
}

/** Creates or replaces a schedule and audits who did it; answers whether it is new. */
export async function putSchedule(
  sql: Sql,
  { name, values, actor, onlyNew }: {
    name: string;
    values: ScheduleValues;
    actor: string;
    onlyNew: boolean;
  },
): Promise<boolean | null> {
  const row = JSON.stringify({ name, ...values });
  const pauses = values.active !== undefined;
  const ends = values.paused_until !== undefined;
  const [done] = await sql<{ is_new: boolean }[]>`
    with put as (
      insert into etl.schedules as s (name, description, cron, time_zone, conf, active, paused_until, missed, grace_seconds,
        overlap, updated_by)
      select name, description, cron, time_zone, conf, coalesce(active, true), paused_until, missed, grace_seconds,
        overlap, ${actor}
      from jsonb_populate_record(null::etl.schedules, ${row}::text::jsonb)
      on conflict (name) do update set description = excluded.description, cron = excluded.cron,
        time_zone = excluded.time_zone, conf = excluded.conf, missed = excluded.missed,
        grace_seconds = excluded.grace_seconds, overlap = excluded.overlap,
        active = case when ${pauses}::boolean then excluded.active else s.active end,
        paused_until = case when ${ends}::boolean then excluded.paused_until else s.paused_until end,
        updated_at = now(), updated_by = excluded.updated_by
      where not ${onlyNew}
      returning xmax = 0 as is_new),
    audited as (
      insert into public.etl_improved_audit (event, actor, details)
      select 'schedules_put', ${actor}::text, etl.shown_row(${row}::text::jsonb) from put returning 1)
    select is_new from put, audited`;
  return done?.is_new ?? null;
}

/** Pauses or resumes a schedule and audits who did it; false where there is none. */
export async function setPaused(
  sql: Sql,
  { name, active, until, actor }: {
    name: string;
    active: boolean;
    until: Date | null;
    actor: string;
  },
): Promise<boolean> {
  const event = active && until === null ? "schedules_resume" : "schedules_pause";
  const rows = await sql`
    with changed as (
      update etl.schedules set active = ${active}, paused_until = ${until}, updated_at = now(), updated_by = ${actor}
      where name = ${name} returning paused_until)
    insert into public.etl_improved_audit (event, actor, details)
    select ${event}::text, ${actor}::text, jsonb_build_object('name', ${name}::text, 'until', etl.iso(paused_until))
    from changed returning 1`;
  return rows.length > 0;
}

/** Removes a schedule with its slots and audits who did it; its runs stay. False where there was none. */
export async function deleteSchedule(
  sql: Sql,
  { name, actor }: { name: string; actor: string },
): Promise<boolean> {
  const rows = await sql`
    with gone as (delete from etl.schedules where name = ${name} returning 1)
    insert into public.etl_improved_audit (event, actor, details)
    select 'schedules_delete', ${actor}::text, jsonb_build_object('name', ${name}::text) from gone returning 1`;
  return rows.length > 0;
}

/** Asks for a run with a schedule's conf now. */
export async function runSchedule(
  sql: Sql,
  name: string,
  options: SubmitOptions,
): Promise<Submitted> {
  const [row] = await withoutConflicts(() =>
    sql<{ answer: Submitted }[]>`
      select etl.run_schedule(${name}, ${
      JSON.stringify({ ...options, immediate: true })
    }::text::jsonb) as answer`
  );
  await admitSoon(sql);
  return row!.answer;
}

/** A conf with the slots filled in, and what the database finds wrong with a run request of it. */
export async function checkSlotConf(
  sql: Sql,
  conf: unknown,
  { slot, previous, timeZone }: { slot: Date; previous: Date; timeZone: string },
): Promise<{ conf: unknown; errors: ResolvedParams["errors"] }> {
  const [row] = await sql<{ conf: unknown; errors: ResolvedParams["errors"] }[]>`
    select etl.fill_slots(c.conf, ${slot}, ${previous}, ${timeZone}) as conf, r.errors
    from (select ${JSON.stringify(conf)}::text::jsonb as conf) as c,
      etl.resolve_request(c.conf, ${slot}, ${previous}, ${timeZone}) as r`;
  return row!;
}

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
