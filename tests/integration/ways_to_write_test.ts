import assert from "node:assert/strict";
import { compareRun } from "../../store/compare.ts";
import { connect } from "../../store/pg.ts";
import { beforeTasks } from "../helpers/before_tasks.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const LAYOUTS = ["events", "typed"] as const;

interface Loading {
  source?: object;
  [param: string]: unknown;
}

/** Loads records in chunks of three. */
function load(engine: Engine, records: unknown[], { source, ...params }: Loading = {}) {
  return engine.runToEnd({
    chunk_size: 3,
    ...params,
    source: { type: "inline", name: "test", key: "id", records, ...source },
  });
}

/** inserted, updated, unchanged, deleted, marked of a run that has succeeded. */
function counted(run: { state: string; error: unknown; counts: Record<string, number> }) {
  assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  const { inserted, updated, unchanged, deleted, marked } = run.counts;
  return [inserted, updated, unchanged, deleted, marked];
}

/** How many rows of a dataset are as in these records, are in the dataset only, and in the records only. */
async function compared(engine: Engine, records: unknown[], params: Loading) {
  const { run_id } = await load(engine, records, { ...params, dry_run: true, compare: true });
  const { equal, only_in_dataset, only_in_other } = await compareRun(engine.sql, {
    dataset: `public.${params.table_name}`,
    runId: run_id,
  });
  return [equal, only_in_dataset, only_in_other];
}

/** Rows of a table of either layout as `id:x`, and `-` where they are marked. */
async function rows(engine: Engine, table: string): Promise<string[]> {
  const [known] = await engine.sql`
    select exists (select from pg_attribute where attrelid = to_regclass(${table}) and attname = '_etl_deleted_at') as marks,
      exists (select from pg_attribute where attrelid = to_regclass(${table}) and attname = 'payload') as events`;
  const [key, x] = known!.events ? ["event_id", "payload ->> 'x'"] : ["id", "x"];
  const found = await engine.sql.unsafe<{ row: string }[]>(
    `select concat(${key}, ':', ${x}${
      known!.marks ? ", case when _etl_deleted_at is not null then '-' end" : ""
    }) as row from ${table} order by ${key}`,
  );
  return found.map(({ row }) => row);
}

