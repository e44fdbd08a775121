import assert from "node:assert/strict";
import { type RolesWorld, rolesWorld } from "../helpers/roles.ts";
import { readManifest } from "../../store/backup/catalogue.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { Database } from "../../store/database.ts";
import { blockers } from "../../store/blockers.ts";
import { databaseHealth } from "../../store/health.ts";
import { waitFor } from "../helpers/wait_for.ts";

const DENIED = { code: "42501" };

/** A table that every role may write into: `steal` puts whose rights it ran with there. */
async function witness(w: RolesWorld): Promise<{ ranAs(): Promise<string[]> }> {
  await w.admin.query(`create schema witness; create table witness.ran (role text);
    grant usage on schema witness to public; grant insert on witness.ran to public`);
  return {
    async ranAs() {
      const { rows } = await w.admin.query("select distinct role from witness.ran order by role");
      return rows.map(({ role }) => role);
    },
  };
}

/** A trigger function of the role that may create; `schema` has to be its own. */
const STEALS = (schema: string) =>
  `create function ${schema}.steal() returns trigger language plpgsql as
    $$ begin insert into witness.ran values (current_user); return new; end $$`;

Deno.test("no row of etl.datasets leads to a grant on what is no destination", async (t) => {
  await using w = await rolesWorld(t);
  await w.as.owner.query(
    `create schema hr; create table hr.salaries (event_id text primary key, salary int);
    create table public.customers (customer_id int primary key, name text)`,
  );
  const rows = [["hr", "salaries"], ["pg_catalog", "pg_authid"], ["etl", "server_roles"]];
  for (const [schema, table] of rows) {
    for (const kind of ["server", "creator"] as const) {
      await assert.rejects(
        w.as[kind].query("insert into etl.datasets values ($1 || '.' || $2, $1, $2)", [
          schema,
          table,
        ]),
        DENIED,
      );
      await assert.rejects(
        w.as[kind].query("update etl.datasets set schema_name = $1, table_name = $2", [
          schema,
          table,
        ]),
        DENIED,
      );
      await assert.rejects(
        w.as[kind].query("select etl.register_dataset($1, $2)", [schema, table]),
      );
    }
    // as a role of version 0.1.0 could write them
    await w.admin.query(
      "insert into etl.datasets (dataset, schema_name, table_name) values ($1 || '.' || $2, $1, $2)",
      [schema, table],
    );
  }
  // nor is more granted on a table of one's own than its owner has granted
  await w.as.owner.query(
    `create table public.customers_of_mine (id int primary key, _etl_run_id uuid, _etl_fingerprint bytea,
      _etl_first_seen_at timestamptz default now(), _etl_updated_at timestamptz default now());
    grant insert on public.customers_of_mine to ${w.names.server};
    insert into etl.datasets (dataset, schema_name, table_name, declared)
    values ('public.customers_of_mine', 'public', 'customers_of_mine', '{"own": true}')`,
  );
  await w.setUp();
  await setupDatabase(w.adminDsn);
  await w.as.creator.query(
    "select etl.create_destination('public', 'orders', 'etl_improved_audit')",
  );
  await assert.rejects(w.as.server.query("delete from public.customers_of_mine"), DENIED);
  for (const table of ["customers", "orders"]) {
    const asked = w.as.creator.query(
      "select etl.create_destination('public', $1, 'etl_improved_audit')",
      [
        table,
      ],
    );
    if (table === "customers") await assert.rejects(asked, /exists, but lacks/);
    else await asked;
  }
  const asAudit = w.as.creator.query(
    "select etl.create_destination('public', 'more', 'customers')",
  );
  await assert.rejects(asAudit, /is not an audit table/);
  for (const kind of ["server", "creator"] as const) {
    for (const table of ["hr.salaries", "pg_catalog.pg_authid", "public.customers"]) {
      await assert.rejects(w.as[kind].query(`select from ${table}`), DENIED, table);
    }
    await assert.rejects(w.as[kind].query("update etl.server_roles set may_create = true"), DENIED);
    await w.as[kind].query("select from public.orders");
  }
});

