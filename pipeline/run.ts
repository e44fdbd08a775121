import type { Sql } from "../store/database.ts";
import {
  createManifest,
  cursorPosition,
  destinationHasRows,
  dropManifests,
  finishRun,
  giveBackRun,
  type Outcome,
  planChunks,
  reportProgress,
  type RunRow,
  startRun,
  storeDryRunCounts,
} from "../store/runs.ts";
import { withRetry } from "../store/retry.ts";
import type { Log } from "../telemetry/log.ts";
import { manifestTable } from "./manifest.ts";
import { type Params, paramsSchema } from "./params.ts";
import { MAX_QUARANTINE, tooManyRejected } from "./prepare.ts";
import { Problem } from "./problem.ts";
import { runProblem } from "./run_problem.ts";
import { sourceNameOf } from "./sources/defaults.ts";
import type { Plain, Slice, SourceLimits } from "./sources/source.ts";
import { runDir, type SpillMeta } from "./spill/layout.ts";
import { StageTracker } from "./stage_tracker.ts";
import type { WorkerPool } from "./workers/pool.ts";
import type { ChunkDecision, RunContext } from "./workers/task.ts";

/** What a run needs of its server. */
export interface RunDeps {
  sql: Sql;
  workers: WorkerPool;
  log: Log;
  serverId: string;
  settings: RunSettings;
  /** Aborted when the server stops: runs are given back. */
  stopping: AbortSignal;
  /** Tells of cancel requests; answers a function that ends the watch. */
  onCancel(runId: string, cancel: () => void): () => void;
}

export interface RunSettings {
  /** ETL_RUN_MAX_ATTEMPTS */
  maxAttempts: number;
  spoolDir: string;
  dataDir: string;
  transformsDir: string;
  connections: Record<string, string>;
  limits: SourceLimits;
}

const PROGRESS_INTERVAL_MS = 500;
/** A cancelled run whose tasks have not ended by then loses its workers. */
const CANCEL_DEADLINE_MS = 1500;
/** A stopping server waits so long for chunks in hand. */
const DRAIN_DEADLINE_MS = 8000;

/** How an execution ended: `given back` leaves the run queued for another attempt. */
export type Execution = "nothing to do" | "ended" | "given back" | "replaced";

/**
 * Executes a run that was admitted: its stages in order, from wherever an
 * earlier attempt stopped. Ends it in the database, or gives it back when the
 * server stops or the trouble is transient.
 */
export async function executeRun(runId: string, deps: RunDeps): Promise<Execution> {
  const { serverId, settings } = deps;
  const run = await startRun(deps.sql, runId, { serverId, maxAttempts: settings.maxAttempts });
  if (run === null) return "nothing to do";
  return await new RunExecution(run, deps).execute();
}

class RunExecution {
  readonly #run: RunRow;
  readonly #deps: RunDeps;
  readonly #log: Log;
  readonly #tracker: StageTracker;
  /** Aborted when the run must stop: cancelled, replaced, or its server stops. */
  readonly #stop = new AbortController();
  #why: "cancelled" | "replaced" | "server stops" | null = null;
  #progressTimer: ReturnType<typeof setTimeout> | undefined;
  #context!: RunContext;

  constructor(run: RunRow, deps: RunDeps) {
    this.#run = run;
    this.#deps = deps;
    this.#log = deps.log.with({ run_id: run.run_id, attempt: run.attempt });
    this.#tracker = new StageTracker(run.attempt);
  }

