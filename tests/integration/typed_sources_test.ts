import assert from "node:assert/strict";
import {
  decimal,
  float64,
  int32,
  list as arrowList,
  tableFromArrays,
  tableToIPC,
  timestamp,
  uint64,
  utf8,
} from "@uwdata/flechette";
import { parquetWriteBuffer } from "hyparquet-writer";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { POSITIVE, putSuite, suiteOf } from "../helpers/suites.ts";

const counts = (run: { state: string; error: unknown; counts: Record<string, number> }) => {
  assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  const { inserted, updated, unchanged, duplicates, rejected } = run.counts;
  return [inserted, updated, unchanged, duplicates, rejected];
};

async function columns(engine: Engine, table: string) {
  const rows = await engine.sql<{ name: string; type: string }[]>`
    select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
    where attrelid = to_regclass(${table}) and attnum > 0 and not attisdropped and attname not like '\_etl\_%'
    order by attname collate "C"`;
  return rows.map(({ name, type }) => `${name} ${type}`).join(", ");
}

/** Files of the shapes that those of vega-datasets have, with what is odd about them. */
const FILES = {
  "cars.json": JSON.stringify([
    {
      Name: "chevrolet chevelle malibu",
      Miles_per_Gallon: 18,
      Cylinders: 8,
      Year: "1970-01-01",
      Origin: "USA",
    },
    {
      Name: "citroen ds-21 pallas",
      Miles_per_Gallon: null,
      Cylinders: 4,
      Year: "1970-01-01",
      Origin: "Europe",
    },
    {
      Name: "bmw 2002",
      Miles_per_Gallon: 26.5,
      Cylinders: 4,
      Year: "1971-01-01",
      Origin: "Europe",
    },
  ]),
  "movies.json": JSON.stringify([
    {
      Title: "The Land Girls",
      "US Gross": 146083,
      "Release Date": "Jun 12 1998",
      "IMDB Rating": 6.1,
      Director: null,
    },
    // titles that are numbers, and amounts that are text
    {
      Title: 300,
      "US Gross": "Unknown",
      "Release Date": "Mar 09 2007",
      "IMDB Rating": null,
      Director: "Zack Snyder",
    },
    { Title: "1776", "US Gross": 0, "Release Date": null, "IMDB Rating": 7, Director: null },
  ]),
  "stocks.csv":
    "symbol,date,price\nMSFT,Jan 1 2000,39.81\nMSFT,Feb 1 2000,36.35\nAMZN,Jan 1 2000,64.56\n",
  "airports.csv":
    'iata,name,city,state,latitude,longitude\n00M,Thigpen ,Bay Springs,MS,31.95376472,-89.23450472\n00R,"Livingston, Municipal",Livingston,TX,30.68586111,-95.01792778\n1N7,Blairstown,Blairstown,NJ,40.97114556,-74.99747556\n',
  "seattle-weather.csv":
    "date,precipitation,temp_max,weather\n2012-01-01,0.0,12.8,drizzle\n2012-01-02,10.9,10.6,rain\n2012-01-03,0.8,11.7,rain\n",
};

const TABLES: [file: string, key: string | string[] | undefined, columns: string][] = [
  [
    "cars.json",
    "Name",
    "cylinders bigint, miles_per_gallon numeric, name text, origin text, year date",
  ],
  [
    "movies.json",
    undefined,
    "director text, imdb_rating numeric, release_date text, title text, us_gross text",
  ],
  ["stocks.csv", ["symbol", "date"], "date text, price numeric, symbol text"],
  [
    "airports.csv",
    "iata",
    "city text, iata text, latitude numeric, longitude numeric, name text, state text",
  ],
  [
    "seattle-weather.csv",
    "date",
    "date date, precipitation numeric, temp_max numeric, weather text",
  ],
];

const FAR = [
  "-000043-03-15T12:30:00.000Z",
  "+000000-12-31T23:59:59.500Z",
  "+010000-01-01T00:00:00.000Z",
];

