import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { ownCluster } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** What changes when a row is written, locked or moved. */
async function versions(engine: Engine, table = "public.etl_improved_events"): Promise<string[]> {
  const rows = await engine.sql.unsafe<{ v: string }[]>(
    `select concat_ws(' ', event_id, ctid, xmin, xmax) as v from ${table} order by 1`,
  );
  return rows.map(({ v }) => v);
}

/** Twelve records in chunks of three; key k is in the first and in the last chunk. */
function spread(first: object, last: object): object[] {
  const others = Array.from({ length: 10 }, (_, i) => ({ id: `o${i}`, v: 1 }));
  return [{ id: "k", ...first }, ...others, { id: "k", ...last }];
}

const counts = (run: { counts: Record<string, number> }) => {
  const { inserted, updated, unchanged, duplicates } = run.counts;
  return { inserted, updated, unchanged, duplicates };
};

for (
  const [order, records] of Object.entries({
    "newest last": spread({ v: 1, x: "old" }, { v: 2, x: "new" }),
    "newest first": spread({ v: 2, x: "new" }, { v: 1, x: "old" }),
  })
) {
  Deno.test(`load: the highest version wins over all chunks, ${order}; again writes nothing`, async (t) => {
    await using engine = await startEngine(t);
    const first = await engine.load(records, { source: { version: "v" } });
    assert.equal(first.state, "succeeded");
    assert.deepEqual(counts(first), { inserted: 11, updated: 0, unchanged: 0, duplicates: 1 });
    assert.deepEqual((await engine.payloads()).k, { id: "k", v: 2, x: "new" });
    const before = await versions(engine);
    const second = await engine.load(records, { source: { version: "v" } });
    assert.deepEqual(counts(second), { inserted: 0, updated: 0, unchanged: 11, duplicates: 1 });
    assert.equal(second.ratio, 1);
    assert.deepEqual(await versions(engine), before);
  });

  Deno.test(`load: without versions the last in source order wins, ${order}; again writes nothing`, async (t) => {
    await using engine = await startEngine(t);
    await engine.load(records);
    const last = records.at(-1) as { x: string };
    assert.equal(((await engine.payloads()).k as { x: string }).x, last.x);
    const before = await versions(engine);
    const second = await engine.load(records);
    assert.deepEqual(counts(second), { inserted: 0, updated: 0, unchanged: 11, duplicates: 1 });
    assert.deepEqual(await versions(engine), before);
  });
}

Deno.test("load: of keys that stand several times in a chunk the last is loaded, new ones beside changed ones", async (t) => {
  await using engine = await startEngine(t);
  const conf = { chunk_size: 100 };
  await engine.load([{ id: "b", x: 0 }, { id: "c", x: 0 }], conf);
  const rows = ["a", "a", "a", "b", "b", "c", "c", "c", "d"].map((id, x) => ({ id, x: x + 1 }));
  const run = await engine.load(rows, conf);
  assert.deepEqual(counts(run), { inserted: 2, updated: 2, unchanged: 0, duplicates: 5 });
  assert.deepEqual(await engine.payloads(), {
    a: { id: "a", x: 3 },
    b: { id: "b", x: 5 },
    c: { id: "c", x: 8 },
    d: { id: "d", x: 9 },
  });
});

Deno.test("load: an earlier run has loaded one of the versions; the newest stays or comes", async (t) => {
  await using engine = await startEngine(t);
  const source = { version: "v" };
  await engine.load([{ id: "k", v: 2, x: "middle" }], { source });
  const run = await engine.load(spread({ v: 3, x: "new" }, { v: 1, x: "old" }), { source });
  assert.deepEqual(counts(run), { inserted: 10, updated: 1, unchanged: 0, duplicates: 1 });
  assert.deepEqual((await engine.payloads()).k, { id: "k", v: 3, x: "new" });
  const late = await engine.load(spread({ v: 1, x: "old" }, { v: 2, x: "middle" }), { source });
  assert.deepEqual(counts(late), { inserted: 0, updated: 0, unchanged: 11, duplicates: 1 });
  assert.deepEqual((await engine.payloads()).k, { id: "k", v: 3, x: "new" });
});

Deno.test("load: numeric versions compare as numbers, times as times, with every digit", async (t) => {
  await using engine = await startEngine(t);
  const source = { version: "v" };
  await engine.load([
    { id: "n", v: "10" },
    { id: "n", v: "9" },
    { id: "t", v: "2026-01-01T00:00:00+02:00" },
    { id: "t", v: "2025-12-31T23:00:00Z" },
    { id: "big", v: "9007199254740993" },
    { id: "big", v: "9007199254740992" },
  ], { source, table_name: "numbers" });
  const rows = await engine.rows("public.numbers");
  assert.deepEqual(rows.map(({ event_id, payload }) => [event_id, (payload as { v: string }).v]), [
    ["big", "9007199254740993"],
    ["n", "10"],
    ["t", "2025-12-31T23:00:00Z"],
  ]);
});