Deno.test("what a role attaches to tables of its own never runs with the owner's rights", async (t) => {
  await using w = await rolesWorld(t);
  const { ranAs } = await witness(w);
  const { creator, owner } = w.as;
  await creator.query(
    `create schema mine; grant all on schema mine to ${w.names.owner}; ${STEALS("mine")};
    create table mine.events (like public.etl_improved_events including all);
    create table mine.etl_improved_metrics (like public.etl_improved_metrics including all);
    create table mine.etl_improved_audit (like public.etl_improved_audit including all);
    create trigger t before insert or update on mine.events for each row execute function mine.steal();
    create trigger t before insert or update on mine.etl_improved_metrics for each row execute function mine.steal();
    create trigger t before insert or update on mine.etl_improved_audit for each row execute function mine.steal();
    grant all on all tables in schema mine to ${w.names.owner}`,
  );
  const conf = { schema_name: "mine", table_name: "events", run_label: "mine" };
  await creator.query(
    "insert into etl.schedules (name, cron, conf) values ('mine', '* * * * *', $1)",
    [conf],
  );
  await creator.query(
    "insert into etl.slots (schedule, slot) values ('mine', now() - interval '1 second')",
  );
  for (const session of [owner, w.admin]) {
    await assert.rejects(session.query("select etl.request_run($1)", [conf]), /belongs to role/);
    await session.query("select etl.tick_schedules()");
  }
  const { rows: [slot] } = await w.admin.query(
    "select state, problem ->> 'detail' as detail from etl.slots",
  );
  assert.equal(slot!.state, "failed");
  assert.match(slot!.detail, /belongs to role/);

  // a run that is there already, and is cancelled, judged and replaced by those who have more rights
  await creator.query(
    `insert into etl.runs (run_id, run_label, conf, params, origins, schema_name, table_name, audit_table_name, dry_run, pool, overlap)
    select gen_random_uuid(), 'mine', '{}', '{}', '{}', 'mine', 'events', 'etl_improved_audit', false, 'default_pool', 'queue'
    from generate_series(1, 3)`,
  );
  const { rows: runs } = await owner.query(
    "select run_id from etl.runs where schema_name = 'mine'",
  );
  await owner.query("select etl.cancel_run($1)", [runs[0].run_id]);
  await w.admin.query("select etl.cancel_run($1)", [runs[1].run_id]);
  await owner.query(`select etl.request_run('{"run_label": "mine", "overlap": "cancel"}')`);
  // runs that wait are accepted by whoever looks first
  for (const session of [owner, w.admin]) await session.query("select etl.accept_run()");
  await owner.query("delete from etl.runs");
  assert.deepEqual(await ranAs(), []);

  // dataset, maintenance, typed view: the table is a dataset of the role that may write it
  await creator.query("select etl.register_dataset('mine', 'events')");
  const { rows: [noted] } = await owner.query(
    "select maintained from etl.datasets where dataset = 'mine.events'",
  );
  assert.equal(noted.maintained, false, "nothing of a table is deleted that nobody gave away");
  await owner.query("update etl.datasets set maintained = true");
  const { rows: maintained } = await owner.query(
    "select n.nspname || '.' || c.relname as relation from etl.maintained_tables('clean_old_events') as m " +
      "join pg_class as c on c.oid = m.relation join pg_namespace as n on n.oid = c.relnamespace",
  );
  assert.deepEqual(maintained.map(({ relation }) => relation), ["public.etl_improved_events"]);
  await w.setUp();
  await setupDatabase(w.adminDsn);
  assert.deepEqual(await ranAs(), []);

  // with its own rights it may do that to itself
  await creator.query("select etl.request_run($1)", [conf]);
  await creator.query("select etl.accept_run()");
  assert.deepEqual(await ranAs(), [w.names.creator]);
});

