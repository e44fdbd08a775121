/// <reference lib="dom" />
import type { AlertView, HistoryPoint, PoolUse } from "../store/dashboard.ts";
import type { NextSchedule } from "../store/schedules.ts";
import type { RunView } from "../vocabulary/run_schema.ts";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { mount } from "./lib/mount.tsx";
import { useLocale } from "./lib/context.tsx";
import { useEvents } from "./lib/live.ts";
import { Icon, LiveMark, Said, StateBadge, Time } from "./ui/elements.tsx";
import { FirstSteps } from "./ui/first_steps.tsx";
import type { MessageKey } from "./i18n/en.ts";
import type { ChartKind, DrawnChart } from "./overview/charts.ts";

/** One thing that health says, in words of the catalogue. */
export interface HealthLine {
  level: "ok" | "warning" | "problem";
  key: string;
  values?: Record<string, string | number>;
  /** Text of the server instead of a key. */
  text?: string;
}

/** What the overview shows; each part is sent anew when it has changed. */
export interface OverviewData {
  recent: RunView[];
  active: RunView[];
  history: HistoryPoint[];
  alerts: AlertView[];
  /** Another text as soon as an incident changes. */
  incidents: string;
  pools: PoolUse[];
  schedules: NextSchedule[];
  health: HealthLine[];
}

export interface OverviewProps {
  data: OverviewData;
  labels: string[];
  /** Only runs of this label; null: all. */
  label: string | null;
}

/** The whole overview, kept up to date while it is in view. */
export function Overview({ data: initial, labels, label }: OverviewProps) {
  const { t } = useLocale();
  const [data, setData] = useState(initial);
  const onEvent = useCallback((type: string, parts: unknown) => {
    if (type === "parts") setData((now) => ({ ...now, ...parts as Partial<OverviewData> }));
  }, []);
  const query = label === null ? "" : `?run_label=${encodeURIComponent(label)}`;
  const connection = useEvents(`/etl/events${query}`, onEvent, ["hello", "parts"]);
  return (
    <>
      <div class="page-head">
        <div>
          {label !== null && (
            <p class="crumb">
              <a href="/etl">{t("nav.pipelines")}</a>
            </p>
          )}
          <h1 class="clip">{label ?? t("nav.overview")}</h1>
        </div>
        <LiveMark connection={connection} />
        <div class="page-actions">
          <LabelFilter labels={labels} label={label} />
          <a class="button primary narrow-only" href="/etl/new">
            <Icon name="plus" /> {t("nav.new")}
          </a>
        </div>
      </div>
      {data.recent.length === 0 ? <FirstSteps filtered={label !== null} /> : (
        <>
          <KeyFigures data={data} />
          <HistoryCharts points={data.history} />
        </>
      )}
      <div class="columns wide-left">
        <RecentRuns runs={data.recent} />
        <AlertList alerts={data.alerts} />
      </div>
      <div class="columns thirds">
        <HealthList lines={data.health} />
        <PoolList pools={data.pools} />
        <ScheduleList schedules={data.schedules} />
      </div>
    </>
  );
}

function LabelFilter({ labels, label }: Pick<OverviewProps, "labels" | "label">) {
  const { t } = useLocale();
  if (labels.length < 2 && label === null) return null;
  return (
    <form action="/etl/overview" class="inline-form">
      <label class="visually-hidden" for="run_label">{t("field.run_label")}</label>
      <select id="run_label" name="run_label" data-submit>
        <option value="">{t("overview.all_labels")}</option>
        {labels.map((each) => (
          <option key={each} value={each} selected={each === label}>{each}</option>
        ))}
      </select>
      <button type="submit" class="button only-without-script">{t("action.show")}</button>
    </form>
  );
}