Deno.test("five files as people have them, and a folder of Parquet, are typed tables by one request each", async (t) => {
  const part = (from: number) =>
    new Uint8Array(parquetWriteBuffer({
      columnData: [
        { name: "id", data: [from, from + 1], type: "INT32" },
        { name: "amount", data: [from + 0.5, null], type: "DOUBLE" },
        {
          name: "sold at",
          data: [new Date("2026-01-01T10:00:00Z"), new Date(0)],
          type: "TIMESTAMP",
        },
        { name: "region", data: ["north", "süd"], type: "STRING" },
      ],
    }));
  const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };
  const whole = new Uint8Array(parquetWriteBuffer({
    schema: [
      { name: "root", num_children: 6 },
      { name: "id", type: "INT32", repetition_type: "REQUIRED" },
      {
        name: "price",
        type: "INT32",
        repetition_type: "OPTIONAL",
        converted_type: "DECIMAL",
        precision: 8,
        scale: 2,
      },
      { name: "double", type: "DOUBLE", repetition_type: "OPTIONAL" },
      { name: "empty", type: "DOUBLE", repetition_type: "OPTIONAL" },
      { name: "code", type: "BYTE_ARRAY", repetition_type: "OPTIONAL", converted_type: "UTF8" },
      { name: "doc", type: "BYTE_ARRAY", repetition_type: "OPTIONAL", converted_type: "JSON" },
    ],
    columnData: [
      { name: "id", data: [1, 2] },
      { name: "price", data: [5, 6] },
      { name: "double", data: [1, NaN] },
      { name: "empty", data: [null, null] },
      { name: "code", data: ["2026-01-01", "2026-01-02"] },
      { name: "doc", data: [{ n: rawJSON("1.10"), m: rawJSON("12345678901234567.89") }, null] },
    ],
  }));
  await using engine = await startEngine(t, {
    files: {
      ...FILES,
      "p1.parquet": part(1),
      "p2.parquet": part(3),
      "p3.parquet": part(5),
      "whole.parquet": whole,
      "ages.parquet": new Uint8Array(parquetWriteBuffer({
        schema: [
          { name: "root", num_children: 3 },
          { name: "id", type: "INT32", repetition_type: "REQUIRED" },
          { name: "day", type: "INT32", repetition_type: "OPTIONAL", converted_type: "DATE" },
          {
            name: "at",
            type: "INT64",
            repetition_type: "OPTIONAL",
            converted_type: "TIMESTAMP_MILLIS",
          },
        ],
        columnData: [
          { name: "id", data: [1, 2, 3] },
          { name: "day", data: FAR.map((text) => new Date(`${text.slice(0, 13)}T00:00:00Z`)) },
          { name: "at", data: FAR.map((text) => new Date(text)) },
        ],
      })),
    },
  });
  await Deno.writeFile(
    `${engine.dataDir}/t.arrow`,
    tableToIPC(
      tableFromArrays({
        id: [1, 2],
        price: ["5", "6"],
        ratio: [1, 2],
        code: ["2026-01-01", "2026-01-02"],
        big: [1n, 2n],
        at: [0, 1],
        list: [[1], null],
        none: [null, null],
      }, {
        types: {
          id: int32(),
          price: decimal(8, 2),
          ratio: float64(),
          code: utf8(),
          big: uint64(),
          at: timestamp(1, null),
          list: arrowList(int32()),
          none: float64(),
        },
      }),
      { format: "file" },
    )!,
  );
  const load = (path: string, table_name: string, key: string | string[] | undefined) =>
    engine.runToEnd({
      layout: "typed",
      table_name,
      source: { type: "file", path, key, name: table_name },
    });
  for (const [path, key, expected] of TABLES) {
    const table = path.replace(/\W.*/, "");
    assert.deepEqual(counts(await load(path, table, key)), [3, 0, 0, 0, 0], path);
    assert.equal(await columns(engine, table), expected);
    assert.deepEqual(counts(await load(path, table, key)), [0, 0, 3, 0, 0], path);
  }
  assert.deepEqual(
    (await engine.sql`select title, us_gross from movies order by title collate "C"`).map((r) =>
      Object.values(r)
    ),
    [["1776", "0"], ["300", "Unknown"], ["The Land Girls", "146083"]],
  );
  const [place] = await engine.sql`select name, latitude::text from airports where iata = '00R'`;
  assert.deepEqual({ ...place }, { name: "Livingston, Municipal", latitude: "30.68586111" });

  assert.deepEqual(counts(await load("p*.parquet", "sales", "id")), [6, 0, 0, 0, 0]);
  assert.equal(
    await columns(engine, "sales"),
    "amount numeric, id bigint, region text, sold_at timestamp with time zone",
  );
  assert.deepEqual(counts(await load("p*.parquet", "sales", "id")), [0, 0, 6, 0, 0]);
  assert.deepEqual(counts(await load("t.arrow", "arrow", "id")), [2, 0, 0, 0, 0]);
  assert.equal(
    await columns(engine, "arrow"),
    "at timestamp with time zone, big numeric, code text, id bigint, list jsonb, none numeric, price numeric(8,2), ratio numeric",
  );
  assert.deepEqual(counts(await load("t.arrow", "arrow", "id")), [0, 0, 2, 0, 0]);
  assert.deepEqual(counts(await load("ages.parquet", "ages", "id")), [3, 0, 0, 0, 0]);
  assert.deepEqual(
    (await engine.sql`select day::text, (at at time zone 'UTC')::text as at from ages order by id`)
      .map((r) => Object.values(r)),
    [
      ["0044-03-15 BC", "0044-03-15 12:30:00 BC"],
      ["0001-12-31 BC", "0001-12-31 23:59:59.5 BC"],
      ["10000-01-01", "10000-01-01 00:00:00"],
    ],
  );
  // whole numbers in a file of decimals and doubles are decimals and doubles, and NaN is one
  assert.deepEqual(counts(await load("whole.parquet", "whole", "id")), [2, 0, 0, 0, 0]);
  assert.equal(
    await columns(engine, "whole"),
    "code text, doc jsonb, double numeric, empty numeric, id bigint, price numeric(8,2)",
  );
  assert.deepEqual(
    (await engine.sql`select price::text, double::text, doc::text from whole order by id`).map((
      r,
    ) => Object.values(r)),
    [["5.00", "1", '{"m": 12345678901234567.89, "n": 1.1}'], ["6.00", "NaN", null]],
  );
});

