import assert from "node:assert/strict";
import { z } from "zod";
import { defineConsumer } from "../../pipeline/consumers/consumer.ts";
import { workOnRequests, workOnRuns } from "../../queue/kinds_of_work.ts";
import { WorkLoop } from "../../queue/work_loop.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { connect, type Queryable } from "../../store/pg.ts";
import { claimOwnRun, claimRun } from "../../store/runs.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { startPeer } from "../helpers/peer.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startReacting } from "../helpers/reacting.ts";
import { startServer } from "../helpers/server.ts";
import { client } from "../helpers/sql_problems.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** Asks for a run by SQL; answers its id. */
async function ask(sql: Queryable, conf: unknown): Promise<string> {
  const { rows } = await sql.query("select etl.request_run($1) as id", [conf]);
  return rows[0].id;
}

/** Does what requests leave to servers, until nothing is left of it. */
async function settle(sql: Queryable): Promise<void> {
  for (let accepted = true; accepted;) {
    accepted = (await sql.query("select etl.accept_run() as yes")).rows[0].yes;
  }
  await sql.query("select etl.apply_cancels()");
  await sql.query("select etl.admit_runs()");
}

const admitted = async (sql: Queryable): Promise<string[]> =>
  (await sql.query(
    "select run_id from etl.runs where admitted_at is not null order by admitted_at",
  )).rows.map(({ run_id }) => run_id);

const finish = (sql: Queryable, runId: string) =>
  sql.query(
    `select etl.finish_run(run_id, attempt, '{"state": "failed", "error": {"detail": "x"}}') from etl.runs where run_id = $1`,
    [runId],
  );

const state = async (engine: Engine, runId: string) => (await engine.run(runId)).state;

Deno.test("an open transaction after etl.request_run() and etl.cancel_run() holds nobody up", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const clientOf = await connect(engine.db.dsn);
  try {
    const going = await engine.submit({ batch_size: 5, run_label: "going" });
    await waitFor(async () => await state(engine, going.run_id) === "succeeded");
    await clientOf.query("begin");
    const open = await ask(clientOf, { batch_size: 5, run_label: "open", table_name: "open_t" });
    const busy = await engine.submit({
      run_label: "busy",
      batch_size: 200_000,
      chunk_size: 1_000,
    });
    await waitFor(async () => await state(engine, busy.run_id) === "running");
    await clientOf.query("select etl.cancel_run($1)", [busy.run_id]);

    // one that waited for the client would be answered with 503
    const asked = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const answer = await engine.post("/api/etl/run", { batch_size: 5, run_label: `l${i}` });
        assert.equal(answer.status, 202);
        return (await answer.json()).run_id as string;
      }),
    );
    await waitFor(
      async () =>
        (await Promise.all(asked.map((id) => state(engine, id)))).every((s) => s === "succeeded"),
      { timeoutMs: 60_000, what: "the other runs to end" },
    );
    assert.equal((await engine.post(`/api/etl/runs/${busy.run_id}/cancel`)).status, 202);
    await waitFor(async () => await state(engine, busy.run_id) === "cancelled");
    assert.equal((await engine.request("/readyz")).status, 200);
    assert.equal(await engine.request(`/api/etl/runs/${open}`).then((r) => r.status), 404);

    await clientOf.query("commit");
    await waitFor(async () => await state(engine, open) === "succeeded");
    assert.equal((await engine.rows("public.open_t")).length, 5, "a server made the destination");
  } finally {
    await clientOf.end();
  }
});

Deno.test("what waits for a client's lock is answered with 503, who holds it, and when to come back", async (t) => {
  await using engine = await startEngine(t);
  const holder = await connect(engine.db.dsn, { applicationName: "a client" });
  try {
    await holder.query("begin");
    await holder.query(`select etl.request_run('{"batch_size": 5}', 'mine')`);
    const { rows: [{ pid }] } = await holder.query("select pg_backend_pid() as pid");
    const answer = await engine.post("/api/etl/run", { batch_size: 5 }, {
      "idempotency-key": "mine",
    });
    assert.equal(answer.status, 503);
    assert.ok(Number(answer.headers.get("retry-after")) > 0);
    const problem = await answer.json();
    assert.match(problem.detail, new RegExp(`locked by pid ${pid} \\(a client, .*idle in tran`));
    assert.equal(problem.blocked_by, pid);

    // a whole table that is locked is no reason to leave a load balancer
    await holder.query("lock table etl.runs in access exclusive mode");
    const ready = await engine.request("/readyz");
    assert.deepEqual([ready.status, (await ready.json()).problems], [200, []]);
    const health = await (await engine.request("/api/etl/health")).json();
    assert.doesNotMatch(health.problems.join(), /cannot be reached/);
    assert.match(health.problems.join(), /holds a lock/);
  } finally {
    await holder.end();
  }
});

