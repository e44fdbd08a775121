import assert from "node:assert/strict";
import type { Sql } from "../../store/database.ts";
import { sweepConditions } from "../../store/reactions.ts";
import { cancelRun, retryRun } from "../../store/runs.ts";
import { consumeEnds } from "../helpers/reacting.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";

/** A conf whose run fails in extract. */
const FAILING = { source: { type: "file", path: "missing.csv", key: "id" } };

const records = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => ({ id: from + i }));

async function endAndConsume(engine: Engine, conf: object): Promise<string> {
  const run = await engine.runToEnd(conf);
  await consumeEnds(engine.sql);
  return run.run_id;
}

interface AlertRow {
  kind: string;
  suppressed: boolean;
  resolved: boolean;
  run_id: string;
  message: string;
}

const alertsOf = (sql: Sql) =>
  sql<AlertRow[]>`
    select kind, suppressed, resolved_at is not null as resolved, run_id, message
    from public.etl_improved_alerts order by alert_id`;

const kindsOf = async (sql: Sql) => (await alertsOf(sql)).map((alert) => alert.kind);

const notificationsOf = async (sql: Sql) =>
  (await sql<{ text: string }[]>`
    select channel || ' ' || type || ' ' || (payload ->> 'kind') as text
    from etl.notifications order by notification_id`).map((row) => row.text);

Deno.test("consume_run() judges each end of a run once, however often it is asked", async (t) => {
  await using engine = await startEngine(t);
  const run = await engine.runToEnd(FAILING);
  const answers = await Promise.all(
    Array.from({ length: 4 }, () => consumeEnds(engine.sql)),
  );
  assert.equal(answers.flat().length, 1);
  assert.deepEqual(await kindsOf(engine.sql), ["run_failed"]);
  const [alert] = await alertsOf(engine.sql);
  assert.equal(alert!.run_id, run.run_id);
  assert.equal(alert!.message, (run.error as { detail: string }).detail);
  const told = await engine.sql`select severity from public.etl_improved_alerts`;
  assert.deepEqual([...told], [{ severity: "error" }]);
  assert.deepEqual(
    [...await engine.sql`select target from etl.exports`],
    [],
    "nobody asked for it",
  );
});

Deno.test("a retry that fails again is another end, one that succeeds is the recovery", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const id = await endAndConsume(engine, FAILING);
  const again = async () => {
    await retryRun(sql, id, "test");
    await engine.toEnd(id);
    await consumeEnds(sql);
  };
  await again();
  assert.deepEqual(
    (await alertsOf(sql)).map(({ kind, suppressed }) => [kind, suppressed]),
    [["run_failed", false], ["run_failed", true]],
  );
  await Deno.writeTextFile(`${engine.dataDir}/missing.csv`, "id\n1\n");
  await again();
  assert.equal((await engine.run(id)).state, "succeeded");
  assert.ok((await alertsOf(sql)).every((alert) => alert.resolved));
  const ends = await sql`select end_no, snapshot ->> 'state' as state from etl.run_ends
    where run_id = ${id} and consumed_at is not null order by end_no`;
  assert.deepEqual(ends.map((end) => [end.end_no, end.state]), [
    [1, "failed"],
    [2, "failed"],
    [3, "succeeded"],
  ]);
});

Deno.test("a ratio failure is low_ratio and nothing else", async (t) => {
  await using engine = await startEngine(t);
  await endAndConsume(engine, {
    batch_size: 4,
    source: { type: "inline", key: "id", records: records(2) },
  });
  assert.deepEqual(await kindsOf(engine.sql), ["low_ratio"]);
});

