import type { Context } from "hono";
import { type ResourceKind, ResourceList, type Row } from "../../islands/resources.tsx";
import { Problem } from "../../vocabulary/problem.ts";
import { poolUse } from "../../store/dashboard.ts";
import { CONFIGURATIONS, listNamed, POOLS, VARIABLES } from "../../store/named.ts";
import { listSuites } from "../../store/suites.ts";
import { listTypedViews } from "../../store/typed_views.ts";
import type { DashboardDeps } from "./dashboard.tsx";
import { Island, renderPage } from "./page.tsx";

export const RESOURCE_KINDS: ResourceKind[] = [
  "configurations",
  "variables",
  "pools",
  "suites",
  "datasets",
];

export async function resourcePage(
  c: Context,
  deps: DashboardDeps,
  kind: ResourceKind,
): Promise<Response> {
  const items = await itemsOf(deps, kind);
  return await renderPage(c, deps.assets, {
    title: (t) => t(`nav.${kind}`),
    nav: kind,
    islands: ["resources"],
    main: <Island name="resources" component={ResourceList} props={{ kind, items }} />,
  });
}

/** The rows of a page, for when it has changed one. */
export async function resourceData(c: Context, deps: DashboardDeps): Promise<Response> {
  const kind = RESOURCE_KINDS.find((each) => each === c.req.param("kind"));
  if (kind === undefined) {
    throw new Problem("not-found", { status: 404, detail: "There is no such list." });
  }
  return c.json({ items: await itemsOf(deps, kind) }, 200, { "cache-control": "no-store" });
}

async function itemsOf({ sql }: DashboardDeps, kind: ResourceKind): Promise<Row[]> {
  switch (kind) {
    case "configurations":
      return await listNamed(sql, CONFIGURATIONS);
    case "variables":
      return await listNamed(sql, VARIABLES);
    case "pools": {
      const [pools, use] = await Promise.all([listNamed(sql, POOLS), poolUse(sql)]);
      const byName = new Map(use.map((each) => [each.pool, each]));
      return pools.map((pool) => ({ ...pool, ...byName.get(String(pool.pool)) }));
    }
    case "datasets":
      return (await listTypedViews(sql)).map((view) => ({ ...view }));
    case "suites":
      return (await listSuites(sql)).map((suite) => ({
        ...suite,
        suite: JSON.parse(suite.suite),
        expectations: JSON.parse(suite.suite).expectations.length,
      }));
  }
}
