import assert from "node:assert/strict";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { rolesWorld } from "../helpers/roles.ts";

const counts = (run: { state: string; error: unknown; counts: Record<string, number> }) => {
  assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  const { inserted, updated, unchanged, duplicates, rejected } = run.counts;
  return [inserted, updated, unchanged, duplicates, rejected];
};

/** A table as an application has it, and what its trigger notes. */
const SHOP = `
  create schema shop;
  create table shop.countries (code text primary key);
  insert into shop.countries values ('ES'), ('PT');
  create type shop.state as enum ('new', 'paid');
  create table shop.orders (
    order_id integer primary key,
    row_no bigint generated always as identity,
    ticket bigserial,
    "No." varchar(8) unique,
    customer uuid,
    country text references shop.countries deferrable initially deferred,
    qty smallint check (qty > 0),
    price numeric(8,2) not null,
    total numeric generated always as (price * qty) stored,
    rate double precision,
    state shop.state,
    seen timestamp(0),
    parent integer references shop.orders,
    place text not null default 'web',
    extra jsonb
  );
  create table shop.log (order_id integer, what text, by text default current_user);
  create function shop.note() returns trigger language plpgsql as $$ begin
    if new.qty = 13 then raise exception 'thirteen brings bad luck'; end if;
    if new.qty = 15 then return null; end if;
    if new.qty = 14 then raise exception 'not fourteen' using errcode = 'MY014'; end if;
    insert into shop.log values (new.order_id, tg_op);
    return new;
  end $$;
  create trigger note before insert or update on shop.orders for each row execute function shop.note();`;

const CUSTOMER = "5F0A7C1E-0000-4000-8000-0000000000AA";
const order = (order_id: number, more: object = {}) => ({
  order_id,
  number: `n${order_id}`,
  customer: CUSTOMER,
  country: "ES",
  qty: 2,
  price: 1.5,
  rate: 0.1,
  state: "new",
  seen: "2026-01-01T10:00:00+01:00",
  ...more,
});

const BAD: [object, RegExp, string | null][] = [
  [{ qty: 0 }, /orders_qty_check/, null],
  [{ price: null }, /null value in column "price".*not-null.*23502/, "price"],
  [{ country: "XX" }, /orders_country_fkey/, null],
  [{ number: "n1" }, /No\._key/, null],
  [{ number: "far too long" }, /too long for type character varying\(8\)/, null],
  [{ qty: 13 }, /thirteen brings bad luck/, null],
  [{ qty: 14 }, /not fourteen, SQLSTATE MY014/, null],
  [{ qty: 15 }, /a trigger or rule of the table has left the row out/, null],
  [{ qty: 40000 }, /smallint out of range/, null],
  [{ state: "lost" }, /invalid input value for enum/, null],
  [{ rate: "0.12345678901234567890123" }, /round a value/, null],
  [{ seen: "2026-01-01T10:00:00.5Z" }, /round a value/, null],
  [{ parent: 999 }, /orders_parent_fkey/, null],
];

