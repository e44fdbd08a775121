import { PgBoss } from "pg-boss";
import { bossConnection } from "../store/pg.ts";
import type { Log } from "../telemetry/log.ts";
import { createFirstQueues } from "./queues.ts";

export interface BossOptions {
  dsn: string;
  /** LISTEN/NOTIFY; else the queue is polled. */
  listen: boolean;
  /** Milliseconds between two looks at a silent connection; a statement may take three times as long. Default 10,000. */
  probeMs?: number;
  /** Whether this server takes part in scheduling jobs; default false. */
  schedule?: boolean;
  log: Log;
}

/** Starts pg-boss with its schema and queues. */
export async function startBoss(
  { dsn, listen, probeMs = 10_000, schedule = false, log }: BossOptions,
): Promise<PgBoss> {
  const boss = new PgBoss({
    ...await bossConnection(dsn),
    application_name: "etl-improved queue",
    schema: "pgboss",
    max: 4,
    // passed on to pg: a network that swallows packets must not hang the queue
    ...{ query_timeout: probeMs * 3, keepAlive: true },
    useListenNotify: listen,
    superviseIntervalSeconds: 1,
    monitorIntervalSeconds: 1,
    schedule,
    // a job starts a few seconds after it is due
    cronMonitorIntervalSeconds: 5,
    cronWorkerIntervalSeconds: 1,
    registerInstance: false,
  });
  boss.on("error", (error) => log.warn("queue", { error: (error as Error).message }));
  boss.on("warning", (warning) => log.debug("queue", { warning: warning.message }));
  await boss.start();
  await createFirstQueues(boss);
  return boss;
}
