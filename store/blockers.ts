import type { Sql } from "./database.ts";

/** A client whose open transaction has changed something and holds its locks. */
export interface Blocker {
  pid: number;
  application: string;
  role: string | null;
  /** Null where this role may not see it. */
  state: string | null;
  seconds: number | null;
}

/**
 * Clients that keep a transaction open with locks that others wait for: rows that it has changed, or a table that it has
 * locked. The oldest first.
 *
 * @param options.busy also those that are executing a statement; default: only those that do nothing.
 */
export async function blockers(
  sql: Sql,
  olderThanSeconds: number,
  { busy = false }: { busy?: boolean } = {},
): Promise<Blocker[]> {
  return await sql<Blocker[]>`
    select a.pid, a.application_name as application, a.usename as role, a.state,
      round(extract(epoch from clock_timestamp() - a.xact_start))::integer as seconds
    from pg_stat_activity as a
    where exists (select from pg_locks as l where l.pid = a.pid and l.granted and (
        l.locktype = 'transactionid' and l.mode = 'ExclusiveLock'
        or l.locktype = 'relation' and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')))
      and a.datname = current_database() and a.pid <> pg_backend_pid()
      and (${busy} or coalesce(a.state, '') <> 'active') and coalesce(a.backend_type, 'client backend') = 'client backend'
      and coalesce(a.xact_start, '-infinity') < clock_timestamp() - ${olderThanSeconds} * interval '1 second'
      -- runs and consumers are our own
      and a.application_name not like 'etl-%'
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
