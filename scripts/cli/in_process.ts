import { join } from "node:path";
import { type Config, readConfig } from "../../server/config.ts";
import { secretsOf } from "../../server/secrets.ts";
import { startServices } from "../../server/server.ts";
import { databasePlace, parseDsn } from "../../store/dsn.ts";
import { isTransient } from "../../store/errors.ts";
import { connect } from "../../store/pg.ts";
import { createLog, type Level, LogTail } from "../../telemetry/log.ts";
import { Problem, TerminalProblem } from "../../vocabulary/problem.ts";
import type { Cluster } from "../postgres/cluster.ts";
import { startEmbeddedPostgres } from "../postgres/embedded.ts";
import { setupDatabase } from "../setup_db.ts";
import { type Api, clientHeaders } from "./api.ts";

export interface InProcessOptions {
  /** Whether the process ends with the command; then its files are of its account alone. Default false. */
  ownProcess?: boolean;
  projectDir: string;
  env: Record<string, string>;
  /** Whether runs are executed; else only looked at. */
  executes: boolean;
  /** Whether ETL_DATA_DIR is of this command alone, so that runs of others would not find their files. Default false. */
  ownDataDir?: boolean;
  logLevel: Level;
  /** Told each line of the log. */
  onLog: (line: string) => void;
  /** Told what a user should know of where the command works. */
  onNotice: (line: string) => void;
  /** Told what takes a while. */
  onStep: (step: string) => void;
  /** Aborted when starting should be given up. */
  signal: AbortSignal;
}

/** A stopping process waits so long for chunks in hand. */
const DRAIN_MS = 12_000;

/**
 * Starts in this process what a server has, except its port: the embedded
 * PostgreSQL unless KPIS_PG_DSN names another, the schema if it is missing, and
 * the queue if runs are to be executed. Requests go to the same application.
 */
export async function startInProcess(options: InProcessOptions): Promise<Api> {
  const { projectDir, onStep, signal } = options;
  const env = { ...options.env };
  env.ETL_DATA_DIR ||= join(projectDir, "data");
  env.ETL_SPOOL_DIR ||= join(projectDir, ".data", "spool");
  env.ETL_SUITES_DIR ||= join(projectDir, "suites");
  env.ETL_SOURCES_DIR ||= join(projectDir, "sources");
  env.ETL_TRANSFORMS_DIR ||= join(projectDir, "pipeline", "transforms");
  const configOf = (dsn: string) =>
    readConfig({ ...env, KPIS_PG_DSN: dsn, ETL_ROLE: "all" }, navigator.hardwareConcurrency);
  // says what is wrong before anything is started
  configOf(env.KPIS_PG_DSN || "postgres://embedded");
  for (const dir of [env.ETL_DATA_DIR, env.ETL_SPOOL_DIR]) {
    await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
  }
  let postgres: Cluster | undefined;
  try {
    if (!env.KPIS_PG_DSN) {
      await tellEmbedded(options);
      onStep("starting PostgreSQL");
      postgres = await startEmbeddedPostgres({
        ...(env.ETL_EMBEDDED_PG_DIR ? { dataDir: env.ETL_EMBEDDED_PG_DIR } : {}),
      });
      signal.throwIfAborted();
    }
    const config = configOf(env.KPIS_PG_DSN || postgres!.dsn);
    // the embedded database is this clone's own, so an older schema in it is brought up to date
    if (postgres?.origin !== "joined" && (postgres !== undefined || await lacksSchema(config))) {
      onStep("setting up the database");
      await setupDatabase(config.dsn);
      signal.throwIfAborted();
    }
    onStep(options.executes ? "starting workers" : "connecting");
    // what runs log is kept with them, as a server does, whatever is shown here
    const tail = new LogTail();
    // what it writes holds data
    if (options.ownProcess) Deno.umask(0o077);
    // an embedded database that nobody else uses is this command's own
    const publishes = postgres !== undefined && postgres.origin !== "joined";
    const unused = [
      ...Object.keys(config.params).map((name) => `ETL_IMPROVED__${name.toUpperCase()}`),
      ...Object.keys(config.maintenance).map((name) => `ETL_MAINTENANCE__${name.toUpperCase()}`),
    ];
    if (!publishes && options.executes && unused.length > 0) {
      options.onLog(
        `warning: ${
          unused.join(", ")
        }: such variables are those of the servers, and this command leaves theirs ` +
          "alone. Give them as options",
      );
    }
    const services = await startServices(config, {
      log: createLog({
        level: config.logLevel,
        writeLevel: options.logLevel,
        format: config.logFormat,
        write: options.onLog,
        secrets: secretsOf(config),
        onEntry: (entry) => tail.add(entry),
      }),
      tail,
      queue: options.executes,
      ...(options.executes ? { ownRuns: options.ownDataDir ? "only" : "reserved" } : {}),
      // of a process that ends with the command
      jobs: false,
      publishes,
      trusted: true,
      drainMs: DRAIN_MS,
      // nobody else waits here, and Ctrl-C ends it
      profile: { records: null, maxRecords: null, timeoutMs: Infinity },
    });
    return {
      inProcess: true,
      async fetch(path, init = {}) {
        signal.throwIfAborted();
        const headers = clientHeaders(init);
        headers.set("host", "localhost");
        const url = new URL(path, "http://localhost");
        return await services.app.fetch(new Request(url, { ...init, headers }));
      },
      async close() {
        await services.stop();
        await postgres?.stop();
      },
    };
  } catch (error) {
    await postgres?.stop();
    signal.throwIfAborted();
    throw env.KPIS_PG_DSN ? databaseProblem(error, env.KPIS_PG_DSN) : error;
  }
}

/** Where servers listen unless they are told otherwise. */
const USUAL_ADDRESS = "http://127.0.0.1:8080";

/**
 * Says that the command works on the embedded database, which a server that
 * runs beside it may not do.
 */
async function tellEmbedded({ env, onNotice }: InProcessOptions): Promise<void> {
  onNotice("Using the embedded database: neither KPIS_PG_DSN nor ETL_SERVER is set.");
  const port = env.ETL_PORT || undefined;
  const address = port === undefined ? USUAL_ADDRESS : `http://127.0.0.1:${port}`;
  try {
    const answer = await fetch(`${address}/livez`, { signal: AbortSignal.timeout(300) });
    await answer.body?.cancel();
    if (!answer.ok) return;
  } catch {
    return;
  }
  onNotice(
    `A server answers at ${address} and may have another database: ETL_SERVER=${address} asks it.`,
  );
}

/** What the driver says about a database that cannot be used, with where to look. */
function databaseProblem(error: unknown, dsn: string): unknown {
  const { code, message } = error as { code?: string; message?: string };
  const cannotConnect = isTransient(error) || code === "ENOTFOUND" || /^(28|3D)/.test(code ?? "");
  if (error instanceof Problem || !cannotConnect) return error;
  return new TerminalProblem("unavailable", {
    detail: `The database ${databasePlace(dsn)}/${parseDsn(dsn).database ?? ""} cannot be used ` +
      `(${message || code}). Check KPIS_PG_DSN, or unset it to use the embedded PostgreSQL.`,
    cause: error,
  });
}

async function lacksSchema(config: Config): Promise<boolean> {
  const client = await connect(config.dsn);
  try {
    const { rows } = await client.query<{ missing: boolean }>(
      "select to_regclass('etl.param_schema') is null as missing",
    );
    return rows[0]!.missing;
  } finally {
    await client.end();
  }
}
