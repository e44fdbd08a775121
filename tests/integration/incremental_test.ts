import assert from "node:assert/strict";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { Gate } from "../helpers/gate.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query, withClient } from "../helpers/query.ts";

/** An engine beside a shop whose orders have a number that grows with every change. */
async function shop(t: { name: string }, { env = {} }: { env?: Record<string, string> } = {}) {
  const source = await testDatabase({ name: `shop of ${t.name}` }, { setUp: false });
  const engine = await startEngine(t, { env: { ETL_CONNECTION_SHOP: source.dsn, ...env } });
  const change = (statement: string) => query(source.dsn, statement);
  await change(`create table orders (id integer primary key, changed integer, v text);
    insert into orders select i, i, 'first' from generate_series(1, 3) as i`);
  return {
    engine,
    change,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await source[Symbol.asyncDispose]();
    },
  };
}

const SOURCE = {
  type: "postgres",
  connection: "shop",
  table: "orders",
  name: "shop",
  key: "id",
  cursor: "changed",
  // the row at the position itself is read again, and nothing before it
  lookback: 0,
};

const counts = ({ counts }: { counts: Record<string, number> }) => [
  counts.records_read,
  counts.inserted,
  counts.updated,
  counts.unchanged,
];

const cursors = async ({ sql }: Engine) =>
  (await sql<{ source_name: string; dataset: string; position: string }[]>`
    select source_name, dataset, position from etl.cursors order by source_name, dataset`)
    .map(({ source_name, dataset, position }) => `${source_name} ${dataset} ${position}`);

Deno.test("incremental: a run reads what has changed since the last one, whatever its label, and keeps where it got to", async (t) => {
  await using place = await shop(t);
  const { engine, change } = place;
  const load = async (run_label: string) => {
    const run = await engine.succeed({ run_label, source: SOURCE });
    const [moved] = await engine.sql`select run_id from etl.cursors`;
    assert.equal(moved!.run_id, run.run_id, "the run that moved it last");
    return run;
  };
  assert.deepEqual(counts(await load("a")), [3, 3, 0, 0]);
  assert.deepEqual(await cursors(engine), ["shop public.etl_improved_events 3"]);
  await change("update orders set v = 'second', changed = 4 where id = 1");
  // the cursor is the source's, not the label's
  assert.deepEqual(counts(await load("b")), [2, 0, 1, 1]);
  assert.deepEqual((await engine.payloads())["1"], { id: 1, changed: 4, v: "second" });
  assert.deepEqual(await cursors(engine), ["shop public.etl_improved_events 4"]);
  assert.deepEqual(counts(await load("a")), [1, 0, 0, 1]);
  assert.deepEqual(await cursors(engine), ["shop public.etl_improved_events 4"]);
});

Deno.test("incremental: each source and each table have a cursor of their own; a source without a name is called as its label", async (t) => {
  await using place = await shop(t);
  const { engine, change } = place;
  const { name: _name, ...nameless } = SOURCE;
  const load = (run_label: string, table_name: string, source: object = nameless) =>
    engine.succeed({ run_label, table_name, source });
  assert.deepEqual(counts(await load("nightly", "one")), [3, 3, 0, 0]);
  assert.deepEqual(counts(await load("nightly", "two")), [3, 3, 0, 0]);
  assert.deepEqual(counts(await load("other", "three", SOURCE)), [3, 3, 0, 0]);
  assert.deepEqual(await cursors(engine), [
    "nightly public.one 3",
    "nightly public.two 3",
    "shop public.three 3",
  ]);
  await change("insert into orders values (4, 4, 'first')");
  assert.deepEqual(counts(await load("nightly", "one")), [2, 1, 0, 1]);
  assert.deepEqual(await cursors(engine), [
    "nightly public.one 4",
    "nightly public.two 3",
    "shop public.three 3",
  ]);
});

