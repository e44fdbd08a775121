import { useLocale } from "../../islands/lib/context.tsx";
import { FirstSteps } from "../../islands/ui/first_steps.tsx";
import { Icon, StateBadge, Time } from "../../islands/ui/elements.tsx";
import type { Locale } from "../../islands/lib/locale.ts";
import {
  type PipelineBar,
  type PipelineRow,
  type Pipelines,
  pipelines,
} from "../../store/pipelines.ts";
import { baseOf } from "../shared/base_path.ts";
import { type Page, useScript } from "./page.tsx";

const ROWS = 50;
const MAX_PAGE = 40;

/** A row a label: what comes first when somebody asks whether all is well. */
export const pipelinesPage: Page = {
  path: "/",
  role: "viewer",
  nav: "pipelines",
  menu: { key: "p" },
  async load(c, deps) {
    const search = (c.req.query("q") ?? "").trim().slice(0, 200);
    // what bookmarks of the overview have
    const label = c.req.query("run_label");
    if (label !== undefined && label !== "") {
      return c.redirect(`${baseOf(c)}/etl/overview?run_label=${encodeURIComponent(label)}`);
    }
    const page = Math.min(MAX_PAGE, Math.max(1, Math.trunc(Number(c.req.query("page"))) || 1));
    const filter = { search, limit: ROWS, offset: (page - 1) * ROWS };
    const found = await deps.briefly.get(
      `pipelines ${JSON.stringify(filter)}`,
      () => pipelines(deps.sql, filter),
    );
    return { main: <PipelineList found={found} search={search} page={page} /> };
  },
};

interface PipelineListProps {
  found: Pipelines;
  search: string;
  page: number;
}

function PipelineList({ found, search, page }: PipelineListProps) {
  useScript("pipelines");
  const { t } = useLocale();
  const { rows, total, truncated } = found;
  const nothingYet = rows.length === 0 && search === "" && page === 1;
  return (
    <>
      <div class="page-head">
        <h1>{t("nav.pipelines")}</h1>
        <div class="page-actions">
          {!nothingYet && (
            <form
              class="inline-form"
              action="/etl"
              role="search"
              aria-label={t("pipelines.search")}
            >
              <label class="visually-hidden" for="pipeline-search">{t("pipelines.search")}</label>
              <input
                id="pipeline-search"
                type="search"
                name="q"
                value={search}
                placeholder={t("pipelines.search")}
                maxlength={200}
                autocomplete="off"
                data-filter
              />
              <button type="submit" class="button only-without-script">{t("action.show")}</button>
            </form>
          )}
          <a class="button primary narrow-only" href="/etl/new">
            <Icon name="plus" /> {t("nav.new")}
          </a>
        </div>
      </div>
      <div id="pipelines" class="island">
        {nothingYet
          ? <FirstSteps filtered={false} />
          : (
            <section class="card" aria-label={t("nav.pipelines")}>
              {rows.length === 0
                ? (
                  <p class="empty">
                    {search === ""
                      ? <a href="/etl">{t("nav.pipelines")}</a>
                      : t("pipelines.none_found")}
                  </p>
                )
                : (
                  <table class="table pipelines">
                    <thead>
                      <tr>
                        <th scope="col">{t("pipelines.pipeline")}</th>
                        <th scope="col">{t("pipelines.last_run")}</th>
                        <th scope="col">{t("pipelines.bars")}</th>
                        <th scope="col">{t("pipelines.last_success")}</th>
                        <th scope="col">{t("pipelines.next_slot")}</th>
                        <th scope="col">{t("pipelines.incidents")}</th>
                      </tr>
                    </thead>
                    <tbody>
                      {rows.map((row) => (
                        <Pipeline key={`${row.of_schedule} ${row.name}`} row={row} />
                      ))}
                    </tbody>
                  </table>
                )}
              <Pages search={search} page={page} total={total} />
              {truncated && <p class="quiet">{t("pipelines.truncated")}</p>}
            </section>
          )}
      </div>
    </>
  );
}

function Pages({ search, page, total }: { search: string; page: number; total: number }) {
  const { t } = useLocale();
  const url = (to: number) =>
    "/etl" + (search === "" ? `?page=${to}` : `?q=${encodeURIComponent(search)}&page=${to}`);
  return (
    <div class="pager">
      <p class="quiet" role="status">{t("pipelines.count", { n: total })}</p>
      {total > ROWS && (
        <nav class="pager-links" aria-label={t("history.pages")}>
          {page > 1 && (
            <a class="button" href={url(page - 1)} rel="prev">{t("history.previous")}</a>
          )}
          {page * ROWS < total && (
            <a class="button" href={url(page + 1)} rel="next">{t("history.next")}</a>
          )}
        </nav>
      )}
    </div>
  );
}

