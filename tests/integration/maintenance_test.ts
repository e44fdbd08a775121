import assert from "node:assert/strict";
import { MAINTENANCE_TASKS, type MaintenanceView } from "../../store/maintenance.ts";
import { Database, type Sql } from "../../store/database.ts";
import { connect } from "../../store/pg.ts";
import { runMaintenance } from "../../pipeline/maintenance/run.ts";
import { createLog } from "../../telemetry/log.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { startMaintaining } from "../helpers/maintaining.ts";
import { startPeer } from "../helpers/peer.ts";
import { startReacting } from "../helpers/reacting.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** Rows of an events table: so many of each age in days. */
async function insertEvents(sql: Sql, table: string, ages: Record<number, number>): Promise<void> {
  for (const [age, rows] of Object.entries(ages)) {
    await sql.unsafe(
      `insert into ${table} (event_id, event_type, source, payload, fingerprint, run_id, first_seen_at)
       select 'e' || $1::int || '-' || n, 'old', 'test', '{}', '\\x00', gen_random_uuid(), now() - $1::int * interval '1 day'
       from generate_series(1, $2::int) as n`,
      [age, rows],
    );
  }
}

/** Rows of a metrics table: so many of each age in days, every tenth with a low ratio. */
async function insertMetrics(sql: Sql, table: string, ages: Record<number, number>): Promise<void> {
  for (const [age, rows] of Object.entries(ages)) {
    await sql.unsafe(
      `insert into ${table} (run_id, ratio, low_ratio, total_rows, dry_run, created_at)
       select gen_random_uuid(), 0.5, n % 10 = 0, 1, n % 4 = 0, now() - $1::int * interval '1 day'
       from generate_series(1, $2::int) as n`,
      [age, rows],
    );
  }
}

async function totals(sql: Sql) {
  const [row] = await sql<{ totals: unknown }[]>`select etl.scrape() -> 'totals' as totals`;
  return row!.totals;
}

async function counted(sql: Sql, table: string): Promise<number> {
  const [row] = await sql.unsafe<{ rows: number }[]>(`select count(*)::int as rows from ${table}`);
  return row!.rows;
}

async function maintain(engine: Engine, conf: object): Promise<MaintenanceView> {
  const response = await engine.post("/api/etl/maintenance?wait=true", conf);
  assert.equal(response.status, 200, await response.clone().text());
  return await response.json();
}

/** Typed tables, of which the owner has some cleaned by a column of theirs. */
async function typedTables(engine: Engine): Promise<void> {
  const { sql } = engine;
  const load = async (table_name: string, records: unknown[], params: object = {}) => {
    const run = await engine.load(records, { layout: "typed", table_name, ...params });
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  };
  const refused = (pattern: RegExp, dataset: string, column: string | null = null) =>
    assert.rejects(
      async () => await sql`select etl.maintain_dataset(${dataset}, ${column})`,
      pattern,
    );
  const days = [{ id: 1, day: "2001-01-01" }, { id: 2, day: "2099-01-01" }];
  await load("sold", [...days, { id: 3, day: null }, { id: 4, day: null }]);
  await sql`insert into sold (id, day) values (5, '2001-01-01')`;
  await sql`update sold set _etl_first_seen_at = '2001-01-01' where id = 3`;
  await load("unasked", days);
  await refused(/no dataset public\.nothing/, "public.nothing");
  await refused(/Name the column of public\.sold .*: day\./, "public.sold");
  await refused(/Name the column of public\.sold .*: day\./, "public.sold", "id");
  await refused(/occurred_at tells: leave the column out/, "public.etl_improved_events", "day");
  await assert.rejects(
    async () =>
      await sql`update etl.datasets set maintained = true where dataset = 'public.unasked'`,
    /datasets_typed_maintained/,
  );
  await sql`select etl.maintain_dataset('public.sold', 'day')`;
  await sql`select etl.maintain_dataset('public.unasked', 'day')`;
  await sql`select etl.maintain_dataset('public.unasked', maintained => false)`;
  // a table of its owner's, whose rows its owner deletes
  await sql`create table public.mine (id bigint primary key, day date)`;
  await load("mine", days, { add_columns: true });
  await refused(/mine is a table of its owner/, "public.mine", "day");

  // where rows lie in partitions
  await load("visits", days);
  await sql.unsafe(
    `alter table public.visits rename to visits_old;
    create table public.visits (like public.visits_old including defaults) partition by hash (id);
    alter table public.visits attach partition public.visits_old for values with (modulus 1, remainder 0)`,
  );
  await sql`select etl.maintain_dataset('public.visits', 'day')`;

  // what has lost the column that tells the age of its rows is left alone
  await load("lost", days);
  await sql`select etl.maintain_dataset('public.lost', 'day')`;
  await sql`alter table public.lost drop column day`;

  const preview = await engine.post("/api/etl/maintenance?dry_run=true", {});
  const { tasks } = await preview.json();
  const tables = (tasks as { tables: { table: string; would_delete: number }[] }[])
    .flatMap(({ tables }) => tables).filter(({ table }) =>
      !/etl_improved|audit|orders/.test(table)
    );
  assert.deepEqual(tables, [
    { table: "public.sold", would_delete: 2 },
    { table: "public.visits_old", would_delete: 1 },
  ]);
}