Deno.test("load: of runs without a version the one that was asked for later wins, whichever ends first", async (t) => {
  await using engine = await startEngine(t);
  const conf = (x: string) => ({
    run_label: x,
    source: { type: "inline", name: "test", key: "id", records: [{ id: "k", x }] },
  });
  const earlier = await engine.submit(conf("earlier"));
  const later = await engine.submit(conf("later"));
  assert.equal(await engine.execute(later.run_id), "nothing to do", "it waits for the earlier one");
  await engine.sideBySide();
  await engine.toEnd(later.run_id);
  const run = await engine.toEnd(earlier.run_id);
  assert.deepEqual(counts(run), { inserted: 0, updated: 0, unchanged: 1, duplicates: 0 });
  assert.deepEqual((await engine.payloads()).k, { id: "k", x: "later" });
  await engine.runToEnd(conf("latest"));
  assert.deepEqual((await engine.payloads()).k, { id: "k", x: "latest" });
});

Deno.test("load: a row says when it was first seen and when it was changed", async (t) => {
  await using engine = await startEngine(t);
  const times = async () =>
    (await engine.sql<{ first: string; updated: string }[]>`
      select first_seen_at::text as first, updated_at::text as updated from public.etl_improved_events`)[
      0
    ]!;
  await engine.load([{ id: "k", x: 1 }]);
  const first = await times();
  assert.equal(first.updated, first.first);
  await engine.load([{ id: "k", x: 1 }]);
  assert.deepEqual(await times(), first, "nothing has changed");
  await engine.load([{ id: "k", x: 2 }]);
  const then = await times();
  assert.equal(then.first, first.first);
  assert.ok(then.updated > first.updated, `${then.updated} is not later than ${first.updated}`);
});

Deno.test("load: a version beats the order of requests", async (t) => {
  await using engine = await startEngine(t);
  const source = { version: "v" };
  await engine.load([{ id: "k", v: 5 }], { source });
  const run = await engine.load([{ id: "k", v: 4 }], { source });
  assert.deepEqual(counts(run), { inserted: 0, updated: 0, unchanged: 1, duplicates: 0 });
  assert.deepEqual((await engine.payloads()).k, { id: "k", v: 5 });
});

Deno.test("load: a key that begins with a byte order mark is never taken for the one without", async (t) => {
  await using engine = await startEngine(t);
  const source = { version: "v" };
  await engine.load([{ id: "k", v: 5 }], { source });
  const run = await engine.load([{ id: "\ufeffk", v: 4 }], { source });
  assert.deepEqual(counts(run), { inserted: 1, updated: 0, unchanged: 0, duplicates: 0 });
  const again = await engine.load([{ id: "\ufeffk", v: 4 }], { source });
  assert.deepEqual(counts(again), { inserted: 0, updated: 0, unchanged: 1, duplicates: 0 });
  assert.deepEqual(Object.keys(await engine.payloads()).toSorted(), ["k", "\ufeffk"]);
});

Deno.test("load: a version beats none, whichever was asked for later", async (t) => {
  await using engine = await startEngine(t);
  const source = { version: "v" };
  await engine.load([{ id: "k", x: "none" }]);
  const newer = await engine.load([{ id: "k", v: -5 }], { source });
  assert.deepEqual(counts(newer), { inserted: 0, updated: 1, unchanged: 0, duplicates: 0 });
  const later = await engine.load([{ id: "k", x: "none" }]);
  assert.deepEqual(counts(later), { inserted: 0, updated: 0, unchanged: 1, duplicates: 0 });
  assert.deepEqual((await engine.payloads()).k, { id: "k", v: -5 });
});

Deno.test("load: a key that another source owns fails the run before anything is published", async (t) => {
  await using engine = await startEngine(t);
  await engine.load([{ id: "x", a: 1 }], { source: { name: "owner" } });
  const records = Array.from({ length: 9 }, (_, i) => ({ id: i === 8 ? "x" : `n${i}` }));
  const run = await engine.load(records, { source: { name: "intruder" } });
  assert.equal(run.state, "failed");
  assert.equal(run.error!.type, "/api/problems/foreign-rows");
  assert.match(String(run.error!.detail), /x \(source owner\)/);
  assert.deepEqual(await engine.payloads(), { x: { id: "x", a: 1 } });
  assert.equal(run.chunks.published, undefined);
  const [events] = await engine
    .sql`select count(*)::int from etl.dataset_events where run_id = ${run.run_id}`;
  assert.equal(events!.count, 0);
  // also where all of the run is one chunk
  const alone = await engine.load([{ id: "n", a: 1 }, { id: "x", a: 1 }], {
    source: { name: "intruder" },
  });
  assert.equal(alone.error?.type, "/api/problems/foreign-rows");
  assert.deepEqual(await engine.payloads(), { x: { id: "x", a: 1 } });
});

