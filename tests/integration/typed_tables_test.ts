import assert from "node:assert/strict";
import { exportFacts } from "../../store/exports.ts";
import { backUp, backupDir, held, restore } from "../helpers/backups.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";

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
    {
      id: 1,
      "Total Price": 12,
      paid: true,
      day: "2026-01-31",
      at: "2026-01-31T10:00:00+02:00",
      tags: ["a"],
      note: "x",
    },
    {
      id: 2,
      "Total Price": 19.9,
      paid: false,
      day: "2026-02-01",
      at: "2026-02-01",
      tags: {},
      note: "2026-01-01",
    },
    { id: 3, big: 9007199254740993n.toString(), paid: null, note: null },
    { id: 4, note: "" },
  ];
  assert.deepEqual(counts(await load(engine, records)), [4, 0, 0, 0, 0]);
  // the order is jsonb's, in which the request came
  assert.deepEqual((await columns(engine)).map(({ name, type }) => `${name} ${type}`), [
    "at timestamp with time zone",
    "id bigint",
    "day date",
    "note text",
    "paid boolean",
    "tags jsonb",
    "total_price numeric",
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
    id: "1",
    price: "12",
    paid: true,
    day: "2026-01-31",
    at: true,
    tags: '["a"]',
    note: "x",
  });
  assert.deepEqual([rows[1]!.price, rows[2]!.paid, rows[3]!.note], ["19.9", null, ""]);
  const [primary] = await engine.sql`
    select pg_get_constraintdef(oid) as key from pg_constraint where conrelid = 'orders'::regclass and contype = 'p'`;
  assert.equal(primary!.key, "PRIMARY KEY (id)");
  assert.deepEqual(counts(await load(engine, records)), [0, 0, 4, 0, 0]);
});

Deno.test("a column that a few odd values made text is told of, with what to declare; fields may have any name", async (t) => {
  await using engine = await startEngine(t);
  const records = Array.from({ length: 30 }, (_, id) => ({
    id,
    amount: id === 17 ? "n/a" : 19.9,
    // many codes are no slip
    zip: id % 3 === 0 ? "02134" : 90210,
    constructor: id,
    toString: "x",
    "": "no name",
  }));
  const run = await load(engine, records);
  assert.deepEqual(counts(run), [30, 0, 0, 0, 0]);
  const told = run.warnings.filter((warning: string) => /is text for/.test(warning));
  assert.equal(told.length, 1, JSON.stringify(run.warnings));
  assert.match(told[0]!, /^Column amount is text for 1 of 30 values, such as "n\/a"\./);
  assert.match(told[0]!, /"columns": \{"amount": "numeric"\}/);
  assert.deepEqual(
    (await columns(engine)).filter(({ name }) => !name.startsWith("_etl"))
      .map(({ name, type }) => `${name} ${type}`).sort(),
    ["amount text", "c_ text", "constructor bigint", "id bigint", "to_string text", "zip text"],
  );
  // what it says to do does it
  const declared = await load(engine, records, {
    table_name: "declared",
    min_acceptance_ratio: 0,
    source: { name: "other", columns: { amount: "numeric" } },
  });
  assert.deepEqual(counts(declared), [29, 0, 0, 0, 1]);
});

