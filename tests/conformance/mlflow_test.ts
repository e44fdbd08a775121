import { cancelRun, retryRun } from "../../store/runs.ts";
import assert from "node:assert/strict";
import { killTree } from "../../scripts/process_tree.ts";
import { MlflowClient } from "../../telemetry/integrations/mlflow.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { startPeer } from "../helpers/peer.ts";
import { pythonVenv } from "../helpers/python.ts";
import { startReacting } from "../helpers/reacting.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { lacks } from "../helpers/needs.ts";

/** A real `mlflow server` with an empty store. */
async function mlflowServer() {
  const python = await pythonVenv(
    "mlflow",
    new URL("mlflow_requirements.txt", import.meta.url).pathname,
  );
  const dir = await Deno.makeTempDir({ prefix: "etl-mlflow-" });
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const child = new Deno.Command(python, {
    args: [
      "-m",
      "mlflow",
      "server",
      "--host=127.0.0.1",
      `--port=${port}`,
      "--workers=1",
      `--backend-store-uri=sqlite:///${dir}/mlflow.db`,
      `--artifacts-destination=${dir}/artifacts`,
    ],
    cwd: dir,
    stdout: "null",
    stderr: "null",
  }).spawn();
  const address = `http://127.0.0.1:${port}`;
  await waitFor(async () => {
    const response = await fetch(`${address}/health`);
    await response.body?.cancel();
    return response.ok;
  }, { timeoutMs: 300_000, intervalMs: 200, what: "mlflow server to answer" });
  return {
    address,
    async [Symbol.asyncDispose]() {
      await killTree(child.pid);
      await child.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}

interface MlflowRun {
  info: { run_name: string; run_id: string; status: string; start_time: number; end_time: number };
  data: {
    metrics?: { key: string; value: number }[];
    params?: { key: string; value: string }[];
    tags?: { key: string; value: string }[];
  };
}

async function runsOf(address: string, experiment: string): Promise<MlflowRun[]> {
  const id = await new MlflowClient({ url: address, authorization: null }).experiment(experiment);
  const response = await fetch(`${address}/api/2.0/mlflow/runs/search`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ experiment_ids: [id], order_by: ["start_time ASC"] }),
  });
  return (await response.json()).runs ?? [];
}

const map = <T>(items: { key: string; value: T }[] = []) =>
  Object.fromEntries(items.map(({ key, value }) => [key, value]));

const settled = (engine: Engine, count: number) =>
  waitFor(
    async () =>
      (await engine.sql`select from etl.exports where target = 'mlflow' and state <> 'pending'`)
        .length === count,
    { timeoutMs: 60_000, what: `${count} runs told` },
  );

const records = (count: number) => Array.from({ length: count }, (_, id) => ({ id }));

// installs MLflow from PyPI, whose server takes a minute to start
const slow = {
  ignore: lacks(
    Deno.env.get("ETL_TEST_LONG") !== undefined,
    "`deno task test:full` has the long tests",
  ),
};

