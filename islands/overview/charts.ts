/// <reference lib="dom" />
import { at } from "../lib/base.ts";
import {
  BarController,
  BarElement,
  CategoryScale,
  Chart,
  type ChartConfiguration,
  type ChartDataset,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
} from "chart.js";
import type { HistoryPoint } from "../../store/dashboard.ts";
import type { Locale } from "../lib/locale.ts";
import type { Series } from "../overview.tsx";

Chart.register(
  BarController,
  BarElement,
  CategoryScale,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
);

export type ChartKind = "ratio" | "rows" | "duration";
export interface DrawnChart {
  destroy(): void;
}

interface Input {
  points: HistoryPoint[];
  /** The points by label. */
  series: Series[];
  locale: Locale;
}

const POINT_STYLES = ["circle", "rect", "triangle", "rectRot", "triangle", "crossRot"] as const;

/** Draws the points of a kind; choosing one opens its run. */
export function drawChart(canvas: HTMLCanvasElement, kind: ChartKind, input: Input): DrawnChart {
  return new Chart(canvas, chartOf(kind, input, colors(canvas)));
}

type Color = (name: string) => string;

/** The same as the library is told it, with the colours of the style sheet. */
export function chartOf(kind: ChartKind, input: Input, color: Color): ChartConfiguration {
  return kind === "ratio"
    ? ratioChart(input, color)
    : kind === "rows"
    ? rowsChart(input, color)
    : durationChart(input, color);
}

/** What a colour of the style sheet is just now, light or dark. */
function colors(element: HTMLElement): Color {
  const found = new Map<string, string>();
  return (name) => {
    let color = found.get(name);
    if (color === undefined) {
      element.style.color = `var(--${name})`;
      color = getComputedStyle(element).color;
      found.set(name, color);
    }
    return color;
  };
}

function ratioChart({ points, series, locale }: Input, color: Color): ChartConfiguration {
  const datasets: ChartDataset<"line">[] = series.map(
    ({ label, indexes }, index) => {
      const owned = new Set(indexes);
      const line = color(`series-${index}`);
      return {
        label,
        data: points.map(({ ratio }, at) => owned.has(at) ? ratio : null),
        borderColor: line,
        backgroundColor: points.map(({ low_ratio }) => low_ratio ? color("danger") : line),
        pointBorderColor: points.map(({ low_ratio }) => low_ratio ? color("danger") : line),
        pointStyle: POINT_STYLES[index]!,
        pointRotation: index === 4 ? 180 : 0,
        borderWidth: 1.5,
        pointRadius: 3,
        pointHoverRadius: 5,
        spanGaps: true,
      };
    },
  );
  datasets.push(threshold(points, locale, color));
  const lowest = Math.min(...points.flatMap((p) => [p.ratio ?? 1, p.min_acceptance_ratio ?? 1]));
  const base = common(points, color, { locale, shown: locale.percent });
  return {
    type: "line",
    data: { labels: points.map(({ created_at }) => created_at), datasets },
    options: {
      ...base,
      scales: {
        ...base.scales,
        y: {
          ...base.scales!.y,
          min: Math.max(0, Math.floor(lowest * 20 - 1) / 20),
          max: 1,
          ticks: {
            ...base.scales!.y!.ticks,
            callback: (value) => locale.percent(Number(value)),
          },
        },
      },
    },
  } as ChartConfiguration;
}

/** A line where every run has the same threshold, else a dash at each run. */
function threshold(points: HistoryPoint[], locale: Locale, color: Color): ChartDataset<"line"> {
  const uniform = new Set(points.map((point) => point.min_acceptance_ratio)).size === 1;
  return {
    label: locale.t("chart.threshold"),
    data: points.map(({ min_acceptance_ratio }) => min_acceptance_ratio),
    borderColor: color("danger"),
    borderWidth: 1,
    borderDash: [4, 3],
    showLine: uniform,
    pointStyle: "line",
    pointRadius: uniform ? 0 : 5,
    pointHoverRadius: uniform ? 0 : 5,
    pointBorderColor: color("danger"),
  };
}

