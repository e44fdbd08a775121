import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { type Client, connect } from "../../store/pg.ts";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { client } from "../helpers/sql_problems.ts";

const read = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
const ORIGINAL = await read("tests/fixtures/original_installation.sql");
const FILES = {
  setup: await read("sql/etl_setup.sql"),
  migration: await read("sql/etl_migration.sql"),
};

/** Rows of the original's tables, and what is made of them. */
async function rows(sql: Client) {
  const { rows: [counts] } = await sql.query(`select
    (select count(*) from public.etl_improved_events)::integer as events,
    (select count(*) from public.etl_improved_metrics)::integer as metrics,
    (select count(distinct run_id) from public.etl_improved_metrics)::integer as runs,
    (select count(*) from public.etl_improved_metrics where low_ratio and status = 'failed')::integer as low,
    (select count(*) from public.etl_improved_audit where event = 'finished')::integer as audit,
    (select sum((details #>> '{audit,num_rows}')::integer) from public.etl_improved_audit where event = 'finished')::integer as num_rows,
    (select count(*) from public.etl_improved_alerts
      where details @> '{"ratio": 0.7, "avg_ratio": 0.9, "threshold_pct": 20}')::integer as alerts`);
  return counts;
}
const ALL = {
  events: 700,
  metrics: 300,
  runs: 300,
  low: 30,
  audit: 300,
  num_rows: 270 * 500 + 30 * 450,
  alerts: 40,
};

for (
  const order of [
    ["setup", "migration"],
    ["migration", "setup"],
    ["migration", "migration", "setup", "setup", "migration"],
  ] as const
) {
  Deno.test(`an original installation is taken over without losing a row: ${order.join(", ")}`, async (t) => {
    await using db = await testDatabase(t, { setUp: false });
    await using sql = await client(db.dsn);
    await sql.query(ORIGINAL);
    const before = (await sql.query("select * from public.etl_improved_metrics order by id")).rows;
    for (const name of order) {
      await sql.query(FILES[name]);
      assert.deepEqual(await rows(sql), ALL);
    }
    const kept = await sql.query<{ metrics: { id: number } }>(
      "select details -> 'metrics' as metrics from public.etl_improved_audit where event = 'migrated'",
    );
    const texts = (all: Record<string, unknown>[]) =>
      all.map((row) => `${row.id} ${row.run_label} ${Number(row.ratio)}`).sort();
    assert.deepEqual(texts(kept.rows.map(({ metrics }) => metrics)), texts(before));
    const { rows: [event] } = await sql.query(
      `select payload, source, occurred_at, first_seen_at, updated_at
      from public.etl_improved_events where event_id = 'evt-7'`,
    );
    assert.deepEqual(event, {
      payload: { id: 7, text: "ñ7", fingerprint: "7902699be42c8a8e" },
      source: "etl_improved",
      occurred_at: new Date("2024-10-31T17:00:00Z"),
      first_seen_at: new Date("2024-11-01T17:00:00Z"),
      updated_at: new Date("2024-12-01T17:00:00Z"),
    });
    assert.equal((await sql.query("select to_regnamespace('etl_original') as n")).rows[0].n, null);
  });
}

Deno.test("setup-db takes an original installation over by itself; its runs are in history, totals and views", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await using sql = await client(db.dsn);
  await sql.query(ORIGINAL);
  // and what later versions of it had
  await sql.query(
    `alter table public.etl_improved_metrics add column dry_run boolean not null default false;
    update public.etl_improved_metrics set dry_run = true where id = 1;
    create view public.v_etl_latest_metrics as select id, ratio from public.etl_improved_metrics order by at desc limit 1;
    create materialized view public.mv_etl_metrics_daily as select at::date as day, count(*) as n from public.etl_improved_metrics group by 1;
    create function public.refresh_etl_mvs() returns integer language sql as 'select 1'`,
  );
  const reader = `reader_${crypto.randomUUID().slice(0, 8)}`;
  await sql.query(
    `create role ${reader}; grant select on public.etl_improved_metrics to ${reader}`,
  );
  try {
    const made = await setupDatabase(db.dsn);
    assert.ok(made.includes("300 runs of the Airflow system, taken over"), made.join("\n"));
    const { rows: [seen] } = await sql.query(`select
      (select sum(runs) from etl.metrics_totals)::integer as runs,
      (select sum(low_ratio_runs) from etl.metrics_totals)::integer as low,
      (select sum(runs) from public.mv_etl_metrics_daily)::integer as daily,
      has_table_privilege('${reader}', 'public.etl_improved_metrics', 'select') as granted`);
    assert.deepEqual(seen, { runs: 300, low: 29, daily: 299, granted: true });
    await using engine = await startEngine(t, { database: db });
    const history =
      await (await engine.request("/api/metrics/history?limit=500&run_label=daily_prod")).json();
    assert.equal(history.data.length, 100);
    // the rows are updated like any others
    const run = await engine.load([{ id: "evt-7" }, { id: "new" }], {
      source: { name: "etl_improved" },
    });
    assert.deepEqual([run.state, run.counts?.inserted, run.counts?.updated], ["succeeded", 1, 1]);
  } finally {
    await sql.query(`drop owned by ${reader}; drop role ${reader}`);
  }
});

Deno.test("an original installation without alerts table, and with an event_type of its own, is taken over", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await using sql = await client(db.dsn);
  await sql.query(ORIGINAL);
  await sql.query(
    `drop table public.etl_improved_alerts;
    alter table public.etl_improved_events add column event_type text default 'view'`,
  );
  await sql.query(FILES.setup);
  await sql.query(FILES.migration);
  assert.deepEqual(await rows(sql), { ...ALL, alerts: 0 });
  const { rows: types } = await sql.query(
    "select distinct event_type from public.etl_improved_events",
  );
  assert.deepEqual(types, [{ event_type: "view" }]);
});

Deno.test("tables of a third shape are refused, saying what differs, and nothing is changed", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await using sql = await client(db.dsn);
  await sql.query(ORIGINAL);
  await sql.query(
    `alter table public.etl_improved_metrics drop column ratio, add column quality text,
    alter column total_rows type text`,
  );
  const shape = async () =>
    (await sql.query(
      "select attrelid::regclass::text as t, attname, atttypid from pg_attribute join pg_class as c on c.oid = attrelid where relname ~ '^etl_' order by 1, 2",
    )).rows;
  const before = await shape();
  for (const run of [() => setupDatabase(db.dsn), () => sql.query(FILES.migration)]) {
    await assert.rejects(
      run,
      /etl_improved_metrics is neither .* ratio expected integer .*, found no such column; total_rows expected .*, found text\. It has: .*quality text/,
    );
    assert.deepEqual(await shape(), before);
    // the driver's transaction ended with the error
    await sql.query("rollback; select pg_advisory_unlock_all()");
  }
});

Deno.test("four that set an original installation up at once take each row over once", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await using sql = await client(db.dsn);
  await sql.query(ORIGINAL);
  const clients = await Promise.all([1, 2, 3, 4].map(() => connect(db.dsn)));
  try {
    await Promise.all(
      clients.map((each, i) => each.query(i % 2 ? FILES.setup : FILES.migration)),
    );
  } finally {
    await Promise.all(clients.map((each) => each.end()));
  }
  await sql.query(FILES.setup);
  assert.deepEqual(await rows(sql), ALL);
});
