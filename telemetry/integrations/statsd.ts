import { StatsD } from "hot-shots";
import type { RunRow } from "../../store/runs.ts";
import type {
  Maintained,
  RunEndObserver,
  RunObserver,
  TaskEnd,
  TaskObserver,
} from "../observer.ts";
import type { EndedStage, RunEnd } from "../../store/reactions.ts";
import type { TelemetrySettings } from "../settings_schema.ts";

/** The DAG whose tasks the stages of a run are. */
const DAG = "etl_improved";

/** What the original calls tasks of its consumer. */
const ORIGINAL_TASKS: Record<string, string> = {
  "etl_consumer.summarize": "summarize",
  "etl_consumer.refresh_mvs": "mv_refresh",
};

/** Airflow's words for the states of a task. */
const TASK_STATES: Partial<Record<EndedStage["state"], string>> = {
  succeeded: "success",
  failed: "failed",
  skipped: "upstream_failed",
  cancelled: "failed",
};

/**
 * Tells a StatsD server what Airflow would tell it of the same pipeline, so
 * that dashboards made for Airflow go on working, and beside it the names that
 * the original's own code sends. Timers are in ms. UDP: a server that is not there
 * is not noticed.
 */
export class StatsdReporter implements RunObserver, RunEndObserver, TaskObserver {
  readonly #client: StatsD;
  readonly #tags: boolean;

