import assert from "node:assert/strict";
import type { Client } from "../../store/pg.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { client, runs } from "../helpers/sql_problems.ts";

type Setting = Record<string, unknown>;

/** Makes a schedule; every hour unless it says otherwise. */
async function schedule(sql: Client, name: string, settings: Setting = {}): Promise<void> {
  const row = { name, cron: "0 * * * *", ...settings };
  const columns = Object.keys(row).join(", ");
  await sql.query(
    `insert into etl.schedules (${columns})
      select ${columns} from jsonb_populate_record(null::etl.schedules, $1::text::jsonb)`,
    [JSON.stringify(row)],
  );
}

/** Stores slots so many seconds ago. */
async function slots(sql: Client, name: string, ages: number[]): Promise<void> {
  await sql.query(
    `insert into etl.slots (schedule, slot, slot_previous)
      select $1, now() - age * interval '1 second', now() - (age + 3600) * interval '1 second'
      from unnest($2::float8[]) as age`,
    [name, ages],
  );
}

const tick = async (sql: Client) =>
  (await sql.query("select etl.tick_schedules() as counts")).rows[0].counts;

/** States of a schedule's slots, oldest first. */
const states = async (sql: Client, name: string): Promise<string[]> =>
  (await sql.query(
    "select state from etl.slots where schedule = $1 order by slot",
    [name],
  )).rows.map((row) => row.state);

/** Ends a run as a server would. */
const end = (sql: Client) =>
  sql.query(`update etl.runs set state = 'cancelled', ended_at = now() where state = 'queued'`);

Deno.test("a due slot becomes a run that knows its schedule and slot", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "hourly", {
    conf: {
      batch_size: 7,
      source: { type: "file", path: "{{slot_previous}}/{{today}}.csv", key: "id" },
    },
  });
  await sql.query(`insert into etl.slots (schedule, slot, slot_previous)
    values ('hourly', '2027-03-28 01:00Z', '2027-03-27 01:30Z'), ('hourly', '2027-03-29 01:00Z', '2027-03-28 01:00Z')`);
  const { rows: [done] } = await sql.query(
    "select etl.tick_schedules_at('2027-03-28 01:00:20Z') as counts",
  );
  assert.deepEqual(done.counts, { requested: 1, skipped: 0, missed: 0, failed: 0 });
  const { rows } = await sql.query(
    `select r.run_label, r.trigger, r.requested_by, r.schedule, r.slot, r.slot_previous, r.overlap, r.params, r.conf,
      r.run_id = s.run_id as linked
    from etl.runs as r join etl.slots as s on s.schedule = r.schedule and s.slot = r.slot`,
  );
  assert.equal(rows.length, 1);
  const { params, conf, ...run } = rows[0];
  const audit = await sql.query("select details from public.etl_improved_audit");
  assert.deepEqual(
    [audit.rows[0].details.schedule, audit.rows[0].details.slot],
    ["hourly", "2027-03-28T01:00:00.000Z"],
  );
  assert.deepEqual(run, {
    run_label: "hourly",
    trigger: "schedule",
    requested_by: "schedule",
    schedule: "hourly",
    slot: new Date("2027-03-28T01:00:00Z"),
    slot_previous: new Date("2027-03-27T01:30:00Z"),
    overlap: "skip",
    linked: true,
  });
  assert.equal(params.batch_size, 7);
  assert.equal(params.source.path, "2027-03-27T01:30:00Z/2027-03-28.csv");
  assert.equal(conf.source.path, "{{slot_previous}}/{{today}}.csv");
  assert.deepEqual(await states(sql, "hourly"), ["requested", "pending"]);
  // nothing is due again
  assert.deepEqual((await tick(sql)).requested, 0);
});

Deno.test("a slot becomes one run although many tick at once", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  for (let i = 0; i < 20; i++) {
    await schedule(sql, `s${i}`, { overlap: "queue" });
    await slots(sql, `s${i}`, [5, 65, 100]);
  }
  await Promise.all(Array.from({ length: 8 }, () =>
    withClient(db.dsn, async (each) => {
      for (let i = 0; i < 3; i++) await tick(each);
    })));
  assert.equal(await runs(sql), 60);
  const { rows } = await sql.query(
    "select count(distinct run_id)::int as n from etl.slots where state = 'requested'",
  );
  assert.equal(rows[0].n, 60);
});

