import assert from "node:assert/strict";
import { wrongClock } from "../helpers/clock.ts";
import { startEngine } from "../helpers/engine.ts";
import { problemOf } from "../helpers/problems.ts";
import { type Backfill, type Body, ok, put, slotsOf } from "../helpers/schedules.ts";

Deno.test("a backfill runs each past slot once, however often it is asked for", async (t) => {
  await using engine = await startEngine(t);
  await ok(
    await put(engine, "daily", {
      cron: "30 2 * * *",
      time_zone: "Europe/Madrid",
      conf: { batch_size: 1, mlflow_experiment: "{{slot}}" },
    }),
  );
  const backfill = (body: Body) => engine.post("/api/schedules/daily/backfill", body);
  const range = { from: "2026-03-27", to: "2026-03-30" };
  const dry = await ok<Backfill>(await backfill({ ...range, preview: true }));
  assert.deepEqual([dry.runs, dry.kept], [4, 0]);
  assert.deepEqual(dry.items.map(({ local }) => local), [
    "2026-03-27T02:30:00+01:00",
    "2026-03-28T02:30:00+01:00",
    "2026-03-29T03:00:00+02:00",
    "2026-03-30T02:30:00+02:00",
  ]);
  assert.deepEqual(dry.items.map(({ slot_previous }) => slot_previous), [
    "2026-03-26T01:30:00.000Z",
    ...dry.items.slice(0, -1).map(({ slot }) => slot),
  ]);
  assert.equal((await engine.sql`select from etl.runs`).length, 0);
  const done = await ok<Backfill>(await backfill(range));
  assert.equal(done.runs, 4);
  const again = await ok<Backfill>(await backfill(range));
  assert.deepEqual([again.runs, again.kept], [0, 4]);
  assert.deepEqual(
    again.items.map(({ run_id }) => run_id),
    done.items.map(({ run_id }) => run_id),
  );
  const [run] = await engine.sql`
    select trigger, schedule, overlap, params ->> 'mlflow_experiment' as name, slot, slot_previous from etl.runs order by slot limit 1`;
  assert.deepEqual({ ...run }, {
    trigger: "backfill",
    schedule: "daily",
    overlap: "queue",
    name: "2026-03-27T01:30:00Z",
    slot: new Date("2026-03-27T01:30:00Z"),
    slot_previous: new Date("2026-03-26T01:30:00Z"),
  });
  for (const { run_id } of done.items) {
    assert.equal((await engine.toEnd(run_id)).state, "succeeded");
  }
  // a slot whose run failed or was cancelled is run again
  const failed = done.items[1]!.run_id;
  const cancelled = done.items[3]!.run_id;
  await engine.sql`alter table etl.runs disable trigger user`;
  await engine.sql`update etl.runs set state = 'failed' where run_id = ${failed}`;
  await engine.sql`update etl.runs set state = 'cancelled' where run_id = ${cancelled}`;
  await engine.sql`alter table etl.runs enable trigger user`;
  const repaired = await ok<Backfill>(await backfill(range));
  assert.deepEqual(repaired.items.map(({ action }) => action), ["kept", "run", "kept", "run"]);
  assert.equal(repaired.items[1]!.state_before, "failed");
  assert.notEqual(repaired.items[1]!.run_id, failed);
  // a run that was deleted since counts as done
  await engine.sql`delete from etl.runs where run_id = ${done.items[0]!.run_id}`;
  assert.deepEqual((await ok<Backfill>(await backfill(range))).runs, 0);
});

Deno.test("a backfill of hundreds of slots has each once, and none that has not come yet", async (t) => {
  await using engine = await startEngine(t);
  await ok(await put(engine, "hourly", { cron: "@hourly" }));
  const backfill = async (body: Body) =>
    await ok<Backfill>(
      await engine.post("/api/schedules/hourly/backfill", { ...body, preview: true }),
    );
  const { items, runs } = await backfill({
    from: "2026-05-01T00:00:00Z",
    to: "2026-05-10T09:00:00Z",
  });
  assert.equal(runs, 226);
  assert.equal(new Set(items.map(({ slot }) => slot)).size, 226);
  const from = new Date(Date.now() - 2 * 3_600_000).toISOString();
  const to = new Date(Date.now() + 5 * 3_600_000).toISOString();
  const { items: past } = await backfill({ from, to });
  assert.equal(past.length, 2);
  assert.ok(past.every(({ slot }) => Date.parse(slot) <= Date.now()));
});

Deno.test("backfills that are asked for at once make one run a slot", async (t) => {
  await using engine = await startEngine(t);
  await ok(await put(engine, "hourly", { cron: "@hourly" }));
  const body = { from: "2026-05-01T00:00:00Z", to: "2026-05-02T00:00:00Z" };
  const all = await Promise.all(
    Array.from(
      { length: 4 },
      async () => await ok<Backfill>(await engine.post("/api/schedules/hourly/backfill", body)),
    ),
  );
  assert.equal(all.reduce((sum, { runs }) => sum + runs, 0), 25);
  assert.equal((await engine.sql`select from etl.runs`).length, 25);
});

Deno.test("a backfill runs missed and skipped slots, and refuses what it cannot do", async (t) => {
  await using engine = await startEngine(t);
  await ok(await put(engine, "hourly", { cron: "@hourly" }));
  await engine.sql`insert into etl.slots (schedule, slot, state, note, decided_at) values
    ('hourly', '2026-05-01 01:00Z', 'missed', 'test', now()), ('hourly', '2026-05-01 02:00Z', 'skipped', 'test', now())`;
  const backfill = async (body: Body) => await engine.post("/api/schedules/hourly/backfill", body);
  const done = await ok<Backfill>(
    await backfill({ from: "2026-05-01T01:00:00Z", to: "2026-05-01T02:30:00Z" }),
  );
  assert.deepEqual(done.items.map(({ state_before }) => state_before), ["missed", "skipped"]);
  const { past } = await slotsOf(engine, "hourly");
  assert.deepEqual(past.map(({ state, note }) => [state, note]), [
    ["requested", null],
    ["requested", null],
  ]);
  const cases: [Body, number, string][] = [
    [{ from: "2099-01-01" }, 422, "from"],
    [{ from: "2026-05-02", to: "2026-05-01" }, 422, "to"],
    [{ from: "2020-01-01", to: "2021-01-01" }, 422, "to"],
    [{ from: "yesterday" }, 400, "from"],
  ];
  for (const [body, status, field] of cases) {
    const problem = await problemOf(await backfill(body));
    assert.deepEqual([problem.status, problem.errors![0]!.field], [status, field]);
  }
  {
    using _ = wrongClock(30);
    const tomorrow = new Date(Date.now() - 29 * 86_400_000).toISOString();
    assert.equal((await backfill({ from: tomorrow })).status, 422, "the database's clock decides");
  }
  assert.equal(
    (await engine.post("/api/schedules/none/backfill", { from: "2026-01-01" })).status,
    404,
  );
});