  async execute(): Promise<Execution> {
    const { workers, stopping } = this.#deps;
    const runId = this.#run.run_id;
    this.#log.info("run started", { run_label: this.#run.run_label });
    const onStopping = () => this.#halt("server stops");
    stopping.addEventListener("abort", onStopping);
    const unwatch = this.#deps.onCancel(runId, () => this.#halt("cancelled"));
    this.#scheduleProgress();
    try {
      if (this.#run.cancel_requested_at !== null) this.#halt("cancelled");
      if (stopping.aborted) this.#halt("server stops");
      this.#context = await this.#makeContext();
      workers.open(this.#context);
      const outcome = await this.#stages();
      this.#stop.signal.throwIfAborted();
      return await this.#finish(outcome);
    } catch (error) {
      return await this.#fail(error);
    } finally {
      clearTimeout(this.#progressTimer);
      stopping.removeEventListener("abort", onStopping);
      unwatch();
      workers.close(runId);
    }
  }

  async #makeContext(): Promise<RunContext> {
    const { settings, sql } = this.#deps;
    const run = this.#run;
    const params = this.#params();
    const { source } = params;
    const sourceName = sourceNameOf(source, run.run_label);
    const given = (name: string) => ["request", "configuration"].includes(run.origins[name] ?? "");
    const position =
      source.type === "postgres" && source.cursor !== undefined && !params.full_refresh
        ? await cursorPosition(sql, sourceName, `${run.schema_name}.${run.table_name}`)
        : null;
    const generated = source.type === "synthetic" || source.type === "inline";
    return {
      runId: run.run_id,
      attempt: run.attempt,
      replayOf: run.replay_of,
      params,
      sourceName,
      chunkSize: generated || run.origins.chunk_size !== "default" ? params.chunk_size : null,
      maxRecords: source.type === "synthetic" || given("batch_size") ? params.batch_size : null,
      pin: run.pin,
      cursorPosition: position,
      spillDir: runDir(settings.spoolDir, run.run_id),
      dataDir: settings.dataDir,
      transformsDir: settings.transformsDir,
      connections: settings.connections,
      limits: settings.limits,
      suite: null,
      traceparent: run.traceparent,
    };
  }

  /** The parameters as SQL resolved them; what only this schema can check fails the run here. */
  #params(): Params {
    const parsed = paramsSchema.safeParse(this.#run.params);
    if (parsed.success) return parsed.data;
    throw new Problem("invalid-conf", {
      detail: `The parameters of the run are not valid: ${
        parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ")
      }`,
      errors: parsed.error.issues.map((issue) => ({
        field: issue.path.join("."),
        message: issue.message,
      })),
    });
  }

  async #stages(): Promise<Omit<Outcome, "stages">> {
    const { sql } = this.#deps;
    const context = this.#context;
    const chunks = await this.#plan();
    const compare = chunks.length > 0 && await destinationHasRows(
      sql,
      context.params.schema_name,
      context.params.table_name,
    );
    if (compare) await createManifest(sql, context.runId, manifestTable(context));
    const metas = await this.#prepare(chunks, compare);
    this.#tracker.begin("load");
    const decisions = await this.#resolve(metas, compare);
    if (context.params.dry_run) {
      await storeDryRunCounts(sql, context.runId, decisions);
      for (const { inserts, updates, events } of decisions) {
        this.#tracker.add("load", { in: events, out: inserts + updates });
      }
    } else {
      const published = new Set(
        chunks.filter((c) => c.state === "published").map((c) => c.chunkNo),
      );
      await this.#publish(decisions.filter((decision) => !published.has(decision.chunkNo)));
    }
    this.#tracker.end("load");
    this.#tracker.begin("finalize");
    return { state: "succeeded", ...this.#cursor(metas) };
  }

  async #plan(): Promise<{ chunkNo: number; slice: Slice; state: SpillMetaState }[]> {
    const { sql, workers } = this.#deps;
    const started = performance.now();
    this.#tracker.begin("extract");
    const plan = await workers.submit(this.#run.run_id, "plan", {});
    const stored = await planChunks(sql, this.#run, plan);
    if (stored.length !== plan.slices.length) {
      if (stored.length === 0 && plan.slices.length > 0) this.#halt("replaced");
      this.#stop.signal.throwIfAborted();
      throw new Problem("source-changed", {
        detail:
          `The input gives ${plan.slices.length} chunks now and gave ${stored.length} when the run first read it. Ask for a new run.`,
      });
    }
    // the pin is part of what identifies a spill, so workers must know it from here on
    this.#context = { ...this.#context, pin: this.#context.pin ?? plan.pin };
    workers.close(this.#run.run_id);
    workers.open(this.#context);
    this.#tracker.add("extract", { busyMs: performance.now() - started });
    return plan.slices.map((slice, i) => ({ chunkNo: i, slice, state: stored[i]!.state }));
  }

  async #prepare(
    chunks: { chunkNo: number; slice: Slice; state: SpillMetaState }[],
    compare: boolean,
  ): Promise<SpillMeta[]> {
    const tracker = this.#tracker;
    const metas: SpillMeta[] = [];
    let rejected = 0;
    tracker.begin("transform", "chunk", "validate", "ge_validate");
    await this.#each(chunks, async ({ chunkNo, slice, state }) => {
      const { meta } = await this.#deps.workers.submit(this.#run.run_id, "prepare", {
        chunkNo,
        slice,
        state,
        compare,
      });
      metas[chunkNo] = meta;
      const { counts, stageMs } = meta;
      const readable = counts.records_read - counts.filtered + counts.extra;
      tracker.add("extract", { busyMs: stageMs.extract ?? 0, out: counts.records_read });
      tracker.add("transform", {
        busyMs: stageMs.transform ?? 0,
        in: counts.records_read,
        out: readable,
      });
      tracker.add("validate", { busyMs: stageMs.validate ?? 0, in: readable, out: counts.events });
      tracker.add("ge_validate", {
        busyMs: stageMs.ge_validate ?? 0,
        in: counts.events,
        out: counts.events,
      });
      tracker.add("chunk", { busyMs: stageMs.chunk ?? 0, in: counts.events, out: counts.events });
      rejected += counts.rejected;
      if (rejected > MAX_QUARANTINE) {
        throw tooManyRejected(`More than ${MAX_QUARANTINE} records were rejected`, undefined);
      }
    });
    this.#refuseHopeless(metas);
    tracker.end("extract", "transform", "chunk", "validate", "ge_validate");
    return metas;
  }

