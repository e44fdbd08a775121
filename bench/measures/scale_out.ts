import type { TestServer } from "../../tests/helpers/server.ts";
import { waitFor } from "../../tests/helpers/wait_for.ts";
import type { Measure, Row } from "../bench.ts";
import { CpuShare } from "../cpu_share.ts";
import { cpuSecondsOf } from "../process_usage.ts";
import { completeRun, loadConf } from "../runs.ts";
import { rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const OURS = "bench_scale_out";
const SERVERS = 3;
/** Of a core, a server: three of them and PostgreSQL have room on two cores. */
const CORES = 0.3;
/** Fewer records have too few chunks to be shared. */
const MIN_RECORDS = 450_000;

export const scaleOut: Measure = {
  name: "scale-out",
  about: `one run on ${SERVERS} servers against one, each held to ${CORES} of a core`,
  // needs cgroups that this account may make
  onlyNamed: true,
  run: measureScaleOut,
};

interface Timed {
  seconds: number;
  /** CPU seconds of each server. */
  cpu: number[];
  postgresCpuSeconds: number;
  chunks: number[];
}

async function measureScaleOut(world: World): Promise<Row[]> {
  const records = Math.max(MIN_RECORDS, world.options.records);
  const one = await load(world, { records, servers: 1 });
  const many = await load(world, { records, servers: SERVERS });
  await world.dropTable(OURS);
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const speed = one.seconds / many.seconds;
  const least = Math.min(...many.cpu) / sum(many.cpu);
  const cpu = sum(many.cpu) / sum(one.cpu);
  const name = `${records.toLocaleString("en-US")} records on ${SERVERS} servers of ${CORES} core`;
  return [{
    measure: `${name} against one`,
    baseline: records / one.seconds,
    ours: records / many.seconds,
    unit: "rows/s",
    ratio: speed,
    target: "≥ 2.2 ×",
    ok: speed >= 2.2,
    detail: { one: detailOf(one), many: detailOf(many) },
  }, {
    measure: `${name}: least share of their CPU`,
    baseline: null,
    ours: least * 100,
    unit: "%",
    ratio: null,
    target: "≥ 25 %",
    ok: least >= 0.25,
  }, {
    measure: `${name}: CPU of the servers against that of one`,
    baseline: sum(one.cpu),
    ours: sum(many.cpu),
    unit: "s",
    ratio: cpu,
    target: "≤ 1.1 ×",
    ok: cpu <= 1.1,
  }];
}

function detailOf({ seconds, cpu, postgresCpuSeconds, chunks }: Timed) {
  return {
    seconds: rounded(seconds),
    cpu_seconds: cpu.map((value) => rounded(value)),
    postgres_cpu_seconds: rounded(postgresCpuSeconds),
    chunks,
  };
}

async function load(
  world: World,
  { records, servers: count }: { records: number; servers: number },
): Promise<Timed> {
  world.log(`loading ${records.toLocaleString("en-US")} records on ${count} servers`);
  const conf = loadConf(await world.dataSet("scattered", records), OURS);
  await world.dropTable(OURS);
  await world.settle();
  await using stack = new AsyncDisposableStack();
  const servers: TestServer[] = [];
  for (let i = 0; i < count; i++) {
    const share = CpuShare.make(`etl-bench-${Deno.pid}-${i}`, CORES);
    // its processes are gone a moment after the server has ended
    stack.defer(async () => {
      await waitFor(() => tried(() => share[Symbol.dispose]()), { what: "the cgroup to be empty" });
    });
    const server = stack.use(
      await world.server({ env: { ETL_WORKERS: "1", ETL_DATA_SHARED: "true" } }),
    );
    await share.hold(server.pid);
    servers.push(server);
  }
  const used = () => Promise.all(servers.map(({ pid }) => cpuSecondsOf(pid)));
  const [before, postgres] = [await used(), await world.postgresCpuSeconds()];
  const started = performance.now();
  const run = await completeRun(servers[0]!, conf);
  const seconds = (performance.now() - started) / 1000;
  const after = await used();
  return {
    seconds,
    cpu: after.map((value, i) => value - before[i]!),
    postgresCpuSeconds: await world.postgresCpuSeconds() - postgres,
    chunks: run.servers.map(({ count }) => count),
  };
}

function tried(act: () => void): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}
