import assert from "node:assert/strict";
import type { Client } from "../../store/pg.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { random } from "../helpers/random.ts";
import { client } from "../helpers/sql_problems.ts";

/** A run as the queue sees it; times in seconds before now. */
interface Waiting {
  run_id: string;
  run_label: string;
  pool: string;
  priority: number;
  requested: number;
  cursor_key: string | null;
  /** Null: not accepted yet. */
  accepted: number | null;
  /** Null: waits for a place. */
  admitted: number | null;
  outage: boolean;
  /** Whether it may be taken up now, after a failure. */
  due: boolean;
  ended: boolean;
}

/** Stores runs as if they had been asked for; times count from the beginning of the transaction. */
async function store(sql: Client, runs: Waiting[]): Promise<void> {
  await sql.query(
    `insert into etl.runs (run_id, run_label, state, attempt, conf, params, origins, schema_name, table_name, audit_table_name,
      dry_run, pool, overlap, priority, cursor_key, requested_at, accepted_at, admitted_at, ended_at, outage_since, next_attempt_at)
    select w.run_id, w.run_label, case when w.ended then 'cancelled' else 'queued' end, 0, '{}', '{}', '{}', 'public', 't', 'a',
      false, w.pool, 'queue', w.priority, w.cursor_key, now() - w.requested * interval '1 second',
      now() - w.accepted * interval '1 second', now() - w.admitted * interval '1 second', case when w.ended then now() end,
      case when w.outage then now() end, case when w.due then '-infinity' else now() + interval '1 hour' end
    from jsonb_to_recordset($1::text::jsonb) as w (run_id uuid, run_label text, pool text, priority integer, requested float8,
      cursor_key text, accepted float8, admitted float8, outage boolean, due boolean, ended boolean)`,
    [JSON.stringify(runs)],
  );
}

const MINUTE = 60;
/** A run's first turn, in seconds: smaller is earlier. */
const firstTurn = (run: Waiting) => -run.requested - run.priority * MINUTE;
const by = <T>(...keys: ((item: T) => number | string)[]) => (a: T, b: T) => {
  for (const key of keys) {
    if (key(a) !== key(b)) return key(a) < key(b) ? -1 : 1;
  }
  return 0;
};

/** Who gets a place, in order, as the rules say it, which look at every run. */
function admittedBy(runs: Waiting[], pools: [name: string, slots: number][]): string[] {
  const now = new Set<Waiting>();
  const has = (run: Waiting) => !run.ended && (run.admitted !== null || now.has(run));
  const waits = (run: Waiting) => !run.ended && !has(run);
  const earlier = (a: Waiting, b: Waiting) =>
    by<Waiting>((r) => -r.requested, (r) => r.run_id)(a, b) < 0;
  const sameKey = (a: Waiting, b: Waiting) =>
    a.cursor_key !== null && a.cursor_key === b.cursor_key;
  for (const [pool, slots] of pools.toSorted()) {
    let free = slots - runs.filter((run) => has(run) && run.pool === pool).length;
    const eligible = runs.filter((run) =>
      run.pool === pool && waits(run) && run.accepted !== null &&
      !runs.some((other) =>
        other !== run && (other.run_label === run.run_label || sameKey(other, run)) &&
        (has(other) || waits(other) && other.outage && (!run.outage || earlier(other, run)))
      ) &&
      (run.outage ||
        !runs.some((other) => sameKey(other, run) && waits(other) && earlier(other, run)))
    ).sort(by(firstTurn, (run) => run.run_id));
    const turn = (run: Waiting) => {
      const past = runs.filter((r) => r.run_label === run.run_label && r.admitted !== null).map((
        r,
      ) => -r.admitted!);
      return Math.max(firstTurn(run), ...past.map((at) => at - run.priority * MINUTE));
    };
    const firsts = eligible.filter((run, i) =>
      eligible.findIndex((r) => r.run_label === run.run_label) === i
    );
    const ready = firsts.filter((run) => run.due).sort(
      by(turn, (run) => -run.requested, (run) => run.run_id),
    );
    for (const run of ready) {
      if (free-- <= 0) break;
      now.add(run);
    }
  }
  return [...now].map((run) => run.run_id);
}