Deno.test("the owner's tick makes no destination for a role that may make none", async (t) => {
  await using w = await rolesWorld(t);
  const { server, owner } = w.as;
  await w.setUp({ role: w.names.creator, mayCreate: false });
  const tick = async (name: string) => {
    await server.query(
      "insert into etl.schedules (name, cron, conf) values ($1, '* * * * *', $2)",
      [
        name,
        { schema_name: name, run_label: name },
      ],
    );
    await server.query(
      "insert into etl.slots (schedule, slot) values ($1, now() - interval '1 second')",
      [name],
    );
    await owner.query("select etl.tick_schedules()");
    const { rows: [slot] } = await w.admin.query(
      "select state, problem ->> 'detail' as detail, to_regnamespace($1) is not null as made from etl.slots where schedule = $1",
      [name],
    );
    return slot;
  };
  const slot = await tick("sneaky");
  assert.deepEqual([slot.state, slot.made], ["failed", false]);
  assert.match(
    slot.detail,
    /may not create it.* setup-db --schema sneaky --table etl_improved_events/,
  );
  assert.equal((await tick("public")).state, "requested");
  await w.setUp({ role: w.names.server, mayCreate: true });
  const made = await tick("wanted");
  assert.deepEqual([made.state, made.made], ["requested", true]);
});

Deno.test("a role that owns a schema cannot put a table of its own in the place of one that the owner runs", async (t) => {
  await using w = await rolesWorld(t);
  await w.as.creator.query(
    "select etl.ensure_destination('made', 'etl_improved_events', 'etl_improved_audit')",
  );
  const { rows } = await w.admin.query(
    "select pg_get_userbyid(nspowner) as owner from pg_namespace where nspname = 'made'",
  );
  assert.equal(rows[0].owner, w.names.owner);
  await assert.rejects(w.as.creator.query("drop table made.etl_improved_audit"), DENIED);
  await assert.rejects(w.as.creator.query("alter schema made rename to other"), DENIED);
  // as version 0.1.0 made them
  await w.admin.query(`alter schema made owner to ${w.names.creator};
    grant usage, create on schema made to ${w.names.owner}`);
  for (const session of [w.as.owner, w.admin]) {
    await assert.rejects(
      session.query('select etl.request_run(\'{"schema_name": "made"}\')'),
      /alter schema made owner to/,
    );
  }
  await setupDatabase(w.adminDsn);
  const { rows: later } = await w.admin.query(
    "select pg_get_userbyid(nspowner) as owner from pg_namespace where nspname = 'made'",
  );
  assert.equal(later[0].owner, w.names.owner, "a set-up that may do so gives it to the owner");
  await w.as.owner.query('select etl.request_run(\'{"schema_name": "made"}\')');
});

Deno.test("the right to create is really taken back", async (t) => {
  await using w = await rolesWorld(t);
  const { creator } = w.as;
  await creator.query(
    "select etl.ensure_destination('made', 'etl_improved_events', 'etl_improved_audit')",
  );
  await w.admin.query(`alter schema made owner to ${w.names.creator};
    grant usage, create on schema made to ${w.names.owner}`);
  const role = w.names.creator;
  await assert.rejects(w.setUp({ role, mayCreate: false }), /alter schema made owner to/);
  await w.admin.query(`alter schema made owner to ${w.names.owner}`);
  await w.setUp({ role, mayCreate: false });
  await w.setUp();
  for (const schema of ["made", "public", "etl"]) {
    await assert.rejects(creator.query(`create table ${schema}.x (y int)`), DENIED, schema);
  }
  await assert.rejects(creator.query("create schema x"), DENIED);
  await assert.rejects(creator.query("drop table made.etl_improved_audit"), DENIED);
  await assert.rejects(
    creator.query("select etl.create_destination('made', 'x', 'etl_improved_audit')"),
    DENIED,
  );
  await assert.rejects(
    creator.query("select etl.create_destination('new', 'x', 'etl_improved_audit')"),
    DENIED,
  );
  await creator.query('select etl.request_run(\'{"schema_name": "made"}\')');
});

