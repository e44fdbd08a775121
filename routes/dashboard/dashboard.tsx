import type { OpenAPIHono } from "@hono/zod-openapi";
import { type Context, Hono } from "hono";
import { compress } from "hono/compress";
import { setCookie } from "hono/cookie";
import { useLocale } from "../../islands/lib/context.tsx";
import { Problem } from "../../vocabulary/problem.ts";
import type { Access } from "../access/access.ts";
import type { WrongTokens } from "../access/auth_failures.ts";
import { readForm, returnPath } from "../access/session.ts";
import type { AppDeps } from "../shared/deps.ts";
import { Briefly } from "../shared/lookups.ts";
import { problemResponse, toProblem } from "../shared/problems.ts";
import { alertsPage } from "./alerts_page.tsx";
import { Assets } from "./assets.ts";
import { formPage } from "./form_page.tsx";
import { runsCsv, runsPage } from "./history_page.tsx";
import { LiveOverview, streamOverview } from "./live_overview.ts";
import { overviewPage } from "./overview_page.tsx";
import { renderPage } from "./page.tsx";
import { reportsPage } from "./reports_page.tsx";
import { RESOURCE_KINDS, resourceData, resourcePage } from "./resource_pages.tsx";
import { chunkData, runData, runPage } from "./run_page.tsx";
import { schedulesData, schedulesPage } from "./schedules_page.tsx";
import { signInRoutes } from "./sign_in_page.tsx";

/** What the pages of the dashboard need. */
export interface DashboardDeps extends AppDeps {
  assets: Assets;
  /** What pages show, looked up once for all who load them at the same time. */
  briefly: Briefly;
  wrongTokens: WrongTokens;
}

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
  const live = new LiveOverview(deps);

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
    return c.redirect(returnPath(form.get("back")), 303);
  });
  pages.get("/", (c) => overviewPage(c, deps));
  pages.get("/new", (c) => formPage(c, deps));
  pages.get("/runs", (c) => runsPage(c, deps));
  pages.get("/runs.csv", (c) => runsCsv(c, deps));
  pages.get("/runs/:id", (c) => runPage(c, deps));
  pages.get("/runs/:id/data", (c) => runData(c, deps));
  pages.get("/runs/:id/chunks/:no", (c) => chunkData(c, deps));
  for (const kind of RESOURCE_KINDS) {
    pages.get(`/${kind}`, (c) => resourcePage(c, deps, kind));
  }
  pages.get("/schedules", (c) => schedulesPage(c, deps));
  pages.get("/alerts", (c) => alertsPage(c, deps));
  pages.get("/reports", (c) => reportsPage(c, deps));
  pages.get("/data/schedules", (c) => schedulesData(c, deps));
  pages.get("/data/:kind", (c) => resourceData(c, deps));
  pages.get("*", (c) => {
    throw new Problem("not-found", {
      status: 404,
      detail: `There is no page ${c.req.path.slice(0, 200)}.`,
    });
  });

  const showProblem = (c: Context, problem: Problem) => errorPage(c, deps, problem);
  pages.onError((error, c) => showProblem(c, toProblem(error)));
  app.route("/etl", pages);
  app.get("/", (c) => c.redirect("/etl"));
  return showProblem;
}

/** What went wrong, as a page; what is unexpected is logged as for the API. */
export async function errorPage(
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
    nav: null,
    status: problem.status as 404,
    main: <ErrorMessage heading={heading} detail={problem.message} />,
  });
}

interface ErrorMessageProps {
  heading: "error.forbidden" | "error.not_found" | "error.unavailable" | "error.title";
  detail: string;
}

function ErrorMessage({ heading, detail }: ErrorMessageProps) {
  const { t } = useLocale();
  return (
    <section class="card empty large">
      <h1>{t(heading)}</h1>
      <p>{detail}</p>
      <p>
        <a class="button" href="/etl">{t("error.back")}</a>
      </p>
    </section>
  );
}
