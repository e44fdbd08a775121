import type { Consumer, DatasetEvent } from "../pipeline/consumers/consumer.ts";
import { datasetName } from "../pipeline/consumers/consumer.ts";
import { Connection } from "../store/connection.ts";
import type { Sql } from "../store/database.ts";
import {
  claimDeliveries,
  type Delivery,
  emitDatasetEvent,
  failDeliveries,
  finishDeliveries,
  lockConsumer,
} from "../store/deliveries.ts";
import type { Client } from "../store/pg.ts";
import { delay } from "../store/retry.ts";
import type { Log } from "../telemetry/log.ts";
import type { TaskEnd } from "../telemetry/observer.ts";
import { heldTransaction } from "./held_transaction.ts";

export interface ConsumerWorkerOptions {
  sql: Sql;
  dsn: string;
  log: Log;
  signal: AbortSignal;
  /** Told each execution: task `run` of the consumer. */
  onRun?: (consumer: string, end: TaskEnd) => void;
}

/** Executions of one delivery before it is given up. */
const MAX_ATTEMPTS = 5;
const MAX_BATCH = 1_000;
/** Another server has the consumer in hand: look again after so long. */
const BUSY_MS = 500;

/** Runs a consumer until no delivery waits for it, one execution at a time over all servers. */
export async function drainConsumer(
  consumer: Consumer,
  options: ConsumerWorkerOptions,
): Promise<void> {
  const connection = new Connection(options.dsn, `etl-improved ${consumer.name}`);
  try {
    while (!options.signal.aborted) {
      const outcome = await execute(consumer, { ...options, connection });
      if (outcome === "nothing to do") return;
      if (outcome === "busy") await delay(BUSY_MS, options.signal);
    }
  } finally {
    await connection.close();
  }
}

type Outcome = "nothing to do" | "busy" | "done" | "failed";

async function execute(
  consumer: Consumer,
  options: ConsumerWorkerOptions & { connection: Connection },
): Promise<Outcome> {
  const { connection, sql, signal, onRun } = options;
  const log = options.log.with({ consumer: consumer.name });
  let claimed: Delivery[] = [];
  const startedAt = new Date();
  const started = performance.now();
  const told = (ok: boolean) =>
    onRun?.(consumer.name, { ok, startedAt, elapsedMs: performance.now() - started });
  try {
    return await heldTransaction(connection, signal, async (client): Promise<Outcome> => {
      claimed = [];
      if (!await lockConsumer(client, consumer.name)) return "busy";
      const limit = consumer.mode === "batch" ? MAX_BATCH : 1;
      claimed = await claimDeliveries(client, consumer.name, limit);
      if (claimed.length === 0) return "nothing to do";
      const result = await run(consumer, claimed, { client, log, signal });
      await finishDeliveries(client, consumer.name, { ids: idsOf(claimed), result });
      told(true);
      return "done";
    });
  } catch (error) {
    // the claim itself failed, or the server stops: the events just come again
    if (claimed.length === 0 || signal.aborted) throw error;
    told(false);
    log.warn("consumer failed", { error, deliveries: claimed.length });
    await failDeliveries(sql, consumer.name, {
      ids: idsOf(claimed),
      error: error instanceof Error ? error.message : String(error),
      maxAttempts: MAX_ATTEMPTS,
    });
    return "failed";
  }
}

const idsOf = (deliveries: Delivery[]) => deliveries.map((delivery) => delivery.delivery_id);

async function run(
  consumer: Consumer,
  deliveries: Delivery[],
  { client, log, signal }: { client: Client; log: Log; signal: AbortSignal },
): Promise<unknown> {
  const events = deliveries.flatMap(({ event }): DatasetEvent[] => event === null ? [] : [event]);
  return await consumer.run({
    events,
    params: consumer.parseParams(deliveries[0]!.params),
    db: client,
    log,
    signal,
    emit: async (name, counts = {}) => {
      const dataset = datasetName(name);
      if (!consumer.emits.includes(dataset)) {
        throw new Error(
          `Consumer ${consumer.name} emits ${dataset}, which its definition does not list`,
        );
      }
      await emitDatasetEvent(client, { dataset, emittedBy: consumer.name, counts });
    },
  });
}
