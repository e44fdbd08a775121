import type { OpenAPIHono } from "@hono/zod-openapi";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { registeredConsumers } from "../pipeline/consumers/registered.ts";
import { suiteRows } from "../pipeline/expectations/expectations.ts";
import { isExecuting, type RunDeps } from "../pipeline/run.ts";
import { programHash } from "../pipeline/same_program.ts";
import {
  openSpool,
  removeLeftovers,
  removeOldLayout,
  type SpoolDirs,
} from "../pipeline/spill/spool_dirs.ts";
import { consumersIn, consumerWithinTime } from "../pipeline/user_code/consumer_client.ts";
import { workerPermissions } from "../pipeline/workers/permissions.ts";
import { logModuleLines, WorkerPool } from "../pipeline/workers/pool.ts";
import {
  workOnFingerprints,
  workOnJobs,
  workOnMaintenance,
  workOnOthersRuns,
  workOnRequests,
  workOnRuns,
} from "../queue/kinds_of_work.ts";
import { startReactions } from "../queue/reactions.ts";
import { RunWatch } from "../queue/run_watch.ts";
import { WorkLoop } from "../queue/work_loop.ts";
import { accessOf, requireSafeAddress } from "../routes/access/access.ts";
import { Pulse } from "../routes/health.ts";
import type { ProfileLimits } from "../routes/shared/deps.ts";
import { unwritable } from "../store/health.ts";
import { hideInProblems, TerminalProblem } from "../vocabulary/problem.ts";
import { connectionProblem } from "../store/connection_problem.ts";
import { Database } from "../store/database.ts";
import { appendLogs } from "../store/run_views.ts";
import { publishEnvironment } from "../store/params.ts";
import { readSetupMark, requireSchemaVersion } from "../store/schema_version.ts";
import { storeFileSuites } from "../store/suites.ts";
import { hider, type Log, type LogTail, unmistakable } from "../telemetry/log.ts";
import { Reporting } from "../telemetry/reporting.ts";
import { delay } from "../store/retry.ts";
import { prolongServer, removeServer } from "../store/leases.ts";
import { keepJobs } from "../timers/jobs.ts";
import { repeat } from "../timers/repeat.ts";
import { startSlotPlanner } from "../timers/slot_planner.ts";
import { startHousekeeping, startSweeper } from "../timers/sweeper.ts";
import { createApp } from "./app.ts";
import type { Config } from "./config.ts";
import { secretsOf } from "./secrets.ts";

