import { seedManyRuns } from "../../tests/helpers/many_runs.ts";
import type { Measure, Row } from "../bench.ts";
import { completeRun, loadConf } from "../runs.ts";
import { median, quantile, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const RUNS = 50_000;
const OURS = "bench_dashboard";
const MAX_P99_MS = 60;
const PATHS = ["/etl", "/api/etl/health"];

/** What a person waits for who looks while a large run goes on. */
export const dashboard: Measure = {
  name: "dashboard",
  about: `${PATHS.join(" and ")} with ${
    RUNS.toLocaleString("en-US")
  } runs, one connection, while --records are loaded`,
  run: measureDashboard,
};

async function measureDashboard(world: World): Promise<Row[]> {
  const conf = loadConf(await world.dataSet("scattered", world.options.records), OURS);
  await using server = await world.server();
  await seedManyRuns(world.db, RUNS);
  const took: Record<string, { idle: number[]; busy: number[] }> = {};
  for (const path of PATHS) took[path] = { idle: [], busy: [] };
  const look = async (state: "idle" | "busy") => {
    for (const path of PATHS) {
      const started = performance.now();
      const response = await fetch(server.address + path);
      await response.arrayBuffer();
      if (!response.ok) throw new Error(`${path} answered ${response.status}`);
      took[path]![state].push(performance.now() - started);
    }
  };
  for (let i = 0; i < 50; i++) await look("idle");
  for (const path of PATHS) took[path]!.idle.splice(0, 10); // the first ones compile
  for (let round = 0; round < world.options.rounds; round++) {
    await world.dropTable(OURS);
    let loading = true;
    const run = completeRun(server, conf).finally(() => loading = false);
    while (loading) await look("busy");
    await run;
  }
  await world.dropTable(OURS);
  return PATHS.map((path): Row => {
    const { idle, busy } = took[path]!;
    const p99 = quantile(busy, 0.99);
    return {
      measure: `${path} beside a load, p99 of ${busy.length}; baseline: nothing else going on`,
      baseline: rounded(quantile(idle, 0.99)),
      ours: rounded(p99),
      unit: "ms",
      ratio: null,
      target: `≤ ${MAX_P99_MS} ms`,
      ok: p99 <= MAX_P99_MS,
      detail: { median: rounded(median(busy)), p95: rounded(quantile(busy, 0.95)) },
    };
  });
}
