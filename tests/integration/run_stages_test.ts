import assert from "node:assert/strict";
import { retryRun } from "../../store/runs.ts";
import { appendLogs } from "../../store/run_views.ts";
import { type HeldTimers, heldTimers, wrongClock } from "../helpers/clock.ts";
import { startEngine } from "../helpers/engine.ts";
import { waitFor } from "../helpers/wait_for.ts";

const states = (run: { stages: { stage: string; state: string }[] }) =>
  Object.fromEntries(run.stages.map(({ stage, state }) => [stage, state]));

Deno.test("stages: a suite that fails fails ge_validate alone; what was done before it has succeeded", async (t) => {
  await using engine = await startEngine(t);
  const suite = {
    expectations: [{
      type: "expect_column_values_to_not_be_null",
      kwargs: { column: "n" },
    }],
  };
  const put = await engine.request("/api/suites/strict", {
    method: "PUT",
    body: JSON.stringify(suite),
    headers: { "content-type": "application/json" },
  });
  assert.ok(put.ok, await put.text());
  const run = await engine.load([{ id: 1 }], { suite: "strict", enforce_ge: true });
  assert.deepEqual(states(run), {
    extract: "succeeded",
    transform: "succeeded",
    chunk: "succeeded",
    validate: "succeeded",
    ge_validate: "failed",
    load: "skipped",
    finalize: "skipped",
  });
});

Deno.test("stages: what fails in the middle of a chunk is told of the stage in which it happened", async (t) => {
  await using engine = await startEngine(t, {
    transforms: { endless: "export function transform() { for (;;); }" },
  });
  const run = await engine.load([{ id: 1 }], { transform: "endless", transform_timeout_ms: 1000 });
  const { transform, ...others } = states(run);
  assert.equal(transform, "failed", JSON.stringify(run.error));
  assert.ok(!Object.values(others).includes("failed"), JSON.stringify(others));
  assert.equal(run.stages.find(({ error }) => error !== null)?.stage, "transform");
});

Deno.test("stages: a run, or a stage, that takes longer than timeout_seconds fails and says so; a retry has its time anew", async (t) => {
  await using engine = await startEngine(t, {
    transforms: { slow: "export function transform() { for (;;); }" },
  });
  using ofRun = heldTimers(3_600_000);
  using ofStage = heldTimers(1_800_000);
  /** Loads, and lets the time of a limit be over as soon as it has begun. */
  const load = async (timer: HeldTimers, timeout_seconds: number | object) => {
    const { started } = timer;
    const loaded = engine.load([{ id: 1 }], { transform: "slow", timeout_seconds });
    await waitFor(() => timer.started > started, { what: "the limit to begin" });
    timer.end();
    return await loaded;
  };
  const late = await load(ofRun, 3_600);
  assert.equal(late.state, "failed");
  assert.equal(late.error?.type, "/api/problems/timed-out");
  assert.match(late.error!.detail, /^The run took longer than 3,600 s \(timeout_seconds\)/);

  const limits = { run: 3_600, stages: { transform: 1_800, load: 900 } };
  const stage = await load(ofStage, limits);
  assert.match(stage.error!.detail, /^Stage transform took longer than 1,800 s/);
  assert.equal(states(stage).transform, "failed");
  assert.equal(states(stage).load, "skipped");

  await Deno.writeTextFile(
    `${engine.config.transformsDir}/slow.ts`,
    "export const transform = (record) => record;",
  );
  await retryRun(engine.sql, stage.run_id, "test");
  const retried = await engine.toEnd(stage.run_id);
  assert.equal(retried.state, "succeeded", JSON.stringify(retried.error));
  assert.deepEqual(retried.params.timeout_seconds?.value, limits);
  assert.deepEqual([ofRun.started, ofStage.started], [3, 2], "all of the limit, for each attempt");
});

Deno.test("stages: the time limit of a stage ends with the stage", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  using limit = heldTimers(600_000);
  const { run_id } = await engine.submit({
    batch_size: 1,
    timeout_seconds: { stages: { transform: 600 } },
  });
  await engine.execute(run_id, {
    observer: { taskDone: (_run, { kind }) => void (kind === "publish" && limit.end()) },
  });
  const { state, error } = await engine.run(run_id);
  assert.deepEqual([state, error, limit.started], ["succeeded", null, 1]);
});

Deno.test("stages: what a dry run would write is what its stage load says, whatever the way to write", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  await engine.load([{ id: 1 }, { id: 2 }, { id: 3 }]);
  const changed = [{ id: 1 }, { id: 2, x: 1 }, { id: 3 }, { id: 4 }, { id: 5 }];
  for (const write of ["upsert", "replace"]) {
    const run = await engine.load(changed, { write, dry_run: true });
    const { records_in, records_out } = run.stages.find(({ stage }) => stage === "load")!;
    assert.deepEqual([run.state, records_in, records_out], ["succeeded", 5, 3], write);
  }
});

Deno.test("stages: a chunk that needs more memory than a worker may hold fails its run, and the server goes on", async (t) => {
  await using engine = await startEngine(t, { env: { ETL_WORKER_MEMORY_MB: "1" } });
  const run = await engine.runToEnd({ batch_size: 5_000, chunk_size: 5_000 });
  assert.equal(run.state, "failed");
  assert.equal(run.error?.type, "/api/problems/out-of-memory");
  assert.match(run.error!.detail, /^Chunk 0: its worker holds \d+ MB/);
  const small = await engine.runToEnd({ batch_size: 10 });
  assert.equal(small.state, "succeeded", "one batch is looked at once");
});

Deno.test("stages and log lines of a server whose clock is wrong have the times of the database's", async (t) => {
  await using engine = await startEngine(t);
  for (const days of [1, -1]) {
    using _ = wrongClock(days);
    const { run_id } = await engine.load([{ id: 1 }]);
    const line = { run_id, logged_at: new Date(), level: "info", message: "now", fields: {} };
    await appendLogs(engine.sql, [line]);
    const [row] = await engine.sql`
      select count(*) filter (where s.started_at >= r.started_at and s.ended_at <= clock_timestamp())::int as stages,
        (select abs(extract(epoch from clock_timestamp() - l.logged_at))::float from etl.run_logs as l
          where l.run_id = r.run_id and l.message = 'now') as age
      from etl.runs as r join etl.stages as s using (run_id) where r.run_id = ${run_id}
      group by r.run_id`;
    assert.equal(row!.stages, 7);
    assert.ok(row!.age < 60, row!.age);
  }
});
