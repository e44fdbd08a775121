import assert from "node:assert/strict";
import { planSlots, startSlotPlanner } from "../../timers/slot_planner.ts";
import { databaseHealth } from "../../store/health.ts";
import { nextSchedules, storePlanProblem } from "../../store/schedules.ts";
import { createLog } from "../../telemetry/log.ts";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { problemOf } from "../helpers/problems.ts";
import { withClient } from "../helpers/query.ts";
import { type Body, ok, put, slotsOf } from "../helpers/schedules.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

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
  // a local time is one of the zone; words are of the reader's language
  const spanish = await ok<{ cron_words: string; slots: Body[] }>(
    await engine.post("/api/schedules/preview", {
      ...{ cron: "30 2 * * *", time_zone: "Europe/Madrid", after: "2027-01-05T02:00:00" },
    }, { "accept-language": "es" }),
  );
  assert.equal(spanish.cron_words, "A las 02:30");
  assert.deepEqual(
    spanish.slots.map(({ local }) => local),
    [5, 6, 7, 8, 9].map((day) => `2027-01-0${day}T02:30:00+01:00`),
  );
  const bad = await engine.post("/api/schedules/preview", { cron: "x", time_zone: "y" });
  assert.deepEqual((await problemOf(bad)).errors!.map(({ field }) => field), ["cron", "time_zone"]);
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
  await storePlanProblem(sql, { name: "s", revision: "999" }, "of an expression before");
  assert.equal((await sql`select problem from etl.schedules`)[0]!.problem, null);
  // one that computed fewer takes nothing back
  const until = async () => (await sql`select slots_until from etl.schedules`)[0]!.slots_until;
  const far = await until();
  const [fewer] = await sql<{ stored: boolean }[]>`
    select etl.store_slots('s', revision, '{}', '{}', now()) as stored from etl.schedules`;
  assert.deepEqual([fewer!.stored, await until()], [true, far]);

  // also where the last stored one is the very end of the 8 days: runs have the time before their own
  const hour = 3_600_000;
  const onTheHour = Math.ceil(Date.now() / hour) * hour;
  for (const later of [6, 9]) {
    await planSlots(sql, { now: new Date(onTheHour + later * hour) });
  }
  assert.equal(await stored() >= before + 9, true);
  const distances = await sql<{ d: string }[]>`
    select distinct (slot - slot_previous)::text as d from etl.slots`;
  assert.deepEqual(distances.map(({ d }) => d), ["01:00:00"]);
});

Deno.test("a schedule whose slots cannot be stored holds up no other, and the server's log says so", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`insert into etl.schedules (name, cron) values ('a', '@daily'), ('full', '@daily'), ('z', '@daily')`;
  await sql`create function public.no_room() returns trigger language plpgsql as
    'begin raise exception ''no room for slots''; end'`;
  await sql`create trigger no_room before insert on etl.slots for each row
    when (new.schedule = 'full') execute function public.no_room()`;
  const lines: string[] = [];
  const log = createLog({ level: "warn", format: "text", write: (line) => lines.push(line) });
  const end = await startSlotPlanner({ sql, log });
  await waitFor(() => lines.length > 0);
  await end();
  assert.match(lines.join(""), /slots of schedules could not be stored.*no room for slots/s);
  const stored = await sql<{ name: string }[]>`
    select distinct schedule as name from etl.slots order by 1`;
  assert.deepEqual(stored.map(({ name }) => name), ["a", "z"]);
  await assert.rejects(planSlots(sql), /no room for slots/);
});

Deno.test("the overview lists first what is due next, none in a pause, and last what is off", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const day = (n: number) => new Date(Date.now() + n * 86_400_000).toISOString();
  for (const name of ["a_off", "b_paused", "c_later", "d_next"]) {
    await ok(await put(engine, name, { cron: "@daily" }));
  }
  await sql`delete from etl.slots`;
  await sql`insert into etl.slots (schedule, slot) select name, now() + days * interval '1 day'
    from (values ('a_off', 1), ('b_paused', 1), ('b_paused', 5), ('c_later', 3), ('d_next', 2)) as of (name, days)`;
  await sql`update etl.schedules set active = false where name = 'a_off'`;
  await sql`update etl.schedules set paused_until = ${day(4)} where name = 'b_paused'`;
  const listed = await nextSchedules(sql, 10);
  assert.deepEqual(
    listed.map(({ name, paused, next_slot }) => [name, paused, next_slot?.slice(0, 10)]),
    [
      ["d_next", false, day(2).slice(0, 10)],
      ["c_later", false, day(3).slice(0, 10)],
      ["b_paused", true, day(5).slice(0, 10)],
      ["a_off", true, undefined],
    ],
  );
});

Deno.test("a schedule that SQL makes wakes the server, which stores its slots", async (t) => {
  await using db = await testDatabase(t);
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
    await waitFor(async () => await stored("@hourly") >= 191);
    await sql.query("update etl.schedules set cron = '*/30 * * * *'");
    await waitFor(async () => await stored("*/30 * * * *") >= 383);
  });
});

Deno.test("a schedule that changes while its slots are stored has its new ones stored at once", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`insert into etl.schedules (name, cron) values ('s', '@hourly')`;
  let wake = () => {};
  const database = { listen: (_channel: string, told: () => void) => void (wake = told) };
  const stop = await withClient(engine.db.dsn, async (client) => {
    await client.query("begin; select from etl.schedules for update");
    const stop = await startSlotPlanner({
      sql: engine.deps.sql,
      log: engine.deps.log,
      database: database as never,
    });
    await waitFor(async () => (await sql`select from pg_locks where not granted`).length > 0);
    await client.query("update etl.schedules set cron = '*/30 * * * *'");
    wake();
    await client.query("commit");
    return stop;
  });
  try {
    await waitFor(async () => {
      const [row] = await sql`select count(*)::int as n from etl.slots where slot > now()`;
      return row!.n >= 383;
    }, { what: "the slots of the new expression", timeoutMs: 10_000 });
  } finally {
    await stop();
  }
});

Deno.test("the database's clock decides: a server 30 days ahead plans what is due now, and health tells of its clock", async (t) => {
  await using engine = await startEngine(t);
  await ok(await put(engine, "minutely", { cron: "* * * * *" }));
  await engine.sql`delete from etl.slots`;
  await engine.sql`update etl.schedules set slots_until = null`;
  const RealDate = Date;
  const ahead = 30 * 86_400_000;
  globalThis.Date = class extends RealDate {
    constructor(...given: [] | [string | number]) {
      super(...(given.length === 0 ? [RealDate.now() + ahead] : given) as [number]);
    }
    static override now = () => RealDate.now() + ahead;
  } as DateConstructor;
  try {
    await planSlots(engine.sql);
    const { warnings } = await databaseHealth(engine.sql, { dsn: engine.db.dsn });
    assert.match(warnings.join("; "), /this server's clock is 25\d{5} s ahead of the database's/);
  } finally {
    globalThis.Date = RealDate;
  }
  const [slot] = await engine.sql`
    select count(*)::int as n from etl.slots where slot between now() and now() + interval '2 minutes'`;
  assert.ok(slot!.n >= 1);
  const { warnings } = await databaseHealth(engine.sql, { dsn: engine.db.dsn });
  assert.doesNotMatch(warnings.join("; "), /clock/);
});
