import type { Sql } from "./database.ts";

/** A client whose open transaction has changed something and holds its locks. */
export interface Blocker {
  pid: number;
  application: string;
  role: string | null;
  /** Null where this role may not see it. */
  state: string | null;
  seconds: number | null;
  /** Whether it holds one of the locks by which servers take turns, which whoever may connect can take. */
  turn: boolean;
}

/** Turns that a server leaves to another without waiting for it, so that nobody is seen to wait. */
const UNAWAITED = ["etl tick_schedules", "etl sweep_conditions", "etl purge", "etl ends waits"];

/**
 * Clients that keep a transaction open with locks that others wait for: rows that it has changed, or a table that it has
 * locked; and those that hold a turn of the servers. The oldest first.
 *
 * @param options.busy also those that are executing a statement; default: only those that do nothing, or hold a turn.
 */
export async function blockers(
  sql: Sql,
  olderThanSeconds: number,
  { busy = false }: { busy?: boolean } = {},
): Promise<Blocker[]> {
  return await sql<Blocker[]>`
    with locks as materialized (select * from pg_locks), held as (
      select l.pid, bool_or(l.locktype = 'advisory') as turn from locks as l
      where l.granted and (
        l.locktype = 'transactionid' and l.mode = 'ExclusiveLock'
        or l.locktype = 'relation' and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        or l.locktype = 'advisory' and (
          l.classid::bigint << 32 | l.objid::bigint = any (select hashtextextended(u.turn, 0) from unnest(${UNAWAITED}::text[]) as u (turn))
          or exists (
            select from locks as w join pg_stat_activity as o on o.pid = w.pid
            where not w.granted and w.locktype = 'advisory' and (w.database, w.classid, w.objid, w.objsubid) = (l.database, l.classid, l.objid, l.objsubid)
              and w.waitstart < clock_timestamp() - ${olderThanSeconds} * interval '1 second' and o.usename = current_user)))
      group by l.pid)
    select a.pid, a.application_name as application, a.usename as role, a.state,
      round(extract(epoch from clock_timestamp() - a.xact_start))::integer as seconds, h.turn
    from pg_stat_activity as a join held as h on h.pid = a.pid
    where a.datname = current_database() and a.pid <> pg_backend_pid()
      and (${busy} or h.turn or coalesce(a.state, '') <> 'active') and coalesce(a.backend_type, 'client backend') = 'client backend'
      and coalesce(a.xact_start, '-infinity') < clock_timestamp() - ${olderThanSeconds} * interval '1 second'
      -- runs and consumers are our own
      and (a.application_name not like 'etl-%' or h.turn and a.usename <> current_user)
    order by a.xact_start limit 5`;
}

/** "pid 123 (psql, role app, idle in transaction for 45 s)" */
export function blockerText({ pid, application, role, state, seconds }: Blocker): string {
  const parts = [
    application || "no application name",
    role === null ? null : `role ${role}`,
    state === null ? null : seconds === null ? state : `${state} for ${seconds} s`,
  ];
  return `pid ${pid} (${parts.filter((part) => part !== null).join(", ")})`;
}
