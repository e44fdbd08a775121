import assert from "node:assert/strict";
import { allowLargeJoins, comparison, type KeyedRun, keysIn } from "../../store/event_keys.ts";
import { connect } from "../../store/pg.ts";
import { startEngine } from "../helpers/engine.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** A destination of 20,000 rows, against which a run of twelve records in four chunks is small. */
async function largeTable(t: Deno.TestContext) {
  const engine = await startEngine(t);
  await engine.load([{ id: "seed", v: 0 }], { source: { version: "v" } });
  // a vacuum summarizes the BRIN index, for which it reads rows as a scan does
  await engine.sql`alter table public.etl_improved_events set (autovacuum_enabled = off)`;
  // read once: statistics of this come late, when the test has begun to count
  await engine.sql`
    with e as materialized (select source, run_id from public.etl_improved_events)
    insert into public.etl_improved_events (event_id, event_type, source, version, payload, fingerprint, run_id)
    select 'row' || i, 'event', e.source, 1, jsonb_build_object('id', 'row' || i, 'v', 1), sha256(i::text::bytea), e.run_id
    from e, generate_series(1, 20000) as i`;
  await engine.sql`analyze public.etl_improved_events`;
  return engine;
}

const counts = (run: { counts: Record<string, number> }) => {
  const { inserted, updated, unchanged, duplicates } = run.counts;
  return { inserted, updated, unchanged, duplicates };
};

const records = [
  ...[1, 5_000, 10_000, 15_000, 20_000].map((i) => ({ id: `row${i}`, v: 2, x: "changed" })),
  ...["a", "b", "c", "d", "e"].map((id) => ({ id, v: 1 })),
  { id: "row7", v: 0, x: "older" },
  { id: "row5000", v: 3, x: "newest" },
];

Deno.test("load: a run that is small against its table looks its keys up and never reads the table", async (t) => {
  await using engine = await largeTable(t);
  const { sql } = engine;
  type Stats = { seq: number; idx: number };
  const stats = async (): Promise<Stats> => {
    const [row] = await sql<Stats[]>`
      select seq_tup_read::float8 as seq, idx_scan::float8 as idx from pg_stat_user_tables
      where relid = 'public.etl_improved_events'::regclass`;
    return row!;
  };
  const before = await stats();
  const first = await engine.load(records, { source: { version: "v" } });
  assert.equal(first.state, "succeeded");
  assert.deepEqual(counts(first), { inserted: 5, updated: 5, unchanged: 1, duplicates: 1 });
  const stored = await sql<{ payload: unknown }[]>`
    select payload from public.etl_improved_events where event_id in ('row5000', 'row7') order by event_id`;
  assert.deepEqual(stored.map(({ payload }) => payload), [
    { id: "row5000", v: 3, x: "newest" },
    { id: "row7", v: 1 },
  ]);
  const again = await engine.load(records, { source: { version: "v" } });
  assert.deepEqual(counts(again), { inserted: 0, updated: 0, unchanged: 11, duplicates: 1 });
  const after = await waitFor(async () => {
    const now = await stats();
    return now.idx >= before.idx + 24 ? now : null;
  });
  // whether it holds anything costs a row
  assert.ok(after.seq - before.seq < 1_000, `${after.seq - before.seq} rows read`);
});

Deno.test("load: rows of another source that single chunks find are refused together, before anything is published", async (t) => {
  await using engine = await largeTable(t);
  const run = await engine.load(records, { source: { version: "v", name: "another" } });
  assert.equal(run.state, "failed");
  assert.match(
    String(run.error?.detail),
    /^7 records of this run have keys of rows that another source owns/,
  );
  assert.equal((await engine.payloads()).a, undefined);
});

Deno.test("load: a comparison with a large table is shared by processes of PostgreSQL", async (t) => {
  await using engine = await largeTable(t);
  await engine.sql`
    create unlogged table public.keys as
    select event_id, fingerprint, version, 0 as chunk_no, row_number() over ()::integer as position
    from public.etl_improved_events`;
  await engine.sql`analyze public.keys`;
  const { text } = comparison(keysIn("public.keys"), {
    orderRunId: crypto.randomUUID(),
    late: false,
    appends: false,
    superseded: false,
    buries: false,
    sourceName: "test",
    params: { schema_name: "public", table_name: "etl_improved_events" },
    table: null,
  } as KeyedRun, { literals: true });
  const client = await connect(engine.db.dsn);
  try {
    await client.query("begin");
    await allowLargeJoins(client);
    // as if there were a hundred times as many
    await client.query(
      "set local parallel_setup_cost = 10; set local min_parallel_table_scan_size = 0",
    );
    const { rows } = await client.query(`explain ${text}`);
    assert.match(rows.map((row) => row["QUERY PLAN"]).join("\n"), /Gather/);
  } finally {
    await client.end();
  }
});
