import { join } from "node:path";
import type { Measure, Row } from "../bench.ts";
import { loadConf, timedRun, timedUpload } from "../runs.ts";
import { median, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const TABLES = { baseline: "bench_upload_file", ours: "bench_upload_body" };
const MAX_RATIO = 1.2;

/** A file sent as the body of the request, against the same file as a source. */
export const upload: Measure = {
  name: "upload",
  about: "a file as the body of the request, against the same file as a source",
  run: measure,
};

async function measure(world: World): Promise<Row[]> {
  const { records, rounds } = world.options;
  const file = await world.dataSet("scattered");
  const sides = { baseline: [] as number[], ours: [] as number[] };
  const runs = { baseline: [] as number[], ours: [] as number[] };
  const cpu = { baseline: [] as number[], ours: [] as number[] };
  {
    // the file is larger than what a server takes by default
    await using server = await world.server({ env: { ETL_MAX_BODY_BYTES: "1073741824" } });
    for (let round = 1; round <= rounds; round++) {
      world.log(`upload, round ${round} of ${rounds}`);
      // a body that is known is not stored again
      await world.db.query("truncate etl.uploads");
      for (const side of ["baseline", "ours"] as const) {
        await world.dropTable(TABLES[side]);
        await world.settle();
        const timed = side === "baseline"
          ? await timedRun(world, server, loadConf(file, TABLES.baseline))
          : await timedUpload(world, server, { file: join(world.dir, file), table: TABLES.ours });
        if (timed.run.counts?.inserted !== records) throw new Error(`${side}: not all was loaded`);
        sides[side].push(timed.seconds);
        runs[side].push((timed.run.duration_ms ?? 0) / 1000);
        cpu[side].push(timed.serverCpuSeconds + timed.postgresCpuSeconds);
      }
    }
  }
  for (const table of Object.values(TABLES)) await world.dropTable(table);
  const [baseline, ours] = [median(sides.baseline), median(sides.ours)];
  return [{
    measure: `${records.toLocaleString("en-US")} records as a body, against the file as a source`,
    baseline: rounded(baseline),
    ours: rounded(ours),
    unit: "s",
    ratio: rounded(ours / baseline),
    target: `at most ${MAX_RATIO} times`,
    ok: ours / baseline <= MAX_RATIO,
    detail: { seconds: sides, runSeconds: runs, cpuSeconds: cpu },
  }];
}
