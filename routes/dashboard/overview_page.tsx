import type { Context } from "hono";
import { Overview } from "../../islands/overview.tsx";
import { runLabels } from "../../store/dashboard.ts";
import type { DashboardDeps } from "./dashboard.tsx";
import { Island } from "./island.tsx";
import { overviewData } from "./overview_data.ts";
import { renderPage } from "./page.tsx";

/** Labels that filters offer. */
export const MAX_LABELS = 200;

export async function overviewPage(c: Context, deps: DashboardDeps): Promise<Response> {
  const label = c.req.query("run_label") || null;
  const [data, labels] = await Promise.all([
    overviewData(deps, label ?? undefined),
    deps.briefly.get("labels", () => runLabels(deps.sql, { limit: MAX_LABELS })),
  ]);
  return await renderPage(c, deps.assets, {
    title: (t) => t("nav.overview"),
    nav: "overview",
    islands: ["overview"],
    main: <Island name="overview" component={Overview} props={{ data, labels, label }} />,
  });
}
