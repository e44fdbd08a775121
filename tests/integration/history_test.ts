import assert from "node:assert/strict";
import { connect } from "../../store/pg.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";

interface Record {
  id: string;
  at: string;
  price: number;
}

const source = { key: "id", version: "at" };

async function history(engine: Engine, table: string, key: string) {
  const rows = await engine.sql.unsafe<
    {
      key: string;
      valid_from: string;
      valid_to: string | null;
      is_current: boolean;
      price: string;
    }[]
  >(
    `select ${key} as key, etl.iso(valid_from) as valid_from, etl.iso(valid_to) as valid_to, is_current, ${
      key === "key" ? "payload ->> 'price'" : "price::text"
    } as price from ${table}_history order by 1, valid_from`,
  );
  return rows.map((row) => [row.key, row.valid_from, row.valid_to, row.is_current, row.price]);
}

/** The view that these records make, whatever their order: the last of the same key and version counts. */
function model(records: Record[]) {
  const byVersion = new Map<string, Record>();
  for (const record of records) {
    byVersion.set(`${record.id} ${new Date(record.at).toISOString()}`, record);
  }
  const rows = [...byVersion.values()].sort((a, b) =>
    a.id < b.id ? -1 : a.id > b.id ? 1 : Date.parse(a.at) - Date.parse(b.at)
  );
  const iso = (at: string) => new Date(at).toISOString();
  return rows.map(({ id, at, price }, i) => {
    const next = rows[i + 1]?.id === id ? iso(rows[i + 1]!.at) : null;
    return [id, iso(at), next, next === null, `${price}`];
  });
}

/** Another order of the same things, the same for the same seed. */
function shuffled<T>(things: T[], seed: number): T[] {
  let state = seed;
  const random = () => (state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
  return things.map((thing) => ({ thing, place: random() })).sort((a, b) => a.place - b.place)
    .map(({ thing }) => thing);
}

const RECORDS: Record[] = [
  { id: "a", at: "2026-01-01T00:00:00Z", price: 1 },
  { id: "a", at: "2026-02-01T00:00:00.123456Z", price: 2 },
  { id: "a", at: "2026-03-01T01:00:00+01:00", price: 3 },
  { id: "a|b", at: "2026-01-01T00:00:00Z", price: 4 },
  { id: "b", at: "1969-12-31T23:59:59.5Z", price: 5 },
  { id: "b", at: "2026-01-01T00:00:00Z", price: 6 },
  { id: "c", at: "2026-01-02T00:00:00Z", price: 7 },
];

for (const layout of ["events", "typed"]) {
  Deno.test(`a history (${layout}) keeps every version, is the same in whatever order they come, and a repeated run writes nothing`, async (t) => {
    await using engine = await startEngine(t);
    const load = (table: string, records: Record[], more: object = {}) =>
      engine.load(records, { table_name: table, layout, write: "history", source, ...more });
    const key = layout === "events" ? "key" : "id";
    const expected = model(RECORDS).map((
      [id, ...rest],
    ) => [layout === "events" ? `${id}`.replace("|", "\\|") : id, ...rest]);
    for (const seed of [1, 2, 3]) {
      const table = `prices_${seed}`;
      const order = shuffled(RECORDS, seed);
      // in one run, in two, and one record a run
      const size = [RECORDS.length, 4, 1][seed - 1]!;
      for (let from = 0; from < order.length; from += size) {
        const run = await load(table, order.slice(from, from + size));
        assert.equal(run.state, "succeeded", JSON.stringify(run.error));
      }
      assert.deepEqual(await history(engine, table, key), expected, `seed ${seed}`);
    }
    const [exact] = await engine.sql.unsafe<{ count: number }[]>(
      `select count(*)::integer as count from prices_1_history
      where valid_from in ('2026-02-01T00:00:00.123456Z', '1969-12-31T23:59:59.5Z')`,
    );
    assert.equal(exact!.count, 2);
    // whoever reads a view holds no run up, and sees through it what he may see of the table
    const reader = await connect(engine.db.dsn);
    await reader.query("begin; select from prices_1_current");
    const again = await load("prices_1", shuffled(RECORDS, 9));
    await reader.query("rollback");
    const { rows: views } = await reader.query(
      "select reloptions from pg_class where relname in ('prices_1_current', 'prices_1_history')",
    );
    await reader.end();
    assert.deepEqual(
      views.map(({ reloptions }) => reloptions),
      Array(2).fill(["security_invoker=true"]),
    );
    assert.deepEqual([again.counts.unchanged, again.counts.updated], [RECORDS.length, 0]);
    // another spelling of a time is the same version; its content is that of the last request, also where the conf leaves write out
    const corrected = await engine.load(
      [{ id: "a", at: "2026-03-01T00:00:00Z", price: 33 }],
      { table_name: "prices_1", layout, source },
    );
    assert.deepEqual([corrected.counts.inserted, corrected.counts.updated], [0, 1]);
    const [current] = await engine.sql.unsafe<{ price: string }[]>(
      `select ${
        layout === "events" ? "payload ->> 'price'" : "price::text"
      } as price from prices_1_current where ${key} = 'a'`,
    );
    assert.equal(current!.price, "33");

    const forgotten = await engine.request("/api/datasets/public.prices_1/forget", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ key: "a" }),
    });
    assert.equal((await forgotten.json()).rows, 3);
    assert.deepEqual(
      (await history(engine, "prices_1", key)).map(([id]) => id),
      [layout === "events" ? "a\\|b" : "a|b", "b", "b", "c"],
    );
  });
}

