import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { compareRun } from "../../store/compare.ts";
import {
  comparison,
  createManifest,
  destinationSize,
  type KeyedRun,
  keysIn,
  manifestTable,
} from "../../store/event_keys.ts";
import { connect } from "../../store/pg.ts";
import { backUp, backupDir, held, restore } from "../helpers/backups.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { startMaintaining } from "../helpers/maintaining.ts";
import { isThere } from "../helpers/needs.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

/**
 * What every kind of destination has to hold: the same statements run on a plain table, on one that is
 * partitioned by its key, and on one that Citus distributes.
 */
interface Kind {
  name: string;
  /** Makes the destination before its first run, of the shape that the program gives it; `t` is its quoted name. */
  make: (t: string) => string;
  /** Connection string of a database to use; default: a fresh one. */
  dsn?: string;
  /** Whether a superuser of the test may take the whole database (backup and restore). */
  ownDatabase: boolean;
}

const LIKE = "(like public.etl_improved_events including all)";
const citus = Deno.env.get("ETL_TEST_CITUS_DSN");

const KINDS: Kind[] = [
  { name: "plain", make: (t) => `create table ${t} ${LIKE}`, ownDatabase: true },
  {
    name: "partitioned",
    make: (t) =>
      `create table ${t} ${LIKE} partition by hash (event_id);` +
      [0, 1, 2].map((i) =>
        `create table ${t}_${i} partition of ${t} for values with (modulus 3, remainder ${i});`
      ).join(""),
    ownDatabase: true,
  },
  ...isThere(
      citus !== undefined,
      "set ETL_TEST_CITUS_DSN to a database with the extension citus for the tests of distributed destinations",
    )
    ? [{
      name: "distributed",
      make: (t: string) =>
        `select etl.ensure_destination('public', '${
          t.slice("public.".length)
        }', 'etl_improved_audit');
        select etl.distribute_dataset('${t}')`,
      dsn: citus!,
      ownDatabase: false,
    }]
    : [],
];

/** An engine and a destination of a kind. */
async function contract(t: Deno.TestContext, kind: Kind) {
  const options = kind.dsn === undefined ? {} : {
    database: { dsn: kind.dsn, name: "citus", [Symbol.asyncDispose]: () => Promise.resolve() },
  };
  if (kind.dsn !== undefined) await setupDatabase(kind.dsn);
  const engine = await startEngine(t, options);
  const name = `contract_${crypto.randomUUID().slice(0, 8)}`;
  const table = `public.${name}`;
  await using client = await connected(engine.db.dsn);
  await client.query(kind.make(table));
  return {
    engine,
    table,
    name,
    load: (records: unknown[], rest: { source?: object; [param: string]: unknown } = {}) =>
      engine.load(records, { table_name: name, ...rest }),
    [Symbol.asyncDispose]: async () => {
      if (kind.dsn !== undefined) {
        await engine.sql`delete from etl.datasets where dataset = ${table}`;
        await engine.sql.unsafe(`drop table ${table} cascade`);
      }
      await engine[Symbol.asyncDispose]();
    },
  };
}

