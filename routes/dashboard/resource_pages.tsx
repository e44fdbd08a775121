import { type ResourceKind, ResourceList, type Row } from "../../islands/resources.tsx";
import { expectationForms } from "../../pipeline/expectations/expectations.ts";
import { poolUse } from "../../store/dashboard.ts";
import { CONFIGURATIONS, listNamed, POOLS, VARIABLES } from "../../store/named.ts";
import { listSuites } from "../../store/suites.ts";
import { listTypedViews } from "../../store/datasets.ts";
import { type DashboardDeps, Island, type Page } from "./page.tsx";

/** A page that lists what there is of a kind, and changes it. */
function resourcePage(kind: ResourceKind, menu: NonNullable<Page["menu"]>): Page {
  return {
    path: `/${kind}`,
    role: "viewer",
    nav: kind,
    menu,
    async load(_c, deps) {
      const items = await itemsOf(deps, kind);
      return { main: <Island name="resources" component={ResourceList} props={{ kind, items }} /> };
    },
    data: {
      [`/data/${kind}`]: async (c, deps) =>
        c.json({ items: await itemsOf(deps, kind) }, 200, { "cache-control": "no-store" }),
    },
  };
}

const suites = resourcePage("suites", { group: "quality" });

export const resourcePages = {
  datasets: resourcePage("datasets", {}),
  configurations: resourcePage("configurations", { group: "automation", key: "c" }),
  variables: resourcePage("variables", { group: "automation" }),
  pools: resourcePage("pools", { group: "automation" }),
  suites: {
    ...suites,
    data: {
      ...suites.data,
      "/data/expectations": (c) => Promise.resolve(c.json(expectationForms(), 200)),
    },
  } satisfies Page,
};

async function itemsOf({ sql }: DashboardDeps, kind: ResourceKind): Promise<Row[]> {
  switch (kind) {
    case "configurations":
      return await listNamed(sql, CONFIGURATIONS);
    case "variables":
      return await listNamed(sql, VARIABLES);
    case "pools": {
      const [pools, use] = await Promise.all([listNamed(sql, POOLS), poolUse(sql)]);
      const byName = new Map(use.map((each) => [each.pool, each]));
      return pools.map((pool) => ({ ...byName.get(String(pool.pool)), ...pool }));
    }
    case "datasets":
      return (await listTypedViews(sql)).map((view) => ({ ...view }));
    case "suites":
      return (await listSuites(sql)).map((suite) => ({ ...suite }));
  }
}