Deno.test("a client that has locked a table, and is busy, is named, too", async (t) => {
  await using engine = await startEngine(t);
  const holder = await connect(engine.db.dsn, { applicationName: "a script" });
  try {
    const { rows: [{ pid }] } = await holder.query("select pg_backend_pid() as pid");
    await holder.query("begin");
    await holder.query("lock table etl.runs in share row exclusive mode");
    const busy = holder.query("select pg_sleep(30)").catch(() => {});
    const answer = await engine.post("/api/etl/run", { batch_size: 5 });
    const problem = await answer.json();
    assert.deepEqual([answer.status, problem.blocked_by], [503, pid]);
    assert.match(problem.detail, new RegExp(`locked by pid ${pid} \\(a script, .*active`));
    await engine.sql`select pg_cancel_backend(${pid})`;
    await busy;
  } finally {
    await holder.end();
  }
});

Deno.test("a cancellation waits for a run that somebody has locked, and is forgotten for one that is gone", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await using other = await client(db.dsn);
  const cancel = async () => (await sql.query("select etl.apply_cancels() as n")).rows[0].n;
  const requests = async () => (await query(db.dsn, "select from etl.cancel_requests")).length;
  const run = await ask(sql, { batch_size: 5 });
  await sql.query("select etl.cancel_run($1)", [run]);
  await other.query("begin");
  await other.query("select from etl.runs for update");
  assert.deepEqual([await cancel(), await requests()], [0, 1]);
  await other.query("commit");
  assert.deepEqual([await cancel(), await requests()], [1, 0]);
  const ended = async () =>
    await query(
      db.dsn,
      "select run_id, status, low_ratio from public.etl_improved_metrics order by created_at",
    );
  assert.deepEqual(await ended(), [{ run_id: run, status: "cancelled", low_ratio: false }]);
  // who asks about one sees to that one alone
  const [one, two] = [await ask(sql, { batch_size: 6 }), await ask(sql, { batch_size: 7 })];
  for (const id of [one, two]) await sql.query("select etl.cancel_run($1)", [id]);
  await sql.query("select etl.apply_cancels($1)", [two]);
  assert.deepEqual((await ended()).map(({ run_id }) => run_id), [run, two]);
  await cancel();
  await sql.query(
    "insert into etl.cancel_requests (run_id, requested_by) values (gen_random_uuid(), 'x')",
  );
  assert.deepEqual([await cancel(), await requests()], [0, 0]);
});

Deno.test("a request in SQL is skipped, cancels the older or fails after its commit, and says why", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const older = await ask(sql, { run_label: "one" });
  await settle(sql);
  const skipped = await ask(sql, { run_label: "one", overlap: "skip" });
  const newest = await ask(sql, { run_label: "one", overlap: "cancel" });
  await sql.query("create table public.other (x int)");
  const refused = await ask(sql, { table_name: "later", run_label: "two" });
  await sql.query("create table public.later (x int)");
  await settle(sql);
  await settle(sql);
  const { rows } = await sql.query("select run_id, state, error from etl.runs");
  const of = (id: string) => rows.find(({ run_id }) => run_id === id)!;
  assert.equal(of(skipped).state, "cancelled");
  assert.match(of(skipped).error.detail, new RegExp(`run ${older} of the same label`));
  assert.deepEqual([of(older).state, of(newest).state], ["cancelled", "queued"]);
  assert.equal(of(refused).state, "failed");
  assert.match(of(refused).error.type, /destination-mismatch$/);
  assert.ok((await admitted(sql)).includes(newest));

  // a retry is accepted as the request was not: what stood in the place of its table is gone
  await sql.query("drop table public.later");
  // another that is accepted waits for its label
  await ask(sql, { run_label: "one" });
  await settle(sql);
  await sql.query("select etl.retry_run($1)", [refused]);
  const early = await ask(sql, { table_name: "early", run_label: "three" });
  await sql.query("select etl.admit_runs()");
  const before = await admitted(sql);
  assert.ok(![refused, early].some((id) => before.includes(id)), "not before their tables exist");
  await settle(sql);
  const after = await admitted(sql);
  assert.ok([refused, early].every((id) => after.includes(id)));
  await sql.query("select from public.later, public.early");
});

