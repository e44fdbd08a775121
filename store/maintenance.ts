import { databaseNow, type Sql } from "./database.ts";
import { connect, type Queryable } from "./pg.ts";

/** The tasks of etl_maintenance, in their order. */
export const MAINTENANCE_TASKS = [
  "clean_old_metrics",
  "clean_old_audit",
  "clean_old_alerts",
  "clean_old_events",
  "refresh_mvs",
  "vacuum_analyze",
] as const;
export type MaintenanceTask = (typeof MAINTENANCE_TASKS)[number];

/** How far a table is: what `etl.delete_old` notes. */
export interface TableProgress {
  table: string;
  deleted: number;
  done: boolean;
}

export interface MaintenanceTaskView {
  task: MaintenanceTask;
  state: "pending" | "running" | "succeeded" | "failed" | "skipped";
  cutoff: string | null;
  started_at: string | null;
  ended_at: string | null;
  deleted: number;
  batches: number;
  tables: TableProgress[];
  warnings: string[];
  error: string | null;
}

/** A maintenance as the API shows it. */
export interface MaintenanceView {
  maintenance_id: string;
  state: "queued" | "running" | "succeeded" | "failed";
  trigger: string;
  requested_by: string;
  params: Record<string, number>;
  origins: Record<string, string>;
  attempt: number;
  requested_at: string;
  started_at: string | null;
  ended_at: string | null;
  duration_ms: number | null;
  deleted: number;
  tasks: MaintenanceTaskView[];
  error: string | null;
}

/** Asks for a maintenance; answers its id. Raises a problem when the conf is wrong or one is going on. */
export async function requestMaintenance(
  sql: Sql,
  conf: unknown,
  options: { trigger: string; requested_by: string; confirm?: boolean },
): Promise<string> {
  const [row] = await sql<{ id: string }[]>`
    select etl.request_maintenance(${JSON.stringify(conf)}::text::jsonb, ${
    JSON.stringify(options)
  }::text::jsonb) as id`;
  return row!.id;
}

/** What a maintenance with this conf would delete now; nothing is asked for. */
export interface MaintenancePreview {
  dry_run: true;
  params: Record<string, number>;
  origins: Record<string, string>;
  would_delete: number;
  tasks: {
    task: MaintenanceTask;
    cutoff: string | null;
    would_delete: number;
    tables: { table: string; would_delete: number }[];
    warnings: string[];
  }[];
}

/** Counts what would go. Raises the problem of a request when the conf is wrong. */
export async function previewMaintenance(sql: Sql, conf: unknown): Promise<MaintenancePreview> {
  const [resolved] = await sql<
    (Pick<MaintenancePreview, "params" | "origins"> & {
      errors: unknown[];
      adjusted: Record<string, unknown>;
    })[]
  >`select params, origins, errors, adjusted from etl.resolve_maintenance(${
    JSON.stringify(conf)
  }::text::jsonb)`;
  const { params, origins, errors, adjusted } = resolved!;
  // a wrong conf is refused before anything is stored
  if (errors.length > 0) {
    await requestMaintenance(sql, conf, { trigger: "preview", requested_by: "" });
  }
  const now = (await databaseNow(sql)).getTime();
  const tasks = [];
  for (const task of MAINTENANCE_TASKS.filter((each) => each.startsWith("clean_old_"))) {
    const name = task.replace("clean_old_", "retention_days_");
    const days = params[name]!;
    const cutoff = days === -1 ? null : new Date(now - days * 86_400_000).toISOString();
    const tables = [];
    for (
      const { name: table, rows: from, older } of cutoff === null
        ? []
        : await maintainedTables(sql, task)
    ) {
      const [row] = await sql.unsafe<{ rows: number }[]>(
        `select count(*)::float8 as rows from ${from} where ${older}`,
        [cutoff],
      );
      tables.push({ table, would_delete: row!.rows });
    }
    const wouldDelete = tables.reduce((sum, each) => sum + each.would_delete, 0);
    const warnings = Object.hasOwn(adjusted, name)
      ? [`${name} comes from the ${origins[name]}; ${days} days are taken`]
      : [];
    tasks.push({ task, cutoff, would_delete: wouldDelete, tables, warnings });
  }
  const wouldDelete = tasks.reduce((sum, each) => sum + each.would_delete, 0);
  return { dry_run: true, params, origins, would_delete: wouldDelete, tasks };
}

/**
 * Events that would go by occurred_at and would have stayed by updated_at, as version 0.1.0 had it. 0: nothing
 * keeps the new rule from being followed, and from now on nothing is asked.
 */
