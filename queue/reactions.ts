import { checkConsumers, type Consumer } from "../pipeline/consumers/consumer.ts";
import type { Sql } from "../store/database.ts";
import { registerConsumers } from "../store/deliveries.ts";
import type { ExportTarget } from "../store/exports.ts";
import {
  consumeRunEnd,
  publishReactionSettings,
  refreshViewsIfAsked,
  type RunEnd,
  viewRefreshAge,
} from "../store/reactions.ts";
import { delay } from "../store/retry.ts";
import type { Exporter, Sender } from "../telemetry/integration.ts";
import { EmailSender } from "../telemetry/integrations/email.ts";
import { MlflowClient, mlflowExporter } from "../telemetry/integrations/mlflow.ts";
import {
  databaseName,
  lineageExporter,
  LineageSender,
} from "../telemetry/integrations/openlineage.ts";
import { PagerDutySender } from "../telemetry/integrations/pagerduty.ts";
import { SlackSender } from "../telemetry/integrations/slack.ts";
import { TeamsSender } from "../telemetry/integrations/teams.ts";
import { CloudEventsSender } from "../telemetry/integrations/webhook.ts";
import type { Log } from "../telemetry/log.ts";
import type { RunEndObserver, TaskEnd, TaskObserver } from "../telemetry/observer.ts";
import type { TelemetrySettings } from "../telemetry/settings_schema.ts";
import { VERSION } from "../vocabulary/version.ts";
import { drainConsumer } from "./consumer_worker.ts";
import { drainChannel, drainExports } from "./outbox.ts";
import type { WorkLoop } from "./work_loop.ts";

interface ReactionDeps {
  loop: WorkLoop;
  /** Whether this process stays, so that its settings and channels are the installation's. */
  publishes: boolean;
  sql: Sql;
  /** One connection, for what makes temporary tables (store/database.ts). */
  single: Sql;
  dsn: string;
  log: Log;
  settings: TelemetrySettings;
  /** What links in messages begin with. */
  publicUrl: string;
  consumers: readonly Consumer[];
  /** What lineage needs to name inputs and outputs. */
  connections: Record<string, string>;
  httpConnections: Record<string, { url: string }>;
  dataDir: string;
  runEndObservers: RunEndObserver[];
  tasks: TaskObserver;
  /** Aborted when the server stops. */
  stopping: AbortSignal;
}

/** Starts everything that happens after runs: etl_consumer, consumers of datasets, messages. */
export async function startReactions(deps: ReactionDeps): Promise<void> {
  const { loop, sql, dsn, log, settings, consumers, tasks, stopping, publishes } = deps;
  checkConsumers(consumers);
  const senders = sendersOf(deps);
  if (publishes) {
    await publishReactionSettings(sql, {
      channels: Object.keys(senders),
      openlineage: settings.openLineage !== null,
      suppress_seconds: settings.suppressSeconds,
      maintenance_slack: settings.maintenanceSlack,
      trend_window: settings.trendWindow,
      ratio_drop: settings.ratioDrop,
      volume_drop: settings.volumeDrop,
      stale_after_seconds: settings.staleSeconds,
      log_lines: settings.runLogLines,
    });
  }
  await registerConsumers(
    sql,
    consumers.map(({ name, datasets, emits, mode, skipUnchanged, sha256 }) => ({
      name,
      datasets,
      emits,
      mode,
      skip_unchanged: skipUnchanged,
      ...(sha256 === undefined ? {} : { sha256 }),
    })),
  );

  const finished: FinishedDeps = {
    sql,
    single: deps.single,
    log,
    observers: deps.runEndObservers,
    signal: stopping,
    onTask: (task, end) => tasks.taskEnded("etl_consumer", task, end),
  };
  loop.on("run_ends", async () => {
    await consumeFinished(finished);
    return null;
  });
  loop.onLeased("refresh", () => refreshViews(finished));
  for (const [channel, sender] of Object.entries(senders)) {
    loop.onLeased(
      `channel ${channel}`,
      (lease) => drainChannel({ sql, channel, sender, log, lease }),
    );
  }
  for (const [target, exporter] of Object.entries(exportersOf(deps))) {
    loop.onLeased(
      `export ${target}`,
      (lease) => drainExports({ sql, target: target as ExportTarget, exporter, log, lease }),
    );
  }
  for (const consumer of consumers) {
    const onRun = (name: string, end: TaskEnd, itsTasks: Record<string, number>) => {
      for (const [task, elapsedMs] of Object.entries(itsTasks)) {
        tasks.taskEnded(name, task, { ok: true, startedAt: end.startedAt, elapsedMs });
      }
      tasks.taskEnded(name, "run", { ...end, wholeRun: true });
    };
    loop.onLeased(
      `consumer ${consumer.name}`,
      (lease) => drainConsumer(consumer, { sql, dsn, log, lease, onRun }),
    );
  }
}

