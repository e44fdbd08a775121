import assert from "node:assert/strict";
import fc from "fast-check";
import { toUtcText } from "../../pipeline/timestamps.ts";
import { type Client, connect } from "../../store/pg.ts";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { client, raised } from "../helpers/sql_problems.ts";

const set = (columns: unknown, { dataset = "public.sales", view = null as string | null } = {}) =>
  [
    "select etl.set_dataset_columns($1, $2::text::jsonb, $3) as view",
    [dataset, JSON.stringify(columns), view],
  ] as const;

async function put(
  sql: Client,
  columns: unknown,
  options?: { dataset?: string; view?: string },
): Promise<string> {
  const [text, values] = set(columns, options);
  return (await sql.query(text, [...values])).rows[0].view;
}

const refused = (
  sql: Client,
  columns: unknown,
  options?: { dataset?: string; view?: string },
) => {
  const [text, values] = set(columns, options);
  return raised(sql, text, [...values]);
};

/** A dataset with these payloads, the first with event_id 1. */
async function sales(sql: Client, payloads: unknown[], table = "sales"): Promise<void> {
  await sql.query("select etl.ensure_destination('public', $1, 'etl_improved_audit')", [table]);
  await sql.query(
    `insert into public.${`"${table}"`} (event_id, event_type, source, payload, fingerprint, run_id)
    select place, 'sale', 's', payload, '', gen_random_uuid()
    from json_array_elements_text($1::json) with ordinality as p (text, place), lateral (select text::jsonb as payload) as j`,
    [JSON.stringify(
      payloads.map((each) => typeof each === "string" ? each : JSON.stringify(each)),
    )],
  );
}

const rows = async (sql: Client, text: string) => (await sql.query(text)).rows;

Deno.test("typed view: columns by name, of nested fields and list items, next to those of the event", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sales(sql, [
    `{"amount": 12.50, "user": {"id": 9007199254740993, "e.mail": "a@b"}, "tags": ["x", {"n": 2}],
      "paid": true, "day": "2024-02-29", "at": "2024-01-31 23:30:00+02", "big": 123456789012345678901234567890}`,
    {
      amount: "7.25 ",
      user: { id: "9007199254740993" },
      paid: "NO",
      day: "2024-01-31T23:00:00-05",
    },
    { amount: "much", user: 5, tags: "x", paid: 2, day: "2023-02-29", at: "tomorrow", big: {} },
    { amount: null, user: null, tags: null },
  ]);
  const view = await put(sql, [
    { name: "amount", type: "number" },
    { name: "user_id", path: "user.id", type: "integer" },
    { name: "email", path: "user.e\\.mail", type: "text" },
    { name: "tag", path: "tags.0", type: "text" },
    { name: "n", path: "tags.1.n", type: "bigint" },
    { name: "tags", type: "jsonb" },
    { name: "paid", type: "boolean" },
    { name: "day", type: "date" },
    { name: "at", type: "timestamptz" },
    { name: "big", type: "numeric" },
    { name: "whole", path: "big", type: "integer" },
  ]);
  assert.equal(view, "public.sales_typed");
  assert.deepEqual(
    await rows(sql, "select event_id from sales_typed where tags is null order by 1"),
    [{ event_id: "2" }, { event_id: "4" }],
    "JSON's null is null",
  );
  const found = await rows(
    sql,
    `select event_id, event_type, amount::text, user_id::text, email, tag, n, tags, paid, day::text,
      at at time zone 'UTC' = '2024-01-31 21:30' as at, big::text, whole from sales_typed order by event_id`,
  );
  const nothing = {
    event_type: "sale",
    amount: null,
    user_id: null,
    email: null,
    tag: null,
    n: null,
    tags: null,
    paid: null,
    day: null,
    at: null,
    big: null,
    whole: null,
  };
  assert.deepEqual(found, [
    {
      ...nothing,
      event_id: "1",
      amount: "12.50",
      user_id: "9007199254740993",
      email: "a@b",
      tag: "x",
      n: "2",
      tags: ["x", { n: 2 }],
      paid: true,
      day: "2024-02-29",
      at: true,
      big: "123456789012345678901234567890",
    },
    {
      ...nothing,
      event_id: "2",
      amount: "7.25",
      user_id: "9007199254740993",
      paid: false,
      day: "2024-01-31",
    },
    { ...nothing, event_id: "3", tags: "x" },
    { ...nothing, event_id: "4" },
  ]);
});

