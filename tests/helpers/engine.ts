import type { OpenAPIHono } from "@hono/zod-openapi";
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Config, readConfig } from "../../server/config.ts";
import { executeRun, type RunDeps } from "../../pipeline/run.ts";
import type { Execution } from "../../pipeline/run_outcome.ts";
import { workerPermissions } from "../../pipeline/workers/permissions.ts";
import { logModuleLines, WorkerPool } from "../../pipeline/workers/pool.ts";
import { RunWatch } from "../../queue/run_watch.ts";
import { workOnRequests, workOnRuns } from "../../queue/kinds_of_work.ts";
import { WorkLoop } from "../../queue/work_loop.ts";
import { Database, type Sql } from "../../store/database.ts";
import type { RunDetail } from "../../vocabulary/run_schema.ts";
import { runDetail } from "../../store/run_views.ts";
import type { Submitted } from "../../vocabulary/run_schema.ts";
import { acceptRun, admitRuns, startRun, type SubmitOptions, submitRun } from "../../store/runs.ts";
import { createLog } from "../../telemetry/log.ts";
import { deadline } from "../../routes/shared/lookups.ts";
import { keptWorker, workersGivenBack } from "./kept_workers.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { asServer, prepareAsTold, serverRole } from "./server_role.ts";

export interface EngineOptions {
  /** Environment of the server, besides the database and directories. */
  env?: Record<string, string>;
  /** Web Workers; default 2. */
  workers?: number;
  /** Whether runs are executed by the queue as soon as they are asked for; default false. */
  queue?: boolean;
  /** Connection string that the engine uses instead of the test database's own. */
  dsn?: (dsn: string) => string;
  /** Transform modules by name: the text of each file. */
  transforms?: Record<string, string>;
  /** Source modules by name: the text of each file. */
  sources?: Record<string, string>;
  /** Files below the data directory. */
  files?: Record<string, string | Uint8Array>;
  /** A database to use; it outlives the engine. */
  database?: TestDatabase;
}

/** A row of a destination table, as tests compare them. */
export interface EventRow {
  event_id: string;
  event_type: string;
  occurred_at: string | null;
  source: string;
  version: string | null;
  payload: unknown;
  fingerprint: string;
  run_id: string;
}

/**
 * The engine in this process on a database of its own:
 *
 *     await using engine = await startEngine(t);
 *     const run = await engine.runToEnd({ batch_size: 10 });
 */
export class Engine implements AsyncDisposable {
  readonly db: TestDatabase;
  readonly config: Config;
  /** For the test's own statements; the engine has its own connections. */
  readonly sql: Sql;
  readonly deps: RunDeps;
  /** Directory of file sources. */
  readonly dataDir: string;
  /** What the engine logged, a line an entry. */
  readonly log: string[];
  readonly #close: (() => unknown)[];
  readonly #attempts: Set<Promise<unknown>>;
  readonly #makeApp: () => Promise<OpenAPIHono>;
  #app: Promise<OpenAPIHono> | undefined;

  constructor(
    parts: Pick<Engine, "db" | "config" | "sql" | "deps" | "log"> & {
      makeApp: () => Promise<OpenAPIHono>;
      attempts: Set<Promise<unknown>>;
    },
    close: (() => unknown)[],
  ) {
    this.db = parts.db;
    this.config = parts.config;
    this.sql = parts.sql;
    this.#makeApp = parts.makeApp;
    this.deps = parts.deps;
    this.dataDir = parts.config.dataDir;
    this.log = parts.log;
    this.#close = close;
    this.#attempts = parts.attempts;
  }

  /** Asks for a run without executing it (the queue does, where there is one). */
  async submit(conf: unknown, options: Partial<SubmitOptions> = {}): Promise<Submitted> {
    const submit = () =>
      submitRun(this.deps.sql, conf, { trigger: "test", requested_by: "test", ...options });
    try {
      return await submit();
    } catch (error) {
      if (serverRole() !== "minimal" || !await prepareAsTold(error, this.db.dsn)) throw error;
      return await submit();
    }
  }

  /** Executes one attempt of a run that was asked for; it stops with the engine, whatever the test waited for in vain. */
  execute(runId: string, more: Partial<RunDeps> = {}): Promise<Execution> {
    const own = this.deps.stopping;
    const stopping = more.stopping === undefined ? own : AbortSignal.any([own, more.stopping]);
    const attempt = this.#attempt(runId, { ...this.deps, ...more, stopping })
      .finally(() => this.#attempts.delete(attempt));
    this.#attempts.add(attempt);
    return attempt;
  }

  async #attempt(runId: string, deps: RunDeps): Promise<Execution> {
    const { maxAttempts } = deps.settings;
    const run = await startRun(deps.sql, runId, { serverId: deps.serverId, maxAttempts });
    return run === null ? "nothing to do" : await executeRun(run, deps);
  }

