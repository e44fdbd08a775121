import type { PgBoss, QueueOptions } from "pg-boss";

const HOUR = 3_600;
const DAY = 24 * HOUR;

/** Of every queue. */
const COMMON = {
  notify: true,
  // the shortest that pg-boss has: a dead server's job is taken up within about 15 s
  heartbeatSeconds: 10,
} as const;

const AGAIN = { ...COMMON, retryDelay: 1, retryBackoff: true } as const;

/** Queues that the SQL functions put jobs into, also before a server has started. */
const FIRST_QUEUES = {
  /** A job executes one attempt of one run. */
  etl_run: {
    ...AGAIN,
    // attempts are bounded by the run (ETL_RUN_MAX_ATTEMPTS), never by the queue
    retryLimit: 1000,
    retryDelayMax: 10,
    expireInSeconds: DAY,
    retentionSeconds: 14 * DAY,
    deleteAfterSeconds: HOUR,
  },
  /** A job consumes the end of one run. */
  etl_finished: {
    ...AGAIN,
    retryLimit: 20,
    retryDelayMax: 60,
    expireInSeconds: HOUR,
    retentionSeconds: 14 * DAY,
    deleteAfterSeconds: HOUR,
  },
} satisfies Record<string, QueueOptions>;

/** A job carries out one maintenance. */
export const MAINTENANCE_QUEUE: QueueOptions = {
  ...AGAIN,
  retryLimit: 20,
  retryDelayMax: 60,
  expireInSeconds: DAY,
  retentionSeconds: 14 * DAY,
  deleteAfterSeconds: HOUR,
};

/**
 * A job only wakes somebody up: what there is to do is in tables, where
 * etl.recover_reactions() finds it if a job is lost.
 */
export const WAKE_QUEUE: QueueOptions = {
  ...AGAIN,
  retryLimit: 20,
  retryDelayMax: 60,
  expireInSeconds: DAY,
  retentionSeconds: DAY,
  deleteAfterSeconds: 600,
};

/** A job is one occurrence of a periodic job with this schedule. */
export function periodicQueue(schedule: string): QueueOptions & { policy: "exclusive" } {
  return {
    ...COMMON,
    // one at a time on all servers, and none waits behind it
    policy: "exclusive",
    retryLimit: 1,
    retryDelay: 5,
    expireInSeconds: HOUR,
    retentionSeconds: DAY,
    // what has run is listed for so long; of a job that runs each minute, shorter
    deleteAfterSeconds: schedule.startsWith("* ") ? DAY / 4 : 35 * DAY,
  };
}

/** Creates the queues that SQL needs, or gives them the options of this version. */
export async function createFirstQueues(boss: PgBoss): Promise<void> {
  for (const [name, options] of Object.entries(FIRST_QUEUES)) {
    const existing = await boss.getQueue(name);
    if (existing === null) await boss.createQueue(name, { ...options });
    else await boss.updateQueue(name, { ...options });
  }
}

/** Creates a queue where there is none. */
export async function ensureQueue(
  boss: PgBoss,
  name: string,
  options: QueueOptions,
): Promise<void> {
  if (await boss.getQueue(name) === null) await boss.createQueue(name, { ...options });
}
