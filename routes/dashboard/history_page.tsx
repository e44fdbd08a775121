import type { Context } from "hono";
import { RUN_STATES } from "../../vocabulary/words.ts";
import { Icon, Prose, StateBadge, Time } from "../../islands/ui/elements.tsx";
import { useContext } from "preact/hooks";
import { useLocale, ViewerContext } from "../../islands/lib/context.tsx";
import {
  COUNT_LIMIT,
  HISTORY_COLUMNS,
  type HistoryPage,
  historyPage,
  type HistoryRow,
  type SortColumn,
} from "../../store/history.ts";
import { mayAct } from "../access/identity.ts";
import { ORIGINAL_COLUMNS } from "../metrics_csv.ts";
import { csvText } from "../shared/csv.ts";
import { encodeCursor } from "../shared/page_cursor.ts";
import {
  historyFilter,
  type HistoryQuery,
  historyUrl,
  LIMITS,
  readHistoryQuery,
} from "./history_query.ts";
import {
  type DashboardDeps,
  knownLabels,
  type Page,
  SECURITY_HEADERS,
  useScript,
} from "./page.tsx";
import { readPreferences } from "./preferences.ts";
import type { MessageKey } from "../../islands/i18n/en.ts";

/** Runs by the filters in the URL. */
export const runsPage: Page = {
  path: "/runs",
  role: "viewer",
  nav: "runs",
  menu: { key: "r" },
  data: { "/runs.csv": runsCsv },
  async load(c, deps) {
    const query = readHistoryQuery(c.req.query());
    const [page, labels] = await Promise.all([
      sharedHistory(c, deps, query),
      knownLabels(deps),
    ]);
    return {
      main: <Runs query={query} page={page} labels={labels} />,
      shared: `history ${JSON.stringify([query, c.req.query("since")])}`,
    };
  },
};

/** The page that the URL describes, as CSV. */
async function runsCsv(c: Context, deps: DashboardDeps): Promise<Response> {
  const query = readHistoryQuery(c.req.query());
  const { rows } = await sharedHistory(c, deps, query);
  const columns = new Set<string>([...ORIGINAL_COLUMNS, ...HISTORY_COLUMNS]);
  columns.delete("position");
  const lines = rows.map((row) => ({ ...row, at: row.ended_at }));
  return c.body(csvText([...columns], lines), 200, {
    ...SECURITY_HEADERS,
    "cache-control": "no-store",
    "content-type": "text/csv; charset=utf-8",
    "content-disposition": 'attachment; filename="etl_runs.csv"',
  });
}

function sharedHistory(c: Context, deps: DashboardDeps, query: HistoryQuery): Promise<HistoryPage> {
  const filter = historyFilter(query, readPreferences(c).zone);
  // who has been told of a run is shown it, also within the second for which an answer is kept
  const since = (c.req.query("since") ?? "").slice(0, 36);
  return deps.briefly.get(
    `history ${JSON.stringify(filter)} ${since}`,
    () => historyPage(deps.sql, filter),
  );
}

interface RunsProps {
  query: HistoryQuery;
  page: HistoryPage;
  labels: string[];
}

function Runs({ query, page, labels }: RunsProps) {
  useScript("history");
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
        {page.rows.length === 0 ? <Empty isFiltered={isFiltered} /> : (
          <>
            {mayAct(useContext(ViewerContext).role, "operator") && <Bulk />}
            <HistoryTable query={query} rows={page.rows} />
          </>
        )}
        <Pager query={query} page={page} />
      </section>
    </>
  );
}

/** What can be done with several runs at once; its script brings it to life. */
function Bulk() {
  const { t } = useLocale();
  return (
    <div
      class="bulk only-with-script"
      role="group"
      aria-label={t("bulk.label")}
      data-done={t("bulk.done")}
      data-progress={t("bulk.progress")}
      data-offline={t("error.network")}
      hidden
    >
      <span class="bulk-count" data-text={t("bulk.chosen")} />
      <button type="button" class="button" data-bulk="retry">
        <Icon name="retry" /> <span data-text={t("bulk.retry")} />
      </button>
      <button type="button" class="button danger" data-bulk="cancel">
        <Icon name="stop" /> <span data-text={t("bulk.cancel")} />
      </button>
      <div class="bulk-answer" role="status" />
    </div>
  );
}