Deno.test("runs without a version on one source and dataset go one at a time in the order of their requests, whatever their pools", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query("insert into etl.pools (pool, slots) values ('other', 5), ('closed', 0)");
  const file = (name: string, more: object = {}, source: object = {}) =>
    ask(sql, {
      run_label: name,
      source: { type: "file", path: "x.csv", name: "s", ...source },
      ...more,
    });
  const first = await file("a", { pool: "closed" });
  const second = await file("b", { pool: "other" });
  const third = await file("c");
  const free = [
    await file("versioned", {}, { version: "v" }),
    await file("dry", { dry_run: true }),
    await file("other source", {}, { name: "t" }),
    await file("other table", { table_name: "elsewhere", pool: "other" }),
  ];
  await settle(sql);
  assert.deepEqual(new Set(await admitted(sql)), new Set(free), "an earlier request waits");
  await sql.query("update etl.pools set slots = 1 where pool = 'closed'");
  const order: string[] = [];
  for (const expected of [first, second, third]) {
    await settle(sql);
    const [now] = (await admitted(sql)).filter((id) => ![...free, ...order].includes(id));
    assert.equal(now, expected);
    assert.equal((await admitted(sql)).length, free.length + order.length + 1, "one at a time");
    order.push(now!);
    await finish(sql, now!);
  }
});

Deno.test("the first of many requests of one transaction is admitted before the last is accepted", async (t) => {
  await using engine = await startEngine(t, { queue: true });
  const { dsn } = engine.db;
  await query(
    dsn,
    `select etl.request_run(jsonb_build_object('run_label', 'many ' || i, 'batch_size', 1))
    from generate_series(1, 200) as i`,
  );
  const accepted = "select bool_and(accepted_at is not null) as all from etl.runs";
  await waitFor(async () => (await query<{ all: boolean }>(dsn, accepted))[0]!.all, {
    timeoutMs: 60_000,
    what: "all requests to be accepted",
  });
  const [times] = await query(
    dsn,
    "select min(admitted_at) < max(accepted_at) as early from etl.runs",
  );
  assert.equal(times!.early, true);
  await query(
    dsn,
    "select etl.cancel_run(run_id) from etl.runs where state in ('queued', 'running')",
  );
});

Deno.test("an older request waits for no more turns than were asked for before it, though new labels keep coming", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query("update etl.pools set slots = 1");
  await ask(sql, { run_label: "nightly" });
  await settle(sql);
  let [going] = await admitted(sql);
  const before = [await ask(sql, { run_label: "u1" }), await ask(sql, { run_label: "u2" })];
  const nightly = await ask(sql, { run_label: "nightly" });
  const turns: string[] = [];
  for (let turn = 0; turn < before.length + 1; turn++) {
    // two new ones come for each that ends
    for (const n of [1, 2]) await ask(sql, { run_label: `new ${turn} ${n}` });
    await finish(sql, going!);
    await settle(sql);
    going = (await admitted(sql)).at(-1);
    turns.push(going!);
  }
  assert.deepEqual(turns, [...before, nightly]);
});

