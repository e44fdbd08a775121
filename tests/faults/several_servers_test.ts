import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { holdRun } from "./holds.ts";
import { nothingIsLeft, undisturbed } from "./invariants.ts";
import { endUndisturbed, LONG } from "./matrix.ts";
import { World } from "./world.ts";
import { lacks } from "../helpers/needs.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import type { Client } from "../../store/pg.ts";

const RUNS = 200;
const LABELS = 40;
const POOLS = { two: 2, three: 3 };

/** Asks for many small runs by SQL: labels take turns, each label has one pool. */
async function requestMany(world: World): Promise<void> {
  await world.query(
    `select etl.request_run(jsonb_build_object('run_label', 'label ' || i % $2, 'pool', case when i % 2 = 0 then 'two' else 'three' end,
      'table_name', 'f_many', 'batch_size', 10, 'source', jsonb_build_object('type', 'synthetic', 'seed', i)))
    from generate_series(1, $1) as i`,
    [RUNS, LABELS],
  );
}

/** Most runs that were going on at once, by a column; exact, since both times are set under the pool's lock. */
async function mostAtOnce(
  world: World,
  column: "pool" | "run_label",
): Promise<Record<string, number>> {
  const rows = await world.query<{ name: string; most: number }>(
    `select name, max(active)::integer as most from (
      select name, sum(step) over (partition by name order by at, step) as active from (
        select ${column} as name, admitted_at as at, 1 as step from etl.runs where admitted_at is not null
        union all select ${column}, ended_at, -1 from etl.runs where admitted_at is not null) as steps) as a
    group by name`,
  );
  return Object.fromEntries(rows.map(({ name, most }) => [name, most]));
}

async function allDoneOnce(world: World): Promise<void> {
  await waitFor(
    async () => (await world.query("select from etl.runs where ended_at is null")).length === 0,
    { timeoutMs: 120_000, intervalMs: 200, what: "the end of all runs" },
  ).catch((error) => {
    throw new Error(`${error.message}\n${world.logs()}`);
  });
  const [sums] = await world.query(
    `select count(*)::integer as runs, count(*) filter (where state = 'succeeded')::integer as succeeded,
      sum(attempt)::integer as attempts, count(distinct server_id)::integer as servers,
      (select count(*)::integer from etl.dataset_events) as events,
      (select count(*)::integer from etl_improved_metrics) as metrics,
      (select count(*)::integer from f_many) as rows from etl.runs`,
  );
  assert.deepEqual(sums, {
    runs: RUNS,
    succeeded: RUNS,
    attempts: RUNS,
    servers: 2,
    events: RUNS,
    metrics: RUNS,
    rows: RUNS * 10,
  });
}

Deno.test("two servers do runs that were asked for before any server once each, never above a pool's slots, fairly", async (t) => {
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn });
  for (const [pool, slots] of Object.entries(POOLS)) await world.addPool(pool, slots);
  await requestMany(world);
  const servers = await Promise.all(["a", "b"].map((name) => world.start({ name })));
  await allDoneOnce(world);
  assert.deepEqual(await mostAtOnce(world, "pool"), POOLS, "no slot idle, none too many");
  assert.equal(Math.max(...Object.values(await mostAtOnce(world, "run_label"))), 1);
  // fair: while every label has runs waiting, none has its second turn before all had their first
  const turns = await world.query<{ pool: string; labels: number }>(
    `select pool, count(distinct run_label)::integer as labels from (
      select pool, run_label, row_number() over (partition by pool order by admitted_at) as place from etl.runs) as r
    where place <= $1 group by pool`,
    [LABELS / 2],
  );
  assert.deepEqual(turns.map(({ labels }) => labels), [LABELS / 2, LABELS / 2]);
  const [rate] = await world.query<{ per_second: number }>(
    "select $1 / extract(epoch from max(ended_at) - min(started_at))::float8 as per_second from etl.runs",
    [RUNS],
  );
  console.log(`measured: ${rate!.per_second.toFixed(1)} small runs/s, two servers, five slots`);
  await nothingIsLeft(world, { servers });
});

Deno.test("100 concurrent requests with one Idempotency-Key, to two servers and SQL, make one run", async (t) => {
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn });
  const servers = await Promise.all(["a", "b"].map((name) => world.start({ name })));
  const conf = { batch_size: 10, table_name: "f_once" };
  const ids = await Promise.all(Array.from({ length: 100 }, async (_, i) => {
    if (i % 10 !== 9) {
      return await world.request(servers[i % 2]!, conf, { "idempotency-key": "one" });
    }
    const [row] = await world.query<{ id: string }>("select etl.request_run($1, 'one') as id", [
      conf,
    ]);
    return row!.id;
  }));
  assert.equal(new Set(ids).size, 1);
  await world.ended(ids[0]!);
  assert.equal(await world.request(servers[0]!, conf, { "idempotency-key": "one" }), ids[0]);
  const other = await fetch(`${servers[0]!.address}/api/etl/run`, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": "one" },
    body: JSON.stringify({ batch_size: 11 }),
  });
  assert.equal(other.status, 422);
  assert.match((await other.json()).type, /idempotency-conflict/);
  const [count] = await world.query<{ n: string }>("select count(*) as n from etl.runs");
  assert.equal(count!.n, "1");
});