function sendersOf({ settings, publicUrl }: ReactionDeps): Record<string, Sender> {
  const { slackWebhook, alertWebhook, email, teamsWebhook, pagerDuty } = settings;
  return {
    ...(slackWebhook === null ? {} : { slack: new SlackSender(slackWebhook, { publicUrl }) }),
    ...(alertWebhook === null ? {} : {
      webhook: new CloudEventsSender(alertWebhook.url, {
        source: publicUrl,
        token: alertWebhook.token,
      }),
    }),
    ...(email === null ? {} : { email: new EmailSender(email, { publicUrl }) }),
    ...(teamsWebhook === null ? {} : { teams: new TeamsSender(teamsWebhook, { publicUrl }) }),
    ...(pagerDuty === null ? {} : { pagerduty: new PagerDutySender(pagerDuty, { publicUrl }) }),
  };
}

function exportersOf(deps: ReactionDeps): Partial<Record<ExportTarget, Exporter>> {
  const { mlflow, openLineage } = deps.settings;
  return {
    mlflow: mlflowExporter(mlflow === null ? null : new MlflowClient(mlflow)),
    ...(openLineage === null ? {} : {
      openlineage: lineageExporter(new LineageSender(openLineage), {
        namespace: openLineage.namespace,
        destination: databaseName(deps.dsn),
        connections: Object.fromEntries(
          Object.entries(deps.connections).map(([name, dsn]) => [name, databaseName(dsn)]),
        ),
        httpConnections: deps.httpConnections,
        dataDir: deps.dataDir,
        version: VERSION,
      }),
    }),
  };
}

/** Between two refreshes of the views there is at least so long: fast runs share one. */
const REFRESH_INTERVAL_MS = 2_000;

/** A task of etl_consumer, as its log and StatsD name it. */
type ConsumerTask = "summarize" | "detect" | "refresh_mvs";

interface FinishedDeps {
  sql: Sql;
  single: Sql;
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
async function consumeFinished(deps: FinishedDeps): Promise<void> {
  while (!deps.signal.aborted) {
    const startedAt = new Date();
    const started = performance.now();
    const consumed = await consumeRunEnd(deps.sql);
    if (consumed === null) return;
    const { ended: end, more } = consumed;
    if ("failed" in end) {
      deps.log.warn("the end of a run could not be judged", {
        run_id: end.run_id,
        error: end.failed,
      });
      const elapsedMs = performance.now() - started;
      deps.onTask?.("summarize", { ok: false, startedAt, elapsedMs, wholeRun: true });
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
    if (!more) return;
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
async function refreshViews(deps: FinishedDeps): Promise<void> {
  const age = await viewRefreshAge(deps.sql);
  if (age !== null) await delay(Math.max(0, REFRESH_INTERVAL_MS - age), deps.signal);
  if (deps.signal.aborted) throw new Error("the server is stopping");
  const startedAt = new Date();
  const started = performance.now();
  let done: boolean;
  try {
    done = await refreshViewsIfAsked(deps.single);
  } catch (error) {
    const elapsedMs = performance.now() - started;
    deps.onTask?.("refresh_mvs", { ok: false, startedAt, elapsedMs });
    throw error;
  }
  const elapsedMs = performance.now() - started;
  if (!done) return;
  deps.onTask?.("refresh_mvs", { ok: true, startedAt, elapsedMs });
  deps.log.debug("daily views refreshed", { elapsed_ms: Math.round(elapsedMs) });
}
