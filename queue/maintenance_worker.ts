import type { PgBoss } from "pg-boss";
import { type MaintenanceDeps, runMaintenance } from "../pipeline/maintenance/run.ts";
import { failMaintenance } from "../store/maintenance.ts";
import { ensureQueue, MAINTENANCE_QUEUE } from "./queues.ts";

/** The queue through which etl.request_maintenance() reaches a server. */
const QUEUE = "etl_maintenance_run";

/** Deliveries after which a maintenance that always fails is given up. */
const MAX_ATTEMPTS = 10;
const POLL_SECONDS = 2;

/** Carries out what etl.request_maintenance() asks for, one at a time. */
export async function workOnMaintenance(boss: PgBoss, deps: MaintenanceDeps): Promise<void> {
  await ensureQueue(boss, QUEUE, MAINTENANCE_QUEUE);
  await boss.work<{ maintenance_id: string }>(
    QUEUE,
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