/** A connection of somebody else's. */
async function connected(engine: Engine, applicationName = "somebody") {
  const client = await connect(engine.db.dsn, { applicationName });
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

const range = (from: number, to: number, x: unknown) =>
  Array.from({ length: to - from }, (_, i) => ({ id: from + i, x }));

Deno.test("replace puts this run's rows in the place of the source's earlier ones, and writes no row that stays as it is", async (t) => {
  await using engine = await startEngine(t);
  for (const layout of LAYOUTS) {
    const table_name = `r_${layout}`;
    const replace = { layout, table_name, write: "replace" };
    assert.deepEqual(counted(await load(engine, range(0, 8, "a"), replace)), [8, 0, 0, 0, 0]);
    const others = layout === "typed" ? [] : ["100:o", "101:o"];
    if (layout === "events") {
      await load(engine, range(100, 102, "o"), { table_name, source: { name: "other" } });
    }
    const before = await engine.sql.unsafe(`select ctid, xmin from ${table_name} order by 1`);
    assert.deepEqual(counted(await load(engine, range(0, 8, "a"), replace)), [0, 0, 8, 0, 0]);
    assert.deepEqual(
      await engine.sql.unsafe(`select ctid, xmin from ${table_name} order by 1`),
      before,
      "a repeated run writes no row version",
    );
    const dry = await load(engine, [...range(2, 5, "a"), ...range(5, 10, "b")], {
      ...replace,
      dry_run: true,
    });
    assert.deepEqual(counted(dry), [2, 3, 3, 2, 0], "a dry run says what it would do");
    const changed = await load(engine, [...range(2, 5, "a"), ...range(5, 10, "b")], replace);
    assert.deepEqual(counted(changed), [2, 3, 3, 2, 0]);
    assert.deepEqual([changed.total_rows, changed.expected_rows, changed.ratio], [8, 8, 1]);
    assert.deepEqual(
      await rows(engine, table_name),
      [
        ...others,
        "2:a",
        "3:a",
        "4:a",
        "5:b",
        "6:b",
        "7:b",
        "8:b",
        "9:b",
      ].sort((a, b) => layout === "events" ? a.localeCompare(b) : 0),
    );
    const [metrics] = await engine.sql`
      select m.deleted::int, m.marked::int, e.counts from public.etl_improved_metrics as m
      join etl.dataset_events as e using (run_id) where m.run_id = ${changed.run_id}`;
    assert.deepEqual([metrics!.deleted, metrics!.marked, metrics!.counts.deleted], [2, 0, 2]);

    // what was rejected is not there; a lower version is what this run says
    const versions = { ...replace, table_name: `v_${layout}`, source: { version: "v" } };
    await load(engine, [{ id: 1, x: "a", v: 2 }, { id: 2, x: "a", v: 2 }], versions);
    const lower = await load(engine, [{ id: 1, x: "b", v: 1 }, { id: 2, x: "b", v: null }], {
      ...versions,
      min_acceptance_ratio: 0,
    });
    assert.deepEqual(counted(lower), [0, 1, 0, 1, 0]);
    assert.deepEqual(await rows(engine, `v_${layout}`), ["1:b"]);
  }
});

Deno.test("replace changes nothing where the ratio, the suite or another source's row says no, and leaves nothing behind", async (t) => {
  await using engine = await startEngine(t);
  await engine.post("/api/suites", {});
  for (const layout of LAYOUTS) {
    const table_name = `r_${layout}`;
    const replace = { layout, table_name, write: "replace" };
    await load(engine, range(0, 8, "a"), replace);
    const kept = await engine.sql.unsafe(`select * from ${table_name} order by 1`);
    const low = await load(engine, [...range(3, 9, "b"), { x: "no key" }], replace);
    assert.equal(low.error?.type, "/api/problems/low-ratio");
    assert.match(String(low.error!.detail), /6 of 7 expected rows.*Nothing was changed\./);
    assert.deepEqual(
      ["inserted", "updated", "unchanged", "deleted"].map((name) => low.counts[name]),
      [0, 0, 0, 0],
    );
    assert.deepEqual(await engine.sql.unsafe(`select * from ${table_name} order by 1`), kept);
    const empty = await load(engine, [], replace);
    assert.deepEqual(counted(empty), [0, 0, 0, 0, 0]);
    assert.match(empty.warnings.join(), /gave no record/);
    assert.deepEqual(await engine.sql.unsafe(`select * from ${table_name} order by 1`), kept);
    assert.equal(
      (await engine.sql`select from etl.dataset_events where run_id = ${low.run_id}`).length,
      0,
    );
  }
  await load(engine, range(20, 21, "o"), { table_name: "r_events", source: { name: "other" } });
  const foreign = await load(engine, [...range(5, 8, "b"), ...range(20, 21, "b")], {
    table_name: "r_events",
    write: "replace",
  });
  assert.equal(foreign.error?.type, "/api/problems/foreign-rows");
  assert.equal((await rows(engine, "r_events")).length, 9);
});

Deno.test("mirror deletes what its source no longer has, and nothing of others, of later runs or of rejected records", async (t) => {
  await using engine = await startEngine(t);
  for (const layout of LAYOUTS) {
    const table_name = `m_${layout}`;
    const mirror = {
      layout,
      table_name,
      write: "mirror",
      source: { columns: { x: "text", n: "integer" } },
    };
    const given = range(0, 10, "a").map((record) => ({ ...record, n: 1 }));
    assert.deepEqual(counted(await load(engine, given, mirror)), [10, 0, 0, 0, 0]);
    const dry = await load(engine, given.slice(1), { ...mirror, dry_run: true });
    assert.deepEqual(counted(dry), [0, 0, 9, 1, 0]);
    assert.deepEqual(counted(await load(engine, given.slice(1), mirror)), [0, 0, 9, 1, 0]);

    // too many: the run stops before it changes anything
    const few = await load(engine, given.slice(4), mirror);
    assert.equal(few.error?.type, "/api/problems/too-many-deletions");
    assert.match(String(few.error!.detail), /^3 of the 9 rows .* \(33\.3%\)/);
    assert.match(String(few.error!.detail), /max_delete_ratio 1 .*--yes/);
    assert.equal((await rows(engine, table_name)).length, 9);
    const all = { ...mirror, max_delete_ratio: 1 };

    // rejected, with a key that can be read: it is there. In one table a value does not fit, in the other all lack a time
    const bad = layout === "typed" ? { id: "4", x: "a", n: "many" } : { id: 4, x: "a" };
    const present = await load(engine, [...given.slice(5), bad], {
      ...all,
      min_acceptance_ratio: 0,
      source: { ...mirror.source, ...(layout === "events" ? { occurred_at: "at" } : {}) },
    });
    assert.deepEqual(counted(present), [0, 0, layout === "typed" ? 5 : 0, 3, 0]);
    assert.deepEqual((await rows(engine, table_name)).slice(0, 2), ["4:a", "5:a"]);

    // one without a key: nobody knows whose row it is
    const unknown = await load(engine, [...given.slice(6), { x: "whose?" }], {
      ...all,
      min_acceptance_ratio: 0,
    });
    assert.deepEqual(counted(unknown), [0, 0, 4, 0, 0]);
    assert.match(unknown.warnings.join(), /No row was deleted: 1 rejected record has no key/);
    assert.equal((await rows(engine, table_name)).length, 6);
    const none = await load(engine, [], all);
    assert.deepEqual(counted(none), [0, 0, 0, 0, 0]);
    assert.match(none.warnings.join(), /gave no record/);

    assert.deepEqual(counted(await load(engine, given.slice(8), all)), [0, 0, 2, 4, 0]);
  }
  // of a file, whose line cannot be read as a whole, in the words of its columns
  const csv = (lines: string[]) =>
    Deno.writeTextFile(`${engine.dataDir}/m.csv`, `id,d,n\n${lines.join("\n")}\n`);
  const file = {
    table_name: "m_file",
    write: "mirror",
    max_delete_ratio: 1,
    min_acceptance_ratio: 0,
    source: {
      type: "file",
      path: "m.csv",
      name: "test",
      key: ["id", "d"],
      columns: { d: { type: "date", format: "%d.%m.%Y" }, n: "integer" },
    },
  };
  await csv(["1.50,31.01.2026,1", "a,1.2.2026,2", "b,01.02.2026,3"]);
  assert.deepEqual(counted(await engine.runToEnd(file)), [3, 0, 0, 0, 0]);
  await csv(["1.50,31.01.2026,one", "a,1.2.2026,"]);
  assert.deepEqual(counted(await engine.runToEnd(file)), [0, 1, 0, 1, 0]);
  await csv(["1.50,31.01.2026,1", "a,never,2"]);
  assert.deepEqual(counted(await engine.runToEnd(file)), [0, 0, 1, 0, 0]);
  await Deno.remove(`${engine.dataDir}/m.csv`);
  assert.equal((await engine.runToEnd(file)).state, "failed", "no file is no reason to delete");
  // rows of others stay
  await load(engine, range(50, 52, "o"), { table_name: "m_events", source: { name: "other" } });
  await load(engine, range(9, 10, "a"), {
    table_name: "m_events",
    write: "mirror",
    max_delete_ratio: 1,
  });
  assert.deepEqual(await rows(engine, "m_events"), ["50:o", "51:o", "9:a"]);
});

Deno.test("records that a transform drops are gone, as are those of composite keys and of keys of other types", async (t) => {
  await using engine = await startEngine(t, {
    transforms: {
      kept: `export function transform(record) {
        if (record.x === "bad") throw new Error("no");
        return record.x === "drop" ? null : record;
      }`,
    },
  });
  const day = (n: number) => `2026-01-${String(n).padStart(2, "0")}T10:00:00+02:00`;
  for (const layout of LAYOUTS) {
    const mirror = {
      layout,
      write: "mirror",
      max_delete_ratio: 1,
      table_name: `t_${layout}`,
      transform: "kept",
      source: { key: ["id", "at", "p"] },
    };
    const given = (x: string) =>
      [1, 2, 3, 4].map((n) => ({ id: 'a|"b\\\\', at: day(n), p: `${n}.50`, x: n < 3 ? "a" : x }));
    assert.deepEqual(counted(await load(engine, given("a"), mirror)), [4, 0, 0, 0, 0]);
    assert.deepEqual(counted(await load(engine, given("a"), mirror)), [0, 0, 4, 0, 0]);
    const bad = await load(engine, given("bad"), { ...mirror, min_acceptance_ratio: 0 });
    assert.deepEqual(counted(bad), [0, 0, 2, 0, 0]);
    assert.match(bad.warnings.join(), /No row was deleted: 2 rejected records/);
    assert.deepEqual(counted(await load(engine, given("drop"), mirror)), [0, 0, 2, 2, 0]);
  }
});

Deno.test("the stages of a mirror say what they took and wrote, and that they have ended", async (t) => {
  await using engine = await startEngine(t);
  const mirror = { table_name: "staged", write: "mirror", max_delete_ratio: 1 };
  await load(engine, range(0, 6, "a"), mirror);
  const run = await load(engine, [
    ...range(0, 2, "a"),
    ...range(2, 4, "b"),
    ...range(6, 9, "c"),
  ], mirror);
  assert.deepEqual(counted(run), [3, 2, 2, 2, 0]);
  const stages = await engine.sql`
    select stage, state, records_in::int, records_out::int, busy_ms > 0 as worked,
      started_at <= ended_at as ended
    from etl.stages where run_id = ${run.run_id} and stage in ('load', 'finalize') order by stage desc`;
  const [loaded, finalized] = stages;
  assert.deepEqual(loaded, {
    ...{ stage: "load", state: "succeeded", records_in: 7, records_out: 5 },
    ...{ worked: true, ended: true },
  });
  assert.deepEqual([finalized!.state, finalized!.ended], ["succeeded", true]);
});

Deno.test("a mirror keeps the verdict of its suite, whatever that is", async (t) => {
  await using engine = await startEngine(t);
  const put = await engine.request("/api/suites/strict", {
    method: "PUT",
    body: JSON.stringify({
      expectations: [{
        type: "expect_table_row_count_to_be_between",
        kwargs: { min_value: 2 },
      }],
    }),
    headers: { "content-type": "application/json" },
  });
  assert.ok(put.ok, await put.text());
  const mirror = { table_name: "judged", write: "mirror", suite: "strict", max_delete_ratio: 1 };
  for (const [many, success] of [[2, true], [1, false]] as const) {
    const run = await load(engine, range(0, many, "a"), mirror);
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    const [verdict] = await engine.sql`
      select suite_name, success from etl.validations where run_id = ${run.run_id}`;
    assert.deepEqual({ ...verdict }, { suite_name: "strict", success });
  }
});

Deno.test("a mirror into an empty table, in which others put one of its keys meanwhile, compares with it", async (t) => {
  await using engine = await startEngine(t);
  const mirror = { table_name: "raced", write: "mirror", max_delete_ratio: 1 };
  await load(engine, range(0, 1, "a"), mirror);
  await using client = await connected(engine);
  await client.query("begin");
  await client.query("create temporary table saved as select * from public.raced");
  await client.query("delete from public.raced");
  await client.query("commit; begin; insert into public.raced select * from saved");
  const running = load(engine, range(0, 4, "b"), mirror);
  await waitFor(async () => {
    const waiting = await engine.sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    return waiting.length > 0;
  });
  await client.query("commit");
  assert.deepEqual(counted(await running), [3, 1, 0, 0, 0]);
  assert.deepEqual(await rows(engine, "public.raced"), ["0:b", "1:b", "2:b", "3:b"]);
});

Deno.test("with on_missing: mark rows are marked, and unmarked when they come back", async (t) => {
  await using engine = await startEngine(t);
  for (const layout of LAYOUTS) {
    const table_name = `k_${layout}`;
    const mark = { layout, table_name, write: "mirror", on_missing: "mark", max_delete_ratio: 0.5 };
    await load(engine, range(0, 4, "a"), { layout, table_name });
    const dry = await load(engine, range(2, 4, "a"), { ...mark, dry_run: true });
    assert.deepEqual(counted(dry), [0, 0, 2, 0, 2]);
    assert.deepEqual(counted(await load(engine, range(2, 4, "a"), mark)), [0, 0, 2, 0, 2]);
    assert.deepEqual(await rows(engine, table_name), ["0:a-", "1:a-", "2:a", "3:a"]);
    // marked once
    assert.deepEqual(counted(await load(engine, range(2, 4, "a"), mark)), [0, 0, 2, 0, 0]);
    // and compared with the source no more
    assert.deepEqual(await compared(engine, range(2, 4, "a"), mark), [2, 0, 0]);
    // the same content comes back, by whatever way
    assert.deepEqual(counted(await load(engine, range(1, 4, "a"), mark)), [0, 1, 2, 0, 0]);
    assert.deepEqual(
      counted(await load(engine, range(0, 1, "a"), { layout, table_name })),
      [0, 1, 0, 0, 0],
    );
    assert.deepEqual(await rows(engine, table_name), ["0:a", "1:a", "2:a", "3:a"]);
    const stops = await load(engine, range(0, 1, "a"), mark);
    assert.equal(stops.error?.type, "/api/problems/too-many-deletions");
  }
});

Deno.test("a mirror counts as deleted what it has deleted, and not what another took away meanwhile", async (t) => {
  await using engine = await startEngine(t);
  await using other = await connected(engine);
  const mirror = { table_name: "shared", write: "mirror", max_delete_ratio: 1 };
  counted(await load(engine, [1, 2, 3].map((id) => ({ id, x: "a" })), mirror));
  await other.query("begin; delete from shared where event_id = '2'");
  const mirrored = load(engine, [{ id: 1, x: "a" }], mirror);
  await waitFor(async () => {
    const { length } = await engine.sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    return length > 0;
  }, { what: "the mirror to come to the row" });
  await other.query("commit");
  assert.deepEqual(counted(await mirrored), [0, 0, 1, 1, 0]);
});

Deno.test("a conf that could delete what is there is refused, saying what would be right", async (t) => {
  await using engine = await startEngine(t, {
    sources: {
      shifting: `import { defineSource } from "PROGRAM/pipeline/sources/modules/define.ts";
        export default defineSource({ async *read() { yield [{ id: 1, x: "a" }]; } });`
        .replace("PROGRAM", new URL("../..", import.meta.url).href.replace(/\/$/, "")),
      steady: `import { defineSource } from "PROGRAM/pipeline/sources/modules/define.ts";
        export default defineSource({ steady: true, async *read() { yield [{ id: 1, x: "a" }]; } });`
        .replace("PROGRAM", new URL("../..", import.meta.url).href.replace(/\/$/, "")),
    },
  });
  const asked = async (conf: object) => {
    const answer = await engine.post("/api/etl/run", conf);
    const { errors } = await answer.json();
    return [answer.status, errors?.[0]?.field];
  };
  const records = range(0, 1, "a");
  const inline = { type: "inline", name: "test", key: "id", records };
  const mirror = { write: "mirror", source: inline };
  const table = { type: "postgres", connection: "shop", table: "t", cursor: "changed" };
  const rest = (by: string) => ({
    type: "module",
    name: "rest",
    config: { url: "http://127.0.0.1:1/x", paging: { by } },
  });
  assert.deepEqual(await asked({ ...mirror, batch_size: 10 }), [422, "batch_size"]);
  assert.deepEqual(await asked({ ...mirror, source: table }), [422, "source.cursor"]);
  assert.deepEqual(await asked({ write: "replace", source: table }), [422, "source.cursor"]);
  for (const by of ["page", "offset", "cursor", "link"]) {
    assert.deepEqual(await asked({ ...mirror, source: rest(by) }), [422, "on_missing"], by);
  }
  const named = { ...rest("page"), name: "shop", module: "rest" };
  assert.deepEqual(await asked({ ...mirror, source: named }), [422, "on_missing"]);
  assert.deepEqual(
    await asked({ on_missing: "mark", source: inline }),
    [422, "on_missing"],
  );
  assert.deepEqual(
    await asked({ max_delete_ratio: 1, source: inline }),
    [422, "max_delete_ratio"],
  );
  for (
    const [name, on_missing, type] of [
      ["shifting", "delete", "/api/problems/invalid-conf"],
      ["shifting", "mark", undefined],
      ["steady", "delete", undefined],
    ]
  ) {
    const run = await engine.runToEnd({
      table_name: name,
      write: "mirror",
      on_missing,
      source: { type: "module", module: name, name, key: "id" },
    });
    assert.equal(run.error?.type, type, JSON.stringify(run.error));
  }
});

Deno.test("what comes late brings nothing back that a later mirror has deleted", async (t) => {
  await using engine = await startEngine(t, {
    transforms: { none: "export const transform = () => null;" },
  });
  for (const layout of LAYOUTS) {
    const all = { layout, table_name: `l_${layout}`, max_delete_ratio: 1, min_acceptance_ratio: 0 };
    const typed = { columns: { x: "text", n: "integer" } };
    const mirror = { ...all, write: "mirror", source: typed };
    const first = await load(engine, [
      { id: 1, x: "a", n: 1 },
      { id: 2, x: "a", n: 1 },
      layout === "typed" ? { id: 3, x: "a", n: "many" } : { x: "no id" },
    ], mirror);
    assert.equal(first.counts.rejected, 1);
    // a run that fails, and is retried when a later one has loaded
    const failed = await load(engine, [{ id: 1, x: "old", n: 1 }, { id: 9, x: "old", n: 1 }], {
      ...mirror,
      max_delete_ratio: 0,
    });
    assert.equal(failed.state, "failed");
    counted(await load(engine, [{ id: 2, x: "b", n: 1 }], mirror));
    const retried = await engine.post(`/api/etl/runs/${failed.run_id}/retry`);
    assert.equal(retried.status, 202);
    const again = await engine.toEnd(failed.run_id);
    assert.equal(again.error?.type, "/api/problems/superseded");
    // a replay of what the first rejected
    if (layout === "typed") {
      await engine
        .sql`update etl.quarantine set record = '{"id": 3, "x": "a", "n": 1}' where run_id = ${first.run_id}`;
      const replayed = await engine.post(`/api/etl/runs/${first.run_id}/quarantine/replay`);
      const { run_id } = await replayed.json();
      const late = await engine.toEnd(run_id);
      assert.deepEqual(counted(late), [0, 0, 1, 0, 0]);
      assert.match(late.warnings.join(), /1 row was not updated/);
    }
    assert.deepEqual(await rows(engine, `l_${layout}`), ["2:b"]);
    // one that was cancelled before a mirror left nothing at all
    const cancelled = await engine.submit({
      ...{ layout, table_name: `l_${layout}`, chunk_size: 3 },
      source: { type: "inline", name: "test", key: "id", records: range(1, 5, "old"), ...typed },
    });
    await engine.post(`/api/etl/runs/${cancelled.run_id}/cancel`);
    const emptied = await load(engine, range(1, 3, "c"), { ...mirror, transform: "none" });
    assert.deepEqual(counted(emptied), [0, 0, 0, 1, 0]);
    await engine.post(`/api/etl/runs/${cancelled.run_id}/retry`);
    const last = await engine.toEnd(cancelled.run_id);
    assert.deepEqual(counted(last), [0, 0, 4, 0, 0]);
    assert.match(last.warnings.join(), /4 rows were not updated/);
    assert.deepEqual(await rows(engine, `l_${layout}`), []);
  }
});

Deno.test("what a run executed in any order has compared is compared anew where another deletes before it publishes", async (t) => {
  await using engine = await startEngine(t);
  const versioned = (records: unknown[], params: object = {}) => ({
    ...params,
    source: { type: "inline", name: "test", key: "id", version: "v", records },
  });
  for (const layout of LAYOUTS) {
    for (const way of ["mirror", "feed"]) {
      const to = { layout, table_name: `beside_${way}_${layout}`, min_acceptance_ratio: 0 };
      const columns = layout === "typed"
        ? { columns: { x: "text", op: "text", v: "integer" } }
        : {};
      const first = versioned([{ id: 1, v: 1, x: "a", op: null }, { id: 2, v: 1, x: "a" }], to);
      counted(await engine.runToEnd({ ...first, source: { ...first.source, ...columns } }));
      // a run that has compared, and is about to publish
      const publishes = Promise.withResolvers<void>();
      const goesOn = Promise.withResolvers<void>();
      const workers = beforeTasks(engine.deps.workers, async (kind) => {
        if (kind !== "publish") return;
        publishes.resolve();
        await goesOn.promise;
      });
      const { run_id } = await engine.submit(versioned([
        { id: 1, v: 2, x: "b" },
        { id: 3, v: 2, x: "b" },
        { id: 4, v: 7, x: "b" },
      ], { ...to, run_label: "any order", chunk_size: 2 }));
      const executed = engine.execute(run_id, { workers });
      await publishes.promise;
      // one that was asked for later deletes 1, and 3 before it was there
      const deleting = way === "mirror"
        ? versioned([{ id: 2, v: 1, x: "a" }, { id: 4, v: 1, x: "a" }], {
          ...to,
          write: "mirror",
          max_delete_ratio: 1,
        })
        : versioned([1, 3, 4].map((id) => ({ id, v: 3, op: "D" })), {
          ...to,
          deleted: { field: "op", equals: "D" },
        });
      const [, , , deleted] = counted(await engine.runToEnd(deleting));
      assert.equal(deleted, 1);
      goesOn.resolve();
      assert.equal(await executed, "given back");
      const run = await engine.toEnd(run_id);
      assert.equal(run.attempt, 2);
      // the newer version of 4 counts, whoever was faster
      assert.deepEqual(await rows(engine, to.table_name), ["2:a", "4:b"], `${way} ${layout}`);
      const inserted = way === "feed" ? 1 : 0;
      assert.deepEqual(counted(run), [inserted, 1 - inserted, 2, 0, 0]);
    }
  }
});

Deno.test("a reader beside replace sees the old rows or all of the new ones, and views, grants and foreign keys stay", async (t) => {
  await using engine = await startEngine(t);
  await using reader = await connected(engine, "reader");
  for (const layout of LAYOUTS) {
    const table = `seen_${layout}`;
    const replace = { layout, table_name: table, write: "replace", chunk_size: 50 };
    // even rounds have the first half, odd ones the second, and some rows are in both
    const round = (n: number) => range(n % 2 * 150, n % 2 * 150 + 300, `${n}`);
    counted(await load(engine, round(0), replace));
    const value = layout === "events" ? "payload ->> 'x'" : "x";
    await reader.query(`create view v_${table} as select * from ${table}`);
    await reader.query(`create table refers_${table} (id ${layout === "events" ? "text" : "bigint"}
      references ${table} on delete cascade)`);
    const key = layout === "events" ? "event_id" : "id";
    await reader.query(
      `insert into refers_${table} select ${key} from ${table} where ${key}::int < 200`,
    );
    let going = true;
    const seen = new Map<string, number>();
    const reading = (async () => {
      // bounded by looks, not by time
      for (let look = 0; look < 5_000 && going; look++) {
        const { rows: [found] } = await reader.query(
          `select count(*)::int as n, min(${value}) as low, max(${value}) as high, min(${key}::int) as first, sum(${key}::int)::int as sum
          from v_${table}`,
        );
        const { n, low, high, first, sum } = found;
        const round = Number(low);
        assert.deepEqual([n, high, first, sum], [
          300,
          low,
          round % 2 * 150,
          300 * (round % 2 * 150) + 300 * 299 / 2,
        ]);
        seen.set(low, (seen.get(low) ?? 0) + 1);
      }
    })();
    for (let n = 1; n < 5; n++) counted(await load(engine, round(n), replace));
    going = false;
    await reading;
    assert.ok(seen.size > 1, "it looked at several");
    const { rows: [left] } = await reader.query(`select count(*)::int as n from refers_${table}`);
    assert.equal(left!.n, 50, "what went took along what referred to it, and what stayed did not");
  }
});

Deno.test("a server killed in the middle of a replace leaves the old rows, and another ends the run exactly", async (t) => {
  await using db = await testDatabase(t);
  await using engine = await startEngine(t, { database: db });
  await using blocker = await connect(db.dsn, { applicationName: "blocker" }).then((client) =>
    Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
  );
  for (const [layout, key] of [["events", "event_id = '9'"], ["typed", "id = 9"]]) {
    const table_name = `killed_${layout}`;
    const replace = { layout, table_name, write: "replace", chunk_size: 3 };
    counted(await load(engine, range(0, 10, "a"), replace));
    const old = await rows(engine, table_name);
    await using server = await startServer({ dsn: db.dsn });
    // the last row is changed last, when the others have gone or changed
    await blocker.query(`begin; select from ${table_name} where ${key} for update`);
    const asked = await fetch(`${server.address}/api/etl/run`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        ...replace,
        source: { type: "inline", name: "test", key: "id", records: range(4, 12, "b") },
      }),
    });
    const { run_id } = await asked.json();
    await waitFor(async () => {
      const [row] = await query<{ n: number }>(
        db.dsn,
        `select count(*)::int as n from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and application_name like 'etl-run%'`,
      );
      return row!.n > 0;
    });
    assert.deepEqual(await rows(engine, table_name), old);
    server.kill("SIGKILL");
    await server.ended;
    assert.deepEqual(await rows(engine, table_name), old);
    await engine
      .sql`update etl.runs set seen_at = seen_at - interval '1 minute' where run_id = ${run_id}`;
    await blocker.query("rollback");
    const ended = await engine.toEnd(run_id);
    assert.deepEqual(counted(ended), [2, 6, 0, 4, 0]);
    assert.equal(ended.attempt, 2);
    assert.deepEqual(
      (await rows(engine, table_name)).sort((a, b) => parseInt(a) - parseInt(b)),
      range(4, 12, "b").map(({ id, x }) => `${id}:${x}`),
    );
    const [left] = await engine.sql`
      select count(*)::int as n from pg_class where relname like 'manifest_%' and relnamespace = 'etl'::regnamespace`;
    assert.equal(left!.n, 0);
  }
});

