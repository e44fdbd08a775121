import assert from "node:assert/strict";
import { rolesWorld } from "../helpers/roles.ts";

const DENIED = { code: "42501" };

Deno.test("the server's role can ask for a run, and change or read nothing that is not the program's", async (t) => {
  await using w = await rolesWorld(t);
  await w.as.owner.query("create table public.payroll (salary int)");
  await w.as.server.query(`select etl.request_run('{"batch_size": 3}')`);
  await w.as.server.query("select public.refresh_etl_mvs()");
  await w.as.server.query("select count(*) from public.v_etl_latest_metrics");
  for (
    const statement of [
      "select * from public.payroll",
      "create table public.mine (x int)",
      "create table etl.mine (x int)",
      "create function etl.raise_problem(text) returns void language sql as ''",
      "create schema mine",
      "drop table etl.runs",
      "alter table public.etl_improved_events add column x int",
      "truncate public.etl_improved_events",
      // append-only
      "update public.etl_improved_audit set actor = 'somebody else'",
      // whoever is listed there is granted by the next set-up
      "insert into etl.server_roles (role_name) values ('pg_monitor')",
      "update etl.server_roles set may_create = true",
      "refresh materialized view public.mv_etl_metrics_daily",
      "copy etl.runs to '/tmp/runs.txt'",
      "copy etl.runs to program 'cat'",
    ]
  ) {
    await assert.rejects(w.as.server.query(statement), DENIED, statement);
  }
  const { rows } = await w.as.server.query<{ owned: number }>(
    "select count(*)::int as owned from pg_class where pg_get_userbyid(relowner) = current_user",
  );
  assert.equal(rows[0]!.owned, 0);
});

Deno.test("manifests are made for the server's role and for nothing but manifests", async (t) => {
  await using w = await rolesWorld(t);
  const { rows } = await w.as.server.query<{ run_id: string }>(
    `select etl.request_run('{"batch_size": 3}') as run_id`,
  );
  await w.as.server.query("select etl.accept_run(), etl.admit_runs()");
  const runId = rows[0]!.run_id;
  await w.as.owner.query("update etl.runs set state = 'running', attempt = 1 where run_id = $1", [
    runId,
  ]);
  const manifest = `manifest_${runId.replaceAll("-", "")}_1`;
  for (const name of ["runs", "x; drop table etl.runs", `${manifest} `, "manifest_1"]) {
    const made = w.as.server.query("select etl.create_manifest($1, 1, $2)", [runId, name]);
    await assert.rejects(made, { code: "22023" }, name);
    const analysed = w.as.server.query("select etl.analyze_manifest($1)", [name]);
    await assert.rejects(analysed, { code: "22023" }, name);
  }
  await w.as.server.query("select etl.create_manifest($1, 1, $2)", [runId, manifest]);
  await w.as.server.query(`insert into etl.${manifest} values ('k', '', 1, 0, 0);
    select etl.analyze_manifest('${manifest}'); truncate etl.${manifest}`);
  await w.as.server.query("select etl.drop_manifests($1, 1)", [runId]);
  const left = await w.as.owner.query("select to_regclass($1) as left", [`etl.${manifest}`]);
  assert.equal(left.rows[0].left, null);
});

Deno.test("what the owner adds is nobody's; a set-up renews what was taken away", async (t) => {
  await using w = await rolesWorld(t);
  await w.as.owner.query(
    "create table etl.of_a_later_version (n int generated always as identity)",
  );
  await w.as.owner.query(
    "create function etl.of_a_later_version() returns int language sql return 1",
  );
  await assert.rejects(w.as.server.query("select from etl.of_a_later_version"), DENIED);
  await assert.rejects(w.as.server.query("select etl.of_a_later_version()"), DENIED);
  await w.as.owner.query("select etl.ensure_destination('sales', 'orders', 'orders_audit')");
  await w.as.server.query(
    `select etl.request_run('{"schema_name": "sales", "table_name": "orders", "audit_table_name": "orders_audit"}')`,
  );
  await w.as.server.query("delete from sales.orders");
  await w.as.owner.query(`revoke all on all tables in schema etl, sales from ${w.names.server}`);
  await assert.rejects(w.as.server.query("select from sales.orders"), DENIED);
  await w.setUp();
  await w.as.server.query("select from sales.orders, etl.runs");
});

Deno.test("with --may-create runs make their destinations, which are the owner's all the same", async (t) => {
  await using w = await rolesWorld(t);
  const conf = { schema_name: "made", table_name: "by_run" };
  const ask = () => w.as.server.query("select etl.submit_run($1, '{\"immediate\": true}')", [conf]);
  await assert.rejects(ask(), /setup-db --schema made --table by_run --role server_/);
  await w.setUp({ role: w.names.server, mayCreate: true });
  await ask();
  const { rows } = await w.as.owner.query<{ owner: string }>(
    `select distinct pg_get_userbyid(relowner) as owner from pg_class
     where relnamespace = 'made'::regnamespace and relkind = 'r'`,
  );
  assert.deepEqual(rows.map(({ owner }) => owner === w.names.server), [false]);
  await w.as.server.query(
    "insert into made.etl_improved_metrics (run_id) values (gen_random_uuid())",
  );
  await w.as.owner.query("delete from made.by_run");
});

Deno.test("the right to make destinations stays as it is until it is given or taken back", async (t) => {
  await using w = await rolesWorld(t);
  const role = w.names.server;
  await w.as.owner.query("select etl.ensure_destination('sales', 'orders', 'orders_audit')");
  const rights = async () => {
    const { rows } = await w.as.owner.query<{ database: boolean; schema: boolean }>(
      `select has_database_privilege($1, current_database(), 'create') as database,
        has_schema_privilege($1, 'sales', 'create') as schema`,
      [role],
    );
    return Object.values(rows[0]!);
  };
  assert.deepEqual(await rights(), [false, false]);
  await w.setUp({ role, mayCreate: true });
  assert.deepEqual(await rights(), [true, true]);
  await w.setUp({ role });
  assert.deepEqual(await rights(), [true, true]);
  // a schema that came since is one of them after the next set-up
  await w.as.owner.query(`revoke create on schema sales from ${role}`);
  await w.setUp({ role });
  assert.deepEqual(await rights(), [true, true]);
  await w.setUp({ role, mayCreate: false });
  assert.deepEqual(await rights(), [false, false]);
  await w.setUp({ role });
  assert.deepEqual(await rights(), [false, false]);
});

Deno.test("nobody gets a table made in a schema where he may create none", async (t) => {
  await using w = await rolesWorld(t);
  await w.as.owner.query("create schema closed");
  const made = w.as.server.query("select etl.create_destination('closed', 't', 'a')");
  await assert.rejects(made, DENIED);
});

Deno.test("an owner who is named as a server's or reader's role keeps all that is his", async (t) => {
  await using w = await rolesWorld(t);
  const role = w.names.owner;
  await w.setUp({ role, mayCreate: true });
  await w.setUp({ role, mayCreate: false, reader: role });
  await w.setUp({ revoke: role });
  await w.as.owner.query(
    "create schema another; create table public.another (x int); truncate etl.run_logs",
  );
  await w.as.owner.query(`select etl.request_run('{"schema_name": "made"}')`);
});
