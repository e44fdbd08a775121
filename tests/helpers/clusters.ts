import { statfsSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { EMBEDDED_INITDB_ARGS, EMBEDDED_SETTINGS } from "../../scripts/postgres/embedded.ts";
import { type Cluster, type ClusterOptions, startCluster } from "../../scripts/postgres/cluster.ts";
import {
  embeddedBinaries,
  exists,
  makeReadableDir,
  SYSTEM_DIR,
} from "../../scripts/postgres/binaries.ts";
import { isThere } from "./needs.ts";

/** Which PostgreSQL: the npm one (18), or Debian's 15 with the real pg_cron. */
export type ClusterKind = "embedded" | "debian15";

export interface TestClusterOptions {
  /** Default: what `ETL_TEST_PG` says, else "embedded". */
  kind?: ClusterKind;
  /** Whether committed data has to survive a crash of PostgreSQL; default false, which is faster. */
  durable?: boolean;
  /** More lines of postgresql.conf. */
  settings?: Record<string, string>;
}

const DEBIAN_BIN = "/usr/lib/postgresql/15/bin";

const FAST = { fsync: "off", synchronous_commit: "off", full_page_writes: "off" };

const COMMON = {
  shared_buffers: "128MB",
  max_connections: "200",
  min_wal_size: "80MB",
  max_wal_size: "1GB",
  // Failing statements are part of many tests; DETAIL and QUERY help when one is not.
  log_min_error_statement: "error",
};

const CRON = {
  shared_preload_libraries: "pg_cron",
  "cron.database_name": "etl",
  "cron.use_background_workers": "on",
  max_worker_processes: "20",
};

/** Whether Debian's PostgreSQL 15 and pg_cron are installed, e.g. for `ignore` of a test. */
export async function debian15IsInstalled(): Promise<boolean> {
  return isThere(
    await exists(`${DEBIAN_BIN}/postgres`) &&
      await exists("/usr/lib/postgresql/15/lib/pg_cron.so"),
    "install postgresql-15 and postgresql-15-cron for the tests with pg_cron",
  );
}

export function defaultKind(): ClusterKind {
  const kind = Deno.env.get("ETL_TEST_PG") || "embedded";
  if (kind !== "embedded" && kind !== "debian15") {
    throw new Error(`ETL_TEST_PG must be 'embedded' or 'debian15': current value is '${kind}'`);
  }
  return kind;
}

/** What starts a test cluster in `dir`; the same again starts it anew after a crash. */
export async function testClusterOptions(
  dir: string,
  options: TestClusterOptions = {},
): Promise<ClusterOptions> {
  const kind = options.kind ?? defaultKind();
  if (kind === "debian15" && !(await debian15IsInstalled())) {
    throw new Error("Install postgresql-15 and postgresql-15-cron for tests with ETL_TEST_PG");
  }
  const debian = kind === "debian15";
  return {
    dir,
    binaries: debian ? { binDir: DEBIAN_BIN, major: 15 } : await embeddedBinaries(),
    settings: {
      ...EMBEDDED_SETTINGS,
      ...COMMON,
      ...(options.durable ? {} : FAST),
      ...(debian ? CRON : {}),
      ...options.settings,
    },
    initdbArgs: [
      // thousands of connections check a password: a fourth of what each takes a core for; 15 knows no other number
      ...(debian ? ["--locale=C.UTF-8"] : [...EMBEDDED_INITDB_ARGS, "--set=scram_iterations=1"]),
      "--no-sync",
    ],
    stopMode: "immediate",
    shared: false,
  };
}

/** What tests write at most at once, with room to spare. */
const MEMORY_BYTES = 6 * 2 ** 30;

/**
 * Where files in memory are, on a machine that has room for those of the tests: a database is made there in a
 * tenth of the time. Undefined elsewhere. Not for what a worker or server of ours reads: Deno lets only who may do
 * everything read below /dev.
 */
function memoryDir(): string | undefined {
  try {
    const { bavail, bsize } = statfsSync("/dev/shm");
    const [, available] = /^MemAvailable: +(\d+) kB/m.exec(Deno.readTextFileSync("/proc/meminfo"))!;
    const free = Math.min(bavail * bsize, Number(available) * 1024);
    return free >= MEMORY_BYTES ? "/dev/shm" : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A path that the account of the database can reach; nothing is made there yet. A `durable` one is on a disk.
 */
export function testClusterDir(name: string, { durable = false } = {}): string {
  const memory = durable ? undefined : memoryDir();
  if (memory !== undefined) return join(memory, `etl-improved-test-${name}`);
  return Deno.uid() === 0
    ? join(SYSTEM_DIR, `test-${name}`)
    : join(tmpdir(), `etl-improved-test-${name}`);
}

/**
 * Starts (or joins) the test cluster in `dir`. Should this process end without
 * stopping it, also by SIGKILL, it is stopped and deleted a second later.
 */
export async function startTestCluster(
  dir: string,
  options: TestClusterOptions = {},
): Promise<Cluster> {
  if (Deno.uid() === 0) await makeReadableDir(SYSTEM_DIR);
  if (!(await exists(join(dir, "data")))) await copyCluster(dir, options.kind);
  const cluster = await startCluster(await testClusterOptions(dir, options));
  if (cluster.origin !== "joined") await removeAfterExit(dir);
  return cluster;
}

/**
 * Where the processes of a test run have clusters to copy, one of each kind, which saves half a second of initdb for
 * each of theirs; default: none is copied.
 */
const TO_COPY = "ETL_TEST_CLUSTERS";

/** Makes the place of clusters to copy, for this process and those that it starts; it goes when this process ends. */
export async function copyTestClusters(): Promise<void> {
  const dir = testClusterDir(`copied-${Deno.pid}`);
  await makeReadableDir(dir);
  await removeAfterExit(dir);
  Deno.env.set(TO_COPY, dir);
}

/** Makes a new cluster by copying one that was started and stopped, where there is a place for such. */
async function copyCluster(dir: string, kind = defaultKind()): Promise<void> {
  const place = Deno.env.get(TO_COPY);
  if (!place) return;
  const from = join(place, kind);
  using lock = await Deno.open(`${from}.lock`, { create: true, write: true });
  await lock.lock(true);
  if (!(await exists(from))) {
    const made = await testClusterOptions(`${from}.new`, { kind });
    await (await startCluster({ ...made, stopMode: "fast" })).stop();
    await Deno.rename(made.dir, from);
  }
  await Deno.mkdir(dir, { recursive: true });
  const args = ["-a", join(from, "password"), join(from, "data"), dir];
  const { success, stderr } = await new Deno.Command("cp", { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

const WATCH = `(
  while kill -0 "$1" && [ -d "$2" ]; do sleep 1; done
  for _ in 1 2 3 4 5; do
    [ -d "$2" ] || break
    [ -f "$2/data/postmaster.pid" ] && kill -QUIT "$(head -n 1 "$2/data/postmaster.pid")"
    sleep 0.3
    rm -rf "$2"
  done
) </dev/null >/dev/null 2>&1 &`;

async function removeAfterExit(dir: string): Promise<void> {
  await new Deno.Command("sh", {
    args: ["-c", WATCH, "sh", String(Deno.pid), dir],
    detached: true, // Ctrl-C in a terminal must not reach it
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).output();
}