Deno.test("a typed table holds what the events table holds: repeats, updates, versions, late and foreign rows", async (t) => {
  await using engine = await startEngine(t);
  const range = (n: number, record: (i: number) => object) =>
    Array.from({ length: n }, (_, i) => record(i));
  for (const [table_name, key] of [["single", "id"], ["double", ["day", "id"]]] as const) {
    const source = { key };
    const day = "2026-01-01";
    const first = range(10, (i) => ({ id: `k"${i}`, day, v: 1 }));
    assert.deepEqual(counts(await load(engine, [...first, first[3]], { table_name, source })), [
      10,
      0,
      0,
      1,
      0,
    ]);
    const before = await engine.sql.unsafe(
      `select _etl_updated_at::text as at, xmin::text as x from ${table_name} order by id`,
    );
    assert.deepEqual(counts(await load(engine, first, { table_name, source })), [0, 0, 10, 0, 0]);
    assert.deepEqual(
      await engine.sql.unsafe(
        `select _etl_updated_at::text as at, xmin::text as x from ${table_name} order by id`,
      ),
      before,
      "no unchanged row is written",
    );
    const changed = [
      ...first.slice(0, 4).map((row) => ({ ...row, v: 2 })),
      { id: 'k"9', day, v: 0 },
      ...range(5, (i) => ({ id: `n${i}`, day, v: 1 })),
      { id: 'k"9', day, v: 2 },
    ];
    // the manifest, then keys that are looked up
    assert.deepEqual(counts(await load(engine, changed, { table_name, source })), [5, 5, 0, 1, 0]);
    assert.deepEqual(counts(await load(engine, changed, { table_name, source, chunk_size: 100 })), [
      0,
      0,
      10,
      1,
      0,
    ]);
    const rows = await engine.sql.unsafe(
      `select v from ${table_name} where id in ('k"0', 'k"9', 'n4', 'k"5') order by id`,
    );
    assert.deepEqual(rows.map(({ v }) => Number(v)), [2, 1, 2, 1]);
    await engine.sql.unsafe(
      `insert into ${table_name} (id, day, v) values ('theirs', '${day}', 5)`,
    );
    const foreign = await load(engine, [{ id: "theirs", day, v: 6 }, { id: "new", day, v: 1 }], {
      table_name,
      source,
    });
    assert.equal(foreign.error?.type, "/api/problems/foreign-rows");
    assert.match(foreign.error!.detail!, /theirs/);
    const [left] = await engine.sql.unsafe(
      `select count(*) filter (where id = 'new')::int as n, max(v)::int as v from ${table_name}`,
    );
    assert.deepEqual({ ...left }, { n: 0, v: 5 }, "nothing of a refused run is there");
  }
  const source = { version: "v" };
  const versions = (...vs: number[]) => vs.map((v) => ({ id: 7, v, x: `version ${v}` }));
  assert.deepEqual(
    counts(await load(engine, versions(2, 3, 1), { table_name: "versions", source })),
    [1, 0, 0, 2, 0],
  );
  assert.deepEqual(counts(await load(engine, versions(2), { table_name: "versions", source })), [
    0,
    0,
    1,
    0,
    0,
  ]);
  assert.deepEqual(counts(await load(engine, versions(4), { table_name: "versions" })), [
    0,
    1,
    0,
    0,
    0,
  ]);
  const [row] = await engine.sql`select x, _etl_version::int as version from versions`;
  assert.deepEqual({ ...row }, { x: "version 4", version: 4 });
});

Deno.test("keys that are one value are one row, and values that a column would change are quarantined", async (t) => {
  await using engine = await startEngine(t, {
    files: {
      "a.csv":
        "id,price,when\n1,1.50,2026-01-01\n01,2.505,2026-01-02\n3,100.00,2026-01-03\n4,NaN,2026-01-04\n5,9.99,2026-02-30\n6,,2026-01-06\n+7,1.5,\n",
      "b.ndjson": [
        '{"id":"good","note":"ñ 😀","more":{"b":1,"a":[]}}',
        '{"id":"nul","note":"a\\u0000b","more":1}',
        '{"id":"half","note":"\\ud83d","more":1}',
        '{"id":"deep nul","note":"","more":{"a":["\\u0000"]}}',
        '{"id":"","note":"","more":1}',
        `{"id":"${"é".repeat(1001)}","note":"","more":1}`,
        `{"id":"deep","note":"","more":${"[".repeat(1100)}1${"]".repeat(1100)}}`,
        '{"id":"also good","note":"\\u00e9","more":["\\u2028"]}',
      ].join("\n"),
    },
  });
  const source = {
    type: "file",
    path: "a.csv",
    records: undefined,
    columns: { id: "integer", price: "numeric(4, 2)", when: "date" },
  };
  const run = await load(engine, [], { table_name: "prices", min_acceptance_ratio: 0, source });
  assert.deepEqual(counts(run), [3, 0, 0, 0, 4]);
  assert.deepEqual(
    (await engine.sql`select id::int, price::text, "when"::text from prices order by id`).map((r) =>
      Object.values(r)
    ),
    [[1, "1.50", "2026-01-01"], [6, null, "2026-01-06"], [7, "1.50", null]],
  );
  const rejected = await engine
    .sql`select line, field, rule, raw from etl.quarantine where run_id = ${run.run_id} order by line`;
  assert.deepEqual(rejected.map(({ line, field, rule }) => [Number(line), field, rule]), [
    [3, "price", "column_type"],
    [4, "price", "column_type"],
    [5, "price", "column_type"],
    [6, "when", "column_type"],
  ]);
  // numbers of JSON: 1, 1.0 and "01" are one bigint, -0 is 0, and what bigint does not hold is no integer
  const keys = await load(engine, [
    { id: 1, n: 1 },
    { id: "01", n: 2 },
    { id: "9223372036854775808", n: 3 },
    { id: "-9223372036854775808", n: 4 },
    { id: -0, n: 5 },
    { id: "x", n: 6 },
    { id: 8, n: {} },
  ], {
    table_name: "keys",
    min_acceptance_ratio: 0,
    source: { columns: { id: "integer", n: "integer" } },
  });
  assert.deepEqual(counts(keys), [3, 0, 0, 1, 3]);
  assert.deepEqual(
    (await engine.sql`select id::text, n::int from keys order by id`).map((r) => Object.values(r)),
    [["-9223372036854775808", 4], ["0", 5], ["1", 2]],
  );
  // what PostgreSQL cannot store is told by its field, with the record as it was
  const texts = await load(engine, [], {
    table_name: "texts",
    min_acceptance_ratio: 0,
    source: {
      type: "file",
      path: "b.ndjson",
      records: undefined,
      columns: { note: "text", more: "jsonb" },
    },
  });
  assert.deepEqual(counts(texts), [2, 0, 0, 0, 6]);
  const unstorable = await engine
    .sql`select line, field, rule, raw from etl.quarantine where run_id = ${texts.run_id} order by line`;
  assert.deepEqual(unstorable.map(({ line, field, rule }) => [Number(line), field, rule]), [
    [2, "note", "nul_character"],
    [3, "note", "unicode"],
    [4, "more", "nul_character"],
    [5, "id", "key_missing"],
    [6, "id", "key_too_long"],
    [7, null, "not_storable"],
  ]);
  assert.equal(unstorable[2]!.raw, '{"id":"deep nul","note":"","more":{"a":["\\u0000"]}}');
  assert.deepEqual(
    (await engine.sql`select id, note, more::text from texts order by id desc`).map((r) =>
      Object.values(r)
    ),
    [["good", "ñ 😀", '{"a": [], "b": 1}'], ["also good", "é", '["\u2028"]']],
  );
  // by the table's own columns, where the conf declares none
  const bare = await load(engine, [{ id: "1", n: 7 }, { id: "01", n: 8 }], { table_name: "keys" });
  assert.deepEqual(counts(bare), [0, 1, 0, 1, 0]);
});

