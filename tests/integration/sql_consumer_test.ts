import assert from "node:assert/strict";
import { checkConsumers, type Consumer } from "../../pipeline/consumers/consumer.ts";
import { trySqlConsumer } from "../../pipeline/consumers/sql_consumer.ts";
import { consumersIn } from "../../pipeline/user_code/consumer_client.ts";
import { listConsumers } from "../../store/datasets.ts";
import { redeliver, requestDelivery } from "../../store/deliveries.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { withClient } from "../helpers/query.ts";
import { startPeer } from "../helpers/peer.ts";
import { startReacting } from "../helpers/reacting.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** Consumers in .sql files; the header is `-- listens: public.orders` and `-- writes: public.NAME`, unless the text begins with one. */
async function models(files: Record<string, string>): Promise<Consumer[]> {
  const dir = await Deno.makeTempDir({ prefix: "etl_models_" });
  try {
    for (const [name, text] of Object.entries(files)) {
      const header = `-- listens: public.orders\n-- writes: public.${name}\n`;
      await Deno.writeTextFile(
        `${dir}/${name}.sql`,
        text.startsWith("--") ? text : `${header}${text}`,
      );
    }
    return await consumersIn(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function emit(engine: Engine, dataset = "public.orders"): Promise<number> {
  const [row] = await engine.sql<{ no: number }[]>`
    insert into etl.dataset_events (dataset, emitted_by, counts) values (${dataset}, 'test', '{"inserted": 1}')
    returning event_no::int as no`;
  return row!.no;
}

interface Delivery {
  state: string;
  attempts: number;
  error: string | null;
  result: Record<string, unknown> | null;
}

/** Waits until each delivery of a consumer is done or has failed; answers them in their order. */
async function ended(engine: Engine, consumer: string, count = 1): Promise<Delivery[]> {
  return await waitFor(async () => {
    const rows = await engine.sql<Delivery[]>`
      select state, attempts, error, result from etl.deliveries where consumer = ${consumer} order by delivery_id`;
    const over = rows.filter(({ state, error }) => state !== "pending" || error !== null);
    return over.length >= count && over.length === rows.length ? rows : null;
  }, { timeoutMs: 30_000, what: `the deliveries of ${consumer}` });
}

/** Waits until a statement with a text is being executed, or, with `gone`, none is any more. */
const statementOf = (engine: Engine, text: string, gone = false) =>
  waitFor(async () => {
    const running = await engine.sql`select from pg_stat_activity
      where datname = current_database() and state = 'active' and query like ${`%${text}%`} and pid <> pg_backend_pid()`;
    return (running.length === 0) === gone;
  }, { timeoutMs: 10_000, what: gone ? `the end of ${text}` : text });

const table = (engine: Engine, text: string) =>
  engine.sql.unsafe(text.replace(/create table (\S+)([^;]*)/g, "$&; grant all on $1 to public"));

Deno.test("a SQL consumer gets run, time, dataset and event as parameters, and what it changed is the event of its own", async (t) => {
  await using engine = await startEngine(t);
  await table(
    engine,
    `create table public.daily (event_id bigint primary key, run_id uuid, since timestamptz, dataset text, quoted text);
    create table public.follower (n int)`,
  );
  const consumers = await models({
    daily: `-- listens: public.etl_improved_events
-- writes: public.daily
insert into public.daily values (-1), (-2), (-3);
with gone as (delete from public.daily where event_id < -1 returning 1)
insert into public.daily values (:event_id, :run_id, :since, :dataset, ':run_id') on conflict do nothing;
update public.daily set quoted = quoted where event_id = :event_id;
delete from public.daily where event_id = -1;
select * from generate_series(1, 100000)`,
    follower: `-- listens: public.daily
-- writes: public.follower
-- skip_unchanged: true
insert into public.follower select 1 where false`,
    last: `-- listens: public.follower
-- writes: public.last
-- skip_unchanged: true
select 1`,
  });
  await using _reacting = await startReacting(engine, { consumers });
  const run = await engine.succeed({ batch_size: 3 });
  const [daily] = await ended(engine, "daily");
  const { sha256 } = consumers.find(({ name }) => name === "daily")!;
  assert.deepEqual([daily!.state, daily!.error], ["done", null]);
  assert.deepEqual(daily!.result, { sha256, inserted: 4, updated: 1, deleted: 3 });
  const [row] = await engine
    .sql`select event_id::int, run_id, since::text, dataset, quoted from public.daily`;
  const [event] = await engine.sql`
    select event_no::int as no from etl.dataset_events where dataset = 'public.etl_improved_events'`;
  assert.deepEqual({ ...row }, {
    event_id: event!.no,
    run_id: run.run_id,
    since: "-infinity",
    dataset: "public.etl_improved_events",
    quoted: ":run_id",
  });
  await ended(engine, "last");
  const events = await engine.sql`
    select emitted_by, run_id, counts from etl.dataset_events where dataset <> 'public.etl_improved_events' order by event_no`;
  assert.deepEqual(events.map((each) => ({ ...each })), [
    { emitted_by: "daily", run_id: null, counts: { inserted: 4, updated: 1, deleted: 3 } },
    { emitted_by: "follower", run_id: null, counts: { inserted: 0, updated: 0, deleted: 0 } },
  ]);
  const [unchanged] = await ended(engine, "last");
  assert.equal(unchanged!.state, "skipped");
  const listed = (await listConsumers(engine.sql)).find(({ consumer }) => consumer === "daily");
  assert.deepEqual([listed!.sha256, listed!.emits], [sha256, ["public.daily"]]);
});

Deno.test(":since leaves out nothing that the model has not seen, and is -infinity by hand", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await table(
    engine,
    "create table public.seen (since timestamptz, event_id bigint, at timestamptz default clock_timestamp())",
  );
  const consumers = await models({
    seen: `-- listens: public.etl_improved_events
-- writes: public.seen
insert into public.seen values (:since, :event_id)`,
    latest: `-- listens: public.etl_improved_events
-- writes: public.seen
-- mode: latest
insert into public.seen values (:since, -:event_id)`,
  });
  {
    await using _registering = await startReacting(engine, { consumers });
  }
  await engine.succeed({ batch_size: 3 });
  const second = await engine.succeed({ batch_size: 5 });
  const third = await engine.succeed({ batch_size: 7 });
  // a run that began before the second ended, and ended after it
  await sql`update etl.runs set started_at = started_at - interval '1 hour' where run_id = ${third.run_id}`;
  await using _reacting = await startReacting(engine, { consumers });
  const seen = await ended(engine, "seen", 3);
  // figures of a session reach back before the transaction
  assert.deepEqual(seen.map(({ result }) => result!.inserted), [1, 1, 1]);
  await ended(engine, "latest", 3);
  await requestDelivery(sql, "seen", { params: {}, actor: "ann" });
  await ended(engine, "seen", 4);
  const of = async (text: string) =>
    (await sql.unsafe(
      `select ${text} as at from etl.runs as r join etl.dataset_events as e using (run_id)
      where run_id in ('${second.run_id}', '${third.run_id}') order by event_no`,
    )).map(({ at }) => at);
  const started = await of("r.started_at::text");
  const numbers = await of("e.event_no::int");
  const rows = await sql<{ since: string; event_id: number }[]>`
    select since::text, event_id::int from public.seen order by at`;
  const each = rows.filter(({ event_id }) => event_id > 0);
  assert.equal(each[0]!.since, "-infinity");
  // the first event came when the second run had not begun, or after
  const [bound] = await sql`select least(${
    started[0]
  }::text::timestamptz, created_at)::text as at from etl.dataset_events
    order by event_no limit 1`;
  assert.equal(each[1]!.since, bound!.at);
  assert.equal(each[2]!.since, started[1]);
  const latest = rows.filter(({ event_id }) => event_id < 0);
  assert.deepEqual(latest, [{ since: "-infinity", event_id: -numbers[1]! }], "once for all three");
  assert.deepEqual(rows.filter(({ event_id }) => event_id === null), [
    { since: "-infinity", event_id: null },
  ]);
});

Deno.test("a statement that fails is told with its place in the file, undone with all before it, and delivered again on request", async (t) => {
  await using engine = await startEngine(t);
  await table(engine, "create table public.broken (n int, why text)");
  await engine.sql.unsafe(`create sequence public.tries;
    grant usage on sequence public.tries to public;
    create function public.no_memory_once() returns bigint language plpgsql as $$ begin
      if nextval('public.tries') = 1 then raise 'out of memory' using errcode = '53200'; end if;
      return currval('public.tries');
    end $$`);
  const consumers = await models({
    broken: `insert into public.broken values (1);
insert into public.broken (n, why)
  values (:event_id, 'é😀'), (2, (select nothing from public.there));`,
    wrong_type: `-- listens: public.orders
-- writes: public.broken
insert into public.broken values (3);

insert into public.broken values (:since)`,
    steady: "select 1",
    unlucky: "select public.no_memory_once()",
  });
  await using _reacting = await startReacting(engine, { consumers });
  await emit(engine);
  assert.equal((await ended(engine, "steady"))[0]!.state, "done");
  const hurry = () =>
    engine.sql`update etl.deliveries set next_attempt_at = '-infinity' where state = 'pending'`;
  const given = async (name: string) => {
    await waitFor(async () => {
      await hurry();
      return (await ended(engine, name))[0]!.state === "failed";
    }, { timeoutMs: 30_000, intervalMs: 100 });
    return (await ended(engine, name))[0]!.error!;
  };
  // what passes by itself is no failure of the model
  const { state, attempts, error } = (await ended(engine, "unlucky"))[0]!;
  assert.deepEqual({ state, attempts, error }, { state: "done", attempts: 1, error: null });
  assert.match(await given("broken"), /^broken\.sql:5:55: relation "public\.there" does not exist/);
  assert.match(
    await given("wrong_type"),
    /^wrong_type\.sql:5:35: column "n" is of type integer.*\. You will need to/,
  );
  assert.deepEqual([...await engine.sql`select n from public.broken`], []);
  assert.deepEqual([
    ...await engine.sql`select from etl.dataset_events where emitted_by = 'broken'`,
  ], []);

  await table(engine, "create table public.there (nothing text)");
  assert.equal(await redeliver(engine.sql, "broken", { deliveryId: null, actor: "ann" }), 1);
  await waitFor(async () => (await ended(engine, "broken"))[0]!.state === "done");
  assert.deepEqual((await engine.sql`select n from public.broken`).map(({ n }) => n).length, 3);
});

Deno.test("a model that takes longer than timeout_ms, waits for a lock included, is stopped and undone", async (t) => {
  await using engine = await startEngine(t);
  await table(engine, "create table public.slow (n int)");
  const head = (name: string) =>
    `-- listens: public.orders
-- writes: public.${name}
-- timeout_ms: 1000
`;
  const consumers = await models({
    slow: `${head("slow")}insert into public.slow values (1);\nselect pg_sleep(60)`,
    many: `${head("many")}${"select pg_sleep(0.1);\n".repeat(20)}`,
    locked: `${head("slow")}update public.slow set n = 2`,
  });
  await engine.sql`insert into public.slow values (0)`;
  await withClient(engine.db.dsn, async (client) => {
    await client.query("begin; update public.slow set n = 0");
    await using _reacting = await startReacting(engine, { consumers });
    await emit(engine);
    for (const [name, line] of [["slow", 5], ["locked", 4]] as const) {
      const [delivery] = await ended(engine, name);
      assert.match(
        delivery!.error!,
        new RegExp(`^${name}\\.sql:${line}:1: it did not end within 1000 ms \\(timeout_ms\\)`),
      );
    }
    assert.match((await ended(engine, "many"))[0]!.error!, /it did not end within 1000 ms/);
    await client.query("rollback");
  });
  assert.deepEqual((await engine.sql`select n from public.slow`).map(({ n }) => n), [0]);

  // a server that stops does not wait for a model, and that is no failure of it
  const stopped = await models({ stopped: "select pg_sleep(3600)" });
  {
    await using _stopping = await startReacting(engine, { consumers: stopped });
    await emit(engine);
    await statementOf(engine, "pg_sleep(3600)");
  }
  const [left] = await engine.sql`
    select state, attempts, error, next_attempt_at <= now() as due from etl.deliveries where consumer = 'stopped'`;
  assert.deepEqual({ ...left }, { state: "pending", attempts: 0, error: null, due: true });
});

Deno.test("a model may lower its rights and change the search path; rows of partitions and of replaced tables are counted", async (t) => {
  await using engine = await startEngine(t);
  await table(
    engine,
    `create table public.parts (day date, n int) partition by range (day);
    create table public.parts_1 (day date, n int);
    alter table public.parts attach partition public.parts_1 for values from ('2026-01-01') to ('2026-02-01')`,
  );
  const consumers = await models({
    parts: `set local search_path = pg_catalog;
insert into public.parts values ('2026-01-02', 1), ('2026-01-03', 2);
select set_config('role', 'pg_read_all_data', true) where pg_has_role(session_user, 'pg_read_all_data', 'member');
select * from public.parts`,
    again: `-- listens: public.parts
-- writes: pg_temp.again
create temporary table again on commit drop as select 1`,
  });
  await using _reacting = await startReacting(engine, { consumers });
  await emit(engine);
  const [parts] = await ended(engine, "parts");
  assert.equal(parts!.error, null);
  assert.deepEqual([parts!.result!.inserted, parts!.result!.deleted], [2, 0]);
  // what PostgreSQL does not count is told as not counted, and never as unchanged
  const [again] = await ended(engine, "again");
  assert.deepEqual(Object.keys(again!.result!), ["sha256"]);
});

Deno.test("models that would start each other are refused, naming the cycle", async () => {
  const link = (listens: string, writes: string) =>
    `-- listens: ${listens}\n-- writes: ${writes}\nselect 1`;
  checkConsumers(await models({ a: link("s.x", "s.y"), b: link("s.x, s.y", "s.z") }));
  const circle = await models({
    a: link("s.x", "s.y"),
    b: link("s.y", "s.z"),
    c: link("s.z", "s.x"),
  });
  assert.throws(
    () => checkConsumers(circle),
    (error) =>
      error instanceof Problem && error.message.includes("s.x → a → s.y → b → s.z → c → s.x"),
  );
  const own = await models({ a: link("s.x", "s.x") });
  assert.throws(() => checkConsumers(own), /s\.x → a → s\.x/);
});

Deno.test("a model is tried as its file is now: it is said what it would do or what is wrong, and nothing stays", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "etl_models_" });
  const write = (text: string) =>
    Deno.writeTextFile(
      `${dir}/tried.sql`,
      `-- listens: public.orders\n-- writes: public.tried\n${text}`,
    );
  try {
    await using engine = await startEngine(t, { env: { ETL_CONSUMERS_DIR: dir } });
    await table(engine, "create table public.tried (event_id bigint)");
    const tried = async (name = "tried") => {
      const response = await engine.post(`/api/consumers/${name}/try`, {});
      return { status: response.status, ...await response.json() };
    };
    await write("insert into public.tried select 1;");
    const { elapsed_ms: _, sha256, ...first } = await tried();
    assert.deepEqual(first, { status: 200, event_no: null, inserted: 1, updated: 0, deleted: 0 });
    assert.match(sha256, /^[0-9a-f]{64}$/);
    const eventNo = await emit(engine);
    await write("insert into public.tried select :event_id from generate_series(1, 3);\nselect 1");
    const second = await tried();
    assert.deepEqual([second.event_no, second.inserted], [eventNo, 3]);
    assert.notEqual(second.sha256, sha256);
    await write("insert into public.tried select 1;\n\nselect * from nowhere");
    assert.match((await tried()).detail, /^tried\.sql:5:15: relation "nowhere" does not exist/);
    await write("insert into public.tried select 1;\ncommit");
    assert.match((await tried()).detail, /^tried\.sql:4:1: .*one transaction/);
    // who no longer waits, or waits for too long, leaves nothing running
    await write("select pg_sleep(5)");
    const leaving = new AbortController();
    const asked = { dsn: engine.db.dsn, signal: leaving.signal };
    const late = trySqlConsumer(`${dir}/tried.sql`, { ...asked, limitMs: 300 });
    await assert.rejects(late, /a try has 0\.3 s, and it was not done/);
    await write("select pg_sleep(20)");
    const left = trySqlConsumer(`${dir}/tried.sql`, asked).catch((error) => error);
    await statementOf(engine, "pg_sleep(20)");
    leaving.abort();
    await statementOf(engine, "pg_sleep(20)", true);
    assert.ok(await left instanceof Problem);
    const outside = `${dir}_outside.sql`;
    await Deno.writeTextFile(
      outside,
      "-- listens: public.orders\n-- writes: public.tried\nselect 1",
    );
    const up = `..%2f${outside.slice(outside.lastIndexOf("/") + 1, -".sql".length)}`;
    for (const name of ["other", up]) assert.equal((await tried(name)).status, 404);
    assert.equal((await engine.sql`select from public.tried`).length, 0);
    assert.equal(
      (await engine.sql`select from etl.dataset_events where emitted_by = 'tried'`).length,
      0,
    );
    await Deno.remove(outside);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

/** The first block of a language below a heading of docs/consumers.md. */
async function example(heading: string, language: string): Promise<string> {
  const page = await Deno.readTextFile(new URL("../../docs/consumers.md", import.meta.url));
  const section = page.split(`\n## ${heading}\n`)[1]!.split("\n## ")[0]!;
  return section.split(`\`\`\`${language}\n`)[1]!.split("\n```")[0]!;
}

Deno.test("docs/consumers.md: the SQL example makes a daily table and keeps it right", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql.unsafe("create schema mart; grant usage, create on schema mart to public");
  const consumers = await models({ orders_daily: await example("In SQL", "sql") });
  await using _reacting = await startReacting(engine, { consumers });
  const load = (records: object[]) =>
    engine.succeed({
      table_name: "orders",
      source: { type: "inline", name: "shop", key: "id", occurred_at: "at", records },
    });
  await load([
    { id: 1, at: "2026-01-01T10:00:00Z", amount: 10.5 },
    { id: 2, at: "2026-01-01T11:00:00Z", amount: 4 },
    { id: 3, at: "2026-01-02T10:00:00Z", amount: 1 },
  ]);
  await ended(engine, "orders_daily");
  await load([
    { id: 2, at: "2026-01-01T11:00:00Z", amount: 5 },
    { id: 4, at: "2026-01-03T11:00:00Z", amount: 7 },
  ]);
  const deliveries = await ended(engine, "orders_daily", 2);
  assert.deepEqual(deliveries.map(({ error }) => error), [null, null]);
  const rows = await engine
    .sql`select day::text, orders::int, revenue::float8 from mart.orders_daily order by day`;
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    ["2026-01-01", 2, 15.5],
    ["2026-01-02", 1, 1],
    ["2026-01-03", 1, 7],
  ]);
  const counts = await engine
    .sql`select counts from etl.dataset_events where dataset = 'mart.orders_daily' order by event_no`;
  // of the first day, which was made anew, and the third
  assert.deepEqual(counts[1]!.counts, { inserted: 1, updated: 1, deleted: 0 });
});