Deno.test("a table of another role's own is loaded: its constraints, defaults and triggers hold, and what violates one is quarantined", async (t) => {
  await using w = await rolesWorld(t);
  await w.admin.query(`create role shopkeeper_${w.names.server} login;
    grant create on database "${
    new URL(w.adminDsn).pathname.slice(1)
  }" to shopkeeper_${w.names.server};
    set role shopkeeper_${w.names.server}; ${SHOP}; reset role`);
  const keeper = `shopkeeper_${w.names.server}`;
  try {
    const database = {
      dsn: w.dsnOf("server"),
      name: "shop",
      [Symbol.asyncDispose]: () => Promise.resolve(),
    } as never;
    await using engine = await startEngine(t, {
      database,
      files: {
        "orders.csv":
          "order_id,number,country,qty,price\n50,n50,ES,1,2\n51,n51,ES,0,2\n52,n52,PT,3,2\n",
      },
    });
    const source = {
      name: "shop",
      key: undefined,
      columns: { number: { column: "No." } },
    };
    const load = (records: unknown[], params: Record<string, unknown> = {}) =>
      engine.load(records, {
        layout: "typed",
        schema_name: "shop",
        table_name: "orders",
        audit_table_name: "etl_improved_audit",
        min_acceptance_ratio: 0,
        chunk_size: 1000,
        ...params,
        source: { ...source, ...params.source as object | undefined },
      });

    // what is missing is told as statements that its owner can run
    const refused = async (params: Record<string, unknown> = {}) => {
      const error: { message: string } | null = await load([order(1)], params).then(
        () => null,
        (error) => error,
      );
      assert.ok(error !== null, "a table without the columns of a run is refused");
      return /As its owner, \w+: (.*)$/.exec(error.message)?.[1] ?? error.message;
    };
    const statements = await refused();
    assert.match(
      statements,
      /^alter table shop.orders add column _etl_fingerprint bytea, .*; grant usage on schema shop to \w+; grant select, insert, update on shop.orders to \w+; grant usage on sequence shop.orders_ticket_seq to \w+$/,
    );
    // the role of the server may not alter it, whatever the conf says
    assert.equal(await refused({ add_columns: true }), statements);
    assert.match(await refused({ source: { version: "qty" } }), /_etl_version numeric/);
    await w.admin.query(`set role ${keeper}; ${statements}; reset role`);
    // the trigger of the table writes with the rights of whoever loads
    await w.admin.query(`grant insert on shop.log to ${w.names.server}`);

    const rows = Array.from({ length: 40 }, (_, i) => order(i + 1));
    const bad = BAD.map(([more], i) => order(100 + i, more));
    const mixed = rows.flatMap((row, i) => i % 3 === 0 && bad[i / 3] ? [row, bad[i / 3]!] : [row]);
    // needs the row that comes after it
    mixed.splice(2, 0, order(41, { parent: 40 }));
    const run = await load(mixed);
    assert.deepEqual(counts(run), [41, 0, 0, 0, BAD.length]);
    assert.equal(run.total_rows, 41);
    const rejected = await engine.sql<
      { raw: string; rule: string; message: string; field: string | null; position: number }[]
    >`
      select raw, rule, message, field, position::int from etl.quarantine where run_id = ${run.run_id} order by position`;
    assert.deepEqual(rejected.map(({ rule }) => rule), BAD.map(() => "table_constraint"));
    for (const [i, { raw, message, field, position }] of rejected.entries()) {
      assert.equal(JSON.parse(raw).order_id, 100 + i);
      assert.equal(JSON.parse(raw).order_id, (mixed[position] as { order_id: number }).order_id);
      assert.match(message, BAD[i]![1]);
      assert.equal(field, BAD[i]![2], message);
    }
    const { rows: [one] } = await w.admin.query(
      `select row_no::int, "No.", customer::text, total::text, rate::text, state::text, seen::text, place, extra
      from shop.orders where order_id = 7`,
    );
    assert.ok(one.row_no > 0);
    assert.deepEqual({ ...one, row_no: 0 }, {
      row_no: 0,
      "No.": "n7",
      customer: CUSTOMER.toLowerCase(),
      total: "3.00",
      rate: "0.1",
      state: "new",
      seen: "2026-01-01 09:00:00",
      place: "web",
      extra: null,
    });
    const log = async () =>
      (await w.admin.query(
        "select what, by, count(*)::int as n from shop.log group by 1, 2 order by 1",
      )).rows;
    assert.deepEqual(await log(), [{ what: "INSERT", by: w.names.server, n: 41 }]);

    // again: nothing is written, and what is refused is refused again; the dataset knows its mapping and key
    const again = await load(mixed, { source: { columns: undefined } });
    assert.deepEqual(counts(again), [0, 0, 41, 0, BAD.length]);
    assert.deepEqual(await log(), [{ what: "INSERT", by: w.names.server, n: 41 }]);
    const changed = await load([order(1, { qty: 5 }), order(2, { qty: -1 }), order(3)]);
    assert.deepEqual(counts(changed), [0, 1, 1, 0, 1]);

    // by itself what would be rounded is no error of PostgreSQL's
    const rounded = await load([order(70, { seen: "2026-01-01T10:00:00.5Z" }), order(71)]);
    assert.deepEqual(counts(rounded), [1, 0, 0, 0, 1]);

    // nor is what a trigger leaves out
    assert.deepEqual(counts(await load([order(72, { qty: 15 }), order(73)])), [1, 0, 0, 0, 1]);

    // a file: with file and line, and a replay loads what was mended
    const file = await load([], {
      source: { type: "file", path: "orders.csv", records: undefined },
    });
    assert.deepEqual(counts(file), [2, 0, 0, 0, 1]);
    const [line] = await engine
      .sql`select file, line::int, raw from etl.quarantine where run_id = ${file.run_id}`;
    assert.deepEqual({ ...line }, { file: "orders.csv", line: 3, raw: "51,n51,ES,0,2" });
    await w.admin.query("alter table shop.orders drop constraint orders_qty_check");
    const answer = await engine.post(`/api/etl/runs/${file.run_id}/quarantine/replay`);
    const replayed = await engine.toEnd((await answer.json()).run_id);
    assert.deepEqual(counts(replayed), [1, 0, 0, 0, 0]);

    // what deletes rows needs that right, too, and says so before it reads anything
    for (const deletes of [{ write: "mirror" }, { write: "replace" }]) {
      const mirror = await load([order(1)], { ...deletes, max_delete_ratio: 1 });
      assert.match(mirror.error!.detail!, /As its owner: grant delete on shop.orders to \w+$/);
    }

    // rows of others are foreign
    await w.admin.query("insert into shop.orders (order_id, price) values (900, 1)");
    const foreign = await load([order(900), order(901)]);
    assert.equal(foreign.error?.type, "/api/problems/foreign-rows");

    // fields without a column: the owner adds one, and it is found
    const more = await load([order(60, { discount: 5 })]);
    assert.match(
      more.error!.detail!,
      /as its owner, shopkeeper_\w+: alter table shop.orders add column "discount" bigint/,
    );
    await w.admin.query(
      `alter table shop.orders add column discount numeric(4,1); alter table shop.orders alter column rate type numeric(30,25)`,
    );
    const found = await load([
      order(60, { discount: 5, rate: "0.12345678901234567890123" }),
      order(61, { discount: 5.25 }),
    ]);
    assert.deepEqual(counts(found), [1, 0, 0, 0, 1]);
    const generated = await load([order(62, { row_no: 7 })]);
    assert.match(generated.error!.detail!, /the table generates row_no, so no run writes it/);

    // nothing with the owner's rights touches it: set-up, maintenance, backup
    await w.setUp({ role: w.names.server });
    await w.admin.query(`revoke usage on schema shop from ${w.names.server}`);
    const blind = await load([order(63)]).then(
      (run) => run.error?.detail,
      (error) => error.message,
    );
    assert.match(blind!, /grant usage on schema shop to/);
  } finally {
    await w.admin.query(`drop owned by ${keeper} cascade; drop role ${keeper}`);
  }
});

