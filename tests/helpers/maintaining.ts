import { startBoss } from "../../queue/boss.ts";
import { workOnMaintenance } from "../../queue/maintenance_worker.ts";
import type { MaintenanceDeps } from "../../pipeline/maintenance/run.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
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
  await setupDatabase(db.dsn);
  const boss = await startBoss({ dsn: db.dsn, listen: true, log });
  const stopping = new AbortController();
  await workOnMaintenance(boss, {
    sql,
    dsn: db.dsn,
    log,
    serverId: "test",
    signal: stopping.signal,
    ...options,
  });
  return {
    log: lines,
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await boss.stop({ graceful: true, timeout: 5_000 });
    },
  };
}