function Empty({ isFiltered }: { isFiltered: boolean }) {
  const { t } = useLocale();
  return (
    <div class="empty large">
      <h2>{t(isFiltered ? "history.nothing_found" : "overview.welcome")}</h2>
      <p>
        <Prose text={t(isFiltered ? "history.loosen" : "overview.first_steps")} />
      </p>
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

interface FiltersProps {
  query: HistoryQuery;
  labels: string[];
  isFiltered: boolean;
}

/** A form whose fields are the parameters of the URL; works without script. */
export function Filters({ query, labels, isFiltered }: FiltersProps) {
  const { t, number } = useLocale();
  const { sort, order, limit } = query;
  return (
    <form class="filters" action="/etl/runs" role="search" aria-label={t("history.filters")}>
      {sort !== "requested_at" && <input type="hidden" name="sort" value={sort} />}
      {order !== "desc" && <input type="hidden" name="order" value={order} />}
      <Choice
        name="run_label"
        label={t("field.run_label")}
        value={query.run_label}
        options={labels.map((label) => [label, label])}
        first
      />
      <Choice
        name="state"
        label={t("field.state")}
        value={query.state}
        options={RUN_STATES
          .map((state) => [state, t(`state.${state}`)])}
      />
      <Choice
        name="dry_run"
        label={t("field.dry_run")}
        value={query.dry_run}
        options={[["true", t("history.dry_only")], ["false", t("history.dry_without")]]}
      />
      <Day name="start" label={t("history.start")} value={query.start} />
      <Day name="end" label={t("history.end")} value={query.end} />
      <div class="filter">
        <label for="filter-limit">{t("history.limit")}</label>
        <select id="filter-limit" name="limit" data-submit>
          {[...new Set([...LIMITS, limit])].sort((a, b) => a - b).map((each) => (
            <option key={each} value={each} selected={each === limit}>{number(each)}</option>
          ))}
        </select>
      </div>
      <div class="filter-actions">
        <button type="submit" class="button">{t("history.apply")}</button>
        {isFiltered && <a class="button plain" href="/etl/runs">{t("history.clear")}</a>}
      </div>
    </form>
  );
}

interface ChoiceProps {
  name: string;
  label: string;
  value: string | undefined;
  options: [value: string, text: string][];
  first?: boolean;
}

function Choice({ name, label, value, options, first }: ChoiceProps) {
  const { t } = useLocale();
  const known = value === undefined || options.some(([each]) => each === value);
  const all: [string, string][] = known ? options : [[value, value], ...options];
  return (
    <div class="filter">
      <label for={`filter-${name}`}>{label}</label>
      <select id={`filter-${name}`} name={name} data-submit data-filter={first ? "" : undefined}>
        <option value="">{t("history.any")}</option>
        {all.map(([each, text]) => (
          <option key={each} value={each} selected={each === value}>{text}</option>
        ))}
      </select>
    </div>
  );
}

/** A day; an exact time that a shared URL holds is kept as it is. */
function Day({ name, label, value }: { name: string; label: string; value: string | undefined }) {
  const isDay = value === undefined || value.length === 10;
  return (
    <div class="filter">
      <label for={`filter-${name}`}>{label}</label>
      {isDay
        ? <input id={`filter-${name}`} name={name} type="date" value={value ?? ""} />
        : <input id={`filter-${name}`} name={name} type="text" value={value} />}
    </div>
  );
}

interface Column {
  name: SortColumn | "trigger";
  label: MessageKey;
  className?: string;
}

const COLUMNS: Column[] = [
  { name: "state", label: "field.state" },
  { name: "run_label", label: "field.run_label" },
  { name: "requested_at", label: "field.requested_at", className: "from-tablet" },
  { name: "trigger", label: "field.trigger", className: "from-widest" },
  { name: "total_rows", label: "field.total_rows", className: "num" },
  { name: "rejected", label: "field.rejected", className: "num from-wide" },
  { name: "ratio", label: "field.ratio", className: "num" },
  { name: "num_chunks", label: "field.chunks", className: "num from-wide" },
  { name: "duration_ms", label: "field.duration", className: "num from-tablet" },
];

interface HistoryTableProps {
  query: HistoryQuery;
  rows: HistoryRow[];
}

/** Runs, each column a link that sorts by it. */
function HistoryTable({ query, rows }: HistoryTableProps) {
  const { t } = useLocale();
  const mayChoose = mayAct(useContext(ViewerContext).role, "operator");
  return (
    <div class="table-scroll">
      <table class="table">
        <thead>
          <tr>
            {mayChoose && (
              <th scope="col" class="choose only-with-script">
                <input type="checkbox" data-choose-all aria-label={t("bulk.all")} />
              </th>
            )}
            {COLUMNS.map((column) => <Head key={column.name} query={query} column={column} />)}
          </tr>
        </thead>
        <tbody>{rows.map((row) => <Row key={row.run_id} row={row} mayChoose={mayChoose} />)}</tbody>
      </table>
    </div>
  );
}

function Head({ query, column }: { query: HistoryQuery; column: Column }) {
  const { t } = useLocale();
  const { name, label, className } = column;
  if (name === "trigger") return <th scope="col" class={className}>{t(label)}</th>;
  const isSorted = query.sort === name;
  const descending = query.order === "desc";
  const order = isSorted && descending ? "asc" : "desc";
  return (
    <th
      scope="col"
      class={className}
      aria-sort={isSorted ? (descending ? "descending" : "ascending") : "none"}
    >
      <a class="sort" href={historyUrl(query, { sort: name, order, after: null, before: null })}>
        {t(label)}
        <span class={isSorted ? "sort-mark" : "sort-mark off"}>
          <Icon name={isSorted && !descending ? "up" : "down"} size={12} />
        </span>
      </a>
    </th>
  );
}

function Row({ row, mayChoose }: { row: HistoryRow; mayChoose: boolean }) {
  const { t, maybe, number, percent, duration } = useLocale();
  return (
    <tr data-run={row.run_id} data-state={row.state}>
      {mayChoose && (
        <td class="choose">
          <input type="checkbox" data-choose aria-label={t("bulk.one", { label: row.run_label })} />
        </td>
      )}
      <td>
        <StateBadge state={row.state} />
      </td>
      <th scope="row">
        <a class="row-link clip" href={`/etl/runs/${row.run_id}`}>{row.run_label}</a>
        {row.dry_run && <span class="tag">{t("field.dry_run")}</span>}
        {row.replay && <span class="tag">{t("field.replay")}</span>}
        <span class="to-tablet quiet second-line">
          <Time at={row.requested_at} style="relative" />
        </span>
      </th>
      <td class="quiet from-tablet">
        <Time at={row.requested_at} style="long" />
      </td>
      <td class="quiet from-widest">{maybe(`trigger.${row.trigger}`) ?? row.trigger}</td>
      <td class="num">{row.total_rows === null ? "–" : number(row.total_rows)}</td>
      <td class="num from-wide">{row.rejected === null ? "–" : number(row.rejected)}</td>
      <td class={row.low_ratio ? "num is-bad" : "num"}>
        {row.ratio === null ? "–" : percent(row.ratio)}
      </td>
      <td class="num from-wide">{row.num_chunks === null ? "–" : number(row.num_chunks)}</td>
      <td class="num from-tablet">
        {row.duration_ms === null ? "–" : duration(row.duration_ms)}
      </td>
    </tr>
  );
}