Deno.test("a typed table is loaded by a cursor, judged before it is published, and may be a partitioned one of the user's own", async (t) => {
  await using shop = await testDatabase({ name: `shop of ${t.name}` }, { setUp: false });
  await using engine = await startEngine(t, {
    env: {
      ETL_CONNECTION_SHOP: shop.dsn,
      ETL_HASH_SECRET: "a secret of at least 32 characters, for tests",
    },
  });
  await query(
    shop.dsn,
    `create table orders (id integer primary key, changed integer, at timestamptz, amount numeric(8,2));
    insert into orders select i, i, '2026-01-01T10:00:00Z', i + 0.5 from generate_series(1, 3) as i`,
  );
  const next = () =>
    engine.runToEnd({
      layout: "typed",
      table_name: "orders",
      source: {
        type: "postgres",
        connection: "shop",
        table: "orders",
        name: "shop",
        key: "id",
        cursor: "changed",
        lookback: 0,
      },
    });
  assert.deepEqual(counts(await next()), [3, 0, 0, 0, 0]);
  await query(
    shop.dsn,
    "update orders set changed = 4, amount = 9.99 where id = 1; insert into orders values (4, 5, null, 7.25)",
  );
  const second = await next();
  assert.deepEqual(counts(second), [1, 1, 1, 0, 0]);
  assert.equal(second.counts.records_read, 3, "what the cursor has passed is not read again");
  assert.equal(
    await columns(engine, "orders"),
    "amount numeric(8,2), at timestamp with time zone, changed bigint, id bigint",
  );
  const rows = await engine.sql`select id::int, amount::text from orders order by id`;
  assert.deepEqual(rows.map((r) => Object.values(r)), [[1, "9.99"], [2, "2.50"], [3, "3.50"], [
    4,
    "7.25",
  ]]);

  // the types of the catalogue, whatever the values are; what they hold besides numbers and days is stored
  await query(
    shop.dsn,
    `create domain money2 as numeric(8,2); create type mood as enum ('ok');
    create table kinds (id smallint primary key, whole numeric(8,2), alias money2, empty date, f float8, n numeric, t timestamptz, d date,
      code text, tags text[], e mood, doc json, span interval, secret integer);
    insert into kinds values (1, 5, 7, null, 'NaN', '-Infinity', 'infinity', '-infinity', '2026-01-01', '{1}', 'ok', '[1.10]', '1 day', 7),
      (2, 10, 8, null, 1, 'NaN', '0001-01-01Z', '9999-12-31', '7', null, null, '2', null, 8)`,
  );
  const kinds = {
    layout: "typed",
    table_name: "kinds",
    hash: ["secret"],
    source: { type: "postgres", connection: "shop", table: "kinds", name: "kinds", key: "id" },
  };
  const declared =
    "alias numeric(8,2), code text, d date, doc jsonb, e text, empty date, f numeric, id bigint, n numeric, secret text, span text, t timestamp with time zone, tags jsonb, whole numeric(8,2)";
  const shown = await (await engine.post("/api/etl/preview", kinds)).json();
  const inWords = (type: string) =>
    type.replace("integer", "bigint").replace("timestamptz", "timestamp with time zone");
  assert.equal(
    shown.table.map(({ name, type }: { name: string; type: string }) => `${name} ${inWords(type)}`)
      .sort().join(", "),
    declared,
  );
  assert.deepEqual(counts(await engine.runToEnd(kinds)), [2, 0, 0, 0, 0]);
  assert.equal(await columns(engine, "kinds"), declared);
  assert.deepEqual(counts(await engine.runToEnd(kinds)), [0, 0, 2, 0, 0]);
  const specials = await engine
    .sql`select f::text, n::text, t::text, d::text from kinds order by id`;
  assert.deepEqual(specials.map((r) => Object.values(r)), [
    ["NaN", "-Infinity", "infinity", "-infinity"],
    ["1", "NaN", "0001-01-01 00:00:00+00", "9999-12-31"],
  ]);
  // years that only PostgreSQL has, as keys, too; the sources' own text is the expectation
  await query(
    shop.dsn,
    `set timezone = 'UTC'; create table ages as select d, d::timestamptz + '12:30:00.25' as t, d::timestamp as ts
      from unnest(array['4713-01-01 BC', '0401-02-29 BC', '0044-03-15 BC', '0001-12-31 BC', '0001-01-01', '9999-12-31',
        '10000-01-01', '294276-12-30']::date[]) as d;
    insert into ages values ('5874897-12-31', null, null); alter table ages add primary key (d)`,
  );
  const ages = {
    layout: "typed",
    table_name: "ages",
    source: { type: "postgres", connection: "shop", table: "ages", name: "ages", key: "d" },
  };
  for (const expected of [[9, 0, 0, 0, 0], [0, 0, 9, 0, 0]]) {
    assert.deepEqual(counts(await engine.runToEnd(ages)), expected);
  }
  const texts = "select d::text, (t at time zone 'UTC')::text as t, TS from ages order by ages.d";
  assert.deepEqual(
    (await engine.sql.unsafe(texts.replace("TS", "(ts at time zone 'UTC')::text as ts"))).map((r) =>
      Object.values(r)
    ),
    (await query(shop.dsn, texts.replace("TS", "ts::text"))).map((r) => Object.values(r as object)),
  );
  await query(shop.dsn, "alter table kinds add later numeric(6,1); update kinds set later = 3");
  assert.deepEqual(counts(await engine.runToEnd({ ...kinds, schema_policy: "evolve" })), [
    ...[0, 2, 0, 0, 0],
  ]);
  assert.match(await columns(engine, "kinds"), /later numeric\(6,1\)/);

  // nothing is published unless the suite holds, and no table is left half
  await putSuite(engine, "amounts", suiteOf(POSITIVE));
  const judged = (amount: number) =>
    engine.load([{ id: 1, amount: 5 }, { id: 2, amount }], {
      layout: "typed",
      table_name: "judged",
      suite: "amounts",
      enforce_ge: true,
      source: { name: "judged" },
    });
  const refused = await judged(-1);
  assert.equal(refused.state, "failed");
  assert.equal(
    (await engine.sql`select to_regclass('public.judged') as found`)[0]!.found === null ||
      (await engine.sql`select from public.judged`).length === 0,
    true,
  );
  assert.deepEqual(counts(await judged(1)), [2, 0, 0, 0, 0]);

  // each row is in the partition of its month, and moves with its day
  await engine.sql.unsafe(
    `create table public.visits (id bigint, day date not null, n integer check (n > 0), primary key (id, day)) partition by range (day);
    create table public.visits_1 partition of public.visits for values from ('2026-01-01') to ('2026-02-01');
    create table public.visits_2 partition of public.visits for values from ('2026-02-01') to ('2026-03-01')`,
  );
  const visits = [1, 2, 3, 4].map((id) => ({
    id,
    day: id < 3 ? "2026-01-05" : "2026-02-05",
    n: id,
  }));
  const load = (records: unknown[]) =>
    engine.load(records, {
      layout: "typed",
      table_name: "visits",
      add_columns: true,
      min_acceptance_ratio: 0,
      source: { name: "visits", key: undefined },
    });
  assert.deepEqual(counts(await load(visits)), [4, 0, 0, 0, 0]);
  assert.deepEqual(counts(await load(visits)), [0, 0, 4, 0, 0]);
  const odd = [{ id: 1, day: "2026-01-05", n: 10 }, { id: 5, day: "2026-05-05", n: 1 }, {
    id: 6,
    day: "2026-02-06",
    n: 0,
  }];
  const run = await load(odd);
  assert.deepEqual(counts(run), [0, 1, 0, 0, 2]);
  const told = await engine
    .sql`select message from etl.quarantine where run_id = ${run.run_id} order by position`;
  assert.match(told[0]!.message, /no partition of relation "visits"/);
  assert.match(told[1]!.message, /visits_n_check/);
  assert.equal((await engine.sql`select from public.visits_1`).length, 2);
});
