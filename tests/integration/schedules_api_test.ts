import assert from "node:assert/strict";
import { startEngine } from "../helpers/engine.ts";
import { problemOf } from "../helpers/problems.ts";
import { type Body, ok, put, slotsOf } from "../helpers/schedules.ts";

Deno.test("a schedule is made, shown, listed, changed and removed, and each change audited", async (t) => {
  await using engine = await startEngine(t);
  const made = await put(engine, "nightly", {
    cron: " 30  2 * * 1-5",
    time_zone: "europe/madrid",
    conf: { batch_size: 7 },
  });
  assert.equal(made.status, 201);
  const shown = await made.json();
  assert.deepEqual(
    [shown.cron, shown.cron_words, shown.missed, shown.grace_seconds, shown.overlap, shown.active],
    ["30 2 * * 1-5", "At 02:30, Monday through Friday", "last", 120, "skip", true],
  );
  assert.equal(shown.time_zone, "Europe/Madrid");
  assert.deepEqual([shown.paused, shown.description, shown.last_slot, shown.problem], [
    false,
    null,
    null,
    null,
  ]);
  assert.match(shown.next_slot_local, /T02:30:00\+0[12]:00$/);
  assert.equal(Date.parse(shown.next_slot_local), Date.parse(shown.next_slot));
  assert.ok(Date.parse(shown.slots_until) > Date.now() + 7.9 * 86_400_000);

  const again = await put(engine, "nightly", {
    cron: "30 2 * * 1-5",
    time_zone: "Europe/Madrid",
    conf: { batch_size: 7 },
  });
  assert.equal(again.status, 200);
  const [{ revision } = { revision: "" }] = await engine.sql<{ revision: string }[]>`
    select revision from etl.schedules`;
  assert.equal(revision, "1");
  const changed = await ok(
    await put(engine, "nightly", {
      cron: "@daily",
      missed: "all",
      overlap: "queue",
      description: "what the shop sold",
    }),
  );
  assert.equal(changed.description, "what the shop sold");
  await engine.sql`insert into etl.slots (schedule, slot, state, decided_at, note)
    select 'nightly', timestamptz '2026-01-01' + n * interval '1 day', 'skipped', now(), 'paused' from generate_series(0, 3) as n`;
  const slots = (query: string) =>
    engine.request(`/api/schedules/nightly/slots?limit=2${query}`)
      .then((answer) => ok<{ past: Body[]; next: string | null }>(answer));
  const newer = await slots("");
  const older = await slots(`&cursor=${newer.next}`);
  assert.deepEqual([newer.past.length, older.past.length, older.next], [2, 2, null]);
  assert.deepEqual([changed.cron_words, changed.missed, changed.overlap, changed.time_zone], [
    "At 00:00",
    "all",
    "queue",
    "UTC",
  ]);
  assert.deepEqual(changed.conf, {});

  for (const name of ["b", "a", "Z"]) await ok(await put(engine, name, { cron: "@weekly" }));
  const page = await ok<{ items: Body[]; next: string }>(
    await engine.request("/api/schedules?limit=3"),
  );
  assert.deepEqual(page.items.map(({ name }) => name), ["Z", "a", "b"]);
  const rest = await ok<{ items: Body[]; next: null }>(
    await engine.request(`/api/schedules?limit=3&cursor=${page.next}`),
  );
  assert.deepEqual([rest.items.map(({ name }) => name), rest.next], [["nightly"], null]);

  const gone = await engine.request("/api/schedules/nightly", { method: "DELETE" });
  assert.equal(gone.status, 204);
  assert.equal((await problemOf(await engine.request("/api/schedules/nightly"))).status, 404);
  const missing = await engine.request("/api/schedules/nightly", { method: "DELETE" });
  assert.match((await problemOf(missing)).detail, /There is no schedule nightly/);
  const audit = await engine.sql<{ event: string; actor: string }[]>`
    select event, actor from public.etl_improved_audit where details ->> 'name' = 'nightly'`;
  assert.deepEqual(new Set(audit.map(({ actor }) => actor)), new Set(["http"]));
  assert.deepEqual(audit.map(({ event }) => event).sort(), [
    "schedules_delete",
    "schedules_put",
    "schedules_put",
    "schedules_put",
  ]);
});