/** What one wants to know first: how the latest run went, every figure of that one run, and what is going on. */
function KeyFigures({ data }: { data: OverviewData }) {
  const { t, number, percent, duration } = useLocale();
  const latest = data.recent.find(({ ended_at }) => ended_at !== null) ?? data.recent[0]!;
  const required = data.history.find(({ run_id }) => run_id === latest.run_id)
    ?.min_acceptance_ratio;
  const { inserted = 0, updated = 0, unchanged = 0 } = latest.counts as Record<string, number>;
  const rows = latest.total_rows;
  // of one that goes on nothing is measured yet
  const notMeasured = latest.ended_at === null ? "" : t("overview.not_measured");
  const running = data.active.filter((run) => run.state === "running").length;
  const waiting = data.active.length - running;
  return (
    <dl class="figures">
      <div class="figure">
        <dt>{t("overview.latest_run")}</dt>
        <dd class="figure-main">
          <a href={`/etl/runs/${latest.run_id}`} class="figure-link">
            <StateBadge state={latest.state} />
          </a>
        </dd>
        <dd class="figure-note">
          <span class="clip">{latest.run_label}</span>{" "}
          {latest.dry_run && <span class="tag">{t("field.dry_run")}</span>} ·{" "}
          <Time at={latest.requested_at} style="relative" />
        </dd>
      </div>
      <div class="figure">
        <dt>{t("overview.ratio")}</dt>
        <dd class={`figure-main ${latest.low_ratio ? "is-bad" : ""}`}>
          {latest.ratio === null ? "–" : percent(latest.ratio)}
        </dd>
        <dd class="figure-note">
          {latest.ratio === null || required == null
            ? notMeasured
            : t(latest.ratio < required ? "overview.below_threshold" : "overview.threshold", {
              ratio: percent(required),
            })}
        </dd>
      </div>
      <div class="figure">
        <dt>{t("overview.rows")}</dt>
        <dd class="figure-main">{rows === null ? "–" : number(rows)}</dd>
        <dd class="figure-note">
          {rows === null ? notMeasured : t("overview.rows_split", { inserted, updated, unchanged })}
        </dd>
      </div>
      <div class="figure">
        <dt>{t("overview.duration")}</dt>
        <dd class="figure-main">
          {latest.duration_ms === null ? "–" : duration(latest.duration_ms)}
        </dd>
        <dd class="figure-note">
          {latest.duration_ms === null || rows === null || latest.duration_ms === 0
            ? notMeasured
            : t("overview.rate", {
              rate: number(Math.round(rows / (latest.duration_ms / 1000))),
            })}
        </dd>
      </div>
      <div class="figure">
        <dt>{t("overview.now")}</dt>
        <dd class="figure-main">{t("overview.running", { n: running })}</dd>
        <dd class="figure-note">{t("overview.waiting", { n: waiting })}</dd>
      </div>
    </dl>
  );
}

