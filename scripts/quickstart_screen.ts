import type { Run } from "./quickstart_run.ts";
import { bar, count, duration, type Terminal } from "./terminal.ts";

const BAR_WIDTH = 24;

/** One line a stage: what it did so far, and how long its workers were busy with it. */
export function progress(terminal: Terminal, run: Run): string[] {
  const total = Math.max(1, ...run.stages.map((stage) => stage.records_in));
  return run.stages.map((stage) => {
    const share = stage.state === "succeeded" ? 1 : stage.records_out / total;
    const colour = stage.state === "failed"
      ? "red"
      : stage.state === "succeeded"
      ? "green"
      : "cyan";
    return [
      "  ",
      stage.stage.padEnd(12),
      terminal.paint(stage.state === "pending" ? "dim" : colour, bar(share, BAR_WIDTH)),
      count(stage.records_out).padStart(12),
      "  ",
      terminal.paint("dim", stage.busy_ms > 0 ? duration(stage.busy_ms).padStart(9) : ""),
    ].join("");
  });
}

/** What a run came to, in words. */
export function summary(terminal: Terminal, run: Run): string[] {
  if (run.status !== "succeeded") {
    return [
      "  " +
      terminal.paint("red", `The run has ${run.status}: ${run.error?.detail ?? "no reason given"}`),
    ];
  }
  const rows: [string, number | null][] = [
    ["inserted", run.inserted],
    ["updated", run.updated],
    ["unchanged", run.unchanged],
    ["duplicates", run.duplicates],
    ["rejected", run.rejected],
  ];
  const ms = run.duration_ms ?? 0;
  const read = (run.expected_rows ?? 0) + run.duplicates + run.filtered;
  const rate = ms > 0 ? `, ${count(Math.round(read / ms * 1000))} records a second` : "";
  return [
    "  " + terminal.paint("bold", `${count(run.total_rows ?? 0)} rows are in the table`) +
    ` after ${duration(ms)}${rate}.`,
    "",
    ...rows.map(([name, value]) => `    ${name.padEnd(12)}${count(value ?? 0).padStart(12)}`),
    ...(run.inserted + run.updated === 0 && run.unchanged > 0
      ? ["", "  All of them were there already: nothing was written."]
      : []),
  ];
}

/** The run in one line, for programs. */
export function summaryJson(run: Run): string {
  const { run_id, status, total_rows, expected_rows, ratio, num_chunks } = run;
  const { inserted, updated, unchanged, rejected, duplicates, filtered, duration_ms } = run;
  const stages = Object.fromEntries(run.stages.map((each) => [each.stage, each]));
  return JSON.stringify({
    run_id,
    status,
    total_rows,
    expected_rows,
    ratio,
    num_chunks,
    inserted,
    updated,
    unchanged,
    rejected,
    duplicates,
    filtered,
    duration_ms,
    stages,
  });
}
