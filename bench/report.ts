import type { Row } from "./bench.ts";
import { rounded } from "./statistics.ts";

const HEAD = ["measure", "baseline", "ours", "unit", "ratio", "target", "ok"];

/** The rows as a table for people. */
export function table(rows: Row[]): string {
  const lines = [
    HEAD,
    ...rows.map((row) => [
      row.measure,
      row.baseline === null ? "–" : figure(row.baseline),
      figure(row.ours),
      row.unit,
      row.ratio === null ? "–" : row.ratio.toFixed(2),
      row.target,
      row.ok ? "yes" : "NO",
    ]),
  ];
  const widths = HEAD.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  const isNumber = [1, 2, 4];
  return lines.map((line) =>
    line.map((cell, i) =>
      isNumber.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)
    ).join("  ").trimEnd()
  ).join("\n");
}

function figure(value: number): string {
  return rounded(value).toLocaleString("en-US", { maximumSignificantDigits: 3 });
}
