import type { Context } from "hono";
import { z } from "zod";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { useLocale } from "../../islands/lib/context.tsx";
import { FirstSteps } from "../../islands/ui/first_steps.tsx";
import { Icon, StateBadge, Time } from "../../islands/ui/elements.tsx";
import { createLocale, type Locale } from "../../islands/lib/locale.ts";
import {
  BARS,
  type PipelineBar,
  pipelineBars,
  type PipelineRow,
  type Pipelines,
  pipelines,
} from "../../store/pipelines.ts";
import { type DashboardDeps, type Page, SECURITY_HEADERS, useScript } from "./page.tsx";
import { readPreferences } from "./preferences.ts";

const ROWS = 50;
const MAX_PAGE = 40;

/** A row a label: what comes first when somebody asks whether all is well. */
export const pipelinesPage: Page = {
  path: "/",
  role: "viewer",
  nav: "pipelines",
  menu: { key: "p" },
  data: { "/pipelines/bars": barsData },
  async load(c, deps) {
    const search = (c.req.query("q") ?? "").trim().slice(0, 200);
    // what bookmarks of the overview have
    const label = c.req.query("run_label");
    if (label !== undefined && label !== "") {
      return c.redirect(`/etl/overview?run_label=${encodeURIComponent(label)}`);
    }
    const page = Math.min(MAX_PAGE, Math.max(1, Math.trunc(Number(c.req.query("page"))) || 1));
    const filter = { search, limit: ROWS, offset: (page - 1) * ROWS };
    const found = await deps.briefly.get(
      `pipelines ${JSON.stringify(filter)}`,
      () => pipelines(deps.sql, filter),
    );
    return {
      main: <PipelineList found={found} search={search} page={page} />,
      shared: `pipelines ${JSON.stringify(filter)}`,
    };
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
          {page * ROWS < total && page < MAX_PAGE && (
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
        <a class="row-link clip" href={href}>{name}</a>
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
              {last.dry_run && <span class="tag">{t("field.dry_run")}</span>}
              <span class="quiet second-line">
                <Time at={last.requested_at} style="relative" />
              </span>
            </a>
          )}
      </td>
      <td class="pipeline-bars">{last === undefined ? null : <Bars row={row} />}</td>
      {last_success === null
        ? <Nothing />
        : (
          <td class={last_success.run_id === last?.run_id ? "not-on-phone" : undefined}>
            {last_success.run_id !== last?.run_id && (
              <span class="phone-label quiet">{t("pipelines.last_success")}</span>
            )}
            <a href={`/etl/runs/${last_success.run_id}`} class="figure-link">
              <Time at={last_success.ended_at} style="relative" />
              <span class="quiet second-line">
                {last_success.rows === null
                  ? null
                  : t("pipelines.rows", { n: last_success.rows, rows: number(last_success.rows) })}
              </span>
            </a>
          </td>
        )}
      {next_slot !== null
        ? (
          <td>
            <span class="phone-label quiet">{t("pipelines.next_slot")}</span>
            <Time at={next_slot} style="relative" />
          </td>
        )
        : <Nothing text={schedules.length > 0 ? t("schedule.paused") : undefined} />}
      {incidents > 0
        ? (
          <td>
            <span class="phone-label quiet">{t("pipelines.incidents")}</span>
            <a class="is-bad" href="/etl/alerts">
              <Icon name="warning" /> {t("pipelines.open", { n: incidents })}
            </a>
          </td>
        )
        : <Nothing />}
    </tr>
  );
}

/** A cell that a phone does without. */
function Nothing({ text = "–" }: { text?: string | undefined }) {
  return <td class="not-on-phone quiet">{text}</td>;
}

const BAR = { step: 8, width: 6, height: 28, least: 5 };

/**
 * The last runs, oldest first: as high as they took long, failed ones also marked by a shape. A path for each state, not an
 * element for each run: there are a thousand of them on a page. Their script makes each a link of its own.
 */
function Bars({ row: { name, of_schedule, runs } }: { row: PipelineRow }) {
  const { t } = useLocale();
  const failed = runs.filter(({ state }) => state === "failed").length;
  return (
    <a
      class="bars"
      href={of_schedule ? "/etl/runs" : `/etl/runs?run_label=${encodeURIComponent(name)}`}
      data-of-schedule={of_schedule ? "" : undefined}
    >
      <span class="visually-hidden">
        {t("pipelines.bars_text", { n: runs.length, failed })}
      </span>
      <svg aria-hidden="true">
        {[...barPaths(runs)].map(([className, d]) => (
          <path key={className} class={className} d={d} />
        ))}
      </svg>
    </a>
  );
}

/** Outlines of bars and marks by the class they are drawn with; the newest is at the right. */
function barPaths(runs: PipelineBar[]): Map<string, string> {
  const longest = Math.max(1, ...runs.map(({ duration_ms }) => duration_ms ?? 0));
  const paths = new Map<string, string>();
  const draw = (className: string, d: string) =>
    paths.set(className, (paths.get(className) ?? "") + d);
  runs.forEach(({ state, dry_run, duration_ms }, index) => {
    const x = (BARS - 1 - index) * BAR.step + 1;
    const room = BAR.height - 7;
    const height = Math.max(BAR.least, Math.round((duration_ms ?? 0) / longest * room));
    const { width, height: bottom } = BAR;
    // a line of the width of a bar; where nothing was written, the outline of it
    if (dry_run) {
      draw(
        `bar is-${state} is-dry`,
        `M${x + 0.5} ${bottom - 0.5}h${width - 1}v${1 - height}h${1 - width}z`,
      );
    } else draw(`bar is-${state}`, `M${x + width / 2} ${bottom}v-${height}`);
    if (state === "failed") draw("bar-mark", `M${x} ${BAR.height - height - 6}l5 4m0-4l-5 4`);
  });
  return paths;
}

/** What the bars of a row are of, newest first, as their links say it: what follows `last`, which is drawn already, is left out. */
async function barsData(c: Context, deps: DashboardDeps): Promise<Response> {
  const last = z.uuid().safeParse(c.req.query("last"));
  if (!last.success) {
    throw new Problem("bad-request", { detail: say("last-no-run", {}) });
  }
  const locale = createLocale(readPreferences(c));
  const runs = await pipelineBars(deps.sql, last.data, c.req.query("of_schedule") === "true");
  const items = runs.map((run) => ({ run_id: run.run_id, text: barText(run, locale) }));
  return c.json(items, 200, { ...SECURITY_HEADERS, "cache-control": "no-store" });
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