Deno.test("docs/consumers.md: a dataset event starts dbt by a request, again where that fails, and not for what changed nothing", async (t) => {
  await using engine = await startEngine(t);
  let failures = 1;
  await using dbt = startPeer(() =>
    failures-- > 0 ? new Response("2 models failed", { status: 500 }) : new Response("ok")
  );
  const text = (await example("Start dbt", "ts")).replaceAll(
    "127.0.0.1:8765",
    new URL(dbt.address).host,
  );
  const dir = await Deno.makeTempDir({ prefix: "etl_consumers_" });
  await Deno.writeTextFile(`${dir}/start_dbt.ts`, text);
  await using reacting = await startReacting(engine, { consumers: await consumersIn(dir) });
  const eventNo = await emit(engine);
  await waitFor(() => dbt.requests.length === 2, { timeoutMs: 30_000 });
  assert.ok(reacting.log.some((line) => line.includes("dbt: 500 2 models failed")));
  const [first, again] = dbt.requests.map(({ path, body }) => [path, JSON.parse(body)]);
  assert.deepEqual(first, ["/hooks/dbt", { id: eventNo, dataset: "public.orders", run_id: null }]);
  assert.deepEqual(again, first);
  await engine.sql`insert into etl.dataset_events (dataset, emitted_by, counts)
    values ('public.orders', 'test', '{"inserted": 0, "updated": 0}')`;
  await waitFor(async () => {
    const deliveries = await ended(engine, "start_dbt", 2);
    return deliveries.map(({ state }) => state).join() === "done,skipped";
  });
  assert.equal(dbt.requests.length, 2);
});
