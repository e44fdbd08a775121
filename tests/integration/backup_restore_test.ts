import { retryRun } from "../../store/runs.ts";
import assert from "node:assert/strict";
import { HELD, LEFT_OUT } from "../../store/backup/catalogue.ts";
import { sweepConditions } from "../../store/reactions.ts";
import { quoteIdent, quoteTable } from "../../store/pg.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { backUp, backupDir, held, ODD_SCHEMA, ODD_TABLE, restore } from "../helpers/backups.ts";
import { debian15IsInstalled } from "../helpers/clusters.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { ownCluster, testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { client } from "../helpers/sql_problems.ts";
import { tableTexts } from "../helpers/table_texts.ts";
import { waitFor } from "../helpers/wait_for.ts";

const NASTY = [{ id: "a\n\\.\nb", x: 1 }, { id: "\\N", x: null }, { id: "c\td\\", y: "ü\u2028" }];

/** Something in every kind of table. */
async function fill(engine: Engine): Promise<void> {
  await engine.load(NASTY);
  await engine.load([{ id: "z" }, { x: "has no key" }], {
    schema_name: "other",
    audit_table_name: "my_audit",
    min_acceptance_ratio: 0,
  });
  await using sql = await client(engine.db.dsn);
  await sql.query("select etl.ensure_destination($1, $2, 'audit')", [ODD_SCHEMA, ODD_TABLE]);
  const odd = quoteTable(ODD_SCHEMA, ODD_TABLE);
  await sql.query(`insert into ${odd} select * from public.etl_improved_events`);
  await sql.query(`alter table ${odd} add column "my ""own" numeric(10,2)[]`);
  await sql.query(`update ${odd} set "my ""own" = '{1.50,null}'`);
  await sql.query(`
    insert into etl.variables (name, value) values ('rate', '1e400'), ('word', '"é"');
    insert into etl.configurations (name, conf) values ('daily', '{"batch_size": 7}');
    insert into etl.schedules (name, cron, time_zone) values ('nightly', '30 2 * * *', 'Europe/Madrid');
    insert into etl.slots (schedule, slot) values ('nightly', '2099-01-01T01:30Z');
    insert into etl.cursors values ('shop', 'public.etl_improved_events', '12', gen_random_uuid());
    update etl.totals set runs = 40, ratio_runs = 30, ratio_sum = 29.125;
    select etl.raise_alert('stale', 'public.t', 'is stale')`);
}

Deno.test("a backup restored into an empty database has every row, and numbers go on where they were", async (t) => {
  await using engine = await startEngine(t);
  await fill(engine);
  await using dir = await backupDir();
  const backup = await backUp(engine.db.dsn, dir);
  const expected = await held(engine.db.dsn, backup);
  assert.ok(backup.trailer.rows > 50);
  assert.equal(expected['"public"."etl_improved_events"']!.rows, 3);

  await using empty = await testDatabase(t, { setUp: false });
  await restore(empty.dsn, backup);
  assert.deepEqual(await held(empty.dsn, backup), expected);
  await using sql = await client(empty.dsn);
  const { rows } = await sql.query(`select
    (select sum(runs) from public.mv_etl_metrics_daily)::integer as viewed,
    (select sum(runs) from etl.metrics_totals)::integer as counted,
    (select count(*) from etl.deliveries)::integer as deliveries`);
  assert.deepEqual(rows[0], { viewed: 2, counted: 2, deliveries: 0 });
  const analyzed = await sql.query(
    "select reltuples::float8 as n from pg_class where oid = 'public.etl_improved_events'::regclass",
  );
  assert.equal(analyzed.rows[0].n, 3, "statements are planned for the rows that are there");
  const state = await sql.query(
    "select count(*)::integer as n from pg_trigger where tgenabled <> 'O' and not tgisinternal",
  );
  assert.equal(state.rows[0].n, 0, "no trigger stays disabled");
});

Deno.test("a restore replaces what is there; what was registered since keeps its rows", async (t) => {
  await using engine = await startEngine(t);
  await fill(engine);
  await using dir = await backupDir();
  const backup = await backUp(engine.db.dsn, dir);
  const expected = await held(engine.db.dsn, backup);
  await engine.load([{ id: "since" }]);
  await engine.load([{ id: "kept" }], { table_name: "made_since" });
  await engine.sql`delete from etl.schedules`;
  await engine.sql`update etl.totals set runs = 1000`;
  await restore(engine.db.dsn, backup);
  const { datasets: _one, ...after } = Object.fromEntries(
    Object.entries(await held(engine.db.dsn, backup)).map(([k, v]) => [k.split('"')[3], v]),
  );
  const { datasets: _other, ...before } = Object.fromEntries(
    Object.entries(expected).map(([k, v]) => [k.split('"')[3], v]),
  );
  assert.deepEqual(after, before);
  const kept = await engine.sql`select dataset from etl.datasets where table_name = 'made_since'`;
  assert.equal(kept.length, 1);
  assert.equal((await engine.rows("public.made_since")).length, 1);
  // and the pipeline goes on
  assert.equal((await engine.load([{ id: "next" }])).state, "succeeded");
});

