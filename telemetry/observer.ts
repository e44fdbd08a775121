import type { RunEnd } from "../store/reactions.ts";
import type { RunRow, StageReport } from "../store/runs.ts";

/** A database operation that is tried again. */
interface Retry {
  /** The kind of task that it belongs to. */
  kind: TaskDone["kind"];
  /** The tries so far. */
  attempt: number;
}

/** One task of a run that a worker carried out. */
export interface TaskDone {
  kind:
    | "plan"
    | "types"
    | "prepare"
    | "judge"
    | "resolve"
    | "lookup"
    | "publish"
    | "publishAtOnce"
    | "compare";
  chunkNo: number | null;
  elapsedMs: number;
}

/**
 * What is told of a run while a server executes it. An observer must not throw
 * and must not take long: it is called in the middle of the run.
 */
export interface RunObserver {
  /** An attempt begins. */
  attemptStarted?(run: RunRow): void;
  /** W3C traceparent that the run's workers continue; null: the trigger's. */
  traceparent?(run: RunRow): string | null;
  /** A stage of the attempt has begun. */
  stageStarted?(run: RunRow, stage: string): void;
  /** A worker has carried out a task. */
  taskDone?(run: RunRow, task: TaskDone): void;
  /** A database operation failed transiently and is tried again. */
  retried?(runId: string, retry: Retry): void;
  /** The attempt is over: `how` is a state, or given back or replaced. */
  attemptEnded?(run: RunRow, end: { how: string; stages: StageReport[] }): void;
}

/** Tells several observers; what one throws reaches nobody. */
export function observers(all: RunObserver[]): Required<RunObserver> {
  const each = (tell: (observer: RunObserver) => void) => {
    for (const observer of all) {
      try {
        tell(observer);
      } catch {
        // telemetry never touches a run
      }
    }
  };
  return {
    attemptStarted: (run) => each((observer) => observer.attemptStarted?.(run)),
    traceparent: (run) => {
      let found: string | null = null;
      each((observer) => found ??= observer.traceparent?.(run) ?? null);
      return found;
    },
    stageStarted: (run, stage) => each((observer) => observer.stageStarted?.(run, stage)),
    taskDone: (run, task) => each((observer) => observer.taskDone?.(run, task)),
    retried: (runId, retry) => each((observer) => observer.retried?.(runId, retry)),
    attemptEnded: (run, end) => each((observer) => observer.attemptEnded?.(run, end)),
  };
}

/** Told each run end once, by the server that consumed it. Must not throw. */
export interface RunEndObserver {
  runEnded(end: RunEnd): void;
}

/** How a task outside of runs ended. */
export interface TaskEnd {
  ok: boolean;
  startedAt: Date;
  elapsedMs: number;
  /** Whether the task is all that its DAG does, or its last. */
  wholeRun?: boolean;
}

/** What an etl_maintenance that has ended did; by metrics, audit, alerts and events where it is a record. */
export interface Maintained {
  deleted: Record<string, number>;
  retentionDays: Record<string, number>;
  /** Views refreshed: 2, or 0 where that failed. */
  refreshed: number;
  vacuumed: { tables: number; failed: number };
}

/** Told what is done outside of runs: etl_consumer, consumers of datasets, etl_maintenance. Must not throw. */
export interface TaskObserver {
  taskEnded(dag: string, task: string, end: TaskEnd): void;
  dagEnded(dag: string, end: Pick<TaskEnd, "ok" | "elapsedMs">): void;
  maintained(figures: Maintained): void;
}