/** A server counts for 20 s after each. */
const SIGN_OF_LIFE_MS = 5_000;
/** Milliseconds between two looks for files of runs that have ended elsewhere. */
const LEFTOVERS_INTERVAL_MS = 5_000;

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
  /** Whether its environment is the installation's: defaults of runs, channels of alerts; default: `jobs`. */
  publishes?: boolean;
  /**
   * Whether runs asked for here are executed here and not by another server: `reserved`, also with others' runs; `only`, with
   * a data directory of its own, no others'. Default: any server takes any run.
   */
  ownRuns?: "reserved" | "only";
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
  const { log, tail, queue = true, jobs = true, publishes = jobs, drainMs = 12_000 } = options;
  hideInProblems(hider(unmistakable(secretsOf(config))));
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
  // readiness and metrics are asked for most when everything else is busy
  const probe = new Database(config.dsn, {
    applicationName: "etl-improved probe",
    max: 4,
    prepare: config.preparedStatements,
    probeMs: config.probeMs,
  });
  const watch = new RunWatch();
  const executes = queue && config.role !== "api";
  // a process of its own has files of its own, and ends soon
  const shares = !config.oneServerRuns && options.ownRuns === undefined;
  let spool: SpoolDirs;
  const access = accessOf({ sql, config });
  try {
    const setup = await Deno.readTextFile(new URL("../sql/etl_setup.sql", import.meta.url));
    const warning = await requireSchemaVersion(sql, readSetupMark(setup));
    if (warning !== null) log.warn(warning);
    const [unwritten] = await unwritable(sql);
    if (unwritten !== undefined) {
      throw new TerminalProblem("database-unavailable", {
        detail: `Cannot start: ${unwritten}.`,
        transient: true,
      });
    }
    if (!options.trusted) {
      await requireSafeAddress({ sql, config });
      await access.required();
    }
    spool = await openSpool(sql, resolve(config.spoolDir));
  } catch (error) {
    await Promise.all([database, probe].map((each) => each.close({ timeoutSeconds: 1 })));
    throw connectionProblem(error, config.dsn) ?? error;
  }
  if (publishes) {
    await publishEnvironment(sql, { run: config.params, maintenance: config.maintenance });
  }
  const spoolDir = spool.runs;
  await storeFileSuites(sql, await suiteRows(resolve(config.suitesDir)));
  if (config.listen) {
    await watch.listen(database);
    await database.listen("etl_access", () => access.changed());
  }
  tail?.start((lines) => appendLogs(sql, lines));
  const reporting = new Reporting(config.telemetry);
  const loop = new WorkLoop({
    sql,
    log,
    stopping: stopping.signal,
    database: config.listen ? database : undefined,
  });

  const workers = new WorkerPool({
    size: executes ? config.workers : 0,
    dsn: config.dsn,
    name: `${serverId}-worker`,
    probeMs: config.probeMs,
    keepPlans: config.preparedStatements,
    permissions: workerPermissions({
      dsns: [config.dsn, ...Object.values(config.connections)],
      dataDir: resolve(config.dataDir),
      spoolDir: resolve(config.spoolDir),
      transformsDir: resolve(config.transformsDir),
      network: true,
      sourcesDir: resolve(config.sourcesDir),
    }),
    httpConnections: config.remotes.http,
    onRetry: (runId, { kind, attempt, message }) => {
      log.warn("database operation tried again", { run_id: runId, error: message });
      reporting.observer.retried(runId, { kind, attempt });
    },
    onLines: (runId, lines) => logModuleLines(log, runId, lines),
  });
  const deps: RunDeps = {
    sql,
    workers,
    log,
    serverId,
    stopping: stopping.signal,
    settings: {
      sharesRuns: shares,
      dataShared: config.dataShared,
      maxAttempts: config.maxAttempts,
      outageMinutes: config.outageMinutes,
      spoolDir,
      bodiesDir: spool.requests,
      dataDir: resolve(config.dataDir),
      transformsDir: resolve(config.transformsDir),
      sourcesDir: resolve(config.sourcesDir),
      connections: config.connections,
      remotes: config.remotes,
      hashSecret: config.hashSecret,
      limits: {
        maxSpoolBytes: config.maxSpoolBytes,
        maxRecordBytes: config.maxRecordBytes,
        maxWorkerBytes: config.workerMemoryBytes,
        httpHosts: [...config.httpSources, ...config.privateHosts],
        allowPrivateHosts: config.privateHosts,
      },
    },
    onCancel: (runId, cancel) => watch.watch(runId, (_state, asked) => asked && cancel()),
    observer: reporting.observer,
  };
  const endings: (() => unknown)[] = [];
  const helping = executes && shares ? workOnOthersRuns(loop, deps) : null;
  // of the files as they are now, which are what runs here, whatever is put in their place later
  if (helping !== null) programHash().catch(() => {});
  if (queue) workOnRequests(loop, sql);
  if (executes) {
    const tidy = async () => {
      await removeLeftovers(sql, spoolDir, (runId) => isExecuting(runId, deps));
      await spool.tidy();
    };
    await tidy();
    await removeOldLayout(sql, resolve(config.spoolDir));
    endings.push(repeat(tidy, {
      everyMs: LEFTOVERS_INTERVAL_MS,
      log,
      warning: "leftovers could not be removed",
    }));
    workOnRuns(loop, deps, { slots: config.runSlots, ownOnly: options.ownRuns === "only" });
    if (options.ownRuns !== "only") {
      const here = () => prolongServer(sql, { server_id: serverId, run_slots: config.runSlots });
      await here();
      const prolonged = repeat(here, {
        everyMs: SIGN_OF_LIFE_MS,
        log,
        warning: "this server could not be registered in the database",
      });
      endings.push(async () => {
        await prolonged();
        // where the database is away, it does not count for longer than 20 s either way
        const late = new AbortController();
        await Promise.race([
          removeServer(sql, serverId).catch(() => {}),
          delay(1_000, late.signal),
        ]);
        late.abort();
      });
    }
    if (jobs) await workOnJobs(loop, { sql, log });
    workOnFingerprints(loop, { sql, log });
    workOnMaintenance(loop, {
      sql,
      dsn: config.dsn,
      log,
      serverId,
      signal: stopping.signal,
      onTask: (task, end) => reporting.tasks.taskEnded("etl_maintenance", task, end),
      onEnd: (end, figures) => {
        reporting.tasks.dagEnded("etl_maintenance", end);
        reporting.tasks.maintained(figures);
      },
    });
    await startReactions({
      loop,
      publishes,
      sql,
      single: database.single,
      dsn: config.dsn,
      log,
      settings: config.telemetry,
      publicUrl: config.telemetry.publicUrl ?? `http://${config.host}:${config.port}`,
      consumers: [
        ...registeredConsumers.map(consumerWithinTime),
        ...config.consumersDir === null ? [] : await consumersIn(resolve(config.consumersDir)),
      ],
      connections: config.connections,
      httpConnections: config.remotes.http,
      dataDir: resolve(config.dataDir),
      runEndObservers: reporting.runEndObservers,
      tasks: reporting.tasks,
      stopping: stopping.signal,
    });
  }
  if (queue) {
    await loop.start();
    endings.push(
      startSweeper({ sql, log, ...reporting.sweepObservers(sql) }),
      await startSlotPlanner({ sql, log, ...(config.listen ? { database } : {}) }),
      startHousekeeping({ sql, log, retentionDays: config.retentionDays }),
    );
    if (jobs) {
      endings.push(await keepJobs({ sql, log, dsn: config.dsn, cronDsn: config.cronDsn }));
    }
  }

  const pulse = new Pulse();
  const app = createApp({
    sql,
    probe: probe.sql,
    log,
    config: { ...config, spoolDir: spool.requests },
    watch,
    access,
    trusted: options.trusted,
    metrics: reporting.metrics,
    profile: options.profile,
    ...(options.ownRuns === undefined ? {} : { reservedFor: serverId }),
    status: () => ({
      serverId,
      role: config.role,
      listening: config.listen,
      draining: stopping.signal.aborted,
      silentMs: pulse.silentMs,
      workersBusy: workers.busy,
      workers: workers.size,
    }),
  });
  return {
    app,
    async stop(closePort) {
      stopping.abort();
      pulse.stop();
      await Promise.all(endings.map((end) => end()));
      await Promise.all([loop.stop(drainMs), helping?.stop()]);
      await closePort?.();
      workers.stop();
      await spool.close();
      await reporting.close();
      await tail?.close();
      await Promise.all([database, probe].map((each) => each.close({ timeoutSeconds: 1 })));
    },
  };
}