Deno.test("typed view: no value makes a cast fail, and times are read as occurred_at is", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query("set timezone = 'America/New_York'; set datestyle = 'German, DMY'");
  const digits = (n: number) => fc.stringMatching(new RegExp(`^[0-9]{${n}}$`));
  const nearlyTime = fc.tuple(
    fc.constantFrom("2024", "2023", "1900", "2000", "0000", "0001", "9999"),
    fc.constantFrom("01", "02", "04", "12", "13"),
    fc.constantFrom("01", "29", "30", "31", "00"),
    fc.constantFrom(
      "",
      "T23:59:60",
      " 10:00",
      "T24:00:00",
      "T10:61",
      "T07:08:09",
      "T07:08:09",
      "t10:00:00",
    ),
    fc.constantFrom("", "", ".5", ",123456", "."),
    fc.constantFrom(
      "",
      "Z",
      "Z",
      "-5Z",
      "z",
      " Z",
      "+02",
      "-0530",
      "+15:59",
      "+16",
      "+05:60",
      "+2",
    ),
  ).map(([y, m, d, ...rest]) => `${y}-${m}-${d}${rest.join("")}`);
  const nearlyNumber = fc.tuple(
    fc.constantFrom("", "-", "+", " ", "--"),
    fc.oneof(
      digits(18),
      digits(19),
      digits(20),
      digits(1),
      digits(500),
      fc.constant("9223372036854775808"),
    ),
    fc.constantFrom("", ".", ".0", ".5", "e5", "e999", "e1000", "E-999", " ", "_1", "\n"),
  ).map((parts) => parts.join(""));
  const odd = fc.constantFrom(
    "NaN",
    "Infinity",
    "now",
    "infinity",
    "0x1F",
    "1_000",
    "",
    " ",
    ".",
    "e1",
    "yes",
    "'\\",
  );
  const values = fc.sample(
    fc.oneof(nearlyTime, nearlyNumber, odd, fc.string(), fc.string({ unit: "grapheme" })),
    { numRuns: 10_000, seed: 7 },
  ).filter((text) => !text.includes("\0") && text.isWellFormed());
  const { rows: read } = await sql.query(
    `select v as text, etl.to_bigint(v) as whole, etl.to_numeric(to_jsonb(v)) as number, etl.to_boolean(v) as truth,
      to_char(etl.to_date(v), 'YYYY-MM-DD') as day,
      to_char(etl.to_timestamptz(v) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') as at
    from json_array_elements_text($1::json) as j (v)`,
    [JSON.stringify(values)],
  );
  assert.equal(read.length, values.length);
  assert.ok(
    read.filter(({ at }) => at !== null).length > 100,
    String(read.filter(({ at }) => at !== null).length),
  );
  assert.ok(read.filter(({ whole }) => whole !== null).length > 100);
  for (const { text, at, day, whole, number } of read) {
    const expected = toUtcText(text);
    // PostgreSQL has no offsets of 16 hours and more
    if (expected !== null && !/[+-]1[678]/.test(text.slice(11))) {
      const [whole, fraction = ""] = expected.slice(0, -1).split(".");
      assert.equal(at, `${whole}.${fraction.padEnd(6, "0")}`, text);
      assert.equal(day, text.slice(0, 10));
    } else assert.equal(at, null, text);
    if (whole !== null) {
      assert.equal(BigInt(whole), BigInt(text.trim().replace(/\.0*$/, "").replace("+", "")));
    }
    if (number === null) assert.equal(whole, null, text);
  }
});

Deno.test("typed view: hostile names and paths are names and paths", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const hostile = `"; drop table public.sales; --`;
  const table = `s'"a les`;
  await sql.query("select etl.ensure_destination('public', $1, 'etl_improved_audit')", [table]);
  const names = [hostile, "select", "Straße", "a'b", "$$", "%I %s", "a\\b", "{}", "x".repeat(63)];
  const payload = Object.fromEntries(names.map((name, i) => [name, i]));
  const insert =
    `insert into public."s'""a les" (event_id, event_type, source, payload, fingerprint, run_id)
    values ('1', 't', 's', $1::jsonb || jsonb_build_object('deep', $1::jsonb), '', gen_random_uuid())`;
  await sql.query(insert, [JSON.stringify(payload)]);
  const escaped = (name: string) => name.replaceAll(".", "\\.");
  const view = await put(sql, [
    ...names.map((name) => ({ name, type: "integer" })),
    ...names.map((name, i) => ({
      name: `deep ${i}`,
      path: `deep.${escaped(name)}`,
      type: "integer",
    })),
  ], { dataset: `public.${table}`, view: `v"; drop table x` });
  assert.equal(view, `public."v""; drop table x"`);
  const [row] = await rows(sql, `select * from ${view}`);
  names.forEach((name, i) => {
    assert.equal(row[name], String(i), name);
    assert.equal(row[`deep ${i}`], String(i), name);
  });
});