Deno.test("a replace that is cancelled while it publishes changes nothing, and can be asked for again", async (t) => {
  await using engine = await startEngine(t);
  await using blocker = await connected(engine, "blocker");
  const replace = { table_name: "stopped", write: "replace" };
  counted(await load(engine, range(0, 6, "a"), replace));
  const old = await rows(engine, "stopped");
  await blocker.query("begin; select from stopped where event_id = '5' for update");
  const { run_id } = await engine.submit({
    ...replace,
    chunk_size: 3,
    source: { type: "inline", name: "test", key: "id", records: range(3, 9, "b") },
  });
  const ending = engine.toEnd(run_id);
  await waitFor(async () => {
    const [row] = await engine.sql`select count(*)::int as n from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and application_name like 'etl-run%'`;
    return row!.n > 0;
  });
  assert.equal((await engine.post(`/api/etl/runs/${run_id}/cancel`)).status, 202);
  const run = await ending;
  assert.equal(run.state, "cancelled");
  assert.doesNotMatch(String(run.error?.detail), /chunks are in the table/);
  await blocker.query("rollback");
  assert.deepEqual(await rows(engine, "stopped"), old);
  assert.equal((await engine.post(`/api/etl/runs/${run_id}/retry`)).status, 202);
  assert.deepEqual(counted(await engine.toEnd(run_id)), [3, 3, 0, 3, 0]);
});

