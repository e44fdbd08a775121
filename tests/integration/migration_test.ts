import assert from "node:assert/strict";
import { createLog } from "../../telemetry/log.ts";
import { fillAllFingerprints } from "../../pipeline/fingerprints.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { fillFingerprints, takenOverTables } from "../../store/fingerprints.ts";
import { originalTables } from "../../store/installation.ts";
import { type Client, connect } from "../../store/pg.ts";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { client } from "../helpers/sql_problems.ts";
import { waitFor } from "../helpers/wait_for.ts";

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
      payload: {
        id: "evt-7",
        ts: "2024-10-31T17:00:00Z",
        text: "ñ7",
        amount: 10.5,
        fingerprint: "7902699be42c8a8e",
      },
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
    update public.etl_improved_metrics set ratio = 'NaN' where id = 3;
    create view public.v_etl_latest_metrics as select id, ratio from public.etl_improved_metrics order by at desc limit 1;
    create materialized view public.mv_etl_metrics_daily as select at::date as day, count(*) as n from public.etl_improved_metrics group by 1;
    create function public.refresh_etl_mvs() returns integer language sql as 'select 1'`,
  );
  const reader = `reader_${crypto.randomUUID().slice(0, 8)}`;
  await sql.query(
    `create role ${reader}; grant select on public.etl_improved_metrics, public.v_etl_latest_metrics, public.mv_etl_metrics_daily to ${reader}`,
  );
  try {
    const made = await setupDatabase(db.dsn);
    assert.ok(made.includes("300 runs of the Airflow system, taken over"), made.join("\n"));
    const { rows: [seen] } = await sql.query(`select
      (select sum(runs) from etl.metrics_totals)::integer as runs,
      (select sum(low_ratio_runs) from etl.metrics_totals)::integer as low,
      (select sum(runs) from public.mv_etl_metrics_daily)::integer as daily,
      has_table_privilege('${reader}', 'public.etl_improved_metrics', 'select') as granted,
      has_table_privilege('${reader}', 'public.v_etl_latest_metrics', 'select')
        and has_table_privilege('${reader}', 'public.mv_etl_metrics_daily', 'select') as views,
      (select count(*) from public.etl_improved_metrics where ratio = 'NaN')::integer as nan`);
    assert.deepEqual(seen, { runs: 300, low: 29, daily: 299, granted: true, views: true, nan: 0 });
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
    alter table public.etl_improved_audit add column actor text;
    update public.etl_improved_audit set actor = 'ana' where id = 1;
    alter table public.etl_improved_events add column event_type text default 'view';
    update public.etl_improved_events set event_type = null where pk = 'evt-1'`,
  );
  await sql.query(FILES.setup);
  await sql.query(FILES.migration);
  assert.deepEqual(await rows(sql), { ...ALL, alerts: 0 });
  const { rows: types } = await sql.query(
    "select event_type, count(*)::int as n from public.etl_improved_events group by 1 order by 1",
  );
  assert.deepEqual(types, [{ event_type: "record", n: 1 }, { event_type: "view", n: 699 }]);
  const { rows: actors } = await sql.query(
    "select actor, count(*)::int as n from public.etl_improved_audit where event = 'finished' group by 1 order by 1",
  );
  assert.deepEqual(actors, [{ actor: "airflow", n: 299 }, { actor: "ana", n: 1 }]);
});

/** The records that the original made the fixture's events from. */
const RECORDS = Array.from({ length: 700 }, (_, n) => {
  const i = n + 1;
  const ts = new Date(Date.parse("2024-10-31T10:00:00Z") + i * 3_600_000).toISOString();
  return { id: `evt-${i}`, ts: ts.replace(".000", ""), text: `ñ${i}`, amount: i * 1.5 };
});

