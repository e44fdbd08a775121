import type { Measure, Row } from "../bench.ts";
import { loadConf, stageSeconds, type TimedRun, timedRun } from "../runs.ts";
import { median, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const TABLES = { events: "bench_events", typed: "bench_typed" };

/** The same file into a typed table, whose columns nobody declares, and into a table of events. */
export const typed: Measure = {
  name: "typed",
  about:
    "a fifth of --records into a typed table against a table of events, CPU of server and PostgreSQL",
  run: measure,
};

async function measure(world: World): Promise<Row[]> {
  const { rounds } = world.options;
  const records = Math.round(world.options.records / 5);
  const file = await world.dataSet("scattered", records);
  const sides = { events: [] as TimedRun[], typed: [] as TimedRun[] };
  {
    await using server = await world.server();
    for (let round = 1; round <= rounds; round++) {
      world.log(`typed, round ${round} of ${rounds}`);
      for (const side of ["events", "typed"] as const) {
        await world.dropTable(TABLES[side]);
        await world.db.query("delete from etl.datasets where table_name = $1", [TABLES[side]]);
        await world.settle();
        const conf = { ...loadConf(file, TABLES[side]), layout: side };
        sides[side].push(await timedRun(world, server, conf));
      }
    }
  }
  for (const table of Object.values(TABLES)) await world.dropTable(table);
  const cpu = (t: TimedRun) => t.serverCpuSeconds + t.postgresCpuSeconds;
  const [events, ours] = [median(sides.events.map(cpu)), median(sides.typed.map(cpu))];
  return [{
    measure: `${records.toLocaleString("en-US")} records into a typed table, against events: CPU`,
    baseline: rounded(events),
    ours: rounded(ours),
    unit: "s",
    ratio: rounded(ours / events),
    target: "≤ 1.0 ×",
    ok: ours / events <= 1,
    detail: Object.fromEntries(
      Object.entries(sides).map(([side, runs]) => [side, {
        seconds: runs.map((t) => rounded(t.seconds)),
        server_cpu: runs.map((t) => rounded(t.serverCpuSeconds)),
        postgres_cpu: runs.map((t) => rounded(t.postgresCpuSeconds)),
        wal_bytes: runs.map((t) => t.walBytes),
        stage_seconds: runs.map((t) => stageSeconds(t.run)),
      }]),
    ),
  }];
}
