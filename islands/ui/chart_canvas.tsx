/// <reference lib="dom" />
import { useEffect, useRef } from "preact/hooks";
import type { HistoryPoint } from "../../store/dashboard.ts";
import { useLocale } from "../lib/locale_context.tsx";
import type { ChartKind, DrawnChart } from "../overview/charts.ts";

interface ChartCanvasProps {
  kind: ChartKind;
  points: HistoryPoint[];
  /** What a screen reader says of it. */
  label: string;
}

/** A chart, drawn by a library that is loaded only where there is one. */
export function ChartCanvas({ kind, points, label }: ChartCanvasProps) {
  const locale = useLocale();
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useRef<DrawnChart | null>(null);
  const key = JSON.stringify(points);
  useEffect(() => {
    let gone = false;
    const draw = async () => {
      const { drawChart } = await import("../overview/charts.ts");
      if (gone || canvas.current === null) return;
      drawn.current?.destroy();
      drawn.current = drawChart(canvas.current, kind, { points, locale });
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