Deno.test("load: the same content under another source's key is refused, too", async (t) => {
  await using engine = await startEngine(t);
  await engine.load([{ id: "x", a: 1 }], { source: { name: "owner" } });
  const run = await engine.load([{ id: "x", a: 1 }], {
    source: { name: "intruder" },
    dry_run: true,
  });
  assert.equal(run.error?.type, "/api/problems/foreign-rows");
});

Deno.test("load: without a key the same content is one row", async (t) => {
  await using engine = await startEngine(t);
  const records = [{ a: 1, b: 2 }, { b: 2, a: 1 }, { a: 1, b: 3 }];
  const source = { type: "inline", name: "test", records };
  const run = await engine.runToEnd({ source });
  assert.deepEqual(counts(run), { inserted: 2, updated: 0, unchanged: 0, duplicates: 1 });
  assert.deepEqual([run.expected_rows, run.ratio], [2, 1]);
  const again = await engine.runToEnd({ source });
  assert.deepEqual(counts(again), { inserted: 0, updated: 0, unchanged: 2, duplicates: 1 });
});

Deno.test("load: 50,000 duplicates of one key are one row, the last", async (t) => {
  const total = 50_000;
  const lines: string[] = [];
  for (let i = 0; i < total; i++) lines.push(`{"id":"k","n":${i}}\n`);
  await using engine = await startEngine(t, { files: { "same.ndjson": lines.join("") } });
  const source = { type: "file", path: "same.ndjson", key: "id" };
  const conf = { source, chunk_size: total / 10 };
  const run = await engine.succeed(conf);
  assert.deepEqual(counts(run), { inserted: 1, updated: 0, unchanged: 0, duplicates: total - 1 });
  assert.deepEqual([run.num_chunks, run.expected_rows, run.total_rows, run.ratio], [10, 1, 1, 1]);
  assert.deepEqual(await engine.payloads(), { k: { id: "k", n: total - 1 } });
  const again = await engine.succeed(conf);
  assert.deepEqual(counts(again), { inserted: 0, updated: 0, unchanged: 1, duplicates: total - 1 });
});

Deno.test("load: a repeated run writes no row version and next to no WAL", async (t) => {
  await using cluster = await ownCluster();
  await setupDatabase(cluster.dsn);
  const database = {
    dsn: cluster.dsn,
    name: "etl",
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const wal: number[] = [];
  {
    await using engine = await startEngine(t, { database });
    const conf = { batch_size: 20_000, chunk_size: 5_000 };
    let before: string[] = [];
    for (let i = 0; i < 2; i++) {
      await engine.sql`checkpoint`;
      const [start] = await engine.sql`select pg_current_wal_lsn()::text as lsn`;
      const run = await engine.succeed(conf);
      const [end] = await engine.sql`
        select pg_wal_lsn_diff(pg_current_wal_lsn(), ${start!.lsn}::text::pg_lsn)::float8 as bytes`;
      wal.push(end!.bytes);
      if (i === 0) before = await versions(engine);
      else {
        assert.equal(run.counts.unchanged, 20_000);
        assert.deepEqual(await versions(engine), before);
      }
    }
    assert.ok(wal[1]! < wal[0]! * 0.05, `WAL of the runs: ${wal.join(", ")} bytes`);
  }
  await using reader = await startEngine(t, { database, workers: 1 });
  // sessions that have ended have reported what they did
  const stats = await waitFor(async () => {
    const [row] = await reader.sql`
      select n_tup_ins::int as ins, n_tup_upd::int as upd, n_tup_del::int as del
      from pg_stat_user_tables where relid = 'public.etl_improved_events'::regclass`;
    return row!.ins >= 20_000 ? row : null;
  });
  assert.deepEqual({ ...stats }, { ins: 20_000, upd: 0, del: 0 });
});

Deno.test("a conf that has lost its version is warned of, once its label had one", async (t) => {
  await using engine = await startEngine(t);
  const load = (source: object) => engine.load([{ id: 1, v: 1 }], { source });
  assert.deepEqual((await load({})).warnings, []);
  assert.deepEqual((await load({ version: "v" })).warnings, []);
  const [warning] = (await load({})).warnings;
  assert.match(warning!, /no version, .* before had "version": "v"\. .*read last wins/);
});