Deno.test("incremental: full_refresh reads everything again, and the cursor goes on from there", async (t) => {
  await using place = await shop(t);
  const { engine, change } = place;
  await engine.succeed({ source: SOURCE });
  // a change that the cursor does not show
  await change("update orders set v = 'silent' where id = 2");
  await change("insert into orders values (9, 9, 'new')");
  assert.deepEqual(counts(await engine.succeed({ source: SOURCE, batch_size: 2 })), [2, 1, 0, 1]);
  assert.deepEqual((await engine.payloads())["2"], { id: 2, changed: 2, v: "first" });
  const full = await engine.succeed({ source: SOURCE, full_refresh: true });
  assert.deepEqual(counts(full), [4, 0, 1, 3]);
  assert.deepEqual((await engine.payloads())["2"], { id: 2, changed: 2, v: "silent" });
  assert.deepEqual(await cursors(engine), ["shop public.etl_improved_events 9"]);
  assert.deepEqual(counts(await engine.succeed({ source: SOURCE })), [1, 0, 0, 1]);
});

Deno.test("incremental: a run that fails, one that is dry and one that is cut short leave the cursor where it was", async (t) => {
  await using place = await shop(t);
  const { engine, change } = place;
  await engine.succeed({ source: SOURCE });
  await change("insert into orders values (4, 4, 'new'), (5, 5, 'new')");
  const dry = await engine.succeed({ source: SOURCE, dry_run: true });
  assert.deepEqual(counts(dry), [3, 2, 0, 1]);
  // half of what batch_size announces arrives
  const failed = await engine.runToEnd({ source: SOURCE, batch_size: 6 });
  assert.equal(failed.error?.type, "/api/problems/low-ratio");
  const cut = await engine.succeed({ source: SOURCE, batch_size: 1 });
  assert.deepEqual(cut.warnings, ["batch_size left rows out, so the cursor stays where it is."]);
  assert.deepEqual(await cursors(engine), ["shop public.etl_improved_events 3"]);
  assert.deepEqual(counts(await engine.succeed({ source: SOURCE })), [3, 0, 0, 3]);
});

Deno.test("incremental: rows without a value in the cursor column are told of, in the first run and in later ones", async (t) => {
  await using place = await shop(t);
  const { engine, change } = place;
  await change("update orders set changed = null where id > 1");
  const first = await engine.succeed({ source: SOURCE, chunk_size: 2 });
  assert.deepEqual(counts(first), [3, 3, 0, 0]);
  assert.deepEqual(first.warnings, [
    "2 records have no value in the cursor column changed; later runs will not see changes of theirs",
  ]);
  const later = await engine.succeed({ source: SOURCE });
  assert.deepEqual(counts(later), [1, 0, 0, 1]);
  assert.deepEqual(later.warnings, [
    "2 rows have no value in the cursor column changed and are not read; a run with full_refresh reads them.",
  ]);
  const shown = await (await engine.request(`/api/etl/runs/${first.run_id}`)).json();
  assert.deepEqual(shown.warnings, first.warnings);
});

Deno.test("incremental: runs on one cursor follow each other, whatever their label and pool, and hold up no other", async (t) => {
  await using place = await shop(t);
  const { engine } = place;
  await engine.sql`insert into etl.pools (pool, slots) values ('wide', 5), ('other', 5)`;
  const ask = async (run_label: string, conf: object) =>
    (await engine.submit({ pool: "wide", run_label, ...conf })).run_id;
  const admitted = async (id: string) => (await engine.run(id)).admitted_at !== null;
  const first = await ask("a", { source: SOURCE });
  const sameCursor = await ask("b", { source: SOURCE });
  const otherPool = await ask("c", { source: SOURCE, pool: "other" });
  const free = await ask("d", { batch_size: 1 });
  const otherTable = await ask("e", { source: SOURCE, table_name: "elsewhere" });
  const dry = await ask("f", { source: SOURCE, dry_run: true });
  const states = async () =>
    Object.fromEntries(
      await Promise.all(
        Object.entries({ first, sameCursor, otherPool, free, otherTable, dry })
          .map(async ([name, id]) => [name, await admitted(id)]),
      ),
    );
  assert.deepEqual(await states(), {
    first: true,
    sameCursor: false,
    otherPool: false,
    free: true,
    otherTable: true,
    dry: true,
  });
  assert.equal((await engine.toEnd(first)).state, "succeeded");
  // in the order of their requests, whatever their pools
  for (const [id, after] of [[sameCursor, true], [otherPool, true]] as const) {
    assert.equal(await admitted(id), after);
    if (id === sameCursor) assert.equal(await admitted(otherPool), false);
    assert.deepEqual(counts(await engine.toEnd(id)), [1, 0, 0, 1]);
  }
});

