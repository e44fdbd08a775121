import assert from "node:assert/strict";
import { connect } from "../../store/pg.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { waitFor } from "../helpers/wait_for.ts";

const range = (count: number, record: (i: number) => object) =>
  Array.from({ length: count }, (_, i) => record(i));

const source = (records: unknown[], rest: object = {}) => ({
  type: "inline",
  name: "test",
  key: "id",
  records,
  ...rest,
});

/** A session that can hold locks; what it waits for can be seen from the engine. */
async function session(engine: Engine) {
  const client = await connect(engine.db.dsn, { applicationName: "the test's session" });
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

/** Waits until so many of the engine's workers wait for a lock. */
function waiting(engine: Engine, count: number): Promise<unknown> {
  return waitFor(async () => {
    const [row] = await engine.sql`select count(*)::int as n from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and application_name like 'etl-run%'`;
    return row!.n >= count;
  }, { what: `${count} workers wait for a lock` });
}

/** Both runs up to publish: they have resolved against the empty table and wait for its lock. */
async function raceOnEmptyTable(engine: Engine, confs: object[]) {
  await using blocker = await session(engine);
  await engine
    .sql`select etl.ensure_destination('public', 'etl_improved_events', 'etl_improved_audit')`;
  await blocker.query("begin; lock table public.etl_improved_events in share mode");
  const runs = [];
  for (const conf of confs) runs.push(await engine.submit(conf));
  await engine.sideBySide();
  const ends = Promise.all(runs.map(({ run_id }) => engine.toEnd(run_id)));
  await waiting(engine, confs.length);
  await blocker.query("rollback");
  return await ends;
}

for (const order of ["the same order", "the opposite order"]) {
  Deno.test(`two runs race with new rows of the same keys in ${order}: each key once, the later run's`, async (t) => {
    await using engine = await startEngine(t, { workers: 2 });
    const records = (x: string) => range(2_000, (i) => ({ id: `k${i}`, x }));
    const second = order === "the same order" ? records("b") : records("b").reverse();
    const base = { chunk_size: 2_000, db_retry_initial_ms: 5, db_max_retries: 5 };
    const [a, b] = await raceOnEmptyTable(engine, [
      { ...base, run_label: "a", source: source(records("a")) },
      { ...base, run_label: "b", source: source(second) },
    ]);
    assert.deepEqual(
      [a!.state, b!.state],
      ["succeeded", "succeeded"],
      JSON.stringify([a!.error, b!.error]),
    );
    const rows = await engine.rows();
    assert.equal(rows.length, 2_000);
    assert.deepEqual(
      new Set(rows.map(({ payload }) => (payload as { x: string }).x)),
      new Set(["b"]),
    );
    // not row by row, as what may hold a row that is refused: each part would be a transaction within the transaction
    const [writers] = await engine
      .sql`select count(distinct xmin::text)::int as n from public.etl_improved_events`;
    assert.equal(writers!.n, 1);
    // both saw an empty table: one inserted, the other fell back to the upsert
    for (const run of [a!, b!]) {
      assert.deepEqual([run.total_rows, run.ratio], [2_000, 1]);
    }
    assert.equal(a!.counts.inserted! + b!.counts.inserted!, 2_000);
    assert.equal(b!.counts.inserted! + b!.counts.updated!, 2_000);
    assert.equal(a!.counts.updated, 0);
  });
}

Deno.test("two runs race with versions: the highest wins, whoever commits last", async (t) => {
  await using engine = await startEngine(t, { workers: 2 });
  // even keys are newer in a, odd ones in b
  const records = (parity: number) =>
    range(1_000, (i) => ({ id: `k${i}`, v: i % 2 === parity ? 2 : 1, parity }));
  const base = { chunk_size: 1_000, db_retry_initial_ms: 5, db_max_retries: 5 };
  const ended = await raceOnEmptyTable(engine, [
    { ...base, run_label: "a", source: source(records(0), { version: "v" }) },
    { ...base, run_label: "b", source: source(records(1), { version: "v" }) },
  ]);
  assert.deepEqual(ended.map(({ state }) => state), ["succeeded", "succeeded"]);
  const rows = await engine.rows();
  assert.equal(rows.length, 1_000);
  assert.deepEqual(new Set(rows.map(({ version }) => version)), new Set(["2"]));
});

Deno.test("a run that loses the race to another source fails and changes none of its rows", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await using other = await session(engine);
  await other.query(`begin; insert into public.etl_improved_events
    (event_id, event_type, source, payload, fingerprint, run_id)
    values ('k1', 't', 'other', '{"x": "other"}', '\\x00', etl.uuid7())`);
  const { run_id } = await engine.submit({
    source: source([{ id: "k1", x: "mine" }, { id: "k2" }]),
  });
  const ending = engine.toEnd(run_id);
  await waiting(engine, 1);
  await other.query("commit");
  const run = await ending;
  assert.equal(run.error?.type, "/api/problems/foreign-rows");
  assert.deepEqual(await engine.payloads(), { k1: { x: "other" } });
});