Deno.test("the first run on the data of an original installation writes only what differs", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await using sql = await client(db.dsn);
  await sql.query(ORIGINAL);
  // what no record can have is no reason to stop at
  await sql.query(`insert into public.etl_improved_events (pk, event_time, attributes)
    values ('odd-null', now(), 'null'), ('odd-list', now(), '[1]'), ('odd-text', now(), '"t"'), ('odd-end', 'infinity', '{}')`);
  const { rows: [before] } = await sql.query(
    "select md5(string_agg(e.pk || e.attributes || e.updated_at, '' order by e.pk)) as md5 from public.etl_improved_events as e",
  );
  await setupDatabase(db.dsn);
  await using engine = await startEngine(t, { database: db });
  const due = async () =>
    (await engine.sql`select kind from etl.due_work() as kind`).map((row) => row.kind);
  assert.ok((await due()).includes("fingerprints"));
  const health = await (await engine.request("/api/etl/health")).json();
  assert.match(
    health.warnings.join(),
    /fingerprints of public.etl_improved_events, which was taken over/,
  );
  await fillAllFingerprints({
    sql: engine.sql,
    log: createLog({ level: "debug", format: "text", write: () => {} }),
    signal: new AbortController().signal,
  });
  assert.ok(!(await due()).includes("fingerprints"));
  const { rows: [after] } = await sql.query(
    `select md5(string_agg(event_id || payload || updated_at, '' order by event_id)) as md5,
      count(*) filter (where fingerprint is null)::integer as unknown,
      count(*) filter (where event_date = occurred_at::date and event_hour = extract(hour from occurred_at at time zone 'UTC'))::integer as dated
    from public.etl_improved_events`,
  );
  assert.deepEqual(after, { md5: before.md5, unknown: 3, dated: 700 });
  const changed = RECORDS.map((each) => each.id === "evt-9" ? { ...each, amount: 1 } : each);
  const run = await engine.succeed({
    source: {
      type: "inline",
      name: "etl_improved",
      key: "id",
      occurred_at: "ts",
      records: [...changed, { id: "new", ts: "2024-12-24" }],
    },
  });
  const { inserted, updated, unchanged } = run.counts!;
  assert.deepEqual({ inserted, updated, unchanged }, { inserted: 1, updated: 1, unchanged: 699 });
});

Deno.test("a row whose fingerprint is not known yet is written by the first run, whatever it holds", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await using sql = await client(db.dsn);
  await sql.query(ORIGINAL);
  await setupDatabase(db.dsn);
  await using engine = await startEngine(t, { database: db });
  const run = await engine.succeed({
    source: {
      type: "inline",
      name: "etl_improved",
      key: "id",
      occurred_at: "ts",
      records: RECORDS.slice(0, 3),
    },
  });
  assert.equal(run.counts!.updated, 3);
  // what a load writes while fingerprints are computed has its own
  await sql.query("begin; lock table public.etl_improved_events in exclusive mode");
  const [table] = await takenOverTables(engine.sql);
  const filled = fillFingerprints(engine.sql, table!, { blocks: 1_000, compute: () => "00" });
  await waitFor(async () =>
    (await sql.query(`select from pg_locks
      where not granted and relation = 'public.etl_improved_events'::regclass`)).rowCount === 1
  );
  await sql.query(
    "update public.etl_improved_events set fingerprint = '\\x01' where event_id = 'evt-9'; commit",
  );
  await filled;
  const { rows: known } = await sql.query(
    `select encode(fingerprint, 'hex') as f, count(*)::int as n from public.etl_improved_events
    where length(fingerprint) = 1 group by 1 order by 1`,
  );
  assert.deepEqual(known, [{ f: "00", n: 696 }, { f: "01", n: 1 }]);
});