function rowsChart({ points, locale }: Input, color: Color): ChartConfiguration {
  const base = common(points, color, { locale, shown: locale.number });
  const bars = (["unchanged", "updated", "inserted"] as const).map((name) => ({
    label: locale.t(`field.${name}`),
    data: points.map((point) => point[name]),
    backgroundColor: color(`rows-${name}`),
    stack: "rows",
    categoryPercentage: 0.9,
    barPercentage: 0.9,
    borderRadius: 2,
  }));
  return {
    type: "bar",
    data: { labels: points.map(({ created_at }) => created_at), datasets: bars },
    options: {
      ...base,
      scales: {
        x: { ...base.scales!.x, stacked: true },
        y: {
          ...base.scales!.y,
          stacked: true,
          beginAtZero: true,
          ticks: {
            ...base.scales!.y!.ticks,
            precision: 0,
            callback: (value) => locale.number(Number(value), { notation: "compact" }),
          },
        },
      },
    },
  } as ChartConfiguration;
}

function durationChart({ points, locale }: Input, color: Color): ChartConfiguration {
  const base = common(points, color, { locale, shown: locale.duration });
  return {
    type: "bar",
    data: {
      labels: points.map(({ created_at }) => created_at),
      datasets: [{
        label: locale.t("field.duration"),
        data: points.map(({ duration_ms }) => duration_ms),
        backgroundColor: points.map(({ status }) => color(`state-${status}`)),
        categoryPercentage: 0.9,
        barPercentage: 0.9,
        borderRadius: 2,
      }],
    },
    options: {
      ...base,
      scales: {
        ...base.scales,
        y: {
          ...base.scales!.y,
          beginAtZero: true,
          ticks: {
            ...base.scales!.y!.ticks,
            callback: (value) => locale.duration(Number(value)),
          },
        },
      },
    },
  } as ChartConfiguration;
}

type Options = NonNullable<ChartConfiguration<"line">["options"]>;

interface Shown {
  locale: Locale;
  /** A value of the chart, in its unit. */
  shown(value: number): string;
}

function common(points: HistoryPoint[], color: Color, { locale, shown }: Shown): Options {
  const font = { family: "Inter Variable, system-ui, sans-serif", size: 11 };
  return {
    animation: false,
    maintainAspectRatio: false,
    // points at the very top are shown whole
    clip: false,
    layout: { padding: { top: 6, right: 6 } },
    interaction: { mode: "index", intersect: false },
    onClick: (_event, elements) => {
      const point = points[elements[0]?.index ?? -1];
      if (point !== undefined) location.assign(at(`/etl/runs/${point.run_id}`));
    },
    onHover: (event, elements) => {
      const target = event.native?.target as HTMLElement | undefined;
      if (target) target.style.cursor = elements.length > 0 ? "pointer" : "default";
    },
    plugins: {
      tooltip: {
        backgroundColor: color("text"),
        titleColor: color("surface"),
        bodyColor: color("surface"),
        footerColor: color("surface"),
        titleFont: { ...font, weight: 600 },
        bodyFont: font,
        footerFont: { ...font, weight: 400 },
        padding: 10,
        cornerRadius: 6,
        usePointStyle: true,
        boxPadding: 4,
        filter: (item) => item.raw !== null,
        callbacks: {
          title: (items) => locale.dateTime(points[items[0]!.dataIndex]!.created_at, "long"),
          label: (item) => `${item.dataset.label}: ${shown(item.raw as number)}`,
          footer: (items) => {
            const point = points[items[0]!.dataIndex]!;
            return `${point.run_label} · ${locale.t(`state.${point.status}` as "state.failed")}`;
          },
        },
      },
    },
    scales: {
      x: {
        grid: { display: false },
        border: { color: color("border") },
        ticks: {
          font,
          color: color("text-3"),
          maxRotation: 0,
          autoSkip: true,
          autoSkipPadding: 24,
          callback: (_value, index) =>
            locale.dateTime(points[index]!.created_at, timeStyle(points)),
        },
      },
      y: {
        grid: { color: color("grid") },
        border: { display: false },
        ticks: { font, color: color("text-3"), maxTicksLimit: 5 },
      },
    },
  };
}

/** Within a day the time says enough. */
function timeStyle(points: HistoryPoint[]): "short" | "time" {
  const times = points.map(({ created_at }) => Date.parse(created_at));
  return Math.max(...times) - Math.min(...times) < 86_400_000 ? "time" : "short";
}