Deno.test("a pool's slots are each server's where it says so: more servers, more runs at once", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const runnable = async () =>
    (await sql.query("select etl.runnable_runs() as n")).rows[0].n as number;
  const serve = (id: string) => sql.query("select etl.prolong_server($1, 'v', 4)", [id]);
  await sql.query("insert into etl.pools (pool, slots) values ('shared', 1)");
  await sql.query("update etl.pools set slots = 1 where pool = 'default_pool'");
  for (const run_label of ["a", "b", "c", "d"]) await ask(sql, { run_label });
  for (const run_label of ["a", "b"]) await ask(sql, { run_label });
  for (const run_label of ["e", "f"]) await ask(sql, { run_label, pool: "shared" });
  await settle(sql);
  // no server yet: a command that executes its own run is none
  assert.equal((await admitted(sql)).length, 2);
  assert.equal(
    await runnable(),
    5,
    "neither the second of a label nor what a shared pool has no slot for",
  );
  await serve("one");
  const { rows: [server] } = await sql.query(
    "select extract(epoch from seen_until - clock_timestamp())::float8 as seconds from etl.servers",
  );
  assert.ok(server.seconds > 10 && server.seconds <= 20, `seen for ${server.seconds} s`);
  await settle(sql);
  assert.equal((await admitted(sql)).length, 2);
  await serve("two");
  await serve("three");
  await settle(sql);
  assert.equal((await admitted(sql)).length, 4, "three of the default pool, one of the shared one");
  assert.equal(await runnable(), 5);
  // one that has not been seen for 20 s counts no more; what it was given stays
  await sql.query(
    "update etl.servers set seen_until = clock_timestamp() where server_id = 'three'",
  );
  for (const id of (await admitted(sql)).slice(0, 2)) await finish(sql, id);
  await settle(sql);
  const going = await sql.query(
    "select pool, count(*)::integer as n from etl.runs where admitted_at is not null and ended_at is null group by pool order by pool",
  );
  assert.deepEqual(going.rows, [{ pool: "default_pool", n: 2 }, { pool: "shared", n: 1 }]);
});

Deno.test("a server says while it runs that it executes runs, and no more when it has stopped", async (t) => {
  await using db = await testDatabase(t);
  const servers = () =>
    query(db.dsn, "select run_slots, seen_until > now() as here from etl.servers");
  {
    await using _server = await startServer({ dsn: db.dsn });
    assert.deepEqual(await servers(), [{ run_slots: 4, here: true }]);
  }
  assert.deepEqual(await servers(), []);
});

Deno.test("a higher priority goes first, and makes nobody wait for longer than its minutes", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query("update etl.pools set slots = 0");
  const plain = await ask(sql, { run_label: "plain" });
  const low = await ask(sql, { run_label: "low", priority: -10 });
  const high = await ask(sql, { run_label: "high", priority: 10 });
  await ask(sql, { run_label: "twice" });
  const first = await ask(sql, { run_label: "twice", priority: 5 });
  const old = await ask(sql, { run_label: "old", priority: -10 });
  await sql.query(
    "update etl.runs set requested_at = requested_at - interval '21 minutes' where run_id = $1",
    [old],
  );
  await sql.query("update etl.pools set slots = 5");
  await settle(sql);
  assert.deepEqual(await admitted(sql), [old, high, first, plain, low]);
  await assert.rejects(ask(sql, { priority: 11 }), /priority is too large/);
});

Deno.test("the server whose run has ended admits the next one itself, and wakes nobody else for it", async (t) => {
  await using engine = await startEngine(t);
  const stopping = new AbortController();
  const { log } = engine.deps;
  // neither notifications nor the clock wake it
  const loop = new WorkLoop({ sql: engine.sql, log, stopping: stopping.signal });
  workOnRequests(loop, engine.sql);
  workOnRuns(loop, engine.deps, { slots: 1, ownOnly: false });
  const woken: string[] = [];
  const client = await connect(engine.db.dsn);
  client.on("notification", ({ payload }) => void woken.push(payload!));
  await client.query("listen etl_work");
  const ids = [];
  for (let i = 0; i < 2; i++) ids.push((await engine.submit({ batch_size: 5 })).run_id);
  loop.wake("runs");
  for (const id of ids) {
    await waitFor(async () => (await engine.run(id)).state === "succeeded", { what: "the run" });
  }
  stopping.abort();
  await loop.stop(1_000);
  await waitFor(() => woken.filter((kind) => kind === "run_ends").length === 2);
  await client.end();
  assert.deepEqual(woken.filter((kind) => kind === "requests"), []);
});