Deno.test("places are given as the rules say, whatever waits, has just been served or is held up", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query("insert into etl.pools (pool, slots) values ('other', 0)");
  for (let seed = 1; seed <= Number(Deno.env.get("BACKLOG_SEEDS") ?? 100); seed++) {
    const pick = random(seed);
    const chance = (p: number) => pick(100) < p * 100;
    const [labels, keys] = [1 + pick(90), 1 + pick(30)];
    const crowded = chance(0.6);
    const runs = Array.from({ length: 1 + pick(240) }, (_, i): Waiting => {
      const ended = chance(0.2);
      // many old ones of a few labels, behind which the others would not be seen
      const crowd = crowded && chance(0.8);
      const requested = (crowd ? 2_000 : 10) + pick(chance(0.5) ? 5 : 2_000);
      return {
        run_id: `00000000-0000-7000-8000-${String(pick(1000)).padStart(6, "0")}${
          String(i).padStart(6, "0")
        }`,
        run_label: `label ${pick(crowd ? Math.min(3, labels) : labels)}`,
        pool: chance(0.7) ? "default_pool" : "other",
        priority: chance(0.6) ? 0 : pick(21) - 10,
        requested,
        cursor_key: chance(0.4) ? `key ${pick(crowd ? 1 : keys)}` : null,
        accepted: chance(0.1) ? null : 1,
        admitted: ended ? pick(requested) : null,
        outage: !ended && chance(0.12),
        due: chance(0.9),
        ended,
      };
    });
    // one at a time of a label, and of a key
    for (const run of runs) {
      const busy = (key: "run_label" | "cursor_key") =>
        runs.some((r) => !r.ended && r.admitted !== null && r[key] !== null && r[key] === run[key]);
      if (
        !run.ended && run.accepted !== null && !run.outage && chance(0.1) && !busy("run_label") &&
        !busy("cursor_key")
      ) {
        run.admitted = pick(run.requested);
      }
    }
    const pools: [string, number][] = [["default_pool", pick(8)], ["other", pick(6)]];
    const expected = admittedBy(runs, pools);
    await sql.query("begin");
    for (const [pool, slots] of pools) {
      await sql.query("update etl.pools set slots = $2 where pool = $1", [pool, slots]);
    }
    await store(sql, runs);
    const before = "select run_id from etl.runs where admitted_at > now() order by admitted_at";
    assert.deepEqual((await sql.query(before)).rows, []);
    const { rows: [{ n }] } = await sql.query("select etl.admit_runs() as n");
    const given = (await sql.query(before)).rows.map(({ run_id }) => run_id);
    assert.deepEqual(given, expected, `seed ${seed}`);
    assert.equal(n, expected.length);
    await sql.query("rollback");
  }
});

/** Rows of runs, their chunks and ends that a statement reads. */
async function read(sql: Client, statement: string, values: unknown[] = []): Promise<number> {
  const count = async () =>
    Number(
      (await sql.query(
        `select sum(seq_tup_read + idx_tup_fetch) as n from pg_stat_xact_user_tables where relname in ('runs', 'chunks', 'run_ends')`,
      )).rows[0].n,
    );
  const before = await count();
  await sql.query(statement, values);
  return await count() - before;
}

/** Has the functions plan their statements on empty tables, as the sessions of a server do that has just been set up. */
const planEarly = (sql: Client) =>
  sql.query(`select etl.admit_runs(), etl.accept_run(), etl.order_of(gen_random_uuid()),
    (select count(*) from etl.due_work()), (select count(*) from etl.consume_run_end())`);

const MANY = 2_000;
const many = (make: (i: number) => Partial<Waiting>): Waiting[] =>
  Array.from({ length: MANY }, (_, i) => ({
    run_id: `00000000-0000-7000-8000-${String(i).padStart(12, "0")}`,
    run_label: `label ${i}`,
    pool: "default_pool",
    priority: 0,
    requested: 2 * MANY - i,
    cursor_key: null,
    accepted: 1,
    admitted: null,
    outage: false,
    due: true,
    ended: false,
    ...make(i),
  }));

