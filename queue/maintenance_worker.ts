import type { PgBoss } from "pg-boss";
import { type MaintenanceDeps, runMaintenance } from "../pipeline/maintenance/run.ts";
import { failMaintenance } from "../store/maintenance.ts";

/** The queue through which etl.request_maintenance() reaches a server. */
const MAINTENANCE_QUEUE = "etl_maintenance_run";

const QUEUE_OPTIONS = {
  notify: true,
  // a dead server's maintenance is taken up within about 15 s
  heartbeatSeconds: 10,
  retryLimit: 20,
  retryDelay: 1,
  retryBackoff: true,
  retryDelayMax: 60,
  expireInSeconds: 86_400,
  retentionSeconds: 14 * 86_400,
  deleteAfterSeconds: 3600,
} as const;

/** Deliveries after which a maintenance that always fails is given up. */
const MAX_ATTEMPTS = 10;
const POLL_SECONDS = 2;

/** Carries out what etl.request_maintenance() asks for, one at a time. */
export async function workOnMaintenance(boss: PgBoss, deps: MaintenanceDeps): Promise<void> {
  const existing = await boss.getQueue(MAINTENANCE_QUEUE);
  if (existing === null) await boss.createQueue(MAINTENANCE_QUEUE, { ...QUEUE_OPTIONS });
  await boss.work<{ maintenance_id: string }>(
    MAINTENANCE_QUEUE,
    {
      includeMetadata: true,
      pollingIntervalSeconds: POLL_SECONDS,
      notifyPollingIntervalSeconds: POLL_SECONDS,
    },
    async ([job]) => {
      const id = job!.data.maintenance_id;
      try {
        await runMaintenance(id, deps);
      } catch (error) {
        if (job!.retryCount >= MAX_ATTEMPTS && !deps.signal.aborted) {
          await failMaintenance(
            deps.sql,
            id,
            error instanceof Error ? error.message : String(error),
          );
        }
        deps.log.warn("maintenance interrupted", { maintenance_id: id, error });
        throw error;
      }
    },
  );
}