Deno.test("every type reaches its column as it was read", async (t) => {
  await using engine = await startEngine(t);
  const columns = {
    i: "bigint",
    n: "number",
    b: "boolean",
    d: "date",
    t: "timestamptz",
    j: "jsonb",
    s: "text",
  };
  const values: [string, unknown, string][] = [
    ["i", "9223372036854775807", "9223372036854775807"],
    ["i", -9007199254740991, "-9007199254740991"],
    ["n", "0.1000", "0.1000"],
    ["n", "1e40", "1" + "0".repeat(40)],
    ["n", "-123456789012345678901234567890.00012", "-123456789012345678901234567890.00012"],
    ["b", "yes", "true"],
    ["b", false, "false"],
    ["d", "0001-01-01", "0001-01-01"],
    ["d", "9999-12-31", "9999-12-31"],
    ["t", "1969-12-31T23:59:59.999999Z", "1969-12-31 23:59:59.999999"],
    ["t", "0001-01-01T00:00:00Z", "0001-01-01 00:00:00.000000"],
    ["j", { a: [1.5, null] }, '{"a": [1.5, null]}'],
    ["j", [], "[]"],
    ["s", 'é\n\\\t"𝄞', 'é\n\\\t"𝄞'],
    ["s", 12.5, "12.5"],
  ];
  const records = values.map(([column, value], id) => ({ id, [column]: value }));
  assert.deepEqual(
    counts(await load(engine, records, { table_name: "types", source: { columns } })),
    [
      values.length,
      0,
      0,
      0,
      0,
    ],
  );
  for (const [id, [column, , expected]] of values.entries()) {
    const [row] = await engine.sql.unsafe(
      `select ${
        column === "t"
          ? "to_char(t at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
          : `${column}::text`
      } as value from types where id = ${id}`,
    );
    assert.equal(row!.value, expected, `${column} ${id}`);
  }
  assert.deepEqual(
    counts(await load(engine, records, { table_name: "types", source: { columns } })),
    [
      0,
      0,
      values.length,
      0,
      0,
    ],
  );
});

Deno.test("a later conf may repeat and leave out what the first load has declared, and not contradict it", async (t) => {
  await using engine = await startEngine(t);
  const columns = { id: "integer", price: "numeric(8,2)" };
  await load(engine, [{ id: 1, price: 2.5, v: 1 }], { source: { columns, version: "v" } });
  assert.deepEqual(
    counts(
      await load(engine, [{ id: 2, price: 3, v: 1 }], {
        source: { columns: { price: "numeric(8, 2)" }, version: "v" },
      }),
    ),
    [1, 0, 0, 0, 0],
  );
  // key, version and layout come from the dataset
  const bare = await engine.runToEnd({
    table_name: "orders",
    source: { type: "inline", name: "test", records: [{ id: 1, price: 9, v: 2 }] },
  });
  assert.deepEqual(counts(bare), [0, 1, 0, 0, 0]);
  const refused: [Parameters<typeof load>[2], string][] = [
    [{ layout: "events" }, "layout"],
    [{ source: { key: "price" } }, "source.key"],
    [{ source: { key: ["id", "v"] } }, "source.key"],
    [{ source: { version: "price" } }, "source.version"],
    [{ source: { name: "another" } }, "source.name"],
    [{ source: { columns: { price: "numeric(9,2)" } } }, "source.columns.price"],
    [{ source: { columns: { id: { type: "text" } } } }, "source.columns.id"],
  ];
  for (const [conf, field] of refused) {
    await assert.rejects(
      load(engine, [{ id: 5 }], conf),
      (error: { detail: string; code: string }) => {
        assert.equal(error.code, "ET422");
        const { errors } = JSON.parse(error.detail);
        assert.deepEqual(errors.map((e: { field: string; code: string }) => [e.field, e.code]), [[
          field,
          "conflict",
        ]]);
        assert.match(errors[0].expected, /etl dataset alter public.orders/);
        return true;
      },
    );
  }
  await assert.rejects(
    load(engine, [{ id: 5 }], { table_name: "etl_improved_events" }),
    /table_name is a table of events/,
  );
  const again = [...await engine.sql`select id::int, price::float from orders order by id`].map((
    r,
  ) => ({ ...r }));
  assert.deepEqual(again, [{ id: 1, price: 9 }, { id: 2, price: 3 }]);
});

