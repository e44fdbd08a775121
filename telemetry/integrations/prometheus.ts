import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { ALERT_KINDS } from "../../vocabulary/alert_kinds.ts";
import { END_STATES, OUTCOMES } from "../../vocabulary/words.ts";
import type { Scrape } from "../../store/metrics.ts";
import type { RunRow } from "../../store/runs.ts";
import type { RunEndObserver, RunObserver, TaskDone } from "../observer.ts";
import type { RunEnd } from "../../store/reactions.ts";

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200];

/** What this server has counted since it started. Sums over servers are those of the installation. */
export class ServerMetrics implements RunObserver, RunEndObserver {
  readonly #registry = new Registry();
  readonly #runs = this.#counter("etl_runs_total", "Runs that ended, by outcome.", ["state"]);
  readonly #rows = this.#counter("etl_rows_total", "Rows of ended runs, by outcome.", [
    "outcome",
  ]);
  readonly #retries = this.#counter(
    "etl_retries_total",
    "Database operations of runs that were tried again.",
    [],
  );
  readonly #attempts = this.#counter("etl_run_attempts_total", "Times that a run was started.", []);
  readonly #wait = this.#histogram(
    "etl_queue_wait_seconds",
    "Time from the request of a run to its first start.",
    [],
  );
  readonly #runSeconds = this.#histogram(
    "etl_run_duration_seconds",
    "Time from the request of a run to its end.",
    ["state"],
  );
  readonly #stageSeconds = this.#histogram(
    "etl_stage_duration_seconds",
    "Time from the first start of a stage to its last end.",
    ["stage"],
  );
  readonly #chunkSeconds = this.#histogram(
    "etl_chunk_duration_seconds",
    "Time that a worker spent on a chunk.",
    ["task"],
  );
  readonly #refused = this.#counter(
    "etl_auth_failures_total",
    "Requests refused by access control, by reason.",
    ["reason"],
  );
  readonly #http = this.#histogram(
    "etl_http_request_duration_seconds",
    "Time until an HTTP request was answered.",
    ["method", "route", "status"],
  );

  constructor() {
    // what has not happened yet is 0, not absent: rates over it work from the first time on
    for (const state of END_STATES) this.#runs.inc({ state }, 0);
    for (const outcome of OUTCOMES) {
      this.#rows.inc({ outcome }, 0);
    }
    for (const reason of ["missing", "token", "session", "sign_in", "role", "origin", "limited"]) {
      this.#refused.inc({ reason }, 0);
    }
    this.#gauge("process_start_time_seconds", "When this server started.")
      .set(Math.round((Date.now() - performance.now()) / 1000));
  }

  attemptStarted(run: RunRow): void {
    this.#attempts.inc();
    if (run.attempt === 1 && run.started_at !== null) {
      this.#wait.observe(Math.max(0, run.started_at.getTime() - run.requested_at.getTime()) / 1000);
    }
  }

  taskDone(_run: RunRow, task: TaskDone): void {
    if (task.chunkNo !== null) {
      this.#chunkSeconds.observe({ task: task.kind }, task.elapsedMs / 1000);
    }
  }

  retried(): void {
    this.#retries.inc();
  }

  runEnded({ run, stages }: RunEnd): void {
    const { state, counts } = run;
    this.#runs.inc({ state });
    this.#runSeconds.observe({ state }, seconds(run.requested_at, run.ended_at));
    if (!run.dry_run) {
      for (const outcome of OUTCOMES) {
        this.#rows.inc({ outcome }, counts?.[outcome] ?? 0);
      }
    }
    for (const { stage, started_at, ended_at } of stages) {
      if (started_at !== null && ended_at !== null) {
        this.#stageSeconds.observe({ stage }, seconds(started_at, ended_at));
      }
    }
  }

  refused(reason: string): void {
    this.#refused.inc({ reason });
  }

  /** `route` is the pattern, never the path: ids would make a series each. */
  httpAnswered(request: { method: string; route: string; status: number; ms: number }): void {
    const { method, route, status, ms } = request;
    this.#http.observe({ method, route, status: String(status) }, ms / 1000);
  }

  /** The exposition format, text/plain; version=0.0.4. Null: the database cannot be reached. */
  async text(
    scrape: Scrape | null,
    server: { workers: number; workersBusy: number },
  ): Promise<string> {
    const now = new Registry();
    const gauge = (name: string, help: string, labelNames: string[] = []) =>
      new Gauge({ name, help, labelNames, registers: [now] });
    gauge("etl_database_up", "1 when the database answered this scrape.")
      .set(scrape === null ? 0 : 1);
    gauge("etl_workers", "Workers of this server.").set(server.workers);
    gauge("etl_workers_busy", "Workers of this server that have a task.").set(server.workersBusy);
    gauge("process_resident_memory_bytes", "Memory of this server.").set(Deno.memoryUsage().rss);
    const counter = (name: string, help: string) => new Counter({ name, help, registers: [now] });
    if (scrape !== null) databaseMetrics(scrape, { gauge, counter });
    return `${await now.metrics()}\n${await this.#registry.metrics()}`;
  }

  #counter(name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  #gauge(name: string, help: string): Gauge {
    return new Gauge({ name, help, registers: [this.#registry] });
  }

  #histogram(name: string, help: string, labelNames: string[]): Histogram {
    return new Histogram({
      name,
      help,
      labelNames,
      buckets: SECONDS,
      registers: [this.#registry],
    });
  }
}

const seconds = (from: string, to: string) => Math.max(0, Date.parse(to) - Date.parse(from)) / 1000;

interface Make {
  gauge: (name: string, help: string, labelNames?: string[]) => Gauge;
  counter: (name: string, help: string) => Counter;
}

function databaseMetrics(scrape: Scrape, { gauge, counter }: Make): void {
  const { latest, daily, alerts, totals, pools, pending } = scrape;
  if (latest !== null) {
    const set = (name: string, help: string, value: number | null) => {
      // one that is not set is shown as 0
      if (value !== null) gauge(`etl_latest_${name}`, help).set(value);
    };
    set("total_rows", "Rows of the newest run with a ratio.", latest.total_rows);
    set("expected_rows", "Rows that were expected of it.", latest.expected_rows);
    set("ratio", "total_rows / expected_rows of it.", latest.ratio);
    set("num_chunks", "Chunks of it.", latest.num_chunks);
    set("run_age_seconds", "Seconds since it ended.", latest.age_seconds);
    set("dry_run", "1 when it was a dry run.", latest.dry_run ? 1 : 0);
  }
  const perDay = {
    runs: gauge("etl_daily_runs", "Runs of a day (UTC), the last 7 days.", ["day"]),
    total_rows: gauge("etl_daily_total_rows", "Rows of a day's runs.", ["day"]),
    ratio_avg: gauge("etl_daily_ratio_avg", "Mean ratio of a day's runs.", ["day"]),
    low_ratio_count: gauge("etl_daily_low_ratio_count", "Runs of a day with a low ratio.", ["day"]),
  };
  for (const { day, runs, total_rows, ratio_avg, low_ratio_count } of daily) {
    perDay.runs.set({ day }, runs);
    perDay.total_rows.set({ day }, total_rows ?? 0);
    perDay.ratio_avg.set({ day }, ratio_avg);
    perDay.low_ratio_count.set({ day }, low_ratio_count);
  }
  const alertGauge = gauge("etl_alerts_24h_count", "Alerts of the last 24 hours.", ["kind"]);
  // kinds are shown before they ever happened
  for (const kind of new Set([...Object.keys(ALERT_KINDS), ...Object.keys(alerts)])) {
    alertGauge.set({ kind }, alerts[kind] ?? 0);
  }
  counter("etl_total_runs_all_time", "Runs that ever ended.").inc(totals.runs);
  counter("etl_low_ratio_runs_all_time", "Runs that ever ended with a low ratio.")
    .inc(totals.low_ratio_runs);
  const average = gauge("etl_avg_ratio_all_time", "Mean ratio of all runs.");
  average.set(totals.ratio_avg ?? NaN);

  const slots = gauge("etl_pool_slots", "Runs that a pool lets run at once.", ["pool"]);
  const active = gauge("etl_pool_active_runs", "Runs that have a slot of a pool.", ["pool"]);
  const waiting = gauge("etl_queued_runs", "Runs that wait for a slot of a pool.", ["pool"]);
  for (const each of pools) {
    slots.set({ pool: each.pool }, each.slots);
    active.set({ pool: each.pool }, each.active);
    waiting.set({ pool: each.pool }, each.waiting);
  }
  gauge("etl_runnable_runs", "Runs that servers execute, or could if there were more of them.")
    .set(scrape.runnable_runs);
  const work = gauge("etl_pending_reactions", "Pending work after runs.", ["kind"]);
  for (const [kind, value] of Object.entries(pending)) work.set({ kind }, value);
  if (scrape.last_success !== null) {
    gauge("etl_last_success_timestamp_seconds", "When a run last succeeded, dry runs left out.")
      .set(scrape.last_success);
  }
  if (scrape.views_refreshed !== null) {
    gauge("etl_views_refreshed_timestamp_seconds", "When the daily views were last refreshed.")
      .set(scrape.views_refreshed);
  }
}
