import { executeValues } from "../baselines/execute_values.ts";
import type { Measure, Row } from "../bench.ts";
import { loadConf, stageSeconds, timedRun } from "../runs.ts";
import { median, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const BASELINE = "bench_values";
const OURS = "bench_loading";
/** execute_values is slow: a part of the rows says as much of its speed. */
const BASELINE_ROWS = 250_000;

export const loadingOnly: Measure = {
  name: "loading",
  about: "the load stage alone (resolve and publish) against psycopg2's execute_values, rows/s",
  run: measureLoading,
};

async function measureLoading(world: World): Promise<Row[]> {
  const { records, full } = world.options;
  const rounds = Math.min(2, world.options.rounds);
  const { rowsPath } = await world.finishedRows("scattered");
  const conf = loadConf(await world.dataSet("scattered"), OURS);
  const rows = full ? records : Math.min(records, BASELINE_ROWS);
  const baseline: number[] = [];
  const ours: number[] = [];
  await using server = await world.server();
  for (let round = 1; round <= rounds; round++) {
    world.log(`loading only, round ${round} of ${rounds}`);
    await world.freshTable(BASELINE);
    await world.dropTable(OURS);
    await world.settle();
    baseline.push(rows / await executeValues(world.dsn, { table: BASELINE, rowsPath, rows }));
    await world.settle();
    const { run } = await timedRun(world, server, conf);
    ours.push(records / stageSeconds(run).load!.clock);
  }
  await world.dropTable(BASELINE);
  await world.dropTable(OURS);
  const ratio = median(ours) / median(baseline);
  return [{
    measure: "loading only, against execute_values",
    baseline: median(baseline),
    ours: median(ours),
    unit: "rows/s",
    ratio,
    target: "≥ 8 ×",
    ok: ratio >= 8,
    detail: {
      baseline_rows: rows,
      ours_rows: records,
      baseline: baseline.map((v) => rounded(v)),
      ours: ours.map((v) => rounded(v)),
    },
  }];
}
