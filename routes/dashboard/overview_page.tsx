import { type HealthLine, Overview, type OverviewData } from "../../islands/overview.tsx";
import { incidentsMark } from "../../store/alerts.ts";
import { historyPoints, pointsOfLabels, poolUse, recentAlerts } from "../../store/dashboard.ts";
import { type DashboardDeps, Island, knownLabels, type Page } from "./page.tsx";
import { type DatabaseHealth, databaseHealth } from "../../store/health.ts";
import type { SchedulerView } from "../../store/jobs.ts";
import { nextSchedules } from "../../store/schedules.ts";
import { listRuns, runsOfLabels } from "../../store/run_views.ts";
import type { AppDeps } from "../shared/deps.ts";

export const overviewPage: Page = {
  path: "/overview",
  role: "viewer",
  nav: "overview",
  menu: { key: "o" },
  async load(c, deps) {
    const label = c.req.query("run_label") || null;
    const [data, labels] = await Promise.all([
      overviewData(deps, label ?? undefined),
      knownLabels(deps),
    ]);
    return {
      ...(label === null ? {} : { title: () => label }),
      main: <Island name="overview" component={Overview} props={{ data, labels, label }} />,
    };
  },
};

/** Runs in the charts. */
const HISTORY_LENGTH = 60;
/** Runs in the list. */
const RECENT = 10;

/** What depends on the run label that somebody looks at. */
export type OfLabel = Pick<OverviewData, "recent" | "history">;
/** What is the same for everybody. */
export type Common = Omit<OverviewData, keyof OfLabel>;

/** Everything that the overview shows, of one run label or of all; looked up once a second at most. */
async function overviewData(deps: DashboardDeps, runLabel = ""): Promise<OverviewData> {
  const [common, ofLabel] = await Promise.all([
    deps.briefly.get("overview", () => commonParts(deps)),
    deps.briefly.get(`overview ${runLabel}`, () => partsOfLabels(deps, [runLabel])),
  ]);
  return { ...common, ...ofLabel.get(runLabel)! };
}

export async function commonParts(deps: AppDeps): Promise<Common> {
  const { sql } = deps;
  const [running, queued, alerts, incidents, pools, schedules, health] = await Promise.all([
    listRuns(sql, { limit: 20, state: "running" }),
    listRuns(sql, { limit: 20, state: "queued" }),
    recentAlerts(sql, { limit: 6 }),
    incidentsMark(sql),
    poolUse(sql),
    nextSchedules(sql, 6),
    healthLines(deps),
  ]);
  return { active: [...running, ...queued], alerts, incidents, pools, schedules, health };
}

/** The parts of each label, however many, in two statements and two more for all runs (label ""). */
export async function partsOfLabels(
  { sql }: AppDeps,
  labels: string[],
): Promise<Map<string, OfLabel>> {
  const named = labels.filter((label) => label !== "");
  const [runs, points, allRuns, allPoints] = await Promise.all([
    named.length === 0 ? new Map<string, never>() : runsOfLabels(sql, named, RECENT),
    named.length === 0 ? new Map<string, never>() : pointsOfLabels(sql, named, HISTORY_LENGTH),
    named.length === labels.length ? [] : listRuns(sql, { limit: RECENT }),
    named.length === labels.length ? [] : historyPoints(sql, HISTORY_LENGTH),
  ]);
  return new Map(labels.map((label) => [
    label,
    label === ""
      ? { recent: allRuns, history: allPoints }
      : { recent: runs.get(label) ?? [], history: points.get(label) ?? [] },
  ]));
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
  if (kind === "servers") return { key: "health.own_cron" };
  return in_use === "pg_cron"
    ? { key: "health.pg_cron" }
    : { key: "health.pg_cron_elsewhere", values: { database: database! } };
}

/** A warning in the reader's language where the dashboard shows what it is about, else as the API says it. */
function warningLine(text: string): HealthLine {
  const open = /^(\d+) alerts are open/.exec(text);
  if (open !== null) {
    return { level: "warning", key: "health.alerts", values: { n: Number(open[1]) } };
  }
  const failed = /^the last run failed/.test(text);
  return failed
    ? { level: "warning", key: "health.last_run_failed" }
    : { level: "warning", key: "", text };
}

async function lookUpHealth(deps: AppDeps): Promise<HealthLine[]> {
  return linesOf(deps.status(), await databaseHealth(deps.sql, deps.config));
}

/** What is wrong first, then what works. */
export function linesOf(
  { workers, workersBusy, listening, draining, role }: ReturnType<AppDeps["status"]>,
  { problems, warnings, facts }: DatabaseHealth,
): HealthLine[] {
  const lines: HealthLine[] = [
    ...problems.map((text) => ({ level: "problem" as const, key: "", text })),
    ...warnings.map(warningLine),
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