/** The newest runs, each a link to its page. */
function RecentRuns({ runs }: { runs: RunView[] }) {
  const { t, number, percent, duration } = useLocale();
  return (
    <section class="card" aria-labelledby="recent-title">
      <div class="card-head">
        <h2 id="recent-title">{t("overview.recent_runs")}</h2>
        <a href="/etl/runs">{t("action.all_runs")}</a>
      </div>
      {runs.length === 0 ? <p class="empty">{t("overview.no_runs")}</p> : (
        <div class="table-scroll">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">{t("field.state")}</th>
                <th scope="col">{t("field.run_label")}</th>
                <th scope="col" class="from-tablet">{t("field.requested_at")}</th>
                <th scope="col" class="num">{t("field.total_rows")}</th>
                <th scope="col" class="num">{t("field.ratio")}</th>
                <th scope="col" class="num from-tablet">{t("field.duration")}</th>
              </tr>
            </thead>
            <tbody>
              {runs.map((run) => (
                <tr key={run.run_id}>
                  <td>
                    <StateBadge state={run.state} />
                  </td>
                  <th scope="row">
                    <a class="row-link clip" href={`/etl/runs/${run.run_id}`}>{run.run_label}</a>
                    {run.dry_run && <span class="tag">{t("field.dry_run")}</span>}
                    <span class="to-tablet quiet second-line">
                      <Time at={run.requested_at} style="relative" />
                    </span>
                  </th>
                  <td class="quiet from-tablet">
                    <Time at={run.requested_at} />
                  </td>
                  <td class="num">{run.total_rows === null ? "–" : number(run.total_rows)}</td>
                  <td class={`num ${run.low_ratio ? "is-bad" : ""}`}>
                    {run.ratio === null ? "–" : percent(run.ratio)}
                  </td>
                  <td class="num from-tablet">
                    {run.duration_ms === null ? "–" : duration(run.duration_ms)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function AlertList({ alerts }: Pick<OverviewData, "alerts">) {
  const { t, maybe } = useLocale();
  return (
    <section class="card" aria-labelledby="alerts-title">
      <div class="card-head">
        <h2 id="alerts-title">{t("nav.alerts")}</h2>
        <a href="/etl/alerts">{t("action.all_alerts")}</a>
      </div>
      {alerts.length === 0 ? <p class="empty">{t("overview.no_alerts")}</p> : (
        <ul class="rows">
          {alerts.map((alert) => (
            <li key={alert.alert_id} class={`alert-row is-${alert.severity}`}>
              <Icon name={alert.severity === "info" ? "info" : "warning"} />
              <div>
                <p class="alert-kind">
                  {alert.run_id === null
                    ? maybe(`alert.${alert.kind}`) ?? alert.kind
                    : (
                      <a href={`/etl/runs/${alert.run_id}`}>
                        {maybe(`alert.${alert.kind}`) ?? alert.kind}
                      </a>
                    )}
                  <span class="quiet">
                    <Time at={alert.created_at} style="relative" />
                  </span>
                </p>
                <p class="alert-message">
                  <Said text={alert.message} />
                </p>
              </div>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

const HEALTH_ICONS = { ok: "check", warning: "warning", problem: "close" } as const;

export function HealthList({ lines }: { lines: OverviewData["health"] }) {
  const { t } = useLocale();
  const count = (level: OverviewData["health"][number]["level"]) =>
    lines.filter((line) => line.level === level).length;
  const [look, key] = count("problem") > 0
    ? ["is-bad", "health.unhealthy"] as const
    : count("warning") > 0
    ? ["is-warning", "health.warnings"] as const
    : ["is-good", "health.healthy"] as const;
  return (
    <section class="card" aria-labelledby="health-title">
      <div class="card-head">
        <h2 id="health-title">{t("overview.health")}</h2>
        <span class={look}>{t(key, { n: count("warning") })}</span>
      </div>
      <ul class="rows">
        {lines.map((line) => (
          <li key={line.key + (line.text ?? "")} class={`health-row is-${line.level}`}>
            <Icon name={HEALTH_ICONS[line.level]} />
            {line.text === undefined
              ? t(line.key as MessageKey, line.values ?? {})
              : <Said className="health-text" text={line.text} />}
          </li>
        ))}
      </ul>
    </section>
  );
}

function PoolList({ pools }: Pick<OverviewData, "pools">) {
  const { t } = useLocale();
  return (
    <section class="card" aria-labelledby="pools-title">
      <div class="card-head">
        <h2 id="pools-title">{t("nav.pools")}</h2>
        <a href="/etl/pools">{t("action.manage")}</a>
      </div>
      <ul class="rows">
        {pools.map(({ pool, slots, running, waiting }) => (
          <li key={pool} class="pool-row">
            <span class="clip">{pool}</span>
            <Meter value={running} max={slots} label={t("pool.use", { pool, running, slots })} />
            <span class="num quiet">
              {t(waiting > 0 ? "pool.busy" : "pool.used", { running, slots, waiting })}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Meter({ value, max, label }: { value: number; max: number; label: string }) {
  const share = max === 0 ? 0 : Math.min(1, value / max);
  return (
    <svg class="meter" width="100%" height="6" role="img" aria-label={label}>
      <rect class="meter-rest" width="100%" height="6" rx="3" />
      <rect class="meter-used" width={`${share * 100}%`} height="6" rx="3" />
    </svg>
  );
}

export function ScheduleList({ schedules }: Pick<OverviewData, "schedules">) {
  const { t } = useLocale();
  return (
    <section class="card" aria-labelledby="schedules-title">
      <div class="card-head">
        <h2 id="schedules-title">{t("nav.schedules")}</h2>
        <a href="/etl/schedules">{t("action.manage")}</a>
      </div>
      {schedules.length === 0
        ? <p class="empty">{t("overview.no_schedules")}</p>
        : (
          <ul class="rows">
            {schedules.map(({ name, cron, next_slot, paused }) => (
              <li key={name} class="schedule-row">
                <span class="clip">{name}</span>
                <code class="quiet">{cron}</code>
                <span class="quiet">
                  {paused || next_slot === null
                    ? t("schedule.paused")
                    : <Time at={next_slot} style="relative" />}
                </span>
              </li>
            ))}
          </ul>
        )}
    </section>
  );
}

/** Lines that can be told apart. */
const SERIES_COUNT = 6;

export interface Series {
  label: string;
  /** Index in the points, of those that belong to it. */
  indexes: number[];
}

/** The points by label, the most frequent first; what is left over is one series. */
export function seriesOf(points: HistoryPoint[], rest: string): Series[] {
  const byLabel = new Map<string, number[]>();
  points.forEach(({ run_label }, index) => {
    byLabel.set(run_label, [...byLabel.get(run_label) ?? [], index]);
  });
  const all = [...byLabel].map(([label, indexes]) => ({ label, indexes }))
    .sort((a, b) => b.indexes.length - a.indexes.length || (a.label < b.label ? -1 : 1));
  if (all.length <= SERIES_COUNT) return all;
  const others = all.slice(SERIES_COUNT - 1).flatMap(({ indexes }) => indexes);
  return [
    ...all.slice(0, SERIES_COUNT - 1),
    { label: rest, indexes: others.sort((a, b) => a - b) },
  ];
}

/** Ratio, rows and duration of the last runs. */
function HistoryCharts({ points }: { points: HistoryPoint[] }) {
  const { t } = useLocale();
  const series = seriesOf(points, t("overview.other_labels"));
  return (
    <section class="card" aria-labelledby="history-title">
      <div class="card-head">
        <h2 id="history-title">{t("overview.history")}</h2>
        <ul class="legend">
          {series.map(({ label }, index) => (
            <li key={label}>
              <Mark index={index} />
              <span class="clip">{label}</span>
            </li>
          ))}
          <li>
            <svg width="18" height="10" aria-hidden="true">
              <path class="threshold-mark" d="M0 5h18" />
            </svg>
            {t("chart.threshold")}
          </li>
        </ul>
      </div>
      <div class="charts">
        {(["ratio", "rows", "duration"] as const).map((kind) => (
          <figure class={`chart chart-${kind}`} key={kind}>
            <figcaption>{t(`chart.${kind}` as MessageKey)}</figcaption>
            <ChartCanvas
              kind={kind}
              points={points}
              series={series}
              label={t(`chart.${kind}_label`)}
            />
          </figure>
        ))}
      </div>
      <details class="as-table">
        <summary>{t("chart.as_table")}</summary>
        <PointTable points={points} />
      </details>
    </section>
  );
}

const MARKS = [
  "M9 1.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  "M6 2h6v6H6z",
  "M9 1l4.5 7.5h-9z",
  "M9 .5L13.5 5 9 9.5 4.5 5z",
  "M9 9L4.5 1.5h9z",
  "M6 1.5l6 7M12 1.5l-6 7",
];

function Mark({ index }: { index: number }) {
  return (
    <svg width="18" height="10" class={`series-${index}`} aria-hidden="true">
      <path class="series-line" d="M0 5h18" />
      <path class="series-mark" d={MARKS[index]!} />
    </svg>
  );
}

function PointTable({ points }: { points: HistoryPoint[] }) {
  const { t, number, percent, duration } = useLocale();
  return (
    <div class="table-scroll">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">{t("field.ended_at")}</th>
            <th scope="col">{t("field.run_label")}</th>
            <th scope="col">{t("field.state")}</th>
            <th scope="col" class="num">{t("field.ratio")}</th>
            <th scope="col" class="num">{t("field.inserted")}</th>
            <th scope="col" class="num">{t("field.updated")}</th>
            <th scope="col" class="num">{t("field.unchanged")}</th>
            <th scope="col" class="num">{t("field.gone")}</th>
            <th scope="col" class="num">{t("field.duration")}</th>
          </tr>
        </thead>
        <tbody>
          {points.toReversed().map((point) => (
            <tr key={point.run_id}>
              <td>
                <a href={`/etl/runs/${point.run_id}`}>
                  <Time at={point.created_at} />
                </a>
              </td>
              <td>{point.run_label}</td>
              <td>
                <StateBadge state={point.status} />
              </td>
              <td class="num">{point.ratio === null ? "–" : percent(point.ratio)}</td>
              <td class="num">{number(point.inserted)}</td>
              <td class="num">{number(point.updated)}</td>
              <td class="num">{number(point.unchanged)}</td>
              <td class="num">{number(point.deleted + point.marked)}</td>
              <td class="num">{point.duration_ms === null ? "–" : duration(point.duration_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface ChartCanvasProps {
  kind: ChartKind;
  points: HistoryPoint[];
  series: Series[];
  /** What a screen reader says of it. */
  label: string;
}

/** A chart, drawn by a library that is loaded only where there is one. */
function ChartCanvas({ kind, points, series, label }: ChartCanvasProps) {
  const locale = useLocale();
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useRef<DrawnChart | null>(null);
  const key = JSON.stringify(points);
  useEffect(() => {
    let gone = false;
    const draw = async () => {
      const { drawChart } = await import("./overview/charts.ts");
      if (gone || canvas.current === null) return;
      drawn.current?.destroy();
      drawn.current = drawChart(canvas.current, kind, { points, series, locale });
      canvas.current.dataset.drawn = "";
    };
    void draw();
    const onTheme = () => void draw();
    addEventListener("themechange", onTheme);
    return () => {
      gone = true;
      removeEventListener("themechange", onTheme);
    };
  }, [key, locale]);
  useEffect(() => () => drawn.current?.destroy(), []);
  return (
    <div class="chart-box">
      <canvas ref={canvas} role="img" aria-label={label} />
    </div>
  );
}

mount("overview", Overview, { says: true });
