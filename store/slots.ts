import type { Sql } from "./database.ts";

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
    order by slots_until nulls first, name limit 1000`;
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

/** Deletes old decided slots; answers how many. */
export async function purgeSlots(sql: Sql): Promise<number> {
  let total = 0;
  for (;;) {
    const [row] = await sql<{ gone: number }[]>`select etl.purge_slots()::float8 as gone`;
    if (row!.gone === 0) return total;
    total += row!.gone;
  }
}
