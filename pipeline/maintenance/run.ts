import { Connection } from "../../store/connection.ts";
import type { Sql } from "../../store/database.ts";
import { isTransient } from "../../store/errors.ts";
import {
  deleteOldBatch,
  endMaintenanceTask,
  eventsOfNewRule,
  finishMaintenance,
  maintainedTables,
  MAINTENANCE_TASKS,
  type MaintenanceAttempt,
  type MaintenanceTask,
  maintenanceView,
  purgeTombstones,
  refreshDailyViews,
  startMaintenance,
  startMaintenanceTask,
  vacuumedTables,
  vacuumTables,
} from "../../store/maintenance.ts";
import { delay } from "../../store/retry.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Maintained, TaskEnd } from "../../telemetry/observer.ts";
import { areRunsGoingOn } from "../../store/runs.ts";

export interface MaintenanceDeps {
  sql: Sql;
  dsn: string;
  log: Log;
  serverId: string;
  /** Aborted when the server stops: the maintenance goes on elsewhere, or later. */
  signal: AbortSignal;
  /** Told each task that has ended, and the end of the whole. */
  onTask?: ((task: MaintenanceTask, end: TaskEnd) => void) | undefined;
  onEnd?: ((end: Omit<TaskEnd, "wholeRun">, figures: Maintained) => void) | undefined;
  /** Rows of a batch; default 2,000. */
  batchRows?: number | undefined;
}

const BATCH_ROWS = 2_000;
/** While runs go on, a batch is followed by a pause of so many times its own time. */
const BUSY_PAUSE = 3;
const BATCH_RETRY = { attempts: 5, initialMs: 200 };

/**
 * Carries a maintenance out, from where an earlier attempt left it. Tasks are independent: one that
 * fails does not keep the next from being done. Throws what may go away by itself, and when the server
 * stops; then the maintenance is still to be done.
 */
export async function runMaintenance(id: string, deps: MaintenanceDeps): Promise<void> {
  const attempt = await startMaintenance(deps.sql, id, deps.serverId);
  if (attempt === null) return;
  const current = { id, attempt };
  const log = deps.log.with({ maintenance_id: id });
  const startedAt = new Date();
  const started = performance.now();
  log.info("maintenance started", { attempt });
  for (const task of MAINTENANCE_TASKS) await runTask(current, task, { ...deps, log });
  const state = await finishMaintenance(deps.sql, current);
  const elapsedMs = performance.now() - started;
  log.info("maintenance ended", { state, elapsed_ms: Math.round(elapsedMs) });
  deps.onEnd?.({ ok: state === "succeeded", startedAt, elapsedMs }, await figures(deps.sql, id));
}

/** What a maintenance that has ended did, for StatsD. */
async function figures(sql: Sql, id: string): Promise<Maintained> {
  const view = (await maintenanceView(sql, id))!;
  const tasks = new Map(view.tasks.map((task) => [task.task, task]));
  const kinds = ["metrics", "audit", "alerts", "events"] as const;
  const vacuum = tasks.get("vacuum_analyze")!;
  const tables = (await vacuumedTables(sql)).length;
  return {
    deleted: Object.fromEntries(
      kinds.map((kind) => [kind, tasks.get(`clean_old_${kind}`)!.deleted]),
    ),
    retentionDays: Object.fromEntries(
      kinds.map((kind) => [kind, view.params[`retention_days_${kind}`]!]),
    ),
    refreshed: tasks.get("refresh_mvs")!.state === "succeeded" ? 2 : 0,
    vacuumed: {
      tables: vacuum.error === null ? tables - vacuum.warnings.length : 0,
      failed: vacuum.error === null ? vacuum.warnings.length : tables,
    },
  };
}

async function runTask(
  current: MaintenanceAttempt,
  task: MaintenanceTask,
  deps: MaintenanceDeps,
): Promise<void> {
  if (!await startMaintenanceTask(deps.sql, current, task)) return;
  const startedAt = new Date();
  const started = performance.now();
  const warnings: string[] = [];
  let error: string | undefined;
  try {
    if (task === "refresh_mvs") await refreshDailyViews(deps.sql);
    else if (task === "vacuum_analyze") warnings.push(...await vacuum(deps));
    else warnings.push(...await clean(current, task, deps));
  } catch (cause) {
    if (deps.signal.aborted || isTransient(cause) || isSuperseded(cause)) throw cause;
    error = cause instanceof Error ? cause.message : String(cause);
  }
  await endMaintenanceTask(deps.sql, current, { task, error, warnings });
  const elapsedMs = performance.now() - started;
  for (const warning of warnings) deps.log.warn(`maintenance: ${warning}`, { task });
  if (error === undefined) {
    deps.log.info("maintenance task done", { task, elapsed_ms: Math.round(elapsedMs) });
  } else deps.log.error("maintenance task failed", { task, error });
  deps.onTask?.(task, { ok: error === undefined, startedAt, elapsedMs });
}

const isSuperseded = (error: unknown) => (error as { code?: string }).code === "ET409";

async function clean(
  current: MaintenanceAttempt,
  task: MaintenanceTask,
  { sql, dsn, log, signal, batchRows = BATCH_ROWS }: MaintenanceDeps,
): Promise<string[]> {
  const warnings: string[] = [];
  const more = task === "clean_old_events" ? await eventsOfNewRule(sql, current.id) : 0;
  if (more > 0) {
    throw new Error(
      `no event was deleted: retention_days_events now counts from occurred_at (first_seen_at where there is none), ` +
        `and would take ${
          more.toLocaleString("en")
        } events that were changed since. See \`etl maintenance --dry-run\`; ` +
        `agree once with \`etl maintenance --confirm\` (POST …?confirm=true), or keep them with retention_days_events`,
    );
  }
  const connection = new Connection(dsn, "etl-improved maintenance");
  try {
    for (const table of await maintainedTables(sql, task)) {
      const { oid, name, may_delete: mayDelete } = table;
      if (!mayDelete) {
        const rights = task === "clean_old_audit" ? "delete" : "update, delete";
        warnings.push(
          `this role may not delete old rows of ${name}: grant ${rights} on ${
            table.is_typed ? `each partition of ${name}, or on ${name} itself,` : name
          } to it`,
        );
        continue;
      }
      let total = 0;
      for (;;) {
        if (signal.aborted) throw new Error("the server is stopping");
        const started = performance.now();
        const { deleted, done, busy } = await connection.transaction(
          { retry: { ...BATCH_RETRY, signal }, statementTimeoutMs: 0 },
          (client) => deleteOldBatch(client, current, { task, oid, batch: batchRows }),
        );
        total += deleted;
        if (done) break;
        if (busy) await delay((performance.now() - started) * BUSY_PAUSE, signal);
      }
      if (total > 0) log.info("old rows deleted", { task, table: name, rows: total });
    }
    if (task === "clean_old_events") {
      while (!signal.aborted && await purgeTombstones(sql, current, batchRows) === batchRows);
    }
  } finally {
    await connection.close();
  }
  return warnings;
}

async function vacuum({ sql, dsn, signal }: MaintenanceDeps): Promise<string[]> {
  const tables = await vacuumedTables(sql);
  const busy = await areRunsGoingOn(sql);
  const refused = await vacuumTables(tables, { dsn, busy, signal });
  return refused.map((table) =>
    `this role may not vacuum ${table}, so autovacuum will: make it the table's owner, or from ` +
    `PostgreSQL 17 on grant maintain on ${table} to it`
  );
}