Deno.test("numbers that were given out are not given out again: before the backup, after it, or by what only a row tells", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const next = async (of: typeof sql) =>
    (await of.query("insert into public.etl_improved_audit (event) values ('x') returning id"))
      .rows[0].id;
  for (const id of ["1", "2", "3"]) assert.equal(await next(sql), id);
  await sql.query("delete from public.etl_improved_audit where id = 3");
  await using dir = await backupDir();
  const backup = await backUp(db.dsn, dir);
  await using other = await testDatabase(t);
  await restore(other.dsn, backup);
  await using there = await client(other.dsn);
  assert.equal(await next(there), "4", "3 was given out before the backup");
  for (const id of ["4", "5", "6"]) assert.equal(await next(sql), id);
  await restore(db.dsn, backup);
  assert.equal(await next(sql), "7", "6 was given out after it");
  await sql.query(
    "select setval(pg_get_serial_sequence('public.etl_improved_audit', 'audit_id'), 1)",
  );
  await restore(db.dsn, await backUp(db.dsn, dir));
  assert.equal(await next(sql), "8", "7 is there");
});

Deno.test("a restore leaves triggers off that were off, views of history where they belong, and tells the planners of slots", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const source = {
    type: "inline",
    key: "id",
    version: "v",
    records: [{ id: "a", v: "2026-01-01T00:00:00Z" }],
  };
  await engine.succeed({ source, table_name: "kept", write: "history" });
  await engine.sql`insert into etl.variables (name, value) values ('a', '1')`;
  await using dir = await backupDir();
  const backup = await backUp(engine.db.dsn, dir);
  await using other = await testDatabase(t);
  await using sql = await client(other.dsn);
  await sql.query(
    `create function public.refuse() returns trigger language plpgsql as 'begin raise ''refused''; end';
    create trigger off before insert on etl.variables execute function public.refuse();
    create trigger "o n" before insert on etl.variables execute function public.refuse();
    alter table etl.variables disable trigger off`,
  );
  let told = 0;
  sql.on("notification", ({ channel }) => channel === "etl_schedules" && told++);
  await sql.query("listen etl_schedules");
  await restore(other.dsn, backup);
  const { rows } = await sql.query(
    "select tgname as name, tgenabled as state from pg_trigger where tgrelid = 'etl.variables'::regclass and tgname in ('off', 'o n') order by 1",
  );
  assert.deepEqual(rows, [{ name: "o n", state: "O" }, { name: "off", state: "D" }]);
  const views = (dsn: string) =>
    withClient(dsn, async (each) =>
      (await each.query(
        "select relname as name from pg_class where relkind = 'v' and relname like 'kept%' order by 1",
      )).rows);
  assert.deepEqual(await views(other.dsn), await views(engine.db.dsn));
  assert.ok((await views(other.dsn)).length > 0);
  assert.equal(told > 0, true);
});

Deno.test("a restore waits for a run that is being asked for and is refused then, as it is by tables elsewhere that refer to its rows", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await using dir = await backupDir();
  const backup = await backUp(db.dsn, dir);
  await using asking = await client(db.dsn);
  await asking.query("begin");
  await asking.query("select etl.request_run('{\"batch_size\": 1}')");
  const restoring = restore(db.dsn, backup).then(() => "restored", (error: Error) => error.message);
  await waitFor(async () =>
    (await sql.query("select from pg_locks where not granted and relation = 'etl.runs'::regclass"))
      .rowCount === 1
  );
  await asking.query("commit");
  assert.match(await restoring, /^Runs are active/);
  await sql.query("update etl.runs set state = 'cancelled', ended_at = now()");
  await sql.query("create table public.mine (run_id uuid references etl.runs)");
  await sql.query("insert into public.mine select run_id from etl.runs");
  await assert.rejects(restore(db.dsn, backup), /Nothing was changed/);
  assert.equal((await sql.query("select from public.mine")).rowCount, 1);
  assert.equal((await sql.query("select from etl.runs")).rowCount, 1);
});