Deno.test("a claim tells whether another run waits, and then another lane looks for it at once", async (t) => {
  await using engine = await startEngine(t);
  for (const run_label of ["a", "b"]) await engine.submit({ batch_size: 5, run_label });
  // not in the order of their requests: a label whose turn it is comes first
  await engine
    .sql`update etl.runs set admitted_at = admitted_at + interval '1 second' where run_label = 'a'`;
  const claim = async () => {
    const claimed = await claimRun(engine.sql, { serverId: "other", maxAttempts: 5 });
    return [claimed?.run.run_label, claimed?.more];
  };
  assert.deepEqual([await claim(), await claim()], [["b", true], ["a", false]]);

  const stopping = new AbortController();
  const loop = new WorkLoop({ sql: engine.sql, log: engine.deps.log, stopping: stopping.signal });
  const begun: PromiseWithResolvers<void>[] = [];
  loop.on("work", () => {
    const claimed = { work: () => (begun.push(Promise.withResolvers()), begun.at(-1)!.promise) };
    return Promise.resolve(begun.length === 3 ? null : { ...claimed, more: begun.length < 2 });
  }, 2);
  loop.wake("work");
  await waitFor(() => begun.length === 2);
  begun[0]!.resolve();
  await waitFor(() => begun.length === 3, { what: "the lane to look again" });
  stopping.abort();
  begun.forEach(({ resolve }) => resolve());
  await loop.stop(1_000);
});

Deno.test("a run without a sign of life is claimed by anybody, one that is alive by nobody, and one at rest when it is due", async (t) => {
  await using engine = await startEngine(t);
  const { run_id } = await engine.submit({ batch_size: 5 });
  const claim = async (serverId = "other") =>
    (await claimRun(engine.sql, { serverId, maxAttempts: 5 }))?.run ?? null;
  assert.equal((await claim())?.attempt, 1);
  assert.equal(await claim(), null);
  await engine.sql`update etl.runs set seen_at = now() - interval '7 seconds'`;
  const due = async () => (await engine.sql`select etl.due_work() as kind`).map(({ kind }) => kind);
  // PostgreSQL may have been started just now, before which nobody could give a sign
  await waitFor(async () => (await due()).includes("runs"), { what: "the run to be due" });
  for (const claimed of [claimRun, claimOwnRun]) {
    const busy = { serverId: "other", maxAttempts: 5, inHand: [run_id] };
    assert.equal(await claimed(engine.sql, busy), null, "by nobody who executes it");
  }
  assert.equal((await claim())?.attempt, 2);
  await engine.sql`select etl.give_back_run(${run_id}, 2, '{"detail": "the disk is full"}')`;
  assert.equal(await claim(), null, "it rests for 2 s");
  await engine.sql`update etl.runs set next_attempt_at = now()`;
  const [third, none] = await Promise.all([claim(), claim()]);
  assert.deepEqual([third?.attempt ?? none?.attempt, third && none], [3, null]);
  await engine.sql`select etl.give_back_run(${run_id}, 3)`;
  assert.equal((await claim("another"))?.attempt, 4, "at once, by any server");
  const [row] = await engine.sql`select attempt_base, error ->> 'detail' as last from etl.runs`;
  assert.equal(row!.attempt_base, 1, "a stop uses up no attempt");
  assert.equal(row!.last, "the disk is full", "and hides no cause");
});

Deno.test("a run is left for 10 s to the command that asked for it, which takes none of others unless its own has waited as long for a place", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const by = (claim: typeof claimRun, serverId: string) =>
    claim(sql, { serverId, maxAttempts: 5 }).then((claimed) => claimed?.run.run_label ?? null);
  const admittedAgo = (label: string, seconds: number) =>
    sql`update etl.runs set admitted_at = clock_timestamp() - ${seconds} * interval '1 second' where run_label = ${label}`;
  const conf = (label: string) => ({ run_label: label, batch_size: 5 });
  await engine.submit(conf("own"), { server_id: "command" });
  await admittedAgo("own", 7);
  assert.equal(await by(claimRun, "server"), null);
  assert.equal(await by(claimOwnRun, "another command"), null);
  assert.equal(await by(claimOwnRun, "command"), "own");
  await engine.submit(conf("left"), { server_id: "a command that died" });
  await admittedAgo("left", 11);
  assert.equal(await by(claimOwnRun, "command"), null, "it has no run that waits");
  assert.equal(await by(claimRun, "server"), "left");

  await engine.submit(conf("others"));
  await engine.submit(conf("waits"), { server_id: "command" });
  await sql`update etl.runs set admitted_at = null, requested_at = clock_timestamp() - interval '7 seconds' where run_label = 'waits'`;
  await admittedAgo("others", 11);
  assert.equal(await by(claimOwnRun, "command"), null, "its own may get a place yet");
  await sql`update etl.runs set requested_at = clock_timestamp() - interval '11 seconds' where run_label = 'waits'`;
  await admittedAgo("others", 7);
  assert.equal(await by(claimOwnRun, "command"), null, "a server may take it");
  await admittedAgo("others", 11);
  assert.equal(await by(claimOwnRun, "command"), "others", "where no server frees a place");
});

