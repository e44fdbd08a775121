import type { OpenAPIHono } from "@hono/zod-openapi";
import { type Context, Hono } from "hono";
import { compress } from "hono/compress";
import { setCookie } from "hono/cookie";
import { useLocale } from "../../islands/lib/context.tsx";
import { Problem, type ProblemType } from "../../vocabulary/problem.ts";
import { inSpanish, say } from "../../vocabulary/messages.ts";
import { PROBLEMS_ES } from "../../vocabulary/problems_es.ts";
import type { Access } from "../access/access.ts";
import type { WrongTokens } from "../access/auth_failures.ts";
import { allow, type Needed, routeName } from "../access/route_rules.ts";
import { readForm, returnPath } from "../access/session.ts";
import type { AppDeps } from "../shared/deps.ts";
import { Briefly } from "../shared/lookups.ts";
import { problemResponse, toProblem } from "../shared/problems.ts";
import { alertsPage } from "./alerts_page.tsx";
import { Assets } from "./assets.ts";
import { datasetPage } from "./dataset_page.tsx";
import { formPage } from "./form_page.tsx";
import { runsPage } from "./history_page.tsx";
import { LiveOverview, streamOverview } from "./live_overview.ts";
import { overviewPage } from "./overview_page.tsx";
import { type DashboardDeps, type Page, renderPage } from "./page.tsx";
import { pipelinesPage } from "./pipelines_page.tsx";
import { reportsPage } from "./reports_page.tsx";
import { resourcePages } from "./resource_pages.tsx";
import { runPage } from "./run_page.tsx";
import { searchPage } from "./search_page.tsx";
import { schedulesPage } from "./schedules_page.tsx";
import { signInRoutes } from "./sign_in_page.tsx";
import type { MenuItem } from "./layout.tsx";

/** Every page, in the order of the menu. A new one is a line here. */
const PAGES: Page[] = [
  pipelinesPage,
  overviewPage,
  runsPage,
  runPage,
  formPage,
  resourcePages.datasets,
  datasetPage,
  schedulesPage,
  resourcePages.configurations,
  resourcePages.variables,
  resourcePages.pools,
  resourcePages.suites,
  alertsPage,
  reportsPage,
  searchPage,
];

const MENU: MenuItem[] = PAGES.flatMap(({ path, nav, menu }) =>
  menu === undefined ? [] : [{ ...menu, name: nav, path: `/etl${path}`.replace(/\/$/, "") }]
);

const YEAR_SECONDS = 365 * 24 * 3600;

/**
 * The dashboard: pages at /etl that read the database directly, and change
 * things over the API. Answers what shows a problem as a page.
 */
export function dashboardRoutes(
  app: OpenAPIHono,
  appDeps: AppDeps & { wrongTokens: WrongTokens },
  access: Access,
): (c: Context, problem: Problem) => Promise<Response> {
  const deps: DashboardDeps = { ...appDeps, assets: new Assets(), briefly: new Briefly() };
  const pages = new Hono();
  const live = LiveOverview.of(deps);

  // leaves alone what is compressed already, and streams of events
  pages.use(compress());
  pages.get("/assets/:file", (c) => deps.assets.serve(c, c.req.param("file")));
  pages.get("/events", (c) => streamOverview(c, live, c.req.query("run_label") ?? ""));
  signInRoutes(pages, deps, access);
  pages.post("/preferences", async (c) => {
    const form = await readForm(c);
    const cookie = { path: "/etl", maxAge: YEAR_SECONDS, sameSite: "Lax" } as const;
    const theme = form.get("theme");
    if (typeof theme === "string" && ["system", "light", "dark"].includes(theme)) {
      setCookie(c, "etl_theme", theme, cookie);
    }
    const lang = form.get("lang");
    if (lang === "en" || lang === "es") setCookie(c, "etl_lang", lang, cookie);
    const clock = form.get("clock");
    if (clock === "local" || clock === "utc") setCookie(c, "etl_clock", clock, cookie);
    return c.redirect(returnPath(form.get("back")), 303);
  });
  for (const { path, role, dataRole = role, nav, load, data } of PAGES) {
    const get = (at: string, needed: Needed, answer: (c: Context) => Promise<Response>) => {
      allow(routeName({ method: "GET", path: `/etl${at}` })!, needed);
      pages.get(at, answer);
    };
    get(path, role, async (c) => {
      const content = await load(c, deps);
      if (content instanceof Response) return content;
      return await renderPage(c, deps.assets, { ...content, menu: MENU, nav });
    });
    for (const [at, answer] of Object.entries(data ?? {})) {
      get(at, dataRole, (c) => answer(c, deps));
    }
  }
  pages.get("*", (c) => {
    throw new Problem("not-found", { detail: say("no-page", { path: c.req.path.slice(0, 200) }) });
  });

  const showProblem = (c: Context, problem: Problem) => errorPage(c, deps, problem);
  pages.onError((error, c) => showProblem(c, toProblem(error)));
  app.route("/etl", pages);
  app.get("/", (c) => c.redirect("/etl"));
  return showProblem;
}

/** What went wrong, as a page; what is unexpected is logged as for the API. */
async function errorPage(
  c: Context,
  deps: DashboardDeps,
  problem: Problem,
): Promise<Response> {
  const response = problemResponse(c, problem, deps.log);
  if (!(c.req.header("accept") ?? "").includes("text/html")) return response;
  const heading = problem.status === 403
    ? "error.forbidden"
    : problem.status === 404
    ? "error.not_found"
    : problem.status === 503
    ? "error.unavailable"
    : "error.title";
  return await renderPage(c, deps.assets, {
    title: (t) => t(heading),
    menu: MENU,
    nav: null,
    status: problem.status as 404,
    main: <ErrorMessage heading={heading} type={problem.type} detail={problem.message} />,
  });
}

interface ErrorMessageProps {
  heading: "error.forbidden" | "error.not_found" | "error.unavailable" | "error.title";
  type: ProblemType;
  detail: string;
}

function ErrorMessage({ heading, type, detail }: ErrorMessageProps) {
  const { t, lang } = useLocale();
  const said = lang === "es" ? inSpanish(detail) : detail;
  return (
    <section class="card empty large">
      <h1>{t(heading)}</h1>
      {lang === "es" && <p>{PROBLEMS_ES[type].meaning}</p>}
      {/* words of PostgreSQL and the like are English */}
      <p lang={said === detail ? "en" : lang}>{said}</p>
      <p>
        <a class="button" href="/etl">{t("error.back")}</a>
      </p>
    </section>
  );
}
