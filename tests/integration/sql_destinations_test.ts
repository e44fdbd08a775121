import assert from "node:assert/strict";
import { confJsonSchema } from "../../pipeline/params.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { connect } from "../../store/pg.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { client, raised, request, runs, submitted } from "../helpers/sql_problems.ts";
import { lacks } from "../helpers/needs.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test("SQL: the same key and conf are one run; another conf with the key is a conflict", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const ask = async (conf: string, key: string | null) =>
    (await sql.query("select etl.request_run($1::text::jsonb, $2) as id", [conf, key])).rows[0].id;
  const first = await ask('{"batch_size": 1, "chunk_size": 2}', "k");
  assert.equal(await ask('{"chunk_size": 2,  "batch_size": 1}', "k"), first);
  assert.notEqual(await ask('{"batch_size": 1, "chunk_size": 2}', "other"), first);
  assert.notEqual(await ask('{"batch_size": 1, "chunk_size": 2}', null), first);
  const problem = await raised(sql, `select etl.request_run('{"batch_size": 2}', 'k')`);
  assert.deepEqual([problem.type, problem.status], ["idempotency-conflict", 422]);
  assert.match(problem.detail, new RegExp(first));
  assert.equal((await raised(sql, `select etl.request_run('{}', '')`)).status, 400);
  assert.equal(await runs(sql), 3);
  // a key is kept for a day
  const kept =
    "select extract(epoch from min(expires_at) - now())::float8 / 3600 as least, count(*)::int as n from etl.idempotency_keys";
  const { rows: [keys] } = await sql.query(kept);
  assert.ok(keys.n === 2 && keys.least > 23.9, `${keys.least} hours`);
  await sql.query("update etl.idempotency_keys set expires_at = now() - interval '1 second'");
  assert.notEqual(await ask('{"batch_size": 2}', "k"), first);
});

Deno.test("SQL: of two who ask with one key at once, the second waits for the first and gets its run", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await using other = await client(db.dsn);
  const ask = async (who: typeof sql) =>
    (await who.query("select etl.request_run('{}', 'k') as id")).rows[0].id;
  await sql.query("begin");
  const first = await ask(sql);
  const second = ask(other);
  await waitFor(async () =>
    (await sql.query(
      "select from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())",
    )).rowCount! > 0
  );
  await sql.query("commit");
  assert.equal(await second, first);
  assert.equal(await runs(sql), 1);
});

Deno.test("SQL: a key stays with the run that overlap=skip named", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const submit = async (key: string) =>
    (await sql.query(
      `select etl.submit_run('{"overlap": "skip"}', jsonb_build_object('idempotency_key', $1::text, 'immediate', true)) as a`,
      [key],
    ))
      .rows[0].a;
  const first = await submit("a");
  const skipped = await submit("b");
  assert.deepEqual([skipped.run_id, skipped.created, skipped.skipped], [first.run_id, false, true]);
  const { rows: [key] } = await sql.query(
    "select expires_at > now() + interval '23 hours' as kept from etl.idempotency_keys where key = 'b'",
  );
  assert.equal(key.kept, true);
  await sql.query("select etl.cancel_run($1)", [first.run_id]);
  assert.equal((await submit("b")).run_id, first.run_id);
  assert.equal(await runs(sql), 1);
});

Deno.test("SQL: 100 requests at once with one key make one run", async (t) => {
  await using db = await testDatabase(t);
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(db.dsn)));
  try {
    const ids = await Promise.all(
      clients.flatMap((each) =>
        Array.from(
          { length: 5 },
          async () =>
            (await each.query(`select etl.request_run('{"batch_size": 1}', 'same') as id`)).rows[0]
              .id,
        )
      ),
    );
    assert.equal(ids.length, 100);
    assert.equal(new Set(ids).size, 1);
    assert.equal(await runs(clients[0]!), 1);
  } finally {
    await Promise.all(clients.map((each) => each.end()));
  }
});

