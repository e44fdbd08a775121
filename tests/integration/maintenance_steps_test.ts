import assert from "node:assert/strict";
import { Database, type Sql } from "../../store/database.ts";
import {
  dueMaintenance,
  endMaintenanceTask,
  eventsOfNewRule,
  finishMaintenance,
  listMaintenance,
  maintenanceView,
  previewMaintenance,
  requestMaintenance,
  restMaintenance,
  startMaintenance,
  startMaintenanceTask,
  vacuumTables,
} from "../../store/maintenance.ts";
import { connect } from "../../store/pg.ts";
import { type TestDatabase, testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

interface World extends AsyncDisposable {
  sql: Sql;
  db: TestDatabase;
}

async function world(t: { name: string }): Promise<World> {
  const db = await testDatabase(t);
  const database = new Database(db.dsn, { applicationName: "etl test", max: 2 });
  return {
    sql: database.sql,
    db,
    async [Symbol.asyncDispose]() {
      await database.close({ timeoutSeconds: 1 });
      await db[Symbol.asyncDispose]();
    },
  };
}

const ask = (sql: Sql, conf: object = {}) =>
  requestMaintenance(sql, conf, { trigger: "http", requested_by: "test" });

Deno.test("a server that takes a maintenance over goes on with its tasks, and the one before can write no more", async (t) => {
  await using made = await world(t);
  const { sql } = made;
  const id = await ask(sql, { retention_days_alerts: -1 });
  const first = { id, attempt: (await startMaintenance(sql, id, "a"))! };
  const task = "clean_old_metrics";
  assert.equal(await startMaintenanceTask(sql, first, task), true);
  await sql`update etl.maintenance_tasks set started_at = '2026-01-01', warnings = '["of the first"]'
    where task = ${task}`;
  const second = { id, attempt: (await startMaintenance(sql, id, "b"))! };
  const over = /Another server carries this maintenance out now/;
  await assert.rejects(startMaintenanceTask(sql, first, task), over);
  await assert.rejects(endMaintenanceTask(sql, first, { task, warnings: [] }), over);
  await assert.rejects(finishMaintenance(sql, first), over);
  assert.equal(await startMaintenanceTask(sql, second, task), true);
  await endMaintenanceTask(sql, second, { task, warnings: ["of the second"] });
  assert.equal(await startMaintenanceTask(sql, second, task), false, "it was done");
  assert.equal(await startMaintenanceTask(sql, second, "clean_old_alerts"), false, "it is off");
  await startMaintenanceTask(sql, second, "refresh_mvs");
  await endMaintenanceTask(sql, second, { task: "refresh_mvs", warnings: [], error: "it broke" });
  assert.equal(await finishMaintenance(sql, second), "failed");
  await sql`update etl.maintenance_runs set started_at = ended_at - interval '1.5 seconds'`;
  const view = (await maintenanceView(sql, id))!;
  const tasks = Object.fromEntries(view.tasks.map((each) => [each.task, each]));
  assert.equal(tasks[task]!.started_at, "2026-01-01T00:00:00.000Z");
  assert.deepEqual(tasks[task]!.warnings, ["of the first", "of the second"]);
  const { state, ended_at } = tasks.clean_old_alerts!;
  assert.deepEqual([state, typeof ended_at], ["skipped", "string"]);
  assert.deepEqual([view.error, view.duration_ms], ["refresh_mvs: it broke", 1500]);
  const [audit] = await sql`
    select status, actor, details -> 'deleted' as deleted, details ->> 'error' as error
    from public.etl_improved_audit where event = 'maintenance_finished'`;
  const cleaned = ["metrics", "audit", "alerts", "events"].map((each) => [`clean_old_${each}`, 0]);
  assert.deepEqual(audit, {
    status: "failed",
    actor: "test",
    deleted: Object.fromEntries(cleaned),
    error: "refresh_mvs: it broke",
  });
});

Deno.test("a maintenance that cannot go on rests, longer each time, and is given up with its last error", async (t) => {
  await using made = await world(t);
  const { sql } = made;
  const id = await ask(sql);
  const rest = async (attempt: number) => {
    await startMaintenance(sql, id, "a");
    await sql`update etl.maintenance_runs set attempt = ${attempt}`;
    await restMaintenance(sql, id, { error: `error ${attempt}`, maxAttempts: 9 });
    const [row] = await sql<{ state: string; error: string; seconds: number; ended: boolean }[]>`
      select state, error, ended_at is not null as ended,
        round(extract(epoch from next_attempt_at - clock_timestamp()))::integer as seconds
      from etl.maintenance_runs`;
    return row!;
  };
  assert.equal(await dueMaintenance(sql), id);
  const going = { state: "running", error: null, ended: false };
  assert.deepEqual(await rest(3), { ...going, seconds: 4 });
  assert.equal(await dueMaintenance(sql), null);
  assert.deepEqual(await rest(8), { ...going, seconds: 60 });
  const { seconds: _, ...last } = await rest(9);
  assert.deepEqual(last, { state: "failed", error: "error 9", ended: true });
  assert.equal(await startMaintenance(sql, id, "b"), null);
});

Deno.test("a preview shows what is switched off and which stored retention is another, and stores nothing", async (t) => {
  await using made = await world(t);
  const { sql } = made;
  await sql`insert into etl.variables (name, value) values
    ('etl_maintenance__retention_days_events', '3'), ('etl_maintenance__retention_days_audit', '-1')`;
  const { tasks, params } = await previewMaintenance(sql, {});
  assert.equal(params.retention_days_events, 7);
  const [metrics, audit, , events] = tasks;
  assert.deepEqual([audit!.cutoff, audit!.tables, audit!.warnings], [null, [], []]);
  assert.equal(typeof metrics!.cutoff, "string");
  assert.match(events!.warnings.join(), /retention_days_events .* the value 3.*; 7 days are taken/);
  await assert.rejects(previewMaintenance(sql, { retention_days_events: 3 }), /7 to 1,095 days/);
  assert.deepEqual(await listMaintenance(sql, { limit: 9 }), []);
});

Deno.test("events that only the new rule takes are counted until there is none, and typed tables never", async (t) => {
  await using made = await world(t);
  const { sql } = made;
  // as the upgrade from 0.1.0 leaves it
  await sql`update etl.param_schema set events_by_occurred_at = false`;
  await sql`select etl.make_typed_table('public', 'visits', ${
    JSON.stringify({
      source: "s",
      key: ["id"],
      columns: [["id", "integer"], ["day", "date"]].map(
        ([name, type]) => ({ name, path: name, type }),
      ),
    })
  }::text::jsonb)`;
  await sql`select etl.maintain_dataset('public.visits', 'day')`;
  const insert = (id: string, changed: number) =>
    sql`insert into public.etl_improved_events (event_id, event_type, source, payload, fingerprint, run_id, occurred_at, updated_at)
      values (${id}, 'old', 'test', '{}', '\\x00', gen_random_uuid(), now() - interval '400 days', now() - ${changed} * interval '1 day')`;
  await insert("both", 400);
  await insert("only", 1);
  const id = await ask(sql);
  const agreed = async () =>
    (await sql`select events_by_occurred_at as agreed from etl.param_schema`)[0]!.agreed;
  assert.deepEqual([await eventsOfNewRule(sql, id), await agreed()], [1, false]);
  await sql`delete from public.etl_improved_events where event_id = 'only'`;
  assert.deepEqual([await eventsOfNewRule(sql, id), await agreed()], [0, true]);
  await insert("later", 1);
  assert.equal(await eventsOfNewRule(sql, id), 0, "it was agreed to");
});

Deno.test("pages of maintenances are newest first and go on where the one before ended", async (t) => {
  await using made = await world(t);
  const { sql } = made;
  const ids: string[] = [];
  for (let n = 0; n < 3; n++) {
    ids.unshift(await ask(sql));
    await sql`update etl.maintenance_runs set state = 'succeeded', ended_at = now()`;
  }
  const page = async (limit: number, before?: string) =>
    (await listMaintenance(sql, { limit, before })).map((each) => each.maintenance_id);
  assert.deepEqual(await page(2), ids.slice(0, 2));
  assert.deepEqual(await page(2, ids[1]), ids.slice(2));
});

Deno.test("a vacuum that waits for a table ends with its server, and a table that may not be vacuumed is no other's fault", async (t) => {
  await using made = await world(t);
  const { sql, db } = made;
  const role = `vacuums_${crypto.randomUUID().slice(0, 8)}`;
  await sql.unsafe(`create role ${role} login password 'x'; grant usage on schema etl to ${role};
    grant execute on all functions in schema etl to ${role};
    create table public.a (id int); create table public.b (id int); alter table public.b owner to ${role}`);
  try {
    const dsn = Object.assign(new URL(db.dsn), { username: role, password: "x" }).href;
    const stop = new AbortController();
    const options = { dsn, busy: true, signal: stop.signal };
    assert.deepEqual(await vacuumTables(["public.a", "public.b"], options), ["public.a"]);
    const held = await connect(db.dsn);
    try {
      // whoever waits for the table has it then
      held.on("error", () => {});
      await held.query("set idle_in_transaction_session_timeout = '10s'");
      await held.query("begin; lock table public.b in access exclusive mode");
      const vacuum = vacuumTables(["public.b"], options).then(() => "done", () => "given up");
      await waitFor(async () =>
        (await sql`select from pg_locks where not granted and relation = 'public.b'::regclass`)
          .length === 1
      );
      stop.abort();
      assert.equal(await vacuum, "given up");
    } finally {
      await held.end();
    }
  } finally {
    await sql.unsafe(`drop owned by ${role} cascade; drop role ${role}`);
  }
});

Deno.test("a vacuum takes each table for itself: those that inherit from it have a turn of their own, partitions have none", async (t) => {
  await using made = await world(t);
  const { sql, db } = made;
  await sql.unsafe(
    `create table public.parent (id int); create table public.child () inherits (public.parent);
    create table public.whole (id int) partition by hash (id);
    create table public.part partition of public.whole for values with (modulus 1, remainder 0)`,
  );
  const options = { dsn: db.dsn, busy: false, signal: new AbortController().signal };
  assert.deepEqual(await vacuumTables(["public.parent", "public.whole"], options), []);
  const vacuumed = await sql<{ name: string; times: number }[]>`
    select relname as name, vacuum_count::int as times from pg_stat_user_tables
    where relname in ('parent', 'child', 'part') order by relname`;
  assert.deepEqual(vacuumed.map(({ name, times }) => `${name} ${times}`), [
    "child 0",
    "parent 1",
    "part 1",
  ]);
});
