import type { Log } from "../telemetry/log.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { atStage } from "./stage_tracker.ts";
import type { Stage } from "../vocabulary/words.ts";
import type { WorkerPool } from "./workers/pool.ts";

/** Why an execution stops before its end. */
export type Halt = "cancelled" | "replaced" | "server stops" | "timed out";

const PROGRESS_INTERVAL_MS = 500;
/** A cancelled run whose tasks have not ended by then loses its workers. */
const CANCEL_DEADLINE_MS = 1000;
/** A stopping server waits so long for chunks in hand; then they are given back like those of a cancelled run. */
const DRAIN_DEADLINE_MS = 7000;

export interface RunControlOptions {
  runId: string;
  workers: WorkerPool;
  log: Log;
  /** Stores how far the run is; answers whether this attempt is still the run's, and is to be cancelled. */
  report: () => Promise<{ is_current: boolean; cancel_requested: boolean }>;
}

/**
 * Keeps one execution in touch with the outside: reports its progress, and halts
 * it when it is cancelled, replaced by another attempt, or its server stops.
 */
export class RunControl {
  readonly #options: RunControlOptions;
  readonly #abort = new AbortController();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #why: Halt | null = null;
  #problem: Problem | null = null;
  #ended = false;
  #reporting: Promise<void> = Promise.resolve();

  constructor(options: RunControlOptions) {
    this.#options = options;
    this.#schedule();
  }

  get why(): Halt | null {
    return this.#why;
  }

  /** What the run fails with that took too long. */
  get problem(): Problem | null {
    return this.#problem;
  }

  /** Ends the execution when it, or a stage of it, has taken `seconds`, unless the answered function is called before. */
  limit(seconds: number, stage: Stage | null): () => void {
    const late = () => {
      if (this.#why !== null) return;
      this.#problem = tookTooLong(seconds, stage);
      this.halt("timed out");
    };
    // longer than a timer's 24 days is longer than a run takes
    return this.#later(Math.min(seconds * 1_000, 2 ** 31 - 1), late);
  }

  /** Aborted as soon as the execution is to stop. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  throwIfHalted(): void {
    this.#abort.signal.throwIfAborted();
  }

  /** Stops the execution; the first reason counts. */
  halt(why: Halt): void {
    if (this.#why !== null || this.#ended) return;
    this.#why = why;
    this.#abort.abort(
      new Problem("cancelled", { detail: say("run-stopped", {}) }),
    );
    if (why === "server stops") {
      // chunks in hand are finished, waiting ones are not begun
      this.#later(DRAIN_DEADLINE_MS, () => this.#endTasks());
    } else {
      this.#endTasks();
    }
  }

  #endTasks(): void {
    const { workers, runId, log } = this.#options;
    workers.abort(runId);
    this.#later(CANCEL_DEADLINE_MS, () => {
      const killed = workers.kill(runId);
      if (killed > 0) log.warn("workers did not stop in time and were replaced", { killed });
    });
  }

  /** Ends reports and deadlines; a report that is under way has arrived when this resolves. */
  async end(): Promise<void> {
    this.#ended = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    await this.#reporting;
  }

  #later(ms: number, act: () => void): () => void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    this.#timers.add(timer);
    return () => {
      clearTimeout(timer);
      this.#timers.delete(timer);
    };
  }

  #schedule(): void {
    this.#later(PROGRESS_INTERVAL_MS, () => {
      this.#reporting = this.#report();
    });
  }

  async #report(): Promise<void> {
    try {
      const answer = await this.#options.report();
      if (!answer.is_current) this.halt("replaced");
      else if (answer.cancel_requested) this.halt("cancelled");
    } catch (error) {
      this.#options.log.warn("progress could not be stored", { error });
    }
    // also while a server that stops finishes its chunks, which may take longer than others wait for a sign of life
    if (this.#why !== "replaced" && !this.#ended) this.#schedule();
  }
}

function tookTooLong(seconds: number, stage: Stage | null): Problem {
  const whose = stage === null ? say("the-run", {}) : say("a-stage", { stage });
  const problem = new Problem("timed-out", {
    detail: say("took-too-long", { what: whose, seconds: seconds.toLocaleString("en-US") }),
  });
  return stage === null ? problem : atStage(problem, stage) as Problem;
}