Deno.test("SQL: requests at once for a schema that does not exist make it once", async (t) => {
  await using db = await testDatabase(t);
  const clients = await Promise.all(Array.from({ length: 8 }, () => connect(db.dsn)));
  try {
    for (let round = 0; round < 5; round++) {
      await Promise.all(
        clients.map((each, i) =>
          each.query(
            `select etl.submit_run(jsonb_build_object('schema_name', $1::text, 'table_name', $2::text), '{"immediate": true}')`,
            [
              `fresh_${round}`,
              `t${i % 2}`,
            ],
          )
        ),
      );
    }
    assert.equal(await runs(clients[0]!), 40);
  } finally {
    await Promise.all(clients.map((each) => each.end()));
  }
});

Deno.test("SQL: tables with long names of the same beginning each get their indexes", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const long = "t".repeat(60);
  for (const name of [`${long}_a`, `${long}_b`]) {
    await sql.query("select etl.ensure_destination('public', $1, 'etl_improved_audit')", [name]);
    const { rows } = await sql.query(
      "select count(*)::int as n from pg_indexes where tablename = $1",
      [name],
    );
    assert.equal(rows[0].n, 3, name);
  }
});

Deno.test("SQL: a role that may not create is told the grant; nothing is half made", async (t) => {
  await using db = await testDatabase(t);
  await using owner = await client(db.dsn);
  const role = `limited_${crypto.randomUUID().slice(0, 8)}`;
  await owner.query(`create role ${role} login password 'x'`);
  try {
    await setupDatabase(db.dsn, { role });
    await owner.query("create schema closed");
    const dsn = Object.assign(new URL(db.dsn), { username: role, password: "x" }).href;
    const before = (await owner.query("select count(*)::int as n from pg_class")).rows[0].n;
    {
      await using limited = await client(dsn);
      const none = await submitted(limited, { schema_name: "missing" });
      assert.deepEqual([none.type, none.status], ["missing-grant", 422]);
      assert.match(
        none.detail,
        new RegExp(`grant create on database "?${db.name}"? to ${role}$`),
      );
      assert.match(
        none.detail,
        /deno task setup-db --schema missing --table etl_improved_events --role/,
      );
      assert.equal(none.errors[0]!.field, "schema_name");
      const closed = await submitted(limited, { schema_name: "closed" });
      assert.match(
        closed.detail,
        new RegExp(
          `grant usage, create on schema closed to ${role}(; grant .* to etl_test_owner)?$`,
        ),
      );
      const dry = await request(limited, { schema_name: "closed", dry_run: true });
      assert.equal(dry.type, "missing-grant");
      assert.equal(await runs(limited), 0);
      assert.equal(
        (await owner.query("select count(*)::int as n from pg_class")).rows[0].n,
        before,
      );
      assert.equal((await owner.query("select to_regnamespace('missing') as n")).rows[0].n, null);
      // what was named first is enough
      await setupDatabase(db.dsn, { role, schema: "closed" });
      await limited.query(
        `select etl.submit_run('{"schema_name": "closed"}', '{"immediate": true}')`,
      );
    }
  } finally {
    await owner.query(`drop owned by ${role} cascade; drop role ${role}`);
  }
});

Deno.test("SQL: a table of another shape is refused, saying what differs, by a dry run too", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query(`create table public.other (event_id text primary key, payload text);
    create table public.unkeyed (like public.etl_improved_events);
    create index on public.unkeyed (event_id);
    create unique index on public.unkeyed (event_id, source)`);
  for (const dry_run of [false, true]) {
    const problem = await request(sql, { table_name: "other", dry_run });
    assert.equal(problem.type, "destination-mismatch");
    assert.match(problem.detail, /lacks .*event_type text.*payload jsonb/);
    assert.match(
      (await request(sql, { table_name: "unkeyed", dry_run })).detail,
      /no primary key or unique index/,
    );
    assert.match(
      (await request(sql, { audit_table_name: "other", dry_run })).detail,
      /is not an audit table/,
    );
  }
  assert.equal(await runs(sql), 0);
});