Deno.test("readers and strangers run nothing of the program and see no conf, record or token", async (t) => {
  await using w = await rolesWorld(t);
  const { rows } = await w.as.server.query<{ id: string }>("select etl.request_run() as id");
  const id = rows[0]!.id;
  await w.as.owner.query(
    "update etl.runs set state = 'running', attempt = 1, accepted_at = now(), admitted_at = now()",
  );
  const manifest = `manifest_${id.replaceAll("-", "")}_1`;
  await w.as.server.query("select etl.create_manifest($1, 1, $2)", [id, manifest]);
  for (const kind of ["reader", "stranger"] as const) {
    await w.as[kind].query("set default_transaction_read_only = off");
    for (
      const statement of [
        `select etl.create_manifest('${id}', 1, '${manifest}')`,
        `select etl.drop_manifests('${id}', 1)`,
        `select etl.analyze_manifest('${manifest}')`,
        "select etl.drop_leftover_manifests()",
        `truncate etl.${manifest}`,
        `select from etl.${manifest}`,
        "select public.refresh_etl_mvs()",
        "select etl.request_run()",
        "select etl.delete_audit('public.etl_improved_audit', '{}', now())",
        "select token_hash from etl.api_tokens",
        "select conf from etl.runs",
        "select params from etl.runs",
        "select conf from etl.configurations",
        "select value from etl.variables",
        "select raw from etl.quarantine",
        "select data from etl.uploads",
        "select params from public.etl_improved_audit",
        "select details from public.etl_improved_audit",
        "select from public.etl_improved_events",
      ]
    ) {
      await assert.rejects(w.as[kind].query(statement), DENIED, `${kind}: ${statement}`);
    }
  }
  // and a server's role only the manifest of the attempt that is going on
  for (const [run, attempt, name] of [[id, 1, manifest.replace(/_1$/, "_2")], [id, 2, manifest]]) {
    const made = w.as.server.query("select etl.create_manifest($1, $2, $3)", [run, attempt, name]);
    await assert.rejects(made, { code: "22023" });
  }
});

Deno.test("health names whoever holds a lock by which the servers take turns, which any role can take", async (t) => {
  await using w = await rolesWorld(t);
  const { pid } = (await w.as.reader.query("select pg_backend_pid() as pid")).rows[0];
  const database = new Database(w.dsnOf("server"), { applicationName: "etl-test" });
  const hold = (turn: string) =>
    w.as.reader.query("select pg_advisory_lock(hashtextextended($1, 0))", [turn]);
  const holders = async () => (await blockers(database.sql, 0)).map((each) => each.pid);
  try {
    await hold("somebody else's");
    assert.deepEqual(await holders(), [], "locks that are not the program's are nobody's business");
    for (
      const turn of ["etl tick_schedules", "etl sweep_conditions", "etl purge", "etl ends waits"]
    ) {
      await hold(turn);
      assert.deepEqual(await holders(), [pid], turn);
      await w.as.reader.query("select pg_advisory_unlock_all()");
    }
    await hold("etl admission");
    const admission = w.as.server.query(
      "select pg_advisory_xact_lock(hashtextextended('etl admission', 0))",
    );
    await waitFor(async () => (await holders()).includes(pid));
    await hold("etl purge");
    const { warnings } = await databaseHealth(database.sql, { dsn: w.dsnOf("server") });
    assert.match(
      warnings.join("\n"),
      new RegExp(
        `pid ${pid} \\(.*${w.names.reader}.*by which the servers take turns.*pg_terminate_backend\\(${pid}\\)`,
      ),
    );
    await w.as.reader.query("select pg_advisory_unlock_all()");
    await admission;
  } finally {
    await database.close({ timeoutSeconds: 1 });
  }
});

Deno.test("an audit can be added to, and loses nothing of the last 7 days, whoever asks", async (t) => {
  await using w = await rolesWorld(t);
  const { server, owner } = w.as;
  await owner.query("select etl.ensure_destination('sales', 'orders', 'orders_audit')");
  // as version 0.1.0 granted it
  await owner.query(
    `grant delete on public.etl_improved_audit, sales.orders_audit to ${w.names.server}`,
  );
  await w.setUp();
  for (const table of ["public.etl_improved_audit", "sales.orders_audit"]) {
    await server.query(
      `insert into ${table} (event, created_at) values ('old', now() - interval '8 days'), ('new', now() - interval '6 days')`,
    );
    for (
      const statement of [
        `delete from ${table}`,
        `truncate ${table}`,
        `update ${table} set actor = 'x'`,
      ]
    ) {
      await assert.rejects(server.query(statement), DENIED, statement);
    }
    const { rows } = await server.query(`select array_agg(ctid) as rows from only ${table}`);
    await server.query("select etl.delete_audit($1, $2, 'infinity')", [table, rows[0].rows]);
    const left = await server.query(
      `select event from only ${table} where event in ('old', 'new')`,
    );
    assert.deepEqual(left.rows.map(({ event }) => event), ["new"], table);
  }
  for (
    const table of [
      "public.etl_improved_metrics",
      "etl.runs",
      "pg_catalog.pg_authid",
      "sales.orders",
    ]
  ) {
    await assert.rejects(
      server.query("select etl.delete_audit($1, array['(0,1)'::tid], now())", [table]),
      DENIED,
    );
  }
  await assert.rejects(
    server.query(`select etl.request_maintenance('{"retention_days_audit": 6}')`),
    /7 to 1,095 days/,
  );
  await server.query(`select etl.request_maintenance('{"retention_days_audit": 7}')`);
});