Deno.test("typed view: everything that is wrong with columns is said at once, and nothing changes", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sales(sql, [{ amount: 1 }]);
  await put(sql, [{ name: "amount", type: "integer" }]);
  const problem = await refused(sql, [
    { name: "amount", type: "interger" },
    { name: "source", type: "text" },
    { name: "amount", type: "text", paht: "x" },
    // in bytes
    { name: "é".repeat(32), path: "", type: "text" },
    { name: 5, type: 7 },
    "amount",
  ]);
  assert.deepEqual([problem.type, problem.status], ["invalid-conf", 422]);
  assert.deepEqual(problem.errors.map(({ field, message }) => `${field} ${message}`), [
    "columns[0].type is not a column type; did you mean integer?",
    "columns[1].name is a column that every typed view has",
    "columns[2].paht is no part of a column",
    "columns[2].name is the name of two columns",
    "columns[3].name is too long for a name in PostgreSQL",
    "columns[3].path must be a path into payload",
    "columns[4].name must be the name of a column",
    "columns[4].type is not a column type",
    "columns[5] must be an object",
  ]);
  for (const columns of [[], {}, "x", Array(501).fill({ name: "a", type: "text" })]) {
    assert.equal((await refused(sql, columns)).errors[0]!.field, "columns");
  }
  assert.equal(
    (await refused(sql, [{ name: "a", type: "text" }], { dataset: "public.none" })).status,
    404,
  );
  assert.deepEqual(await rows(sql, "select amount from sales_typed"), [{ amount: "1" }]);
});

Deno.test("typed view: columns at the end keep what is built on it; other changes name what is in the way", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sales(sql, [{ amount: 1, unit: "EUR" }]);
  assert.equal(await put(sql, null), null);
  await put(sql, [{ name: "amount", type: "integer" }]);
  await sql.query("create view public.by_day as select amount from sales_typed");
  await put(sql, [{ name: "amount", type: "integer" }, { name: "unit", type: "text" }]);
  for (
    const change of [
      () => refused(sql, [{ name: "amount", type: "numeric" }, { name: "unit", type: "text" }]),
      () => refused(sql, [{ name: "unit", type: "text" }]),
      () => refused(sql, null),
      () => refused(sql, [{ name: "amount", type: "integer" }], { view: "other" }),
    ]
  ) {
    const problem = await change();
    assert.deepEqual([problem.type, problem.status], ["conflict", 409]);
    assert.match(problem.detail, /view public\.by_day depends on view public\.sales_typed/);
  }
  assert.deepEqual(
    await rows(sql, "select amount, unit from sales_typed join public.by_day using (amount)"),
    [{ amount: "1", unit: "EUR" }],
  );
  await sql.query("drop view public.by_day");
  assert.equal(await put(sql, [{ name: "unit", type: "text" }], { view: "other" }), "public.other");
  assert.deepEqual(await rows(sql, "select to_regclass('sales_typed') as old, unit from other"), [
    { old: null, unit: "EUR" },
  ]);
  assert.equal(await put(sql, null), null);
  assert.deepEqual(await rows(sql, "select to_regclass('other') as view"), [{ view: null }]);
  const audited = await rows(
    sql,
    "select event, details ->> 'view' as view from public.etl_improved_audit where event like 'dataset_%' order by audit_id",
  );
  assert.deepEqual(audited.map(({ event, view }) => [event, view]), [
    ["dataset_columns_delete", null],
    ["dataset_columns_put", "sales_typed"],
    ["dataset_columns_put", "sales_typed"],
    ["dataset_columns_put", "other"],
    ["dataset_columns_delete", null],
  ]);
});

