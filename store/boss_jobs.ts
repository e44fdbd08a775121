import type { Sql } from "./database.ts";
import type { Queryable } from "./pg.ts";
import type { JobRun } from "./pg_cron.ts";

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
