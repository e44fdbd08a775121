import type { Context } from "hono";
import { Icon } from "../../islands/ui/elements.tsx";
import { useLocale } from "../../islands/lib/context.tsx";
import { runLabels } from "../../store/dashboard.ts";
import {
  COUNT_LIMIT,
  HISTORY_COLUMNS,
  type HistoryPage,
  historyPage,
} from "../../store/history.ts";
import { ORIGINAL_COLUMNS } from "../metrics_csv.ts";
import { csvText } from "../shared/csv.ts";
import { encodeCursor } from "../shared/page_cursor.ts";
import type { DashboardDeps } from "./dashboard.tsx";
import { Filters } from "./history_filters.tsx";
import { historyFilter, type HistoryQuery, historyUrl, readHistoryQuery } from "./history_query.ts";
import { HistoryTable } from "./history_table.tsx";
import { MAX_LABELS } from "./overview_page.tsx";
import { renderPage, SECURITY_HEADERS } from "./page.tsx";
import { readPreferences } from "./preferences.ts";

/** Runs by the filters in the URL. */
export async function runsPage(c: Context, deps: DashboardDeps): Promise<Response> {
  const query = readHistoryQuery(c.req.query());
  const [page, labels] = await Promise.all([
    sharedHistory(c, deps, query),
    deps.briefly.get("labels", () => runLabels(deps.sql, { limit: MAX_LABELS })),
  ]);
  return await renderPage(c, deps.assets, {
    title: (t) => t("nav.runs"),
    nav: "runs",
    islands: ["history"],
    main: <Runs query={query} page={page} labels={labels} />,
  });
}

/** The page that the URL describes, as CSV. */
export async function runsCsv(c: Context, deps: DashboardDeps): Promise<Response> {
  const query = readHistoryQuery(c.req.query());
  const { rows } = await sharedHistory(c, deps, query);
  const columns = new Set<string>([...ORIGINAL_COLUMNS, ...HISTORY_COLUMNS]);
  columns.delete("position");
  const lines = rows.map((row) => ({ ...row, at: row.ended_at }));
  return c.body(csvText([...columns], lines), 200, {
    ...SECURITY_HEADERS,
    "content-type": "text/csv; charset=utf-8",
    "content-disposition": 'attachment; filename="etl_runs.csv"',
  });
}

function sharedHistory(c: Context, deps: DashboardDeps, query: HistoryQuery): Promise<HistoryPage> {
  const filter = historyFilter(query, readPreferences(c).zone);
  return deps.briefly.get(`history ${JSON.stringify(filter)}`, () => historyPage(deps.sql, filter));
}

interface RunsProps {
  query: HistoryQuery;
  page: HistoryPage;
  labels: string[];
}

function Runs({ query, page, labels }: RunsProps) {
  const { t } = useLocale();
  const isFiltered = [query.start, query.end, query.run_label, query.state, query.dry_run]
    .some((value) => value !== undefined);
  return (
    <>
      <div class="page-head">
        <h1>{t("nav.runs")}</h1>
        <a class="button news" href={historyUrl(query, { after: null, before: null })} hidden>
          <Icon name="up" />{" "}
          <span data-one={t("history.new_one")} data-many={t("history.new_many")} />
        </a>
        <div class="page-actions">
          <a class="button" href={historyUrl(query, {}, "/etl/runs.csv")} download="etl_runs.csv">
            <Icon name="download" /> CSV
          </a>
          <a class="button primary narrow-only" href="/etl/new">
            <Icon name="plus" /> {t("nav.new")}
          </a>
        </div>
      </div>
      <section class="card history" aria-label={t("nav.runs")}>
        <Filters query={query} labels={labels} isFiltered={isFiltered} />
        {page.rows.length === 0
          ? <Empty isFiltered={isFiltered} />
          : <HistoryTable query={query} rows={page.rows} />}
        <Pager query={query} page={page} />
      </section>
    </>
  );
}

function Empty({ isFiltered }: { isFiltered: boolean }) {
  const { t } = useLocale();
  return (
    <div class="empty large">
      <h2>{t(isFiltered ? "history.nothing_found" : "overview.welcome")}</h2>
      <p>{t(isFiltered ? "history.loosen" : "overview.first_steps")}</p>
      <a class="button" href={isFiltered ? "/etl/runs" : "/etl/new"}>
        {t(isFiltered ? "history.clear" : "nav.new")}
      </a>
    </div>
  );
}

function Pager({ query, page }: Pick<RunsProps, "query" | "page">) {
  const { t, number } = useLocale();
  const { rows, count, hasPrevious, hasNext } = page;
  const cursor = (row: { position: string; run_id: string } | undefined) =>
    row === undefined ? null : encodeCursor([row.position, row.run_id]);
  const counted = count > COUNT_LIMIT
    ? t("history.many_runs", { limit: COUNT_LIMIT })
    : t("history.runs", { n: count });
  return (
    <div class="pager">
      <p class="quiet">{counted}</p>
      <p class="visually-hidden">{t("history.page_size", { n: number(rows.length) })}</p>
      <nav class="pager-links" aria-label={t("history.pages")}>
        <PageLink
          to={hasPrevious ? historyUrl(query, { before: cursor(rows[0]), after: null }) : null}
          rel="prev"
        />
        <PageLink
          to={hasNext ? historyUrl(query, { after: cursor(rows.at(-1)), before: null }) : null}
          rel="next"
        />
      </nav>
    </div>
  );
}

function PageLink({ to, rel }: { to: string | null; rel: "prev" | "next" }) {
  const { t } = useLocale();
  const content = rel === "prev"
    ? [<Icon key="icon" name="left" />, t("history.previous")]
    : [t("history.next"), <Icon key="icon" name="right" />];
  if (to === null) return <span class="button" aria-disabled="true">{content}</span>;
  return <a class="button" href={to} rel={rel}>{content}</a>;
}
