import { type MaintenanceDeps, runMaintenance } from "../pipeline/maintenance/run.ts";
import { dueMaintenance, restMaintenance } from "../store/maintenance.ts";
import type { WorkLoop } from "./work_loop.ts";

/** Attempts after which a maintenance that always fails is given up. */
const MAX_ATTEMPTS = 10;

/** Carries out what etl.request_maintenance() asks for, one at a time. */
export function workOnMaintenance(loop: WorkLoop, deps: MaintenanceDeps): void {
  const { sql, log, signal } = deps;
  loop.onLeased("maintenance", async (lease) => {
    for (let id = await dueMaintenance(sql); id !== null; id = await dueMaintenance(sql)) {
      try {
        await runMaintenance(id, { ...deps, signal: lease.signal });
      } catch (error) {
        log.warn("maintenance interrupted", { maintenance_id: id, error });
        if (signal.aborted || lease.lost) return;
        const message = error instanceof Error ? error.message : String(error);
        await restMaintenance(sql, id, { error: message, maxAttempts: MAX_ATTEMPTS });
      }
    }
  });
}
