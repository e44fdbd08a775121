import type { HealthLine, OverviewData } from "../../islands/overview/overview_data.ts";
import { historyPoints, poolUse, recentAlerts } from "../../store/dashboard.ts";
import { databaseHealth } from "../../store/health.ts";
import type { SchedulerView } from "../../store/jobs.ts";
import { nextSchedules } from "../../store/schedules.ts";
import { listRuns } from "../../store/run_views.ts";
import type { AppDeps } from "../shared/deps.ts";

/** Runs in the charts. */
const HISTORY_LENGTH = 60;

/** Everything that the overview shows, of one run label or of all. */
export async function overviewData(deps: AppDeps, runLabel?: string): Promise<OverviewData> {
  const { sql } = deps;
  const [recent, running, queued, history, alerts, pools, schedules, health] = await Promise.all([
    listRuns(sql, { limit: 10, ...(runLabel === undefined ? {} : { runLabel }) }),
    listRuns(sql, { limit: 20, state: "running" }),
    listRuns(sql, { limit: 20, state: "queued" }),
    historyPoints(sql, {
      limit: HISTORY_LENGTH,
      ...(runLabel === undefined ? {} : { runLabel }),
    }),
    recentAlerts(sql, { limit: 6 }),
    poolUse(sql),
    nextSchedules(sql, 6),
    healthLines(deps),
  ]);
  return { recent, active: [...running, ...queued], history, alerts, pools, schedules, health };
}

/** Health is looked up at most so often, however often the overview is. */
const HEALTH_MS = 3000;
const lastHealth = new WeakMap<AppDeps["sql"], { at: number; lines: Promise<HealthLine[]> }>();

function healthLines(deps: AppDeps): Promise<HealthLine[]> {
  const last = lastHealth.get(deps.sql);
  if (last !== undefined && performance.now() - last.at < HEALTH_MS) return last.lines;
  const lines = lookUpHealth(deps);
  lastHealth.set(deps.sql, { at: performance.now(), lines });
  lines.catch(() => lastHealth.delete(deps.sql));
  return lines;
}

function schedulerLine(
  { kind, database, in_use }: SchedulerView,
): Pick<HealthLine, "key" | "values"> {
  if (kind === "pg_boss") return { key: "health.own_cron" };
  return in_use === "pg_cron"
    ? { key: "health.pg_cron" }
    : { key: "health.pg_cron_elsewhere", values: { database: database! } };
}

async function lookUpHealth(deps: AppDeps): Promise<HealthLine[]> {
  const { workers, workersBusy, listening, draining, role } = deps.status();
  const { problems, warnings, facts } = await databaseHealth(deps.sql, deps.config);
  const lines: HealthLine[] = [
    ...problems.map((text) => ({ level: "problem" as const, key: "", text })),
    ...warnings.map((text) => ({ level: "warning" as const, key: "", text })),
  ];
  if (draining) lines.push({ level: "problem", key: "health.draining" });
  if (problems.length === 0) lines.push({ level: "ok", key: "health.database" });
  if (role === "api") lines.push({ level: "ok", key: "health.api_only" });
  else {
    lines.push({ level: "ok", key: "health.workers", values: { n: workers, busy: workersBusy } });
  }
  lines.push(
    listening ? { level: "ok", key: "health.notify" } : { level: "warning", key: "health.polling" },
  );
  // unknown where tables are missing
  const scheduler = facts.scheduler as SchedulerView | undefined;
  if (scheduler !== undefined) lines.push({ level: "ok", ...schedulerLine(scheduler) });
  return lines;
}