Deno.test("typed view: it never takes the place of anything else", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sales(sql, [{ amount: 1 }]);
  await sales(sql, [{ amount: 2 }], "refunds");
  const columns = [{ name: "amount", type: "integer" }];
  await sql.query(
    "create table public.sales_typed (mine int); create view public.their_view as select 1 as mine",
  );
  for (const view of [null, "their_view", "refunds"]) {
    const problem = await refused(sql, columns, view === null ? {} : { view });
    assert.deepEqual([problem.type, problem.errors[0]!.field], ["conflict", "view"]);
  }
  assert.equal((await refused(sql, columns, { view: "sales" })).type, "invalid-conf");
  await put(sql, columns, { view: "shared" });
  const taken = await refused(sql, columns, { dataset: "public.refunds", view: "shared" });
  assert.match(taken.detail, /typed view of another dataset/);
  // nor does a run take the view for its table
  const { type } = await raised(sql, `select etl.request_run('{"table_name": "shared"}')`);
  assert.equal(type, "destination-mismatch");
  // what was put in the view's place by hand stays
  await sql.query("drop view public.shared; create view public.shared as select 'mine' as whose");
  assert.equal((await refused(sql, [{ name: "a", type: "text" }])).type, "conflict");
  await sql.query("select etl.set_dataset_columns('public.sales', null)");
  assert.deepEqual(await rows(sql, "select whose from shared"), [{ whose: "mine" }]);
  // long names of tables stay apart
  const long = "t".repeat(60);
  await sales(sql, [{ amount: 3 }], `${long}_a`);
  await sales(sql, [{ amount: 4 }], `${long}_b`);
  const views = [
    await put(sql, columns, { dataset: `public.${long}_a` }),
    await put(sql, columns, { dataset: `public.${long}_b` }),
  ];
  assert.match(views[0]!, /^public\.t{12}_[0-9a-f]{8}_typed$/);
  assert.notEqual(views[0], views[1]);
});

Deno.test("typed view: whoever may read the table may read it, and sees the same rows", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sales(sql, [{ amount: 1, at: "2024-01-01" }, { amount: 2 }]);
  await put(sql, [
    { name: "amount", type: "integer" },
    { name: "n", path: "amount", type: "numeric" },
    { name: "at", type: "timestamptz" },
  ]);
  const suffix = crypto.randomUUID().slice(0, 8);
  const [analyst, stranger] = [`analyst_${suffix}`, `stranger_${suffix}`];
  await sql.query(
    `create role ${analyst}; create role ${stranger}; grant select on sales to ${analyst}`,
  );
  try {
    const as = async (role: string, text: string) => {
      await sql.query(`set role ${role}`);
      return await rows(sql, text).finally(() => sql.query("reset role"));
    };
    const all = "select amount, n, at::date::text as at from sales_typed order by 1";
    assert.deepEqual(await as(analyst, all), [
      { amount: "1", n: "1", at: "2024-01-01" },
      { amount: "2", n: "2", at: null },
    ]);
    await assert.rejects(as(stranger, all), /permission denied for table sales/);
    await sql.query(`alter table sales enable row level security;
      create policy one on sales for select to ${analyst} using (event_id = '2')`);
    assert.deepEqual(await as(analyst, all), [{ amount: "2", n: "2", at: null }]);
    await assert.rejects(
      as(analyst, `insert into sales_typed (event_id) values ('3')`),
      /permission denied/,
    );
    // a role that may not make it is told what it lacks
    await sql.query(`grant usage on schema etl to ${analyst};
      grant execute on all functions in schema etl to ${analyst}`);
    await sql.query(`set session authorization ${analyst}`);
    const problem = await refused(sql, [{ name: "amount", type: "text" }]);
    const gone = await refused(sql, null);
    await sql.query("reset session authorization");
    assert.equal(gone.type, "missing-grant");
    assert.equal(problem.type, "missing-grant");
    assert.match(problem.detail, /grant insert on public\.sales to/);
  } finally {
    await sql.query(`drop owned by ${analyst}, ${stranger}; drop role ${analyst}, ${stranger}`);
  }
});

Deno.test("typed view: it comes back with its table, after a restore, and setup leaves it alone", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await using sql = await client(engine.db.dsn);
  const conf = { schema_name: "mart", table_name: "sales", run_label: "sales" };
  const load = (amount: number) => engine.load([{ id: "a", amount }], conf);
  await load(1);
  const columns = [{ name: "amount", type: "integer" }];
  assert.equal(await put(sql, columns, { dataset: "mart.sales" }), "mart.sales_typed");
  const state = () =>
    rows(
      sql,
      "select c.oid, v.amount from mart.sales_typed as v, pg_class as c where c.oid = 'mart.sales_typed'::regclass",
    );
  const [before] = await state();
  assert.equal(before.amount, "1");
  await load(2);
  await sql.query(await Deno.readTextFile("sql/etl_setup.sql"));
  await put(sql, columns, { dataset: "mart.sales" });
  assert.deepEqual(await state(), [{ ...before, amount: "2" }]);
  await sql.query("drop table mart.sales cascade");
  assert.equal((await rows(sql, "select to_regclass('mart.sales_typed') as view"))[0].view, null);
  // declared while there is no table: made when a run makes it
  await put(sql, [{ name: "value", path: "amount", type: "text" }], { dataset: "mart.sales" });
  assert.equal((await load(3)).state, "succeeded");
  assert.deepEqual(await rows(sql, "select value from mart.sales_typed"), [{ value: "3" }]);
  // a restore brings rows of etl.datasets back
  await sql.query("drop view mart.sales_typed");
  await sql.query("select etl.refresh_typed_views()");
  assert.deepEqual(await rows(sql, "select value from mart.sales_typed"), [{ value: "3" }]);
  // what cannot be made keeps no run from going on
  await sql.query("drop view mart.sales_typed; create table mart.sales_typed ()");
  assert.equal((await load(4)).state, "succeeded");
});