Deno.test("set-up runs nothing that a role has put in its way", async (t) => {
  await using w = await rolesWorld(t);
  const { ranAs } = await witness(w);
  const { creator } = w.as;
  const body = "$$ begin insert into witness.ran values (current_user); return";
  // functions and operators that fit better than PostgreSQL's own, in a schema of the search path
  await creator.query(`
    create function public.format(text, name) returns text language plpgsql as ${body} $1; end $$;
    create function public.format(text, name, name) returns text language plpgsql as ${body} $1; end $$;
    create function public.starts_with(name, text) returns boolean language plpgsql as ${body} true; end $$;
    create function public.joined(text, name) returns text language plpgsql as ${body} $1; end $$;
    create operator public.|| (leftarg = text, rightarg = name, function = public.joined);
    create function public.same(name, text) returns boolean language plpgsql as ${body} true; end $$;
    create operator public.= (leftarg = name, rightarg = text, function = public.same)`);
  // what is left of the take-over of the original
  await creator.query(`create schema etl_original;
    create function etl_original.steal() returns int language plpgsql as ${body} 1; end $$;
    create view etl_original.etl_improved_metrics as select etl_original.steal() as total_rows, 1 as expected_rows,
      1.0 as ratio, now() as created_at, 'x' as run_label`);
  await w.setUp();
  await setupDatabase(w.adminDsn);
  const text = await Deno.readTextFile(new URL("../../sql/etl_migration.sql", import.meta.url));
  await w.admin.query(text);
  assert.deepEqual(await ranAs(), []);
  const { rows } = await w.admin.query(
    "select current_setting('search_path') as path, current_user = session_user as same",
  );
  assert.deepEqual(rows, [{ path: '"$user", public', same: true }], "the session is as it was");
});

Deno.test("what a superuser sets up later belongs to the owner of the schema, too", async (t) => {
  await using w = await rolesWorld(t);
  await w.admin.query(
    `alter function etl.create_manifest(uuid, integer, text) owner to current_user;
    alter table etl.pools owner to current_user; drop function etl.delete_audit(regclass, tid[], timestamptz)`,
  );
  await setupDatabase(w.adminDsn);
  const { rows } = await w.admin.query(
    `select distinct pg_get_userbyid(owner) as owner from (
      select relowner as owner from pg_class where relnamespace = 'etl'::regnamespace
      union all select proowner from pg_proc where pronamespace = 'etl'::regnamespace) as o`,
  );
  assert.deepEqual(rows, [{ owner: w.names.owner }]);
  // whoever cannot do that is told
  await w.admin.query("alter table etl.pools owner to current_user");
  await assert.rejects(
    w.setUp(),
    /As a superuser, then set up again: alter table etl.pools owner to/,
  );
});

Deno.test("a backup holds no table that a run names and that is no audit table, nor a dataset that is no table of events", async (t) => {
  await using w = await rolesWorld(t);
  await w.as.owner.query("create table public.customers (customer_id int primary key)");
  await w.as.server.query("select etl.request_run()");
  for (
    const [schema, name] of [["pg_catalog", "pg_authid"], ["public", "customers"], [
      "etl",
      "api_tokens",
    ]]
  ) {
    await w.as.server.query("update etl.runs set schema_name = $1, audit_table_name = $2", [
      schema,
      name,
    ]);
    await w.admin.query(
      "update etl.datasets set dataset = $1 || $2, schema_name = $1, table_name = $2",
      [schema, name],
    );
    const { tables, destinations } = await readManifest(w.admin, new Date());
    assert.ok(tables.length > 10);
    assert.deepEqual(tables.filter(({ table_name }) => table_name === name), []);
    assert.deepEqual(destinations.filter(({ schema_name }) => schema_name !== "public"), []);
  }
});