Deno.test("of slots later than the grace the policy runs the newest, all or none", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const late = [4 * 3600, 3 * 3600, 2 * 3600, 3600];
  for (const missed of ["last", "all", "none"]) {
    await schedule(sql, missed, { missed, overlap: "queue" });
    await slots(sql, missed, [...late, 60]);
  }
  await schedule(sql, "default");
  await slots(sql, "default", late);
  assert.deepEqual(await tick(sql), { requested: 9, skipped: 0, missed: 10, failed: 0 });
  const [r, m] = ["requested", "missed"];
  assert.deepEqual(await states(sql, "last"), [m, m, m, r, r]);
  assert.deepEqual(await states(sql, "all"), [r, r, r, r, r]);
  assert.deepEqual(await states(sql, "none"), [m, m, m, m, r]);
  assert.deepEqual(await states(sql, "default"), [m, m, m, r]);
  // oldest first
  const { rows } = await sql.query(
    `select array_agg(slot order by requested_at) = array_agg(slot order by slot) as in_order
    from etl.runs where schedule = 'all'`,
  );
  assert.equal(rows[0].in_order, true);
  const notes = await sql.query(
    "select distinct note from etl.slots where state = 'missed' order by note",
  );
  assert.match(notes.rows[0].note, /later than the grace of 120 s/);
});

Deno.test("the grace says how late a slot may be", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "patient", { grace_seconds: 3600, missed: "none" });
  await slots(sql, "patient", [3500]);
  await schedule(sql, "strict", { grace_seconds: 10, missed: "none" });
  await slots(sql, "strict", [30]);
  await tick(sql);
  assert.deepEqual(await states(sql, "patient"), ["requested"]);
  assert.deepEqual(await states(sql, "strict"), ["missed"]);
});

Deno.test("with all, the newest 100 of the missed slots are run, whatever the overlap", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "minutely", { missed: "all", overlap: "skip" });
  await slots(sql, "minutely", Array.from({ length: 150 }, (_, i) => 600 + i * 60));
  assert.deepEqual(await tick(sql), { requested: 100, skipped: 0, missed: 50, failed: 0 });
  assert.deepEqual(
    await states(sql, "minutely"),
    [...Array(50).fill("missed"), ...Array(100).fill("requested")],
  );
});

Deno.test("one tick makes a bounded number of runs, and the next goes on", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "busy", { grace_seconds: 86_400, overlap: "queue" });
  await slots(sql, "busy", Array.from({ length: 50 }, (_, i) => 60 * (i + 1)));
  const at = (n: number) =>
    sql.query("select etl.tick_schedules_at(now(), $1) ->> 'requested' as n", [n]);
  assert.equal((await at(30)).rows[0].n, "30");
  assert.deepEqual(await states(sql, "busy"), [
    ...Array(30).fill("requested"),
    ...Array(20).fill("pending"),
  ]);
  assert.equal((await at(30)).rows[0].n, "20");
});

Deno.test("a slot whose label is busy makes no run and says which run was going on", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const { rows: [{ id }] } = await sql.query(
    `select etl.request_run('{"run_label": "sales"}') as id`,
  );
  await schedule(sql, "sales", { conf: { batch_size: 1 } });
  await slots(sql, "sales", [5]);
  assert.deepEqual(await tick(sql), { requested: 0, skipped: 1, missed: 0, failed: 0 });
  const { rows } = await sql.query("select state, blocked_by, note, run_id from etl.slots");
  assert.deepEqual(rows[0], {
    state: "skipped",
    blocked_by: id,
    note: `run ${id} was going on`,
    run_id: null,
  });
  assert.equal(await runs(sql), 1);
  await end(sql);
  await slots(sql, "sales", [1]);
  assert.equal((await tick(sql)).requested, 1);
});