Deno.test("everything that is wrong with a schedule is told in one answer, as a run request would tell it", async (t) => {
  await using engine = await startEngine(t);
  const problem = await problemOf(
    await put(engine, "bad", {
      cron: "* * * * * *",
      time_zone: "Europe/Madird",
      conf: {
        batchsize: 5,
        pool: "nope",
        chunk_size: 0,
        overlap: "queue",
        configuration: "gone",
      },
    }),
  );
  assert.equal(problem.status, 422);
  assert.deepEqual(problem.errors!.map(({ field }) => field).sort(), [
    "conf.batchsize",
    "conf.chunk_size",
    "conf.configuration",
    "conf.overlap",
    "conf.pool",
    "cron",
    "time_zone",
  ]);
  assert.match(
    problem.errors!.find(({ field }) => field === "time_zone")!.message,
    /did you mean Europe\/Madrid/,
  );
  const strict = await problemOf(await put(engine, "bad", { cron: "@daily", timezone: "UTC" }));
  assert.equal(strict.status, 400);
  assert.match(strict.detail, /timezone/);
  for (
    const body of [{}, { cron: "@daily", grace_seconds: -1 }, { cron: "@daily", missed: "x" }]
  ) assert.equal((await problemOf(await put(engine, "bad", body))).status, 400);
  assert.equal((await problemOf(await put(engine, "1bad", { cron: "@daily" }))).status, 400);
  assert.equal((await engine.sql`select from etl.schedules`).length, 0);
  // what no database can hold is told by its field
  const nul = await problemOf(
    await put(engine, "bad", { cron: "@daily", conf: { run_label: "a\u0000", pool: "p" } }),
  );
  assert.deepEqual(nul.errors!.map(({ field }) => field), ["conf.run_label"]);
  // slots are filled in before the conf is judged
  await ok(
    await put(engine, "filled", {
      cron: "@daily",
      conf: {
        run_label: "of {{today}}",
        source: { type: "file", path: "{{slot_previous}}.csv", key: "id" },
      },
    }),
  );
});

Deno.test("a schedule may run a saved configuration, which is followed when it changes", async (t) => {
  await using engine = await startEngine(t);
  await engine
    .sql`insert into etl.configurations (name, conf) values ('nightly', '{"batch_size": 9}')`;
  const made = await ok(
    await put(engine, "s", { cron: "@hourly", configuration: "nightly" }),
  );
  assert.deepEqual([made.configuration, made.conf], ["nightly", { configuration: "nightly" }]);
  const other = await put(engine, "s", {
    cron: "@hourly",
    configuration: "nightly",
    conf: { configuration: "x" },
  });
  assert.equal((await problemOf(other)).errors![0]!.field, "configuration");
  await ok(
    await put(engine, "s", {
      cron: "@hourly",
      configuration: "nightly",
      conf: { configuration: "nightly" },
    }),
  );
  const { run_id } = await ok<{ run_id: string }>(await engine.post("/api/schedules/s/run"));
  const run = await engine.run(run_id);
  assert.deepEqual([run.params.batch_size!.value, run.params.batch_size!.origin], [
    9,
    "configuration",
  ]);
});

