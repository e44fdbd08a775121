import assert from "node:assert/strict";
import { type Client, connect } from "../../store/pg.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { client, raised } from "../helpers/sql_problems.ts";

const A = "0190a7a0-0000-7000-8000-00000000000a";
const B = "0190a7a0-0000-7000-8000-00000000000b";

const call = async (sql: Client, name: string, holder: string) =>
  (await sql.query(`select etl.${name}('maintenance', $1) as done`, [holder])).rows[0].done;

const runOut = (sql: Client) =>
  sql.query("update etl.leases set held_until = clock_timestamp() - interval '1 second'");

const due = async (sql: Client) =>
  (await sql.query("select kind from etl.due_work() as kind order by 1")).rows.map((row) =>
    row.kind
  );

Deno.test("a lease is one holder's until it is given back or has run out", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  assert.equal(await call(sql, "claim_lease", A), true);
  assert.equal(await call(sql, "claim_lease", B), false);
  assert.equal(await call(sql, "claim_lease", A), false, "not even twice by one");
  assert.equal(await call(sql, "prolong_lease", A), true);
  assert.equal(await call(sql, "prolong_lease", B), false);
  await call(sql, "release_lease", B);
  assert.equal(await call(sql, "claim_lease", B), false, "only its holder gives it back");
  await call(sql, "release_lease", A);
  assert.equal(await call(sql, "claim_lease", B), true);
  await runOut(sql);
  assert.equal(await call(sql, "claim_lease", A), true);
  assert.equal(await call(sql, "prolong_lease", B), false);
  const problem = await raised(sql, "select etl.require_lease('maintenance', $1)", [B]);
  assert.deepEqual([problem.type, problem.status], ["superseded", 409]);
  await sql.query("select etl.require_lease('maintenance', $1)", [A]);
  const { rows: [lease] } = await sql.query(
    "select extract(epoch from held_until - clock_timestamp())::float8 as seconds from etl.leases",
  );
  assert.ok(lease.seconds > 10 && lease.seconds <= 20, `held for ${lease.seconds} s`);
});

Deno.test("who takes a lease over ends the transaction that its last holder has open", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await call(sql, "claim_lease", A);
  const left = await connect(db.dsn, { applicationName: "etl-lease maintenance" });
  try {
    await left.query("begin; select from etl.pools for update");
    const [backend] = (await left.query("select pg_backend_pid() as pid")).rows;
    const isOpen = async () =>
      (await sql.query("select from pg_stat_activity where pid = $1", [backend.pid])).rowCount ===
        1;
    assert.equal(await call(sql, "claim_lease", B), false);
    assert.equal(await isOpen(), true);
    await runOut(sql);
    assert.equal(await call(sql, "claim_lease", B), true);
    assert.equal(await isOpen(), false);
  } finally {
    await left.end().catch(() => {});
  }
});

Deno.test("work is due until somebody has its lease, and again when that has run out", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query("select etl.request_maintenance()");
  assert.ok((await due(sql)).includes("maintenance"));
  await call(sql, "claim_lease", A);
  assert.ok(!(await due(sql)).includes("maintenance"));
  await runOut(sql);
  assert.ok((await due(sql)).includes("maintenance"));
  assert.ok(!(await due(sql)).includes("requests"));
  await sql.query("select etl.request_run()");
  assert.ok((await due(sql)).includes("requests"));
});