async function connected(dsn: string) {
  const client = await connect(dsn, { applicationName: "the test's session" });
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

const range = (count: number, record: (i: number) => object) =>
  Array.from({ length: count }, (_, i) => record(i));

const counts = (run: { state: string; error: unknown; counts: Record<string, number> }) => {
  assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  const { inserted, updated, unchanged, duplicates } = run.counts;
  return [inserted, updated, unchanged, duplicates];
};

async function times(engine: Engine, table: string) {
  return await engine.sql.unsafe<{ seen: string; updated: string }[]>(
    `select first_seen_at::text as seen, updated_at::text as updated from ${table} order by event_id collate "C"`,
  );
}

for (const kind of KINDS) {
  const named = (what: string) => `a ${kind.name} destination: ${what}`;

  Deno.test(
    named("first load, the same again, changed and new rows, one chunk and many"),
    async (t) => {
      await using made = await contract(t, kind);
      const { engine, table, load } = made;
      const first = range(10, (i) => ({ id: `k${i}`, v: 1 }));
      assert.deepEqual(counts(await load([...first, first[3]])), [10, 0, 0, 1]);
      const before = await times(engine, table);
      assert.deepEqual(counts(await load(first)), [0, 0, 10, 0]);
      assert.deepEqual(await times(engine, table), before, "no unchanged row is written");
      const changed = [
        ...first.slice(0, 4).map((row) => ({ ...row, v: 2 })),
        { id: "k9", v: 0, was: "overtaken within the run" },
        ...range(5, (i) => ({ id: `n${i}`, v: 1 })),
        { id: "k9", v: 2 },
      ];
      // the manifest, then keys that are looked up
      assert.deepEqual(counts(await load(changed)), [5, 5, 0, 1]);
      assert.deepEqual(counts(await load(changed, { chunk_size: 100 })), [0, 0, 10, 1]);
      if (kind.dsn === undefined) {
        const { run_id } = await load(changed, { dry_run: true, compare: true });
        const { equal, only_in_dataset, differences } = await compareRun(engine.sql, {
          dataset: table,
          runId: run_id,
        });
        assert.deepEqual([equal, only_in_dataset, differences.length], [10, 5, 5]);
      }
      const payloads = await engine.payloads(table) as Record<string, { v: number }>;
      assert.deepEqual([payloads.k0!.v, payloads.k5!.v, payloads.k9!.v, payloads.n4!.v], [
        2,
        1,
        2,
        1,
      ]);
      const after = await times(engine, table);
      assert.equal(after.length, 15);
      assert.equal(after[0]!.seen, before[0]!.seen, "a changed row was seen first when it was");
      assert.notEqual(after[0]!.updated, before[0]!.updated);
      assert.deepEqual(after[5], before[5]);
      if (kind.dsn !== undefined) return;
      await engine.sql.unsafe(`analyze ${table}`);
      const { rows, filled } = await destinationSize(engine.sql, "public", made.name);
      assert.deepEqual({ rows, filled }, {
        filled: true,
        rows: 15,
      });
    },
  );

  Deno.test(
    named("rows of another source are refused, a late run changes nothing, a replay adds"),
    async (t) => {
      await using made = await contract(t, kind);
      const { engine, table, load } = made;
      const at = "2026-01-01T00:00:00Z";
      const source = { occurred_at: "at" };
      await load([{ id: "k", v: "first", at }], { source });
      const foreign = await load([{ id: "k", v: "theirs" }, { id: "other" }], {
        source: { name: "another" },
      });
      assert.equal(foreign.error?.type, "/api/problems/foreign-rows");
      const bad = await load(
        ["k", "missing"].map((id) => ({ id, v: "bad", at: "no time", when: at })),
        { source },
      );
      assert.deepEqual(counts(await load([{ id: "k", v: "first", at }], { source })), [0, 0, 1, 0]);
      const answer = await engine.post(`/api/etl/runs/${bad.run_id}/quarantine/replay`, {
        set: { source: { occurred_at: "when" } },
      });
      const late = await engine.toEnd((await answer.json()).run_id);
      assert.deepEqual([late.counts.inserted, late.counts.updated], [1, 0]);
      assert.match(late.warnings.join(), /^1 row was not updated: a later request/);
      const payloads = await engine.payloads(table) as Record<string, { v: string }>;
      assert.deepEqual([payloads.k!.v, payloads.missing!.v, payloads.other], [
        "first",
        "bad",
        undefined,
      ]);
    },
  );

  Deno.test(
    named("a key that somebody adds between comparison and load is upserted"),
    async (t) => {
      await using made = await contract(t, kind);
      const { engine, table, name } = made;
      await engine.sql`select etl.ensure_destination('public', ${name}, 'etl_improved_audit')`;
      await using other = await connected(engine.db.dsn);
      await other.query(`begin;
      insert into ${table} (event_id, event_type, source, payload, fingerprint, run_id, first_seen_at)
      values ('k1', 'event', 'test', '{}', '\\x00', '00000000-0000-7000-8000-000000000000', '2026-01-01')`);
      const { run_id } = await engine.submit({
        table_name: name,
        chunk_size: 100,
        source: {
          type: "inline",
          name: "test",
          key: "id",
          records: range(5, (i) => ({ id: `k${i}`, x: "ours" })),
        },
      });
      const ending = engine.toEnd(run_id);
      await waitFor(async () => {
        const [row] = await engine.sql`select count(*)::int as n from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and state = 'active'`;
        return row!.n > 0;
      }, { what: "the run to wait for the key" });
      await other.query("commit");
      assert.deepEqual(counts(await ending), [4, 1, 0, 0]);
      assert.deepEqual((await engine.payloads(table)).k1, { id: "k1", x: "ours" });
    },
  );

  for (const role of ["owner", "granted"] as const) {
    Deno.test(named(`retention deletes what is old, for a role that is ${role}`), async (t) => {
      await using made = await contract(t, kind);
      const { engine, table, load } = made;
      const { sql } = engine;
      const old = { at: "2020-01-01T00:00:00Z" };
      const source = { occurred_at: "at" };
      await load([
        ...range(40, (i) => ({ id: `old${i}`, ...old })),
        ...range(25, (i) => ({ id: `undated${i}`, at: new Date().toISOString() })),
        ...range(5, (i) => ({ id: `new${i}`, at: new Date().toISOString() })),
      ], { source, chunk_size: 100 });
      await sql.unsafe(
        `update ${table} set occurred_at = null, first_seen_at = '2020-01-01' where event_id like 'undated_'`,
      );
      await sql`update etl.datasets set maintained = true where dataset = ${table}`;
      await sql`update etl.param_schema set events_by_occurred_at = true`;
      let deleted = 0;
      if (role === "granted") {
        // as a role with rights on the table, and none on what its rows lie in
        const name = `server_${crypto.randomUUID().slice(0, 8)}`;
        await sql.unsafe(`create role ${name}`);
        try {
          await sql`select etl.grant_server_role(${name})`;
          await sql.unsafe(`grant select, insert, update, delete on ${table} to ${name}`);
          const [{ id }] = await sql<[{ id: string }]>`select etl.request_maintenance() as id`;
          await sql`update etl.maintenance_runs set state = 'running', attempt = 1, started_at = now() where maintenance_id = ${id}`;
          await sql`update etl.maintenance_tasks set state = 'running', started_at = now() where maintenance_id = ${id} and task = 'clean_old_events'`;
          await using client = await connected(engine.db.dsn);
          await client.query(`set role ${name}`);
          const { rows } = await client.query<{ relation: number }>(
            "select relation::oid from etl.maintained_tables('clean_old_events') where relation::text like '%contract_%'",
          );
          for (const { relation } of rows) {
            for (let done = false; !done;) {
              const batch = await client.query<{ deleted: number; done: boolean }>(
                "select deleted::int, done from etl.delete_old($1, 1, 'clean_old_events', $2::oid::regclass, 7)",
                [id, relation],
              );
              deleted += batch.rows[0]!.deleted;
              done = batch.rows[0]!.done;
            }
          }
        } finally {
          await sql.unsafe(`delete from etl.server_roles where role_name = '${name}';
            drop owned by ${name}; drop role ${name}`);
        }
      } else {
        await using _maintaining = await startMaintaining(engine, { batchRows: 7 });
        const preview = await engine.post("/api/etl/maintenance?dry_run=true", {});
        assert.equal((await preview.json()).would_delete, 50);
        const answer = await engine.post("/api/etl/maintenance?wait=true", {});
        const view = await answer.json();
        const cleaned = view.tasks.find((each: { task: string }) =>
          each.task === "clean_old_events"
        );
        assert.deepEqual([view.state, cleaned.warnings], ["succeeded", []], JSON.stringify(view));
        const vacuum = view.tasks.find((each: { task: string }) => each.task === "vacuum_analyze");
        assert.deepEqual(vacuum.warnings, []);
        deleted = cleaned.deleted;
      }
      assert.equal(deleted, 50);
      const left = Object.keys(await engine.payloads(table));
      assert.equal(left.filter((id) => id.startsWith("undated")).length, 15);
      assert.equal(left.length, 20);
    });
  }

  Deno.test(named("a typed view on it, and a backup with its rows"), async (t) => {
    await using made = await contract(t, kind);
    const { engine, table, load } = made;
    await load(range(6, (i) => ({ id: `k${i}`, amount: i })));
    const columns = JSON.stringify([{ name: "amount", type: "integer" }]);
    await engine.sql`select etl.set_dataset_columns(${table}, ${columns}::text::jsonb)`;
    const [view] = await engine.sql<{ name: string }[]>`
      select format('%I.%I', schema_name, view_name) as name from etl.datasets where dataset = ${table}`;
    const [sum] = await engine.sql.unsafe<{ sum: number }[]>(
      `select sum(amount)::int as sum from ${view!.name}`,
    );
    assert.equal(sum!.sum, 15);
    const distribute = () => engine.post(`/api/datasets/${table}/distribute`, {});
    if (!kind.ownDatabase) {
      const answer = await distribute();
      assert.deepEqual([answer.status, (await answer.json()).distributed_by], [200, "event_id"]);
      return;
    }
    const { status, detail } = await (await distribute()).json();
    assert.equal(status, 422);
    assert.match(detail, /no extension citus.*Install Citus on this PostgreSQL and on its workers/);
    await using dir = await backupDir();
    const backup = await backUp(engine.db.dsn, dir);
    const expected = await held(engine.db.dsn, backup);
    await using empty = await testDatabase(t, { setUp: false });
    await restore(empty.dsn, backup);
    assert.deepEqual(await held(empty.dsn, backup), expected);
    // and over what is there, whatever became of it since
    await load([{ id: "k1", amount: 100 }, { id: "k7", amount: 1 }]);
    await restore(engine.db.dsn, backup);
    assert.deepEqual(await held(engine.db.dsn, backup), expected);
  });
}

if (citus !== undefined) {
  Deno.test("a distributed destination: what is new is found where the rows are", async (t) => {
    await using made = await contract(t, KINDS.find(({ name }) => name === "distributed")!);
    const { engine, table, name, load } = made;
    const { run_id: runId } = await load(range(100, (i) => ({ id: `k${i}`, v: 1 })));
    // as an attempt makes it, beside the rows
    await engine
      .sql`update etl.runs set state = 'running', ended_at = null where run_id = ${runId}`;
    assert.equal(await createManifest(engine.sql, { run_id: runId, attempt: 1 }), true);
    const manifest = manifestTable({ runId, attempt: 1 });
    const { text, values } = comparison(keysIn(manifest), {
      orderRunId: runId,
      late: false,
      appends: false,
      superseded: false,
      sourceName: "test",
      params: { schema_name: "public", table_name: name },
      table: null,
      distributed: true,
    } as KeyedRun);
    const literal = (at: string) =>
      `'${String(values[Number(at.slice(1)) - 1]).replaceAll("'", "''")}'`;
    const explained = async (statement: string) => {
      const [row] = await engine.sql.unsafe<{ "QUERY PLAN": unknown }[]>(
        `explain (format json) ${statement}`,
      );
      return JSON.stringify(row!["QUERY PLAN"]);
    };
    const [{ shards }] = await engine.sql<[{ shards: number }]>`
    select shards::int from etl.distributed_datasets() where dataset = ${table}`;
    for (
      const statement of [
        text.replace(/\$\d/g, literal),
        // keys that occur twice
        `select * from ${manifest} where event_id in (select event_id from ${manifest} group by 1 having count(*) > 1)`,
      ]
    ) {
      const plan = await explained(statement);
      assert.match(plan, new RegExp(`"Task Count":${shards}\\b`), plan);
      // what is planned apart is brought to the coordinator first
      assert.doesNotMatch(plan, /"Subplans"/, plan);
    }
    await engine.sql`select etl.drop_manifests(${runId}, 1)`;
    await engine
      .sql`update etl.runs set state = 'succeeded', ended_at = now() where run_id = ${runId}`;
  });
}

/** What of Citus the program's SQL names, without what it does: tables stay where they are, and a log says what was asked for. */
const CATALOGUE = `
  set allow_system_table_mods = on;
  create table pg_catalog.pg_dist_partition (logicalrelid regclass primary key, partmethod "char", partkey text);
  create table pg_catalog.pg_dist_shard (logicalrelid regclass, shardid bigint);
  create table pg_catalog.pg_dist_placement (shardid bigint, groupid integer);
  create table pg_catalog.pg_dist_node (groupid integer, nodename text, nodeport integer, noderole text);
  grant select on pg_catalog.pg_dist_partition, pg_catalog.pg_dist_shard, pg_catalog.pg_dist_placement, pg_catalog.pg_dist_node to public;
  create table public.asked (relation text, by_column text, beside text);
  create function pg_catalog.column_to_column_name(regclass, text) returns text language sql as 'select $2';
  create function pg_catalog.create_distributed_table(table_name regclass, distribution_column text, colocate_with text default 'default')
  returns void language plpgsql as $$
  begin
    insert into pg_catalog.pg_dist_partition values (table_name, 'h', distribution_column);
    insert into pg_catalog.pg_dist_shard select table_name, n from generate_series(1, 32) as n;
    insert into public.asked values (table_name::text, distribution_column, colocate_with);
  end $$;
  insert into pg_catalog.pg_dist_placement select n, n % 2 from generate_series(1, 32) as n;
  insert into pg_catalog.pg_dist_node values (0, 'a', 5432, 'primary'), (1, 'b', 5432, 'primary');
  reset allow_system_table_mods;`;

Deno.test("a dataset that is distributed gets the keys of each run beside its rows; what would delete there is refused", async (t) => {
  await using made = await contract(t, {
    name: "distributed",
    make: (table) =>
      `${CATALOGUE} select etl.ensure_destination('public', '${
        table.slice("public.".length)
      }', 'etl_improved_audit')`,
    ownDatabase: true,
  });
  const { engine, table, load } = made;
  const distribute = async () => {
    const answer = await engine.post(`/api/datasets/${table}/distribute`, {});
    return { status: answer.status, ...await answer.json() };
  };
  const first = range(10, (i) => ({ id: `k${i}`, v: 1 }));
  assert.deepEqual(counts(await load(first)), [10, 0, 0, 0]);
  const expected = { status: 200, distributed_by: "event_id", shards: 32, servers: 2 };
  assert.deepEqual(await distribute(), expected);
  assert.deepEqual(await distribute(), expected, "once");
  assert.deepEqual(counts(await load(first)), [0, 0, 10, 0]);
  const changed = first.map((row, i) => i < 4 ? { ...row, v: 2 } : row);
  assert.deepEqual(counts(await load([...changed, { id: "n" }], { chunk_size: 100 })), [
    1,
    4,
    6,
    0,
  ]);
  const asked = await engine.sql`select relation, by_column, beside from public.asked`;
  assert.deepEqual(asked[0], { relation: table, by_column: "event_id", beside: "none" });
  // each run that has rows to be compared with, small as it is
  assert.equal(asked.length, 3);
  for (const { relation, by_column, beside } of asked.slice(1)) {
    assert.match(relation, /^manifest_/);
    assert.deepEqual([by_column, beside], ["event_id", table]);
  }
  const replaced = await load(first, { write: "replace" });
  const refused = /is distributed over several servers.*Nothing was changed/s;
  assert.match(replaced.error!.detail, refused);
  const feed = await load(first, { deleted: { field: "op", equals: "D" } });
  assert.match(feed.error!.detail, refused);
  const compared = await load(first, { dry_run: true, compare: true });
  assert.match(compared.error!.detail, /is distributed over several servers/);
  assert.equal(Object.keys(await engine.payloads(table)).length, 11);
  // a mirror has marked rows of it before it was distributed
  await engine.sql.unsafe(`alter table ${table} add column _etl_deleted_at timestamptz`);
  assert.match((await load(first)).error!.detail, refused);
  await engine.sql.unsafe(`alter table ${table} drop column _etl_deleted_at`);
  // as after a restore
  await engine.sql`delete from pg_catalog.pg_dist_partition`;
  const [lost] = await engine
    .sql`select wanted, distribution_column, shards::int from etl.distributed_datasets()`;
  assert.deepEqual(lost, { wanted: true, distribution_column: null, shards: 0 });
});

Deno.test("a destination is looked at without reading all tables of its database", async (t) => {
  await using engine = await startEngine(t);
  const sql = await engine.sql.reserve();
  try {
    await sql`begin`;
    const scans = async () =>
      (await sql`select seq_scan from pg_stat_xact_all_tables where relid = 'pg_class'::regclass`)[
        0
      ]!
        .seq_scan;
    const before = await scans();
    const { there } = await destinationSize(sql, "public", "etl_improved_events");
    assert.deepEqual([there, await scans()], [true, before]);
    await sql`rollback`;
  } finally {
    sql.release();
  }
});