Deno.test("a deadlock with someone else is broken and the chunk loaded all the same", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const records = range(10, (i) => ({ id: `k${i}`, x: 1 }));
  await engine.succeed({ source: source(records) });
  await using other = await session(engine);
  await other.query("set deadlock_timeout = '1h'; begin");
  await other.query(
    "update public.etl_improved_events set updated_at = now() where event_id = 'k9'",
  );
  const { run_id } = await engine.submit({
    db_retry_initial_ms: 5,
    source: source(records.map((record) => ({ ...record, x: 2 }))),
  });
  const ending = engine.toEnd(run_id);
  await waiting(engine, 1);
  // the run holds k0 and waits for k9; now the other way round: PostgreSQL ends the run's transaction
  await other.query(
    "update public.etl_improved_events set updated_at = now() where event_id = 'k0'",
  );
  await other.query("commit");
  const run = await ending;
  assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  assert.equal(run.counts.updated, 10);
  assert.ok(
    engine.log.some((line) => /tried again.*deadlock detected/.test(line)),
    engine.log.join("\n"),
  );
});

Deno.test("a run that changes rows while another adds some loses nothing of either", async (t) => {
  await using engine = await startEngine(t, { workers: 2 });
  await engine.succeed({
    chunk_size: 1_000,
    source: source(range(1_000, (i) => ({ id: `k${i}`, x: 0 }))),
  });
  const confs = ["a", "b", "c"].map((x, n) => ({
    run_label: x,
    chunk_size: 100,
    db_max_retries: 10,
    db_retry_initial_ms: 5,
    source: source(range(800, (i) => ({ id: `k${(i * 7 + n * 300) % 1_300}`, x }))),
  }));
  const submitted = [];
  for (const conf of confs) submitted.push(await engine.submit(conf));
  await engine.sideBySide();
  const ended = await Promise.all(submitted.map(({ run_id }) => engine.toEnd(run_id)));
  for (const run of ended) assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  const expected = new Map<string, unknown>(
    range(1_000, (i) => ({ id: `k${i}`, x: 0 })).map((r) => [(r as { id: string }).id, r]),
  );
  for (const conf of confs) {
    for (const record of conf.source.records) expected.set((record as { id: string }).id, record);
  }
  assert.deepEqual(
    await engine.payloads(),
    Object.fromEntries([...expected].sort(([a], [b]) => a < b ? -1 : 1)),
  );
});

Deno.test("changed rows are locked in the order of their keys, so that two runs never wait for each other in a circle", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const keys = ["k1", "k2", "k3", "k4"];
  await engine.succeed({ source: source(keys.map((id) => ({ id, x: 1 }))) });
  await using holder = await session(engine);
  await holder.query(
    "begin; select from public.etl_improved_events where event_id = 'k2' for update",
  );
  const { run_id } = await engine.submit({
    source: source(keys.toReversed().map((id) => ({ id, x: 2 }))),
  });
  const ending = engine.toEnd(run_id);
  await waiting(engine, 1);
  // what comes before k2 is locked, nothing behind it is
  await using looker = await session(engine);
  const { rows } = await looker.query(
    "select event_id from public.etl_improved_events order by event_id for update skip locked",
  );
  assert.deepEqual(rows.map((row) => row.event_id), ["k3", "k4"]);
  await holder.query("rollback");
  assert.equal((await ending).counts.updated, 4);
});
