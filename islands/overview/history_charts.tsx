import type { HistoryPoint } from "../../store/dashboard.ts";
import type { MessageKey } from "../i18n/en.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { ChartCanvas } from "../ui/chart_canvas.tsx";
import { StateBadge } from "../ui/state.tsx";
import { Time } from "../ui/time.tsx";
import { SERIES_COUNT, seriesOf } from "./series.ts";

/** Ratio, rows and duration of the last runs. */
export function HistoryCharts({ points }: { points: HistoryPoint[] }) {
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
            <ChartCanvas kind={kind} points={points} label={t(`chart.${kind}_label`)} />
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
    <svg width="18" height="10" class={`series-${index % SERIES_COUNT}`} aria-hidden="true">
      <path class="series-line" d="M0 5h18" />
      <path class="series-mark" d={MARKS[index % SERIES_COUNT]!} />
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
              <td class="num">{point.duration_ms === null ? "–" : duration(point.duration_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