Deno.test("a typed view is only made of a table that the role may write, and replaces nothing of others", async (t) => {
  await using w = await rolesWorld(t);
  await w.as.owner.query("select etl.ensure_destination('public', 'orders', 'etl_improved_audit')");
  await w.as.owner.query(`revoke insert on public.orders from ${w.names.creator}`);
  const columns = JSON.stringify([{ name: "amount", type: "numeric" }]);
  const declared = w.as.creator.query("select etl.set_dataset_columns('public.orders', $1)", [
    columns,
  ]);
  await assert.rejects(declared, /may not declare columns/);
  await assert.rejects(
    w.as.creator.query("update etl.datasets set columns = $1, view_name = 'x'", [columns]),
    DENIED,
  );
  // a view that says it is the typed view, but is somebody else's
  await w.as.creator.query(`create view public.orders_typed as select 1 as event_id;
    comment on view public.orders_typed is 'typed view of dataset public.orders, made by etl.set_dataset_columns'`);
  await assert.rejects(
    w.as.server.query("select etl.set_dataset_columns('public.orders', $1)", [columns]),
    /is not the typed view of/,
  );
  await w.as.server.query("select etl.set_dataset_columns('public.orders', $1, 'orders_columns')", [
    columns,
  ]);
  const { rows } = await w.admin.query(
    "select pg_get_userbyid(relowner) as owner, reloptions::text from pg_class where oid = 'public.orders_columns'::regclass",
  );
  assert.deepEqual(rows, [{ owner: w.names.owner, reloptions: "{security_invoker=true}" }]);
  // everybody may name the view; what is in it is for those who may read the table
  await assert.rejects(w.as.stranger.query("select from public.orders_columns"), DENIED);
});