Deno.test("a key of CSV with decimals is text, as 250.0 and 250.00 are two codes, unless it is declared a number", async (t) => {
  await using engine = await startEngine(t, {
    files: {
      "codes.csv": "code,n,v\n250.0,1,1.5\n250.5,2,2\n",
      "more.csv": "code,n,v\n250.00,3,3\n",
    },
  });
  const read = (path: string, table_name: string, source: object = {}) =>
    load(engine, [], {
      table_name,
      source: { type: "file", path, records: undefined, key: "code", ...source },
    });
  const codes = async (table: string) =>
    (await engine.sql.unsafe(`select code::text from ${table} order by n`)).map(({ code }) => code);
  await read("codes.csv", "codes");
  assert.deepEqual(counts(await read("more.csv", "codes")), [1, 0, 0, 0, 0]);
  assert.deepEqual(await codes("codes"), ["250.0", "250.5", "250.00"]);
  // of a key of several fields too; other columns are what their values are
  await read("codes.csv", "pairs", { key: ["n", "code"] });
  assert.deepEqual(
    (await columns(engine, "pairs")).slice(0, 3).map(({ type }) => type),
    ["text", "bigint", "numeric"],
  );
  await read("codes.csv", "numbers", { columns: { code: "numeric" } });
  assert.deepEqual(counts(await read("more.csv", "numbers")), [0, 1, 0, 0, 0]);
});

Deno.test("a text that is a number is no other spelling of a key, unless it is declared: 01 never becomes 1", async (t) => {
  await using engine = await startEngine(t, {
    files: {
      "first.csv": "id,v\n1,a\n2,b\n",
      "more.csv": "id,v\n1.0,x\n01,x\n+2,x\n2e0,x\n2,c\n3,d\n",
      "gone.csv": "id,v,op\n01,,D\n2,,D\n",
    },
  });
  const read = (path: string, source: object = {}, more: object = {}) =>
    load(engine, [], {
      table_name: "codes",
      min_acceptance_ratio: 0,
      source: { type: "file", path, records: undefined, key: "id", ...source },
      ...more,
    });
  const rows = async () =>
    (await engine.sql`select id::int, v from codes order by id`).map((row) => Object.values(row));
  await read("first.csv");
  const run = await read("more.csv");
  assert.deepEqual(counts(run), [1, 1, 0, 0, 4]);
  assert.deepEqual(await rows(), [[1, "a"], [2, "c"], [3, "d"]]);
  const rejected = await engine
    .sql`select line, field, rule, message from etl.quarantine where run_id = ${run.run_id} order by line`;
  assert.deepEqual(
    rejected.map(({ line, field, rule }) => [Number(line), field, rule]),
    [2, 3, 4, 5].map((line) => [line, "id", "key_type"]),
  );
  assert.match(
    rejected[1]!.message,
    /^key field id is 01, which its column of type integer would hold as 1\. If both .+ declared as text$/,
  );
  // nor is it deleted for one, nor for want of it
  const deleted = { field: "op", equals: "D" };
  const fed = await read("gone.csv", {}, { deleted, schema_policy: "evolve" });
  assert.deepEqual([fed.counts.deleted, fed.counts.rejected], [1, 1]);
  assert.deepEqual((await rows()).map(([id]) => id), [1, 3]);
  const mirrored = await read("more.csv", {}, { write: "mirror", max_delete_ratio: 1 });
  assert.deepEqual([mirrored.counts.deleted, mirrored.counts.rejected], [0, 4]);
  // texts of JSON are no numbers either; a number of JSON is one however it is written
  await Deno.writeTextFile(`${engine.dataDir}/more.ndjson`, '{"id":"01"}\n{"id":3.0,"v":"e"}\n');
  const json = await read("more.ndjson");
  assert.deepEqual(counts(json), [0, 1, 0, 0, 1]);
  const declared = await read("more.csv", { columns: { id: "integer" } });
  assert.equal(declared.counts.rejected, 0);
});