Deno.test("SQL: the stored parameter schema is the program's", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const { rows } = await sql.query("select schema from etl.param_schema");
  assert.deepEqual(rows[0].schema, JSON.parse(JSON.stringify(confJsonSchema())));
});

Deno.test("SQL: set-up run several times, also at once, by several users of several tools", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const made = await Promise.all([1, 2, 3].map(() => setupDatabase(db.dsn)));
  assert.ok(made.some((created) => created.includes("table etl.runs")));
  assert.deepEqual(await setupDatabase(db.dsn), []);
  const text = await Deno.readTextFile(new URL("../../sql/etl_setup.sql", import.meta.url));
  assert.doesNotMatch(text, /^\\/m, "holds no psql command");
  await using sql = await client(db.dsn);
  await sql.query("begin");
  await sql.query(text);
  await sql.query("commit");
  assert.equal(
    (await sql.query(
      `select count(*)::int as n from pg_locks
      where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
    )).rows[0].n,
    0,
  );
});

Deno.test("SQL: two empty databases' worth of set-up at once do not collide on uncommitted objects", async (t) => {
  for (let round = 0; round < 3; round++) {
    await using db = await testDatabase(t, { setUp: false });
    const text = await Deno.readTextFile(new URL("../../sql/etl_setup.sql", import.meta.url));
    const clients = await Promise.all([1, 2, 3, 4].map(() => connect(db.dsn)));
    try {
      await Promise.all(clients.map((each) => each.query(text)));
    } finally {
      await Promise.all(clients.map((each) => each.end()));
    }
  }
});

Deno.test({
  name: "SQL: psql -f sets up an empty database, twice, in one transaction or not",
  ignore: lacks(await hasPsql(), "install postgresql-client for the tests with psql"),
  async fn(t) {
    const file = new URL("../../sql/etl_setup.sql", import.meta.url).pathname;
    for (const extra of [[], ["--single-transaction"]]) {
      await using db = await testDatabase(t, { setUp: false });
      for (let i = 0; i < 2; i++) {
        const { success, stderr } = await new Deno.Command("psql", {
          args: ["-X", "-q", "-v", "ON_ERROR_STOP=1", ...extra, "-d", db.dsn, "-f", file],
        }).output();
        assert.ok(success, new TextDecoder().decode(stderr));
        assert.equal(new TextDecoder().decode(stderr), "");
      }
    }
  },
});

async function hasPsql(): Promise<boolean> {
  try {
    return (await new Deno.Command("psql", { args: ["--version"] }).output()).success;
  } catch {
    return false;
  }
}

Deno.test("SQL: schemas of PostgreSQL and of the pipeline take no data, not even in a dry run", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  for (const schema of ["etl", "cron", "pg_catalog", "pg_mine", "information_schema"]) {
    for (const dryRun of [false, true]) {
      const conf = JSON.stringify({ schema_name: schema, dry_run: dryRun });
      const problem = await raised(sql, `select etl.request_run('${conf}')`);
      assert.deepEqual([problem.type, problem.errors[0]!.field], ["invalid-conf", "schema_name"]);
    }
  }
  await sql.query(`select etl.request_run('{"schema_name": "pgdata"}')`);
});

Deno.test("SQL: destinations that are made at once in one schema are all granted to the server's role", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const role = `${new URL(db.dsn).pathname.slice(1)}_server`;
  await sql.query(`create role "${role}"`);
  try {
    await sql.query("select etl.grant_server_role($1)", [role]);
    const tables = Array.from({ length: 16 }, (_, i) => `at_once_${i}`);
    await Promise.all(tables.map(async (table) => {
      await using own = await client(db.dsn);
      await own.query("select etl.create_destination('public', $1, 'etl_improved_audit')", [table]);
    }));
    const { rows } = await sql.query(
      "select count(*)::integer as n from unnest($1::text[]) as t where has_table_privilege($2, 'public.' || t, 'insert')",
      [tables, role],
    );
    assert.equal(rows[0].n, tables.length);
  } finally {
    await sql.query(`drop owned by "${role}"; drop role "${role}"`);
  }
});