Deno.test("typed view: many who declare columns at once end with the columns of one of them", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sales(sql, [{ amount: 1 }]);
  const clients = await Promise.all(Array.from({ length: 6 }, () => connect(db.dsn)));
  try {
    await Promise.all(
      clients.map((each, i) =>
        put(each, [{ name: `amount_${i}`, path: "amount", type: "integer" }])
      ),
    );
  } finally {
    await Promise.all(clients.map((each) => each.end()));
  }
  const [declared] = await rows(
    sql,
    "select columns -> 0 ->> 'name' as name from etl.datasets where dataset = 'public.sales'",
  );
  assert.deepEqual(await rows(sql, `select ${declared.name} as amount from sales_typed`), [{
    amount: "1",
  }]);
});

Deno.test("typed view: columns are proposed from the data", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const propose = async (sample = 5000) =>
    (await sql.query("select etl.propose_dataset_columns('public.sales', $1) as p", [sample]))
      .rows[0].p;
  await sales(sql, [
    {
      amount: 1,
      price: 1.5,
      ok: true,
      day: "2024-01-31",
      at: "2024-01-31T10:00:00Z",
      zip: "01234",
      userId: 7,
      "user-id": 8,
      source: "web",
      geo: { lat: 1, "a.b": [1] },
      mixed: 1,
      none: null,
      "1st": "x",
      empty: {},
      returning: true,
      deep: { b: { c: { d: { n: 1, e: { f: 1 } } } } },
    },
    `{"amount": 9007199254740993, "price": 2, "day": "2024-02-01", "at": "2024-01-31", "mixed": "x", "huge": 12345678901234567890}`,
  ]);
  const { columns, rows: seen, left_out } = await propose();
  assert.deepEqual([seen, left_out], [2, 0]);
  assert.deepEqual(
    Object.fromEntries(
      columns.map((
        c: { name: string; path: string; type: string },
      ) => [c.name, `${c.path} ${c.type}`]),
    ),
    {
      amount: "amount integer",
      price: "price numeric",
      ok: "ok boolean",
      day: "day date",
      at: "at timestamptz",
      zip: "zip text",
      user_id: "user-id integer",
      user_id_2: "userId integer",
      payload_source: "source text",
      geo_lat: "geo.lat integer",
      geo_a_b: "geo.a\\.b jsonb",
      mixed: "mixed text",
      payload_1st: "1st text",
      empty: "empty jsonb",
      payload_returning: "returning boolean",
      huge: "huge numeric",
      deep_b_c_d_n: "deep.b.c.d.n integer",
      deep_b_c_d_e: "deep.b.c.d.e jsonb",
    },
  );
  await put(sql, columns);
  assert.equal(
    (await rows(sql, "select amount from sales_typed order by 1 desc"))[0].amount,
    "9007199254740993",
  );
  // a map with many keys does not become as many columns
  await sales(sql, [{
    counts: Object.fromEntries(Array.from({ length: 299 }, (_, i) => [`k${i}`, i])),
    zip: 1,
  }, { zip: 2 }], "maps");
  const { rows: [{ p }] } = await sql.query(
    "select etl.propose_dataset_columns('public.maps') as p",
  );
  assert.deepEqual([p.columns.length, p.left_out], [200, 100]);
  assert.equal(p.columns.at(-1).name, "zip", "what most rows have comes first");
  // a large table is looked at in places all over it
  await sql.query(`insert into sales (event_id, event_type, source, payload, fingerprint, run_id)
    select 'n' || i, 't', 's', jsonb_build_object('row', i), '', gen_random_uuid() from generate_series(1, 50000) as i`);
  await sql.query("analyze sales");
  const large = await propose(500);
  assert.ok(large.rows > 0 && large.rows <= 500, String(large.rows));
  assert.deepEqual(large.columns.find((c: { name: string }) => c.name === "row"), {
    name: "row",
    path: "row",
    type: "integer",
  });
});