Deno.test("a request by SQL wakes a worker at once, a run that is executed is taken up by nobody else", async (t) => {
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn });
  const server = await world.start({ name: "a" });
  const expected = await undisturbed(world, server);
  const took: number[] = [];
  for (let round = 0; round < 5; round++) {
    const [row] = await world.query<{ id: string }>(
      `select etl.request_run('{"batch_size": 1, "table_name": "f_woken"}') as id`,
    );
    await world.ended(row!.id);
    const [times] = await world.query<{ ms: number }>(
      "select extract(epoch from started_at - requested_at)::float8 * 1000 as ms from etl.runs where run_id = $1",
      [row!.id],
    );
    took.push(times!.ms);
  }
  took.sort((a, b) => a - b);
  console.log(
    `measured: from etl.request_run() to the start, median of 5: ${took[2]!.toFixed(1)} ms`,
  );
  assert.ok(took[2]! < 1_000, `${took}`);

  const held = await holdRun(world, server, "transform");
  for (let asked = 0; asked < 3; asked++) {
    assert.deepEqual(await world.query("select * from etl.claim_run('another', 5)"), []);
    assert.deepEqual(
      await world.query("select * from etl.start_run($1, 'another', 5)", [held.runId]),
      [],
    );
  }
  await held.release();
  await endUndisturbed(world, [held], { expected, servers: [server], attempts: { max: 1 } });
});

Deno.test("runs of one label wait, are skipped or cancel the older, as overlap says; the queue shows places", async (t) => {
  await using db = await testDatabase(t);
  await using world = await World.create({ dsn: db.dsn });
  const server = await world.start({ name: "a" });
  await undisturbed(world, server);
  const held = await holdRun(world, server, "validate");
  const again = (overlap: string) =>
    world.request(server, world.conf("validate", { overlap, batch_size: 10 }));
  const waiting = [await again("queue"), await again("queue")];
  const places = await Promise.all(waiting.map(async (id) => {
    const response = await fetch(`${server.address}/api/etl/runs/${id}`);
    return (await response.json()).queue_position;
  }));
  assert.deepEqual(places, [1, 2]);
  assert.equal(await again("skip"), held.runId, "the answer names the run that goes on");
  const newest = await again("cancel");
  const states = await Promise.all(
    [held.runId, ...waiting].map((id) => world.ended(id, ["cancelled"])),
  );
  assert.equal(states.length, 3);
  await held.release();
  await world.ended(newest);
  await nothingIsLeft(world, { servers: [server] });
});

Deno.test({
  name: "a server with the role api executes nothing, workers do what it is asked for",
  ignore: lacks(LONG, "`deno task test:full` has the long tests"),
  async fn(t) {
    await using db = await testDatabase(t);
    await using world = await World.create({ dsn: db.dsn });
    const api = await world.start({ name: "api", role: "api" });
    const ids = await Promise.all(
      Array.from(
        { length: 20 },
        (_, i) => world.request(api, { run_label: `r${i}`, batch_size: 10, table_name: "f_roles" }),
      ),
    );
    const workers = await Promise.all(
      ["b", "c"].map((name) => world.start({ name, role: "worker" })),
    );
    const runs = await Promise.all(ids.map((id) => world.ended(id)));
    assert.ok(runs.every((run) => run.attempt === 1));
    assert.ok(runs.every((run) => !run.server_id!.includes(`-${api.pid}-`)));
    await nothingIsLeft(world, { servers: workers });
  },
});

Deno.test({
  name: "a run that takes longer than its signs of life count keeps its attempt",
  ignore: lacks(LONG, "`deno task test:full` has the long tests"),
  async fn(t) {
    await using db = await testDatabase(t);
    await using world = await World.create({ dsn: db.dsn });
    const server = await world.start({ name: "a" });
    const other = await world.start({ name: "b" });
    const expected = await undisturbed(world, server);
    const held = await holdRun(world, server, "publish");
    const since = performance.now();
    const longer = 15_000;
    await waitFor(() => performance.now() - since > longer, {
      timeoutMs: longer + 5_000,
      what: "two and a half times as long as a run counts as alive",
    });
    await held.release();
    const attempts = { max: 1 };
    await endUndisturbed(world, [held], { expected, servers: [server, other], attempts });
  },
});

Deno.test("a chunk that takes almost the seven seconds of a stopping server leaves its run with it", async (t) => {
  await using db = await testDatabase(t);
  await using first = await startServer({ dsn: db.dsn });
  const conf = { table_name: "slow", batch_size: 2_000, chunk_size: 500 };
  const request = (sql: Client, label: string) =>
    sql.query("select etl.request_run($1)", [JSON.stringify({ ...conf, run_label: label })]);
  await withClient(db.dsn, async (sql) => {
    const succeeded = async () =>
      (await sql.query("select from etl.runs where state = 'succeeded'")).rows.length;
    await request(sql, "makes the table");
    await waitFor(async () => await succeeded() === 1);
    await sql.query("delete from slow");
    await withClient(db.dsn, async (holder) => {
      await holder.query("begin; lock table slow in share row exclusive mode");
      await request(sql, "is held");
      await waitFor(async () => {
        const { rows } = await sql.query("select from pg_locks where not granted");
        return rows.length > 0;
      });
      await using _second = await startServer({ dsn: db.dsn, env: { ETL_SERVER_ID: "second" } });
      first.kill("SIGTERM");
      // longer than servers wait for a sign of life, and shorter than it waits for its chunk
      await sql.query("select pg_sleep(6.6)");
      await holder.query("commit");
      await waitFor(async () => await succeeded() === 2, { timeoutMs: 60_000 });
    });
    const { rows } = await sql.query(
      "select attempt, died_on from etl.runs where run_label = 'is held'",
    );
    assert.deepEqual(rows, [{ attempt: 2, died_on: null }]);
  });
});
