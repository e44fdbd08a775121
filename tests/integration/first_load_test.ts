import assert from "node:assert/strict";
import { removeLeftovers } from "../../pipeline/spill/spool_dirs.ts";
import { beginFirstLoad } from "../../store/first_load.ts";
import { connect } from "../../store/pg.ts";
import { finishRun, startRun } from "../../store/runs.ts";
import { beforeTasks } from "../helpers/before_tasks.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { waitFor } from "../helpers/wait_for.ts";

const TABLE = "first";

/** A run that loads so many records with keys from `from` on, in chunks of 3. */
function conf(count: number, { from = 0, ...params }: Record<string, unknown> = {}) {
  const records = Array.from({ length: count }, (_, i) => ({ id: `k${Number(from) + i}`, n: i }));
  return {
    table_name: TABLE,
    chunk_size: 3,
    ...params,
    source: { type: "inline", name: "test", key: "id", records },
  };
}

/** The same of another source. */
function others(count: number, from: number) {
  const { source, ...params } = conf(count, { from });
  return { ...params, run_label: "others", source: { ...source, name: "others" } };
}

/** What makes the table's indexes and whether they make its key, by name; `made` tells one index from one made anew. */
async function indexes(engine: Engine, table = TABLE) {
  const rows = await engine.sql<{ name: string; definition: string; made: string }[]>`
    select c.relname as name, concat_ws(' ', pg_get_indexdef(i.indexrelid), case when i.indisprimary then 'primary' end) as definition,
      i.indexrelid::text as made
    from pg_index as i join pg_class as c on c.oid = i.indexrelid
    where i.indrelid = to_regclass(${table}) order by c.relname`;
  return {
    definitions: rows.map(({ definition }) => definition),
    made: rows.map(({ made }) => made),
  };
}

/** A run that has begun its first load and goes no further. */
async function begun(engine: Engine) {
  const { run_id } = await engine.submit(conf(6));
  const before = await indexes(engine);
  const run = (await startRun(engine.sql, run_id, { serverId: "other", maxAttempts: 5 }))!;
  assert.equal(await beginFirstLoad(engine.deps.sql, run), true);
  assert.deepEqual((await indexes(engine)).definitions, []);
  return { run, before };
}

