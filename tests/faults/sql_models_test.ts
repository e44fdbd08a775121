import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { World } from "./world.ts";

const EVENTS = 100;
const KILLS = [20, 50, 75];

/** None of them can be repeated without being wrong after it. */
const MODELS = {
  daily: `-- listens: public.orders
-- writes: public.daily
insert into public.daily select day, count(*), sum(amount) from public.orders where event_no = :event_id group by day
on conflict (day) do update set orders = daily.orders + excluded.orders, amount = daily.amount + excluded.amount;`,
  totals: `-- listens: public.daily
-- writes: public.totals
insert into public.totals (event_no, n) values (:event_id, (select count(*) + 1 from public.totals));
-- where the test stops it
select pg_advisory_xact_lock_shared(42);`,
  report: `-- listens: public.totals
-- writes: public.report
insert into public.report (event_no) values (:event_id);`,
};

Deno.test("a chain of three SQL models is right after 100 events under kills of the server, each event once and in order", async (t) => {
  await using db = await testDatabase(t);
  const dir = await Deno.makeTempDir({ prefix: "etl_models_" });
  for (const [name, text] of Object.entries(MODELS)) {
    await Deno.writeTextFile(`${dir}/${name}.sql`, text);
  }
  await using world = await World.create({ dsn: db.dsn, env: { ETL_CONSUMERS_DIR: dir } });
  await world.query(`create table orders (event_no bigint, day date, amount numeric);
    create table daily (day date primary key, orders bigint, amount numeric);
    create table totals (event_no bigint, n bigint);
    create table report (place bigint generated always as identity, event_no bigint);
    grant all on orders, daily, totals, report to public;
    grant usage on sequence report_place_seq to public`);
  const emit = (count: number) =>
    world.query(
      `do $do$ begin for i in 1..${count} loop
        with event as (insert into etl.dataset_events (dataset, emitted_by, counts)
          values ('public.orders', 'test', '{"inserted": 1}') returning event_no)
        insert into orders select event_no, date '2026-01-01' + (event_no % 7)::int, event_no from event;
      end loop; end $do$`,
    );
  const done = async (consumer: string) =>
    (await world.query<{ n: number }>(
      "select count(*)::int as n from etl.deliveries where consumer = $1 and state = 'done'",
      [consumer],
    ))[0]!.n;
  const start = async (name: string) => {
    // the 20 s after which a dead server's work is another's are over
    await world.query("update etl.leases set held_until = clock_timestamp()");
    return await world.start({ name });
  };
  const gate = await world.connect();
  try {
    let server = await start("first");
    await gate.query("select pg_advisory_lock(42)");
    await emit(EVENTS / 2);
    await waitFor(async () =>
      (await world.query(
        "select from pg_stat_activity where query like '%pg_advisory_xact_lock_shared%' and wait_event = 'advisory' and datname = current_database()",
      )).length > 0, { timeoutMs: 30_000, what: "a model in the middle of its transaction" });
    server.kill("SIGKILL");
    await server.ended;
    await gate.query("select pg_advisory_unlock(42)");
    for (const [i, count] of KILLS.entries()) {
      server = await start(`kill ${i}`);
      if (i === 1) await emit(EVENTS / 2);
      await waitFor(async () => await done("totals") >= count, { timeoutMs: 30_000 });
      server.kill("SIGKILL");
      await server.ended;
    }
    await start("last");
    await waitFor(async () => await done("report") === EVENTS, {
      timeoutMs: 60_000,
      what: "the end of the chain",
    });
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${world.logs()}`, { cause: error });
  } finally {
    await gate.end();
    await Deno.remove(dir, { recursive: true });
  }
  const different = await world.query(
    `(select day, count(*), sum(amount) from orders group by day except all select * from daily)
    union all (select * from daily except all select day, count(*), sum(amount) from orders group by day)`,
  );
  assert.deepEqual(different, []);
  const [sums] = await world.query(
    `select (select sum(orders)::int from daily) as orders,
      (select array[count(distinct n), max(n)]::int[] from totals) as counted_once,
      (select count(distinct event_no)::int from totals) as totals,
      (select array_agg(event_no order by place) = array_agg(event_no order by event_no) from report) as in_order,
      (select count(distinct event_no)::int from report) as report,
      (select jsonb_object_agg(dataset, n) from (select dataset, count(*) as n from etl.dataset_events group by dataset) as e) as events,
      (select count(*)::int from etl.deliveries where state <> 'done') as undone`,
  );
  assert.deepEqual(sums, {
    orders: EVENTS,
    counted_once: [EVENTS, EVENTS],
    totals: EVENTS,
    in_order: true,
    report: EVENTS,
    events: {
      "public.orders": EVENTS,
      "public.daily": EVENTS,
      "public.totals": EVENTS,
      "public.report": EVENTS,
    },
    undone: 0,
  });
});