Deno.test(
  "a real MLflow holds experiment, parameters, metrics, tags and status of each run",
  slow,
  async (t) => {
    await using mlflow = await mlflowServer();
    await using engine = await startEngine(t);
    await using _reacting = await startReacting(engine, {
      env: { MLFLOW_TRACKING_URI: `${mlflow.address}/` },
    });
    const conf = { mlflow_enable: true, mlflow_experiment: "nightly & café", batch_size: 20 };
    const good = await engine.succeed({ ...conf, chunk_size: 5 });
    const low = await engine.runToEnd({
      ...conf,
      batch_size: 4,
      source: { type: "inline", key: "id", records: records(2) },
    });
    await engine.succeed({ batch_size: 5 });
    const waiting = await engine.submit({ ...conf, run_label: "other" });
    await cancelRun(engine.sql, waiting.run_id, "test");
    await settled(engine, 3);
    assert.deepEqual(
      (await engine.sql`select error from etl.exports where error is not null`).length,
      0,
    );

    const runs = await runsOf(mlflow.address, "nightly & café");
    assert.equal(runs.length, 3, "not the run without mlflow_enable");
    const byId = new Map(runs.map((run) => [map(run.data.tags)["etl.run_id"], run]));
    const first = byId.get(good.run_id)!;
    assert.equal(first.info.status, "FINISHED");
    assert.equal(first.info.end_time, Date.parse(good.ended_at!));
    assert.ok(first.info.start_time <= first.info.end_time);
    const metrics = map(first.data.metrics);
    assert.equal(metrics.total_rows, 20);
    assert.equal(metrics.ratio, 1);
    assert.equal(metrics.num_chunks, 4);
    assert.equal(metrics["stage.load.records_out"], 20);
    assert.ok(metrics["stage.load.busy_seconds"]! >= 0);
    const params = map(first.data.params);
    assert.equal(params.batch_size, "20");
    // what the original logs, under its names
    assert.equal(first.info.run_name, "etl_improved");
    const { dag, task, dry_run, num_chunks } = params;
    assert.deepEqual({ dag, task, dry_run, num_chunks }, {
      dag: "etl_improved",
      task: "finalize",
      dry_run: "false",
      num_chunks: "4",
    });
    assert.equal(metrics.expected_rows, 20);
    assert.equal(params["source.type"], "synthetic");
    assert.equal(map(first.data.tags)["etl.dataset"], "public.etl_improved_events");
    assert.equal(byId.get(low.run_id)!.info.status, "FAILED");
    assert.match(map(byId.get(low.run_id)!.data.tags)["etl.error"]!, /expected rows/);
    assert.equal(byId.get(waiting.run_id)!.info.status, "KILLED");

    // a retry updates its run
    await retryRun(engine.sql, low.run_id, "test");
    await engine.toEnd(low.run_id);
    await settled(engine, 4);
    assert.equal((await runsOf(mlflow.address, "nightly & café")).length, 3);

    // somebody died after creating the run and before noting it: it is found again
    await engine
      .sql`update etl.exports set external_id = null, state = 'pending' where run_id = ${good.run_id}`;
    await settled(engine, 4);
    assert.equal((await runsOf(mlflow.address, "nightly & café")).length, 3);

    // an experiment that somebody has deleted is named, not tried for ever
    const client = new MlflowClient({ url: mlflow.address, authorization: null });
    const id = await client.experiment("nightly & café");
    const deleted = await fetch(`${mlflow.address}/api/2.0/mlflow/experiments/delete`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ experiment_id: id }),
    });
    await deleted.body?.cancel();
    const late = await engine.succeed(conf);
    await settled(engine, 5);
    const [row] = await engine
      .sql`select state, error from etl.exports where run_id = ${late.run_id}`;
    assert.equal(row!.state, "failed");
    assert.match(row!.error, /is deleted in MLflow: restore it/);
  },
);

Deno.test("MLflow down, slow or talking rubbish fails no run and is recorded", async (t) => {
  await using engine = await startEngine(t);
  await using peer = startPeer(() => new Response("<html>welcome</html>"));
  await using _reacting = await startReacting(engine, {
    env: { MLFLOW_TRACKING_URI: peer.address },
  });
  const conf = { mlflow_enable: true, batch_size: 5 };
  const error = (runId: string) =>
    waitFor(async () => {
      const [row] = await engine.sql<{ error: string | null }[]>`
        select error from etl.exports where run_id = ${runId}`;
      return row?.error ?? null;
    }, { timeoutMs: 30_000 });
  const rubbish = await engine.succeed(conf);
  assert.match(await error(rubbish.run_id), /not MLflow's/);
  peer.answer = () => new Response("no", { status: 503 });
  const down = await engine.succeed(conf);
  assert.match(await error(down.run_id), /answered 503/);
  peer.answer = () => "hang";
  const slow = await engine.succeed(conf);
  assert.match(await error(slow.run_id), /did not answer in time/);
  const health = await (await engine.request("/api/etl/health")).json();
  assert.match(health.warnings.join("\n"), /3 runs of the last 24 h were not delivered to mlflow/);
});

Deno.test("mlflow_enable without MLFLOW_TRACKING_URI is said with the run", async (t) => {
  await using engine = await startEngine(t);
  await using _reacting = await startReacting(engine);
  const run = await engine.succeed({ mlflow_enable: true, batch_size: 5 });
  await settled(engine, 1);
  const { items } = await (await engine.request(`/api/etl/runs/${run.run_id}/exports`)).json();
  assert.equal(items[0].state, "skipped");
  assert.match(items[0].error, /no MLFLOW_TRACKING_URI/);
});
