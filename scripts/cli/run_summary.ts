import { OUTCOMES } from "../../vocabulary/words.ts";
import type { RunDetail, StageView } from "../../store/run_views.ts";
import { count, duration, type Terminal } from "../terminal.ts";
import { printable } from "./printable.ts";

const SUMMARY_COUNTERS = [...OUTCOMES, "duplicates", "filtered"] as const;
type SummaryCounter = (typeof SUMMARY_COUNTERS)[number];

/** A run for programs: the last line that `--json` prints. */
export interface RunSummary extends Record<SummaryCounter, number> {
  run_id: string;
  status: string;
  total_rows: number | null;
  expected_rows: number | null;
  ratio: number | null;
  num_chunks: number | null;
  duration_ms: number | null;
  /** By name. */
  stages: Record<string, StageView>;
  /** Only of a run that has failed or was cancelled. */
  error?: Record<string, unknown>;
}

export function runSummary(run: RunDetail): RunSummary {
  const { run_id, state, total_rows, expected_rows, ratio, num_chunks, duration_ms } = run;
  const counted = Object.fromEntries(
    SUMMARY_COUNTERS.map((name) => [name, run.counts[name] ?? 0]),
  ) as Record<SummaryCounter, number>;
  return {
    run_id,
    status: state,
    total_rows,
    expected_rows,
    ratio,
    num_chunks,
    ...counted,
    duration_ms,
    stages: Object.fromEntries(run.stages.map((stage) => [stage.stage, stage])),
    ...(run.error === null ? {} : { error: run.error }),
  };
}

/** What a run came to, in words. */
export function summaryLines(terminal: Terminal, run: RunDetail): string[] {
  const { inserted, updated, unchanged, duplicates, rejected, filtered } = runSummary(run);
  const counters: [string, number][] = [
    [run.dry_run ? "to insert" : "inserted", inserted],
    [run.dry_run ? "to update" : "updated", updated],
    ["unchanged", unchanged],
    ["duplicates", duplicates],
    ["rejected", rejected],
    ...(filtered > 0 ? [["filtered", filtered] as [string, number]] : []),
  ];
  return [
    ...headline(terminal, run),
    ...(run.state === "succeeded" || (run.counts.records_read ?? 0) > 0
      ? [
        "",
        ...counters.map(([name, value]) => `    ${name.padEnd(12)}${count(value).padStart(14)}`),
      ]
      : []),
    ...(run.state === "succeeded" && !run.dry_run && inserted + updated === 0 && unchanged > 0
      ? ["", "  All of them were there already: nothing was written."]
      : []),
    ...(rejected > 0 ? ["", `  What was rejected, and why: \`etl quarantine ${run.run_id}\``] : []),
    ...run.warnings.map((warning) => `  ${terminal.paint("yellow", "!")} ${printable(warning)}`),
  ];
}

/** What a retry, which has the same parameters and the same input, would fail at again. */
const NEEDS_NEW_RUN = ["source-changed", "foreign-rows", "too-many-rejected", "low-ratio"];

function wayOn(run: RunDetail): string {
  const type = String(run.error?.type).split("/").at(-1)!;
  if (run.state === "failed" && NEEDS_NEW_RUN.includes(type)) {
    return "A retry would end in the same way: correct the cause, then ask for a new run.";
  }
  return `${run.state === "failed" ? "When the cause is gone, " : ""}\`etl retry ${run.run_id}\` ` +
    "goes on where it stopped.";
}

function headline(terminal: Terminal, run: RunDetail): string[] {
  const took = duration(run.duration_ms ?? 0);
  if (run.state !== "succeeded") {
    const detail = typeof run.error?.detail === "string" && run.state !== "cancelled"
      ? `: ${printable(run.error.detail, { lines: true })}`
      : ".";
    const published = run.chunks.published ?? 0;
    return [
      `  ${
        terminal.paint(run.state === "failed" ? "red" : "yellow", `The run has ${ended(run)}`)
      } ` +
      `after ${took}${detail}`,
      ...(published > 0 && published < (run.num_chunks ?? 0)
        ? [`  ${published} of ${run.num_chunks} chunks are in the table.`]
        : []),
      `  ${wayOn(run)}`,
    ];
  }
  const read = run.counts.records_read ?? 0;
  const ms = run.duration_ms ?? 0;
  const rate = ms > 0 && read >= 1000
    ? `, ${count(Math.round(read / ms * 1000))} records a second`
    : "";
  const rows = terminal.paint("bold", `${count(run.total_rows ?? 0)} rows`);
  return [
    run.dry_run
      ? `  Dry run: ${rows} would be in ${run.dataset}; looked at in ${took}${rate}.`
      : `  ${rows} are in ${run.dataset} after ${took}${rate}.`,
  ];
}

function ended(run: RunDetail): string {
  return run.state === "cancelled" ? "been cancelled" : run.state;
}