Deno.test("maintenance deletes what is older than each retention, in every schema, and nothing else", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await typedTables(engine);
  await sql`delete from public.etl_improved_metrics`;
  await sql`select etl.ensure_destination('sales', 'etl_improved_events', 'etl_improved_audit')`;
  await sql`select etl.ensure_destination('sales', 'orders', 'orders_audit')`;
  await sql`select etl.ensure_destination('sales', 'kept', 'etl_improved_audit')`;
  await sql`update etl.datasets set maintained = true where dataset = 'sales.orders'`;
  for (
    const table of [
      "public.etl_improved_events",
      "sales.etl_improved_events",
      "sales.orders",
      "sales.kept",
    ]
  ) {
    await insertEvents(sql, table, { 400: 700, 364: 3, 0: 2 });
  }
  for (const table of ["public.etl_improved_metrics", "sales.etl_improved_metrics"]) {
    await insertMetrics(sql, table, { 91: 40, 89: 20 });
  }
  for (const table of ["public.etl_improved_audit", "sales.orders_audit"]) {
    await sql.unsafe(
      `insert into ${table} (event, created_at) select 'old', now() - n * interval '1 day' from generate_series(89, 92) as n`,
    );
  }
  await sql`insert into public.etl_improved_alerts (kind, message, created_at)
    select 'run_failed', 'old', now() - n * interval '1 day' from generate_series(178, 185) as n`;
  const before = await totals(sql);
  await using _maintaining = await startMaintaining(engine, { batchRows: 100 });

  const view = await maintain(engine, {});
  assert.equal(view.state, "succeeded", JSON.stringify(view));
  assert.deepEqual(view.tasks.map(({ task }) => task), [...MAINTENANCE_TASKS]);
  assert.ok(view.tasks.every(({ state }) => state === "succeeded"));
  const deleted = Object.fromEntries(view.tasks.map((task) => [task.task, task.deleted]));
  assert.deepEqual(deleted, {
    clean_old_metrics: 80,
    clean_old_audit: 6,
    clean_old_alerts: 6,
    clean_old_events: 2103,
    refresh_mvs: 0,
    vacuum_analyze: 0,
  });
  // old by its day, old by when it came, and by a day of a month's partition
  assert.deepEqual(
    (await sql`select id::int, day::text from sold order by id`).map((row) => Object.values(row)),
    [[2, "2099-01-01"], [4, null], [5, "2001-01-01"]],
    "what is new, what came lately, and what no run has written",
  );
  assert.equal(await counted(sql, "visits"), 1);
  assert.equal(await counted(sql, "unasked"), 2);
  for (const table of ["public.etl_improved_events", "sales.etl_improved_events", "sales.orders"]) {
    assert.equal(await counted(sql, `only ${table}`), 5, table);
  }
  assert.equal(await counted(sql, "sales.kept"), 705, "a table that nobody has opted in");
  assert.equal(await counted(sql, "public.etl_improved_metrics"), 40);
  assert.deepEqual(await totals(sql), before, "the all-time figures");
  assert.deepEqual({
    ...(await sql`select runs::int, low_ratio_runs::int, ratio_runs::int from etl.totals`)[0],
  }, {
    runs: 80,
    low_ratio_runs: 4,
    ratio_runs: 60,
  });
  const [day] = await sql`select count(*)::int as days from public.mv_etl_metrics_daily`;
  assert.equal(day!.days, 1, "the views are refreshed");
  const vacuumed = await sql<{ name: string }[]>`
    select schemaname || '.' || relname as name from pg_stat_user_tables where vacuum_count > 0 and analyze_count > 0 order by 1`;
  assert.deepEqual(
    vacuumed.map(({ name }) => name).filter((name) => !/^etl\./.test(name)),
    [
      "public.etl_improved_alerts",
      "public.etl_improved_audit",
      "public.etl_improved_events",
      "public.etl_improved_metrics",
      "public.sold",
      "public.visits_old",
      "sales.etl_improved_audit",
      "sales.etl_improved_events",
      "sales.etl_improved_metrics",
      "sales.orders",
      "sales.orders_audit",
    ],
  );
  const audit = await sql<{ event: string; details: Record<string, unknown> }[]>`
    select event, details from public.etl_improved_audit where event like 'maintenance%' order by audit_id`;
  assert.deepEqual(audit.map(({ event }) => event), [
    "maintenance_requested",
    "maintenance_finished",
  ]);
  assert.deepEqual(audit[1]!.details.deleted, {
    clean_old_metrics: 80,
    clean_old_audit: 6,
    clean_old_alerts: 6,
    clean_old_events: 2103,
  });

  const again = await maintain(engine, {});
  assert.equal(again.deleted, 0);
  assert.deepEqual(again.tasks.at(-1)!.state, "succeeded");
});

