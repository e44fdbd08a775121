import assert from "node:assert/strict";
import { type Engine, startEngine } from "../helpers/engine.ts";

/** Loads records into the typed table `orders`, unless told otherwise. */
function load(
  engine: Engine,
  records: unknown[],
  { source, ...params }: { source?: object; [param: string]: unknown } = {},
) {
  return engine.runToEnd({
    table_name: "orders",
    layout: "typed",
    chunk_size: 3,
    ...params,
    source: { type: "inline", name: "test", key: "id", records, ...source },
  });
}

const counts = (run: { state: string; error: unknown; counts: Record<string, number> }) => {
  assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  const { inserted, updated, unchanged, duplicates, rejected } = run.counts;
  return [inserted, updated, unchanged, duplicates, rejected];
};

async function columns(engine: Engine, table = "orders") {
  return await engine.sql<{ name: string; type: string }[]>`
    select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
    where attrelid = to_regclass(${table}) and attnum > 0 and not attisdropped order by attnum`;
}

Deno.test("a first load into a typed table makes columns of the narrowest types that hold what was read", async (t) => {
  await using engine = await startEngine(t);
  const records = [
    { id: 1, "Total Price": 12, paid: true, day: "2026-01-31", at: "2026-01-31T10:00:00+02:00", tags: ["a"], note: "x" },
    { id: 2, "Total Price": 19.9, paid: false, day: "2026-02-01", at: "2026-02-01", tags: {}, note: "2026-01-01" },
    { id: 3, big: 9007199254740993n.toString(), paid: null, note: null },
    { id: 4, note: "" },
  ];
  assert.deepEqual(counts(await load(engine, records)), [4, 0, 0, 0, 0]);
  assert.deepEqual((await columns(engine)).map(({ name, type }) => `${name} ${type}`), [
    "id bigint",
    "total_price numeric",
    "paid boolean",
    "day date",
    "at timestamp with time zone",
    "tags jsonb",
    "note text",
    "big text",
    "_etl_first_seen_at timestamp with time zone",
    "_etl_updated_at timestamp with time zone",
    "_etl_run_id uuid",
    "_etl_fingerprint bytea",
  ]);
  const rows = await engine.sql`
    select id::text, total_price::text as price, paid, day::text, at at time zone 'UTC' = '2026-01-31 08:00' as at, tags::text, note
    from orders order by id`;
  assert.deepEqual({ ...rows[0] }, {
    id: "1", price: "12", paid: true, day: "2026-01-31", at: true, tags: '["a"]', note: "x",
  });
  assert.deepEqual([rows[1]!.price, rows[2]!.paid, rows[3]!.note], ["19.9", null, ""]);
  const [primary] = await engine.sql`
    select pg_get_constraintdef(oid) as key from pg_constraint where conrelid = 'orders'::regclass and contype = 'p'`;
  assert.equal(primary!.key, "PRIMARY KEY (id)");
  assert.deepEqual(counts(await load(engine, records)), [0, 0, 4, 0, 0]);
});
