import type { Queryable } from "./pg.ts";

/** Who runs the periodic jobs, as it was decided last. */
export interface JobScheduler {
  kind: "pg_cron" | "servers";
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
