import { resolve } from "node:path";
import { hostname } from "node:os";
import { createApp } from "./app.ts";
import { type Config, readConfig } from "./config.ts";
import { Problem } from "./pipeline/problem.ts";
import type { RunDeps } from "./pipeline/run.ts";
import { removeLeftovers } from "./pipeline/spill/leftovers.ts";
import { WorkerPool } from "./pipeline/workers/pool.ts";
import { startBoss } from "./queue/boss.ts";
import { RunWatch } from "./queue/run_watch.ts";
import { workOnRuns } from "./queue/run_worker.ts";
import { openDatabase } from "./store/database.ts";
import { publishEnvironment, recoverRuns } from "./store/runs.ts";
import { createLog, type Log } from "./telemetry/log.ts";

/** Milliseconds between two looks for runs that lost their job. */
const RECOVERY_INTERVAL_MS = 5_000;
/** A stopping server ends after so long, whatever is still in hand. */
const STOP_DEADLINE_MS = 15_000;

/** Composition root: config → database → queue → app → serve → drain. */
async function main(): Promise<void> {
  const config = readConfig(Deno.env.toObject(), navigator.hardwareConcurrency);
  const log = createLog({
    level: config.logLevel,
    format: config.logFormat,
    write: (line) => console.error(line),
    secrets: secretsOf(config),
  });
  const serverId = `${hostname()}-${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`;
  const stopping = new AbortController();
  const sql = openDatabase(config.dsn, {
    applicationName: "etl-improved",
    prepare: config.preparedStatements,
  });
  await requireSchema(sql);
  await publishEnvironment(sql, config.params);
  const watch = new RunWatch();
  if (config.listen) await watch.listen(sql);
  const boss = await startBoss({ dsn: config.dsn, listen: config.listen, log });

  const executes = config.role !== "api";
  const workers = new WorkerPool({
    size: executes ? config.workers : 0,
    dsn: config.dsn,
    name: `${serverId}-worker`,
    onRetry: (runId, message) =>
      log.warn("database operation tried again", { run_id: runId, error: message }),
  });
  const spoolDir = resolve(config.spoolDir);
  const deps: RunDeps = {
    sql,
    workers,
    log,
    serverId,
    stopping: stopping.signal,
    settings: {
      maxAttempts: config.maxAttempts,
      spoolDir,
      dataDir: resolve(config.dataDir),
      transformsDir: resolve(config.transformsDir),
      connections: config.connections,
      limits: {
        maxSpoolBytes: config.maxSpoolBytes,
        maxRecordBytes: config.maxRecordBytes,
        allowPrivateHosts: config.privateHosts,
      },
    },
    onCancel: (runId, cancel) => watch.watch(runId, (_state, asked) => asked && cancel()),
  };
  if (executes) {
    await Deno.mkdir(spoolDir, { recursive: true });
    await removeLeftovers(sql, spoolDir);
    await workOnRuns(boss, deps, config.runSlots);
  }
  const recovery = setInterval(() => {
    recoverRuns(sql).catch((error) => log.warn("recovery of runs failed", { error }));
  }, RECOVERY_INTERVAL_MS);
  await recoverRuns(sql);

  const app = createApp({
    sql,
    log,
    config,
    watch,
    status: () => ({
      serverId,
      role: config.role,
      listening: config.listen,
      draining: stopping.signal.aborted,
      workersBusy: workers.busy,
      workers: workers.size,
    }),
  });
  const server = Deno.serve({
    hostname: config.host,
    port: config.port,
    onListen: ({ hostname, port }) => {
      const host = hostname.includes(":") ? `[${hostname}]` : hostname;
      console.log(`listening on http://${host}:${port}`);
    },
  }, app.fetch);

  const stop = async (signal: Deno.Signal) => {
    if (stopping.signal.aborted) return;
    log.info("stopping", { signal });
    const deadline = setTimeout(() => {
      log.error("did not stop in time");
      Deno.exit(1);
    }, STOP_DEADLINE_MS);
    stopping.abort();
    clearInterval(recovery);
    await boss.stop({ graceful: true, timeout: STOP_DEADLINE_MS - 3_000 });
    await Promise.race([server.shutdown(), new Promise((done) => setTimeout(done, 1_000))]);
    workers.stop();
    await sql.end({ timeout: 1 });
    clearTimeout(deadline);
    log.info("stopped");
    Deno.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => void stop(signal));
  }
}

async function requireSchema(sql: ReturnType<typeof openDatabase>): Promise<void> {
  const [row] = await sql<{ ready: boolean }[]>`
    select to_regclass('etl.runs') is not null and to_regclass('etl.param_schema') is not null as ready`;
  if (!row!.ready) {
    throw new Problem("unavailable", {
      detail: "The database is not set up for etl-improved: run `deno task setup-db` first.",
    });
  }
}

/** What no log line may show: the passwords in connection strings, plain and encoded. */
function secretsOf(config: Config): string[] {
  return [config.dsn, ...Object.values(config.connections)].flatMap((dsn) => {
    try {
      const { password } = new URL(dsn);
      return password === "" ? [] : [password, decodeURIComponent(password)];
    } catch {
      return [];
    }
  });
}

function explain(error: unknown, log: Pick<Log, "error">): never {
  if (error instanceof Problem) log.error(error.message);
  else log.error("cannot start", { error });
  Deno.exit(1);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    explain(
      error,
      createLog({ level: "error", format: "text", write: (line) => console.error(line) }),
    );
  }
}
