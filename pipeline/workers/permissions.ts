import { fileURLToPath } from "node:url";
import { certificateFiles, databaseAddresses, lacksPassword } from "../../store/dsn.ts";

/** Folders with the program that a worker loads. */
const PROGRAM = ["..", "../../store", "../../telemetry", "../../vocabulary"]
  .map((folder) => fileURLToPath(new URL(folder, import.meta.url)));

/** What pg looks at besides the connection string. None of it is a secret. */
const PG_ENVIRONMENT = [
  "PGHOST",
  "PGPORT",
  "PGDATABASE",
  "PGUSER",
  "PGOPTIONS",
  "PGBINARY",
  "PGREPLICATION",
  "PGCLIENT_ENCODING",
  "PGSSLMODE",
  "PGSSLNEGOTIATION",
  "PGCONNECT_TIMEOUT",
  "USER",
  "NODE_PG_FORCE_NATIVE",
];

/** What a worker has to reach. */
export interface WorkerReach {
  /** Connection strings of the databases that it talks to. */
  dsns: string[];
  /** Files of file sources. */
  dataDir: string;
  /** Directory that it writes to. */
  spoolDir: string;
  /** Directory of the transform modules that it loads. */
  transformsDir: string;
  /** Whether it reads from other servers over HTTP, as far as the server may. */
  network: boolean;
  /** Directory of the source modules, which their hosts load. */
  sourcesDir: string;
}

/** Deno permissions of a worker that computes from what it is sent; it gives the one for its priority back (step_back.ts). */
export const NO_REACH = {
  net: false,
  read: PROGRAM,
  write: false,
  env: false,
  sys: ["setPriority"],
  run: false,
  ffi: false,
  import: false,
} satisfies Deno.PermissionOptionsObject;

/**
 * Those of a worker that reads sources, whose transform modules run in a host without any: the databases, what the
 * server may read over HTTP, its directories, and nothing else. No environment but the names that the driver looks at,
 * no subprocess, no native library.
 */
export function workerPermissions(reach: WorkerReach): Deno.PermissionOptionsObject {
  const { dsns, dataDir, spoolDir, transformsDir, sourcesDir, network } = reach;
  const databases = databasePermissions(dsns);
  return {
    ...databases,
    ...(network ? { net: "inherit" } : {}),
    read: [
      ...databases.read,
      ...[dataDir, spoolDir, transformsDir, sourcesDir].flatMap(realPaths),
    ],
    write: realPaths(spoolDir),
  };
}

/** Those of a worker that talks to databases and to nothing else. */
export function databasePermissions(dsns: string[]) {
  return {
    ...NO_REACH,
    net: [...new Set(dsns.flatMap(databaseAddresses))],
    read: [...PROGRAM, ...dsns.flatMap(certificateFiles)],
    env: [...PG_ENVIRONMENT, ...(dsns.some(lacksPassword) ? ["PGPASSWORD"] : [])],
  } satisfies Deno.PermissionOptionsObject;
}

/**
 * Those of a worker that downloads what a source has elsewhere: the network as
 * far as the server may use it. It never loads a module of the user's own.
 */
export function fetchPermissions(spoolDir: string): Deno.PermissionOptionsObject {
  return {
    ...NO_REACH,
    net: "inherit",
    read: [...PROGRAM, ...realPaths(spoolDir)],
    write: realPaths(spoolDir),
  };
}

/**
 * A path, and where it leads through symbolic links: permissions are checked
 * by the letter, and files are opened by their real names.
 */
export function realPaths(path: string): string[] {
  try {
    return [...new Set([path, Deno.realPathSync(path)])];
  } catch {
    // not there yet
    return [path];
  }
}
