import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { type Client, connect } from "../../store/pg.ts";
import { testDatabase } from "../helpers/postgres.ts";

interface World extends AsyncDisposable {
  dsn: string;
  owner: Client;
  /** A session of the role that setup-db granted. */
  server: Client;
  role: string;
}

/** A database set up by an owner who is no superuser, and granted to a role that owns nothing. */
async function world(t: { name: string }): Promise<World> {
  const db = await testDatabase(t, { setUp: false });
  const suffix = crypto.randomUUID().slice(0, 8);
  const [ownerRole, role] = [`owner_${suffix}`, `server_${suffix}`];
  const admin = await connect(db.dsn);
  await admin.query(`create role ${ownerRole} login password 'x';
    create role ${role} login password 'x';
    alter database "${db.name}" owner to ${ownerRole};
    revoke all on database "${db.name}" from public`);
  const as = (username: string) => Object.assign(new URL(db.dsn), { username, password: "x" }).href;
  await setupDatabase(as(ownerRole), { role });
  const [owner, server] = [await connect(as(ownerRole)), await connect(as(role))];
  return {
    dsn: as(ownerRole),
    owner,
    server,
    role,
    async [Symbol.asyncDispose]() {
      await owner.end();
      await server.end();
      await admin.query(`alter database "${db.name}" owner to current_user;
        drop owned by ${role}, ${ownerRole} cascade; drop role ${role}, ${ownerRole}`);
      await admin.end();
      await db[Symbol.asyncDispose]();
    },
  };
}

const DENIED = { code: "42501" };

Deno.test("the server's role can ask for a run, and change or read nothing that is not the program's", async (t) => {
  await using w = await world(t);
  await w.owner.query("create table public.payroll (salary int)");
  await w.server.query(`select etl.request_run('{"batch_size": 3}')`);
  await w.server.query("select public.refresh_etl_mvs()");
  await w.server.query("select count(*) from public.v_etl_latest_metrics");
  for (
    const statement of [
      "select * from public.payroll",
      "create table public.mine (x int)",
      "create table etl.mine (x int)",
      "create function etl.raise_problem(text) returns void language sql as ''",
      "create table pgboss.mine (x int)",
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
    await assert.rejects(w.server.query(statement), DENIED, statement);
  }
  const { rows } = await w.server.query<{ owned: number }>(
    "select count(*)::int as owned from pg_class where pg_get_userbyid(relowner) = current_user",
  );
  assert.equal(rows[0]!.owned, 0);
});

Deno.test("manifests are made for the server's role and for nothing but manifests", async (t) => {
  await using w = await world(t);
  const { rows } = await w.server.query<{ run_id: string }>(
    `select etl.request_run('{"batch_size": 3}') as run_id`,
  );
  const runId = rows[0]!.run_id;
  await w.owner.query("update etl.runs set state = 'running', attempt = 1 where run_id = $1", [
    runId,
  ]);
  const manifest = `manifest_${runId.replaceAll("-", "")}_1`;
  for (const name of ["runs", "x; drop table etl.runs", `${manifest} `, "manifest_1"]) {
    const made = w.server.query("select etl.create_manifest($1, 1, $2)", [runId, name]);
    await assert.rejects(made, { code: "22023" }, name);
    const analysed = w.server.query("select etl.analyze_manifest($1)", [name]);
    await assert.rejects(analysed, { code: "22023" }, name);
  }
  await w.server.query("select etl.create_manifest($1, 1, $2)", [runId, manifest]);
  await w.server.query(`insert into etl.${manifest} values ('k', '', 1, 0, 0);
    select etl.analyze_manifest('${manifest}'); truncate etl.${manifest}`);
  await w.server.query("select etl.drop_manifests($1, 1)", [runId]);
  const left = await w.owner.query("select to_regclass($1) as left", [`etl.${manifest}`]);
  assert.equal(left.rows[0].left, null);
});

Deno.test("what the owner adds later is the role's at once; a set-up renews what was taken away", async (t) => {
  await using w = await world(t);
  await w.owner.query("create table etl.of_a_later_version (n int generated always as identity)");
  await w.server.query("insert into etl.of_a_later_version default values");
  await w.owner.query("select etl.ensure_destination('sales', 'orders', 'orders_audit')");
  await w.server.query(
    `select etl.request_run('{"schema_name": "sales", "table_name": "orders", "audit_table_name": "orders_audit"}')`,
  );
  await w.server.query("delete from sales.orders");
  await w.owner.query(`revoke all on all tables in schema etl, sales from ${w.role}`);
  await assert.rejects(w.server.query("select from sales.orders"), DENIED);
  await setupDatabase(w.dsn);
  await w.server.query("select from sales.orders, etl.runs");
});

Deno.test("with --may-create runs make their destinations, which are the owner's all the same", async (t) => {
  await using w = await world(t);
  const conf = { schema_name: "made", table_name: "by_run" };
  const ask = () => w.server.query("select etl.request_run($1)", [conf]);
  await assert.rejects(ask(), /setup-db --schema made --table by_run --role server_/);
  await setupDatabase(w.dsn, { role: w.role, mayCreate: true });
  await ask();
  const { rows } = await w.owner.query<{ owner: string }>(
    `select distinct pg_get_userbyid(relowner) as owner from pg_class
     where relnamespace = 'made'::regnamespace and relkind = 'r'`,
  );
  assert.deepEqual(rows.map(({ owner }) => owner === w.role), [false]);
  await w.server.query("insert into made.etl_improved_metrics (run_id) values (gen_random_uuid())");
  await w.owner.query("delete from made.by_run");
});

Deno.test("nobody gets a table made in a schema where he may create none", async (t) => {
  await using w = await world(t);
  await w.owner.query("create schema closed");
  const made = w.server.query("select etl.create_destination('closed', 't', 'a')");
  await assert.rejects(made, DENIED);
});
