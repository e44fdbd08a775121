import { buildIslands, watchIslands } from "./build_islands.ts";
import { resolveEnvironment } from "./environment.ts";
import type { Cluster } from "./postgres/cluster.ts";
import { startEmbeddedPostgres } from "./postgres/embedded.ts";
import { onNpxGone } from "./process_tree.ts";
import {
  prepareServerEnvironment,
  type ServerProcess,
  startServerProcess,
} from "./server_process.ts";

export interface LaunchOptions {
  /** Directory of the project, with deno.json and main.ts. */
  projectDir: string;
  /** The environment of the launcher; what is missing for the server is added. */
  env: Record<string, string>;
  /**
   * Prepares the database before the server starts, e.g. its schema; told the
   * embedded PostgreSQL, unless `KPIS_PG_DSN` named another. Default: nothing.
   */
  prepare?: (dsn: string, postgres: Cluster | undefined) => Promise<unknown>;
  /** Module to run; default main.ts. */
  entry?: string;
  /** Whether the server starts again when a file changes; default false. */
  watch?: boolean;
  /** Told what takes a while. */
  log?: (message: string) => void;
  /** Told each line that the server writes. */
  onLine?: (line: string, stream: "stdout" | "stderr") => void;
}

/** A database and a server that run, or are about to. */
export interface Launched {
  /** Connection string of the database that the server uses. */
  dsn: string;
  /** What the server was started with. */
  env: Record<string, string>;
  server: ServerProcess;
  /** The embedded PostgreSQL, unless `KPIS_PG_DSN` named another. */
  postgres: Cluster | undefined;
  /** The exit code of the server, when both have ended. */
  ended: Promise<number>;
  /** Asks the server to end; asking again after a second ends it at once. */
  stop(signal: Deno.Signal): void;
}

/**
 * Starts the embedded PostgreSQL, unless `KPIS_PG_DSN` is set, and then the
 * server. When the server has ended the database is stopped, never before.
 */
export async function launch(options: LaunchOptions): Promise<Launched> {
  const { projectDir } = options;
  const env = resolveEnvironment(options.env);
  await prepareServerEnvironment(env, { projectDir });
  // Without its scripts the dashboard can still be read.
  const assets = buildIslands({ projectDir }).catch((error) => {
    options.log?.(`The dashboard has to do without scripts: ${error.message}`);
  });
  let postgres: Cluster | undefined;
  if (!env.KPIS_PG_DSN) {
    postgres = await startEmbeddedPostgres({
      ...(env.ETL_EMBEDDED_PG_DIR ? { dataDir: env.ETL_EMBEDDED_PG_DIR } : {}),
      ...(options.log ? { log: options.log } : {}),
    });
    env.KPIS_PG_DSN = postgres.dsn;
  }
  const dsn = env.KPIS_PG_DSN;
  try {
    await options.prepare?.(dsn, postgres);
    await assets;
    const server = startServerProcess({
      projectDir,
      env,
      ...(options.entry ? { entry: options.entry } : {}),
      ...(options.watch ? { watch: true } : {}),
      ...(options.onLine ? { onLine: options.onLine } : {}),
    });
    const watching = options.watch
      ? watchIslands({ projectDir, ...(options.log ? { log: options.log } : {}) })
      : undefined;
    return {
      dsn,
      env,
      server,
      postgres,
      ended: stopAfter(server, postgres).finally(() => watching?.[Symbol.dispose]()),
      stop: stopOnceThenKill(server, { again: options.watch ?? false }),
    };
  } catch (error) {
    await postgres?.stop();
    throw error;
  }
}

/** Signals that ask a program to end; a closed terminal is one. */
const ENDING: Deno.Signal[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** Calls `handle` with each signal that asks this process to end, until disposed of. */
export function onEndingSignal(handle: (signal: Deno.Signal) => void): Disposable {
  const listeners = ENDING.map((signal) => {
    const listener = () => handle(signal);
    Deno.addSignalListener(signal, listener);
    return { signal, listener };
  });
  const npx = onNpxGone(() => handle("SIGTERM"));
  return {
    [Symbol.dispose]() {
      npx[Symbol.dispose]();
      for (const { signal, listener } of listeners) Deno.removeSignalListener(signal, listener);
    },
  };
}

async function stopAfter(server: ServerProcess, postgres: Cluster | undefined): Promise<number> {
  const { code } = await server.ended;
  await postgres?.stop();
  return code;
}

/** How often a watched server is asked to end. */
const ASK_AGAIN_MS = 250;

interface StopOptions {
  /** Whether the first signal is repeated until the server has ended. */
  again: boolean;
  /** Milliseconds since some moment; default: of this process. */
  now?: () => number;
  /** Milliseconds between two times that a watched server is asked; default 250. */
  askAgainMs?: number;
}

/**
 * One Ctrl-C may arrive several times, from the terminal and from npx, which
 * passes it on; only one that comes a second later is meant as a second one.
 * Under `--watch` the first signal ends the server and leaves the watcher, who
 * waits for a change of a file, for the next one: it is asked `again`.
 */
export function stopOnceThenKill(
  server: Pick<ServerProcess, "kill" | "ended">,
  { again, now = () => performance.now(), askAgainMs = ASK_AGAIN_MS }: StopOptions,
): (signal: Deno.Signal) => void {
  let askedAt: number | undefined;
  return (signal) => {
    const time = now();
    if (askedAt !== undefined && time - askedAt > 1000) return server.kill("SIGKILL");
    if (askedAt !== undefined) return;
    askedAt = time;
    const passedOn = signal === "SIGHUP" ? "SIGTERM" : signal;
    server.kill(passedOn);
    if (!again) return;
    const timer = setInterval(() => server.kill(passedOn), askAgainMs);
    void server.ended.finally(() => clearInterval(timer));
  };
}
