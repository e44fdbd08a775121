import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { end, schedule, slots, states, tick } from "../helpers/schedules.ts";
import { client, runs } from "../helpers/sql_problems.ts";

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
    note: `run ${id} was in progress`,
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
  // a server cancels after the commit
  await sql.query("select etl.apply_cancels()");
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
  // a new zone as well: its times are others
  await slots(sql, "edited", [-1800]);
  await sql.query("update etl.schedules set slots_until = now(), time_zone = 'Europe/Madrid'");
  assert.equal((await states(sql, "edited")).length, 2);
  const { rows: [zoned] } = await sql.query("select * from etl.schedules");
  assert.ok(zoned.plan_from > after.plan_from);
  assert.deepEqual([Number(zoned.revision), zoned.slots_until], [Number(after.revision) + 1, null]);
  // switched on again, it continues with the next slot; an edit meanwhile is no new pause
  const row = async () =>
    (await sql.query("select revision::int, plan_from, paused_at::text from etl.schedules"))
      .rows[0];
  await sql.query("update etl.schedules set active = false");
  const { paused_at } = await row();
  await sql.query("update etl.schedules set description = 'paused'");
  assert.deepEqual((await row()).paused_at, paused_at);
  await sql.query("update etl.schedules set active = true");
  const on = await row();
  assert.deepEqual([on.revision, on.paused_at], [Number(zoned.revision) + 1, null]);
  assert.ok(on.plan_from > zoned.plan_from);
});

Deno.test("what is caught up with all is asked for oldest first, although runs may not overlap", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "catches_up", { missed: "all", overlap: "skip" });
  await slots(sql, "catches_up", [4 * 3600, 3 * 3600, 2 * 3600, 60]);
  assert.deepEqual(await tick(sql), { requested: 4, skipped: 0, missed: 0, failed: 0 });
  const { rows } = await sql.query(
    `select array_agg(slot order by requested_at) = array_agg(slot order by slot) as in_order,
      array_agg(distinct overlap) as overlap from etl.runs`,
  );
  assert.deepEqual(rows[0], { in_order: true, overlap: ["queue"] });
});

Deno.test("a pause holds from its first instant up to its end, which is no part of it", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "paused", { missed: "all", overlap: "queue", grace_seconds: 86_400 });
  const at = (minutes: number) => `2027-03-01 10:${minutes}Z`;
  await sql.query(`alter table etl.schedules disable trigger user;
    update etl.schedules set paused_at = '${at(10)}', paused_until = '${at(20)}';
    alter table etl.schedules enable trigger user`);
  await sql.query(
    `insert into etl.slots (schedule, slot, slot_previous)
     select 'paused', slot::timestamptz, slot::timestamptz - interval '1 minute' from unnest($1::text[]) as slot`,
    [[at(10), at(19), at(20)]],
  );
  const tickAt = (time: string) => sql.query("select etl.tick_schedules_at($1)", [time]);
  await sql.query(
    "insert into etl.slots (schedule, slot, slot_previous) values ('paused', $1, $2)",
    [
      "2027-03-01 10:09:59.999Z",
      "2027-03-01 10:09Z",
    ],
  );
  // at the very end of the pause
  await tickAt(at(20));
  assert.deepEqual(await states(sql, "paused"), ["requested", "skipped", "skipped", "requested"]);
});

Deno.test("what fell due at the end of a pause is run when somebody resumes the schedule later", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await schedule(sql, "resumed", { missed: "all", overlap: "queue", grace_seconds: 86_400 });
  await sql.query(`alter table etl.schedules disable trigger user;
    update etl.schedules set paused_at = now() - interval '2 hours',
      paused_until = date_trunc('hour', now()) - interval '1 hour';
    alter table etl.schedules enable trigger user;
    insert into etl.slots (schedule, slot, slot_previous)
    select name, paused_until - i * interval '1 minute', paused_until - (i + 1) * interval '1 minute'
    from etl.schedules, generate_series(0, 1) as i`);
  await sql.query("update etl.schedules set paused_until = null");
  await tick(sql);
  assert.deepEqual(await states(sql, "resumed"), ["skipped", "requested"]);
});
