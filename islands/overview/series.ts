import type { HistoryPoint } from "../../store/dashboard.ts";

/** Lines that can be told apart. */
export const SERIES_COUNT = 6;

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
