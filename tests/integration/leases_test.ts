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
  // of another installation on the same PostgreSQL
  const elsewhere = new URL(db.dsn);
  elsewhere.pathname = "/postgres";
  const other = await connect(elsewhere.href, { applicationName: "etl-lease maintenance" });
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
    await other.query("select");
  } finally {
    await other.end().catch(() => {});
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

Deno.test("whatever is due is found although nothing told of it, and nothing that rests", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const { rows: [{ id: running }] } = await sql.query("select etl.request_run() as id");
  await sql.query("select etl.accept_run()");
  await sql.query("select etl.admit_runs()");
  await sql.query("update etl.view_refresh set requested = done; delete from etl.jobs");
  /** Work by its kind: what makes it due, then what lets it rest. */
  const kinds: Record<string, [string, string]> = {
    runs: ["select", "update etl.runs set next_attempt_at = 'infinity'"],
    requests: [
      `update etl.runs set next_attempt_at = 'infinity';
       insert into etl.cancel_requests (run_id, requested_by) values ('${running}', 'ann')`,
      "delete from etl.cancel_requests",
    ],
    help: [
      `insert into etl.shared_runs (run_id, attempt, holder, same) values ('${running}', 1, '${A}', '{}')`,
      "delete from etl.shared_runs",
    ],
    run_ends: [
      `insert into etl.run_ends (run_id, end_no, ended_at, snapshot) values ('${running}', 1, now(), '{}')`,
      "update etl.run_ends set next_attempt_at = 'infinity'",
    ],
    refresh: ["select etl.request_view_refresh()", "update etl.view_refresh set done = requested"],
    "channel slack": [
      `update etl.reaction_settings set channels = '{slack}';
       select etl.notify_channels('raised', '{}')`,
      "insert into etl.notification_channels (channel, blocked_until) values ('slack', 'infinity')",
    ],
    "export mlflow": [
      `select etl.request_export('${running}', 'mlflow', 1)`,
      "update etl.exports set next_attempt_at = 'infinity'",
    ],
    "consumer c": [
      `insert into etl.consumers (consumer, datasets, mode) values ('c', '{public.etl_improved_events}', 'each');
       insert into etl.dataset_events (dataset, emitted_by) select 'public.etl_improved_events', 'test' from generate_series(1, 2)`,
      // the one behind it does not pass it
      "update etl.deliveries set next_attempt_at = 'infinity' where event_no = (select min(event_no) from etl.dataset_events)",
    ],
    maintenance: [
      "select etl.request_maintenance()",
      "update etl.maintenance_runs set next_attempt_at = 'infinity'",
    ],
    fingerprints: [
      "update etl.datasets set fingerprints_from = 0",
      "drop table public.etl_improved_events cascade",
    ],
    "job j": [
      "insert into etl.jobs (name, schedule, next_at) values ('j', '@daily', now())",
      "update etl.jobs set next_at = 'infinity'",
    ],
  };
  for (const [kind, [begin, rest]] of Object.entries(kinds)) {
    await sql.query(begin);
    assert.deepEqual(await due(sql), [kind]);
    await sql.query(rest);
    assert.deepEqual(await due(sql), [], `${kind} rests`);
  }
});