Deno.test("a server goes on with its run however late its signs of life are, and starts it no second time", async (t) => {
  await using db = await testDatabase(t);
  await query(
    db.dsn,
    `create function late() returns trigger language plpgsql as $$ begin new.seen_at := now() - interval '1 hour'; return new; end $$;
     create trigger late before update on etl.runs for each row when (new.state = 'running' and new.attempt = old.attempt) execute function late()`,
  );
  const held = Promise.withResolvers<Response>();
  await using peer = startPeer(() => held.promise);
  const { host } = new URL(peer.address);
  await using server = await startServer({
    dsn: db.dsn,
    env: { ETL_HTTP_SOURCES: host, ETL_HTTP_PRIVATE_HOSTS: host },
  });
  const run = async (conf: unknown) => {
    const response = await fetch(`${server.address}/api/etl/run?wait=true`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(conf),
    });
    const { state, attempt, error } = await response.json();
    return { state, attempt, error };
  };
  const succeeded = { state: "succeeded", attempt: 1, error: null };
  const slow = run({
    run_label: "slow",
    source: { type: "http", url: `${peer.address}/rows.ndjson`, key: "id" },
  });
  await waitFor(() => peer.requests.length > 0, { what: "the run reads its source" });
  await waitFor(async () => {
    const rows = await query(
      db.dsn,
      "select from etl.runs where state = 'running' and seen_at < now() - interval '1 minute'",
    );
    return rows.length > 0;
  }, { what: "a sign of life that is late" });
  // whoever looks for this one finds the other first
  assert.deepEqual(await run({ run_label: "quick", batch_size: 5 }), succeeded);
  held.resolve(new Response('{"id": 1}\n'));
  assert.deepEqual(await slow, succeeded);
});

const emit = async (engine: Engine) => {
  const [row] = await engine.sql<{ event_no: number }[]>`
    insert into etl.dataset_events (dataset, emitted_by) values ('public.etl_improved_events', 'test')
    returning event_no::int`;
  return row!.event_no;
};

const consumer = (
  name: string,
  run: (events: number[], signal: AbortSignal, db: Queryable) => unknown,
) =>
  defineConsumer({
    name,
    datasets: ["public.etl_improved_events"],
    params: z.object({}),
    run: async ({ events, signal, db }) =>
      await run(events.map(({ event_no }) => event_no), signal, db),
  });

const delivered = (engine: Engine) => async () =>
  (await engine.sql`select from etl.deliveries where state = 'pending'`).length === 0;

Deno.test("an event that a consumer fails on holds the later ones until it is done", async (t) => {
  await using engine = await startEngine(t);
  const seen: number[] = [];
  let failures = 1;
  const flaky = consumer("flaky", ([no]) => {
    seen.push(no!);
    if (failures-- > 0) throw new Error("not yet");
  });
  await using _reacting = await startReacting(engine, { consumers: [flaky] });
  const numbers = [await emit(engine), await emit(engine), await emit(engine)];
  await waitFor(delivered(engine));
  assert.deepEqual(seen, [numbers[0], ...numbers]);
});

Deno.test("an event counts as attempted before its consumer runs; a lost connection is no failure, not even of one that waits for ever", async (t) => {
  await using engine = await startEngine(t);
  const attempts: number[] = [];
  let cut = true;
  const waiting = consumer("waiting", async (_events, _signal, db) => {
    await db.query("select"); // its transaction is open from here on
    const [row] = await engine.sql<{ attempts: number }[]>`select attempts from etl.deliveries`;
    attempts.push(row!.attempts);
    if (!cut) return;
    cut = false;
    await engine.sql`select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'etl-lease consumer waiting' and datname = current_database()`;
    await new Promise(() => {});
  });
  await using _reacting = await startReacting(engine, { consumers: [waiting] });
  await emit(engine);
  await waitFor(delivered(engine));
  assert.deepEqual(attempts, [1, 1]);
  const rows = await engine.sql`select state, attempts, error from etl.deliveries`;
  assert.deepEqual([...rows], [{ state: "done", attempts: 1, error: null }]);
});

