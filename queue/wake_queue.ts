import type { PgBoss } from "pg-boss";

/**
 * Queues whose jobs only wake somebody up: what there is to do is in tables,
 * where etl.recover_reactions() finds it if a job is lost.
 */
const WAKE_OPTIONS = {
  notify: true,
  heartbeatSeconds: 10,
  retryLimit: 20,
  retryDelay: 1,
  retryBackoff: true,
  retryDelayMax: 60,
  expireInSeconds: 86_400,
  retentionSeconds: 86_400,
  deleteAfterSeconds: 600,
} as const;

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
  const existing = await boss.getQueue(queue);
  if (existing === null) await boss.createQueue(queue, { ...WAKE_OPTIONS });
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
