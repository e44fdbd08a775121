import type { RunDetail, StageView } from "../../vocabulary/run_schema.ts";
import { GONE_COUNTERS } from "../../vocabulary/words.ts";
import { bar, count, duration, type Terminal } from "../terminal.ts";
import { printable } from "./text.ts";

const BAR_WIDTH = 24;
/** Elsewhere than on a terminal a run that goes on is told of so often. */
const QUIET_MS = 10_000;
/** Shares of a run's time that preparing and publishing take, for the time left. */
const PREPARE_SHARE = 0.6;

/** One line a stage and one for the whole run, for a terminal. */
export function progressLines(terminal: Terminal, run: RunDetail, since?: Mark): string[] {
  const { planned = 0, prepared = 0, published = 0 } = run.chunks;
  const chunks = Math.max(1, planned + prepared + published);
  const stages = run.stages.map((stage) => {
    const done = stage.stage === "load" ? published : prepared + published;
    const share = stage.state === "succeeded" ? 1 : stage.stage === "finalize" ? 0 : done / chunks;
    const colour = stage.state === "failed"
      ? "red"
      : stage.state === "succeeded"
      ? "green"
      : stage.state === "pending"
      ? "dim"
      : "cyan";
    return [
      "  ",
      stage.stage.padEnd(12),
      terminal.paint(colour, bar(share, BAR_WIDTH)),
      count(stage.records_out).padStart(14),
      terminal.paint("dim", stage.busy_ms > 0 ? duration(stage.busy_ms).padStart(12) : ""),
    ].join("");
  });
  return [...stages, `  ${terminal.paint("dim", progressText(run, since))}`];
}

/** Where a run was when it began to be watched; speed and time left are reckoned from there. */
interface Mark {
  attempt: number;
  atMs: number;
  read: number;
  share: number;
}

/** How far a run is: "chunk 3 of 8, 100,000 records, 83,000 rows/s, about 4 s left". */
export function progressText(run: RunDetail, since?: Mark): string {
  if (run.state === "queued") {
    return run.queue_position !== null && run.queue_position > 0
      ? `waiting: number ${run.queue_position} in pool ${run.pool}`
      : "waiting for a worker";
  }
  const { planned = 0, prepared = 0, published = 0 } = run.chunks;
  const chunks = planned + prepared + published;
  if (chunks === 0) return run.state === "running" ? "looking at the source" : run.state;
  const now = markOf(run);
  const from = since ?? { ...now, atMs: Date.parse(run.started_at ?? ""), read: 0, share: 0 };
  const ms = now.atMs - from.atMs;
  const read = now.read - from.read;
  const share = now.share - from.share;
  return [
    `chunk ${Math.min(chunks, prepared + published + (planned > 0 ? 1 : 0))} of ${chunks}`,
    ...(planned === 0 && run.state === "running" ? [`${published} in the table`] : []),
    `${count(now.read)} records`,
    ...(ms > 0 && read > 0 ? [`${count(Math.round(read / ms * 1000))} rows/s`] : []),
    ...(run.state === "running" && ms > 1000 && share > 0 && now.share < 1
      ? [`about ${duration(ms * (1 - now.share) / share)} left`]
      : []),
  ].join(", ");
}

function markOf(run: RunDetail): Mark {
  const { planned = 0, prepared = 0, published = 0 } = run.chunks;
  const chunks = Math.max(1, planned + prepared + published);
  return {
    attempt: run.attempt,
    atMs: run.ended_at === null ? Date.now() : Date.parse(run.ended_at),
    read: run.counts.records_read ?? 0,
    share: (PREPARE_SHARE * prepared + published) / chunks,
  };
}

/** Shows a run while it goes on: drawn on a terminal, a quiet line now and then elsewhere. */
export class RunScreen {
  readonly #terminal: Terminal;
  #state = "";
  #saidAt = -Infinity;
  #since: Mark | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show(run: RunDetail): void {
    const terminal = this.#terminal;
    if (run.state === "running" && this.#since?.attempt !== run.attempt) {
      // what an earlier attempt has done says nothing about the speed of this one
      this.#since = run.attempt === 1 ? undefined : markOf(run);
    }
    if (terminal.isTerminal) {
      terminal.draw(progressLines(terminal, run, this.#since));
      return;
    }
    const now = performance.now();
    if (run.state === this.#state && now - this.#saidAt < QUIET_MS) return;
    this.#state = run.state;
    this.#saidAt = now;
    const how = run.state === "running" || run.state === "queued"
      ? `: ${progressText(run, this.#since)}`
      : "";
    terminal.line(`run ${run.run_id} ${run.state}${how}`);
  }

  /** Leaves the last picture on the terminal. */
  end(run: RunDetail): void {
    if (!this.#terminal.isTerminal) return;
    for (const line of progressLines(this.#terminal, run, this.#since)) this.#terminal.line(line);
    this.#terminal.line();
  }
}

const SUMMARY_COUNTERS = [
  "inserted",
  "updated",
  "unchanged",
  "rejected",
  "duplicates",
  "filtered",
  ...GONE_COUNTERS,
] as const;
type SummaryCounter = (typeof SUMMARY_COUNTERS)[number];

/** A run for programs: the last line that `--json` prints. */
interface RunSummary extends Record<SummaryCounter, number> {
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
  const { inserted, updated, unchanged, duplicates, rejected, filtered, deleted, marked } =
    runSummary(run);
  const counters: [string, number][] = [
    [run.dry_run ? "to insert" : "inserted", inserted],
    [run.dry_run ? "to update" : "updated", updated],
    ["unchanged", unchanged],
    ...(deleted > 0 ? [[run.dry_run ? "to delete" : "deleted", deleted] as [string, number]] : []),
    ...(marked > 0 ? [[run.dry_run ? "to mark" : "marked", marked] as [string, number]] : []),
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
    ...(run.state === "succeeded" && !run.dry_run &&
        inserted + updated + deleted + marked === 0 && unchanged > 0
      ? ["", "  All of them were there already: nothing was written."]
      : []),
    ...(rejected > 0 ? ["", `  What was rejected, and why: \`etl quarantine ${run.run_id}\``] : []),
    ...run.warnings.map((warning) => `  ${terminal.paint("yellow", "!")} ${printable(warning)}`),
  ];
}

/** What a retry, which has the same parameters and the same input, would fail at again. */
const NEEDS_NEW_RUN = [
  "source-changed",
  "foreign-rows",
  "too-many-rejected",
  "too-many-deletions",
  "low-ratio",
];

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
  const one = run.total_rows === 1;
  const rows = terminal.paint("bold", `${count(run.total_rows ?? 0)} ${one ? "row" : "rows"}`);
  return [
    run.dry_run
      ? `  Dry run: ${rows} would be in ${run.dataset}; looked at in ${took}${rate}.`
      : `  ${rows} ${one ? "is" : "are"} in ${run.dataset} after ${took}${rate}.`,
  ];
}

function ended(run: RunDetail): string {
  return run.state === "cancelled" ? "been cancelled" : run.state;
}