Deno.test("a ratio below 1 is low_ratio whether or not the run fails, and the alert says which", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const load = (batch: number, ids: unknown[], more: object = {}) =>
    endAndConsume(engine, {
      batch_size: batch,
      min_acceptance_ratio: 0.5,
      source: { type: "inline", key: "id", records: ids.map((id) => ({ id })) },
      ...more,
    });
  await load(4, [1, 2, 3]);
  await load(4, [1]);
  const [accepted, refused] = await sql<
    { kind: string; severity: string; message: string; accepted: boolean }[]
  >`select kind, severity, message, (details ->> 'accepted')::boolean as accepted
    from public.etl_improved_alerts order by alert_id`;
  assert.deepEqual([accepted!.kind, accepted!.severity, accepted!.accepted], [
    "low_ratio",
    "warning",
    true,
  ]);
  assert.match(accepted!.message, /3 of 4 expected .* accepted by min_acceptance_ratio 0\.5/);
  assert.deepEqual([refused!.kind, refused!.severity, refused!.accepted], [
    "low_ratio",
    "error",
    false,
  ]);
  const { data } = await (await engine.request("/api/alerts/recent")).json();
  assert.deepEqual(Object.keys(data[1]).slice(0, 5), [
    "kind",
    "message",
    "run_label",
    "ratio",
    "at",
  ]);
  assert.deepEqual([data[1].kind, data[1].ratio], ["low_ratio", 0.75]);
  await load(4, [1, 2, 3]);
  const open = () =>
    sql`select from etl.alert_states where kind = 'low_ratio' and resolved_at is null`;
  assert.equal((await open()).length, 1, "an accepted one is no recovery");
  await load(3, [1, 2, 2]);
  assert.equal((await open()).length, 0, "duplicates lower no ratio");
  await sql`select public.refresh_etl_mvs()`;
  const [daily] = await sql`select low_ratio_count::int as low from public.mv_etl_metrics_daily`;
  assert.equal(daily!.low, 3);
  const [all] = await sql`select sum(low_ratio_runs)::int as low from etl.metrics_totals`;
  assert.equal(all!.low, 3);
});

Deno.test("dry runs, replays and cancelled runs raise nothing", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await endAndConsume(engine, { ...FAILING, dry_run: true });
  await engine.runToEnd(FAILING, { replay_of: crypto.randomUUID() });
  await consumeEnds(sql);
  const waiting = await engine.submit(FAILING);
  await cancelRun(sql, waiting.run_id, "test");
  assert.equal((await consumeEnds(sql)).length, 1);
  assert.deepEqual(await kindsOf(sql), []);
});

Deno.test("failed expectations are ge_failed; with enforce_ge not run_failed as well", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const suite = {
    name: "strict",
    expectations: [{
      type: "expect_column_values_to_be_between",
      kwargs: { column: "n", max_value: 5 },
    }],
  };
  await sql`insert into etl.suites (name, suite, row_wise) values ('strict', ${
    JSON.stringify(suite)
  }::text::jsonb, true)`;
  const conf = (n: number, more: object = {}) => ({
    suite: "strict",
    source: { type: "inline", key: "id", records: [{ id: 1, n }] },
    ...more,
  });
  const loaded = await endAndConsume(engine, conf(9));
  assert.equal((await engine.run(loaded)).state, "succeeded");
  assert.deepEqual(await kindsOf(sql), ["ge_failed"]);
  const refused = await endAndConsume(engine, conf(10, { enforce_ge: true }));
  assert.equal((await engine.run(refused)).state, "failed");
  assert.deepEqual(await kindsOf(sql), ["ge_failed", "ge_failed"]);
  const [first, second] = await alertsOf(sql);
  assert.match(first!.message, /1 of 1 expectations failed: expect_column_values_to_be_between/);
  assert.match(first!.message, /loaded nevertheless/);
  assert.match(second!.message, /Nothing was loaded/);
  const told = await sql`select severity from public.etl_improved_alerts order by alert_id`;
  assert.deepEqual(told.map(({ severity }) => severity), ["warning", "error"]);
  await endAndConsume(engine, conf(1));
  assert.ok((await alertsOf(sql)).every((alert) => alert.resolved));
});

/** Earlier runs of a label, without executing them. */
async function pastRuns(sql: Sql, label: string, runs: { rows: number; ratio: number }[]) {
  for (const [i, { rows, ratio }] of runs.entries()) {
    await sql`insert into public.etl_improved_metrics (run_id, run_label, total_rows, expected_rows, ratio, created_at)
      values (${crypto.randomUUID()}, ${label}, ${rows}, ${rows}, ${ratio}, now() - ${
      runs.length - i
    } * interval '1 hour')`;
  }
}

const steady = (rows: number, ratio = 1) => Array.from({ length: 5 }, () => ({ rows, ratio }));

