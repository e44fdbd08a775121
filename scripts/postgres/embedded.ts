import { createHash } from "node:crypto";
import { statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Cluster, startCluster } from "./cluster.ts";
import { embeddedBinaries, SYSTEM_DIR } from "./binaries.ts";

export interface EmbeddedPostgresOptions {
  /** Directory of data, password and log; default {@linkcode defaultDataDir}. */
  dataDir?: string;
  /** Told what takes a while; default: nobody. */
  log?: (message: string) => void;
}

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "../..");

/**
 * Settings for loading on a small machine that only this project uses. What
 * decides whether committed data survives a crash stays at PostgreSQL's default.
 */
export const EMBEDDED_SETTINGS: Record<string, string> = {
  listen_addresses: "127.0.0.1",
  // Socket paths are limited to 107 bytes, and a password on loopback serves everyone.
  unix_socket_directories: "",
  max_connections: "100",
  shared_buffers: "256MB",
  work_mem: "32MB",
  maintenance_work_mem: "128MB",
  effective_cache_size: "1GB",
  random_page_cost: "1.1",
  max_wal_size: "4GB",
  min_wal_size: "256MB",
  checkpoint_timeout: "15min",
  // There is nothing that it could be replicated to.
  wal_level: "minimal",
  max_wal_senders: "0",
  timezone: "UTC",
  log_timezone: "UTC",
  logging_collector: "on",
  log_directory: "log",
  // One file a weekday, each overwritten a week later.
  log_filename: "postgresql-%a.log",
  log_truncate_on_rotation: "on",
  log_rotation_age: "1d",
  log_rotation_size: "0",
};

/** Sorting by bytes is fastest; upper and lower case still know all of Unicode. */
export const EMBEDDED_INITDB_ARGS: string[] = [
  "--locale=C",
  "--locale-provider=builtin",
  "--builtin-locale=C.UTF-8",
];

/** `.data/postgres` in the project, or, as root, a directory of this clone's own below /var/lib. */
export function defaultDataDir(): string {
  if (Deno.uid() !== 0) return join(PROJECT_DIR, ".data", "postgres");
  const clone = createHash("sha256").update(PROJECT_DIR).digest("hex").slice(0, 12);
  return join(SYSTEM_DIR, clone);
}

/**
 * Starts the PostgreSQL that comes with the npm dependencies: on a free port of
 * the loopback interface, with a random password, its data kept between starts.
 * Joins the one that runs on the same data already; the last user stops it.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions = {},
): Promise<Cluster> {
  return await startCluster({
    dir: resolve(options.dataDir ?? defaultDataDir()),
    binaries: await embeddedBinaries(),
    settings: { ...EMBEDDED_SETTINGS, ...(await sharedMemorySettings()) },
    initdbArgs: EMBEDDED_INITDB_ARGS,
    ...(options.log ? { log: options.log } : {}),
  });
}

/** Containers often have 64 MB of /dev/shm, which parallel queries outgrow. */
async function sharedMemorySettings(): Promise<Record<string, string>> {
  try {
    const { bsize, blocks } = await statfs("/dev/shm");
    if (bsize * blocks >= 256 * 2 ** 20) return {};
  } catch {
    return {}; // not Linux: PostgreSQL knows better
  }
  return { dynamic_shared_memory_type: "mmap" };
}