export async function eventsOfNewRule(sql: Sql, id: string): Promise<number> {
  const [asked] = await sql<{ agreed: boolean; cutoff: string }[]>`
    select s.events_by_occurred_at as agreed, t.cutoff::text as cutoff
    from etl.param_schema as s, etl.maintenance_tasks as t
    where t.maintenance_id = ${id} and t.task = 'clean_old_events'`;
  if (asked!.agreed) return 0;
  let more = 0;
  for (const { rows: from, older, is_typed } of await maintainedTables(sql, "clean_old_events")) {
    // which 0.1.0 did not have
    if (is_typed) continue;
    const [row] = await sql.unsafe<{ rows: number }[]>(
      `select count(*)::float8 as rows from ${from} where ${older} and updated_at >= ${CUTOFF}`,
      [asked!.cutoff],
    );
    more += row!.rows;
  }
  if (more === 0) await sql`update etl.param_schema set events_by_occurred_at = true`;
  return more;
}

function maintenanceJson(sql: Sql) {
  return sql`jsonb_build_object('maintenance_id', m.maintenance_id, 'state', m.state, 'trigger', m.trigger,
    'requested_by', m.requested_by, 'params', m.params, 'origins', m.origins, 'attempt', m.attempt,
    'requested_at', etl.iso(m.requested_at), 'started_at', etl.iso(m.started_at), 'ended_at', etl.iso(m.ended_at),
    'duration_ms', round((extract(epoch from m.ended_at - m.started_at) * 1000)::numeric, 1), 'error', m.error,
    'deleted', (select sum(t.deleted) from etl.maintenance_tasks as t where t.maintenance_id = m.maintenance_id),
    'tasks', (select jsonb_agg(jsonb_build_object('task', t.task, 'state', t.state, 'cutoff', etl.iso(t.cutoff),
        'started_at', etl.iso(t.started_at), 'ended_at', etl.iso(t.ended_at), 'deleted', t.deleted, 'batches', t.batches,
        'tables', coalesce((select jsonb_agg(jsonb_build_object('table', p.value ->> 'table', 'deleted', p.value -> 'deleted',
          'done', p.value -> 'done') order by p.value ->> 'table') from jsonb_each(t.progress) as p), '[]'),
        'warnings', t.warnings, 'error', t.error) order by t.task_no)
      from etl.maintenance_tasks as t where t.maintenance_id = m.maintenance_id))`;
}

/** One maintenance with its tasks; null where there is none. */
export async function maintenanceView(sql: Sql, id: string): Promise<MaintenanceView | null> {
  const [row] = await sql<{ view: MaintenanceView }[]>`
    select ${
    maintenanceJson(sql)
  } as view from etl.maintenance_runs as m where m.maintenance_id = ${id}`;
  return row?.view ?? null;
}

/** Newest first; `before`: the id that the page before ended with. */
export async function listMaintenance(
  sql: Sql,
  { limit, before }: { limit: number; before?: string | undefined },
): Promise<MaintenanceView[]> {
  // ids grow with time
  const rows = await sql<{ view: MaintenanceView }[]>`
    select ${maintenanceJson(sql)} as view from etl.maintenance_runs as m
    ${before === undefined ? sql`` : sql`where m.maintenance_id < ${before}`}
    order by m.maintenance_id desc limit ${limit}`;
  return rows.map((row) => row.view);
}

/** Takes a maintenance up; answers the number of the attempt, null where there is nothing left to do. */
export async function startMaintenance(
  sql: Sql,
  id: string,
  serverId: string,
): Promise<number | null> {
  const [row] = await sql<{ attempt: number }[]>`
    update etl.maintenance_runs set state = 'running', attempt = attempt + 1, server_id = ${serverId},
      started_at = coalesce(started_at, now())
    where maintenance_id = ${id} and state in ('queued', 'running') returning attempt`;
  return row?.attempt ?? null;
}

/** An attempt of a maintenance: what writes its state is refused when it is not the current one. */
export interface MaintenanceAttempt {
  id: string;
  attempt: number;
}

const SUPERSEDED = "Another server carries this maintenance out now";

/** Marks a task as running, or as skipped where its retention is switched off. False: it was done before. */
export async function startMaintenanceTask(
  sql: Sql,
  { id, attempt }: MaintenanceAttempt,
  task: MaintenanceTask,
): Promise<boolean> {
  const rows = await sql<{ state: string; current: boolean }[]>`
    with changed as (
      update etl.maintenance_tasks as t set
        state = case when t.cutoff is null and t.task like 'clean%' then 'skipped' else 'running' end,
        ended_at = case when t.cutoff is null and t.task like 'clean%' then clock_timestamp() end,
        started_at = coalesce(t.started_at, clock_timestamp())
      from etl.maintenance_runs as m
      where t.maintenance_id = ${id} and t.task = ${task} and t.state in ('pending', 'running')
        and m.maintenance_id = t.maintenance_id and m.attempt = ${attempt} and m.state = 'running'
      returning t.state)
    select (select state from changed) as state, exists (select from etl.maintenance_runs
      where maintenance_id = ${id} and attempt = ${attempt} and state = 'running') as current`;
  if (!rows[0]!.current) throw new Error(SUPERSEDED);
  return rows[0]!.state === "running";
}