Deno.test("a backup holds the same values whatever style of them its database and the next one have", async (t) => {
  await using db = await testDatabase(t);
  const tables = ["public.etl_improved_events", "etl.variables"];
  await withClient(db.dsn, async (sql) => {
    await sql.query(
      `alter table public.etl_improved_events add column amount float8, add column took interval, add column day date, add column "o\\d" text`,
    );
    await sql.query(
      `insert into public.etl_improved_events (event_id, event_type, source, payload, fingerprint, run_id, occurred_at, amount, took, day)
      values ('a', 'x\\\\y', 's', '{"a": 1}', '\\x00ff5c', gen_random_uuid(), '2026-03-04T05:06:07.000001Z', 0.1::float8 + 0.2, '-1 day -02:03:04', '2026-03-04')`,
    );
  });
  const expected = await tableTexts(db.dsn, tables);
  const styled = async (dsn: string, settings: string[]) => {
    const name = quoteIdent(new URL(dsn).pathname.slice(1));
    await withClient(
      dsn,
      (sql) => sql.query(settings.map((each) => `alter database ${name} ${each}`).join("; ")),
    );
  };
  await styled(db.dsn, [
    "set datestyle = 'German, DMY'",
    "set intervalstyle = 'sql_standard'",
    "set timezone = 'Asia/Kathmandu'",
    "set extra_float_digits = -9",
    "set bytea_output = 'escape'",
  ]);
  await using dir = await backupDir();
  const backup = await backUp(db.dsn, dir);
  await using other = await testDatabase(t);
  await styled(other.dsn, [
    "set datestyle = 'SQL, MDY'",
    "set intervalstyle = 'iso_8601'",
    "set standard_conforming_strings = off",
    "set timezone = 'America/St_Johns'",
  ]);
  await restore(other.dsn, backup);
  await styled(other.dsn, ["reset all"]);
  assert.deepEqual(await tableTexts(other.dsn, tables), expected);
});

Deno.test("a run that was going on when the backup was taken is cancelled by the restore, and a retry ends it", async (t) => {
  await using engine = await startEngine(t);
  const { run_id } = await engine.submit({ batch_size: 20 });
  const waiting = await engine.submit({ batch_size: 3 });
  await using dir = await backupDir();
  const backup = await backUp(engine.db.dsn, dir);
  await using other = await testDatabase(t, { setUp: false });
  await restore(other.dsn, backup);
  await using second = await startEngine(t, { database: other });
  for (const id of [run_id, waiting.run_id]) {
    const run = await second.run(id);
    assert.equal(run.state, "cancelled");
    assert.match(String(run.error!.detail), /was in progress when the backup of .* was taken/);
  }
  const metrics = await second.sql`select status from public.etl_improved_metrics`;
  assert.deepEqual(metrics.map(({ status }) => status), ["cancelled", "cancelled"]);
  await retryRun(second.sql, run_id, "test");
  assert.equal((await second.toEnd(run_id)).total_rows, 20);
});

Deno.test("a role that is no superuser but owns the tables backs up and restores", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await using admin = await client(db.dsn);
  const role = `owner_${crypto.randomUUID().slice(0, 8)}`;
  await admin.query(
    `create role ${role} login password 'x'; alter database ${quoteIdent(db.name)} owner to ${role};
    alter schema public owner to ${role}`,
  );
  try {
    const dsn = Object.assign(new URL(db.dsn), { username: role, password: "x" }).href;
    await setupDatabase(dsn);
    await using sql = await client(dsn);
    await sql.query("insert into etl.variables (name, value) values ('a', '1')");
    await using dir = await backupDir();
    const backup = await backUp(dsn, dir);
    await sql.query("update etl.variables set value = '2'");
    await restore(dsn, backup);
    assert.equal((await sql.query("select value from etl.variables")).rows[0].value, 1);
  } finally {
    await admin.query(
      `reassign owned by ${role} to current_user; drop owned by ${role} cascade; drop role ${role}`,
    );
  }
});

Deno.test("the role of a server may back up, and may not restore", async (t) => {
  await using db = await testDatabase(t);
  await using admin = await client(db.dsn);
  const role = `server_${crypto.randomUUID().slice(0, 8)}`;
  await admin.query(`create role ${role} login password 'x'`);
  try {
    await setupDatabase(db.dsn, { role });
    await admin.query("insert into public.etl_improved_audit (event) values ('x')");
    const dsn = Object.assign(new URL(db.dsn), { username: role, password: "x" }).href;
    await using dir = await backupDir();
    const backup = await backUp(dsn, dir);
    assert.deepEqual(await held(db.dsn, backup), await held(db.dsn, await backUp(db.dsn, dir)));
    await assert.rejects(
      restore(dsn, backup),
      /refused the restore \(42501\).*Nothing was changed/,
    );
  } finally {
    await admin.query(`drop owned by ${role} cascade; drop role ${role}`);
  }
});

