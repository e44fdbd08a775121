import assert from "node:assert/strict";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";

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
  const load = (run_label: string) => engine.succeed({ run_label, source: SOURCE });
  assert.deepEqual(counts(await load("a")), [3, 3, 0, 0]);
  assert.deepEqual(await cursors(engine), ["shop public.etl_improved_events 3"]);
  await change("update orders set v = 'second', changed = 4 where id = 1");
  // the cursor is the source's, not the label's
  assert.deepEqual(counts(await load("b")), [1, 0, 1, 0]);
  assert.deepEqual((await engine.payloads())["1"], { id: 1, changed: 4, v: "second" });
  assert.deepEqual(await cursors(engine), ["shop public.etl_improved_events 4"]);
  assert.deepEqual(counts(await load("a")), [0, 0, 0, 0]);
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
  assert.deepEqual(counts(await load("nightly", "one")), [1, 1, 0, 0]);
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
  assert.deepEqual(counts(await engine.succeed({ source: SOURCE, batch_size: 1 })), [1, 1, 0, 0]);
  assert.deepEqual((await engine.payloads())["2"], { id: 2, changed: 2, v: "first" });
  const full = await engine.succeed({ source: SOURCE, full_refresh: true });
  assert.deepEqual(counts(full), [4, 0, 1, 3]);
  assert.deepEqual((await engine.payloads())["2"], { id: 2, changed: 2, v: "silent" });
  assert.deepEqual(await cursors(engine), ["shop public.etl_improved_events 9"]);
  assert.deepEqual(counts(await engine.succeed({ source: SOURCE })), [0, 0, 0, 0]);
});

Deno.test("incremental: a run that fails, one that is dry and one that is cut short leave the cursor where it was", async (t) => {
  await using place = await shop(t);
  const { engine, change } = place;
  await engine.succeed({ source: SOURCE });
  await change("insert into orders values (4, 4, 'new'), (5, 5, 'new')");
  const dry = await engine.succeed({ source: SOURCE, dry_run: true });
  assert.deepEqual(counts(dry), [2, 2, 0, 0]);
  // half of what batch_size announces arrives
  const failed = await engine.runToEnd({ source: SOURCE, batch_size: 4 });
  assert.equal(failed.error?.type, "/api/problems/low-ratio");
  const cut = await engine.succeed({ source: SOURCE, batch_size: 1 });
  assert.deepEqual(cut.warnings, ["batch_size left rows out, so the cursor stays where it is."]);
  assert.deepEqual(await cursors(engine), ["shop public.etl_improved_events 3"]);
  assert.deepEqual(counts(await engine.succeed({ source: SOURCE })), [2, 0, 0, 2]);
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
  assert.deepEqual(counts(later), [0, 0, 0, 0]);
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
    assert.deepEqual(counts(await engine.toEnd(id)), [0, 0, 0, 0]);
  }
});
