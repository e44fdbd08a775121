import { hostname } from "node:os";
import { resolve } from "node:path";
import type { OpenAPIHono } from "@hono/zod-openapi";
import { createApp } from "./app.ts";
import { accessOf, requireSafeAddress } from "./routes/access/access_of.ts";
import type { ProfileLimits } from "./routes/deps.ts";
import type { Config } from "./config.ts";
import { isRowWise, writeSuite } from "./pipeline/expectations/suite.ts";
import { readSuiteFiles } from "./pipeline/expectations/suite_files.ts";
import { registeredConsumers } from "./pipeline/consumers/registered.ts";
import { isExecuting, type RunDeps } from "./pipeline/run.ts";
import { removeLeftovers } from "./pipeline/spill/leftovers.ts";
import { workerPermissions } from "./pipeline/workers/permissions.ts";
import { WorkerPool } from "./pipeline/workers/pool.ts";
import { startBoss } from "./queue/boss.ts";
import { workOnMaintenance } from "./queue/maintenance_worker.ts";
import { startReactions } from "./queue/reactions.ts";
import { keepJobs } from "./queue/job_keeper.ts";
import { RunWatch } from "./queue/run_watch.ts";
import { workOnRuns } from "./queue/run_worker.ts";
import { startSlotPlanner } from "./queue/slot_planner.ts";
import { workOnJobs } from "./queue/scheduled_jobs.ts";
import { startSweeper } from "./queue/sweeper.ts";
import { connectionProblem } from "./store/connection_problem.ts";
import { Database, type Sql } from "./store/database.ts";
import { publishMaintenanceEnvironment } from "./store/maintenance.ts";
import { requireSchemaVersion } from "./store/schema_version.ts";
import { readSetupMark } from "./store/setup_mark.ts";
import { storeFileSuites } from "./store/suites.ts";
import { publishEnvironment, purge, recoverRuns } from "./store/runs.ts";
import { appendLogs } from "./store/logs.ts";
import type { Log } from "./telemetry/log.ts";
import type { LogTail } from "./telemetry/log_tail.ts";
import { Reporting } from "./telemetry/reporting.ts";
import { telemetrySecrets } from "./telemetry/settings_schema.ts";

/** Milliseconds between two looks for runs that lost their job. */
const RECOVERY_INTERVAL_MS = 5_000;
/** Milliseconds between two looks for files of runs that have ended elsewhere. */
const LEFTOVERS_INTERVAL_MS = 5_000;
/** Milliseconds between two purges of what is older than the retention. */
const PURGE_INTERVAL_MS = 600_000;

export interface ServicesOptions {
  log: Log;
  /** Keeps log lines with their runs; started and closed with the services. */
  tail?: LogTail;
  /**
   * Whether to take part in the queue; default true. Without it nothing is
   * executed: enough to look at runs.
   */
  queue?: boolean;
  /** Whether every request is the owner's, as no port is opened; default false. */
  trusted?: boolean;
  /** Whether to see to the periodic jobs, as a server does that stays; default true. */
  jobs?: boolean;
  /** Milliseconds that stop() waits for what is in hand; default 12,000. */
  drainMs?: number;
  /** How far a profile may go; default: what a server can do for several clients. */
  profile?: ProfileLimits;
}

/** Everything of a server but its port. */
export interface Services {
  app: OpenAPIHono;
  /** Takes no more runs and gives back those in hand; `closePort` is called when they are. */
  stop(closePort?: () => Promise<unknown>): Promise<void>;
}