export interface TaskOutcome {
  /** Set: the task has failed. */
  error?: string | undefined;
  warnings: string[];
}

export async function endMaintenanceTask(
  sql: Sql,
  { id, attempt }: MaintenanceAttempt,
  { task, error, warnings }: TaskOutcome & { task: MaintenanceTask },
): Promise<void> {
  const rows = await sql`
    update etl.maintenance_tasks as t set state = ${error === undefined ? "succeeded" : "failed"},
      ended_at = clock_timestamp(), error = ${error ?? null},
      warnings = t.warnings || ${JSON.stringify(warnings)}::text::jsonb
    from etl.maintenance_runs as m
    where t.maintenance_id = ${id} and t.task = ${task} and t.state = 'running'
      and m.maintenance_id = t.maintenance_id and m.attempt = ${attempt} and m.state = 'running' returning 1`;
  if (rows.length === 0) throw new Error(SUPERSEDED);
}

/** Ends a maintenance, failed if a task is, and audits it; answers its state. */
export async function finishMaintenance(
  sql: Sql,
  { id, attempt }: MaintenanceAttempt,
): Promise<"succeeded" | "failed"> {
  const [row] = await sql<{ state: "succeeded" | "failed" }[]>`
    with tasks as (
      select string_agg(t.task || ': ' || t.error, '; ' order by t.task_no) filter (where t.state = 'failed') as error,
        jsonb_object_agg(t.task, t.deleted) filter (where t.task like 'clean%') as deleted
      from etl.maintenance_tasks as t where t.maintenance_id = ${id}),
    ended as (
      update etl.maintenance_runs as m set state = case when t.error is null then 'succeeded' else 'failed' end,
        error = t.error, ended_at = clock_timestamp()
      from tasks as t where m.maintenance_id = ${id} and m.attempt = ${attempt} and m.state = 'running'
      returning m.state, m.params, m.requested_by, m.error, t.deleted),
    audited as (
      insert into public.etl_improved_audit (event, status, actor, params, details)
      select 'maintenance_finished', state, requested_by, params,
        jsonb_strip_nulls(jsonb_build_object('maintenance_id', ${id}::uuid, 'deleted', deleted, 'error', error)) from ended)
    select state, etl.tell_maintenance(state, error, deleted) from ended`;
  if (row === undefined) throw new Error(SUPERSEDED);
  return row.state;
}

/** The maintenance that is to be carried out now; null where there is none. */
export async function dueMaintenance(sql: Sql): Promise<string | null> {
  const [row] = await sql<{ id: string }[]>`
    select maintenance_id as id from etl.maintenance_runs
    where state in ('queued', 'running') and next_attempt_at <= clock_timestamp()`;
  return row?.id ?? null;
}

/** Lets a maintenance that failed rest for up to a minute, or gives it up after so many attempts. */
export async function restMaintenance(
  sql: Sql,
  id: string,
  { error, maxAttempts }: { error: string; maxAttempts: number },
): Promise<void> {
  await sql`
    update etl.maintenance_runs set next_attempt_at = clock_timestamp() + least(60, power(2, attempt - 1)) * interval '1 second',
      state = case when attempt >= ${maxAttempts} then 'failed' else state end,
      error = case when attempt >= ${maxAttempts} then ${error} end,
      ended_at = case when attempt >= ${maxAttempts} then clock_timestamp() end
    where maintenance_id = ${id} and state in ('queued', 'running')`;
}

/** A table that a task cleans. */
export interface MaintainedTable {
  oid: number;
  /** Quoted, `schema.name`. */
  name: string;
  /** What comes after "from" to get its rows. */
  rows: string;
  /** SQL that is true of the rows that are older than $1. */
  older: string;
  is_typed: boolean;
  may_delete: boolean;
}

/** A time as text: a driver's Date has no microseconds. */
const CUTOFF = "$1::text::timestamptz";

