import type { PgBoss } from "pg-boss";
import { executeRun, type RunDeps } from "../pipeline/run.ts";

/** Seconds between two looks at the queue: retries, which send no NOTIFY, wait so long at most. */
const POLL_SECONDS = 0.5;

/** Executes runs from the queue, `slots` at once. */
export async function workOnRuns(boss: PgBoss, deps: RunDeps, slots: number): Promise<void> {
  for (let slot = 0; slot < slots; slot++) {
    let workerId = "";
    workerId = await boss.work<{ run_id: string }>(
      "etl_run",
      { pollingIntervalSeconds: POLL_SECONDS, notifyPollingIntervalSeconds: POLL_SECONDS },
      async ([job]) => {
        // there may be more in the queue: look again at once when this one is done
        boss.notifyWorker(workerId);
        if (deps.stopping.aborted) throw new Error("the server is stopping");
        const ending = await executeRun(job!.data.run_id, deps);
        // failing the job is what makes the queue deliver it again
        if (ending === "given back") throw new Error("given back");
      },
    );
  }
}