Deno.test("of several slots that are due together the newest is run where runs may not overlap", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "skips");
  await slots(sql, "skips", [100, 50, 5]);
  await schedule(sql, "cancels", { overlap: "cancel" });
  await slots(sql, "cancels", [100, 50, 5]);
  await tick(sql);
  assert.deepEqual(await states(sql, "skips"), ["skipped", "skipped", "requested"]);
  const { rows } = await sql.query(
    "select state from etl.runs where schedule = 'cancels' order by slot",
  );
  assert.deepEqual(rows.map(({ state }) => state), ["cancelled", "cancelled", "queued"]);
});

Deno.test("schedules without a label of their own do not hold each other up", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query(
    `insert into etl.configurations (name, conf) values ('saved', '{"run_label": "shared"}')`,
  );
  for (
    const [name, conf] of [
      ["one", {}],
      ["two", {}],
      ["labelled", { run_label: "mine" }],
      ["configured", { configuration: "saved" }],
    ] as const
  ) {
    await schedule(sql, name, { conf });
    await slots(sql, name, [5]);
  }
  assert.equal((await tick(sql)).requested, 4);
  const { rows } = await sql.query("select run_label from etl.runs order by run_label");
  assert.deepEqual(rows.map((row) => row.run_label), ["mine", "one", "shared", "two"]);
});

Deno.test("a schedule whose request is refused keeps the problem in its slot and stops no other", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const bad: Record<string, Setting> = {
    a_pool: { pool: "nope" },
    b_configuration: { configuration: "gone" },
    c_name: { batchsize: 1 },
    d_schema: { schema_name: "pg_catalog" },
  };
  for (const [name, conf] of Object.entries(bad)) {
    await schedule(sql, name, { conf });
    await slots(sql, name, [20]);
  }
  await schedule(sql, "z_good");
  await slots(sql, "z_good", [5]);
  assert.deepEqual(await tick(sql), { requested: 1, skipped: 0, missed: 0, failed: 4 });
  const { rows } = await sql.query(
    "select schedule, problem from etl.slots where state = 'failed' order by schedule",
  );
  assert.equal(rows.length, 4);
  assert.equal(rows[0].problem.type, "/api/problems/invalid-conf");
  assert.equal(rows[0].problem.errors[0].field, "pool");
  assert.match(rows[1].problem.detail, /configuration is not a saved configuration/);
  assert.match(rows[2].problem.errors[0].message, /did you mean batch_size/);
  for (const { problem } of rows) assert.equal(typeof problem.detail, "string");
  assert.deepEqual(await states(sql, "z_good"), ["requested"]);
  const alerts = await sql.query(
    `select kind, severity, message from public.etl_improved_alerts where fingerprint = 'run_failed:schedule a_pool'`,
  );
  assert.equal(alerts.rows[0].severity, "error");
  assert.match(alerts.rows[0].message, /^Schedule a_pool could not ask for its run of .*pool/);
  // corrected, the alert ends with the next run
  await sql.query(`update etl.schedules set conf = '{}' where name = 'a_pool'`);
  await slots(sql, "a_pool", [1]);
  await tick(sql);
  const open = await sql.query(
    "select fingerprint from etl.alert_states where resolved_at is null order by 1",
  );
  assert.deepEqual(open.rows.map((row) => row.fingerprint), [
    "run_failed:schedule b_configuration",
    "run_failed:schedule c_name",
    "run_failed:schedule d_schema",
  ]);
});

Deno.test("what stands in the way for a moment leaves the slot for the next tick", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "waits");
  await slots(sql, "waits", [5]);
  await withClient(db.dsn, async (other) => {
    await other.query("begin");
    await other.query("select from etl.pools for update");
    await sql.query(
      "alter function etl.tick_schedules_at(timestamptz, integer) set lock_timeout = '50ms'",
    );
    assert.deepEqual(await tick(sql), { requested: 0, skipped: 0, missed: 0, failed: 0 });
    assert.deepEqual(await states(sql, "waits"), ["pending"]);
    await other.query("rollback");
  });
  assert.equal((await tick(sql)).requested, 1);
});

