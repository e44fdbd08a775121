import type { AlertView, HistoryPoint, PoolUse } from "../../store/dashboard.ts";
import type { NextSchedule } from "../../store/schedules.ts";
import type { RunView } from "../../store/run_views.ts";

/** One thing that health says, in words of the catalogue. */
export interface HealthLine {
  level: "ok" | "warning" | "problem";
  key: string;
  values?: Record<string, string | number>;
  /** Text of the server instead of a key. */
  text?: string;
}

/** What the overview shows; each part is sent anew when it has changed. */
export interface OverviewData {
  recent: RunView[];
  active: RunView[];
  history: HistoryPoint[];
  alerts: AlertView[];
  pools: PoolUse[];
  schedules: NextSchedule[];
  health: HealthLine[];
}
