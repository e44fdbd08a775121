import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { schedule, type Setting, slots, states, tick } from "../helpers/schedules.ts";
import { client, runs } from "../helpers/sql_problems.ts";

Deno.test("a due slot becomes a run that knows its schedule and slot", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "hourly", {
    time_zone: "Pacific/Auckland",
    conf: {
      batch_size: 7,
      source: { type: "file", path: "{{slot_previous}}/{{slot}}/{{today}}.csv", key: "id" },
    },
  });
  await sql.query(`insert into etl.slots (schedule, slot, slot_previous)
    values ('hourly', '2027-03-28 13:00Z', '2027-03-27 13:30Z'), ('hourly', '2027-03-29 13:00Z', '2027-03-28 13:00Z')`);
  const { rows: [done] } = await sql.query(
    "select etl.tick_schedules_at('2027-03-28 13:00:20Z') as counts",
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
    ["hourly", "2027-03-28T13:00:00.000Z"],
  );
  assert.deepEqual(run, {
    run_label: "hourly",
    trigger: "schedule",
    requested_by: "schedule",
    schedule: "hourly",
    slot: new Date("2027-03-28T13:00:00Z"),
    slot_previous: new Date("2027-03-27T13:30:00Z"),
    overlap: "skip",
    linked: true,
  });
  assert.equal(params.batch_size, 7);
  assert.equal(params.source.path, "2027-03-27T13:30:00Z/2027-03-28T13:00:00Z/2027-03-29.csv");
  assert.equal(conf.source.path, "{{slot_previous}}/{{slot}}/{{today}}.csv");
  assert.deepEqual(await states(sql, "hourly"), ["requested", "pending"]);
  // nothing is due again
  assert.deepEqual((await tick(sql)).requested, 0);
  // records that a conf carries are data, whatever stands in them
  const { rows: [filled] } = await sql.query(
    "select etl.fill_slots($1, '2027-03-28 13:00Z', null, 'UTC') as conf",
    [{ run_label: "{{today}}", source: { type: "inline", records: [{ id: "{{today}}" }] } }],
  );
  assert.deepEqual(
    [filled.conf.run_label, filled.conf.source.records],
    ["2027-03-28", [{ id: "{{today}}" }]],
  );
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
  // what was due first comes first, and a request that is refused counts
  await schedule(sql, "z_refused", { conf: { pool: "nope" } });
  await slots(sql, "z_refused", [30]);
  await schedule(sql, "a_later");
  await slots(sql, "a_later", [20]);
  assert.equal((await at(1)).rows[0].n, "0");
  assert.deepEqual([await states(sql, "z_refused"), await states(sql, "a_later")], [["failed"], [
    "pending",
  ]]);
  assert.equal((await at(1)).rows[0].n, "1");
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
  assert.match(
    alerts.rows[0].message,
    /^Schedule a_pool could not request its run of \S+: pool \("\w+"\) is not a known pool; expected: one of: default_pool/,
  );
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
  // a backfill makes good for the slot that failed
  await sql.query(
    `select etl.backfill_slots('a_pool', array_agg(slot), array[null::timestamptz], '{"requested_by": "ann"}')
    from etl.slots where schedule = 'a_pool' and state = 'failed'`,
  );
  const { rows: [after] } = await sql.query(`select s.state, s.problem, r.requested_by, r.trigger
    from etl.slots as s join etl.runs as r using (run_id) where r.trigger = 'backfill'`);
  assert.deepEqual(after, {
    state: "requested",
    problem: null,
    requested_by: "ann",
    trigger: "backfill",
  });
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
      "alter function etl.tick_schedules_at set lock_timeout = '50ms'",
    );
    assert.deepEqual(await tick(sql), { requested: 0, skipped: 0, missed: 0, failed: 0 });
    assert.deepEqual(await states(sql, "waits"), ["pending"]);
    await other.query("rollback");
  });
  assert.equal((await tick(sql)).requested, 1);
});

Deno.test("what the database may get over leaves the slot for the next tick, every other error is the slot's", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query(`create function refuse() returns trigger language plpgsql as $$
    begin
      raise exception using errcode = tg_argv[0], message = 'refused';
    end $$`);
  const passing = [
    ...["40001", "40P01", "55P03"],
    // resources, interventions, the system, and problems of the program with a status of 5xx
    ...["53100", "53300", "57P01", "57P03", "58000", "58030"],
  ];
  const final = ["22003", "23514", "42501", "54000", "P0001"];
  for (const [i, code] of [...passing, ...final].entries()) {
    const name = `s${i}`;
    await schedule(sql, name);
    await slots(sql, name, [5]);
    await sql.query(
      `create trigger refuse before insert on etl.runs for each row execute function refuse('${code}')`,
    );
    await tick(sql);
    const state = passing.includes(code) ? "pending" : "failed";
    assert.deepEqual(await states(sql, name), [state], code);
    await sql.query("drop trigger refuse on etl.runs");
    await tick(sql);
    assert.deepEqual(await states(sql, name), [state === "failed" ? state : "requested"], code);
  }
  // a problem of the program's own that may pass: the database is not set up yet
  await schedule(sql, "early");
  await slots(sql, "early", [5]);
  await sql.query(
    "create table kept as select * from etl.param_schema; delete from etl.param_schema",
  );
  await tick(sql);
  assert.deepEqual(await states(sql, "early"), ["pending"]);
  await sql.query("insert into etl.param_schema select * from kept");
  await tick(sql);
  assert.deepEqual(await states(sql, "early"), ["requested"]);
});

Deno.test("a tick that takes too long leaves the rest to the next", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query(`create function dawdle() returns trigger language plpgsql as $$
    begin
      perform pg_sleep(0.2);
      return new;
    end $$;
    create trigger dawdle before insert on etl.runs for each row execute function dawdle()`);
  for (let i = 0; i < 4; i++) {
    await schedule(sql, `s${i}`);
    await slots(sql, `s${i}`, [5 + i]);
  }
  const requested = async (call: string) =>
    (await sql.query(`select ${call} ->> 'requested' as n`)).rows[0].n;
  assert.equal(await requested("etl.tick_schedules_at(now(), max_time => '0.1 s')"), "1");
  assert.equal(await requested("etl.tick_schedules_at(now(), max_time => '0.3 s')"), "2");
  // the caller gets the default
  const { rows: [{ given }] } = await sql.query(
    `select pg_get_function_arguments(oid) as given from pg_proc where proname = 'tick_schedules_at'`,
  );
  assert.match(given, /max_time interval DEFAULT '00:00:30'/);
  assert.equal(await requested("etl.tick_schedules()"), "1");
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
  const paused = (end: string | null) =>
    sql.query("update etl.schedules set paused_until = $1 where name = 'undecided'", [end]);
  await paused("infinity");
  assert.deepEqual(await overdue(), [], "in a pause that has an end, too");
  await paused(null);
  await slots(sql, "undecided", [601]);
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