export async function maintainedTables(
  sql: Sql,
  task: MaintenanceTask,
): Promise<MaintainedTable[]> {
  return await sql<MaintainedTable[]>`
    select c.oid, format('%I.%I', n.nspname, c.relname) as name, etl.rows_of(c.oid) as rows,
      etl.is_older(c.oid, t.time_column, ${CUTOFF}) as older, etl.is_typed(c.oid) as is_typed,
      case when ${task} = 'clean_old_audit'
        then has_function_privilege('etl.delete_audit(regclass, tid[], timestamptz)', 'execute')
        else has_table_privilege(c.oid, 'delete') and has_table_privilege(c.oid, 'update')
          -- its rows are deleted where they lie
          and not (etl.is_typed(c.oid) and etl.is_spread(c.oid)) end as may_delete
    from etl.maintained_tables(${task}) as t join pg_class as c on c.oid = t.relation
    join pg_namespace as n on n.oid = c.relnamespace order by 2`;
}

export interface Batch {
  deleted: number;
  done: boolean;
  /** Whether a run is going on, which the maintenance must leave room. */
  busy: boolean;
}

/** Deletes one batch of a table, in the caller's transaction. */
export async function deleteOldBatch(
  client: Queryable,
  { id, attempt }: MaintenanceAttempt,
  { task, oid, batch }: { task: MaintenanceTask; oid: number; batch: number },
): Promise<Batch> {
  // what a crash may take back is deleted again
  await client.query("set local synchronous_commit = off");
  const { rows } = await client.query<Batch>(
    `select d.deleted::integer, d.done,
       exists (select from etl.runs where admitted_at is not null and state in ('queued', 'running')) as busy
     from etl.delete_old($1, $2, $3, $4::oid::regclass, $5) as d`,
    [id, attempt, task, oid, batch],
  );
  return rows[0]!;
}

/** Deletes a batch of keys that were deleted longer ago than events are kept; answers how many. */
export async function purgeTombstones(
  sql: Sql,
  { id }: MaintenanceAttempt,
  batch: number,
): Promise<number> {
  const [row] = await sql<{ gone: number }[]>`
    select etl.purge_tombstones(${id}, ${batch}) as gone`;
  return row!.gone;
}

/** All tables that are maintained, quoted, in their order: what is vacuumed. */
export async function vacuumedTables(sql: Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select distinct format('%I.%I', n.nspname, c.relname) as name
    from unnest(${
    MAINTENANCE_TASKS.filter((task) => task.startsWith("clean_old_"))
  }::text[]) as k (task)
    cross join lateral etl.maintained_tables(k.task) as t
    join pg_class as c on c.oid = t.relation join pg_namespace as n on n.oid = c.relnamespace order by 1`;
  return rows.map((row) => row.name);
}

export async function refreshDailyViews(sql: Sql): Promise<void> {
  await sql`select public.refresh_etl_mvs()`;
}

/** How gently a table is vacuumed while runs go on: as autovacuum does it. */
const BUSY_COST_DELAY_MS = 2;

export interface VacuumOptions {
  dsn: string;
  /** Whether runs are going on. */
  busy: boolean;
  signal: AbortSignal;
}

/**
 * VACUUM (ANALYZE) of tables (quoted, `schema.name`), one after the other, each outside of a
 * transaction. Answers in words what this role may not vacuum: PostgreSQL only warns of it.
 */
export async function vacuumTables(
  tables: string[],
  { dsn, busy, signal }: VacuumOptions,
): Promise<string[]> {
  const refused: string[] = [];
  const client = await connect(dsn, { applicationName: "etl-improved maintenance" });
  const stop = () => {
    client.end().catch(() => {});
  };
  signal.addEventListener("abort", stop);
  let denied = false;
  // whatever language the server speaks: this statement warns of nothing else
  client.on("notice", ({ code }) => denied ||= code?.startsWith("01") ?? false);
  try {
    const { rows: [server] } = await client.query<{ major: number; pid: number }>(
      "select current_setting('server_version_num')::integer / 10000 as major, pg_backend_pid() as pid",
    );
    // behind a pooler that shares connections, settings would be somebody else's
    if ((client as unknown as { processID: number }).processID === server!.pid) {
      await client.query("set statement_timeout = 0");
      await client.query(`set vacuum_cost_delay = '${busy ? BUSY_COST_DELAY_MS : 0}ms'`);
    }
    // from 18 on the tables that inherit from one are vacuumed with it, asked for or not
    const listed = await client.query<{ name: string; spread: boolean }>(
      "select t.name, etl.is_spread(t.name::regclass) as spread from unnest($1::text[]) as t (name)",
      [tables],
    );
    for (const { name: table, spread } of listed.rows) {
      signal.throwIfAborted();
      denied = false;
      await client.query(
        `vacuum (analyze) ${server!.major >= 18 && !spread ? "only " : ""}${table}`,
      );
      if (denied) refused.push(table);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    await client.end().catch(() => {});
  }
  return refused;
}
