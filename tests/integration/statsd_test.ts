import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { z } from "zod";
import { defineConsumer } from "../../pipeline/consumers/consumer.ts";
import { MAINTENANCE_TASKS } from "../../store/maintenance.ts";
import type { RunEnd } from "../../store/reactions.ts";
import type { RunRow } from "../../store/runs.ts";
import { StatsdReporter } from "../../telemetry/integrations/statsd.ts";
import { startEngine } from "../helpers/engine.ts";
import { startReacting } from "../helpers/reacting.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** A StatsD server that notes the lines it gets. */
async function statsdServer() {
  const socket = createSocket("udp4");
  const lines: string[] = [];
  socket.on("message", (bytes) => {
    lines.push(...bytes.toString().split("\n").filter((line) => line !== ""));
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return {
    port: socket.address().port,
    lines,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => socket.close(() => resolve())),
  };
}

const post = (address: string, path: string, body: object) =>
  fetch(`${address}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then((response) => response.json());

const STAGES = ["extract", "transform", "chunk", "validate", "ge_validate", "load", "finalize"];

Deno.test("StatsD is told the names that Airflow has for the pipeline and its consumers", async (t) => {
  await using db = await testDatabase(t);
  await using statsd = await statsdServer();
  await using server = await startServer({
    dsn: db.dsn,
    env: { STATSD_HOST: "127.0.0.1", STATSD_PORT: String(statsd.port) },
  });
  await post(server.address, "/api/etl/run?wait=true", { batch_size: 5, sla_seconds: 0.001 });
  const failing = { source: { type: "file", path: "missing.csv", key: "id" } };
  await post(server.address, "/api/etl/run?wait=true", failing);
  await post(server.address, "/api/etl/run?wait=true", { batch_size: 3, dry_run: true });
  // a suite that fails, and a database that refuses once
  await withClient(db.dsn, (client) =>
    client.query(`create sequence public.tries;
      create function public.refuse_once() returns trigger language plpgsql as $$
      begin
        if nextval('public.tries') = 1 then raise exception 'once' using errcode = '40001'; end if;
        return new;
      end $$;
      create trigger refuse_once before insert on public.etl_improved_events for each row execute function public.refuse_once()`));
  await fetch(`${server.address}/api/suites/hundred`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      expectations: [{ type: "expect_table_row_count_to_equal", kwargs: { value: 100 } }],
    }),
  }).then((response) => response.body?.cancel());
  const again = await post(server.address, "/api/etl/run?wait=true", {
    suite: "hundred",
    source: { type: "inline", key: "id", records: [{ id: "a" }] },
  });
  assert.equal(again.state, "succeeded", JSON.stringify(again));
  await post(server.address, "/api/etl/maintenance?wait=true", {});
  const names = () => new Set(statsd.lines.map((line) => line.split(":")[0]));
  const expected = [
    "dagrun.duration.success.etl_improved",
    "dagrun.duration.failed.etl_improved",
    "dagrun.schedule_delay.etl_improved",
    ...STAGES.flatMap((stage) => [
      `ti.start.etl_improved.${stage}`,
      `ti.finish.etl_improved.${stage}.success`,
      `dag.etl_improved.${stage}.duration`,
    ]),
    "ti.finish.etl_improved.extract.failed",
    "ti.finish.etl_improved.load.upstream_failed",
    "ti_successes",
    "ti_failures",
    "dataset.updates",
    "dataset.triggered_dagruns",
    "sla_missed",
    "pool.open_slots.default_pool",
    "ti.finish.etl_consumer.detect.success",
    "ti.finish.etl_consumer.refresh_mvs.success",
    "dagrun.duration.success.etl_consumer",
    "ti.finish.etl_downstream_example.run.success",
    ...["read_latest_metrics", "analyze_events", "generate_report", "cleanup_temp_data"].flatMap((
      task,
    ) => [
      `ti.finish.etl_downstream_example.${task}.success`,
      `dag.etl_downstream_example.${task}.duration`,
    ]),
    "dagrun.duration.success.etl_downstream_example",
    ...MAINTENANCE_TASKS.flatMap((task) => [
      `ti.start.etl_maintenance.${task}`,
      `ti.finish.etl_maintenance.${task}.success`,
      `dag.etl_maintenance.${task}.duration`,
    ]),
    "dagrun.duration.success.etl_maintenance",
    // what the original's own code sends
    ...STAGES.flatMap((stage) =>
      ["start", "success", "ms"].map((what) => `etl_improved.${stage}.${what}`)
    ),
    "etl_improved.load.retry",
    "etl_improved.load.dry_run",
    "etl_improved.ge_validate.fail",
    "etl_improved.ge_validate.skipped",
    "etl_improved.task_failure",
    "etl_consumer.summarize.success",
    "etl_consumer.summarize.duration_ms",
    "etl_consumer.mv_refresh.success",
    ...["metrics", "audit", "alerts", "events"].flatMap((kind) => [
      `etl_maintenance.${kind}_deleted`,
      `etl_maintenance.${kind}_retention_days`,
    ]),
    ...["mvs_refreshed", "vacuum_completed", "vacuum_tables_count", "vacuum_failed_count"]
      .map((name) => `etl_maintenance.${name}`),
  ].map((name) => `airflow.${name}`);
  await waitFor(() => expected.every((name) => names().has(name)))
    .catch((error) => {
      throw new Error(`not told: ${expected.filter((name) => !names().has(name))}`, {
        cause: error,
      });
    });
  const ends = statsd.lines.filter((line) =>
    line.startsWith("airflow.dagrun.duration.success.etl_improved:")
  );
  assert.equal(ends.length, 3, "once for a run");
  assert.match(ends[0]!, /:\d+(\.\d+)?\|ms$/, "a timer in ms, without tags");
  await waitFor(() => statsd.lines.includes("airflow.pool.open_slots.default_pool:4|g"));
  assert.ok(statsd.lines.includes("airflow.ti.finish.etl_improved.load.success:1|c"));
  for (
    const line of [
      "etl_maintenance.events_retention_days:365|g",
      "etl_maintenance.metrics_retention_days:90|g",
      "etl_maintenance.mvs_refreshed:2|g",
      "etl_maintenance.vacuum_completed:1|g",
      "etl_maintenance.vacuum_tables_count:4|g",
      "etl_maintenance.vacuum_failed_count:0|g",
      // the synthetic events of the first run are of a day long ago
      "etl_maintenance.events_deleted:5|c",
      "etl_improved.load.retry:1|c",
    ]
  ) {
    assert.ok(
      statsd.lines.includes(`airflow.${line}`),
      `${line} of ${statsd.lines.filter((each) => each.includes("etl_maintenance.")).join(" ")}`,
    );
  }
});

Deno.test("StatsD gets DogStatsD tags and another prefix when asked, and is not missed when it is gone", async (t) => {
  await using db = await testDatabase(t);
  let port: number;
  {
    await using statsd = await statsdServer();
    port = statsd.port;
    await using server = await startServer({
      dsn: db.dsn,
      env: {
        STATSD_HOST: "127.0.0.1",
        STATSD_PORT: String(port),
        STATSD_PREFIX: "acme.etl",
        STATSD_TAGS: "true",
      },
    });
    await post(server.address, "/api/etl/run?wait=true", { batch_size: 5, run_label: "daily" });
    const line = await waitFor(() =>
      statsd.lines.find((line) => line.startsWith("acme.etl.dag.etl_improved.load.duration:"))
    );
    const tags = line.split("|#")[1]!.split(",").sort();
    assert.deepEqual(tags, ["dag_id:etl_improved", "run_label:daily", "task_id:load"]);
    await post(server.address, "/api/etl/run?wait=true", { batch_size: 6, dry_run: true });
    const dry = await waitFor(() =>
      statsd.lines.find((line) => line.startsWith("acme.etl.etl_improved.load.dry_run:1|c"))
    );
    assert.ok(dry.split("|#")[1]!.split(",").includes("rows:6"), dry);
    const failing = { source: { type: "file", path: "missing.csv", key: "id" } };
    await post(server.address, "/api/etl/run?wait=true", failing);
    const failure = await waitFor(() =>
      statsd.lines.find((line) => line.startsWith("acme.etl.etl_improved.task_failure:1|c"))
    );
    assert.ok(failure.split("|#")[1]!.split(",").includes("task:extract"), failure);
  }
  await using server = await startServer({
    dsn: db.dsn,
    env: { STATSD_HOST: "127.0.0.1", STATSD_PORT: String(port) },
  });
  const run = await post(server.address, "/api/etl/run?wait=true", { batch_size: 5 });
  assert.equal(run.state, "succeeded");
});

Deno.test("StatsD is told of a run's delay once, of retries of the load alone, of dry runs that ended well, and of what no vacuum reached", async () => {
  await using statsd = await statsdServer();
  const settings = { host: "127.0.0.1", port: statsd.port, prefix: "a", tags: false };
  const reporter = new StatsdReporter(settings);
  const at = new Date(0);
  for (const attempt of [1, 2]) {
    reporter.attemptStarted({ attempt, started_at: at, requested_at: at } as RunRow);
  }
  for (const kind of ["prepare", "publish"]) reporter.retried("r", { kind, attempt: 1 });
  for (const state of ["failed", "succeeded"]) {
    const run = { state, dry_run: true, started_at: null, requested_at: "2026-01-01T00:00:00Z" };
    reporter.runEnded({
      run: { ...run, ended_at: run.requested_at },
      stages: [],
      expectations_failed: 0,
      dataset_event: false,
    } as unknown as RunEnd);
  }
  const figures = { deleted: {}, retentionDays: {}, refreshed: 2 };
  reporter.maintained({ ...figures, vacuumed: { tables: 3, failed: 1 } });
  await reporter.close();
  const gauge = "a.etl_maintenance.vacuum_failed_count:1|g";
  await waitFor(() => statsd.lines.includes(gauge), { what: "the last line" });
  const told = (name: string) => statsd.lines.filter((line) => line.startsWith(`a.${name}:`));
  assert.equal(told("dagrun.schedule_delay.etl_improved").length, 1);
  assert.equal(told("etl_improved.load.retry").length, 1);
  assert.equal(told("etl_improved.load.dry_run").length, 1);
  assert.deepEqual(told("etl_maintenance.vacuum_completed"), [
    "a.etl_maintenance.vacuum_completed:0|g",
  ]);
});

Deno.test("StatsD is told of an end of a run that could not be judged, and of a refresh that failed", async (t) => {
  await using engine = await startEngine(t);
  await using statsd = await statsdServer();
  await engine.succeed({ batch_size: 5 });
  const broken = (name: string, answers: string) =>
    withClient(
      engine.db.dsn,
      (client) =>
        client.query(`create or replace function ${name} returns ${answers} language plpgsql as $$
        begin raise exception 'out of luck'; end $$`),
    );
  const env = { STATSD_HOST: "127.0.0.1", STATSD_PORT: String(statsd.port) };
  const told = (name: string) =>
    waitFor(() => statsd.lines.includes(`airflow.${name}:1|c`), { what: name });
  // what setup-db puts right when the server starts is broken after it
  await using _reacting = await startReacting(engine, { env });
  await told("etl_consumer.summarize.success");
  await told("etl_consumer.mv_refresh.success");
  await broken("etl.detect_alerts(run etl.runs)", "void");
  await broken("public.refresh_etl_mvs()", "void");
  await broken("etl.refresh_views_if_asked()", "boolean");
  await engine.succeed({ batch_size: 6 });
  await told("etl_consumer.summarize.failure");
  const [end] = await engine.sql<{ seconds: number }[]>`
    select extract(epoch from next_attempt_at - clock_timestamp())::float8 as seconds from etl.run_ends where consumed_at is null`;
  assert.ok(end!.seconds > 0 && end!.seconds <= 30, "it is judged again after 30 s");
  await engine.sql`select etl.request_view_refresh()`;
  await told("etl_consumer.mv_refresh.failure");
});

Deno.test("a consumer tells StatsD of at most 20 tasks, each with a name of its form and a time that is none below zero", async (t) => {
  await using statsd = await statsdServer();
  await using engine = await startEngine(t);
  const tasks = Object.fromEntries(
    Array.from({ length: 25 }, (_, i) => [`step_${String(i).padStart(2, "0")}`, i]),
  );
  const consumer = defineConsumer({
    name: "steps",
    datasets: ["public.etl_improved_events"],
    params: z.object({}),
    run: ({ events: [event] }) =>
      Promise.resolve({
        tasks: event!.counts.inserted === 1
          ? tasks
          : { "No Name": 1, backwards: -1, text: "5", last: 0 },
      }),
  });
  const env = { STATSD_HOST: "127.0.0.1", STATSD_PORT: String(statsd.port) };
  await using _reacting = await startReacting(engine, { env, consumers: [consumer] });
  for (const inserted of [1, 2]) {
    await engine.sql`insert into etl.dataset_events (dataset, emitted_by, counts)
      values ('public.etl_improved_events', 'test', ${JSON.stringify({ inserted })}::text::jsonb)`;
  }
  const told = () =>
    statsd.lines.flatMap((line) => /^airflow\.dag\.steps\.(.+)\.duration:/.exec(line)?.[1] ?? [])
      .filter((name) => name !== "run");
  // datagrams may overtake each other
  await waitFor(() => told().includes("last") && told().length > 20);
  assert.deepEqual(told().sort(), ["last", ...Object.keys(tasks).slice(0, 20)]);
});