  constructor(settings: NonNullable<TelemetrySettings["statsd"]>) {
    this.#tags = settings.tags;
    this.#client = new StatsD({
      host: settings.host,
      port: settings.port,
      prefix: settings.prefix === "" ? "" : `${settings.prefix}.`,
      // several names in one packet
      maxBufferSize: 1400,
      bufferFlushInterval: 200,
      cacheDns: true,
      includeDataDogTags: settings.tags,
      datadog: false,
      errorHandler: () => {},
    });
  }

  stageStarted(run: RunRow, stage: string): void {
    this.#count(`ti.start.${DAG}.${stage}`, { task_id: stage, run_label: run.run_label });
    this.#count(`${DAG}.${stage}.start`, { run_label: run.run_label });
  }

  retried(_runId: string, { kind, attempt }: { kind: string; attempt: number }): void {
    if (kind === "publish") this.#count(`${DAG}.load.retry`, { attempt: String(attempt) });
  }

  attemptStarted(run: RunRow): void {
    if (run.attempt !== 1 || run.started_at === null) return;
    const delayMs = run.started_at.getTime() - run.requested_at.getTime();
    this.#time(`dagrun.schedule_delay.${DAG}`, delayMs, { run_label: run.run_label });
  }

  runEnded(
    { run, stages, expectations_failed: failed, dataset_event: datasetEvent }: RunEnd,
  ): void {
    const tags = { run_label: run.run_label };
    if (run.state !== "cancelled") {
      const outcome = run.state === "succeeded" ? "success" : "failed";
      const from = run.started_at ?? run.requested_at;
      this.#time(
        `dagrun.duration.${outcome}.${DAG}`,
        Date.parse(run.ended_at) - Date.parse(from),
        tags,
      );
    }
    for (const { stage, state, started_at: from, ended_at: to } of stages) {
      const word = TASK_STATES[state];
      if (word === undefined) continue;
      if (state === "succeeded") this.#count(`${DAG}.${stage}.success`, tags);
      if (state === "failed") this.#count(`${DAG}.task_failure`, { task: stage, ...tags });
      if (from !== null && to !== null) {
        this.#time(`${DAG}.${stage}.ms`, Date.parse(to) - Date.parse(from), tags);
      }
      this.#taskEnded(DAG, stage, {
        word,
        ms: from === null || to === null ? null : Date.parse(to) - Date.parse(from),
        tags,
      });
    }
    if (run.dry_run && run.state === "succeeded") {
      this.#count(`${DAG}.load.dry_run`, { rows: String(run.total_rows ?? 0), ...tags });
    }
    if (failed === null) this.#count(`${DAG}.ge_validate.skipped`, tags);
    else if (failed > 0) this.#count(`${DAG}.ge_validate.fail`, tags);
    if (datasetEvent) {
      this.#count("dataset.updates", tags);
      this.#count("dataset.triggered_dagruns", tags);
    }
  }

  /** A task of etl_consumer, etl_downstream_example, etl_maintenance or another consumer has ended. */
  taskEnded(dag: string, task: string, end: TaskEnd): void {
    this.#count(`ti.start.${dag}.${task}`, { task_id: task }, dag);
    const word = end.ok ? "success" : "failed";
    this.#taskEnded(dag, task, { word, ms: end.elapsedMs, tags: {} });
    const original = ORIGINAL_TASKS[`${dag}.${task}`];
    if (original !== undefined) {
      this.#count(`${dag}.${original}.${end.ok ? "success" : "failure"}`, {}, dag);
      if (original === "summarize") {
        this.#time(`${dag}.${original}.duration_ms`, end.elapsedMs, {}, dag);
      }
    }
    if (end.wholeRun) this.dagEnded(dag, end);
  }

  /** All tasks of a DAG outside of runs have ended. */
  dagEnded(dag: string, { ok, elapsedMs }: Pick<TaskEnd, "ok" | "elapsedMs">): void {
    this.#time(`dagrun.duration.${ok ? "success" : "failed"}.${dag}`, elapsedMs, {}, dag);
  }

  /** What an etl_maintenance that has ended did. */
  maintained({ deleted, retentionDays, refreshed, vacuumed }: Maintained): void {
    const dag = "etl_maintenance";
    const gauge = (name: string, value: number) =>
      this.#client.gauge(`${dag}.${name}`, value, this.#tagsOf({ dag_id: dag }));
    for (const [kind, rows] of Object.entries(deleted)) {
      this.#client.increment(`${dag}.${kind}_deleted`, rows, this.#tagsOf({ dag_id: dag }));
    }
    for (const [kind, days] of Object.entries(retentionDays)) gauge(`${kind}_retention_days`, days);
    gauge("mvs_refreshed", refreshed);
    gauge("vacuum_completed", vacuumed.failed === 0 ? 1 : 0);
    gauge("vacuum_tables_count", vacuumed.tables);
    gauge("vacuum_failed_count", vacuumed.failed);
  }

  slaMissed(): void {
    this.#count("sla_missed", {});
  }

  poolSlots(pool: string, open: number): void {
    this.#client.gauge(`pool.open_slots.${safe(pool)}`, open, this.#tagsOf({ pool }));
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#client.close(() => resolve()));
  }

  #taskEnded(
    dag: string,
    task: string,
    { word, ms, tags }: { word: string; ms: number | null; tags: Record<string, string> },
  ): void {
    const all = { ...tags, task_id: task };
    this.#count(`ti.finish.${dag}.${task}.${word}`, all, dag);
    if (ms !== null) this.#time(`dag.${dag}.${task}.duration`, ms, all, dag);
    if (word === "success") this.#count("ti_successes", all, dag);
    if (word === "failed") this.#count("ti_failures", all, dag);
  }

  #count(name: string, tags: Record<string, string>, dag = DAG): void {
    this.#client.increment(name, 1, this.#tagsOf({ dag_id: dag, ...tags }));
  }

  #time(name: string, ms: number, tags: Record<string, string>, dag = DAG): void {
    this.#client.timing(name, Math.max(0, ms), this.#tagsOf({ dag_id: dag, ...tags }));
  }

  #tagsOf(tags: Record<string, string>): Record<string, string> | undefined {
    return this.#tags ? tags : undefined;
  }
}

/** A pool's name as a part of a StatsD name. */
const safe = (name: string) => name.replaceAll(/[^A-Za-z0-9_-]/g, "_");