Deno.test("a feed's deletions delete their keys, and what is older brings no row back, however late it comes", async (t) => {
  await using engine = await startEngine(t, {
    transforms: { as_is: "export function transform(record) { return record; }" },
  });
  for (const layout of LAYOUTS) {
    for (const transform of [null, "as_is"]) {
      const table_name = `d_${layout}_${transform}`;
      const feed = {
        layout,
        table_name,
        transform,
        deleted: { field: "op", equals: "D" },
        // a deletion has no time, and need not
        source: { version: "v", occurred_at: "at", columns: { x: "text", at: "timestamptz" } },
      };
      const at = "2026-01-01T00:00:00Z";
      const row = (id: number, v: number, x = "a") => ({ id, v, x, at, op: "I" });
      const gone = (id: number, v: number) => ({ id, v, op: "D" });
      // where there is no table yet there is nothing to delete, and what is deleted is no new row
      const early = [gone(1, 1), gone(1, 2), gone(1, 3), row(2, 1), row(3, 1), gone(4, 1)];
      const before = await load(engine, early, { ...feed, dry_run: true });
      assert.deepEqual([...counted(before), before.counts.deletions], [2, 0, 0, 0, 0, 2]);
      const first = await load(engine, [row(1, 1), row(2, 1), row(3, 1), row(4, 5)], feed);
      assert.deepEqual(counted(first), [4, 0, 0, 0, 0]);
      // of a row, of an older version than is there, of a key that is not there; within a run the highest wins
      const deletions = [
        gone(1, 2),
        gone(4, 4),
        gone(9, 3),
        row(2, 2),
        gone(2, 3),
        gone(3, 2),
        row(3, 3, "b"),
      ];
      const dry = await load(engine, deletions, { ...feed, dry_run: true });
      assert.deepEqual(counted(dry), [0, 1, 0, 2, 0]);
      const run = await load(engine, deletions, feed);
      assert.deepEqual(counted(run), [0, 1, 0, 2, 0]);
      assert.deepEqual([run.counts.duplicates, run.counts.deletions], [2, 4]);
      assert.deepEqual([run.total_rows, run.expected_rows, run.ratio], [1, 1, 1]);
      assert.deepEqual(await rows(engine, table_name), ["3:b", "4:a"]);
      // the same again finds nothing to do
      assert.deepEqual(counted(await load(engine, deletions, feed)), [0, 0, 1, 0, 0]);
      if (transform === null) {
        assert.deepEqual(await compared(engine, deletions, feed), [1, 1, 0]);
      }
      // older versions come late, with the feed's conf or without
      const { deleted: _, ...plain } = feed;
      for (const conf of [feed, plain]) {
        const late = await load(engine, [row(1, 1), row(2, 2), row(9, 2)], conf);
        assert.deepEqual(counted(late).slice(0, 2), [0, 0], JSON.stringify(late.counts));
        assert.deepEqual(await rows(engine, table_name), ["3:b", "4:a"]);
      }
      assert.deepEqual(counted(await load(engine, [row(1, 3, "c"), row(9, 4, "c")], feed)), [
        2,
        0,
        0,
        0,
        0,
      ]);
      assert.deepEqual(counted(await load(engine, [gone(1, 2)], feed)), [0, 0, 0, 0, 0]);
      assert.deepEqual(await rows(engine, table_name), ["1:c", "3:b", "4:a", "9:c"]);
    }
    // of another source it is none
    if (layout === "typed") continue;
    const others = { table_name: "d_events_null", source: { name: "other", version: "v" } };
    const deletedKey = await load(engine, [{ id: 2, v: 1, x: "o" }], others);
    assert.deepEqual(counted(deletedKey), [1, 0, 0, 0, 0]);
    await load(engine, [{ id: 1, x: "b" }], { table_name: "two" });
    const foreign = await load(engine, [{ id: 1, op: "D" }], {
      table_name: "two",
      deleted: { field: "op", equals: "D" },
      source: { name: "other" },
    });
    assert.equal(foreign.error?.type, "/api/problems/foreign-rows");
  }
  const asked = async (conf: object) => {
    const answer = await engine.post("/api/etl/run", {
      deleted: { field: "op", equals: null },
      source: { type: "inline", key: "id", records: [] },
      ...conf,
    });
    return [answer.status, (await answer.json()).errors?.[0]?.field];
  };
  assert.deepEqual(await asked({ write: "append" }), [422, "deleted"]);
  assert.deepEqual(await asked({ source: { type: "inline", records: [] } }), [422, "source.key"]);
});

