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

/** Clients that keep a transaction with locks open and do nothing, the oldest first. */
export async function idleBlockers(sql: Sql, olderThanSeconds: number): Promise<Blocker[]> {
  return await sql<Blocker[]>`
    select a.pid, a.application_name as application, a.usename as role, a.state,
      round(extract(epoch from clock_timestamp() - a.xact_start))::integer as seconds
    from pg_locks as l join pg_stat_activity as a using (pid)
    where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted
      and a.datname = current_database() and a.pid <> pg_backend_pid() and coalesce(a.state, '') <> 'active'
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