Deno.test("what notes a dataset with the owner's rights runs, reads, replaces and drops nothing that is not the role's to write", async (t) => {
  await using w = await rolesWorld(t);
  const { ranAs } = await witness(w);
  const { server, creator, owner } = w.as;
  /** A run as whoever may write etl.runs can make it. */
  const forged = async (schema: string, table: string, params: object) => {
    const { rows: [run] } = await w.admin.query<{ run_id: string }>(
      `insert into etl.runs (run_id, run_label, state, attempt, admitted_at, accepted_at, conf, params, origins, schema_name, table_name,
        audit_table_name, dry_run, pool, overlap)
      values (gen_random_uuid(), gen_random_uuid()::text, 'running', 1, now(), now(), '{}', $3::jsonb || jsonb_build_object('schema_name', $1::text, 'table_name', $2::text), '{}', $1, $2,
        'etl_improved_audit', false, 'default_pool', 'queue') returning run_id`,
      [schema, table, { write: "upsert", exclude: [], hash: [], ...params }],
    );
    return run!.run_id;
  };
  const history = {
    write: "history",
    source: { type: "inline", name: "x", key: "id", version: "at" },
  };
  const hides = { exclude: ["name"], source: { type: "inline", name: "x" } };
  const declares = async (by: "server" | "creator", schema: string, table: string) => {
    const told: string[] = [];
    for (const [what, params] of [["history", history], ["private_fields", hides]] as const) {
      const run = await forged(schema, table, params);
      const rest = what === "history" ? "" : ", null";
      await w.as[by].query(`select etl.declare_${what}($1${rest})`, [run])
        .catch((error: Error) => told.push(error.message));
    }
    return told;
  };
  const steals =
    `returns boolean language plpgsql as $$ begin insert into witness.ran values (current_user); return true; end $$`;

  // a view of the session, for which a role that may create nothing needs nothing
  await server.query(`create function pg_temp.steal() ${steals};
    create temp view evil as select 1 as event_id where pg_temp.steal()`);
  const { rows: [temporary] } = await server.query(
    "select pg_my_temp_schema()::regnamespace::text as schema",
  );
  // a view and row security in a schema of the role's own
  await creator.query(`create schema mine; create function mine.steal() ${steals};
    create view mine.evil as select 1 as event_id where mine.steal();
    create table mine.rows (like public.etl_improved_events including all); insert into mine.rows
      select 'a', 't', now(), 'x', 1, '{}', null, null, null, gen_random_uuid(), now(), now();
    alter table mine.rows enable row level security; create policy p on mine.rows using (mine.steal());
    grant usage on schema mine to public; grant all on all tables in schema mine to public`);
  for (const schema of ["pg_temp", temporary!.schema]) {
    assert.equal((await declares("server", schema, "evil")).length, 2, schema);
  }
  for (const table of ["evil", "rows"]) {
    await declares("creator", "mine", table);
    await w.admin.query(
      "insert into etl.datasets (dataset, schema_name, table_name) values ('mine.' || $1, 'mine', $1) on conflict do nothing",
      [table],
    );
    for (const session of [owner, w.admin]) {
      for (const look of ["profile_dataset", "propose_dataset_columns", "sample_dataset"]) {
        await session.query(`select etl.${look}($1)`, [`mine.${table}`]).catch(() => {});
      }
    }
  }
  // the superuser is asked about no policy
  const ran = await ranAs();
  assert.deepEqual(ran.filter((role) => role !== w.names.creator), []);

  // no row of a dataset, and so no grant, follows for what is not the role's to write
  await owner.query(`create schema hr; create table hr.salaries (event_id text, version numeric);
    create view hr.none_current as select 1 as x; create view hr.none_history as select 2 as x`);
  for (const table of ["salaries", "none"]) {
    for (const by of ["server", "creator"] as const) {
      const told = await declares(by, "hr", table);
      assert.deepEqual(
        told.map((message) => /As (its|the) owner( of the schema)?: grant/.test(message)),
        [true, true],
        `${told}`,
      );
    }
  }
  assert.equal(
    (await w.admin.query(
      "select from etl.datasets where schema_name <> 'public' and schema_name <> 'mine'",
    ))
      .rowCount,
    0,
  );
  // nor is a view dropped or replaced that is none of a history
  await owner.query(`grant usage, create on schema hr to ${w.names.creator}`);
  await creator.query("select etl.declare_history($1)", [await forged("hr", "none", history)]);
  await creator.query("select etl.declare_history($1)", [
    await forged("hr", "none", { source: history.source }),
  ]);
  const { rows: [views] } = await owner.query(
    "select (select x from hr.none_current) as current, (select x from hr.none_history) as history",
  );
  assert.deepEqual(views, { current: 1, history: 2 });
  await owner.query(`create table hr.none (like public.etl_improved_events including all);
    grant select, insert on hr.none to ${w.names.creator}`);
  const taken = creator.query("select etl.declare_history($1)", [
    await forged("hr", "none", history),
  ]);
  await assert.rejects(taken, /hr.none_history exists and is no view of a history/);
});

Deno.test("nobody joins the family of the audit, metrics and alert tables, or attaches anything to the program's tables", async (t) => {
  await using w = await rolesWorld(t);
  await w.as.creator.query(
    `create schema mine; ${STEALS("mine").replace("witness.ran", "pg_class")}`,
  );
  const tables = [
    "public.etl_improved_audit",
    "public.etl_improved_metrics",
    "public.etl_improved_alerts",
    "etl.runs",
    "etl.chunks",
  ];
  for (const table of tables) {
    for (
      const statement of [
        `create table mine.child () inherits (${table})`,
        `create trigger t before insert on ${table} for each row execute function mine.steal()`,
        `create rule r as on insert to ${table} do also select 1`,
        `create policy p on ${table} using (true)`,
        `alter table ${table} add column x int default 1`,
        `create index on ${table} ((1))`,
        `create table mine.refers (r uuid references ${table})`,
      ]
    ) {
      await assert.rejects(w.as.creator.query(statement), DENIED, statement);
    }
  }
});