Deno.test("deletions without versions go by the order of requests, beside a suite, a mirror, and values of any type", async (t) => {
  await using engine = await startEngine(t);
  await engine.sql`insert into etl.suites (name, suite, row_wise) values ('whole', ${
    JSON.stringify({
      name: "whole",
      expectations: [{
        type: "expect_column_values_to_not_be_null",
        kwargs: { column: "x" },
      }],
    })
  }::text::jsonb, true)`;
  for (const layout of LAYOUTS) {
    for (const [equals, value] of [["1", 1], [true, "true"], [null, null], [1.5, "1.5"]]) {
      const table_name = `o_${layout}_${typeof equals}`;
      const feed = {
        layout,
        table_name,
        deleted: { field: "gone", equals },
        suite: "whole",
        enforce_ge: true,
        source: { columns: { x: "text" } },
      };
      const keep = { gone: "no" };
      await load(engine, [{ id: 1, x: "a", ...keep }, { id: 2, x: "a", ...keep }], feed);
      const run = await load(engine, [{ id: 1, gone: value }, { id: 2, x: "b", ...keep }], feed);
      assert.deepEqual(counted(run), [0, 1, 0, 1, 0], `${equals}`);
      assert.deepEqual(await rows(engine, table_name), ["2:b"]);
      // a later request brings it back
      const back = await load(engine, [{ id: 1, x: "c", ...keep }, { id: 2, x: "b", ...keep }], {
        ...feed,
        write: "mirror",
      });
      assert.deepEqual(counted(back), [1, 0, 1, 0, 0]);
      const both = await load(engine, [{ id: 1, gone: value }], {
        ...feed,
        write: "mirror",
        max_delete_ratio: 0.5,
      });
      assert.deepEqual(counted(both), [0, 0, 0, 2, 0]);
      assert.deepEqual(await rows(engine, table_name), []);
    }
  }
  // what is older than the events that are kept goes with them
  await engine
    .sql`update etl.tombstones set deleted_at = now() - interval '400 days' where event_id = '1' and dataset like '%object'`;
  const [before] = await engine.sql`select count(*)::int as n from etl.tombstones`;
  const asked = await engine.post("/api/etl/maintenance", {});
  assert.equal(asked.status, 202);
  const { runMaintenance } = await import("../../pipeline/maintenance/run.ts");
  const { maintenance_id } = await asked.json();
  await runMaintenance(maintenance_id, {
    sql: engine.deps.sql,
    dsn: engine.db.dsn,
    log: engine.deps.log,
    serverId: "test",
    signal: new AbortController().signal,
  });
  const [after] = await engine.sql`select count(*)::int as n from etl.tombstones`;
  assert.deepEqual([before!.n, after!.n], [8, 6]);
});