Deno.test("doctor says before the take-over what becomes of each table", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await using sql = await client(db.dsn);
  const text = await read("sql/setup/original_tables.sql");
  assert.deepEqual(await originalTables(sql, text), []);
  await sql.query(ORIGINAL);
  await sql.query(
    `create table public.orders (like public.etl_improved_events including all);
    alter table public.etl_improved_audit drop column run_label`,
  );
  const shown = async () =>
    (await originalTables(sql, text)).map(({ name, kind, rows, differences }) =>
      `${name} ${kind} ${rows} ${differences ?? "fine"}`
    );
  assert.deepEqual(await shown(), [
    "public.etl_improved_alerts alerts 40 fine",
    "public.etl_improved_audit audit 300 run_label expected text or character varying or character, found no such column",
    "public.etl_improved_events events 700 fine",
    "public.etl_improved_metrics metrics 300 fine",
    "public.orders events 0 fine",
  ]);
  // what is unique among some of its rows is no key
  await sql.query(
    `begin; alter table public.etl_improved_events drop constraint etl_improved_events_pkey;
    create unique index on public.etl_improved_events (pk) where pk <> ''`,
  );
  assert.match(
    (await shown()).join("\n"),
    /^public\.etl_improved_events events 700 expected a primary key on event_id, found none$/m,
  );
  await sql.query("rollback");
  await sql.query(`alter table public.etl_improved_audit add column run_label text;
    create view public.v_etl_latest_metrics as select * from public.etl_improved_metrics;
    create view public.mine as select id, ratio from public.v_etl_latest_metrics;
    create view public.of_events as select pk, event_time from public.etl_improved_events`);
  const depended = (await originalTables(sql, text)).filter(({ dependents }) =>
    dependents !== null
  );
  assert.deepEqual(depended.map(({ name, dependents }) => [name, dependents]), [
    ["public.etl_improved_metrics", "drop view public.mine"],
  ]);
  await assert.rejects(setupDatabase(db.dsn), /run drop view public\.mine, then run this again/);
  await sql.query("drop view public.mine");
  await setupDatabase(db.dsn);
  assert.equal((await sql.query("select pk, event_time from public.of_events")).rowCount, 700);
  assert.deepEqual(await originalTables(sql, text), []);
});

Deno.test("tables of other schemas and names are taken over too, and rows of other tables are not touched", async (t) => {
  for (const order of [["setup", "migration"], ["migration", "setup"]] as const) {
    await using db = await testDatabase(t, { setUp: false });
    await using sql = await client(db.dsn);
    await sql.query(ORIGINAL);
    await sql.query(`create schema sales;
      create table sales.etl_improved_events (like public.etl_improved_events including all);
      insert into sales.etl_improved_events select * from public.etl_improved_events limit 5;
      create table sales.etl_improved_metrics (like public.etl_improved_metrics including all);
      insert into sales.etl_improved_metrics select * from public.etl_improved_metrics where id <= 7;
      create table sales.loads (like public.etl_improved_audit including all);
      insert into sales.loads select * from public.etl_improved_audit where id <= 6;
      create table public.orders (like public.etl_improved_events including all);
      insert into public.orders select * from public.etl_improved_events limit 4;
      create table sales.copied as select * from public.etl_improved_events;
      create table sales.loads_copied as select * from public.etl_improved_audit;
      create table sales.other (id int primary key, run_label text, at timestamptz)`);
    for (const name of order) await sql.query(FILES[name]);
    assert.deepEqual(await rows(sql), {
      ...ALL,
      metrics: 307,
      runs: 307,
      low: 30 + 1,
      audit: 306,
      num_rows: ALL.num_rows + 2950,
    });
    const { rows: [seen] } = await sql.query(`select
      (select count(*) from sales.etl_improved_events where source = 'etl_improved')::int as events,
      (select count(*) from public.orders where event_type = 'record')::int as orders,
      (select count(*) from only sales.etl_improved_metrics where schema_name = 'sales')::int as metrics,
      (select sum(num_rows) from sales.loads)::int as loaded,
      (select sum(runs) from etl.metrics_totals)::int as totals,
      (select string_agg(dataset, ' ' order by dataset) from etl.datasets where fingerprints_from = 0) as datasets,
      (select string_agg(attname, ' ' order by attnum) from pg_attribute where attrelid = 'sales.other'::regclass and attnum > 0) as other`);
    assert.deepEqual(seen, {
      events: 5,
      orders: 4,
      metrics: 7,
      loaded: 2950,
      totals: 307,
      datasets: "public.etl_improved_events public.orders sales.etl_improved_events",
      other: "id run_label at",
    });
    // runs write there as before
    await using engine = await startEngine(t, { database: db });
    const run = await engine.succeed({
      schema_name: "sales",
      audit_table_name: "loads",
      batch_size: 3,
    });
    assert.equal(run.counts!.inserted, 3);
    const { rows: [after] } = await sql.query(
      "select (select sum(num_rows) from sales.loads)::int as loaded, (select count(*) from only sales.etl_improved_metrics)::int as metrics",
    );
    assert.deepEqual(after, { loaded: 2953, metrics: 8 });
  }
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
