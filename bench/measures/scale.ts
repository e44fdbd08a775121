import type { Measure, Row } from "../bench.ts";
import { watchMemory } from "../process_usage.ts";
import { loadConf, stageSeconds, timedRun } from "../runs.ts";
import { rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const OURS = "bench_scale";

export const scale: Measure = {
  name: "scale",
  about: "memory and rows/s with many more records (3 times; 10 times with --full) against few",
  run: measureScale,
};

interface Size {
  records: number;
  bytes: number;
  rate: number;
  detail: Record<string, unknown>;
}

async function measureScale(world: World): Promise<Row[]> {
  const { records, full } = world.options;
  const few = await load(world, records);
  const many = await load(world, records * (full ? 10 : 3));
  await world.dropTable(OURS);
  const [name, fewName] = [many, few].map((size) => size.records.toLocaleString("en-US"));
  const memory = many.bytes / few.bytes;
  const rate = many.rate / few.rate;
  const detail = { few: few.detail, many: many.detail };
  return [
    {
      measure: `peak memory of the server, ${name} against ${fewName} records`,
      baseline: few.bytes / 1e6,
      ours: many.bytes / 1e6,
      unit: "MB",
      ratio: memory,
      target: "≤ 1.1 × and ≤ 400 MB",
      ok: memory <= 1.1 && many.bytes <= 400e6,
      detail,
    },
    {
      measure: `whole pipeline, ${name} against ${fewName} records`,
      baseline: few.rate,
      ours: many.rate,
      unit: "rows/s",
      ratio: rate,
      target: "≥ 0.8 ×",
      ok: rate >= 0.8,
    },
  ];
}

/** Loads into a fresh table with a server of its own: a process remembers its peak for ever. */
async function load(world: World, records: number): Promise<Size> {
  world.log(`loading ${records.toLocaleString("en-US")} records, watching memory`);
  const conf = loadConf(await world.dataSet("scattered", records), OURS);
  await world.dropTable(OURS);
  await world.settle();
  await using server = await world.server();
  const memory = watchMemory(server.pid);
  const timed = await timedRun(world, server, conf);
  const bytes = await memory.stop();
  return {
    records,
    bytes,
    rate: records / timed.seconds,
    detail: {
      seconds: rounded(timed.seconds),
      server_cpu_seconds: rounded(timed.serverCpuSeconds),
      postgres_cpu_seconds: rounded(timed.postgresCpuSeconds),
      stage_seconds: stageSeconds(timed.run),
    },
  };
}
