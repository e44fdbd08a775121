import assert from "node:assert/strict";
import { Database } from "../../store/database.ts";
import { type Client, connect } from "../../store/pg.ts";
import { viewRefreshAge } from "../../store/reactions.ts";
import { client } from "../helpers/sql_problems.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** What the views have to show, computed from everything. */
const METRICS = `select (created_at at time zone 'UTC')::date as day, count(*) as num_runs,
  coalesce(sum(total_rows) filter (where not dry_run), 0)::bigint as total_rows_sum,
  (avg(total_rows) filter (where not dry_run))::double precision as total_rows_avg,
  coalesce(sum(expected_rows) filter (where not dry_run), 0)::bigint as expected_rows_sum,
  (avg(expected_rows) filter (where not dry_run))::double precision as expected_rows_avg,
  avg(ratio) filter (where not dry_run) as ratio_avg, min(ratio) filter (where not dry_run) as ratio_min,
  max(ratio) filter (where not dry_run) as ratio_max, count(*) filter (where low_ratio and not dry_run) as low_ratio_count,
  count(*) filter (where dry_run) as dry_run_count, coalesce(sum(num_chunks) filter (where not dry_run), 0)::bigint as chunks_sum,
  max(created_at) as last_run_at, count(*) filter (where not dry_run) as runs,
  coalesce(sum(total_rows) filter (where not dry_run), 0)::bigint as total_rows
  from public.etl_improved_metrics where replay_of is null and ratio is not null
  group by 1`;
const ALERTS = `select (created_at at time zone 'UTC')::date as day, kind, count(*) as alert_count,
  max(created_at) as last_alert_at, count(*) as alerts from public.etl_improved_alerts group by 1, 2`;

/** Refreshes the views and compares them with everything that there is; answers how many days they show. */
async function refreshed(sql: Client, after: string): Promise<number[]> {
  await sql.query("select public.refresh_etl_mvs()");
  const days: number[] = [];
  for (const [view, text] of [["mv_etl_metrics_daily", METRICS], ["mv_etl_alerts_daily", ALERTS]]) {
    const { rows } = await sql.query(
      `select (select count(*)::int from public.${view}) as days, (select count(*)::int from (
        (select * from public.${view} except all ${text}) union all (${text} except all select * from public.${view})) as d) as wrong`,
    );
    assert.equal(rows[0].wrong, 0, `${view} after ${after}`);
    days.push(rows[0].days);
  }
  return days;
}

const insertRuns = (table: string, runs: number, days: number) =>
  `insert into ${table} (run_id, run_label, ratio, low_ratio, total_rows, expected_rows, num_chunks, dry_run, created_at)
  select gen_random_uuid(), 'r' || n % 7, case when n % 11 > 0 then (n % 4) / 4.0 end, n % 4 < 2, n, n + 1, 3, n % 13 = 0,
    date '2026-03-01' + (n % ${days}) + time '23:30' + n * interval '1 second' from generate_series(1, ${runs}) as n`;

Deno.test("the daily views show what there is after runs and alerts came, changed, went or were all deleted", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query("select etl.ensure_destination('sales', 'orders', 'etl_improved_audit')");
  await sql.query(insertRuns("public.etl_improved_metrics", 300, 30));
  await sql.query(insertRuns("sales.etl_improved_metrics", 40, 35));
  await sql.query(
    `insert into public.etl_improved_alerts (kind, message, created_at)
    select 'kind' || n % 3, '', date '2026-03-01' + n % 10 + time '12:00' from generate_series(1, 60) as n`,
  );
  assert.deepEqual(await refreshed(sql, "the first"), [34, 30]);
  const steps: [string, string[]][] = [
    ["a retry", [
      "update public.etl_improved_metrics set ratio = 1, total_rows = 5 where total_rows % 9 = 0",
    ]],
    ["another schema's", ["update sales.etl_improved_metrics set total_rows = 1000"]],
    ["a run that moved to another day", [
      "update sales.etl_improved_metrics set created_at = created_at + interval '40 days' where num_chunks = 3 and ratio = 0.25",
    ]],
    ["a retention", [
      "delete from public.etl_improved_metrics where created_at < '2026-03-10'",
      "delete from public.etl_improved_alerts where created_at < '2026-03-03'",
      "update public.etl_improved_alerts set kind = 'other' where kind = 'kind1'",
    ]],
    ["a rollback", ["begin", insertRuns("public.etl_improved_metrics", 3, 3), "rollback"]],
    ["counting anew", ["select etl.recount_metrics()"]],
  ];
  for (const [after, statements] of steps) {
    for (const statement of statements) await sql.query(statement);
    await refreshed(sql, after);
  }
  await sql.query("truncate public.etl_improved_metrics, public.etl_improved_alerts");
  assert.deepEqual(await refreshed(sql, "truncate"), [0, 0]);
});