Deno.test("an event that has ended five servers is given up and told of", async (t) => {
  await using engine = await startEngine(t);
  const seen: number[] = [];
  const poisoned = consumer("poisoned", ([no]) => seen.push(no!));
  {
    await using _first = await startReacting(engine, { consumers: [poisoned] });
  }
  const [, good] = [await emit(engine), await emit(engine)];
  await engine
    .sql`update etl.deliveries set attempts = 5 where delivery_id = (select min(delivery_id) from etl.deliveries)`;
  await using _reacting = await startReacting(engine, { consumers: [poisoned] });
  await waitFor(delivered(engine));
  assert.deepEqual(seen, [good]);
  const alerts = await engine
    .sql`select message from public.etl_improved_alerts where kind = 'consumer_failed'`;
  assert.match(alerts[0]!.message, /gave up on an event.*stopped without a word/);
});

Deno.test("who has lost a lease can tick nothing off, and its open transaction is ended", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`select etl.register_consumers('[{"name": "c", "datasets": ["public.etl_improved_events"], "emits": [], "mode": "each", "skip_unchanged": false}]')`;
  await emit(engine);
  const [frozen, next] = [crypto.randomUUID(), crypto.randomUUID()];
  const claim = async (holder: string) =>
    (await sql`select etl.claim_lease('consumer c', ${holder}) as ok`)[0]!.ok;
  assert.equal(await claim(frozen), true);
  assert.equal(await claim(next), false);
  const [delivery] = await sql`select * from etl.claim_deliveries('c', ${frozen}, 1, 5)`;
  await sql`update etl.leases set held_until = now()`;
  const open = await connect(engine.db.dsn);
  await open.query("begin; set local application_name = 'etl-lease consumer c'");
  await open.query("select etl.require_lease('consumer c', $1)", [frozen]);
  assert.equal(await claim(next), true);
  await assert.rejects(open.query("select"), "its transaction was ended");
  const late = sql`select etl.finish_deliveries('c', ${frozen}, ${[
    delivery!.delivery_id,
  ]}::bigint[], null)`;
  await assert.rejects(late, /Another server does this now/);
  await sql`with marked as materialized (select etl.begin_consumer_transaction())
    select etl.finish_deliveries('c', ${next}, ${[
    delivery!.delivery_id,
  ]}::bigint[], null) from marked`;
  assert.equal((await sql`select etl.prolong_lease('consumer c', ${frozen}) as ok`)[0]!.ok, false);
});

Deno.test("no transaction is open while another system is told, and health says how late a consumer is", async (t) => {
  await using engine = await startEngine(t);
  await using peer = startPeer(() => "hang");
  const slow = consumer("slow", async (_events, signal) => {
    await new Promise((_resolve, reject) =>
      signal.addEventListener("abort", () => reject(signal.reason))
    );
  });
  await using _reacting = await startReacting(engine, {
    env: {
      ETL_ALERT_WEBHOOK: peer.address,
      OPENLINEAGE_URL: peer.address,
      MLFLOW_TRACKING_URI: peer.address,
    },
    consumers: [slow],
  });
  await engine.succeed({ batch_size: 2, mlflow_enable: true });
  await engine.runToEnd({ source: { type: "file", path: "missing.csv", key: "id" } });
  await waitFor(() => peer.requests.length >= 3, { what: "all three systems to be told" });
  const open = await engine.sql`select application_name from pg_stat_activity
    where datname = current_database() and state like 'idle in transaction%'`;
  assert.deepEqual([...open], [], "not even the consumer's, which has asked for nothing yet");
  await engine.sql`update etl.deliveries set created_at = now() - interval '90 seconds'`;
  const health = await (await engine.request("/api/etl/health")).json();
  assert.ok(health.reactions.oldest_delivery_seconds >= 90);
  assert.match(
    health.warnings.join("\n"),
    /consumer slow is late: the oldest of its 1 pending events waits for 9\d/,
  );
});

