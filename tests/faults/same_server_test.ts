import assert from "node:assert/strict";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { Gate } from "../helpers/gate.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

const RECORDS = Array.from({ length: 40 }, (_, i) => ({ id: `k${i}`, n: i }));
const CONF = {
  chunk_size: 10,
  transform: "hold",
  source: { type: "inline", name: "test", key: "id", records: RECORDS },
};

class Held implements AsyncDisposable {
  readonly engine: Engine;
  readonly #gate: Gate;

  private constructor(engine: Engine, gate: Gate) {
    this.engine = engine;
    this.#gate = gate;
  }

  /** An engine with a transform that stops at record 39. */
  static async start(t: { name: string }, workers = 2): Promise<Held> {
    const database = await testDatabase(t);
    const engine = await startEngine(t, { workers, database });
    const { transformsDir } = engine.config;
    const gate = await Gate.make(`${transformsDir}/gate`);
    await Deno.writeTextFile(
      `${transformsDir}/hold.ts`,
      `export function transform(record) {
        if (record.n === 39) Deno.openSync(${
        JSON.stringify(gate.path)
      }).readSync(new Uint8Array(1));
        return record;
      }`,
    );
    return new Held(engine, gate);
  }

  held(): Promise<void> {
    return this.#gate.arrived("hold", 30_000);
  }

  release(): Promise<void> {
    return this.#gate.open();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#gate[Symbol.asyncDispose]();
    await this.engine[Symbol.asyncDispose]();
    await this.engine.db[Symbol.asyncDispose]();
  }
}

Deno.test("an attempt that replaces another one on the same server waits for its end and loads everything once", async (t) => {
  await using world = await Held.start(t);
  const { engine } = world;
  const { run_id: runId } = await engine.submit(CONF);
  const first = engine.execute(runId);
  await world.held();
  // taken for dead, as after an outage of the database; a report in between makes it alive again
  let second = engine.execute(runId);
  assert.equal(await second, "nothing to do", "an attempt that is alive is not replaced");
  await waitFor(async () => {
    await engine
      .sql`update etl.runs set seen_at = now() - interval '1 minute' where run_id = ${runId}`;
    second = engine.execute(runId);
    await Promise.race([second, waitFor(async () => (await engine.run(runId)).attempt === 2)]);
    return (await engine.run(runId)).attempt === 2;
  }, { timeoutMs: 30_000, what: "another attempt" });
  await world.release();
  assert.equal(await first, "replaced");
  assert.equal(await second, "ended");
  const run = await engine.run(runId);
  assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  assert.equal(run.counts.inserted, RECORDS.length);
  assert.equal((await engine.rows()).length, RECORDS.length);
});

Deno.test("a run whose spill files disappear prepares them again", async (t) => {
  await using world = await Held.start(t, 1);
  const { engine } = world;
  const { run_id: runId } = await engine.submit(CONF);
  const ending = engine.execute(runId);
  await world.held();
  for (const { name } of Deno.readDirSync(`${engine.config.spoolDir}/${runId}`)) {
    if (/^[01]\./.test(name)) await Deno.remove(`${engine.config.spoolDir}/${runId}/${name}`);
  }
  await world.release();
  assert.equal(await ending, "given back");
  assert.match(String((await engine.run(runId)).error?.detail), /has disappeared.*ETL_SPOOL_DIR/);
  const run = await engine.toEnd(runId);
  assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  assert.deepEqual([run.attempt, run.counts.inserted], [2, RECORDS.length]);
});