Deno.test("a table of the server's own role gets the columns of a run when it is told to; without a key that the records have it gets one", async (t) => {
  await using engine = await startEngine(t, {
    files: { "docs.csv": 'id,doc,note\n1,"{""a"":1.10}",[1]\n2,x,\n3,"""x""",\n4,null,\n' },
  });
  const load = (table_name: string, records: unknown[], params: Record<string, unknown> = {}) =>
    engine.load(records, {
      layout: "typed",
      table_name,
      min_acceptance_ratio: 0,
      chunk_size: 100_000,
      ...params,
      source: { key: undefined, ...params.source as object | undefined },
    });
  // columns that values are read by themselves go straight into the table, and are sifted when one is refused
  await engine.sql.unsafe(`create table public.plain (
    id bigint primary key, boss bigint references public.plain, n bigint check (n >= 0), day date default '2026-01-01');
    create table public.lines (no bigint generated always as identity primary key, line text check (line <> 'bad'))`);
  await assert.rejects(load("plain", [{ id: 1 }]), ({ message }: Error) => {
    assert.match(message, /alter table public.plain add column _etl_fingerprint/);
    assert.doesNotMatch(message, /_etl_key/, "the table has a key that the records have");
    return true;
  });
  await assert.rejects(
    load("plain", [{ id: 1 }], { add_columns: true, dry_run: true }),
    /a dry run adds none/,
  );
  const hopeless = await load("plain", Array.from({ length: 1500 }, (_, id) => ({ id, n: -1 })), {
    add_columns: true,
  });
  assert.equal(hopeless.error?.type, "/api/problems/too-many-rejected");
  assert.match(hopeless.error!.detail!, /all of the first 1000 rows.*plain_n_check.*line 1 of/);
  // half of the first 2,000 break the check, and a row may need one that comes later
  const rows = Array.from({ length: 5000 }, (_, id) => ({
    id,
    boss: id === 4999 ? null : id < 3000 ? 4999 : 1,
    n: id % 2 === 0 && id < 2000 ? -1 : id,
  }));
  const run = await load("plain", rows);
  assert.deepEqual(counts(run), [4000, 0, 0, 0, 1000]);
  const [plain] = await engine.sql`select count(distinct day)::int as days, min(day)::text as day,
    count(*) filter (where _etl_run_id is not null)::int as n from public.plain`;
  assert.deepEqual({ ...plain }, { days: 1, day: "2026-01-01", n: 4000 });
  assert.deepEqual(counts(await load("plain", rows)), [0, 0, 4000, 0, 1000]);

  // all at once, what is refused goes to the quarantine, too: of a mirror its row stays, of a replace it goes
  await engine.sql.unsafe(
    `create table public.stock (id bigint primary key, n bigint check (n >= 0), code text unique);
    create table public.sales (stock bigint references public.stock)`,
  );
  const stock = async () =>
    (await engine.sql`select id::int, n::int from public.stock order by id`).map((row) =>
      Object.values(row)
    );
  const item = (id: number, n: number, code = `c${id}`) => ({ id, n, code });
  const once = (write: string, records: unknown[]) =>
    load("stock", records, {
      write,
      chunk_size: 2,
      add_columns: true,
      ...(write === "upsert" ? {} : { max_delete_ratio: 1 }),
    });
  assert.deepEqual(counts(await once("replace", [item(1, 1), item(2, -1), item(3, 1, "c1")])), [
    ...[1, 0, 0, 0, 2],
  ]);
  await once("upsert", [item(2, 2), item(3, 3)]);
  const mirrored = await once("mirror", [item(1, 10), item(2, -1), item(4, 4), item(5, 5, "c4")]);
  assert.deepEqual([...counts(mirrored), mirrored.counts.deleted], [1, 1, 0, 0, 2, 1]);
  assert.deepEqual(await stock(), [[1, 10], [2, 2], [4, 4]]);
  const replaced = await once("replace", [item(1, 10), item(4, -4), item(6, 6), item(2, -2)]);
  assert.deepEqual([...counts(replaced), replaced.counts.deleted], [1, 0, 1, 0, 2, 2]);
  assert.deepEqual(await stock(), [[1, 10], [6, 6]]);
  const [refusedRow] = await engine
    .sql`select raw, rule, message from etl.quarantine where run_id = ${replaced.run_id} order by position limit 1`;
  assert.equal(JSON.parse(refusedRow!.raw).id, 4);
  assert.match(`${refusedRow!.rule} ${refusedRow!.message}`, /table_constraint .*stock_n_check/);
  // what others refer to cannot go, and nothing does
  await engine.sql`insert into public.sales values (6)`;
  const held = await once("replace", [item(1, 11), item(7, -7)]);
  assert.match(held.error!.detail!, /violates foreign key constraint "sales_stock_fkey"/);
  assert.deepEqual(await stock(), [[1, 10], [6, 6]]);

  // spaces at the end of a char(n) say nothing
  await engine.sql`create table public.padded (code char(4) primary key, n integer)`;
  const codes = [{ code: "ab", n: 1 }, { code: "ab  ", n: 2 }, { code: "a b", n: 3 }];
  assert.deepEqual(counts(await load("padded", codes, { add_columns: true })), [2, 0, 0, 1, 0]);
  assert.deepEqual(counts(await load("padded", codes)), [0, 0, 2, 1, 0]);

  // a column that would cut or round a value, or has no room for it, refuses its record alone
  await engine.sql.unsafe(`create domain public.at_noon as time(0);
    create table public.exact (id bigint primary key, code varchar(3) unique, r real, n numeric(3,-2), at time(0), noon public.at_noon,
      fine time, span interval(0), sum money, called name, letter "char", bits bit(3), codes char(3)[], sums numeric(4,1)[], rates real[])`);
  const exact = (id: number, more: object) => ({
    ...{
      id,
      code: `c${id}`,
      r: "0.1",
      n: "100",
      at: "10:00:00",
      noon: "12:00:00",
      fine: "10:00:00.123456",
    },
    ...{ span: "1 day", sum: "1.50", called: "x", letter: "x", bits: "101" },
    ...{ codes: "{abc}", sums: "{1.5,NULL}", rates: "{0.1}" },
    ...more,
  });
  const inexact = [
    { code: "abc " },
    { r: `1${"0".repeat(40)}` },
    { r: "0.123456789" },
    { n: "99999" },
    { at: "10:00:00.5" },
    { noon: "12:00:00.5" },
    { fine: "10:00:00.1234567" },
    { span: "0.5 seconds" },
    { sum: "1.555" },
    { called: "x".repeat(64) },
    { letter: "xy" },
    { bits: "1010" },
    { codes: "{abcd}" },
    { sums: "{1.55}" },
    { rates: "{0.123456789}" },
  ];
  const mixedExact = [exact(0, {}), ...inexact.map((more, i) => exact(i + 1, more)), exact(99, {})];
  const kept = await load("exact", mixedExact, { add_columns: true });
  assert.deepEqual(counts(kept), [2, 0, 0, 0, inexact.length]);
  assert.deepEqual(
    {
      ...(await engine
        .sql`select code, bits::text, codes::text, sums::text from public.exact where id = 99`)[0],
    },
    { code: "c99", bits: "101", codes: "{abc}", sums: "{1.5,NULL}" },
  );

  // a cell is JSON where its column is
  await engine.sql`create table public.docs (id bigint primary key, doc jsonb, note text)`;
  const docs = await load("docs", [], {
    add_columns: true,
    source: { type: "file", path: "docs.csv", key: "id", records: undefined },
  });
  assert.deepEqual(counts(docs), [3, 0, 0, 0, 1]);
  assert.deepEqual(
    (await engine.sql`select id::int, doc::text, note from public.docs order by id`).map((row) =>
      Object.values(row)
    ),
    [[1, '{"a": 1.1}', "[1]"], [3, '"x"', null], [4, null, null]],
  );

  // where the table takes two texts for one they are no key
  await engine.sql.unsafe(
    `create collation public.caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table public.caseless (code text collate public.caseless primary key, n integer)`,
  );
  const caseless = await load("caseless", [{ code: "a", n: 1 }, { code: "A", n: 2 }], {
    add_columns: true,
  });
  assert.match(caseless.error!.detail!, /a collation in which different texts are equal/);

  // an identity is no key that records have
  const lines = [{ line: "a" }, { line: "bad" }, { line: "b" }, { line: "a" }];
  await assert.rejects(load("lines", lines), /add column _etl_key text unique/);
  assert.deepEqual(counts(await load("lines", lines, { add_columns: true })), [2, 0, 0, 1, 1]);
  assert.deepEqual(counts(await load("lines", lines)), [0, 0, 2, 1, 1]);
  const noted = await engine
    .sql`select event, details ->> 'statement' as statement from etl_improved_audit
    where event like 'dataset_%' and run_id = ${hopeless.run_id} order by id`;
  assert.deepEqual(noted.map(({ event }) => event), ["dataset_altered", "dataset_declared"]);

  // `etl dataset alter` declares what the owner has made, and makes nothing
  const alter = (body: object) =>
    engine.request("/api/datasets/public.lines/columns", {
      method: "PATCH",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const refused = await alter({ add: { note: "text" } });
  assert.equal(refused.status, 422);
  assert.match(
    (await refused.json()).detail,
    /a table of its owner, \w+, who adds and alters its columns/,
  );
  await engine.sql`alter table public.lines add column note varchar(3)`;
  assert.equal((await alter({ add: { note: "text" } })).status, 200);
  const noting = await load("lines", [{ line: "c", note: "x" }, { line: "d", note: "long" }]);
  assert.deepEqual(counts(noting), [1, 0, 0, 0, 1]);

  const shown = await engine.post("/api/etl/preview", {
    layout: "typed",
    table_name: "plain",
    source: { type: "inline", name: "test", records: [{ id: 1, n: 1, other: 2 }] },
  });
  const body = await shown.json();
  assert.deepEqual(body.table.map(({ name }: { name: string }) => name).sort(), [
    "boss",
    "id",
    "n",
  ]);
  assert.match(
    body.warnings.join(),
    /no column for other \(integer\): a run would fail, unless its owner adds one/,
  );

  // what a trigger leaves out without a word is no row that was loaded
  await engine.load([{ id: 1 }], { table_name: "watched" });
  await engine.sql.unsafe(
    `create function public.leave_out() returns trigger language plpgsql as $$ begin
      return case when to_jsonb(new) @> '{"n": 77}' or to_jsonb(new) @> '{"event_id": "77"}' then null else new end; end $$;
    create trigger leave_out before insert on public.plain for each row execute function public.leave_out();
    create trigger leave_out before insert on public.watched for each row execute function public.leave_out()`,
  );
  const left = await load("plain", [{ id: 9001, n: 77 }, { id: 9002, n: 78 }]);
  assert.deepEqual(counts(left), [1, 0, 0, 0, 1]);
  const watched = await engine.load([{ id: 77 }, { id: 78 }], { table_name: "watched" });
  assert.match(
    watched.error!.detail!,
    /^1 of 2 rows that were written into public.watched are not there: a trigger or rule/,
  );
  assert.deepEqual(Object.keys(await engine.payloads("watched")), ["1"]);

  // a load that goes in without an index must not begin with this table
  const [first] = await engine
    .sql`select count(*)::int as n from pg_index where indrelid = 'public.plain'::regclass`;
  assert.equal(first!.n, 1);
});

/** Texts by the type of a column: how it holds them; null: it would take them for something else. */
const TEXTS: Record<string, [text: string, stored: string | null][]> = {
  oid: [["4294967295", "4294967295"], ["-1", null], ["010", null], ["4294967296", null]],
  time: [
    ["9:05", "09:05:00"],
    ["24:00", "24:00:00"],
    ["12:00+02", null],
    ["2026-01-01 12:00", null],
    ["23:59:60", null],
    ["now", null],
    ["12:00:00.1234567", null],
  ],
  timetz: [
    ["12:00", "12:00:00+00"],
    ["12:00+02:30", "12:00:00+02:30"],
    ["2026-07-01 12:00 Europe/Madrid", null],
  ],
  interval: [
    ["PT9223372036854.775807S", "2562047788:00:54.775807"],
    ["P-1M2DT-3.5S", "-1 mons +2 days -00:00:03.5"],
    ["1.5 years", "1 year 6 mons"],
    ["1.123 years", null],
    ["0.4 us", null],
    ["1:00:00.1234567", null],
    ["PT9223372036854.5H0.775807S", null],
  ],
  bytea: [["\\x00ff", "\\x00ff"], ["AP8=", null]],
  "date[]": [
    ["{2026-01-01,NULL}", "{2026-01-01,NULL}"],
    ["{2026-01-01 23:59}", null],
    ["{01/02/2026}", null],
  ],
  "time[]": [["[0:0]={12:00}", "[0:0]={12:00:00}"], ["{12:00+02}", null]],
  "timestamp[]": [
    ['{"2026-01-01 12:00+02"}', '{"2026-01-01 10:00:00"}'],
    ["{2026-01-01 12:00:00.1234567}", null],
    ["{now}", null],
  ],
  "tstzrange": [
    ["[2026-01-01 12:00,infinity)", '["2026-01-01 12:00:00+00",infinity)'],
    ["empty", "empty"],
    ["[today,)", null],
  ],
  "datemultirange": [
    ["{[2026-01-01,2026-01-03]}", "{[2026-01-01,2026-01-04)}"],
    ["{[2026-01-01 23:00,2026-01-03]}", null],
  ],
  "public.cents[]": [["{1.25}", "{1.25}"], ["{1.255}", null]],
  "varchar(3)[]": [["{abc}", "{abc}"], ['{"abc "}', null]],
  "name[]": [["{x}", "{x}"], [`{${"x".repeat(64)}}`, null]],
  "public.float8range": [["[0.5,1)", "[0.5,1)"], ["[0.12345678901234567890,1)", null]],
  "public.pair": [["(0.5,12:00:00)", "(0.5,12:00:00)"], ["(0.123456789,12:00:00)", null]],
  money: [["$1,234.50", "$1,234.50"], ["12,34", null], ["$12.345", null]],
  point: [["(1.0, 2)", "(1,2)"], ["(0.12345678901234567890,1)", null]],
};

Deno.test("a text that a column would take for something else is quarantined: a zone of a time, a word, bytes that are base64", async (t) => {
  await using database = await testDatabase(t);
  await using engine = await startEngine(t, {
    database,
    env: { ETL_CONNECTION_SHOP: database.dsn },
  });
  const types = Object.keys(TEXTS);
  const meta =
    `_etl_first_seen_at timestamptz default now(), _etl_updated_at timestamptz default now(),
    _etl_run_id uuid, _etl_fingerprint bytea`;
  await engine.sql.unsafe(
    `create domain public.cents as numeric(8,2); create type public.pair as (a real, b time);
    create type public.float8range as range (subtype = float8);
    create table public.odd (id integer primary key, ${
      types.map((type, i) => `c${i} ${type}`).join(", ")
    }, ${meta})`,
  );
  const cells = types.flatMap((type, i) =>
    TEXTS[type]!.map(([text, stored]) => ({ i, text, stored }))
  );
  const run = await engine.load(cells.map(({ i, text }, id) => ({ id, [`c${i}`]: text })), {
    layout: "typed",
    table_name: "odd",
    min_acceptance_ratio: 0,
    chunk_size: 1000,
  });
  assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  const texts = await engine.sql.unsafe<{ id: number; text: string }[]>(
    `select id::int, coalesce(${
      types.map((_, i) => `c${i}::text`).join(", ")
    }) as text from public.odd`,
  );
  const stored = new Map(texts.map(({ id, text }) => [id, text]));
  assert.deepEqual(
    cells.map(({ i, text }, id) => [types[i], text, stored.get(id) ?? null]),
    cells.map(({ i, text, stored }) => [types[i], text, stored]),
  );
  const [told] = await engine.sql`select field, message from etl.quarantine
    where run_id = ${run.run_id} and raw like '%12:00+02%' order by position limit 1`;
  assert.match(`${told!.field} ${told!.message}`, /^c1 column c1: "12:00\+02" is no time such as/);

  // bytes of a source with types are bytes
  await engine.sql.unsafe(
    `create table public.files (id integer primary key, body bytea, note text, ${meta});
    create table public.bodies (id integer primary key, body bytea, note bytea);
    insert into public.bodies values (1, '\\x00ff', 'abc'), (2, '', null)`,
  );
  const copied = await engine.runToEnd({
    layout: "typed",
    table_name: "files",
    source: { type: "postgres", connection: "shop", table: "public.bodies", key: "id" },
  });
  assert.deepEqual(counts(copied), [2, 0, 0, 0, 0]);
  assert.deepEqual(
    (await engine.sql`select body::text, note from public.files order by id`).map((row) =>
      Object.values(row)
    ),
    // text has them as base64
    [["\\x00ff", "YWJj"], ["\\x", null]],
  );
});

Deno.test("of a chunk whose rows and deletions a table refuses in part, each record counts once, also where it is prepared again for a retry", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql.unsafe(
    `create table public.parts (id bigint primary key, n bigint check (n >= 0));
    create table public.uses (part bigint references public.parts)`,
  );
  const load = (records: unknown[], params: Record<string, unknown> = {}) =>
    engine.load(records, {
      layout: "typed",
      table_name: "parts",
      add_columns: true,
      min_acceptance_ratio: 0,
      chunk_size: 100,
      ...params,
    });
  const deleted = { field: "op", equals: "D" };
  const gone = (id: number) => ({ id, op: "D" });
  const counted = (run: Awaited<ReturnType<typeof load>>) => [
    ...counts(run),
    run.counts.deleted,
    run.counts.deletions,
  ];
  const stored = async () =>
    (await engine.sql`select id::int, n::int from public.parts order by id`).map((row) =>
      Object.values(row).join(":")
    ).join(" ");
  await load([1, 2, 3, 4, 5].map((id) => ({ id, n: id })));
  await engine.sql`insert into public.uses values (2)`;
  const both = [gone(1), gone(2), { id: 3, n: -3 }, { id: 4, n: 40 }, { id: 6, n: 6 }];
  assert.deepEqual(counted(await load(both, { deleted })), [1, 1, 0, 0, 2, 1, 1]);
  assert.equal(await stored(), "2:2 3:3 4:40 5:5 6:6");
  const rowsOnly = [gone(3), { id: 4, n: -4 }, { id: 5, n: 5 }];
  assert.deepEqual(counted(await load(rowsOnly, { deleted })), [0, 0, 1, 0, 1, 1, 1]);
  assert.equal(await stored(), "2:2 4:40 5:5 6:6");
  // a mirror deletes what its records delete, and what it has no more: 6
  const mirror = { deleted, write: "mirror", max_delete_ratio: 1 };
  const once = [gone(2), gone(4), { id: 5, n: 5 }, { id: 7, n: 7 }];
  assert.deepEqual(counted(await load(once, mirror)), [1, 0, 1, 0, 1, 2, 1]);
  assert.equal(await stored(), "2:2 5:5 7:7");

  // chunk 0 is published, and so is chunk 1; the ratio fails the run, whose spill goes
  const short = await load([{ id: 8, n: 8 }, { id: 9, n: -9 }, { id: 10, n: 10 }], {
    chunk_size: 2,
    min_acceptance_ratio: 1,
  });
  const chunks = () =>
    engine
      .sql`select chunk_no, state, events::int, rejected::int, inserted::int from etl.chunks where run_id = ${short.run_id} order by chunk_no`;
  const before = await chunks();
  assert.deepEqual(before.map(({ events, rejected }) => [events, rejected]), [[1, 1], [1, 0]]);
  assert.equal((await engine.post(`/api/etl/runs/${short.run_id}/retry`)).status, 202);
  const again = await engine.toEnd(short.run_id);
  assert.equal(again.attempt, 2);
  assert.deepEqual([short.counts.rejected, again.counts.rejected], [1, 1]);
  assert.deepEqual(await chunks(), before);
});