Deno.test("a deletion that a foreign key or a trigger refuses is quarantined and the rest is loaded; a mirror or replace fails as a whole", async (t) => {
  await using engine = await startEngine(t);
  for (const layout of LAYOUTS) {
    const table = `f_${layout}`;
    const key = layout === "events" ? "event_id" : "id";
    const conf = {
      layout,
      table_name: table,
      source: { columns: { id: "text", x: "text" } },
    };
    const feed = { ...conf, deleted: { field: "op", equals: "D" }, min_acceptance_ratio: 0 };
    const row = (id: string, x = "a") => ({ id, x, op: "I" });
    const gone = (id: string) => ({ id, op: "D" });
    const names = ["1", "2", "3", "4", "5", "6", "7"];
    await load(engine, names.map((id) => row(id)), feed);
    // the one is checked at once, the other at the commit
    await engine.sql.unsafe(
      `create table ${table}_now (of text constraint ${table}_at_once references ${table} (${key}));
      create table ${table}_end (of text constraint ${table}_late references ${table} (${key}) deferrable initially deferred);
      insert into ${table}_now values ('2'); insert into ${table}_end values ('5')`,
    );
    const changes = [gone("1"), gone("2"), row("3", "b"), gone("4"), gone("5"), gone("9")];
    const run = await load(engine, changes, feed);
    assert.deepEqual(counted(run), [0, 1, 0, 2, 0]);
    assert.deepEqual([
      run.counts.rejected,
      run.total_rows,
      run.expected_rows,
      run.counts.duplicates,
    ], [
      2,
      1,
      3,
      0,
    ]);
    assert.deepEqual(await rows(engine, table), ["2:a", "3:b", "5:a", "6:a", "7:a"]);
    const rejected = await engine.sql`
      select rule, message, raw from etl.quarantine where run_id = ${run.run_id} order by raw`;
    assert.deepEqual(
      rejected.map(({ rule, raw }) => [rule, JSON.parse(raw)]),
      [["table_constraint", gone("2")], ["table_constraint", gone("5")]],
    );
    assert.match(rejected[0]!.message, new RegExp(`${table}_at_once.*23503`));
    assert.match(rejected[1]!.message, new RegExp(`${table}_late.*23503`));
    // it was not deleted, so an older row is no ghost: the same row again is unchanged
    assert.deepEqual(counted(await load(engine, [row("2")], feed)), [0, 0, 1, 0, 0]);

    // all or nothing: the run says who refers to what, and nothing has changed
    for (const write of ["mirror", "replace"]) {
      for (const kept of ["2", "5"]) {
        const left = ["2", "3", "5", "8"].filter((id) => id !== kept).map((id) => row(id, "c"));
        const failed = await load(engine, left, { ...conf, write, max_delete_ratio: 1 });
        assert.equal(failed.error?.type, "/api/problems/deletion-refused", JSON.stringify(failed));
        assert.match(
          String(failed.error!.detail),
          new RegExp(`${kept === "2" ? "_at_once" : "_late"}.*nothing was changed`, "is"),
        );
        assert.deepEqual(await rows(engine, table), ["2:a", "3:b", "5:a", "6:a", "7:a"]);
      }
    }
    // a trigger that refuses a deletion, with a word or without
    await engine.sql.unsafe(
      `create function ${table}_keep() returns trigger language plpgsql as $$ begin
        if old.${key} = '6' then raise 'six stays'; elsif old.${key} = '7' then return null; end if; return old; end $$;
      create trigger keep before delete on ${table} for each row execute function ${table}_keep()`,
    );
    const kept = await load(engine, [gone("6"), gone("7"), gone("3")], feed);
    assert.deepEqual(counted(kept), [0, 0, 0, 1, 0]);
    const told = await engine.sql`
      select message from etl.quarantine where run_id = ${kept.run_id} order by raw`;
    assert.match(told[0]!.message, /six stays/);
    assert.match(told[1]!.message, /trigger .* left/);
    assert.deepEqual(await rows(engine, table), ["2:a", "5:a", "6:a", "7:a"]);
    const silent = await load(engine, ["2", "5", "6"].map((id) => row(id)), {
      ...conf,
      write: "mirror",
      max_delete_ratio: 1,
    });
    assert.equal(silent.error?.type, "/api/problems/deletion-refused", JSON.stringify(silent));
    // replayed when nothing is in the way any more, they delete
    await engine.sql.unsafe(`drop trigger keep on ${table}`);
    const replay = await engine.post(`/api/etl/runs/${kept.run_id}/quarantine/replay`, {});
    const { run_id } = await replay.json();
    assert.deepEqual(counted(await engine.toEnd(run_id)), [0, 0, 0, 2, 0]);
  }
  // rows that refer to each other: whoever goes after the others have moved may go
  await engine
    .sql`create table public.staff (id integer primary key, chief integer references public.staff, op text)`;
  const staff = (records: unknown[], more: object) =>
    load(engine, records, {
      layout: "typed",
      table_name: "staff",
      add_columns: true,
      chunk_size: 100,
      ...more,
    });
  const deleted = { field: "op", equals: "D" };
  const crew = (chief: number) => [{ id: 1, chief: null }, { id: 2, chief }, { id: 3, chief: 2 }];
  await staff([{ id: 1, chief: null }], {});
  await staff(crew(1), { source: { name: "test" } });
  const moved = await staff([{ id: 2, op: "D" }, { id: 3, chief: 1 }], { deleted });
  assert.deepEqual(counted(moved), [0, 1, 0, 1, 0]);
  assert.equal(moved.counts.rejected, 0);
  const mirrored = await staff([{ id: 3, chief: null }], { write: "mirror", max_delete_ratio: 1 });
  assert.deepEqual(counted(mirrored), [0, 1, 0, 1, 0]);
});