Deno.test("a pause with an end and one without are told, and a resumed schedule goes on with its next slot", async (t) => {
  await using engine = await startEngine(t);
  const post = (verb: string, body: unknown = {}) => engine.post(`/api/schedules/s/${verb}`, body);
  await ok(await put(engine, "s", { cron: "@hourly" }));
  const paused = await ok(await post("pause"));
  assert.deepEqual([paused.active, paused.paused, paused.next_slot], [false, true, null]);
  // a change of its conf does not resume it
  const edited = await ok(await put(engine, "s", { cron: "@hourly", conf: { batch_size: 1 } }));
  assert.equal(edited.paused, true);
  const resumed = await ok(await post("resume"));
  assert.deepEqual([resumed.active, resumed.paused], [true, false]);
  assert.ok(Date.parse(resumed.next_slot as string) > Date.now());
  const until = new Date(Date.now() + 90 * 60_000).toISOString();
  const holiday = await ok(await post("pause", { until }));
  assert.deepEqual([holiday.active, holiday.paused, holiday.paused_until], [true, true, until]);
  assert.ok(Date.parse(holiday.next_slot as string) >= Date.parse(until));
  const { ahead } = await slotsOf(engine, "s");
  assert.equal(ahead[0]!.slot, holiday.next_slot);
  const meanwhile = await ok(await put(engine, "s", { cron: "@hourly" }));
  assert.equal(meanwhile.paused_until, until, "nor does one end its pause");
  const audit = await engine.sql<{ event: string }[]>`
    select event from public.etl_improved_audit where event ~ 'pause|resume' order by audit_id`;
  assert.deepEqual(audit.map(({ event }) => event), [
    "schedules_pause",
    "schedules_resume",
    "schedules_pause",
  ]);
  // later than slots are stored
  const year = new Date().getUTCFullYear() + 2;
  const sabbatical = await ok(await post("pause", { until: `${year}-01-01` }));
  assert.equal(sabbatical.next_slot, `${year}-01-01T00:00:00.000Z`);
  assert.deepEqual((await slotsOf(engine, "s")).ahead, []);
  const past = await problemOf(await post("pause", { until: "2020-01-01" }));
  assert.deepEqual([past.status, past.errors![0]!.field], [422, "until"]);
  assert.equal((await problemOf(await post("pause", { until: "soon" }))).status, 400);
  assert.equal(
    (await engine.request("/api/schedules/none/resume", { method: "POST" })).status,
    404,
  );
  const without = await engine.request("/api/schedules/s/pause", { method: "POST" });
  assert.equal((await ok(without)).active, false);
});

Deno.test("run now has the conf of the schedule, and the same key gives the same run", async (t) => {
  await using engine = await startEngine(t);
  await ok(
    await put(engine, "s", {
      cron: "@yearly",
      conf: { batch_size: 3, source: { type: "file", path: "{{slot_previous}}.csv", key: "id" } },
    }),
  );
  await engine.sql`insert into etl.slots (schedule, slot, state, decided_at)
    select 's', slot, 'pending', null from unnest('{2025-01-01Z,2026-01-01Z}'::timestamptz[]) as slot`;
  const now = (key: string) => engine.post("/api/schedules/s/run", {}, { "idempotency-key": key });
  const first = await now("k1");
  assert.equal(first.status, 202);
  const { run_id, created } = await first.json();
  assert.equal(created, true);
  assert.equal(first.headers.get("location"), `/api/etl/runs/${run_id}`);
  const again = await ok(await now("k1"));
  assert.deepEqual([again.run_id, again.created, again.skipped], [run_id, false, false]);
  const run = await engine.run(run_id);
  assert.deepEqual([run.run_label, run.schedule, run.slot, run.trigger, run.requested_by], [
    ...["s", "s", null, "http", "http"],
  ]);
  assert.equal((run.params.source!.value as { path: string }).path, "2026-01-01T00:00:00Z.csv");
  const skipped = await ok(await now("k2"));
  assert.deepEqual([skipped.skipped, skipped.run_id], [true, run_id]);
  // one of the two has another day than UTC at any time
  for (const [name, zone] of [["east", "Pacific/Kiritimati"], ["west", "Etc/GMT+12"]] as const) {
    await ok(
      await put(engine, name, {
        cron: "@yearly",
        time_zone: zone,
        conf: { run_label: "{{today}}" },
      }),
    );
    const { run_id } = await ok(await engine.post(`/api/schedules/${name}/run`));
    const { run_label, requested_at } = await engine.run(String(run_id));
    const day = Temporal.Instant.from(new Date(requested_at).toISOString())
      .toZonedDateTimeISO(zone).toPlainDate();
    assert.equal(run_label, day.toString());
  }
  assert.equal((await engine.post("/api/schedules/none/run")).status, 404);
});