Deno.test("incremental: what shares the last position, and what is late by less than the lookback, is read; numbers too", async (t) => {
  await using place = await shop(t);
  const { engine, change } = place;
  const source = { ...SOURCE, lookback: 2 };
  await change("insert into orders values (9, 9, 'first')");
  await engine.succeed({ source });
  // one with the highest number of all, one a little lower, one that comes too late for this lookback
  await change("insert into orders values (10, 9, 'tie'), (11, 7, 'late'), (12, 6, 'too late')");
  assert.deepEqual(counts(await engine.succeed({ source })), [3, 2, 0, 1]);
  const { lookback: _none, ...byDefault } = SOURCE;
  const run = await engine.succeed({ source: byDefault });
  assert.deepEqual(counts(run), [7, 1, 0, 6]);
  assert.deepEqual(run.cursor, { column: "changed", mode: "window", from: "-9991", to: "9" });
});

for (
  const [name, type, last, stray] of [
    ["a time that is infinite", "timestamptz", "2024-01-02 00:00:00+00", "infinity"],
    ["a time in the future", "timestamptz", "2024-01-02 00:00:00+00", "2999-12-31 00:00:00+00"],
    ["a timestamp in the future", "timestamp", "2024-01-02 00:00:00", "2999-12-31 00:00:00"],
    ["a date that is infinite", "date", "2024-01-02", "infinity"],
    ["a number that is none", "numeric", "2", "NaN"],
    ["an infinite double", "double precision", "2", "Infinity"],
    ["a time before all others", "timestamptz", "2024-01-02 00:00:00+00", "-infinity"],
    ["a date before all others", "date", "2024-01-02", "-infinity"],
    ["a double below all others", "double precision", "2", "-Infinity"],
    [
      "a UUID of version 4 below the position",
      "uuid",
      "018cc820-0000-7000-8000-000000000000",
      "00000000-0000-4000-8000-000000000000",
    ],
    [
      "a UUID that is not of its time",
      "uuid",
      "018cc820-0000-7000-8000-000000000000",
      "ffffffff-ffff-7fff-8fff-ffffffffffff",
    ],
  ] as const
) {
  Deno.test(`incremental: ${name} is never a position, is told of, and read by every run`, async (t) => {
    await using place = await shop(t);
    const { engine, change } = place;
    await change(`create table strays (id integer primary key, at ${type}, v text);
      insert into strays values (1, '${last}', 'a'), (2, '${stray}', 'b')`);
    const source = { ...SOURCE, table: "strays", cursor: "at" };
    const first = await engine.succeed({ source });
    assert.match(first.warnings.join(), /1 row has a value in at that is no position .*"id": 2/);
    assert.deepEqual(await cursors(engine), [`shop public.etl_improved_events ${last}`]);
    await change(`insert into strays values (3, '${last}', 'c')`);
    await change("update strays set v = 'changed' where id = 2");
    assert.deepEqual(counts(await engine.succeed({ source })), [3, 1, 1, 1]);
    // such a position of an earlier version is not believed
    await engine.sql`update etl.cursors set position = ${stray}`;
    const again = await engine.succeed({ source });
    assert.match(again.warnings.join(), /Everything is read once: the stored position/);
    assert.deepEqual(counts(again), [3, 0, 0, 3]);
  });
}

Deno.test("incremental: a cursor of text is refused unless it is declared to sort", async (t) => {
  await using place = await shop(t);
  const { engine, change } = place;
  await change("alter table orders alter changed type text");
  const refused = await engine.runToEnd({ source: SOURCE });
  assert.equal(refused.state, "failed");
  assert.match(String(refused.error?.detail), /"10" comes before "9".*cursor_sortable/);
  const declared = await engine.succeed({ source: { ...SOURCE, cursor_sortable: true } });
  assert.deepEqual(counts(declared), [3, 3, 0, 0]);
});