function Pipeline({ row }: { row: PipelineRow }) {
  const { t, number } = useLocale();
  const { name, of_schedule, runs, last_success, next_slot, schedules, incidents, urgency } = row;
  const last = runs[0];
  const href = of_schedule
    ? `/etl/schedules#row-${encodeURIComponent(name)}`
    : `/etl/overview?run_label=${encodeURIComponent(name)}`;
  const others = schedules.filter((each) => each !== name);
  return (
    <tr data-pipeline={name} class={`urgency-${urgency}`}>
      <th scope="row">
        <a class="row-link clip" href={href} title={name}>{name}</a>
        {others.length > 0 && (
          <span class="quiet second-line clip" title={others.join(", ")}>
            {t("pipelines.by_schedules", { names: others.join(", ") })}
          </span>
        )}
      </th>
      <td class="pipeline-state">
        {last === undefined
          ? <span class="quiet">{t("pipelines.never")}</span>
          : (
            <a href={`/etl/runs/${last.run_id}`} class="figure-link">
              <StateBadge state={last.state} />
              <span class="quiet second-line">
                <Time at={last.requested_at} style="relative" />
              </span>
            </a>
          )}
      </td>
      <td class="pipeline-bars">{last === undefined ? null : <Bars runs={runs} />}</td>
      <td class={last_success?.run_id === last?.run_id ? "not-on-phone" : undefined}>
        <span class="phone-label quiet">{t("pipelines.last_success")}</span>
        {last_success === null
          ? <span class="quiet">–</span>
          : (
            <a href={`/etl/runs/${last_success.run_id}`} class="figure-link">
              <Time at={last_success.ended_at} style="relative" />
              <span class="quiet second-line">
                {last_success.rows === null
                  ? null
                  : t("pipelines.rows", { n: last_success.rows, rows: number(last_success.rows) })}
              </span>
            </a>
          )}
      </td>
      <td class={next_slot === null ? "not-on-phone" : undefined}>
        <span class="phone-label quiet">{t("pipelines.next_slot")}</span>
        {next_slot !== null
          ? <Time at={next_slot} style="relative" />
          : <span class="quiet">{schedules.length > 0 ? t("schedule.paused") : "–"}</span>}
      </td>
      <td class={incidents === 0 ? "not-on-phone" : undefined}>
        <span class="phone-label quiet">{t("pipelines.incidents")}</span>
        {incidents > 0
          ? (
            <a class="is-bad" href="/etl/alerts">
              <Icon name="warning" /> {t("pipelines.open", { n: incidents })}
            </a>
          )
          : <span class="quiet">–</span>}
      </td>
    </tr>
  );
}

const BAR = { count: 20, width: 6, gap: 2, height: 28, least: 5 };

/** The last runs, oldest first: as high as they took long, failed ones also marked by a shape. */
function Bars({ runs }: { runs: PipelineBar[] }) {
  const locale = useLocale();
  const { t } = locale;
  const longest = Math.max(1, ...runs.map(({ duration_ms }) => duration_ms ?? 0));
  const step = BAR.width + BAR.gap;
  const first = BAR.count - runs.length;
  const failed = runs.filter(({ state }) => state === "failed").length;
  return (
    <>
      <span class="visually-hidden">
        {t("pipelines.bars_text", { n: runs.length, failed })}
      </span>
      <svg
        class="bars"
        width={BAR.count * step}
        height={BAR.height}
        viewBox={`0 0 ${BAR.count * step} ${BAR.height}`}
        aria-hidden="true"
      >
        {runs.toReversed().map((run, index) => {
          const x = (first + index) * step;
          const share = (run.duration_ms ?? 0) / longest;
          const room = BAR.height - 7;
          const height = Math.max(BAR.least, Math.round(share * room));
          const top = BAR.height - height;
          return (
            <a key={run.run_id} href={`/etl/runs/${run.run_id}`} tabindex={-1}>
              <title>{barText(run, locale)}</title>
              <rect class="bar-room" x={x - 1} y="0" width={step} height={BAR.height} />
              <rect
                class={`bar is-${run.state}${run.dry_run ? " is-dry" : ""}`}
                x={x + (run.dry_run ? 0.5 : 0)}
                y={top}
                width={BAR.width - (run.dry_run ? 1 : 0)}
                height={height}
                rx="1.5"
              />
              {run.state === "failed" && (
                <path class="bar-mark" d={`M${x + 0.5} ${top - 6}l5 4m0-4l-5 4`} />
              )}
            </a>
          );
        })}
      </svg>
    </>
  );
}

function barText(run: PipelineBar, { t, dateTime, duration, number }: Locale): string {
  return [
    t(`state.${run.state}` as "state.failed"),
    dateTime(run.requested_at),
    ...(run.dry_run ? [t("field.dry_run")] : []),
    ...(run.rows === null ? [] : [t("pipelines.rows", { n: run.rows, rows: number(run.rows) })]),
    ...(run.duration_ms === null ? [] : [duration(run.duration_ms)]),
  ].join(" · ");
}
