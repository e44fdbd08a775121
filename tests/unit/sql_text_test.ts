import assert from "node:assert/strict";
import { sqlConsumer } from "../../pipeline/consumers/sql_consumer.ts";
import { writesOnly } from "../../pipeline/consumers/sql_writes.ts";
import { readStatements, SqlTextError } from "../../pipeline/consumers/sql_text.ts";
import { Problem } from "../../vocabulary/problem.ts";

const TYPES = { run_id: "uuid", since: "timestamptz" };
const read = (text: string) => readStatements(text, TYPES);

/** The place and message of what is wrong. */
async function wrong(text: string): Promise<string> {
  const error = await read(text).then(() => null, (error) => error);
  assert.ok(error instanceof SqlTextError, `nothing wrong with ${text}`);
  return `${error.at.line}:${error.at.column} ${error.message}`;
}

Deno.test("a :name is a parameter where it stands for a value, and text anywhere else", async () => {
  const untouched = [
    "select ':run_id', e'\\':run_id', U&'\\0061:run_id'",
    "select $$ :run_id $$, $a$ $b$ :run_id $a$",
    'select ":run_id" from t as ":since"',
    "select 1 /* :run_id /* :since */ :run_id */ -- :run_id\n+ 1",
    "select x::since, a[i : j], a[1:2], f(x := 1), '😀é:run_id'",
  ];
  for (const text of untouched) {
    const [statement, ...more] = await read(text);
    assert.deepEqual([statement!.text, statement!.params, more], [text, [], []]);
  }
  const [one] = await read("select 'é😀', :run_id, x::text, -:since::date, ':since', :run_id");
  assert.equal(
    one!.text,
    "select 'é😀', $1::uuid, x::text, -$2::timestamptz::date, ':since', $1::uuid",
  );
  assert.deepEqual(one!.params, ["run_id", "since"]);
});

Deno.test("a file of several statements is split where PostgreSQL does, each with parameters of its own", async () => {
  const text = `-- a head;
select 'a;b', :since ; ;
do $$ begin perform 1; end $$;
create function f() returns int begin atomic select 1; select 2; end;
delete from t where run_id = :run_id -- ; the end`;
  const statements = await read(text);
  assert.deepEqual(statements.map(({ text, params, at }) => [text, params, at.line]), [
    ["select 'a;b', $1::timestamptz ", ["since"], 2],
    ["do $$ begin perform 1; end $$", [], 3],
    ["create function f() returns int begin atomic select 1; select 2; end", [], 4],
    ["delete from t where run_id = $1::uuid -- ; the end", ["run_id"], 5],
  ]);
  assert.deepEqual(await read("-- nothing\n;;"), []);
});

Deno.test("a place in what is sent is told as a place in the file, behind parameters and characters of several bytes", async () => {
  const [, second] = await read("select 1;\n\nselect 'éж€😀', :since,\n  :run_id, wrong from t");
  const position = [...second!.text].join("").indexOf("wrong") - 1 /* 😀 is one character */ + 1;
  assert.deepEqual(second!.placeOf(position), { line: 4, column: 12 });
  assert.deepEqual(second!.placeOf(second!.text.indexOf("$2") - 1 + 1), { line: 4, column: 3 });
});

Deno.test("what cannot be read is refused with line and column", async () => {
  assert.equal(
    await wrong("select 1;\nselect 'é', :since fro form x"),
    '2:24 syntax error at or near "form"',
  );
  assert.match(await wrong("select :since;\n  select 'abc"), /^2:10 unterminated quoted string/);
  assert.match(await wrong("select :since;\n  /* abc"), /^2:3 unterminated \/\* comment/);
  assert.match(
    await wrong("select 1,\n :sinc"),
    /^2:2 :sinc is no parameter; there are :run_id, :since/,
  );
  assert.match(await wrong("select :Since"), /^1:8 :Since is no parameter/);
  assert.match(await wrong("select a[i:j]"), /^1:11 :j is no parameter.*\[a : b\]/);
  assert.match(await wrong("select 'a\u0000b'"), /^1:10 a character of control/);
});