Deno.test("work under a lease is done once for each time that it is due, and again when it was asked for meanwhile", async (t) => {
  await using engine = await startEngine(t);
  const stopping = new AbortController();
  const loop = new WorkLoop({ sql: engine.sql, log: engine.deps.log, stopping: stopping.signal });
  const done = { first: 0, second: 0 };
  const gate = Promise.withResolvers<void>();
  loop.onLeased("first", async () => {
    done.first++;
    if (done.first === 1) await gate.promise;
  });
  loop.onLeased("second", () => Promise.resolve(done.second++));
  loop.wake("first");
  await waitFor(() => done.first === 1);
  loop.wake("first");
  gate.resolve();
  await waitFor(() => done.first === 2, { what: "what was asked for meanwhile" });
  for (const round of [1, 2, 3]) {
    await waitFor(async () => (await engine.sql`select from etl.leases`).length === 0);
    loop.wake("second");
    await waitFor(() => done.second === round);
  }
  assert.equal(done.first, 2, "nobody asked again");
  stopping.abort();
  await loop.stop(5_000);
});

Deno.test("daily views are refreshed over a connection that does nothing else, as each that makes temporary tables costs all others their plans", async (t) => {
  await using engine = await startEngine(t);
  await using _reacting = await startReacting(engine);
  await using owner = await client(engine.db.dsn);
  await owner.query(`create table public.refreshed (pid integer);
    create function public.note_refresh() returns trigger language plpgsql as $$
      begin insert into public.refreshed values (pg_backend_pid()); return new; end $$;
    create trigger note_refresh before update of done on etl.view_refresh for each row execute function public.note_refresh();
    grant insert on public.refreshed to public`);
  await engine.succeed({ batch_size: 5 });
  const refreshed = async () => (await owner.query("select pid from public.refreshed")).rows;
  await waitFor(async () => (await refreshed()).length > 0, { what: "a refresh" });
  // on all connections that are free: each holds one of the statements
  await owner.query("select pg_advisory_lock(1)");
  const held = Promise.all(
    Array.from(
      { length: 6 },
      () => engine.deps.sql`select pg_backend_pid() as pid, pg_advisory_xact_lock_shared(1)`,
    ),
  );
  await waitFor(
    async () =>
      (await owner.query(
        "select from pg_stat_activity where wait_event = 'advisory' and datname = current_database()",
      ))
        .rowCount! >= 5,
    { what: "statements that wait" },
  );
  await owner.query("select pg_advisory_unlock(1)");
  const pids = new Set((await held).flat().map(({ pid }) => pid));
  for (const { pid } of await refreshed()) assert.ok(!pids.has(pid));
});

Deno.test("setup-db drops the schema pgboss that 0.1.0 made, and leaves another application's alone", async (t) => {
  await using db = await testDatabase(t);
  const there = async () =>
    (await query(db.dsn, "select to_regnamespace('pgboss') is not null as there"))[0]!.there;
  await query(
    db.dsn,
    "create schema pgboss; create table pgboss.queue (name text); insert into pgboss.queue values ('etl_run'), ('mail')",
  );
  await setupDatabase(db.dsn);
  assert.equal(await there(), true);
  await query(db.dsn, "delete from pgboss.queue where name = 'mail'");
  assert.ok((await setupDatabase(db.dsn)).some((line) => /pgboss.*dropped/.test(line)));
  assert.equal(await there(), false);
});

Deno.test("runs that waited and ran when 0.1.0 was upgraded go on", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const waited = await ask(sql, { run_label: "waited" });
  const ran = await ask(sql, { run_label: "ran" });
  await settle(sql);
  // as 0.1.0 had it: no column of this version, and a job scheduler of another name
  await sql.query(
    `alter table etl.runs drop column accepted_at, drop column next_attempt_at, drop column priority;
    update etl.runs set admitted_at = null where run_label = 'waited';
    update etl.runs set state = 'running', attempt = 1, seen_at = now() - interval '1 minute' where run_label = 'ran';
    alter table etl.job_scheduler drop constraint job_scheduler_kind_known;
    insert into etl.job_scheduler (kind) values ('pg_boss');
    delete from etl.migrations where name like '%_queue'`,
  );
  await setupDatabase(db.dsn);
  await settle(sql);
  const claim = async () =>
    (await sql.query("select run_id from etl.claim_run('new', 5)")).rows[0]?.run_id;
  assert.deepEqual(new Set([await claim(), await claim()]), new Set([waited, ran]));
  const { rows } = await sql.query("select kind from etl.job_scheduler");
  assert.deepEqual(rows, [{ kind: "servers" }]);
});