Deno.test("volume_drop compares with the runs of the label, trend_drop too; recovery ends both", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`update etl.reaction_settings set trend_window = 20`;
  await pastRuns(sql, "daily", steady(100));
  // dry runs, replays and runs that failed before they had a ratio are no part of the mean
  await sql`insert into public.etl_improved_metrics (run_id, run_label, ratio, total_rows, dry_run, replay_of)
    select gen_random_uuid(), 'daily', ratio, 0, dry, replay from (values (0, true, null), (0, false, gen_random_uuid()),
      (null, false, null)) as of (ratio, dry, replay)`;
  const conf = (count: number) => ({
    run_label: "daily",
    min_acceptance_ratio: 0,
    source: { type: "inline", name: "daily", key: "id", records: records(count) },
  });
  await endAndConsume(engine, conf(60));
  assert.deepEqual(await kindsOf(sql), [], "40 % less is within the tolerance");
  await endAndConsume(engine, conf(20));
  assert.deepEqual(await kindsOf(sql), ["volume_drop"]);
  await endAndConsume(engine, { ...conf(70), batch_size: 100 });
  assert.deepEqual(await kindsOf(sql), ["volume_drop", "low_ratio", "trend_drop"]);
  const [drop] =
    await sql`select ratio, avg_ratio, threshold_pct, details ->> 'runs' as runs from public.etl_improved_alerts where kind = 'trend_drop'`;
  assert.deepEqual(
    { ...drop },
    { ratio: 0.7, avg_ratio: 1, threshold_pct: 20, runs: "7" },
    "as the original stores it",
  );
  await endAndConsume(engine, conf(90));
  assert.deepEqual((await alertsOf(sql)).map(({ kind, resolved }) => [kind, resolved]), [
    ["volume_drop", true],
    ["low_ratio", true],
    ["trend_drop", true],
  ]);
});

Deno.test("volume_drop leaves incremental sources alone, and labels with fewer than three runs", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await pastRuns(sql, "new", steady(100).slice(0, 2));
  await pastRuns(sql, "changes", steady(100));
  const few = { type: "inline", key: "id", records: records(1) };
  await endAndConsume(engine, { run_label: "new", source: few });
  const run = await engine.runToEnd({
    run_label: "changes",
    source: { ...few, records: records(1, 100) },
  });
  // as if the records had come from a table by its cursor
  await sql`update etl.runs set params = jsonb_set(params, '{source,cursor}', '"updated_at"') where run_id = ${run.run_id}`;
  // of the time before the source was incremental
  await sql`select etl.raise_alert('volume_drop', 'changes', 'Only 1 row arrived.')`;
  await consumeEnds(sql);
  assert.deepEqual((await alertsOf(sql)).map(({ kind, resolved }) => [kind, resolved]), [[
    "volume_drop",
    true,
  ]]);
});

Deno.test("the alert of a suite with on_failure=quarantine says what became of the rows", async (t) => {
  await using engine = await startEngine(t);
  await engine.request("/api/suites/small", {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      expectations: [{
        type: "expect_column_values_to_be_between",
        kwargs: { column: "n", max_value: 5 },
      }],
    }),
  });
  await endAndConsume(engine, {
    suite: "small",
    on_failure: "quarantine",
    min_acceptance_ratio: 0,
    source: {
      type: "inline",
      key: "id",
      records: [{ id: 1, n: 1 }, { id: 2, n: 9 }, { id: 3, n: 2 }],
    },
  });
  const alert = (await alertsOf(engine.sql)).find(({ kind }) => kind === "ge_failed");
  assert.match(alert!.message, /Records in the quarantine: 1; rows in the table: 2\./);
});

