import { join } from "node:path";
import { KEYS, seaweedfs } from "../../tests/helpers/seaweedfs.ts";
import type { TestServer } from "../../tests/helpers/server.ts";
import { waitFor } from "../../tests/helpers/wait_for.ts";
import type { Measure, Row } from "../bench.ts";
import { CpuShare } from "../cpu_share.ts";
import { cpuSecondsOf } from "../process_usage.ts";
import { completeRun, loadConf } from "../runs.ts";
import { sourceOf } from "../finished_rows.ts";
import { rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const OURS = "bench_scale_out";
const SERVERS = 3;
/** Of a core, a server: three of them and PostgreSQL have room on two cores. */
const CORES = 0.3;
/** Fewer records have too few chunks to be shared. */
const MIN_RECORDS = 450_000;
const PART_BYTES = 32 << 20;

const about = `one run on ${SERVERS} servers against one, each held to ${CORES} of a core`;

export const scaleOut: Measure = {
  name: "scale-out",
  about,
  // needs cgroups that this account may make
  onlyNamed: true,
  run: (world) =>
    measureScaleOut(world, "a shared folder", ({ file }) =>
      Promise.resolve(
        { conf: loadConf(file, OURS), env: { ETL_DATA_SHARED: "true" } },
      )),
};

export const scaleOutS3: Measure = {
  name: "scale-out-s3",
  about: `the same from S3 (SeaweedFS, from PyPI)`,
  onlyNamed: true,
  async run(world) {
    await using weed = await seaweedfs({ volumes: 64 });
    return await measureScaleOut(world, "S3", async ({ file, path }) => {
      await putParts(weed, path);
      const { path: _, ...source } = sourceOf(file) as Record<string, unknown>;
      const url = "s3://lake/scale/*.ndjson";
      return {
        conf: {
          ...loadConf(file, OURS),
          source: { ...source, type: "s3", url, connection: "lake" },
        },
        env: {
          ETL_HTTP_PRIVATE_HOSTS: weed.host,
          ETL_CONNECTION_LAKE: JSON.stringify({
            type: "s3",
            endpoint: weed.endpoint,
            path_style: true,
            access_key_id: KEYS.accessKeyId,
            secret_access_key: KEYS.secretAccessKey,
          }),
        },
      };
    });
  },
};

/** Puts a file into the bucket, in objects of about 32 MB that end with a line. */
async function putParts(
  { put }: Pick<Awaited<ReturnType<typeof seaweedfs>>, "put">,
  path: string,
): Promise<void> {
  const bytes = await Deno.readFile(path);
  for (let start = 0, part = 0; start < bytes.length; part++) {
    const line = bytes.indexOf(10, Math.min(bytes.length - 1, start + PART_BYTES));
    const end = line < 0 ? bytes.length : line + 1;
    await put(`scale/part-${part}.ndjson`, bytes.subarray(start, end));
    start = end;
  }
}

interface Timed {
  seconds: number;
  /** CPU seconds of each server. */
  cpu: number[];
  postgresCpuSeconds: number;
  chunks: number[];
}

/** What is asked for, and what servers need to read it. */
interface Input {
  conf: Record<string, unknown>;
  env: Record<string, string>;
}

async function measureScaleOut(
  world: World,
  from: string,
  inputOf: (data: { file: string; path: string }) => Promise<Input>,
): Promise<Row[]> {
  const records = Math.max(MIN_RECORDS, world.options.records);
  const file = await world.dataSet("scattered", records);
  const input = await inputOf({ file, path: join(world.dir, file) });
  const one = await load(world, { records, servers: 1, ...input });
  const many = await load(world, { records, servers: SERVERS, ...input });
  await world.dropTable(OURS);
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const speed = one.seconds / many.seconds;
  const least = Math.min(...many.cpu) / sum(many.cpu);
  const cpu = sum(many.cpu) / sum(one.cpu);
  const name = `${
    records.toLocaleString("en-US")
  } records from ${from} on ${SERVERS} servers of ${CORES} core`;
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
  { records, servers: count, conf, env }: Input & { records: number; servers: number },
): Promise<Timed> {
  world.log(`loading ${records.toLocaleString("en-US")} records on ${count} servers`);
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
      await world.server({ env: { ETL_WORKERS: "1", ...env } }),
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