Deno.test("slots of a paused schedule are skipped and never caught up", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "off", { active: false, missed: "all" });
  await slots(sql, "off", [7200, 5]);
  await schedule(sql, "until", {
    paused_until: new Date(Date.now() + 3_600_000).toISOString(),
    missed: "all",
  });
  await slots(sql, "until", [5]);
  assert.deepEqual(await tick(sql), { requested: 0, skipped: 3, missed: 0, failed: 0 });
  const { rows } = await sql.query("select distinct note from etl.slots");
  assert.deepEqual(rows, [{ note: "the schedule was paused" }]);
  await sql.query("update etl.schedules set active = true, paused_until = null");
  assert.equal((await tick(sql)).requested, 0);
  await slots(sql, "off", [2]);
  assert.equal((await tick(sql)).requested, 1);
});

Deno.test("what fell due in a pause is not caught up when nobody ticked meanwhile", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "resumed", { active: false, missed: "all" });
  await slots(sql, "resumed", [7200, 5]);
  await sql.query("update etl.schedules set active = true where name = 'resumed'");
  await schedule(sql, "over", { missed: "all", overlap: "queue" });
  // paused from two hours ago to one hour ago
  await sql.query(`alter table etl.schedules disable trigger user;
    update etl.schedules set paused_at = now() - interval '2 hours', paused_until = now() - interval '1 hour' where name = 'over';
    alter table etl.schedules enable trigger user`);
  await slots(sql, "over", [3 * 3600, 5400, 1800]);
  await tick(sql);
  assert.deepEqual(await states(sql, "resumed"), ["skipped", "skipped"]);
  assert.deepEqual(await states(sql, "over"), ["requested", "skipped", "requested"]);
});

Deno.test("an edited expression drops the slots to come and makes none in the past", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "edited");
  await slots(sql, "edited", [7200, 5, -3600, -7200]);
  const { rows: [before] } = await sql.query("select * from etl.schedules");
  await sql.query("update etl.schedules set description = 'no change of its times'");
  assert.equal((await states(sql, "edited")).length, 4);
  await sql.query("update etl.schedules set cron = '30 * * * *'");
  assert.equal((await states(sql, "edited")).length, 2);
  const { rows: [after] } = await sql.query("select * from etl.schedules");
  assert.ok(after.plan_from > before.plan_from);
  assert.equal(Number(after.revision), Number(before.revision) + 1);
  assert.equal(after.slots_until, null);
});

Deno.test("schedules and slots in a bad state cannot be stored", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "good");
  const refused = async (text: string, constraint: string) => {
    await assert.rejects(sql.query(text), (error) => {
      assert.equal((error as { constraint?: string }).constraint, constraint, text);
      return true;
    });
  };
  const bad = (column: string, value: string) =>
    `insert into etl.schedules (name, cron, ${column}) values ('x', '@daily', ${value})`;
  await refused(
    "insert into etl.schedules (name, cron) values ('x', '* * *')",
    "schedules_cron_form",
  );
  await refused(
    "insert into etl.schedules (name, cron) values ('x', '* * * * * *')",
    "schedules_cron_form",
  );
  await refused(
    "insert into etl.schedules (name, cron) values ('x', '@reboot')",
    "schedules_cron_form",
  );
  await refused(
    "insert into etl.schedules (name, cron) values ('1x', '@daily')",
    "schedules_name_form",
  );
  await refused(bad("missed", "'some'"), "schedules_missed_known");
  await refused(bad("overlap", "'maybe'"), "schedules_overlap_known");
  await refused(bad("grace_seconds", "-1"), "schedules_grace_bounds");
  await refused(bad("conf", "'[]'"), "schedules_conf_is_object");
  await refused(bad("conf", `'{"overlap": "queue"}'`), "schedules_overlap_outside_conf");
  await assert.rejects(sql.query(bad("time_zone", "'Europe/Madird'")), { code: "ET422" });
  const slot = (columns: string, values: string) =>
    `insert into etl.slots (schedule, slot, ${columns}) values ('good', now(), ${values})`;
  await refused(slot("state, decided_at", "'done', now()"), "slots_state_known");
  await refused(slot("state", "'missed'"), "slots_decided_unless_pending");
  await refused(slot("decided_at", "now()"), "slots_decided_unless_pending");
  await refused(slot("state, decided_at", "'requested', now()"), "slots_requested_has_run");
  await refused(slot("state, decided_at", "'skipped', now()"), "slots_without_run_says_why");
  await refused(slot("state, decided_at", "'failed', now()"), "slots_failed_has_problem");
  await refused(slot("slot_previous", "now() + interval '1 hour'"), "slots_previous_is_before");
});

