import type { RunDetail } from "../../store/run_views.ts";
import { bar, count, duration, type Terminal } from "../terminal.ts";

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
