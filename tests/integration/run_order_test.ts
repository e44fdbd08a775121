import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { client } from "../helpers/sql_problems.ts";

Deno.test("runs are executed in the order of their requests where the last read counts, a cursor moves or a whole table is written", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const file = { type: "file", path: "a.csv" };
  const key = async (params: object) => {
    const all = { run_label: "l", schema_name: "s", table_name: "t", dry_run: false, ...params };
    const { rows } = await sql.query("select etl.order_key($1::jsonb) as key", [
      JSON.stringify(all),
    ]);
    return rows[0].key;
  };
  const version = { ...file, version: "v" };
  for (
    const [params, expected] of [
      [{ source: file }, "l s.t"],
      [{ source: { ...file, name: "shop" } }, "shop s.t"],
      [{ source: file, dry_run: true }, null],
      [{ source: version }, null],
      [{ source: { ...version, cursor: "c" } }, "l s.t"],
      [{ source: version, write: "upsert" }, null],
      [{ source: version, write: "append" }, null],
      [{ source: version, write: "history" }, null],
      [{ source: version, write: "replace" }, "l s.t"],
      [{ source: version, write: "mirror" }, "l s.t"],
      [{ source: version, deleted: null }, null],
      [{ source: version, deleted: { field: "d" } }, "l s.t"],
      [{ source: { type: "synthetic" } }, null],
      [{ source: { type: "synthetic" }, write: "replace" }, "synthetic s.t"],
      [{ source: { type: "synthetic", name: "x" }, write: "mirror" }, "x s.t"],
    ] as const
  ) assert.equal(await key(params), expected, JSON.stringify(params));
});

Deno.test("a run that comes back late is told what later ones have put into its table, and whether they replaced it", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const value = async (text: string, values: unknown[] = []) =>
    (await sql.query({ text, rowMode: "array" }, values)).rows[0]![0];
  const request = (params: object = {}) =>
    value("select etl.request_run($1::text::jsonb)", [
      JSON.stringify({
        source: { type: "file", path: "a.csv", key: "k", name: "shop" },
        ...params,
      }),
    ]);
  const set = (run: string, columns: string) =>
    sql.query(`update etl.runs set ${columns} where run_id = $1`, [run]);
  const publish = async (run: string) => {
    await set(run, "attempt = 1");
    await sql.query(
      `insert into etl.chunks (run_id, chunk_no, slice, state) values ($1, 0, '{}', 'published')`,
      [run],
    );
  };
  const order = async (run: string) => {
    const { rows } = await sql.query("select * from etl.order_of($1)", [run]);
    const { order_run_id, late, superseded } = rows[0];
    return [order_run_id, late, superseded];
  };
  const first = await request();
  const second = await request();
  assert.deepEqual(await order(first), [first, false, false]);
  await set(first, "comes_back = true");
  await set(second, "attempt = 1");
  assert.deepEqual(
    await order(first),
    [first, false, false],
    "the later one has published nothing",
  );
  await publish(second);
  assert.deepEqual(await order(first), [first, true, false]);
  assert.deepEqual(await order(second), [second, false, false], "the earlier one does not count");
  // nor does another table, schema or source
  for (
    const [elsewhere, back] of [
      ["table_name = 'other'", "table_name = 'etl_improved_events'"],
      ["schema_name = 'other'", "schema_name = 'public'"],
      [
        `params = jsonb_set(params, '{source,name}', '"other"')`,
        `params = jsonb_set(params, '{source,name}', '"shop"')`,
      ],
      ["replay_of = run_id", "replay_of = null"],
    ] as const
  ) {
    await set(second, elsewhere);
    assert.deepEqual(await order(first), [first, false, false], elsewhere);
    await set(second, back);
  }
  // what runs for the first time is executed in the order of requests
  await set(first, "comes_back = false");
  assert.deepEqual(await order(first), [first, false, false]);
  await set(first, "attempt_base = 1");
  assert.deepEqual(await order(first), [first, true, false]);
  // a replay, and one of a replay, takes the place of the first of them
  const replay = await request();
  const again = await request();
  await set(replay, `replay_of = '${first}'`);
  await set(again, `replay_of = '${replay}'`);
  assert.deepEqual(await order(replay), [first, true, false]);
  assert.deepEqual(await order(again), [first, true, false]);

  const mirror = `params = params || '{"write": "mirror"}'`;
  await set(second, mirror);
  assert.deepEqual(await order(first), [first, true, true]);
  await set(second, "params = params - 'write', cursor_key = null");
  await set(first, mirror);
  assert.deepEqual(await order(first), [first, false, false], "in any order: row by row");
  await set(second, "cursor_key = 'shop public.etl_improved_events'");
  assert.deepEqual(await order(first), [first, true, false]);
  // a replay of a mirror has only what was rejected
  await set(replay, mirror);
  await set(second, "cursor_key = null");
  assert.deepEqual(await order(replay), [first, true, false]);
});