for (
  const [type, value] of [
    ["timestamptz", "clock_timestamp()"],
    ["bigint", "nextval('numbers')"],
    ["xid8", "pg_current_xact_id()"],
    [
      "uuid",
      "(overlay(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') placing '-' from 9 for 0)" +
      " || '-7' || substr(gen_random_uuid()::text, 16))::uuid",
    ],
  ] as const
) {
  // the order of commits is the same for every type: one sees many runs, the others how their values are kept
  const runs = type === "bigint" ? 6 : 2;
  Deno.test(`incremental, exact: six writers that commit in any order lose no row, by ${type}`, async (t) => {
    await using place = await shop(t);
    const { engine, change } = place;
    await change(`create sequence numbers;
      create table log (id bigint generated always as identity primary key, at ${type} default ${value}, v integer)`);
    const dsn = engine.config.connections.shop!;
    const source = { ...SOURCE, table: "log", cursor: "at", cursor_mode: "exact" };
    let stop = false;
    const writer = (seed: number) =>
      withClient(dsn, async (client) => {
        for (let i = 0; !stop; i++) {
          await client.query("begin");
          await client.query(
            "insert into log (v) select g from generate_series(1, $1::integer) as g",
            [1 + i % 3],
          );
          // commits late, by a different number of other commits each time
          for (let wait = (seed * 7 + i * 5) % 6; wait > 0; wait--) await client.query("select 1");
          if ((seed + i) % 11 === 0) await client.query("rollback");
          else await client.query("commit");
        }
      });
    const writers = [1, 2, 3, 4, 5, 6].map(writer);
    // a transaction that stays open over several runs
    await withClient(dsn, async (client) => {
      await client.query("begin");
      await client.query("insert into log (v) values (-1)");
      for (let run = 0; run < runs; run++) await engine.succeed({ source });
      await client.query("commit");
    });
    for (let run = 0; run < runs; run++) await engine.succeed({ source });
    stop = true;
    await Promise.all(writers);
    const last = await engine.succeed({ source });
    assert.equal(last.cursor?.mode, "exact");
    const [there] = await query<{ n: number }>(dsn, "select count(*)::integer as n from log");
    assert.equal((await engine.rows()).length, there!.n);
    assert.equal(counts(await engine.succeed({ source }))[1], 0);
  });
}

Deno.test("incremental, exact: a view is refused; where transactions count anew everything is read", async (t) => {
  await using place = await shop(t);
  const { engine, change } = place;
  await change("create view seen as select * from orders");
  const view = await engine.runToEnd({
    source: { ...SOURCE, table: "seen", page_key: ["id"], cursor_mode: "exact" },
  });
  assert.match(String(view.error?.detail), /only tables know/);
  const source = { ...SOURCE, cursor_mode: "exact" };
  await engine.succeed({ source });
  await engine.sql`update etl.cursors set snapshot = '99999999999999'`;
  const restored = await engine.succeed({ source });
  assert.match(restored.warnings.join(), /transaction ids of the database start again/);
  assert.deepEqual(counts(restored), [3, 0, 0, 3]);
});

Deno.test("a run without a cursor warns of rows that were counted when it began and are gone before they are read", async (t) => {
  await using source = await testDatabase(t, { setUp: false });
  await query(source.dsn, "create table orders as select i as id from generate_series(1, 3) as i");
  await using engine = await startEngine(t, {
    workers: 1,
    env: { ETL_CONNECTION_SHOP: source.dsn },
  });
  await using gate = await Gate.make(`${engine.config.transformsDir}/gate`);
  await Deno.writeTextFile(
    `${engine.config.transformsDir}/waits.ts`,
    `export function transform(record) {
      if (record.id === 1) Deno.openSync(${JSON.stringify(gate.path)}).readSync(new Uint8Array(1));
      return record;
    }`,
  );
  const conf = {
    chunk_size: 1,
    transform: "waits",
    source: { type: "postgres", connection: "shop", table: "orders", page_key: ["id"] },
  };
  const { run_id } = await engine.submit(conf);
  const ended = engine.toEnd(run_id);
  await gate.arrived("record");
  await query(source.dsn, "delete from orders where id > 1");
  await gate.open();
  const { state, counts, warnings } = await ended;
  assert.deepEqual([state, counts!.records_read], ["succeeded", 1]);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /^The source had 3 rows when the run began, and 1 were read/);
  const again = await engine.succeed(conf);
  assert.deepEqual([again.counts!.records_read, again.warnings], [1, []]);
});