Deno.test("a history needs a key and a time as version, and is not mixed with other ways to write", async (t) => {
  await using engine = await startEngine(t);
  const load = (more: object, of: object = source, records: unknown[] = RECORDS.slice(0, 2)) =>
    engine.load(records, { table_name: "prices", write: "history", ...more, source: of });
  const refused = async (more: object, field: string, of: object = source) => {
    await assert.rejects(load(more, of), (error: Error & { detail?: string }) => {
      assert.equal(JSON.parse(error.detail ?? "{}").errors?.[0]?.field, field, `${error.detail}`);
      return true;
    });
  };
  await refused({}, "source.version", { key: "id" });
  await refused({}, "source.key", { key: undefined, version: "at" });
  await refused({}, "source.key", { key: ["id", "at"], version: "at" });
  await refused({ table_name: "t".repeat(56) }, "table_name");
  const misfit = await load({ min_acceptance_ratio: 0 }, source, [...RECORDS.slice(0, 2), {
    id: "z",
    at: "5",
    price: 1,
  }]);
  assert.equal(misfit.counts.rejected, 1, JSON.stringify(misfit.error));
  await refused({ write: "upsert" }, "write");
  await refused({ write: "append" }, "write");
  await engine.load([{ id: 1 }], { table_name: "others" });
  await refused({ table_name: "others" }, "write");
  await engine.load([{ id: 1 }], { table_name: "typed", layout: "typed" });
  await refused({ table_name: "typed", layout: "typed" }, "write");
  const untimed = await load({ table_name: "numbers", layout: "typed" }, {
    key: "id",
    version: "price",
  });
  assert.match(JSON.stringify(untimed.error ?? untimed.warnings), /time|rejected/);
  assert.notEqual(untimed.counts.inserted, 2);

  const typed = await load({ table_name: "days", layout: "typed" }, source, [
    { id: 1, at: "2026-01-01", price: 1 },
    { id: 1, at: "2026-01-02", price: 2 },
  ]);
  assert.equal(typed.state, "succeeded", JSON.stringify(typed.error));
  const wider = await load(
    { table_name: "days", layout: "typed", schema_policy: "evolve" },
    source,
    [
      { id: 1, at: "2026-01-03", price: 3, note: "x" },
    ],
  );
  assert.equal(wider.state, "succeeded", JSON.stringify(wider.error));
  // a wider type is refused while something is built on the column, or on the views
  const alter = async (types: object) => {
    const answer = await engine.request("/api/datasets/public.days/columns", {
      method: "PATCH",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ types }),
    });
    return `${answer.status} ${(await answer.json()).detail ?? ""}`;
  };
  for (
    const built of [
      "view days_seen as select price from days_history",
      "view days_mine as select price from days",
    ]
  ) {
    await engine.sql.unsafe(`create ${built}`);
    assert.match(await alter({ price: "numeric" }), /^409 .*public\.days.*days_(?:seen|mine)/);
    await engine.sql.unsafe(`drop ${built.split(" as ")[0]}`);
  }
  assert.equal(await alter({ price: "numeric" }), "200 ");
  const [price] = await engine.sql`select pg_typeof(price)::text as type from days_current`;
  assert.equal(price!.type, "numeric");

  const rows = await engine.sql<{ note: string | null; valid_from: string }[]>`
    select note, etl.iso(valid_from) as valid_from from days_current`;
  assert.deepEqual(rows.map((row) => ({ ...row })), [{
    note: "x",
    valid_from: "2026-01-03T00:00:00.000Z",
  }]);
  await engine.submit({
    source: { ...source, type: "inline", records: [] },
    write: "history",
    table_name: "t".repeat(55),
    dry_run: true,
  });
});