Deno.test("a later conf that says nothing of columns reads their values as the first one said", async (t) => {
  await using engine = await startEngine(t, {
    files: {
      "a.csv":
        'id,amount,sold,doc,paid\n1,1.234,31/01/2026,"{""a"": 1.10}",ja\n2,"1.234,50",NA,,nein\n',
    },
  });
  const columns = {
    amount: { type: "numeric", decimal: ",", thousands: "." },
    sold: { type: "date", format: "%d/%m/%Y" },
    doc: "jsonb",
    paid: { type: "boolean", true_values: ["ja"], false_values: ["nein"] },
  };
  const read = (source: object = {}) =>
    load(engine, [], { source: { type: "file", path: "a.csv", records: undefined, ...source } });
  assert.deepEqual(counts(await read({ columns, null_values: ["NA"] })), [2, 0, 0, 0, 0]);
  assert.deepEqual(counts(await read()), [0, 0, 2, 0, 0]);
  // one column is said anew, and what the table has by now counts
  const wider = await engine.request("/api/datasets/public.orders/columns", {
    method: "PATCH",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ types: { sold: "timestamptz" } }),
  });
  assert.equal(wider.status, 200, await wider.text());
  assert.deepEqual(counts(await read({ columns: { id: "integer" } })), [0, 1, 1, 0, 0]);
  assert.deepEqual(
    (await engine
      .sql`select amount::text, to_jsonb(sold)::text as sold, doc::text, paid from orders order by id`)
      .map((row) => Object.values(row)),
    [["1234", '"2026-01-31T00:00:00+00:00"', '{"a": 1.1}', true], ["1234.50", null, null, false]],
  );
});

Deno.test("fields without a column fail the run before anything is loaded, or send the record to the quarantine", async (t) => {
  await using engine = await startEngine(t);
  await load(engine, [{ id: 1, a: 1 }]);
  const records = [{ id: 1, a: 2 }, { id: 2, a: 2, extra: 5, more: null }, { id: 3, a: 3 }, {
    id: 4,
    extra: 2.5,
  }];
  const frozen = await load(engine, records);
  assert.equal(frozen.error?.type, "/api/problems/schema-changed");
  assert.match(
    frozen.error!.detail!,
    /extra \(numeric, in 2 records, such as 5\).*etl dataset alter public.orders --add 'extra:numeric'/,
  );
  assert.equal((await engine.sql`select * from orders`).length, 1);
  const rest = await load(engine, records, {
    schema_policy: "quarantine",
    min_acceptance_ratio: 0,
  });
  assert.deepEqual(counts(rest), [1, 1, 0, 0, 2]);
  const [one] = await engine
    .sql`select rule, field from etl.quarantine where run_id = ${rest.run_id} limit 1`;
  assert.deepEqual({ ...one }, { rule: "unknown_field", field: "extra" });
});

Deno.test("a field called __proto__ is one as any other: without a column it is told of, and with one it is stored", async (t) => {
  await using engine = await startEngine(t);
  await load(engine, [{ id: 1, a: 1 }]);
  const records = [{ id: 2, a: 2, ["__proto__"]: 5 }, { id: 3, a: 3, ["__proto__"]: "five" }];
  const frozen = await load(engine, records);
  assert.match(frozen.error?.detail ?? "succeeded", /__proto__ \(text, in 2 records, such as 5\)/);
  const wider = await load(engine, records, { schema_policy: "evolve" });
  assert.equal(wider.state, "succeeded", JSON.stringify(wider.error));
  const rows = await engine.sql`select id, proto as value from orders where id > 1 order by id`;
  assert.deepEqual(rows.map(({ value }) => value), ["5", "five"]);
});

Deno.test("a dry run makes no typed table, no records make none, and a record without key is its own", async (t) => {
  await using engine = await startEngine(t);
  const dry = await load(engine, [{ id: 1 }, { id: 2 }], { dry_run: true });
  assert.deepEqual(counts(dry).slice(0, 2), [2, 0]);
  assert.deepEqual(counts(await load(engine, [])), [0, 0, 0, 0, 0]);
  assert.equal((await columns(engine)).length, 0);
  const source = { key: undefined };
  const records = [{ a: 1 }, { a: 2 }, { a: 1 }, { b: "x" }];
  assert.deepEqual(counts(await load(engine, records, { source })), [3, 0, 0, 1, 0]);
  assert.deepEqual(counts(await load(engine, records, { source })), [0, 0, 3, 1, 0]);
  assert.deepEqual((await columns(engine)).map(({ name }) => name).slice(0, 3), [
    "_etl_key",
    "a",
    "b",
  ]);
  const [known] = await engine
    .sql`select reltuples::int as rows from pg_class where oid = 'orders'::regclass`;
  assert.equal(known!.rows, 3, "the planner knows the table after its first load");
});