Deno.test("two refreshes at once and a run between them leave no day behind", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const other = await connect(db.dsn, { applicationName: "the test's session" });
  try {
    await other.query("begin");
    await other.query(insertRuns("public.etl_improved_metrics", 3, 1));
    await sql.query(insertRuns("public.etl_improved_metrics", 5, 1));
    await sql.query("select public.refresh_etl_mvs()");
    await other.query("commit");
    await Promise.all([other, sql].map((each) => each.query("select public.refresh_etl_mvs()")));
    assert.deepEqual(await refreshed(sql, "both"), [1, 0]);
  } finally {
    await other.end();
  }
});

Deno.test("a refresh that is asked for while one is under way is still due after it", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const [reader, refreshing] = [await connect(db.dsn), await connect(db.dsn)];
  const isDue = async () =>
    (await sql.query("select requested > done as due from etl.view_refresh")).rows[0].due;
  try {
    await sql.query(insertRuns("public.etl_improved_metrics", 3, 1));
    await sql.query("select etl.request_view_refresh()");
    await reader.query("begin; lock table etl.metrics_daily in access exclusive mode");
    const refresh = refreshing.query("select etl.refresh_views_if_asked()");
    await waitFor(async () =>
      (await sql.query(
        "select from pg_locks where not granted and relation = 'etl.metrics_daily'::regclass",
      ))
        .rowCount === 1
    );
    await sql.query("select etl.request_view_refresh()");
    await reader.query("commit");
    await refresh;
    assert.equal(await isDue(), true);
    await sql.query("select etl.refresh_views_if_asked()");
    assert.equal(await isDue(), false);
  } finally {
    await reader.end();
    await refreshing.end();
  }
});

Deno.test("a refresh of the daily views reads the days that have changed, not the history", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query(insertRuns("public.etl_improved_metrics", 20_000, 200));
  await sql.query(
    `insert into public.etl_improved_alerts (kind, message, created_at)
    select 'k', '', date '2026-03-01' + n % 200 from generate_series(1, 10000) as n`,
  );
  await sql.query("analyze public.etl_improved_metrics, public.etl_improved_alerts");
  await sql.query("select public.refresh_etl_mvs()");
  const read = async () => {
    await sql.query("select pg_stat_force_next_flush()");
    const { rows } = await sql.query(
      `select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int as n from pg_stat_user_tables
      where relid in ('public.etl_improved_metrics'::regclass, 'public.etl_improved_alerts'::regclass)`,
    );
    return rows[0].n as number;
  };
  const before = await read();
  await sql.query(
    `insert into public.etl_improved_metrics (run_id, ratio, total_rows) values (gen_random_uuid(), 1, 1);
    insert into public.etl_improved_alerts (kind, message, created_at) values ('k', '', '2026-03-05')`,
  );
  await sql.query("select public.refresh_etl_mvs()");
  const rows = await read() - before;
  assert.ok(rows >= 50 && rows < 200, `${rows} rows read`);
  await refreshed(sql, "that");
});

Deno.test("how old the daily views are is told in milliseconds, and of none before they were made", async (t) => {
  await using db = await testDatabase(t);
  const database = new Database(db.dsn, { applicationName: "etl test", max: 1 });
  const { sql } = database;
  try {
    await sql`update etl.view_refresh set refreshed_at = null`;
    assert.equal(await viewRefreshAge(sql), null);
    await sql`update etl.view_refresh set refreshed_at = clock_timestamp() - interval '90 seconds'`;
    const age = await viewRefreshAge(sql);
    assert.ok(age !== null && age >= 90_000 && age < 120_000, `${age}`);
  } finally {
    await database.close({ timeoutSeconds: 1 });
  }
});
