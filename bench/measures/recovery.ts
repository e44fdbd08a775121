import { isOver } from "../../vocabulary/words.ts";
import { waitFor } from "../../tests/helpers/wait_for.ts";
import type { Measure, Row } from "../bench.ts";
import { loadConf, requestRun } from "../runs.ts";
import { median, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const RECORDS = 300_000;
const OURS = "bench_recovery";
const WITHIN_SECONDS = 30;

export const recovery: Measure = {
  name: "recovery",
  about:
    "two servers, the one that executes a run is killed in the middle: until the other takes it up",
  run: measureRecovery,
};

async function measureRecovery(world: World): Promise<Row[]> {
  const rounds = Math.min(3, world.options.rounds);
  const conf = loadConf(await world.dataSet("scattered", RECORDS), OURS);
  const seconds: number[] = [];
  const untilEnd: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    world.log(`recovery, round ${round} of ${rounds}`);
    await world.dropTable(OURS);
    await world.settle();
    const timed = await killAndWait(world, conf);
    seconds.push(timed.takenUp);
    untilEnd.push(timed.ended);
  }
  await world.dropTable(OURS);
  const worst = Math.max(...seconds);
  return [{
    measure: `a run is taken up after SIGKILL of its server, worst of ${rounds}`,
    baseline: null,
    ours: worst,
    unit: "s",
    ratio: null,
    target: `≤ ${WITHIN_SECONDS} s`,
    ok: worst <= WITHIN_SECONDS,
    detail: {
      taken_up_seconds: seconds.map((value) => rounded(value)),
      ended_seconds: untilEnd.map((value) => rounded(value)),
      median: rounded(median(seconds)),
    },
  }];
}

async function killAndWait(
  world: World,
  conf: unknown,
): Promise<{ takenUp: number; ended: number }> {
  await using one = await world.server();
  await using two = await world.server();
  const runId = await requestRun(one, conf);
  const run = async () => {
    const { rows } = await world.db.query<
      { attempt: number; state: string; server_id: string; chunks: number; total_rows: string }
    >(
      `select attempt, state, server_id, total_rows, (select count(*)::integer from etl.chunks as c
        where c.run_id = r.run_id and c.state <> 'planned') as chunks
      from etl.runs as r where run_id = $1`,
      [runId],
    );
    return rows[0]!;
  };
  const look = { timeoutMs: 120_000, intervalMs: 20 };
  const middle = await waitFor(async () => {
    const now = await run();
    return now.chunks >= 1 ? now : null;
  }, { ...look, what: "a prepared chunk" });
  if (middle.state !== "running") throw new Error("The run ended before its server was killed");
  const victim = [one, two].find(({ pid }) => middle.server_id.includes(`-${pid}-`))!;
  victim.kill("SIGKILL");
  const killed = performance.now();
  await waitFor(async () => (await run()).attempt > middle.attempt, {
    ...look,
    what: "another attempt",
  });
  const takenUp = (performance.now() - killed) / 1000;
  const end = await waitFor(async () => {
    const now = await run();
    return isOver(now.state) ? now : null;
  }, { ...look, what: "the end of the run" });
  if (end.state !== "succeeded" || Number(end.total_rows) !== RECORDS) {
    throw new Error(`The run ended as ${end.state} with ${end.total_rows} rows`);
  }
  return { takenUp, ended: (performance.now() - killed) / 1000 };
}
