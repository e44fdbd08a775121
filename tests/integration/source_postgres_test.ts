import assert from "node:assert/strict";
import pg from "pg";
import { Canonicalizer } from "../../pipeline/canonical.ts";
import { digitsOf, ExactNumber, put } from "../../pipeline/numbers.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { planSource, previewSource, readSource } from "../../pipeline/sources/adapters.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import { lacks } from "../helpers/needs.ts";
import { pgbouncerIsInstalled, startBouncer } from "../helpers/pgbouncer.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { readAll, sourceConf, type SourceContext, SourceFolder } from "../helpers/sources.ts";

/** A database with some tables, and a context whose connection "shop" is it. */
async function shop(
  t: Deno.TestContext,
  sql: string,
): Promise<
  AsyncDisposable & {
    ctx: SourceContext;
    run: (sql: string) => Promise<void>;
    count: (from: string) => Promise<number>;
  }
> {
  const database = await testDatabase(t, { setUp: false });
  // pages of 16 rows
  const folder = await SourceFolder.create({ connections: { shop: database.dsn }, pageSize: 1 });
  const query = async (text: string) => {
    const client = new pg.Client({ connectionString: database.dsn });
    await client.connect();
    try {
      return await client.query(text);
    } finally {
      await client.end();
    }
  };
  const run = async (text: string) => void await query(text);
  await run(sql);
  return {
    ctx: folder.ctx,
    run,
    count: async (from) => Number((await query(`select count(*) from ${from}`)).rows[0].count),
    async [Symbol.asyncDispose]() {
      await folder[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function rejection(promise: Promise<unknown>): Promise<Problem> {
  const error = await promise.then(() => assert.fail("did not fail"), (error) => error);
  assert.ok(error instanceof Problem, String(error?.stack ?? error));
  return error;
}

const ORDERS = `
  create table orders (region text, no bigint, amount numeric, primary key (region, no));
  insert into orders
    select chr(97 + (i % 3)::int), i, i * 1.5 from generate_series(1, 100) as i;`;

Deno.test("postgres source reads few pages, bounded by bytes, also where rows are suddenly larger", async (t) => {
  await using db = await shop(
    t,
    `create table bodies (id int primary key, body text);
     insert into bodies select i, repeat(case when i > 20000 then 'é' else 'x' end, case when i > 20000 then 500000 else 1000 end)
     from generate_series(1, 20060) as i;`,
  );
  // each page is a transaction
  const query = "select *, now() as page from bodies";
  const conf = sourceConf({
    type: "postgres",
    connection: "shop",
    query,
    key: "id",
    page_key: ["id"],
  });
  const ctx = { ...db.ctx, pageSize: 1_000 };
  const ids: number[] = [];
  const pages = new Map<unknown, { rows: number; bytes: number }>();
  for (const slice of structuredClone((await planSource(conf, ctx)).slices)) {
    for await (const batch of readSource(conf, slice, ctx)) {
      assert.ok(batch.length <= 1_000);
      for (const { id, body, page } of batch as SourceRecord[]) {
        ids.push(Number(id));
        const text = String(body);
        assert.ok(text === (text.length === 1000 ? "x".repeat(1000) : "é".repeat(500_000)));
        const sum = pages.get(page) ?? { rows: 0, bytes: 0 };
        pages.set(page, { rows: sum.rows + 1, bytes: sum.bytes + new Blob([text]).size });
      }
    }
  }
  assert.deepEqual(ids, Array.from({ length: 20_060 }, (_, i) => i + 1));
  const sizes = [...pages.values()];
  for (const { bytes } of sizes) assert.ok(bytes <= 9_500_000, `a page of ${bytes} bytes`);
  assert.ok(sizes.length <= 16, `${sizes.length} pages`);
  const large = "select * from bodies where id > 20000";
  const { records } = await previewSource(
    sourceConf({ type: "postgres", connection: "shop", query: large, key: "id", page_key: ["id"] }),
    ctx,
    50,
  );
  assert.ok(records.length >= 8 && records.length <= 10, `${records.length} records`);
});

Deno.test("postgres source fetches the next page while one is worked on", async (t) => {
  // asked for rows of the page alone, as it is stable
  await using db = await shop(
    t,
    `create table steps as select generate_series(1, 100) as id;
     create function waits(id int) returns int stable language plpgsql as
       'begin if id = 20 then perform pg_advisory_xact_lock_shared(41); end if; return id; end'`,
  );
  const query = "select id, waits(id) from steps";
  const conf = sourceConf({ type: "postgres", connection: "shop", query, page_key: ["id"] });
  const waiting = "pg_locks where locktype = 'advisory' and objid = 41 and not granted";
  await using holder = new AsyncDisposableStack();
  const client = new pg.Client({ connectionString: db.ctx.connections.shop! });
  await client.connect();
  holder.defer(() => client.end());
  const [slice] = (await planSource(conf, db.ctx)).slices;
  await client.query("select pg_advisory_lock(41)");
  const ids: unknown[] = [];
  for await (const batch of readSource(conf, structuredClone(slice!), db.ctx)) {
    // the second page has the row that waits
    if (ids.length === 0) {
      await waitFor(async () => await db.count(waiting) === 1);
      await client.query("select pg_advisory_unlock(41)");
    }
    ids.push(...batch.map((record) => (record as SourceRecord).id));
  }
  assert.deepEqual(ids, Array.from({ length: 100 }, (_, i) => i + 1));
});

Deno.test({
  name: "postgres source is read through PgBouncer in transaction mode",
  ignore: !await pgbouncerIsInstalled(),
  async fn(t) {
    await using db = await shop(t, ORDERS);
    await using bouncer = await startBouncer(db.ctx.connections.shop!);
    const ctx = { ...db.ctx, connections: { shop: bouncer.dsn }, chunkSize: 40 };
    const conf = { type: "postgres", connection: "shop", table: "orders" };
    // several at once share its connections
    const [direct, ...through] = await Promise.all(
      [{ ...ctx, connections: db.ctx.connections }, ctx, ctx, ctx].map((ctx) => readAll(conf, ctx)),
    );
    for (const { records, slices } of through) {
      assert.deepEqual(records, direct!.records);
      assert.equal(slices.length, 3);
    }
  },
});

Deno.test("postgres source that loses its connection in a page may be tried again", async (t) => {
  await using db = await shop(
    t,
    `create table steps as select generate_series(1, 100) as id;
     create function ends(id int) returns int stable language plpgsql as
       'begin if id = 40 then perform pg_terminate_backend(pg_backend_pid()); end if; return id; end'`,
  );
  const query = "select id, ends(id) from steps";
  const conf = sourceConf({ type: "postgres", connection: "shop", query, page_key: ["id"] });
  const [slice] = (await planSource(conf, db.ctx)).slices;
  const ids: unknown[] = [];
  const problem = await rejection((async () => {
    for await (const batch of readSource(conf, structuredClone(slice!), db.ctx)) {
      ids.push(...batch.map((record) => (record as SourceRecord).id));
    }
  })());
  assert.equal(problem.transient, true);
  // whole pages before it, in which each row is one that stands there
  assert.deepEqual(ids, Array.from({ length: ids.length }, (_, i) => i + 1));
  assert.ok(ids.length > 0 && ids.length < 40, `${ids.length} rows`);
});

Deno.test({
  name: "postgres source says what to do about a row that is larger than any text",
  ignore: lacks(Deno.env.has("ETL_TEST_LONG"), "`deno task test:full` has the long tests"),
  async fn(t) {
    await using db = await shop(t, "create table large (id int primary key, a text, b text)");
    await db.run(
      "insert into large values (1, repeat('x', 300000000), repeat('y', 300000000)), (2, 'x', 'y')",
    );
    const source = { type: "postgres", connection: "shop", page_key: ["id"] };
    const problem = await rejection(readAll({ ...source, table: "large" }, db.ctx));
    assert.match(
      problem.message,
      /large of connection "shop" has a row of more than 511 MiB.*leaves its large columns out/,
    );
    const { records } = await readAll({ ...source, query: "select id from large" }, db.ctx);
    assert.equal(records.length, 2);
  },
});

Deno.test("postgres source counts rows whose json has a name twice", async (t) => {
  await using db = await shop(
    t,
    `create table docs (id int primary key, doc json);
     insert into docs values (1, '{"a": ": \\": ", "b": {"a": 1}}'), (2, '{"a" : 1, "b": 2, "a": 3}'), (3, null), (4, '[{"x":1},{"x":1,"x":2}]');`,
  );
  const conf = sourceConf({ type: "postgres", connection: "shop", table: "docs", key: "id" });
  const expected = { records: 2, example: '"a" in column doc of docs of connection "shop"' };
  assert.deepEqual((await previewSource(conf, db.ctx, 10)).records.repeatedNames, expected);
  for (const slice of structuredClone((await planSource(conf, db.ctx)).slices)) {
    for await (const batch of readSource(conf, slice, db.ctx)) {
      assert.deepEqual(batch.repeatedNames, expected);
    }
  }
});

Deno.test("postgres source reads declared columns as they are declared, in runs and previews", async (t) => {
  await using db = await shop(
    t,
    `create table texts (id int primary key, price text, sold text, flag text, note text, n int);
     insert into texts values (1, '1.234,50', '31/01/2026', 'ja', 'n/a', 1), (2, '2,5', '01/02/2026', 'nein', 'x', 2),
       (3, 'dear', '01/02/2026', 'ja', null, 3);`,
  );
  const source = {
    type: "postgres",
    connection: "shop",
    table: "texts",
    key: "id",
    columns: {
      price: { type: "numeric(12,2)", decimal: ",", thousands: "." },
      sold: { type: "date", format: "%d/%m/%Y" },
      flag: { type: "boolean", true_values: ["ja"], false_values: ["nein"] },
      n: "text",
    },
    null_values: ["n/a"],
  };
  const { records, unreadable } = await readAll(source, db.ctx);
  const preview = await previewSource(sourceConf(source), db.ctx, 10);
  const canonical = new Canonicalizer();
  const texts = (of: unknown[]) => of.map((record) => canonical.text(record as SourceRecord));
  assert.deepEqual(texts(records), [
    '{"flag":true,"id":1,"n":"1","note":null,"price":1234.50,"sold":"2026-01-31"}',
    '{"flag":false,"id":2,"n":"2","note":"x","price":2.5,"sold":"2026-02-01"}',
  ]);
  assert.deepEqual(texts(preview.records.slice(0, 2)), texts(records));
  for (const wrong of [unreadable[0], preview.records[2]]) {
    assert.match((wrong as unknown as { message: string }).message, /price.*dear/);
  }
});

Deno.test("postgres source reads each row once, whatever the chunk and page size", async (t) => {
  await using db = await shop(t, ORDERS);
  const expected =
    (await readAll({ type: "postgres", connection: "shop", table: "orders" }, db.ctx))
      .records;
  assert.equal(expected.length, 100);
  assert.deepEqual(expected[0], { region: "a", no: 3, amount: 4.5 });
  for (const chunkSize of [1, 9, 10, 99, 100, 101]) {
    const { plan, slices, records } = await readAll(
      { type: "postgres", connection: "shop", table: "public.orders" },
      { ...db.ctx, chunkSize },
    );
    assert.deepEqual(records, expected, `chunkSize ${chunkSize}`);
    assert.equal(plan.records, 100);
    assert.equal(slices.length, Math.ceil(100 / chunkSize));
    for (const slice of slices.slice(0, -1)) assert.equal(slice.length, chunkSize);
  }
});

Deno.test("postgres source has the same chunks, whether its primary key's index alone tells them or not", async (t) => {
  await using db = await shop(
    t,
    `create table sold ("On" date, no int, note json, primary key ("On", no) include (note));
     insert into sold select '2026-01-01'::date + i % 7, i, to_json(i) from generate_series(1, 103) as i;`,
  );
  const conf = sourceConf({ type: "postgres", connection: "shop", table: "sold" });
  /** What vacuum would write. */
  const visible = (pages: number) =>
    db.run(`update pg_class set relpages = 100, relallvisible = ${pages} where relname = 'sold'`);
  for (const chunkSize of [1, 10, 102, 103, 104]) {
    const plan = () => planSource(conf, { ...db.ctx, chunkSize });
    await visible(89);
    const numbered = await plan();
    await visible(90);
    assert.deepEqual(await plan(), numbered);
    assert.equal(numbered.slices.length, Math.ceil(103 / chunkSize));
    assert.equal(numbered.records, 103);
  }
  await db.run("delete from sold");
  assert.deepEqual((await planSource(conf, db.ctx)).slices, []);
});

Deno.test("postgres source keeps to maxRecords and to the rows of its plan", async (t) => {
  await using db = await shop(t, ORDERS);
  const conf = { type: "postgres", connection: "shop", table: "orders" };
  const capped = await readAll(conf, { ...db.ctx, maxRecords: 25, chunkSize: 10 });
  assert.deepEqual(capped.slices.map((slice) => slice.length), [10, 10, 5]);

  const { plan } = await readAll(conf, db.ctx);
  await db.run("insert into orders values ('zz', 1, 1)");
  const again = await readAll(conf, { ...db.ctx, pin: plan.pin });
  assert.deepEqual(again.plan, plan);
  assert.equal(again.records.length, 100);
});

const MEANWHILE = {
  "another type": "alter table orders alter amount type text using lpad(amount::text, 9, '0')",
  "a column that is gone": "alter table orders drop amount",
  "another column of that name":
    "alter table orders drop note; alter table orders add note numeric",
  "another table of that name":
    "alter table orders rename to older; create table orders as select * from older",
};

for (const [what, sql] of Object.entries(MEANWHILE)) {
  Deno.test(`postgres source fails where there is ${what} before a slice is read, or between its pages`, async (t) => {
    await using db = await shop(t, `${ORDERS} alter table orders add note numeric`);
    const conf = sourceConf({ type: "postgres", connection: "shop", table: "orders" });
    const { slices } = await planSource(conf, { ...db.ctx, chunkSize: 50 });
    const [begun, next] = slices.map((slice) =>
      readSource(conf, slice, db.ctx)[Symbol.asyncIterator]()
    );
    const { value: page } = await begun!.next();
    assert.equal(page!.length, 16);
    // one page is fetched while another is worked on
    await begun!.next();
    await db.run(sql);
    for (const reading of [begun!, next!]) {
      const rest = Array.fromAsync({ [Symbol.asyncIterator]: () => reading });
      const { type, message } = await rejection(rest);
      assert.equal(type, "source-changed");
      assert.match(message, /^orders of connection "shop" has other columns/);
    }
  });
}

Deno.test("postgres source says that texts of a foreign table may be sorted differently there, and refuses exact cursors of one", async (t) => {
  await using db = await shop(t, "create table plain (k text primary key, n int)");
  const { hostname, port, username, password, pathname } = new URL(db.ctx.connections.shop!);
  await db.run(
    `create extension postgres_fdw;
     create server there foreign data wrapper postgres_fdw
       options (host '${hostname}', port '${port}', dbname '${pathname.slice(1)}');
     create user mapping for current_user server there
       options (user '${username}', password '${decodeURIComponent(password)}');
     create table parted (k text, n int) partition by range (n);
     create foreign table part partition of parted for values from (0) to (9)
       server there options (table_name 'plain');
     create view seen as select * from parted;
     insert into plain values ('a', 1), ('B', 2), ('c', 3)`,
  );
  const read = async (rest: object) =>
    await readAll({ type: "postgres", connection: "shop", key: ["k", "n"], ...rest }, db.ctx);
  for (const table of ["part", "parted", "seen"]) {
    const { plan, records } = await read({ table, page_key: ["n", "k"] });
    assert.equal(records.length, 3);
    assert.equal(plan.pin.steady, false);
    assert.match(plan.warnings[0]!, new RegExp(`^Rows of ${table} of .* page key k is text`));
  }
  const query = 'select k collate "C" as k, n from seen';
  const steady = [{ table: "plain" }, { table: "part", page_key: ["n"] }, {
    query,
    page_key: ["k"],
  }];
  for (const rest of steady) {
    const { plan, records } = await read(rest);
    assert.deepEqual([records.length, plan.warnings, plan.pin.steady], [3, [], undefined]);
  }
  const exact = read({ table: "parted", page_key: ["n"], cursor: "n", cursor_mode: "exact" });
  assert.match((await rejection(exact)).message, /"exact".*only tables know, foreign ones not/);
});

Deno.test("postgres source reads the columns that there were when it was planned: one that comes later is in no row", async (t) => {
  await using db = await shop(t, ORDERS);
  const conf = sourceConf({ type: "postgres", connection: "shop", table: "orders" });
  const { slices } = await planSource(conf, { ...db.ctx, chunkSize: 50 });
  const records: SourceRecord[] = [];
  for (const slice of slices) {
    for await (const batch of readSource(conf, slice, db.ctx)) {
      if (records.length === 0) await db.run("alter table orders add note text default 'new'");
      records.push(...batch as SourceRecord[]);
    }
  }
  assert.equal(records.length, 100);
  for (const record of records) assert.deepEqual(Object.keys(record), ["region", "no", "amount"]);
});

Deno.test("postgres source says that it may miss rows whose page key changes, unless that is part of what identifies them", async (t) => {
  await using db = await shop(
    t,
    ORDERS + "create table stock (id serial primary key, sku text not null unique);" +
      "insert into stock (sku) select 's' || i from generate_series(1, 20) as i",
  );
  const steady = async (table: string, key: unknown, more = {}) => {
    const conf = sourceConf({ type: "postgres", connection: "shop", table, key, ...more });
    return (await planSource(conf, { ...db.ctx, chunkSize: 7 })).pin.steady;
  };
  assert.equal(await steady("orders", ["region", "no"]), undefined);
  assert.equal(await steady("orders", ["no", "amount", "region"]), undefined);
  assert.equal(await steady("orders", undefined), undefined, "all of a record identifies it");
  assert.equal(await steady("orders", "no"), false);
  assert.equal(await steady("orders", ["region", "no.no"]), false);
  assert.equal(await steady("stock", "sku"), false);
  assert.equal(await steady("stock", "sku", { page_key: ["sku"] }), undefined);
  // s1 is there all the time
  const conf = sourceConf({ type: "postgres", connection: "shop", table: "stock", key: "sku" });
  const { slices } = await planSource(conf, { ...db.ctx, chunkSize: 7 });
  await db.run(
    "begin; delete from stock where sku = 's1'; insert into stock (sku) values ('s1'); commit",
  );
  const found: unknown[] = [];
  for (const slice of slices) {
    for await (const batch of readSource(conf, slice, db.ctx)) {
      found.push(...batch.map((record) => (record as SourceRecord).sku));
    }
  }
  assert.equal(found.length, 19);
});

Deno.test("postgres source reads a query, and quotes what it is given", async (t) => {
  await using db = await shop(
    t,
    `create schema "My Shop"; create table "My Shop"."Or""ders" ("Id" int primary key, "a.b" text);
     insert into "My Shop"."Or""ders" select i, 'x' from generate_series(1, 20) as i;`,
  );
  const connection = { type: "postgres", connection: "shop" };
  const table = await readAll({ ...connection, table: '"My Shop"."Or""ders"' }, db.ctx);
  assert.deepEqual(table.records[19], { Id: 20, "a.b": "x" });
  const single = await readAll({
    ...connection,
    query: 'select "Id" * 2 as twice from "My Shop"."Or""ders" where "Id" > 10 -- done',
    page_key: ["twice"],
  }, db.ctx);
  assert.deepEqual(single.records.map((record) => record.twice), [
    22,
    24,
    26,
    28,
    30,
    32,
    34,
    36,
    38,
    40,
  ]);
});

Deno.test("postgres source cannot write", async (t) => {
  await using db = await shop(t, ORDERS);
  const hostile = [
    "select * from orders) as x; delete from orders; select * from (select 1 as no",
    "with gone as (delete from orders returning no) select no from gone",
    "select no from orders where set_config('transaction_read_only', 'off', true) = 'off'",
  ];
  for (const query of hostile) {
    const conf = { type: "postgres", connection: "shop", query, page_key: ["no"] };
    const problem = await rejection(readAll(conf, db.ctx));
    assert.equal(problem.type, "source-unreadable", query);
    assert.equal(problem.transient, false);
  }
  const { records } = await readAll(
    { type: "postgres", connection: "shop", table: "orders" },
    db.ctx,
  );
  assert.equal(records.length, 100);
});

Deno.test("postgres source keeps every value as it is", async (t) => {
  await using db = await shop(
    t,
    `create type mood as enum ('glad'); create type pair as (a int, b text);
     create domain code as text;
     create table things (id int primary key, big bigint, small bigint, exact numeric,
       price numeric(10,2), nan float8, real4 float4, flag bool, at timestamptz, local timestamp,
       day date, doc jsonb, bytes bytea, list int8[], decimals numeric[], days timestamptz[],
       blobs bytea[], nested text[], mood mood, pair pair, code code, span int4range, nothing text,
       never timestamptz);
     set timezone = 'Asia/Tokyo';
     do $$ begin execute format('alter database %I set timezone = %L', current_database(), 'Asia/Tokyo'); end $$;
     insert into things values (1, 9223372036854775807, 42, 0.12345678901234567890123, 10.50,
       'NaN', 0.1, true, '2024-02-03 04:05:06.123456+00', '2024-02-03 04:05:06', '2024-02-03',
       '{"n": 12345678901234567890, "__proto__": 1}', '\\x00ff', '{1,9007199254740993,null}',
       '{1.5,0.12345678901234567890123}', '{2024-02-03 04:05:06+00}', '{"\\\\x01"}',
       '{{a,b},{"c,d",null}}', 'glad', '(1,x)', 'c1', '[1,5)', null, 'infinity');`,
  );
  const { records } = await readAll(
    { type: "postgres", connection: "shop", table: "things" },
    db.ctx,
  );
  const [record] = records as [SourceRecord & { decimals: object }];
  assert.equal(digitsOf(record)!.exact, "0.12345678901234567890123");
  assert.equal(digitsOf(record.decimals)![1], "0.12345678901234567890123");
  assert.deepEqual(JSON.parse(JSON.stringify(record, bigintText)), {
    id: 1,
    big: "9223372036854775807",
    small: 42,
    exact: 0.12345678901234568,
    price: 10.5,
    nan: "NaN",
    real4: 0.1,
    flag: true,
    at: "2024-02-03T04:05:06.123456Z",
    local: "2024-02-03T04:05:06",
    day: "2024-02-03",
    doc: { ["__proto__"]: 1, n: "12345678901234567890" },
    bytes: "AP8=",
    list: [1, "9007199254740993", null],
    decimals: [1.5, 0.12345678901234568],
    days: ["2024-02-03T04:05:06Z"],
    blobs: ["AQ=="],
    nested: [["a", "b"], ["c,d", null]],
    mood: "glad",
    pair: { a: 1, b: "x" },
    code: "c1",
    span: "[1,5)",
    nothing: null,
    never: "infinity",
  });
});

const bigintText = (_key: string, value: unknown) => typeof value === "bigint" ? `${value}` : value;

Deno.test("postgres source keeps every digit, inside JSON, composites and arrays of domains too", async (t) => {
  const [long, small, money] = [
    "12345678901234567890.123",
    "0.1234567890123456789",
    "12345678901234.123456",
  ];
  await using db = await shop(
    t,
    `create domain money2 as numeric(20,6);
     create type addr as (street text, amount numeric, at timestamptz, f float8, parts numeric[]);
     create table digits (id int primary key, n numeric, d money2, js json, jb jsonb, ajb jsonb[], aj json[],
       comp addr, acomp addr[], adn money2[], an numeric[], an2 numeric[][], tz timestamptz[], day date[]);
     insert into digits values
       (1, ${long}, ${money}, '{"a":1.10,"big":${long}}', '{"big":${long},"n":${small}}',
        array['{"n":${small}}'::jsonb], array['[${small}]'::json],
        row('s',${long},'2024-01-01 00:00:00.123456+00','NaN','{${small}}')::addr,
        array[row('s',${small},'infinity','-Infinity',null)::addr], '{${money}}',
        '{NaN,${small},null}', '{{${small}},{1.5}}', '{infinity,"0044-03-15 BC"}', '{-infinity}'),
       (2, 'Infinity', null, '{"x":1e400,"y":1e-400}', '{"x":1e400}', null, null, null, null, null, null, null, null, null),
       (3, 1e-400, null, '{"x":1e5000}', null, null, null, null, null, null, null, null, null, null),
       (4, null, null, '${long}', '${small}', null, null, null, null, null, null, null, null, null);`,
  );
  const { records, unreadable } = await readAll(
    { type: "postgres", connection: "shop", table: "digits" },
    db.ctx,
  );
  const canonical = new Canonicalizer();
  const texts = records.map((record) =>
    Object.fromEntries(
      Object.keys(record).map((name) => {
        const only: SourceRecord = {};
        const exact = digitsOf(record)?.[name];
        put(only, name, exact === undefined ? record[name]! : new ExactNumber(exact));
        return [name, canonical.text(only).slice(name.length + 4, -1)];
      }),
    )
  );
  assert.deepEqual(texts[0], {
    id: "1",
    n: long,
    d: money,
    js: `{"a":1.1,"big":${long}}`,
    jb: `{"big":${long},"n":${small}}`,
    ajb: `[{"n":${small}}]`,
    aj: `[[${small}]]`,
    comp:
      `{"amount":${long},"at":"2024-01-01T00:00:00.123456+00:00","f":"NaN","parts":[${small}],"street":"s"}`,
    acomp: `[{"amount":${small},"at":"infinity","f":"-Infinity","parts":null,"street":"s"}]`,
    adn: `[${money}]`,
    an: `["NaN",${small},null]`,
    an2: `[[${small}],[1.5]]`,
    tz: '["infinity","0044-03-15 00:00:00+00 BC"]',
    day: '["-infinity"]',
  });
  assert.equal(texts[1]!.n, '"Infinity"');
  assert.equal(texts[1]!.js, `{"x":1${"0".repeat(400)},"y":1e-400}`);
  assert.deepEqual(unreadable.map(({ rule }) => rule), ["number_range"]);
  assert.deepEqual([texts[2]!.js, texts[2]!.jb], [long, small]);
});

const CHANGES = `
  create table changes (id int primary key, changed_at timestamptz, version bigint);
  insert into changes
    select i, timestamptz '2024-01-01 00:00:00+00' + i * interval '1 minute', i
    from generate_series(1, 10) as i;
  insert into changes values (100, null, null);`;

Deno.test("postgres source with a cursor reads what changed since, less the lookback", async (t) => {
  await using db = await shop(t, CHANGES);
  const conf = { type: "postgres", connection: "shop", table: "changes", cursor: "changed_at" };
  const ids = (result: { records: { [key: string]: unknown }[] }) =>
    result.records.map(({ id }) => id);

  const first = await readAll(conf, db.ctx);
  assert.deepEqual(ids(first), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100]);
  assert.equal(first.plan.pin.cursor_upper, "2024-01-01 00:10:00+00");

  await db.run("insert into changes values (11, '2024-01-01 00:11:00+00', 11)");
  const position = { position: first.plan.pin.cursor_upper as string, snapshot: null };
  const second = await readAll(conf, { ...db.ctx, cursorPosition: position });
  assert.deepEqual(ids(second), [5, 6, 7, 8, 9, 10, 11]);
  assert.equal(second.plan.pin.cursor_upper, "2024-01-01 00:11:00+00");
  assert.match(second.plan.warnings[0]!, /^1 rows have no value in the cursor column changed_at/);

  const strict = await readAll({ ...conf, lookback_seconds: 0 }, {
    ...db.ctx,
    cursorPosition: position,
  });
  assert.deepEqual(ids(strict), [10, 11]);

  // What changes while the run is on is left for the next one.
  await db.run("update changes set changed_at = '2024-01-01 00:20:00+00' where id = 10");
  const resumed = await readAll(conf, {
    ...db.ctx,
    cursorPosition: position,
    pin: second.plan.pin,
  });
  assert.deepEqual(ids(resumed), [5, 6, 7, 8, 9, 11]);
});

Deno.test("postgres source with a numeric cursor reads from its position on, and stays where nothing is new", async (t) => {
  await using db = await shop(t, CHANGES);
  const conf = {
    type: "postgres",
    connection: "shop",
    table: "changes",
    cursor: "version",
    lookback: 0,
  };
  const at = (position: string) => ({ position, snapshot: null });
  const some = await readAll(conf, { ...db.ctx, cursorPosition: at("7") });
  assert.deepEqual(some.records.map(({ id }) => id), [7, 8, 9, 10]);
  const none = await readAll(conf, { ...db.ctx, cursorPosition: at("10") });
  assert.deepEqual(none.records.map(({ id }) => id), [10]);
  assert.equal(none.plan.pin.cursor_upper, "10");
  const empty = await shop(t, "create table changes (id int primary key, version bigint)");
  await using _ = empty;
  assert.equal((await readAll(conf, empty.ctx)).plan.pin.cursor_upper, null);
});

Deno.test("postgres source takes the name of a cursor as it is", async (t) => {
  await using db = await shop(
    t,
    `create table named (id int primary key, "a$$b" timestamptz, "$&{}" timestamptz, "{now}" date);
     insert into named select i, now(), now(), now() from generate_series(1, 3) as i;`,
  );
  for (const cursor of ["a$$b", "$&{}", "{now}"]) {
    const conf = { type: "postgres", connection: "shop", table: "named", cursor };
    assert.equal((await readAll(conf, db.ctx)).records.length, 3, cursor);
  }
});

Deno.test("postgres source does not move its cursor past rows that a cap left out", async (t) => {
  await using db = await shop(t, CHANGES);
  const conf = { type: "postgres", connection: "shop", table: "changes", cursor: "version" };
  const { plan, records } = await readAll(conf, {
    ...db.ctx,
    cursorPosition: { position: "2", snapshot: null },
    maxRecords: 3,
  });
  assert.equal(records.length, 3);
  assert.equal(plan.pin.cursor_upper, "2");
  assert.ok(plan.warnings.some((warning) => /cursor stays/.test(warning)));
});

Deno.test("postgres source refuses a page key that repeats or is empty", async (t) => {
  await using db = await shop(
    t,
    `create table loose (a int, b int);
     insert into loose select i / 7, i from generate_series(1, 50) as i;`,
  );
  const conf = { type: "postgres", connection: "shop", table: "loose" };
  const without = await rejection(readAll(conf, db.ctx));
  assert.match(without.message, /has no primary key/);
  const repeated = await rejection(readAll({ ...conf, page_key: ["a"] }, db.ctx));
  assert.match(repeated.message, /several rows with a = /);
  assert.equal((await readAll({ ...conf, page_key: ["a", "b"] }, db.ctx)).records.length, 50);
  // not only where a page ends
  await db.run("create table twice as select unnest(array[1, 2, 2, 3]) as n");
  const twice = { type: "postgres", connection: "shop", table: "twice", page_key: ["n"] };
  assert.match((await rejection(readAll(twice, db.ctx))).message, /several rows with n = 2/);
  // equal, although they are written differently; the last of a page and the first behind it
  await db.run(
    `create table amounts as select case i when 17 then 16.00 else i end as amount from generate_series(1, 20) as i`,
  );
  const amounts = { type: "postgres", connection: "shop", table: "amounts", page_key: ["amount"] };
  assert.match(
    (await rejection(readAll(amounts, db.ctx))).message,
    /several rows with amount = 16/,
  );
  await db.run("insert into loose values (null, 1)");
  const empty = await rejection(readAll({ ...conf, page_key: ["a", "b"] }, db.ctx));
  assert.match(empty.message, /without a value/);
});

Deno.test("postgres source refuses keys that are one in the collation of their column", async (t) => {
  await using db = await shop(
    t,
    `create collation either_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
     create table codes (code text collate either_case, n int);
     insert into codes select chr(96 + i), i from generate_series(1, 20) as i;
     insert into codes values ('P', 21);`,
  );
  // a page ends between p and P
  const conf = { type: "postgres", connection: "shop", table: "codes", page_key: ["code"] };
  const problem = await rejection(readAll(conf, db.ctx));
  assert.match(problem.message, /several rows with code = p/i);
  await db.run("delete from codes where code = 'P'; insert into codes values ('P', 21)");
  assert.equal((await readAll(conf, db.ctx)).records.length, 20);
});

Deno.test("postgres source reads arrays with nulls as keys, whatever its role is set to", async (t) => {
  await using db = await shop(
    t,
    `create table paths (path text[] primary key);
     insert into paths select array[null, 'NULL', i::text] from generate_series(1, 50) as i;
     do $$ begin execute format('alter database %I set array_nulls = off', current_database()); end $$;`,
  );
  for (const chunkSize of [7, 100]) {
    const { records } = await readAll(
      { type: "postgres", connection: "shop", table: "paths" },
      { ...db.ctx, chunkSize },
    );
    assert.equal(new Set(records.map(({ path }) => JSON.stringify(path))).size, 50);
    assert.equal(records.length, 50);
  }
});

Deno.test("postgres source warns of rows that row-level security hides from its role", async (t) => {
  await using db = await shop(
    t,
    `create table tenants as select i as id from generate_series(1, 10) as i;
     create table shared as select * from tenants;
     create view seen with (security_invoker) as select * from tenants;
     alter table tenants enable row level security;
     create policy even on tenants using (id % 2 = 0);
     do $$ begin execute format('alter database %I set role = pg_read_all_data', current_database()); end $$;`,
  );
  const warned = async (what: object) => {
    const conf = { type: "postgres", connection: "shop", page_key: ["id"], ...what };
    const { warnings } = await planSource(sourceConf(conf), db.ctx);
    return [(await readAll(conf, db.ctx)).records.length, ...warnings];
  };
  for (const what of [{ table: "tenants" }, { table: "seen" }, { query: "table tenants" }]) {
    const [records, warning, ...more] = await warned(what);
    assert.equal(records, 5);
    assert.match(
      String(warning),
      /^Row-level security of .* hides rows from role pg_read_all_data/,
    );
    assert.deepEqual(more, []);
  }
  assert.deepEqual(await warned({ table: "shared" }), [10]);
});

Deno.test("postgres source asks for fewer rows where a page takes longer than its role may", async (t) => {
  await using db = await shop(
    t,
    `create table numbers as select i as id from generate_series(1, 400) as i;
     create function slow(i int) returns int stable language plpgsql
       as 'begin perform pg_sleep(case when i > 0 then 0.003 else 9 end); return i; end';
     do $$ begin execute format('alter database %I set statement_timeout = %L', current_database(), '800ms'); end $$;`,
  );
  const source = { type: "postgres", connection: "shop", page_key: ["id"] };
  const { records } = await readAll(
    { ...source, query: "select id, slow(id) as x from numbers" },
    { ...db.ctx, pageSize: 1_000 },
  );
  assert.deepEqual(records.map(({ id }) => id), Array.from({ length: 400 }, (_, i) => i + 1));
  const hangs = { ...source, query: "select id, slow(-id) as x from numbers" };
  assert.match((await rejection(readAll(hangs, db.ctx))).message, /statement timeout/);
});

Deno.test("postgres source plans a table that others inherit from in one pass", async (t) => {
  await using db = await shop(
    t,
    `create table parent (id int primary key); create table child () inherits (parent);
     insert into parent values (0); insert into child select generate_series(1, 100);
     update pg_class set relpages = 100, relallvisible = 100 where relname = 'parent';`,
  );
  const scans = () =>
    db.count("pg_stat_user_tables, generate_series(1, seq_scan) where relname = 'child'");
  const before = await scans();
  const conf = sourceConf({ type: "postgres", connection: "shop", table: "parent" });
  const { slices, records } = await planSource(conf, { ...db.ctx, chunkSize: 2 });
  assert.equal(slices.length, 51);
  assert.equal(records, 101);
  await waitFor(async () => await scans() > before);
  assert.ok(await scans() - before < 5, `${await scans() - before} passes`);
});

Deno.test("postgres source says what is wrong without showing the password", async (t) => {
  await using db = await shop(t, ORDERS);
  for (const connection of ["nope", "constructor"]) {
    const unknown = await rejection(
      readAll({ type: "postgres", connection, table: "orders" }, db.ctx),
    );
    assert.match(unknown.message, /ETL_CONNECTION_(NOPE|CONSTRUCTOR).*Known: shop/);
  }
  const missing = await rejection(
    readAll({ type: "postgres", connection: "shop", table: "nothing" }, db.ctx),
  );
  assert.match(missing.message, /nothing.*does not exist/);
  const unreachable = await rejection(
    readAll({ type: "postgres", connection: "shop", table: "orders" }, {
      ...db.ctx,
      connections: { shop: "postgres://bob:s3cret@127.0.0.1:1/x" },
    }),
  );
  assert.equal(unreachable.transient, true);
  assert.doesNotMatch(unreachable.message, /s3cret|bob/);
});

Deno.test("postgres source stops when the run is cancelled", async (t) => {
  await using db = await shop(t, ORDERS);
  const controller = new AbortController();
  const conf = {
    type: "postgres",
    connection: "shop",
    query: "select no, pg_sleep(60)::text from orders",
    page_key: ["no"],
  };
  const reading = readAll(conf, { ...db.ctx, signal: controller.signal });
  await waitFor(() =>
    db.count(
      "pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()",
    )
  );
  controller.abort();
  await assert.rejects(reading, { name: "AbortError" });
});

Deno.test("previewSource() of a table reads its first rows only", async (t) => {
  await using db = await shop(t, ORDERS);
  const conf = sourceConf({ type: "postgres", connection: "shop", table: "orders" });
  const { records } = await previewSource(conf, db.ctx, 5);
  assert.equal(records.length, 5);
});
