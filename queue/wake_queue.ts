import type { PgBoss } from "pg-boss";
import { ensureQueue, WAKE_QUEUE } from "./queues.ts";

/** Without a notification a queue is looked at so often. */
const POLL_SECONDS = 2;

export interface WakeOptions {
  /** Jobs that are taken at once; default 1. */
  batchSize?: number;
}

/** Makes the queue if there is none and calls back for its jobs. */
export async function onWake<Data extends object>(
  boss: PgBoss,
  queue: string,
  woken: (jobs: Data[]) => Promise<void>,
  options: WakeOptions = {},
): Promise<void> {
  await ensureQueue(boss, queue, WAKE_QUEUE);
  let workerId = "";
  workerId = await boss.work<Data>(
    queue,
    {
      batchSize: options.batchSize ?? 1,
      pollingIntervalSeconds: POLL_SECONDS,
      notifyPollingIntervalSeconds: POLL_SECONDS,
    },
    async (jobs) => {
      // there may be more in the queue: look again at once when these are done
      boss.notifyWorker(workerId);
      await woken(jobs.map((job) => job.data));
    },
  );
}