Deno.test("every table of schema etl is in a backup, or left out for a reason", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const { rows } = await sql.query<{ name: string }>(
    `select relname as name from pg_class
    where relnamespace = 'etl'::regnamespace and relkind in ('r', 'p') and relname !~ '^manifest_' order by 1`,
  );
  assert.deepEqual(
    [...HELD, ...Object.keys(LEFT_OUT)].sort(),
    rows.map(({ name }) => name),
    "decide in store/backup/catalogue.ts whether a backup holds the table, and say it in docs/backup.md",
  );
});

Deno.test("a backup with columns that the database lacks is refused, and nothing is changed", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query("insert into etl.variables (name, value) values ('a', '1')");
  await using dir = await backupDir();
  const backup = await backUp(db.dsn, dir);
  await sql.query(
    "alter table etl.reports drop column dataset; update etl.variables set value = '2'",
  );
  await assert.rejects(
    restore(db.dsn, backup),
    /columns that this database lacks: etl\.reports\.dataset\. .*newer/,
  );
  assert.equal((await sql.query("select value from etl.variables")).rows[0].value, 2);
});

Deno.test("after a restore nothing is called late before it could be seen to: slots that fell due meanwhile, and waiting events", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`select etl.register_consumers('[{"name": "c", "datasets": ["public.etl_improved_events"], "emits": [], "mode": "each", "skip_unchanged": false}]')`;
  await engine.load(NASTY);
  await sql.unsafe(`
    insert into etl.schedules (name, cron) values ('hourly', '0 * * * *'), ('planned_out', '0 * * * *');
    insert into etl.slots (schedule, slot) values ('hourly', now() - interval '5 hours');
    update etl.schedules set slots_until = now() + interval '1 day' where name = 'hourly';
    update etl.schedules set slots_until = now() - interval '5 hours' where name = 'planned_out';
    update etl.deliveries set created_at = now() - interval '5 hours'`);
  const late = async () => {
    await sweepConditions(sql);
    return (await sql<{ fingerprint: string }[]>`
      select fingerprint from etl.alert_states where resolved_at is null order by 1`)
      .map(({ fingerprint }) => fingerprint);
  };
  await using dir = await backupDir();
  const backup = await backUp(engine.db.dsn, dir);
  await restore(engine.db.dsn, backup);
  assert.deepEqual(await late(), []);
  const health = await (await engine.request("/api/etl/health")).text();
  assert.doesNotMatch(health, /hourly|planned_out/);
  assert.match(health, /"late_consumers":\[\]/);
  // what nobody sees to within three ticks is late
  await sql`update etl.reaction_settings set restored_at = restored_at - interval '4 minutes'`;
  await sql`update etl.deliveries set redelivered_at = redelivered_at - interval '16 minutes'`;
  assert.deepEqual(await late(), [
    "consumer_late:c",
    "schedule_overdue:hourly",
    "schedule_overdue:planned_out",
  ]);
});

Deno.test("a restored dataset event is not delivered again", async (t) => {
  await using engine = await startEngine(t);
  const consumer = [{
    name: "c",
    datasets: ["public.etl_improved_events"],
    emits: [],
    mode: "each",
    skip_unchanged: false,
  }];
  await engine.sql`select etl.register_consumers(${engine.sql.json(consumer)})`;
  await engine.load(NASTY);
  await engine.sql`update etl.deliveries set state = 'done', ended_at = now()`;
  await using dir = await backupDir();
  const backup = await backUp(engine.db.dsn, dir);
  await restore(engine.db.dsn, backup);
  const deliveries = await engine.sql`select state from etl.deliveries`;
  assert.deepEqual(deliveries.map(({ state }) => state), ["done"]);
});

Deno.test({
  name: "a backup goes from PostgreSQL 18 to Debian's 15 and back",
  ignore: !await debian15IsInstalled(),
  async fn(t) {
    await using engine = await startEngine(t);
    await fill(engine);
    await using dir = await backupDir();
    const backup = await backUp(engine.db.dsn, dir);
    const expected = await held(engine.db.dsn, backup);
    await using other = await ownCluster({
      kind: Deno.env.get("ETL_TEST_PG") === "debian15" ? "embedded" : "debian15",
    });
    await restore(other.dsn, backup);
    assert.deepEqual(await held(other.dsn, backup), expected);
    const back = await backUp(other.dsn, dir);
    await restore(engine.db.dsn, back);
    assert.deepEqual(await held(engine.db.dsn, backup), expected);
  },
});