/** Starts what main.ts serves and the command line uses in process. */
export async function startServices(config: Config, options: ServicesOptions): Promise<Services> {
  const { log, tail, queue = true, jobs = true, drainMs = 12_000 } = options;
  const serverId = `${hostname()}-${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`;
  const stopping = new AbortController();
  const database = new Database(config.dsn, {
    applicationName: "etl-improved",
    // each run may have one statement that waits for a lock and one that tells how far it is
    max: 6 + 2 * config.runSlots,
    prepare: config.preparedStatements,
    probeMs: config.probeMs,
  });
  const { sql } = database;
  const watch = new RunWatch();
  const executes = queue && config.role !== "api";
  const spoolDir = resolve(config.spoolDir);
  const access = accessOf({ sql, config });
  try {
    const setup = await Deno.readTextFile(new URL("sql/etl_setup.sql", import.meta.url));
    const warning = await requireSchemaVersion(sql, readSetupMark(setup));
    if (warning !== null) log.warn(warning);
    if (!options.trusted) {
      await requireSafeAddress({ sql, config });
      await access.required();
    }
  } catch (error) {
    await database.close({ timeoutSeconds: 1 });
    throw connectionProblem(error, config.dsn) ?? error;
  }
  await publishEnvironment(sql, config.params);
  await publishMaintenanceEnvironment(sql, config.maintenance);
  await storeSuites(sql, resolve(config.suitesDir));
  if (config.listen) {
    await watch.listen(database);
    await database.listen("etl_access", () => access.changed());
  }
  tail?.start((lines) => appendLogs(sql, lines));
  const reporting = new Reporting(config.telemetry);
  const boss = queue
    ? await startBoss({
      dsn: config.dsn,
      listen: config.listen,
      probeMs: config.probeMs,
      schedule: jobs,
      log,
    })
    : null;

  const workers = new WorkerPool({
    size: executes ? config.workers : 0,
    dsn: config.dsn,
    name: `${serverId}-worker`,
    probeMs: config.probeMs,
    permissions: workerPermissions({
      dsns: [config.dsn, ...Object.values(config.connections)],
      dataDir: resolve(config.dataDir),
      spoolDir,
      transformsDir: resolve(config.transformsDir),
    }),
    onRetry: (runId, message) => {
      log.warn("database operation tried again", { run_id: runId, error: message });
      reporting.observer.retried(runId);
    },
  });
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
        httpHosts: [...config.httpSources, ...config.privateHosts],
        allowPrivateHosts: config.privateHosts,
      },
    },
    onCancel: (runId, cancel) => watch.watch(runId, (_state, asked) => asked && cancel()),
    observer: reporting.observer,
  };
  let purging: ReturnType<typeof setInterval> | undefined;
  let sweeping: ReturnType<typeof setInterval> | undefined;
  let recovery: ReturnType<typeof setInterval> | undefined;
  if (executes && boss !== null) {
    await Deno.mkdir(spoolDir, { recursive: true });
    const sweep = () => removeLeftovers(sql, spoolDir, (runId) => isExecuting(runId, deps));
    await sweep();
    sweeping = setInterval(() => {
      sweep().catch((error) => log.warn("leftovers could not be removed", { error }));
    }, LEFTOVERS_INTERVAL_MS);
    await workOnRuns(boss, deps, config.runSlots);
    if (jobs) await workOnJobs(boss, { sql, log });
    await workOnMaintenance(boss, {
      sql,
      dsn: config.dsn,
      log,
      serverId,
      signal: stopping.signal,
      onTask: (task, end) => {
        for (const each of reporting.taskObservers) each.taskEnded("etl_maintenance", task, end);
      },
      onEnd: (end) => {
        for (const each of reporting.taskObservers) each.dagEnded("etl_maintenance", end);
      },
    });
    await startReactions({
      boss,
      sql,
      dsn: config.dsn,
      log,
      settings: config.telemetry,
      publicUrl: config.telemetry.publicUrl ?? `http://${config.host}:${config.port}`,
      consumers: registeredConsumers,
      connections: config.connections,
      dataDir: resolve(config.dataDir),
      runEndObservers: reporting.runEndObservers,
      taskObservers: reporting.taskObservers,
      stopping: stopping.signal,
    });
  }
  const endSweeper = boss === null
    ? async () => {}
    : startSweeper({ sql, log, ...reporting.sweepObservers(sql) });
  const endPlanner = boss === null
    ? async () => {}
    : await startSlotPlanner({ sql, log, ...(config.listen ? { database } : {}) });
  const endJobs = boss === null || !jobs
    ? () => {}
    : await keepJobs({ boss, log, dsn: config.dsn, cronDsn: config.cronDsn });
  if (boss !== null) {
    recovery = setInterval(() => {
      recoverRuns(sql).catch((error) => log.warn("recovery of runs failed", { error }));
    }, RECOVERY_INTERVAL_MS);
    await recoverRuns(sql);
    purging = setInterval(() => {
      purge(sql, config.retentionDays).catch((error) => log.warn("purge failed", { error }));
    }, PURGE_INTERVAL_MS);
  }

  const app = createApp({
    sql,
    log,
    config,
    watch,
    access,
    trusted: options.trusted,
    metrics: reporting.metrics,
    profile: options.profile,
    status: () => ({
      serverId,
      role: config.role,
      listening: config.listen,
      draining: stopping.signal.aborted,
      workersBusy: workers.busy,
      workers: workers.size,
    }),
  });
  return {
    app,
    async stop(closePort) {
      stopping.abort();
      clearInterval(recovery);
      endJobs();
      clearInterval(sweeping);
      await endSweeper();
      await endPlanner();
      clearInterval(purging);
      await boss?.stop({ graceful: true, timeout: drainMs });
      await closePort?.();
      workers.stop();
      await reporting.close();
      await tail?.close();
      await database.close({ timeoutSeconds: 1 });
    },
  };
}

/** Makes the suites of a directory known; those that a person has put under the same name win. */
async function storeSuites(sql: Sql, dir: string): Promise<void> {
  const suites = [...await readSuiteFiles(dir)].map(([name, suite]) => ({
    name,
    suite: { ...writeSuite(suite) },
    row_wise: suite.expectations.every(isRowWise),
  }));
  await storeFileSuites(sql, suites);
}

/**
 * What no log line may show: the passwords in connection strings, plain and
 * encoded, and the token of the environment. Other tokens the log knows by their form.
 */
export function secretsOf(config: Config): string[] {
  const dsns = [config.dsn, config.cronDsn ?? "", ...Object.values(config.connections)];
  const passwords = dsns.flatMap((dsn) => {
    try {
      const { password } = new URL(dsn);
      return password === "" ? [] : [password, decodeURIComponent(password)];
    } catch {
      return [];
    }
  });
  const admin = config.adminToken === null ? [] : [config.adminToken];
  return [...passwords, ...admin, ...telemetrySecrets(config.telemetry)];
}
