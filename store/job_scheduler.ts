import type { Sql } from "./database.ts";
import type { Queryable } from "./pg.ts";
import type { JobRun } from "./pg_cron.ts";

/** Who runs the periodic jobs, as it was decided last. */
export interface JobScheduler {
  kind: "pg_cron" | "pg_boss";
  /** pg_cron's database and the role that the jobs belong to. */
  cron_database: string | null;
  cron_role: string | null;
  /** Why it is not pg_cron, or what somebody should know. */
  reason: string | null;
  grants: string[];
}

/** What was decided last; null before the first time. */
export async function readJobScheduler(db: Queryable): Promise<JobScheduler | null> {
  const { rows } = await db.query<JobScheduler>(
    "select kind, cron_database, cron_role, reason, grants from etl.job_scheduler",
  );
  return rows[0] ?? null;
}

/** Whether servers log in as this role, as a set-up was told. */
export async function isServerRole(db: Queryable, role: string): Promise<boolean> {
  const { rowCount } = await db.query("select from etl.server_roles where role_name = $1", [role]);
  return rowCount === 1;
}

/** Notes a decision; its time changes only if the decision does. */
export async function writeJobScheduler(db: Queryable, scheduler: JobScheduler): Promise<void> {
  await db.query(
    `insert into etl.job_scheduler as s (kind, cron_database, cron_role, reason, grants)
     select kind, cron_database, cron_role, reason, grants from jsonb_populate_record(null::etl.job_scheduler, $1::jsonb)
     on conflict (singleton) do update set kind = excluded.kind, cron_database = excluded.cron_database,
       cron_role = excluded.cron_role, reason = excluded.reason, grants = excluded.grants, decided_at = now(), decided_by = current_user
     where (s.kind, s.cron_database, s.cron_role, s.reason, s.grants)
       is distinct from (excluded.kind, excluded.cron_database, excluded.cron_role, excluded.reason, excluded.grants)`,
    [JSON.stringify(scheduler)],
  );
}

/** Keeps pg-boss from running jobs that pg_cron runs. */
export async function dropBossSchedules(db: Queryable, names: string[]): Promise<void> {
  await db.query(
    `do $$ begin
       if to_regclass('pgboss.schedule') is not null then delete from pgboss.schedule where name = any (${
      literalArray(names)
    }); end if;
     end $$`,
  );
}

/** Names of jobs as a literal; they are words. */
function literalArray(names: string[]): string {
  return `'{${names.filter((name) => /^\w+$/.test(name)).join(",")}}'::text[]`;
}

/** The jobs that pg-boss runs. */
export async function bossScheduled(sql: Sql, names: string[]): Promise<Set<string>> {
  const rows = await sql<{ name: string }[]>`
    select name from pgboss.schedule where name = any(${names})`;
  return new Set(rows.map((row) => row.name));
}

/** The last runs of a job by pg-boss, newest first. */
export async function bossRuns(sql: Sql, name: string, limit: number): Promise<JobRun[]> {
  return await sql<JobRun[]>`
    select etl.iso(started_on) as started_at, etl.iso(completed_on) as ended_at,
      case state::text when 'completed' then 'succeeded' when 'created' then 'waiting' when 'active' then 'running'
        else state::text end as status,
      coalesce(output ->> 'message', output ->> 'value') as message,
      extract(epoch from clock_timestamp() - started_on)::double precision as age_seconds
    from pgboss.job where name = ${name} order by created_on desc limit ${limit}`;
}

/** Runs a job's command; answers what its first column says. */
export async function runJobCommand(sql: Sql, command: string): Promise<unknown> {
  const [row] = await sql.unsafe(command);
  return row === undefined ? null : Object.values(row)[0];
}
