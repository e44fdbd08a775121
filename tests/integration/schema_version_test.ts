import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { Database } from "../../store/database.ts";
import { readSetupMark, requireSchemaVersion } from "../../store/schema_version.ts";
import { later } from "../helpers/next_version.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { client } from "../helpers/sql_problems.ts";
import { startServer } from "../helpers/server.ts";

const PROGRAM = await Deno.readTextFile(new URL("../../sql/etl_setup.sql", import.meta.url));

const next = String(readSetupMark(PROGRAM).migrations.length + 1).padStart(4, "0");
const NOTE = `${next}_note`;
const MIGRATION = {
  [NOTE]: `-- counts how often it is executed
alter table etl.variables add column note text;
insert into etl.variables (name, value, note) values ('executed', '1', 'x');`,
};

Deno.test("a migration is executed once by four that set up at once, and not in a new database", async (t) => {
  const setup = await later(MIGRATION);
  await using old = await testDatabase(t);
  await Promise.all([1, 2, 3, 4].map(() => setupDatabase(old.dsn, { setupSql: setup })));
  await using sql = await client(old.dsn);
  const { rows } = await sql.query(
    `select executed, (select count(*) from etl.variables where note = 'x')::integer as times
    from etl.migrations where name = $1`,
    [NOTE],
  );
  assert.deepEqual(rows, [{ executed: true, times: 1 }]);
  await using fresh = await testDatabase(t, { setUp: false });
  await setupDatabase(fresh.dsn, { setupSql: setup });
  await using other = await client(fresh.dsn);
  const recorded = await other.query("select executed from etl.migrations");
  assert.ok(recorded.rows.every(({ executed }) => !executed) && recorded.rows.length > 1);
});

Deno.test("a migration that fails leaves nothing, and the set-up of before goes on working", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const failing = await later({
    [NOTE]: "alter table etl.variables add column note text; select 1 / 0;",
  });
  await assert.rejects(setupDatabase(db.dsn, { setupSql: failing }), /division by zero/);
  const { rows } = await sql.query(
    "select count(*)::integer as n from etl.migrations where name = $1",
    [
      NOTE,
    ],
  );
  assert.equal(rows[0].n, 0);
  await setupDatabase(db.dsn, { setupSql: await later(MIGRATION) });
});

Deno.test("a changed migration and a database that is newer are refused", async (t) => {
  await using db = await testDatabase(t);
  await setupDatabase(db.dsn, { setupSql: await later(MIGRATION) });
  const changed = await later({ [NOTE]: "select 2;" });
  await assert.rejects(
    setupDatabase(db.dsn, { setupSql: changed }),
    new RegExp(`Migration ${NOTE} was changed after this database had it`),
  );
  await assert.rejects(
    setupDatabase(db.dsn),
    new RegExp(`newer than this program, which does not know its migrations ${NOTE}`),
  );
});

Deno.test("a server only starts with a schema of its version, and says what to do", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const database = new Database(db.dsn, { applicationName: "test", max: 1 });
  const program = readSetupMark(PROGRAM);
  try {
    const check = (mark = program) => requireSchemaVersion(database.sql, mark);
    assert.equal(await check(), null);
    const update = readSetupMark(await later(MIGRATION));
    await assert.rejects(check(update), new RegExp(`lacks the migrations ${NOTE}: .*setup-db`));
    await assert.rejects(check({ ...program, checksum: "0" }), /another version: .*setup-db/);
    // servers are replaced one by one: the old ones go on beside additions
    await sql.query("insert into etl.setups (checksum) values ('newer')");
    assert.match((await check())!, /set up by another version since/);
    await sql.query(`insert into etl.migrations values ('${NOTE}', '', true)`);
    await assert.rejects(check(), /newer than this program/);
    await sql.query("drop table etl.setups");
    await assert.rejects(check(), /older version: .*setup-db/);
  } finally {
    await database.close();
  }
});

Deno.test("main.ts ends with the advice to run setup-db where the database is not set up", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  await assert.rejects(startServer({ dsn: db.dsn }), /is not set up .*run `deno task setup-db`/s);
});

Deno.test("a server that starts although another version has set the database up since says so in its log", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query("insert into etl.setups (checksum) values ('newer')");
  await using server = await startServer({ dsn: db.dsn });
  assert.match(server.logs.join("\n"), /set up by another version since/);
});

Deno.test("a set-up by another version says that functions and views were replaced, a repeated one nothing", async (t) => {
  await using db = await testDatabase(t);
  assert.deepEqual(await setupDatabase(db.dsn), []);
  assert.deepEqual(await setupDatabase(db.dsn, { setupSql: await later(MIGRATION) }), [
    "existing functions and views, updated to this version",
  ]);
});
