import type { Context } from "hono";
import { ScheduleList, type ScheduleView } from "../../islands/schedules.tsx";
import { cronWords } from "../../pipeline/schedules/cron.ts";
import { listSchedules } from "../../store/schedules.ts";
import type { DashboardDeps } from "./dashboard.tsx";
import { Island, renderPage } from "./page.tsx";
import { readPreferences } from "./preferences.ts";

/** Schedules that the page shows at most. */
const LIMIT = 500;

/** Schedules, when each is due next and what became of the last time. */
export async function schedulesPage(c: Context, deps: DashboardDeps): Promise<Response> {
  const items = await scheduleViews(c, deps);
  return await renderPage(c, deps.assets, {
    title: (t) => t("nav.schedules"),
    nav: "schedules",
    islands: ["schedules"],
    main: <Island name="schedules" component={ScheduleList} props={{ items }} />,
  });
}

/** The rows of the page, for when it has changed one. */
export async function schedulesData(c: Context, deps: DashboardDeps): Promise<Response> {
  return c.json({ items: await scheduleViews(c, deps) }, 200, { "cache-control": "no-store" });
}

async function scheduleViews(c: Context, { sql }: DashboardDeps): Promise<ScheduleView[]> {
  const { lang } = readPreferences(c);
  const rows = await listSchedules(sql, { limit: LIMIT });
  return rows.map((row) => ({ ...row, cron_words: cronWords(row.cron, lang) }));
}