async function session(engine: Engine) {
  const client = await connect(engine.db.dsn, { applicationName: "the test's session" });
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

async function count(engine: Engine): Promise<number> {
  const [row] = await engine.sql.unsafe(`select count(*)::int as count from ${TABLE}`);
  return row!.count;
}

Deno.test("a large first load ends with the indexes that the table had, also where it is cancelled", async (t) => {
  await using engine = await startEngine(t);
  const { settings } = engine.deps;
  const small = await engine.submit(conf(6));
  const before = await indexes(engine);
  assert.equal(before.definitions.length, 3);
  await engine.toEnd(small.run_id);
  assert.deepEqual(await indexes(engine), before, "a few rows are not worth it");

  await engine.sql.unsafe(`delete from ${TABLE}`);
  settings.firstLoadRows = 30;
  const cancelled = await engine.submit(conf(30));
  let cancel = () => {};
  const observer = {
    taskDone: (_run: unknown, { kind }: { kind: string }) => kind === "publish" && cancel(),
  };
  await engine.execute(cancelled.run_id, {
    observer: observer as never,
    onCancel: (_runId, stop) => {
      cancel = stop;
      return () => {};
    },
  });
  assert.equal((await engine.run(cancelled.run_id)).state, "cancelled");
  const left = await count(engine);
  assert.ok(left >= 3 && left < 30, `${left} rows`);
  const after = await indexes(engine);
  assert.deepEqual(after.definitions, before.definitions);
  assert.notDeepEqual(after.made, before.made);

  await engine.sql.unsafe(`delete from ${TABLE}`);
  const run = await engine.succeed({ ...conf(30), run_label: "whole" });
  assert.equal(run.counts.inserted, 30);
  const whole = await indexes(engine);
  assert.deepEqual(whole.definitions, before.definitions);
  assert.ok(whole.made.every((made) => !after.made.includes(made)));

  settings.firstLoadRows = 1_000;
  await engine.succeed(conf(30, { layout: "typed", table_name: "few" }));
  settings.firstLoadRows = 30;
  await engine.succeed(conf(30, { layout: "typed", table_name: "many" }));
  const [few, many] = [await indexes(engine, "few"), await indexes(engine, "many")];
  assert.deepEqual(many.definitions, few.definitions.map((text) => text.replaceAll("few", "many")));
  assert.equal(
    (await engine.succeed(conf(30, { layout: "typed", table_name: "many" }))).counts.unchanged,
    30,
  );
  assert.equal((await engine.sql`select from etl.first_loads`).length, 0);
});

Deno.test("whoever comes while a first load goes on has the key made first", async (t) => {
  await using engine = await startEngine(t);
  const { run, before } = await begun(engine);
  assert.equal(await beginFirstLoad(engine.deps.sql, run), false, "it has begun");
  // the table is one of events all the time
  const later = await engine.submit(others(6, 100));
  const compared = beforeTasks(engine.deps.workers, async (kind) => {
    if (kind !== "prepare") return;
    assert.deepEqual((await indexes(engine)).definitions, before.definitions, "to compare with");
  });
  await engine.execute(later.run_id, { workers: compared });
  assert.equal((await engine.run(later.run_id)).counts.inserted, 6);
  assert.deepEqual((await indexes(engine)).definitions, before.definitions);
  assert.equal(await beginFirstLoad(engine.deps.sql, run), false, "it holds rows");

  // one that has found the table empty and writes when the key is gone
  await engine.sql.unsafe(`delete from ${TABLE}`);
  const early = await engine.submit(others(3, 200));
  let published = 0;
  const workers = beforeTasks(engine.deps.workers, async (kind) => {
    if (kind !== "publish" || ++published > 1) return;
    assert.equal(await beginFirstLoad(engine.deps.sql, run), true);
  });
  await engine.execute(early.run_id, { workers });
  assert.equal((await engine.run(early.run_id)).counts.inserted, 3);
  assert.equal(published, 1);
  assert.deepEqual((await indexes(engine)).definitions, before.definitions);

  // rows that come while it waits for the table
  await engine.sql.unsafe(`delete from ${TABLE}`);
  const inserts = await engine.sql.reserve();
  await inserts.unsafe(
    `begin; insert into ${TABLE} (event_id, event_type, source, payload, run_id)
    values ('a', 't', 'hand', '{}', '${run.run_id}')`,
  );
  let over = false;
  const begins = beginFirstLoad(engine.deps.sql, run).finally(() => over = true);
  await waitFor(async () =>
    over || (await engine.sql`select from pg_locks where not granted`).length > 0
  );
  await inserts.unsafe("commit");
  inserts.release();
  assert.equal(await begins, false);
  assert.deepEqual((await indexes(engine)).definitions, before.definitions);
});

Deno.test("a first load that its server did not end is ended by housekeeping, and rows written by hand meanwhile are told of", async (t) => {
  await using engine = await startEngine(t);
  const { run, before } = await begun(engine);
  await removeLeftovers(engine.deps.sql, engine.config.spoolDir);
  assert.deepEqual((await indexes(engine)).definitions, [], "its run goes on");
  await engine.sql.unsafe(
    `insert into ${TABLE} (event_id, event_type, source, payload, run_id)
    select 'twice', 't', 'hand', '{}', '${run.run_id}' from generate_series(1, 2)`,
  );
  const error = { type: "/api/problems/internal", title: "t", status: 500, detail: "d" };
  await finishRun(engine.sql, run, { state: "failed", error, stages: [] });
  const refused = await engine.runToEnd(others(3, 0));
  assert.equal(refused.error?.type, "/api/problems/conflict");
  assert.match(refused.error!.detail, /Delete the duplicates \(.*twice/);
  await engine.sql.unsafe(`delete from ${TABLE}`);
  await removeLeftovers(engine.deps.sql, engine.config.spoolDir);
  assert.deepEqual((await indexes(engine)).definitions, before.definitions);
});

Deno.test("a table that something is attached to keeps its indexes", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const { run_id } = await engine.submit(conf(6));
  const run = (await startRun(sql, run_id, { serverId: "other", maxAttempts: 5 }))!;
  const before = await indexes(engine);
  for (
    const [attach, detach] of [
      [`create view v as select event_id, version from ${TABLE} group by event_id`, "drop view v"],
      [`create table r (e text references ${TABLE})`, "drop table r"],
      [
        `create trigger x before insert on ${TABLE} execute function suppress_redundant_updates_trigger()`,
        `drop trigger x on ${TABLE}`,
      ],
      [`create table c () inherits (${TABLE})`, "drop table c"],
      [`create index own on ${TABLE} (lower(event_id))`, "drop index own"],
      [`create unique index own on ${TABLE} (version)`, "drop index own"],
      [`create index own on ${TABLE} (event_type) where version > 0`, "drop index own"],
      [`create index own on ${TABLE} (event_type) with (fillfactor = 50)`, "drop index own"],
      [`cluster ${TABLE} using ${TABLE}_pkey`, `alter table ${TABLE} set without cluster`],
      [
        `alter table ${TABLE} replica identity full`,
        `alter table ${TABLE} replica identity default`,
      ],
      [
        `insert into ${TABLE} (event_id, event_type, source, payload, run_id)
        values ('a', 't', 'hand', '{}', '${run_id}')`,
        `delete from ${TABLE}`,
      ],
    ] as const
  ) {
    await sql.unsafe(attach);
    assert.equal(await beginFirstLoad(engine.deps.sql, run), false, attach);
    await sql.unsafe(detach);
  }
  await using reader = await session(engine);
  await reader.query(`begin; select from ${TABLE}`);
  assert.equal(await beginFirstLoad(engine.deps.sql, run), false, "nobody waits for a reader");
  await reader.query("commit");
  assert.deepEqual(await indexes(engine), before);
  assert.equal(await beginFirstLoad(engine.deps.sql, run), true);
});