Deno.test("a retention comes from the conf, a variable, the environment or the default; -1 switches it off", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`insert into etl.variables (name, value) values ('etl_maintenance__retention_days_metrics', '7'),
    ('etl_maintenance__retention_days_audit', '8')`;
  await sql`update etl.param_schema set maintenance_environment = '{"retention_days_audit": 9, "retention_days_alerts": 10}'`;
  await insertEvents(sql, "public.etl_improved_events", { 4000: 3 });
  await using _maintaining = await startMaintaining(engine);
  const view = await maintain(engine, { retention_days_metrics: 12, retention_days_events: -1 });
  assert.deepEqual(view.params, {
    retention_days_metrics: 12,
    retention_days_audit: 8,
    retention_days_alerts: 10,
    retention_days_events: -1,
  });
  assert.deepEqual(view.origins, {
    retention_days_metrics: "request",
    retention_days_audit: "variable",
    retention_days_alerts: "environment",
    retention_days_events: "request",
  });
  assert.equal(view.tasks.find(({ task }) => task === "clean_old_events")!.state, "skipped");
  assert.equal(await counted(sql, "public.etl_improved_events"), 3);
});

Deno.test("a retention is 7 to 1,095 days or -1: others are refused, stored ones take the nearest limit, and 0 empties nothing", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await using _maintaining = await startMaintaining(engine);
  await insertEvents(sql, "public.etl_improved_events", { 1: 3, 6: 2, 8: 1 });
  for (const days of [0, 1, 6, 1096, 36_500]) {
    for (const query of ["", "?dry_run=true"]) {
      const response = await engine.post(`/api/etl/maintenance${query}`, {
        retention_days_events: days,
      });
      assert.equal(response.status, 422, String(days));
      assert.match(
        (await response.json()).detail,
        /retention_days_events .*7 to 1,095 days, or -1/,
      );
    }
  }
  assert.equal(await counted(sql, "etl.maintenance_runs"), 0);
  const name = "etl_maintenance__retention_days_events";
  const put = async (value: number) =>
    await engine.request(`/api/variables/${name}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ value }),
    });
  assert.match((await (await put(3)).json()).detail, /7 to 1,095 days, or -1/);
  assert.deepEqual([(await put(-1)).ok, (await put(400)).ok], [true, true]);
  await sql`update etl.variables set value = '0' where name = ${name}`;
  await sql`update etl.param_schema set maintenance_environment = '{"retention_days_alerts": 5000}'`;
  const view = await maintain(engine, {});
  assert.equal(view.params.retention_days_events, 7);
  assert.equal(view.params.retention_days_alerts, 1095);
  assert.match(view.origins.retention_days_events!, /^variable, with the value 0/);
  assert.match(view.tasks[3]!.warnings[0]!, /variable, with the value 0.*; 7 days are taken/);
  assert.match(view.tasks[2]!.warnings[0]!, /environment, with the value 5000/);
  assert.equal(await counted(sql, "public.etl_improved_events"), 5);
});

Deno.test("Slack is told of a maintenance that failed and of one that succeeded, of the latter unless it is not wished", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await using slack = startPeer();
  await using _maintaining = await startMaintaining(engine);
  const told = () =>
    slack.requests.map(({ body }) => JSON.parse(body).text.replaceAll("\u2060", ""));
  const telling = (count: number) =>
    waitFor(() => told().length >= count, { what: `${count} messages` });
  {
    await using _reacting = await startReacting(engine, { env: { SLACK_WEBHOOK: slack.address } });
    await insertEvents(sql, "public.etl_improved_events", { 400: 3 });
    await maintain(engine, {});
    await telling(1);
    assert.equal(told()[0], "Maintenance succeeded: etl_maintenance: Deleted: 3 events.");
    await sql.unsafe(
      `create table public.kept as select pg_get_functiondef('public.refresh_etl_mvs()'::regprocedure) as text;
      create or replace function public.refresh_etl_mvs() returns void language plpgsql as $$
      begin raise exception 'out of luck'; end $$`,
    );
    assert.equal((await maintain(engine, {})).state, "failed");
    await telling(2);
    assert.match(
      told()[1],
      /^Maintenance failed: etl_maintenance: The maintenance failed: refresh_mvs: out of luck/,
    );
    const open = await sql`select fingerprint from etl.alert_states where resolved_at is null`;
    assert.deepEqual(open.map((row) => row.fingerprint), ["maintenance_failed:etl_maintenance"]);
    await sql.unsafe("do $$ begin execute (select text from public.kept); end $$");
    await maintain(engine, {});
    await telling(3);
    assert.match(told()[2], /^Recovered: Maintenance failed: .*succeeded\. Deleted: nothing/);
  }
  await using _quiet = await startReacting(engine, {
    env: { SLACK_WEBHOOK: slack.address, ETL_MAINTENANCE_SLACK: "false" },
  });
  await maintain(engine, {});
  assert.equal(Number((await sql`select count(*) as n from etl.notifications`)[0]!.n), 3);
});

Deno.test("events are as old as they occurred, or were first seen; a preview counts what would go", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await using _maintaining = await startMaintaining(engine);
  await sql`
    insert into public.etl_improved_events (event_id, event_type, source, payload, fingerprint, run_id, occurred_at, first_seen_at, updated_at)
    select id, 'old', 'test', '{}', '\\x00', gen_random_uuid(), now() - occurred * interval '1 day',
      now() - seen * interval '1 day', now() - changed * interval '1 day'
    from (values ('occurred long ago', 400, 1, 1), ('seen long ago', null, 400, 1), ('occurred now', 1, 400, 400), ('new', null, 1, 400))
      as v (id, occurred, seen, changed)`;
  const preview = await (await engine.post("/api/etl/maintenance?dry_run=true", {})).json();
  assert.equal(preview.would_delete, 2);
  assert.deepEqual(preview.tasks[3].tables, [
    { table: "public.etl_improved_events", would_delete: 2 },
  ]);
  assert.equal(await counted(sql, "etl.maintenance_runs"), 0);
  assert.equal(await counted(sql, "public.etl_improved_events"), 4);

  // as the upgrade from 0.1.0 leaves it
  await sql`update etl.param_schema set events_by_occurred_at = false`;
  const waiting = await maintain(engine, {});
  assert.equal(waiting.state, "failed");
  assert.match(waiting.error!, /no event was deleted.* would take 2 events .*--confirm/);
  assert.equal(await counted(sql, "public.etl_improved_events"), 4);
  const response = await engine.post("/api/etl/maintenance?wait=true&confirm=true", {});
  assert.equal((await response.json()).deleted, 2);
  const left = await sql`select event_id from public.etl_improved_events order by 1`;
  assert.deepEqual(left.map((row) => row.event_id), ["new", "occurred now"]);
  assert.equal((await maintain(engine, {})).state, "succeeded", "asked once");
});

Deno.test("lines of an audit stay for seven days, whatever cutoff the task was given, and only those that went are counted", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`insert into public.etl_improved_audit (event, created_at)
    select 'old', now() - n * interval '1 day' from unnest(array[0, 6, 6.9, 7.1, 8]) as n`;
  const left = await counted(sql, "public.etl_improved_audit") - 2;
  const [{ id }] = await sql<[{ id: string }]>`select etl.request_maintenance() as id`;
  await sql`update etl.maintenance_runs set state = 'running', attempt = 1, started_at = now()`;
  await sql`update etl.maintenance_tasks set state = 'running', started_at = now(), cutoff = now() where task = 'clean_old_audit'`;
  const [row] = await sql`
    select deleted::int from etl.delete_old(${id}, 1, 'clean_old_audit', 'public.etl_improved_audit')`;
  assert.equal(row!.deleted, 2);
  assert.equal(await counted(sql, "public.etl_improved_audit"), left + 1, "and the request itself");
  // nor does the owner's function delete more, which is all that the role of a server may call
  await sql`select etl.delete_audit('public.etl_improved_audit', array_agg(ctid), now()) from public.etl_improved_audit`;
  assert.equal(await counted(sql, "public.etl_improved_audit"), left + 1);
});

Deno.test("a wrong conf of a maintenance is refused, with the name that was meant", async (t) => {
  await using engine = await startEngine(t);
  const response = await engine.post("/api/etl/maintenance", {
    retention_day_metrics: 3,
    retention_days_audit: -2,
  });
  assert.equal(response.status, 422);
  const { errors } = await response.json();
  assert.deepEqual(errors.map((error: { field: string }) => error.field).sort(), [
    "retention_day_metrics",
    "retention_days_audit",
  ]);
  assert.match(JSON.stringify(errors), /did you mean retention_days_metrics/);
  assert.equal((await engine.post("/api/etl/maintenance", "[]")).status, 422);
  assert.equal((await engine.post("/api/etl/maintenance", "{")).status, 400);
  assert.equal(
    (await engine.request("/api/etl/maintenance", { method: "POST", body: "a=1" })).status,
    415,
  );
  assert.equal(
    (await engine.request("/api/etl/maintenance/0190a7a0-0000-7000-8000-000000000000")).status,
    404,
  );
  assert.equal(await counted(engine.sql, "etl.maintenance_runs"), 0);
});

Deno.test("while a maintenance is to be done a second one is refused with its id; a schedule's is answered with it", async (t) => {
  await using engine = await startEngine(t);
  const first = await engine.post("/api/etl/maintenance", {});
  assert.equal(first.status, 202);
  const { maintenance_id: id } = await first.json();
  assert.equal(first.headers.get("location"), `/api/etl/maintenance/${id}`);
  const second = await engine.post("/api/etl/maintenance", { retention_days_events: 10 });
  assert.equal(second.status, 409);
  const problem = await second.json();
  assert.equal(problem.maintenance_id, id);
  assert.match(problem.detail, new RegExp(id));
  const asked = () =>
    engine.sql<
      { id: string }[]
    >`select etl.request_maintenance(options => '{"trigger": "schedule"}') as id`;
  assert.equal((await asked())[0]!.id, id);
  await engine.sql`update etl.maintenance_runs set state = 'succeeded', ended_at = now()`;
  const scheduled = (await asked())[0]!.id;
  assert.notEqual(scheduled, id);
  await engine
    .sql`update etl.maintenance_runs set state = 'succeeded', ended_at = coalesce(ended_at, now())`;
  assert.equal((await asked())[0]!.id, scheduled, "another scheduler, at the same time");
  const list = await (await engine.request("/api/etl/maintenance?limit=1")).json();
  assert.equal(list.items[0].maintenance_id, scheduled);
  const rest = await (await engine.request(`/api/etl/maintenance?cursor=${list.next}`)).json();
  assert.deepEqual(rest.items.map((item: MaintenanceView) => item.maintenance_id), [id]);
  // a job that somebody has run every hour or two
  await engine
    .sql`update etl.maintenance_runs set requested_at = requested_at - interval '61 minutes'`;
  assert.notEqual((await asked())[0]!.id, scheduled);
});

Deno.test("a maintenance whose server dies in the middle is carried on by another, and counts every row once", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await insertEvents(sql, "public.etl_improved_events", { 400: 1000 });
  const before = await totals(sql);
  await insertMetrics(sql, "public.etl_improved_metrics", { 100: 500 });
  // the attempt of a server that has died: two batches of the first task are done
  const [{ id }] = await sql<[{ id: string }]>`select etl.request_maintenance() as id`;
  await sql`update etl.maintenance_runs set state = 'running', attempt = 1, started_at = now()`;
  await sql`update etl.maintenance_tasks set state = 'running', started_at = now() where task = 'clean_old_metrics'`;
  const batch = (attempt: number) =>
    sql`select * from etl.delete_old(${id}, ${attempt}, 'clean_old_metrics', 'public.etl_improved_metrics', 100)`;
  await batch(1);
  await batch(1);
  // another server carries on: the first one, if it lives, deletes nothing any more
  await sql`update etl.maintenance_runs set attempt = 2`;
  await assert.rejects(batch(1), /another server/, "while the other is at it");
  await sql`update etl.maintenance_runs set attempt = 1`;
  await using _maintaining = await startMaintaining(engine, { batchRows: 90 });
  const view = await waitFor(async () => {
    const seen = await (await engine.request(`/api/etl/maintenance/${id}`)).json();
    return seen.ended_at === null ? null : seen as MaintenanceView;
  });
  assert.equal(view.state, "succeeded");
  assert.equal(view.attempt, 2);
  assert.deepEqual(view.tasks[0]!.tables, [{
    table: "public.etl_improved_metrics",
    deleted: 500,
    done: true,
  }]);
  assert.equal(view.tasks[3]!.deleted, 1000);
  assert.equal(
    (await totals(sql) as { runs: number }).runs,
    ((before as { runs: number }).runs ?? 0) + 500,
  );
  await assert.rejects(batch(1), /another server/, "the dead one comes back");
});

Deno.test("a row that somebody has locked is left for the next maintenance instead of waiting for it", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await insertEvents(sql, "public.etl_improved_events", { 400: 50 });
  await using _maintaining = await startMaintaining(engine);
  const held = await connect(engine.db.dsn);
  try {
    // whoever waits for the row gets it, and deletes one too many
    held.on("error", () => {});
    await held.query(
      "set idle_in_transaction_session_timeout = '15s'; " +
        "begin; select from public.etl_improved_events where event_id = 'e400-7' for update",
    );
    assert.equal((await maintain(engine, {})).deleted, 49);
  } finally {
    await held.end();
  }
  assert.equal((await maintain(engine, {})).deleted, 1);
});

/** What becomes of a maintenance that a server with this role carries out. */
async function maintainAs(role: string, engine: Engine): Promise<MaintenanceView> {
  const url = new URL(engine.db.dsn);
  url.username = role;
  url.password = "x";
  const database = new Database(url.href, { applicationName: "etl test" });
  const [{ id }] = await engine.sql<[{ id: string }]>`select etl.request_maintenance() as id`;
  await runMaintenance(id, {
    sql: database.sql,
    dsn: url.href,
    log: createLog({ level: "error", format: "text", write: () => {} }),
    serverId: "test",
    signal: new AbortController().signal,
  });
  await database.close({ timeoutSeconds: 1 });
  return await (await engine.request(`/api/etl/maintenance/${id}`)).json();
}

Deno.test("a role that may neither delete nor vacuum is told so, and the rest is done", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const role = `maintainer_${crypto.randomUUID().slice(0, 8)}`;
  await insertEvents(sql, "public.etl_improved_events", { 400: 5 });
  await insertMetrics(sql, "public.etl_improved_metrics", { 100: 5 });
  await sql.unsafe(`create role ${role} login password 'x'`);
  try {
    await sql.unsafe(`grant usage on schema etl, public to ${role};
      grant select, insert, update, delete on all tables in schema etl, public to ${role};
      grant execute on all functions in schema etl, public to ${role};
      revoke delete on public.etl_improved_events from ${role}`);
    // a typed table is cleaned partition by partition, with rights on each
    await typedTables(engine);
    await sql.unsafe(
      `grant select, insert, update, delete on public.visits, public.sold to ${role}`,
    );
    const view = await maintainAs(role, engine);
    assert.equal(view.state, "succeeded");
    const warnings = Object.fromEntries(view.tasks.map((task) => [task.task, task.warnings]));
    const told = warnings.clean_old_events!.map((text) => /grant .* to it$/.exec(text)?.[0]);
    assert.deepEqual(told, [
      "grant update, delete on public.etl_improved_events to it",
      "grant update, delete on each partition of public.visits, or on public.visits itself, to it",
    ]);
    assert.equal(await counted(sql, "public.visits"), 2);
    assert.match(warnings.vacuum_analyze!.join(), /may not vacuum public\.etl_improved_metrics/);
    assert.equal(view.tasks[0]!.deleted, 5);
    assert.equal(await counted(sql, "public.etl_improved_events"), 5);
  } finally {
    await sql.unsafe(`drop owned by ${role}; drop role ${role}`);
  }
});

Deno.test("the role of a server, granted by the set-up, deletes what is old of every kind", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const role = `server_${crypto.randomUUID().slice(0, 8)}`;
  await insertEvents(sql, "public.etl_improved_events", { 400: 5 });
  await insertMetrics(sql, "public.etl_improved_metrics", { 100: 5 });
  await sql`insert into public.etl_improved_audit (event, actor, created_at)
    select 'test', 'test', now() - interval '91 days' from generate_series(1, 5)`;
  await sql.unsafe(`create role ${role} login password 'x'`);
  try {
    await sql`select etl.grant_server_role(${role})`;
    const { tasks } = await maintainAs(role, engine);
    const cleaned = tasks.filter(({ task }) => task.startsWith("clean_"));
    assert.deepEqual(cleaned.map(({ deleted }) => deleted), [5, 5, 0, 5]);
    assert.deepEqual(cleaned.flatMap(({ warnings }) => warnings), []);
  } finally {
    await sql.unsafe(`delete from etl.server_roles where role_name = '${role}';
      drop owned by ${role}; drop role ${role}`);
  }
});