Deno.test("trend_window and drop_threshold_pct are variables of etl_consumer, shown by the API", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const shown = async () => await (await engine.request("/api/etl/consumer")).json();
  assert.deepEqual(await shown(), {
    params: { trend_window: 7, drop_threshold_pct: 20 },
    origins: { trend_window: "environment", drop_threshold_pct: "environment" },
  });
  // SQL can store what the API refuses; it counts as none
  await sql`insert into etl.variables (name, value) values ('etl_consumer__trend_window', '2'),
    ('etl_consumer__drop_threshold_pct', '101')`;
  assert.deepEqual((await shown()).params, { trend_window: 7, drop_threshold_pct: 20 });
  await sql`delete from etl.variables`;
  const put = async (name: string, value: unknown) =>
    await engine.request(`/api/variables/etl_consumer__${name}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ value }),
    });
  for (
    const [name, value] of [["trend_window", 2], ["trend_windw", 9], [
      "drop_threshold_pct",
      101,
    ]] as const
  ) {
    assert.equal((await put(name, value)).status, 422, name);
  }
  assert.equal((await put("trend_window", 3)).status, 201);
  assert.equal((await put("drop_threshold_pct", 5)).status, 201);
  assert.deepEqual(await shown(), {
    params: { trend_window: 3, drop_threshold_pct: 5 },
    origins: { trend_window: "variable", drop_threshold_pct: "variable" },
  });
  // of the last three runs the mean is 0.5
  await pastRuns(sql, "daily", [...steady(100), ...steady(50, 0.5)]);
  const conf = (count: number) => ({
    run_label: "daily",
    min_acceptance_ratio: 0,
    batch_size: 100,
    source: { type: "inline", name: "daily", key: "id", records: records(count) },
  });
  // 5 % below it and no more
  await endAndConsume(engine, { ...conf(475), batch_size: 1000 });
  assert.deepEqual(await kindsOf(sql), ["low_ratio"]);
  await endAndConsume(engine, conf(46));
  assert.ok((await kindsOf(sql)).includes("trend_drop"));
  const [drop] =
    await sql`select threshold_pct, details ->> 'runs' as runs from public.etl_improved_alerts where kind = 'trend_drop'`;
  assert.deepEqual({ ...drop }, { threshold_pct: 5, runs: "3" });
});

Deno.test("trend thresholds and window are settings", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`update etl.reaction_settings set volume_drop = 0.05, trend_window = 3`;
  await pastRuns(sql, "daily", [...steady(1000), ...steady(10)]);
  await endAndConsume(engine, {
    run_label: "daily",
    source: { type: "inline", key: "id", records: records(9) },
  });
  const [alert] = await alertsOf(sql);
  assert.equal(alert?.kind, "volume_drop");
  assert.match(alert!.message, /Only 9 rows arrived; the mean of the last 3 runs .* is 10/);
});

Deno.test("an alert is told once in the suppression window, then with how often it came", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`update etl.reaction_settings set channels = '{slack}'`;
  for (let i = 0; i < 3; i++) await endAndConsume(engine, FAILING);
  await endAndConsume(engine, { ...FAILING, run_label: "other" });
  assert.deepEqual(
    (await alertsOf(sql)).map((alert) => alert.suppressed),
    [false, true, true, false],
  );
  assert.equal((await notificationsOf(sql)).length, 2, "one a label");
  await sql`update etl.alert_states set notified_at = notified_at - interval '2 hours'`;
  await endAndConsume(engine, FAILING);
  const [last] =
    await sql`select payload from etl.notifications order by notification_id desc limit 1`;
  assert.equal(last!.payload.suppressed_before, 2);
  assert.equal(last!.payload.occurrences, 4);
});

Deno.test("a recovery is told to whoever was told; what comes back then is told at once", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`update etl.reaction_settings set channels = '{slack,webhook}'`;
  const good = { batch_size: 5 };
  await endAndConsume(engine, good);
  await endAndConsume(engine, FAILING);
  await endAndConsume(engine, good);
  await endAndConsume(engine, good);
  await endAndConsume(engine, FAILING);
  assert.deepEqual((await notificationsOf(sql)).filter((text) => text.startsWith("slack")), [
    "slack raised run_failed",
    "slack recovered run_failed",
    "slack raised run_failed",
  ]);
  assert.equal((await notificationsOf(sql)).length, 6);
  await endAndConsume(engine, good);
  const ends = await sql`select resolved_at from public.etl_improved_alerts order by alert_id`;
  assert.ok(ends[0]!.resolved_at < ends[1]!.resolved_at, "each alert keeps its own end");
});

Deno.test("a dataset that is not loaded any more is stale, once, until it is loaded again", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`update etl.reaction_settings set stale_after_seconds = 3600, channels = '{slack}'`;
  await engine.succeed({ batch_size: 5 });
  await sweepConditions(sql);
  assert.deepEqual(await kindsOf(sql), []);
  await sql`update etl.dataset_events set created_at = now() - interval '2 hours'`;
  await Promise.all([sweepConditions(sql), sweepConditions(sql)]);
  await sweepConditions(sql);
  assert.deepEqual(await kindsOf(sql), ["stale"]);
  await engine.succeed({ batch_size: 5 });
  assert.ok((await alertsOf(sql)).every((alert) => alert.resolved));
  assert.deepEqual(await notificationsOf(sql), ["slack raised stale", "slack recovered stale"]);
});

Deno.test("an overdue schedule is an alert until it is on time again", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`create table public.overdue (schedule text, due_at timestamptz)`;
  await sql.unsafe(`drop function if exists etl.overdue_schedules() cascade;
    create function etl.overdue_schedules() returns setof public.overdue language sql as 'select * from public.overdue'`);
  await sql`insert into public.overdue values ('nightly', now() - interval '10 minutes')`;
  await sweepConditions(sql);
  await sweepConditions(sql);
  assert.deepEqual(await kindsOf(sql), ["schedule_overdue"]);
  await sql`delete from public.overdue`;
  await sweepConditions(sql);
  assert.ok((await alertsOf(sql)).every((alert) => alert.resolved));
});
