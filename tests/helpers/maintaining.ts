import type { MaintenanceDeps } from "../../pipeline/maintenance/run.ts";
import { workOnMaintenance } from "../../queue/kinds_of_work.ts";
import { WorkLoop } from "../../queue/work_loop.ts";
import { createLog } from "../../telemetry/log.ts";
import type { Engine } from "./engine.ts";

/** What carries maintenances out, in this process. */
export interface Maintaining extends AsyncDisposable {
  log: string[];
}

/** Starts a server's part in maintenance on the engine's database. */
export async function startMaintaining(
  { db, sql }: Pick<Engine, "db" | "sql">,
  options: Partial<MaintenanceDeps> = {},
): Promise<Maintaining> {
  const lines: string[] = [];
  const log = createLog({ level: "debug", format: "text", write: (line) => lines.push(line) });
  const stopping = new AbortController();
  const loop = new WorkLoop({ sql, log, stopping: stopping.signal });
  workOnMaintenance(loop, {
    sql,
    dsn: db.dsn,
    log,
    serverId: "test",
    signal: stopping.signal,
    ...options,
  });
  await loop.start();
  return {
    log: lines,
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await loop.stop(5_000);
    },
  };
}