Deno.test("what ends the transaction or outlives it is refused", async () => {
  const refused = [
    "begin",
    "commit",
    "rollback",
    "savepoint a",
    "release a",
    "prepare transaction 'a'",
    "start transaction",
    "end",
    "copy t from stdin",
    "copy t to '/tmp/x'",
    "set search_path = x",
    "set session authorization x",
    "reset all",
    "discard all",
    "listen x",
    "unlisten x",
    "prepare x as select 1",
    "execute x",
    "deallocate all",
    "load 'x'",
  ];
  for (const statement of refused) {
    assert.match(await wrong(`select 1;\n ${statement}; select 2`), /^2:2 /, statement);
  }
  await read("set local search_path = x; set transaction read only; select 1");
});

Deno.test("a SQL consumer writes its own table and temporary ones, wherever it is written: everything else is refused", async () => {
  const allowed = [
    "insert into mart.daily select 1; update mart.daily set a = 1; delete from mart.daily",
    "merge into mart.daily using o on true when matched then delete",
    "with gone as (delete from mart.daily returning *) select * from gone, public.orders for update",
    "create table if not exists mart.daily (day date); create index on mart.daily (day); alter table mart.daily add b int",
    "drop table if exists mart.daily; create table mart.daily as select 1",
    "create table mart.daily_2026 partition of mart.daily for values in (1)",
    "create materialized view mart.daily as select 1; refresh materialized view mart.daily; analyze mart.daily",
    "create or replace view mart.daily as select 1; truncate mart.daily",
    "create temp table t on commit drop as select 1; insert into t values (2); select 1 into temp u; drop table t, u",
    "create table pg_temp.w (a int); insert into pg_temp.w values (1)",
    "set local role x; set local search_path = x; lock table public.orders in share mode; set constraints all deferred; explain analyze select 1",
  ];
  for (const text of allowed) {
    await readStatements(text, TYPES, writesOnly("mart.daily"));
  }
  const refused: [string, RegExp][] = [
    ["insert into public.orders values (1)", /may write mart\.daily.*not public\.orders/],
    ["insert into daily values (1)", /write mart\.daily: .* search path/],
    ["insert into ily values (1)", /not ily:/],
    ["create temp table o (); insert into public.o values (1)", /not public\.o/],
    [
      "select * from (select 1) as a where exists (select 1); with x as (update public.o set a = 1 returning a) select * from x",
      /not public\.o/,
    ],
    [
      "with x as (with y as (delete from public.o returning 1) select * from y) insert into mart.daily select * from x",
      /not public\.o/,
    ],
    ["explain analyze delete from public.o", /not public\.o/],
    ["explain analyze create table public.o as select 1", /not public\.o/],
    ["merge into public.o using mart.daily on true when matched then delete", /not public\.o/],
    ["truncate mart.daily, public.o", /not public\.o/],
    ["drop table mart.daily, public.o", /not public\.o/],
    ["create temp table o (); drop table o; insert into o values (1)", /not o:/],
    ["create temp table o (); drop table pg_temp.o; insert into o values (1)", /not o:/],
    ["drop index mart.daily_day_idx", /drop its own table and nothing else/],
    ["create table public.o (a int)", /not public\.o/],
    ["create table public.o as select 1", /not public\.o/],
    ["select 1 into public.o", /not public\.o/],
    ["create table public.p partition of public.o for values in (1)", /not public\.p/],
    ["create view public.v as select 1", /not public\.v/],
    ["create index on public.o (a)", /not public\.o/],
    ["alter table public.o add b int", /not public\.o/],
    ["alter table mart.daily rename to x", /nothing else/],
    ["refresh materialized view public.o", /not public\.o/],
    ["drop schema public cascade", /drop its own table and nothing else/],
    ["do $$ begin perform 1; end $$", /do block/],
    ["call public.anything()", /procedure/],
    ["grant all on mart.daily to public", /nothing else/],
    ["create function f() returns int return 1", /nothing else/],
    ["create trigger t after insert on public.o execute function f()", /nothing else/],
    ["notify x", /nothing else/],
  ];
  for (const [text, reason] of refused) {
    const error = await readStatements(text, TYPES, writesOnly("mart.daily")).then(
      () => null,
      (error) => error,
    );
    assert.ok(error instanceof SqlTextError, text);
    assert.match(error.message, reason, text);
  }
});

