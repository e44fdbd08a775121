import assert from "node:assert/strict";
import { planSlots } from "../../queue/slot_planner.ts";
import type { Engine } from "../helpers/engine.ts";
import { startEngine } from "../helpers/engine.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { problemOf } from "../helpers/problems.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

type Body = Record<string, unknown>;

const put = (engine: Engine, name: string, body: Body) =>
  engine.request(`/api/schedules/${name}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

/** A JSON answer of status 200, 201 or 202. */
async function ok<T = Body>(response: Response): Promise<T> {
  const body = await response.json();
  assert.ok(response.ok, JSON.stringify(body));
  return body;
}

interface Slots {
  ahead: { slot: string; local: string; slot_previous: string; state: string }[];
  past: { slot: string; state: string; note: string | null }[];
  next: string | null;
}

interface Backfill {
  runs: number;
  kept: number;
  items: { slot: string; local: string; action: string; run_id: string; state_before: string }[];
}

const slotsOf = async (engine: Engine, name: string, query = "") =>
  await ok<Slots>(await engine.request(`/api/schedules/${name}/slots?${query}`));

Deno.test("a schedule is made, shown, listed, changed and removed, and each change audited", async (t) => {
  await using engine = await startEngine(t);
  const made = await put(engine, "nightly", {
    cron: " 30  2 * * 1-5",
    time_zone: "Europe/Madrid",
    conf: { batch_size: 7 },
  });
  assert.equal(made.status, 201);
  const shown = await made.json();
  assert.deepEqual(
    [shown.cron, shown.cron_words, shown.missed, shown.grace_seconds, shown.overlap, shown.active],
    ["30 2 * * 1-5", "At 02:30, Monday through Friday", "last", 120, "skip", true],
  );
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
    await put(engine, "nightly", { cron: "@daily", missed: "all", overlap: "queue" }),
  );
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
  const { run_id } = await ok<{ run_id: string }>(await engine.post("/api/schedules/s/run"));
  const run = await engine.run(run_id);
  assert.deepEqual([run.params.batch_size!.value, run.params.batch_size!.origin], [
    9,
    "configuration",
  ]);
});

Deno.test("slots are stored 8 days ahead, with the time before each, and previewed", async (t) => {
  await using engine = await startEngine(t);
  await ok(await put(engine, "minutely", { cron: "* * * * *", time_zone: "America/New_York" }));
  const [{ n, gaps } = { n: 0, gaps: 0 }] = await engine.sql<{ n: number; gaps: number }[]>`
    select count(*)::int as n, count(distinct slot - slot_previous)::int as gaps from etl.slots`;
  assert.ok(n >= 11_519 && n <= 11_521, String(n));
  assert.equal(gaps, 1);
  await ok(await put(engine, "yearly", { cron: "@yearly" }));
  const yearly = await slotsOf(engine, "yearly");
  assert.equal(yearly.ahead.length, 1);
  assert.match(yearly.ahead[0]!.slot, /-01-01T00:00:00.000Z$/);
  assert.match(yearly.ahead[0]!.slot_previous, /-01-01T00:00:00.000Z$/);
  const { ahead } = await slotsOf(engine, "minutely", "limit=3");
  assert.equal(ahead.length, 3);
  assert.deepEqual(new Set(ahead.map(({ state }) => state)), new Set(["pending"]));

  const preview = await ok<{ cron_words: string; slots: Body[] }>(
    await engine.post("/api/schedules/preview", {
      cron: "30 2 * * *",
      time_zone: "Europe/Madrid",
      count: 3,
      after: "2027-03-27",
    }),
  );
  assert.deepEqual(preview, {
    cron_words: "At 02:30",
    slots: [
      { slot: "2027-03-27T01:30:00.000Z", local: "2027-03-27T02:30:00+01:00" },
      { slot: "2027-03-28T01:00:00.000Z", local: "2027-03-28T03:00:00+02:00" },
      { slot: "2027-03-29T00:30:00.000Z", local: "2027-03-29T02:30:00+02:00" },
    ],
  });
  const bad = await engine.post("/api/schedules/preview", { cron: "x", time_zone: "y" });
  assert.deepEqual((await problemOf(bad)).errors!.map(({ field }) => field), ["cron", "time_zone"]);
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
      cron: "@hourly",
      conf: { batch_size: 3, source: { type: "file", path: "{{slot_previous}}.csv", key: "id" } },
    }),
  );
  const now = (key: string) => engine.post("/api/schedules/s/run", {}, { "idempotency-key": key });
  const first = await now("k1");
  assert.equal(first.status, 202);
  const { run_id, created } = await first.json();
  assert.equal(created, true);
  assert.equal(first.headers.get("location"), `/api/etl/runs/${run_id}`);
  assert.deepEqual((await ok(await now("k1"))).run_id, run_id);
  const run = await engine.run(run_id);
  assert.deepEqual([run.run_label, run.schedule, run.slot, run.trigger], ["s", "s", null, "http"]);
  assert.match(JSON.stringify(run.params.source!.value), /"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\.csv"/);
  const skipped = await ok(await now("k2"));
  assert.deepEqual([skipped.skipped, skipped.run_id], [true, run_id]);
  assert.equal((await engine.post("/api/schedules/none/run")).status, 404);
});

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
  // a slot whose run failed is run again
  const failed = done.items[1]!.run_id;
  await engine.sql`alter table etl.runs disable trigger user`;
  await engine.sql`update etl.runs set state = 'failed' where run_id = ${failed}`;
  await engine.sql`alter table etl.runs enable trigger user`;
  const repaired = await ok<Backfill>(await backfill(range));
  assert.deepEqual(repaired.items.map(({ action }) => action), ["kept", "run", "kept", "kept"]);
  assert.equal(repaired.items[1]!.state_before, "failed");
  assert.notEqual(repaired.items[1]!.run_id, failed);
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
  assert.equal(
    (await engine.post("/api/schedules/none/backfill", { from: "2026-01-01" })).status,
    404,
  );
});

Deno.test("past slots are paged, newest first", async (t) => {
  await using engine = await startEngine(t);
  await ok(await put(engine, "hourly", { cron: "@hourly" }));
  await engine.sql`insert into etl.slots (schedule, slot, state, note, decided_at)
    select 'hourly', date_trunc('hour', now()) - n * interval '1 hour', 'missed', 'test', now() from generate_series(0, 4) as n`;
  const seen: string[] = [];
  let cursor = "";
  for (let pages = 0; pages < 3; pages++) {
    const { past, next } = await slotsOf(engine, "hourly", `limit=2${cursor}`);
    seen.push(...past.map(({ slot }) => slot));
    cursor = `&cursor=${next}`;
    assert.equal(next === null, pages === 2);
  }
  assert.equal(seen.length, 5);
  assert.deepEqual(seen, seen.toSorted().reverse());
});

Deno.test("a schedule that SQL made gets its slots from the next server, one that is not valid gets the reason", async (t) => {
  await using engine = await startEngine(t);
  await engine
    .sql`insert into etl.schedules (name, cron) values ('good', '@hourly'), ('bad', '99 * * * *')`;
  await planSlots(engine.sql);
  const bad = await ok(await engine.request("/api/schedules/bad"));
  assert.match(bad.problem as string, /cron cannot be read: Invalid value for minute/);
  assert.equal(bad.next_slot, null);
  const good = await ok(await engine.request("/api/schedules/good"));
  assert.ok(good.next_slot !== null);
  // nothing to do the next time
  assert.equal(await planSlots(engine.sql), 0);
});

Deno.test("slots that fell due while no server stored any are made up for, bounded", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`insert into etl.schedules (name, cron) values ('daily', '@daily'), ('minutely', '* * * * *'), ('monthly', '@monthly')`;
  await sql`alter table etl.schedules disable trigger user`;
  await sql`update etl.schedules set plan_from = now() - interval '60 days'`;
  await sql`alter table etl.schedules enable trigger user`;
  await planSlots(sql);
  const rows = await sql<{ schedule: string; n: number }[]>`
    select schedule, count(*)::int as n from etl.slots where slot <= now() group by 1 order by 1`;
  const counts = Object.fromEntries(rows.map(({ schedule, n }) => [schedule, n]));
  assert.equal(counts.daily, 60);
  assert.ok(counts.minutely! >= 10_080 && counts.minutely! <= 10_082, String(counts.minutely));
  assert.ok(counts.monthly === 2 || counts.monthly === 1, String(counts.monthly));
  const [tick] = await sql<{ counts: Body }[]>`select etl.tick_schedules() as counts`;
  assert.ok((tick!.counts.requested as number) >= 3);
});

Deno.test("slots are extended when the last hour of the 8 days is missing, and an edit meanwhile wins", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await ok(await put(engine, "s", { cron: "@hourly" }));
  const stored = async () => (await sql`select from etl.slots`).length;
  const before = await stored();
  await planSlots(sql, { now: new Date(Date.now() + 30 * 60_000) });
  assert.equal(await stored(), before);
  await planSlots(sql, { now: new Date(Date.now() + 3 * 3_600_000) });
  assert.equal(await stored(), before + 3);
  const [late] = await sql<{ stored: boolean }[]>`
    select etl.store_slots('s', 999, array[now() + interval '1 minute'], array[now()], now()) as stored`;
  assert.equal(late!.stored, false);
  assert.equal(await stored(), before + 3);
});

Deno.test("a schedule that SQL makes wakes the server, which stores its slots", async (t) => {
  await using db = await testDatabase(t);
  await setupDatabase(db.dsn);
  await using _server = await startServer({ dsn: db.dsn, env: { ETL_WORKERS: "1" } });
  await withClient(db.dsn, async (sql) => {
    await sql.query("insert into etl.schedules (name, cron) values ('s', '@hourly')");
    const stored = async (cron: string) => {
      const { rows } = await sql.query(
        `select count(*)::int as n from etl.slots join etl.schedules on name = schedule
        where cron = $1 and state = 'pending' and slot > now() and slots_until > now()`,
        [cron],
      );
      return rows[0].n;
    };
    // sooner than it would look by itself
    await waitFor(async () => await stored("@hourly") >= 191, { timeoutMs: 20_000 });
    await sql.query("update etl.schedules set cron = '*/30 * * * *'");
    await waitFor(async () => await stored("*/30 * * * *") >= 383, { timeoutMs: 20_000 });
  });
});
