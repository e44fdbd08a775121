import type { Context } from "hono";
import { useLocale } from "../../islands/lib/context.tsx";
import type { Problem } from "../../vocabulary/problem.ts";
import { problemResponse } from "../shared/problems.ts";
import type { DashboardDeps } from "./dashboard.tsx";
import { renderPage } from "./page.tsx";

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