Deno.test("a schedule is overdue when nobody decides its slots, or when it has none ahead", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const overdue = async () =>
    (await sql.query("select schedule from etl.overdue_schedules() order by 1")).rows
      .map((row) => row.schedule);
  const sweep = () => sql.query("select etl.sweep_conditions()");
  const alerts = async () =>
    (await sql.query(`select kind, subject from etl.alert_states where resolved_at is null`)).rows;
  const planned = () =>
    sql.query(
      `select etl.store_slots(name, revision, '{}', '{}', now() + interval '8 days') from etl.schedules`,
    );
  for (const name of ["on_time", "undecided", "paused", "patient"]) {
    await schedule(sql, name, {
      active: name !== "paused",
      grace_seconds: name === "patient" ? 3600 : 120,
    });
  }
  await planned();
  assert.deepEqual(await overdue(), []);
  await slots(sql, "on_time", [200]);
  await slots(sql, "patient", [1800]);
  await slots(sql, "undecided", [600]);
  await slots(sql, "paused", [600]);
  assert.deepEqual(await overdue(), ["undecided"]);
  await sweep();
  assert.deepEqual(await alerts(), [{ kind: "schedule_overdue", subject: "undecided" }]);
  await tick(sql);
  assert.deepEqual(await overdue(), []);
  await sweep();
  assert.deepEqual(await alerts(), []);
  // new, and no server computes slots
  await schedule(sql, "unplanned");
  assert.deepEqual(await overdue(), []);
  await sql.query(`alter table etl.schedules disable trigger user;
    update etl.schedules set plan_from = now() - interval '10 minutes' where name = 'unplanned';
    update etl.schedules set slots_until = now() - interval '1 hour' where name = 'on_time';
    alter table etl.schedules enable trigger user`);
  assert.deepEqual(await overdue(), ["on_time", "unplanned"]);
  await sql.query(
    "update etl.schedules set problem = 'cron cannot be read' where name = 'unplanned'",
  );
  await sweep();
  const { rows } = await sql.query(
    "select message from public.etl_improved_alerts where resolved_at is null and fingerprint like '%unplanned'",
  );
  assert.match(rows[0].message, /slots cannot be computed: cron cannot be read/);
  await planned();
  assert.deepEqual(await overdue(), []);
});

Deno.test("old slots are deleted, those to come and the newest 10,000 are kept", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "old");
  await sql.query(`insert into etl.slots (schedule, slot, state, note, decided_at)
    select 'old', t, 'missed', 'test', t from (select now() - n * interval '1 day' as t from generate_series(1, 500) as n) as x`);
  await schedule(sql, "many");
  await sql.query(`insert into etl.slots (schedule, slot, state, note, decided_at)
    select 'many', t, 'missed', 'test', t from (select now() - n * interval '1 minute' as t from generate_series(1, 10500) as n) as x`);
  await slots(sql, "many", [-60]);
  let gone = 0;
  for (;;) {
    const { rows: [row] } = await sql.query("select etl.purge_slots(400)::int as n");
    if (row.n === 0) break;
    gone += row.n;
  }
  assert.equal(gone, 600 + 1);
  const { rows } = await sql.query(
    "select schedule, count(*)::int as n from etl.slots group by 1 order by 1",
  );
  assert.deepEqual(rows, [{ schedule: "many", n: 10_001 }, { schedule: "old", n: 399 }]);
});