  /** Asks for a run and executes it until it has ended. */
  async runToEnd(conf: unknown, options: Partial<SubmitOptions> = {}): Promise<RunDetail> {
    const { run_id } = await this.submit(conf, options);
    return await this.toEnd(run_id);
  }

  /** Executes a run, again where it is given back, until it has ended. */
  async toEnd(runId: string): Promise<RunDetail> {
    for (let attempt = 0; attempt < 10; attempt++) {
      await this.afterPause();
      await this.execute(runId);
      const run = await this.run(runId);
      if (["queued", "running"].includes(run.state)) continue;
      await this.#admit();
      return run;
    }
    throw new Error(`run ${runId} does not end`);
  }

  /** Ends the pauses of runs that wait for the end of an outage, and admits what may go on. */
  async afterPause(): Promise<void> {
    await this.deps.sql`update etl.runs set next_attempt_at = '-infinity'
      where state = 'queued' and next_attempt_at > now()`;
    await this.#admit();
  }

  /** Lets waiting runs of one source go in any order, side by side: what publish holds does not rest on the queue's order. */
  async sideBySide(): Promise<void> {
    await this.deps.sql`update etl.runs set cursor_key = null where state = 'queued'`;
    await this.#admit();
  }

  /** Accepts requests and gives free slots to waiting runs, as every server does after a request and after an end. */
  async #admit(): Promise<void> {
    // those asked for in SQL have no destination yet
    while (await acceptRun(this.deps.sql));
    await admitRuns(this.deps.sql);
  }

  /** Like runToEnd; a run that does not succeed fails the test with its problem. */
  async succeed(conf: unknown, options: Partial<SubmitOptions> = {}): Promise<RunDetail> {
    const run = await this.runToEnd(conf, options);
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    return run;
  }

  async run(runId: string): Promise<RunDetail> {
    return (await runDetail(this.deps.sql, runId))!;
  }

  /** Loads records through the inline source, in chunks of `chunk_size` (default 3). */
  load(records: unknown[], options: { source?: object; [param: string]: unknown } = {}) {
    const { source, ...params } = options;
    return this.runToEnd({
      chunk_size: 3,
      ...params,
      source: { type: "inline", name: "test", key: "id", records, ...source },
    });
  }

  /** The rows of a destination, by event_id. */
  async rows(table = "public.etl_improved_events"): Promise<EventRow[]> {
    return await this.sql.unsafe<EventRow[]>(
      `select event_id, event_type, occurred_at::text, source, version::text, payload,
        encode(fingerprint, 'hex') as fingerprint, run_id
      from ${table} order by event_id collate "C"`,
    );
  }

  /** Payloads by event_id, as JSON text. */
  async payloads(table = "public.etl_improved_events"): Promise<Record<string, unknown>> {
    return Object.fromEntries((await this.rows(table)).map((row) => [row.event_id, row.payload]));
  }

  /** A request of a client on this machine. */
  async request(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (!headers.has("host")) headers.set("host", "localhost");
    this.#app ??= this.#makeApp();
    const app = await this.#app;
    const ask = () => app.request(`http://localhost${path}`, { ...init, headers });
    const response = await ask();
    if (serverRole() !== "minimal" || response.status !== 422) return response;
    const { detail } = await response.clone().json();
    return await prepareAsTold(new Error(detail), this.db.dsn) ? await ask() : response;
  }

  /** The routes of the application. */
  async routes(): Promise<{ method: string; path: string }[]> {
    this.#app ??= this.#makeApp();
    return (await this.#app).routes;
  }

  /** Sends JSON. */
  post(path: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<Response> {
    return this.request(path, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      headers: { "content-type": "application/json", ...headers },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#close) await close();
  }
}

const PROCESS = crypto.randomUUID().slice(0, 8);

/**
 * Directories that engines have now. One after the other has the same, so that their workers need the same
 * rights: they are passed on then, see `keptWorker`.
 */
const places = new Set<number>();

function freePlace(): number {
  let place = 1;
  while (places.has(place)) place++;
  places.add(place);
  return place;
}

/** Starts an engine on a database of its own. */
export async function startEngine(
  t: { name: string },
  options: EngineOptions = {},
): Promise<Engine> {
  const db = options.database ?? await testDatabase(t);
  const place = freePlace();
  const dir = join(tmpdir(), `etl_engine_${PROCESS}_${place}`);
  await Deno.mkdir(dir);
  await Deno.mkdir(`${dir}/data`);
  await Deno.mkdir(`${dir}/transforms`);
  await Deno.mkdir(`${dir}/spool`);
  for (const [name, text] of Object.entries(options.transforms ?? {})) {
    await Deno.writeTextFile(`${dir}/transforms/${name}.ts`, text);
  }
  await Deno.mkdir(`${dir}/sources`);
  for (const [name, text] of Object.entries(options.sources ?? {})) {
    await Deno.writeTextFile(`${dir}/sources/${name}.ts`, text);
  }
  for (const [name, content] of Object.entries(options.files ?? {})) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(`${dir}/data/${name}`, bytes);
  }
  const config = readConfig({
    KPIS_PG_DSN: asServer(options.dsn?.(db.dsn) ?? db.dsn),
    ETL_DATA_DIR: `${dir}/data`,
    ETL_SPOOL_DIR: `${dir}/spool`,
    ETL_TRANSFORMS_DIR: `${dir}/transforms`,
    ETL_SOURCES_DIR: `${dir}/sources`,
    // a limit would keep a timer for each caller
    ETL_TRIGGERS_PER_MINUTE: "0",
    ETL_SIGN_INS_PER_MINUTE: "0",
    ...options.env,
  }, options.workers ?? 2);
  const lines: string[] = [];
  const log = createLog({ level: "debug", format: "text", write: (line) => lines.push(line) });
  const database = new Database(config.dsn, { applicationName: "etl test" });
  const { sql } = database;
  const own = serverRole() === "superuser"
    ? database
    : new Database(db.dsn, { applicationName: "etl test", max: 3 });
  const watch = new RunWatch();
  await watch.listen(database);
  let started: WorkerPool | undefined;
  // with the first run that is executed: many tests execute none
  const workers = () =>
    started ??= new WorkerPool({
      size: config.workers,
      lazy: true,
      dsn: config.dsn,
      name: "etl test worker",
      keepPlans: config.preparedStatements,
      worker: keptWorker,
      permissions: workerPermissions({
        dsns: [config.dsn, ...Object.values(config.connections)],
        dataDir: config.dataDir,
        spoolDir: config.spoolDir,
        transformsDir: config.transformsDir,
        network: true,
        sourcesDir: config.sourcesDir,
      }),
      httpConnections: config.remotes.http,
      onRetry: (runId, retry) => log.warn("tried again", { run_id: runId, ...retry }),
      onLines: (runId, lines) => logModuleLines(log, runId, lines),
    });
  const stopping = new AbortController();
  const deps: RunDeps = {
    sql,
    get workers() {
      return workers();
    },
    log,
    serverId: "test",
    stopping: stopping.signal,
    settings: {
      maxAttempts: config.maxAttempts,
      spoolDir: config.spoolDir,
      bodiesDir: config.spoolDir,
      dataDir: config.dataDir,
      transformsDir: config.transformsDir,
      sourcesDir: config.sourcesDir,
      connections: config.connections,
      remotes: config.remotes,
      hashSecret: config.hashSecret,
      limits: {
        maxSpoolBytes: config.maxSpoolBytes,
        maxRecordBytes: config.maxRecordBytes,
        maxWorkerBytes: config.workerMemoryBytes,
        allowPrivateHosts: config.privateHosts,
      },
    },
    onCancel: (runId, cancel) => watch.watch(runId, (_state, asked) => asked && cancel()),
  };
  const loop = new WorkLoop({ sql, log, stopping: stopping.signal, database });
  if (options.queue) {
    workOnRequests(loop, sql);
    workOnRuns(loop, deps, { slots: config.runSlots, ownOnly: false });
    await loop.start();
  }
  // loaded when a test asks over HTTP: the others need none of it
  const makeApp = async () => {
    const { createApp } = await import("../../server/app.ts");
    const { accessOf } = await import("../../routes/access/access.ts");
    const { ServerMetrics } = await import("../../telemetry/integrations/prometheus.ts");
    const access = accessOf({ sql, config });
    await access.required();
    return createApp({
      access,
      sql,
      log,
      config,
      watch,
      metrics: new ServerMetrics(),
      status: () => ({
        serverId: "test",
        role: config.role,
        listening: true,
        draining: stopping.signal.aborted,
        silentMs: 0,
        workersBusy: started?.busy ?? 0,
        workers: config.workers,
      }),
    });
  };
  const attempts = new Set<Promise<unknown>>();
  return new Engine({ db, config, makeApp, attempts, sql: own.sql, deps, log: lines }, [
    () => stopping.abort(),
    () => loop.stop(5_000),
    // one that a test keeps from going on is ended with its worker
    () => deadline(Promise.allSettled(attempts), 5_000).catch(() => {}),
    () => started?.stop(),
    workersGivenBack,
    () => database.close({ timeoutSeconds: 1 }),
    () => own === database ? undefined : own.close({ timeoutSeconds: 1 }),
    () => options.database === undefined ? db[Symbol.asyncDispose]() : undefined,
    () => Deno.remove(dir, { recursive: true }),
    () => places.delete(place),
  ]);
}
