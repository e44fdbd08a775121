import type { Context } from "hono";
import { ScheduleList, type ScheduleView } from "../../islands/schedules.tsx";
import { cronWords } from "../../pipeline/schedules/cron.ts";
import { CONFIGURATIONS, listNamed } from "../../store/named.ts";
import { listSchedules } from "../../store/schedules.ts";
import { runConfOf } from "./form_page.tsx";
import { type DashboardDeps, Island, type Page } from "./page.tsx";
import { readPreferences } from "./preferences.ts";

/** Schedules that the page shows at most. */
const LIMIT = 500;

/** Schedules, when each is due next and what became of the last time. */
export const schedulesPage: Page = {
  path: "/schedules",
  role: "viewer",
  nav: "schedules",
  menu: { group: "automation", key: "s" },
  data: { "/data/schedules": schedulesData },
  async load(c, deps) {
    const from = c.req.query("from") ?? null;
    const [items, draft, saved] = await Promise.all([
      scheduleViews(c, deps),
      from === null ? null : runConfOf(deps, from),
      listNamed(deps.sql, CONFIGURATIONS),
    ]);
    const configurations = saved.map(({ name }) => String(name));
    const props = { items, draft, configurations };
    return { main: <Island name="schedules" component={ScheduleList} props={props} /> };
  },
};

/** The rows of the page, for when it has changed one. */
async function schedulesData(c: Context, deps: DashboardDeps): Promise<Response> {
  return c.json({ items: await scheduleViews(c, deps) }, 200, { "cache-control": "no-store" });
}

async function scheduleViews(c: Context, { sql }: DashboardDeps): Promise<ScheduleView[]> {
  const { lang } = readPreferences(c);
  const rows = await listSchedules(sql, { limit: LIMIT });
  return rows.map((row) => ({ ...row, cron_words: cronWords(row.cron, lang) }));
}