Deno.test("records without a key say nothing of the table: a first load of such alone makes none", async (t) => {
  await using engine = await startEngine(t);
  const params = { min_acceptance_ratio: 0 };
  assert.deepEqual(counts(await load(engine, [{ n: "x" }], params)), [0, 0, 0, 0, 1]);
  assert.equal((await columns(engine)).length, 0);
  const records = [{ n: "y" }, { id: 1, n: 5 }];
  assert.deepEqual(counts(await load(engine, records, params)), [1, 0, 0, 0, 1]);
  assert.deepEqual((await columns(engine)).slice(0, 2).map(({ name, type }) => `${name} ${type}`), [
    "n bigint",
    "id bigint",
  ]);
});

Deno.test("new fields get columns, by policy or by hand, and reach rows that did not change otherwise", async (t) => {
  await using engine = await startEngine(t);
  const source = { columns: { qty: "integer" } };
  const first = Array.from({ length: 7 }, (_, id) => ({ id, qty: id, day: "2026-01-01" }));
  await load(engine, first, { source });
  const grown = first.map((row) =>
    row.id === 5
      ? { ...row, "New Field": 1.5, since: "2026-05-05" }
      : row.id === 6
      ? { ...row, "New Field": 2 }
      : row
  );
  const before = await engine
    .sql`select id::int, xmin::text as x from orders where id < 5 order by id`;
  const dry = await load(engine, grown, { schema_policy: "evolve", source, dry_run: true });
  assert.deepEqual(counts(dry), [0, 2, 5, 0, 0]);
  const run = await load(engine, grown, { schema_policy: "evolve", source });
  assert.deepEqual(counts(run), [0, 2, 5, 0, 0]);
  assert.equal(run.counts.records_read, 7);
  assert.match(run.warnings.join(), /The table got 2 columns: since date, new_field numeric/);
  assert.deepEqual(
    await engine.sql`select id::int, xmin::text as x from orders where id < 5 order by id`,
    before,
  );
  const rows = await engine
    .sql`select new_field::text as n, since::text from orders where id >= 5 order by id`;
  assert.deepEqual(rows.map((r) => Object.values(r)), [["1.5", "2026-05-05"], ["2", null]]);
  const told = await engine.request("/api/datasets/events?dataset=public.orders");
  const [changed, first_] = (await told.json()).items;
  assert.deepEqual([changed.schema_changed, first_.schema_changed], [true, false]);
  const typesOf = ({ schema }: { schema: { name: string; type: string }[] }) =>
    schema.map(({ name, type }) => `${name} ${type}`).sort();
  assert.deepEqual(typesOf(first_), ["day date", "id integer", "qty integer"]);
  assert.deepEqual(typesOf(changed), [
    "day date",
    "id integer",
    "new_field numeric",
    "qty integer",
    "since date",
  ]);
  const stage = run.stages.find(({ stage }) => stage === "extract")!;
  assert.equal(stage.records_out, 7, "what is prepared again is counted once");
  const [noted] = await engine
    .sql`select run_id, details from etl_improved_audit where event = 'dataset_altered'`;
  assert.equal(noted!.run_id, run.run_id);
  assert.deepEqual(noted!.details.added.map(({ name }: { name: string }) => name), [
    "since",
    "new_field",
  ]);
  await load(engine, [{ id: 1, other: "x" }], { table_name: "others" });
  assert.deepEqual(counts(await load(engine, grown, { source })), [0, 0, 7, 0, 0]);
  const events = await (await engine.request("/api/datasets/events?limit=2")).json();
  assert.deepEqual(
    events.items.map((event: { dataset: string; schema_changed: boolean }) => [
      event.dataset,
      event.schema_changed,
    ]),
    [["public.orders", false], ["public.others", false]],
    "each is compared with the last one of its own dataset",
  );

  const alter = async (body: object) => {
    const answer = await engine.request("/api/datasets/public.orders/columns", {
      method: "PATCH",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  };
  const altered = await alter({
    add: { "x.y": "numeric(5, 2)" },
    types: { qty: "number", day: "timestamptz" },
  });
  assert.equal(altered.status, 200, JSON.stringify(altered.body));
  // types in the form in which they are stored, and a name that is not taken
  const added = await alter({ add: { "x y": "bigint" } });
  assert.equal(added.status, 200, JSON.stringify(added.body));
  const declared = Object.fromEntries(
    added.body.columns.map(({ name, type }: Record<string, string>) => [name, type]),
  );
  assert.deepEqual([declared.x_y, declared.x_y_2, declared.qty], [
    "numeric(5,2)",
    "integer",
    "numeric",
  ]);
  assert.deepEqual(
    (await columns(engine)).filter(({ name }) => ["qty", "day", "x_y"].includes(name)).map((
      { type },
    ) => type).sort(),
    ["numeric", "numeric(5,2)", "timestamp with time zone"],
  );
  // wherever somebody is who does it in SQL
  await engine
    .sql`select etl.alter_dataset('public.orders', '[]', '{"since": "timestamptz"}', 'ann')
    from set_config('timezone', 'Asia/Tokyo', true)`;
  const [since] = await engine
    .sql`select to_char(since at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as at from orders where id = 5`;
  assert.equal(since!.at, "2026-05-05 00:00");
  const [moved] = await engine
    .sql`select day at time zone 'UTC' = '2026-01-01' as same from orders where id = 1`;
  assert.equal(moved!.same, true);
  for (
    const wrong of [{ types: { qty: "integer" } }, { types: { none: "numeric" } }, {
      add: { z: "money" },
    }]
  ) {
    assert.equal((await alter(wrong)).status, 422, JSON.stringify(wrong));
  }
  // PostgreSQL counts bytes, and would cut a longer name
  const names = await engine.sql<{ name: string; is: boolean }[]>`
    select name, etl.is_column(jsonb_build_object('name', name, 'path', 'x', 'type', 'text')) as is
    from unnest(array[repeat('é', 31), repeat('é', 32), repeat('e', 63), '_etl_mine', '']) as name`;
  assert.deepEqual(names.map((each) => each.is), [true, false, true, false, false]);
  const wider = await load(engine, [{ id: 1, qty: 1.5, "x.y": 3.25, day: "2026-01-01T12:00:00Z" }]);
  assert.deepEqual(counts(wider), [0, 1, 0, 0, 0]);
});

Deno.test("append adds rows and changes none, and the same input again adds nothing", async (t) => {
  await using engine = await startEngine(t);
  for (const layout of ["events", "typed"] as const) {
    const table_name = `log_${layout}`;
    const append = { layout, table_name, write: "append" };
    const keyless = { ...append, source: { key: undefined } };
    const lines = Array.from({ length: 8 }, (_, n) => ({ n, line: `line ${n}` }));
    assert.deepEqual(counts(await load(engine, lines, keyless)), [8, 0, 0, 0, 0]);
    assert.deepEqual(counts(await load(engine, lines, keyless)), [0, 0, 8, 0, 0]);
    const more = [...lines, { n: 8, line: "new" }];
    assert.deepEqual(counts(await load(engine, more, keyless)), [1, 0, 8, 0, 0]);
    const keyed = { ...append, table_name: `keyed_${layout}`, source: { version: "v" } };
    await load(engine, [{ id: 1, v: 1 }, { id: 2, v: 1 }], keyed);
    for (const chunk_size of [1, 100]) {
      const run = await load(engine, [{ id: 1, v: 2 }, { id: 2, v: 2 }, {
        id: 3 + chunk_size,
        v: 2,
      }], { ...keyed, chunk_size });
      assert.deepEqual(counts(run), [1, 0, 2, 0, 0]);
    }
  }
  const [sum] = await engine.sql`select max(v)::int as v from keyed_typed where id < 3`;
  assert.equal(sum!.v, 1);
});

Deno.test("a backup holds typed tables, and lineage their columns", async (t) => {
  await using engine = await startEngine(t);
  const run = await load(engine, [{ id: 1, price: 1.5, tags: ["a"] }, { id: 2, price: 2 }], {
    source: { key: ["id", "price"], version: "id" },
  });
  counts(run);
  const facts = await exportFacts(engine.sql, { run_id: run.run_id, end_no: 1 });
  assert.deepEqual(facts.columns!.map(({ name, type }) => `${name} ${type}`), [
    "id integer",
    "tags jsonb",
    "price numeric",
  ]);
  await using dir = await backupDir();
  const backup = await backUp(engine.db.dsn, dir);
  const expected = await held(engine.db.dsn, backup);
  await using empty = await testDatabase(t, { setUp: false });
  await restore(empty.dsn, backup);
  assert.deepEqual(await held(empty.dsn, backup), expected);
  assert.ok(JSON.stringify(expected).includes("orders"));
  await using restored = await startEngine(t, { database: empty });
  const again = await load(restored, [{ id: 1, price: 1.5, tags: ["a"] }, { id: 3, price: 2 }], {
    source: { key: undefined },
  });
  assert.deepEqual(counts(again), [1, 0, 1, 0, 0]);
});

Deno.test("a preview shows the columns and what they would quarantine, and a replay loads it", async (t) => {
  await using engine = await startEngine(t);
  const records = [{ id: 1, qty: 1 }, { id: 2, qty: "many" }];
  const source = { type: "inline", name: "test", key: "id", records, columns: { qty: "integer" } };
  const shown = async (conf: object) => {
    const answer = await engine.post("/api/etl/preview", { table_name: "orders", ...conf });
    assert.equal(answer.status, 200);
    return await answer.json();
  };
  const first = await shown({ layout: "typed", source: { ...source, columns: undefined } });
  assert.deepEqual(first.table, [{ name: "id", type: "integer" }, { name: "qty", type: "text" }]);
  assert.deepEqual(first.counts, { events: 2, rejected: 0, filtered: 0, extra: 0 });
  const run = await load(engine, records, { min_acceptance_ratio: 0, source });
  assert.deepEqual(counts(run), [1, 0, 0, 0, 1]);
  // the layout and its columns are the dataset's
  const again = await shown({
    source: {
      ...source,
      columns: undefined,
      records: [{ id: 3, qty: "many", extra: 1 }, { id: "4", qty: 5 }],
    },
  });
  assert.deepEqual(again.counts, { events: 1, rejected: 1, filtered: 0, extra: 0 });
  assert.deepEqual(again.rules, { column_type: 1 });
  await Deno.writeTextFile(`${engine.dataDir}/orders.csv`, "id,qty\n3,1\n4,many\n");
  const { rejected: [located] } = await shown({
    source: { type: "file", path: "orders.csv", name: "test", key: "id" },
  });
  assert.deepEqual([located.file, located.line], ["orders.csv", 3]);
  assert.match(
    (await shown({ source: { ...source, columns: undefined, records: [{ id: 3, extra: 1 }] } }))
      .warnings.join(),
    /no column for extra \(integer\): a run would fail/,
  );
  const answer = await engine.post(`/api/etl/runs/${run.run_id}/quarantine/replay`, {
    set: { source: { columns: { qty: { type: "integer", null_values: ["many"] } } } },
  });
  const replayed = await engine.toEnd((await answer.json()).run_id);
  assert.deepEqual(counts(replayed), [1, 0, 0, 0, 0]);
  const rows = await engine.sql`select id::int, qty::int from orders order by id`;
  assert.deepEqual(rows.map((r) => Object.values(r)), [[1, 1], [2, null]]);
});

Deno.test("a typed dataset is compared with its source and with another table, column by column", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const records = Array.from({ length: 7 }, (_, i) => ({ a: i, b: `k|${i}`, price: i + 0.5 }));
  const key = ["a", "b"];
  counts(await load(engine, records, { source: { key, version: "price" } }));
  const post = async (body: object) => {
    const response = await engine.request("/api/datasets/public.orders/compare", {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
    });
    return { status: response.status, found: await response.json() };
  };
  const withSource = async (all: unknown[], more = {}) => {
    const run = await load(engine, all, {
      source: { key, version: "price" },
      dry_run: true,
      compare: true,
      ...more,
    });
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    return (await post({ run_id: run.run_id })).found;
  };
  const same = {
    rows: { dataset: 7, other: 7 },
    equal: 7,
    different: 0,
    only_in_dataset: 0,
    only_in_other: 0,
    rejected: 0,
    fields: {},
    differences: [],
  };
  const { dataset: _, other: __, ...found } = await withSource(records);
  assert.deepEqual(found, same);
  // what is rejected is compared with nothing, also where it is all of a chunk
  const bad = [7, 8, 9, 10].map((a) => ({ a, b: "k", price: "cheap" }));
  const { dataset: ___, other: ____, ...beside } = await withSource([...records, ...bad], {
    min_acceptance_ratio: 0,
  });
  assert.deepEqual(beside, { ...same, rejected: 4 });
  await sql`create table public.copy as select b, a::numeric as a, price from public.orders`;
  const copied = (await post({ table: "public.copy" })).found;
  assert.deepEqual([copied.equal, copied.differences], [7, []], JSON.stringify(copied));

  // by hand, older than what is there, twice in the source, and gone from it; a mirror would delete
  await sql`update public.orders set price = 100 where a = 1`;
  const changed = [{ ...records[0], price: 0.25 }, ...records.slice(1, 6), {
    ...records[2],
    price: 2.25,
  }];
  for (const more of [{}, { write: "mirror" }]) {
    const { fields, differences, ...counted } = await withSource(changed, more);
    assert.deepEqual([counted.equal, counted.different, counted.only_in_dataset], [4, 2, 1]);
    assert.deepEqual(fields, { price: 2 });
    assert.deepEqual(differences, [
      {
        event_id: "0|k|0",
        what: "different",
        dataset: { price: 0.5 },
        other: { price: 0.25 },
      },
      { event_id: "1|k|1", what: "different", dataset: { price: 100 }, other: { price: 1.5 } },
      {
        event_id: "6|k|6",
        what: "only_in_dataset",
        dataset: { a: 6, b: "k|6", price: 6.5 },
        other: null,
      },
    ]);
  }
  const [{ n }] = await sql`select count(*)::int as n from public.orders` as unknown as [
    { n: number },
  ];
  assert.equal(n, 7);

  await sql`alter table public.copy drop column price`;
  const refused = await post({ table: "public.copy" });
  assert.equal(refused.status, 422);
  assert.match(refused.found.detail, /no column price/);
  await sql`alter table public.copy add price text default 'x'`;
  const mistyped = await post({ table: "public.copy" });
  assert.equal(mistyped.status, 422, JSON.stringify(mistyped.found));
});
