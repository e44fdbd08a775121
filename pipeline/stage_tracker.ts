import type { StageReport } from "../store/runs.ts";
import { type Stage, STAGES } from "../vocabulary/words.ts";
import type { SpillMeta } from "./spill/layout.ts";

/** Notes on an error in which stage it was thrown; the first note stays. */
export function atStage(error: unknown, stage: Stage): unknown {
  if (typeof error === "object" && error !== null && !("stage" in error)) {
    Object.assign(error, { stage });
  }
  return error;
}

/** The stage in which an error was thrown, where that is noted. */
export function stageOf(error: unknown): Stage | null {
  return (error as { stage?: Stage } | null)?.stage ?? null;
}

/**
 * What each stage of a run has done so far. Stages overlap: a chunk goes through
 * several in one worker, so a stage has a first start, a last end, and the sum
 * of the time that was spent in it.
 */
export interface StageTrackerOptions {
  /** Default: by this machine's clock. */
  now?: () => Date;
  /** Told when a stage begins for the first time. */
  onBegin?: (stage: Stage) => void;
  /** Told when a stage has done all that it has to do. */
  onEnd?: (stage: Stage) => void;
}

export class StageTracker {
  readonly #stages: Map<Stage, StageReport>;
  readonly #now: () => Date;
  readonly #onBegin: (stage: Stage) => void;
  readonly #onEnd: (stage: Stage) => void;

  constructor(attempt: number, options: StageTrackerOptions = {}) {
    this.#now = options.now ?? (() => new Date());
    this.#onBegin = options.onBegin ?? (() => {});
    this.#onEnd = options.onEnd ?? (() => {});
    this.#stages = new Map(STAGES.map((stage) => [stage, {
      stage,
      state: "pending",
      started_at: null,
      ended_at: null,
      busy_ms: 0,
      records_in: 0,
      records_out: 0,
      attempts: attempt,
    }]));
  }

  begin(...stages: Stage[]): void {
    for (const stage of stages) {
      const report = this.#stages.get(stage)!;
      report.state = "running";
      if (report.started_at !== null) continue;
      report.started_at = this.#now().toISOString();
      this.#onBegin(stage);
    }
  }

  add(stage: Stage, work: { busyMs?: number; in?: number; out?: number }): void {
    const report = this.#stages.get(stage)!;
    report.busy_ms += work.busyMs ?? 0;
    report.records_in += work.in ?? 0;
    report.records_out += work.out ?? 0;
  }

  /** Adds what a prepared chunk has gone through. */
  addPrepared({ counts, stageMs, validation }: SpillMeta): void {
    const outputs = counts.records_read - counts.filtered + counts.extra;
    const { events } = counts;
    // a suite may have sent rows to the quarantine
    const valid = validation === undefined ? events : Number(validation.rows);
    this.add("extract", { busyMs: stageMs.extract ?? 0, out: counts.records_read });
    this.add("transform", {
      busyMs: stageMs.transform ?? 0,
      in: counts.records_read,
      out: outputs,
    });
    this.add("validate", { busyMs: stageMs.validate ?? 0, in: outputs, out: valid });
    this.add("ge_validate", { busyMs: stageMs.ge_validate ?? 0, in: valid, out: events });
    this.add("chunk", { busyMs: stageMs.chunk ?? 0, in: events, out: events });
  }

  end(...stages: Stage[]): void {
    for (const stage of stages) {
      const report = this.#stages.get(stage)!;
      report.state = "succeeded";
      report.ended_at = this.#now().toISOString();
      this.#onEnd(stage);
    }
  }

  /**
   * Ends the run before its time. The stage to blame (default: the last that had
   * begun) gets the state and the error; others that were running are cancelled
   * with it, and those that had not begun are skipped.
   */
  stop(state: "failed" | "cancelled", error: unknown, blamed: Stage | null = this.current): void {
    for (const report of this.#stages.values()) {
      if (report.state !== "running") continue;
      const isBlamed = report.stage === blamed;
      report.state = isBlamed ? state : "cancelled";
      report.ended_at = this.#now().toISOString();
      if (isBlamed) report.error = error;
    }
    for (const report of this.#stages.values()) {
      if (report.state === "pending") report.state = "skipped";
    }
  }

  /** The last stage that is running, for error messages. */
  get current(): Stage | null {
    for (const stage of [...STAGES].reverse()) {
      if (this.#stages.get(stage)!.state === "running") return stage;
    }
    return null;
  }

  snapshot(): StageReport[] {
    return [...this.#stages.values()].map((report) => ({ ...report }));
  }
}
