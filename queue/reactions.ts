import { checkConsumers, type Consumer } from "../pipeline/consumers/consumer.ts";
import type { Sql } from "../store/database.ts";
import type { ExportTarget } from "../store/exports.ts";
import { registerConsumers } from "../store/deliveries.ts";
import { publishReactionSettings } from "../store/reactions.ts";
import { CloudEventsSender } from "../telemetry/cloud_events.ts";
import type { Log } from "../telemetry/log.ts";
import { MlflowClient } from "../telemetry/mlflow.ts";
import type { RunEndObserver, TaskEnd, TaskObserver } from "../telemetry/observer.ts";
import type { Sender } from "../telemetry/notification.ts";
import { databaseName } from "../telemetry/openlineage.ts";
import { LineageSender } from "../telemetry/openlineage_sender.ts";
import type { TelemetrySettings } from "../telemetry/settings_schema.ts";
import { SlackSender } from "../telemetry/slack.ts";
import { drainConsumer } from "./consumer_worker.ts";
import { drainExports, type Exporter } from "./exporter.ts";
import { consumeFinished, type FinishedDeps, refreshViews } from "./finished_worker.ts";
import { lineageExporter } from "./lineage_exporter.ts";
import { mlflowExporter } from "./mlflow_exporter.ts";
import { drainChannel } from "./notifier.ts";
import type { WorkLoop } from "./work_loop.ts";

/** Of this program, for lineage. */
const VERSION = "0.1.0";

export interface ReactionDeps {
  loop: WorkLoop;
  /** Whether this process stays, so that its settings and channels are the installation's. */
  publishes: boolean;
  sql: Sql;
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
      trend_window: settings.trendWindow,
      ratio_drop: settings.ratioDrop,
      volume_drop: settings.volumeDrop,
      stale_after_seconds: settings.staleSeconds,
      log_lines: settings.runLogLines,
    });
  }
  await registerConsumers(
    sql,
    consumers.map(({ name, datasets, emits, mode, skipUnchanged }) => ({
      name,
      datasets,
      emits,
      mode,
      skip_unchanged: skipUnchanged,
    })),
  );

  const finished: FinishedDeps = {
    sql,
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
    const onRun = (name: string, end: TaskEnd) =>
      tasks.taskEnded(name, "run", { ...end, wholeRun: true });
    loop.onLeased(
      `consumer ${consumer.name}`,
      (lease) => drainConsumer(consumer, { sql, dsn, log, lease, onRun }),
    );
  }
}

function sendersOf({ settings, publicUrl }: ReactionDeps): Record<string, Sender> {
  const { slackWebhook, alertWebhook } = settings;
  return {
    ...(slackWebhook === null ? {} : { slack: new SlackSender(slackWebhook, { publicUrl }) }),
    ...(alertWebhook === null ? {} : {
      webhook: new CloudEventsSender(alertWebhook.url, {
        source: publicUrl,
        token: alertWebhook.token,
      }),
    }),
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