Deno.test("what a place, an acceptance and an order cost does not grow with the runs that wait", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query("insert into etl.pools (pool, slots) values ('closed', 0)");
  await planEarly(sql);
  const waiting = {
    "labels of their own": many(() => ({})),
    "one label, which has just been served": [
      ...many((i) => ({ run_label: "backfill", ended: i === 0, admitted: i === 0 ? 0 : null })),
    ],
    "one label, which is busy": many((i) => ({
      run_label: "backfill",
      admitted: i === 0 ? 1 : null,
    })),
    "one source and table": many(() => ({ cursor_key: "shop public.t" })),
    "not accepted": many(() => ({ accepted: null })),
    "an order that another label keeps busy": many((i) => ({
      run_label: i === 0 ? "load" : "backfill",
      cursor_key: "shop public.t",
      admitted: i === 0 ? 1 : null,
    })),
    "an order whose first waits for another pool": many((i) => ({
      run_label: i === 0 ? "load" : "backfill",
      cursor_key: "shop public.t",
      pool: i === 0 ? "closed" : "default_pool",
    })),
    "an order of which later requests are more urgent": many((i) => ({
      run_label: "backfill",
      cursor_key: "shop public.t",
      priority: i % 10,
    })),
    "a label in an outage": many((i) => ({
      run_label: "backfill",
      outage: i === 0,
      due: i > 0,
      priority: i === 0 ? -10 : 0,
    })),
  };
  for (const [name, runs] of Object.entries(waiting)) {
    await sql.query("begin");
    await store(sql, runs);
    const first = runs[0]!.run_id;
    const reads = {
      admission: await read(sql, "select etl.admit_runs()"),
      again: await read(sql, "select etl.admit_runs()"),
      acceptance: await read(sql, "select etl.accept_run()"),
      order: await read(sql, "select etl.order_of($1)", [first]),
      due: await read(sql, "select etl.due_work()"),
    };
    await sql.query("rollback");
    for (const [what, rows] of Object.entries(reads)) {
      assert.ok(rows < 300, `${name}: ${what} read ${rows} rows of ${JSON.stringify(reads)}`);
    }
  }
});

Deno.test("what an end costs that is judged does not grow with the ends that wait for it", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await planEarly(sql);
  await sql.query("begin");
  await store(sql, many(() => ({ ended: true })));
  await sql.query(
    `insert into etl.run_ends (run_id, end_no, ended_at, snapshot)
    select run_id, 1, ended_at + random() * interval '1 hour', '{}' from etl.runs`,
  );
  const oldest =
    "select run_id from etl.run_ends where consumed_at is null order by ended_at limit 1";
  const { rows: [{ run_id }] } = await sql.query(oldest);
  const rows = await read(sql, "select etl.consume_run_end()");
  assert.ok(rows < 100, `${rows} rows read`);
  const judged = "select run_id from etl.run_ends where consumed_at is not null";
  assert.deepEqual((await sql.query(judged)).rows, [{ run_id }]);
});

Deno.test("a run's order reads no run that has not been executed, nor one that replaces nothing", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await planEarly(sql);
  await sql.query("begin");
  const runs = many((i) => ({ run_label: "l", ended: i > 0, admitted: i > 0 ? 1 : null }));
  await store(sql, runs);
  await sql.query(
    'update etl.runs set attempt = 1, params = \'{"write": "upsert"}\' where ended_at is not null',
  );
  await sql.query(
    "insert into etl.chunks (run_id, chunk_no, slice, state) select run_id, 0, '{}', 'published' from etl.runs where attempt = 1",
  );
  const order = "select late, superseded from etl.order_of($1)";
  const first = runs[0]!.run_id;
  assert.ok(await read(sql, order, [first]) < 100);
  assert.deepEqual((await sql.query(order, [first])).rows, [{ late: false, superseded: false }]);
  const last = runs.at(-1)!.run_id;
  await sql.query('update etl.runs set params = \'{"write": "replace"}\' where run_id = $1', [
    last,
  ]);
  assert.deepEqual((await sql.query(order, [first])).rows, [{ late: false, superseded: true }]);
  assert.ok(await read(sql, order, [first]) < 100);
});

Deno.test("a function that forbids scans is never compiled: before PostgreSQL 18 they seem to cost enough for it", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const { rows } = await sql.query(
    `select p.proname from pg_proc as p where exists (select from unnest(p.proconfig) as c where c ~ '^enable_.*=off')
      and not 'jit=off' = any (p.proconfig)`,
  );
  assert.deepEqual(rows, []);
});