Deno.test("the header of a SQL consumer says what it listens to and writes, and what is wrong with it", async () => {
  const dir = await Deno.makeTempDir();
  const made = async (text: string | Uint8Array, file = "daily.sql") => {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    await Deno.writeFile(`${dir}/${file}`, bytes);
    return await sqlConsumer(`${dir}/${file}`);
  };
  const refused = async (text: string | Uint8Array, file?: string) => {
    const error = await made(text, file).then(() => null, (error) => error);
    assert.ok(error instanceof Problem, `nothing wrong with ${text}`);
    return error.message;
  };
  try {
    const full = await made(`-- Orders a day.
-- listens: public.orders, postgres://etl_improved/etl_improved_events
-- writes:  mart.orders_daily
-- mode: latest
-- timeout_ms: 5000
-- pause_ms: 200
-- skip_unchanged: true

-- note: not of the header
select 1`);
    const { name, datasets, emits, mode, timeoutMs, pauseMs, skipUnchanged } = full;
    assert.deepEqual({ name, datasets, emits, mode, timeoutMs, pauseMs, skipUnchanged }, {
      name: "daily",
      datasets: ["public.orders", "public.etl_improved_events"],
      emits: ["mart.orders_daily"],
      mode: "batch",
      timeoutMs: 5000,
      pauseMs: 200,
      skipUnchanged: true,
    });
    assert.match(full.sha256!, /^[0-9a-f]{64}$/);
    // of a server that is stopping already
    const stopped = { signal: AbortSignal.abort(new Error("stopping")), events: [] };
    await assert.rejects(full.run(stopped as never, {} as never), /stopping/);
    const head = "-- listens: s.a\n-- writes: s.b\n";
    const least = await made(`\ufeff${head.replaceAll("\n", "\r\n")}select 1`);
    assert.deepEqual([least.mode, least.timeoutMs, least.skipUnchanged], ["each", 600_000, false]);

    assert.match(await refused("select 1"), /^daily\.sql:1:1: .* lacks listens/);
    assert.match(await refused("-- listens: s.a\nselect 1"), /daily\.sql:1:1: .* lacks writes/);
    assert.match(await refused(`${head}-- timeout: 5`), /daily\.sql:3:1: timeout is not known/);
    assert.match(await refused("-- listen: s.a"), /daily\.sql:1:1: .*do you mean listens\?/);
    assert.match(await refused(`${head}-- writes: s.c`), /daily\.sql:3:1: writes is there twice/);
    assert.match(await refused("-- listens: s.a\n-- writes: b"), /:2:1: writes b: .*schema\.table/);
    assert.match(await refused(`${head}-- mode: all`), /:3:1: mode all: .*each.*latest/);
    assert.match(await refused(`${head}-- timeout_ms: 5`), /:3:1: timeout_ms 5: /);
    assert.match(await refused(`${head}-- timeout_ms: 86400001`), /:3:1: timeout_ms 86400001: /);
    assert.match(
      await refused(`${head}-- mode: latest\n-- pause_ms: 600001\nselect 1`),
      /:4:1: pause_ms 600001: /,
    );
    assert.match(await refused(`${head}-- pause_ms: 5\nselect 1`), /pauseMs is for mode batch/);
    assert.match(await refused(head), /has no statement/);
    assert.match(await refused(`${head}select 1;\ncommit`), /daily\.sql:4:1: .* one transaction/);
    assert.match(await refused(new Uint8Array([0xff])), /not UTF-8/);
    assert.match(
      await refused(`${head}select 1`, "Daily-orders.sql"),
      /Daily-orders\.sql: its name/,
    );
    assert.match(await refused(`${head}select '${"x".repeat(200_000)}'`), /more than 200000/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