  /** A run whose first 1,000 records are all rejected has a wrong mapping. */
  #refuseHopeless(metas: SpillMeta[]): void {
    let read = 0;
    for (const { counts } of metas) {
      if (counts.events > 0 || counts.filtered > 0) return;
      read += counts.records_read;
      if (read >= 1000) {
        throw tooManyRejected(`The first ${read} records were all rejected`, undefined);
      }
    }
  }

  async #resolve(metas: SpillMeta[], compare: boolean): Promise<ChunkDecision[]> {
    const started = performance.now();
    const { decisions } = await this.#deps.workers.submit(this.#run.run_id, "resolve", {
      chunks: metas.map(({ chunkNo, events }) => ({ chunkNo, events })),
      compare,
    });
    this.#tracker.add("load", { busyMs: performance.now() - started });
    return decisions;
  }

  async #publish(decisions: ChunkDecision[]): Promise<void> {
    await this.#each(decisions, async (decision) => {
      const result = await this.#deps.workers.submit(this.#run.run_id, "publish", { decision });
      this.#tracker.add("load", {
        busyMs: result.elapsedMs,
        in: decision.events,
        out: result.inserted + result.updated,
      });
    });
  }

  #cursor(metas: SpillMeta[]): Pick<Outcome, "cursor" | "warnings"> {
    const { params, pin, sourceName } = this.#context;
    const { source } = params;
    if (source.type !== "postgres" || source.cursor === undefined || params.dry_run) return {};
    const nulls = metas.reduce((sum, meta) => sum + meta.counts.cursor_nulls, 0);
    const warnings = nulls === 0 ? [] : [
      `${nulls} records have no value in the cursor column ${source.cursor}; later runs will not see changes of theirs`,
    ];
    const position = (pin as Plain | null)?.cursor_upper;
    if (typeof position !== "string") return { warnings };
    const dataset = `${params.schema_name}.${params.table_name}`;
    return { warnings, cursor: { source_name: sourceName, dataset, position } };
  }

  /**
   * Runs a task for each item, as many at once as there are workers and one more
   * waiting for each, and stops at the first failure.
   */
  async #each<T>(items: T[], task: (item: T) => Promise<void>): Promise<void> {
    let next = 0;
    let failed = false;
    const lane = async () => {
      while (next < items.length && !failed) {
        this.#stop.signal.throwIfAborted();
        try {
          await task(items[next++]!);
        } catch (error) {
          failed = true;
          throw error;
        }
      }
    };
    const lanes = Math.min(items.length, this.#deps.workers.size * 2);
    const results = await Promise.allSettled(Array.from({ length: lanes }, lane));
    this.#stop.signal.throwIfAborted();
    const errors = results.flatMap((r) => r.status === "rejected" ? [r.reason] : []);
    // what ends the run for good says more than what another attempt may mend
    const worst = errors.find((error) => !error?.transient) ?? errors[0];
    if (worst !== undefined) throw worst;
  }

  #halt(why: "cancelled" | "replaced" | "server stops"): void {
    if (this.#why !== null) return;
    this.#why = why;
    const { workers } = this.#deps;
    const runId = this.#run.run_id;
    this.#stop.abort(
      new Problem("cancelled", { status: 409, detail: `The run was stopped: ${why}.` }),
    );
    if (why === "server stops") {
      // chunks in hand are finished, waiting ones are not begun
      const timer = setTimeout(() => workers.abort(runId), DRAIN_DEADLINE_MS);
      Deno.unrefTimer(timer);
      return;
    }
    workers.abort(runId);
    const timer = setTimeout(() => {
      const killed = workers.kill(runId);
      if (killed > 0) this.#log.warn("workers did not stop in time and were replaced", { killed });
    }, CANCEL_DEADLINE_MS);
    Deno.unrefTimer(timer);
  }

  #scheduleProgress(): void {
    this.#progressTimer = setTimeout(async () => {
      try {
        const { sql } = this.#deps;
        const answer = await reportProgress(sql, this.#run, this.#tracker.snapshot());
        if (!answer.is_current) this.#halt("replaced");
        else if (answer.cancel_requested) this.#halt("cancelled");
      } catch (error) {
        this.#log.warn("progress could not be stored", { error });
      }
      if (this.#why === null) this.#scheduleProgress();
    }, PROGRESS_INTERVAL_MS);
  }

  async #finish(outcome: Omit<Outcome, "stages">): Promise<Execution> {
    const { sql } = this.#deps;
    const params = this.#context?.params;
    const policy = {
      attempts: params?.db_max_retries ?? 3,
      initialMs: params?.db_retry_initial_ms ?? 200,
    };
    if (outcome.state === "succeeded") this.#tracker.end("finalize");
    const ended = await withRetry(
      policy,
      () => finishRun(sql, this.#run, { ...outcome, stages: this.#tracker.snapshot() }),
    );
    if (ended !== null) {
      this.#log.info("run ended", {
        state: ended.state,
        total_rows: ended.total_rows,
        ratio: ended.ratio,
        duration_ms: ended.ended_at!.getTime() - ended.requested_at.getTime(),
      });
      await this.#cleanUp();
    }
    return "ended";
  }

  /** What the run leaves on disk and in schema etl is needed no more, unless it can be retried. */
  async #cleanUp(): Promise<void> {
    const { sql, settings } = this.#deps;
    try {
      await dropManifests(sql, this.#run.run_id);
      await Deno.remove(runDir(settings.spoolDir, this.#run.run_id), { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        this.#log.warn("leftovers of the run could not be removed now", { error });
      }
    }
  }

  async #fail(error: unknown): Promise<Execution> {
    const { sql } = this.#deps;
    if (this.#why === "replaced" || (error as { code?: string }).code === "FencedOut") {
      this.#log.warn("another attempt has taken over");
      return "replaced";
    }
    if (this.#why === "server stops") {
      await giveBackRun(sql, this.#run);
      return "given back";
    }
    if (this.#why === "cancelled") {
      const problem = new Problem("cancelled", { status: 409, detail: "The run was cancelled." });
      this.#tracker.stop("cancelled", null);
      return await this.#finish({ state: "cancelled", error: problem.toJSON() });
    }
    const problem = runProblem(error, this.#tracker.current);
    if (problem.type === "internal") this.#log.error("unexpected error", { error });
    if (problem.transient) {
      this.#log.warn("run given back", { error: problem.message });
      await withRetry(
        { attempts: 5, initialMs: 200 },
        () => giveBackRun(sql, this.#run, problem.toJSON()),
      );
      return "given back";
    }
    this.#log.warn("run failed", { error: problem.message, type: problem.type });
    this.#tracker.stop("failed", problem.toJSON());
    return await this.#finish({ state: "failed", error: problem.toJSON() });
  }
}

type SpillMetaState = "planned" | "prepared" | "published";
