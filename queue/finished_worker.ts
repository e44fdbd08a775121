import type { Sql } from "../store/database.ts";
import { consumeRunEnd, refreshViewsIfAsked, viewRefreshAge } from "../store/reactions.ts";
import { delay } from "../store/retry.ts";
import type { Log } from "../telemetry/log.ts";
import type { RunEnd } from "../store/run_end.ts";
import type { RunEndObserver, TaskEnd } from "../telemetry/observer.ts";

/** Between two refreshes of the views there is at least so long: fast runs share one. */
const REFRESH_INTERVAL_MS = 2_000;

/** A task of etl_consumer, as its log and StatsD name it. */
export type ConsumerTask = "summarize" | "detect" | "refresh_mvs";

export interface FinishedDeps {
  sql: Sql;
  log: Log;
  observers: RunEndObserver[];
  signal: AbortSignal;
  /** Told each task of etl_consumer. */
  onTask?: (task: ConsumerTask, end: TaskEnd) => void;
}

/**
 * etl_consumer, first half: judges the runs that have ended (one transaction, once
 * for each end) and tells what it found. The second half, refreshing the views,
 * is asked for in that transaction.
 */
export async function consumeFinished(deps: FinishedDeps): Promise<void> {
  while (!deps.signal.aborted) {
    const startedAt = new Date();
    const started = performance.now();
    const end = await consumeRunEnd(deps.sql);
    if (end === null) return;
    if ("failed" in end) {
      deps.log.warn("the end of a run could not be judged", {
        run_id: end.run_id,
        error: end.failed,
      });
      continue;
    }
    deps.onTask?.("detect", { ok: true, startedAt, elapsedMs: performance.now() - started });
    for (const observer of deps.observers) {
      try {
        observer.runEnded(end);
      } catch (error) {
        deps.log.warn("telemetry of a run failed", { run_id: end.run.run_id, error });
      }
    }
    summarize(end, deps.log);
    const elapsedMs = performance.now() - started;
    deps.onTask?.("summarize", { ok: true, startedAt, elapsedMs, wholeRun: true });
  }
}

function summarize({ run, alerts, stages }: RunEnd, log: Log): void {
  const slowest = [...stages].sort((a, b) => b.busy_ms - a.busy_ms)[0];
  log.info("run summary", {
    run_id: run.run_id,
    run_label: run.run_label,
    state: run.state,
    total_rows: run.total_rows,
    expected_rows: run.expected_rows,
    ratio: run.ratio,
    ...run.counts,
    seconds: (Date.parse(run.ended_at) - Date.parse(run.requested_at)) / 1000,
    slowest_stage: slowest?.stage ?? null,
    alerts: alerts.map((alert) => alert.kind),
  });
  for (const { kind, message, suppressed } of alerts) {
    log.warn("alert", { run_id: run.run_id, kind, message, suppressed });
  }
}

/** etl_consumer, second half: refreshes the views, unless that has happened since it was asked for. */
export async function refreshViews(deps: FinishedDeps): Promise<void> {
  const age = await viewRefreshAge(deps.sql);
  if (age !== null) await delay(Math.max(0, REFRESH_INTERVAL_MS - age), deps.signal);
  if (deps.signal.aborted) throw new Error("the server is stopping");
  const startedAt = new Date();
  const started = performance.now();
  const done = await refreshViewsIfAsked(deps.sql);
  const elapsedMs = performance.now() - started;
  if (!done) return;
  deps.onTask?.("refresh_mvs", { ok: true, startedAt, elapsedMs });
  deps.log.debug("daily views refreshed", { elapsed_ms: Math.round(elapsedMs) });
}
