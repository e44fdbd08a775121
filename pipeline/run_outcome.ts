import type { Sql } from "../store/database.ts";
import { errorCode, passing } from "../store/errors.ts";
import { withRetry } from "../store/retry.ts";
import { finishRun, giveBackRun, type Outcome, type RunRow, runRow } from "../store/runs.ts";
import type { Log } from "../telemetry/log.ts";
import type { ValidationResult } from "./expectations/expectations.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import type { RunControl } from "./run_control.ts";
import { runProblem } from "./run_problem.ts";
import { runDir } from "./spill/layout.ts";
import { stageOf, type StageTracker } from "./stage_tracker.ts";
import { dropManifests } from "../store/event_keys.ts";
import { unshareRun } from "../store/sharing.ts";

/** What the stages came to: a terminal state, or why the run goes on elsewhere. */
export type RunOutcome = Omit<Outcome, "stages" | "state"> & {
  state: Outcome["state"] | "given back" | "replaced";
  /** Whether the environment is the cause, so that it counts by time and not by attempts. */
  outage?: boolean;
  /** Whether the run has been ended with it already, in the transaction that published it. */
  hasEnded?: boolean;
};

/** How an execution ended: `given back` leaves the run queued for another attempt. */
export type Execution = "nothing to do" | "ended" | "given back" | "replaced";

/** An execution whose stages are over, one way or another. */
export interface Ending {
  sql: Sql;
  run: RunRow;
  log: Log;
  tracker: StageTracker;
  control: RunControl;
  /** What the suite found; null where none has judged. */
  validation: ValidationResult | null;
  /** Whether something of the run may be left in schema etl: a manifest, or what other servers know of it. */
  leaves: boolean;
  spoolDir: string;
  outageMinutes?: number;
  /** Has runs admitted that wait for the end of this one; default: the database wakes all servers for it. */
  admit?: (() => void) | undefined;
}

/** What of the transient problems a run has no part in. */
const OUTAGES = new Set(["database-unavailable", "source-unreadable", "disk-full"]);

/** The database may be away for a moment, and what has been done must not be lost by that. */
const RETRY = { attempts: 5, initialMs: 200 };

/** What becomes of a run whose stages were stopped by this error. */
export function outcomeOf(error: unknown, { control, tracker, log }: Ending): RunOutcome {
  const { why } = control;
  if (why === "replaced" || errorCode(error) === "FencedOut") return { state: "replaced" };
  if (why === "server stops") return { state: "given back" };
  if (why === "cancelled") {
    const problem = new Problem("cancelled", { detail: say("run-cancelled", {}) });
    tracker.stop("cancelled", null);
    return { state: "cancelled", error: problem.toJSON() };
  }
  // what a worker says that was ended is not why
  const cause = why === "timed out" ? control.problem : error;
  const stage = stageOf(cause) ?? tracker.current;
  const problem = runProblem(cause, stage);
  if (problem.type === "internal") log.error("unexpected error", { error });
  if (problem.transient) {
    const reason = problem.cause ?? error;
    // a worker that died may have been brought down by the run itself
    const outage = OUTAGES.has(problem.type) && passing(reason)?.kind !== "conflict" &&
      errorCode(reason) !== "worker_died";
    return { state: "given back", error: problem.toJSON(), outage };
  }
  tracker.stop("failed", problem.toJSON(), stage);
  return { state: "failed", error: problem.toJSON() };
}

/** Stores the outcome: ends the run in one transaction, or leaves it to another attempt. */
export async function storeOutcome(outcome: RunOutcome, ending: Ending): Promise<Execution> {
  const { sql, run, log, tracker, control, validation } = ending;
  const { state, error = null, outage = false } = outcome;
  const { outageMinutes = 30, admit } = ending;
  if (state === "replaced") {
    log.warn("another attempt has taken over");
    return "replaced";
  }
  if (state === "given back") {
    log.warn("run given back", { error });
    // a full or read-only database may take this no sooner than the run
    await withRetry(
      { ...RETRY, attempts: outage ? 60 : RETRY.attempts, maxMs: 2_000 },
      () => giveBackRun(sql, run, outage ? { ...error!, outage_minutes: outageMinutes } : error),
    );
    return "given back";
  }
  // a report that is late must not wake watchers after the end
  await control.end();
  if (state === "succeeded") tracker.end("finalize");
  const { hasEnded, ...stored } = outcome;
  const ended = hasEnded ? await withRetry(RETRY, () => runRow(sql, run.run_id)) : await withRetry(
    RETRY,
    () =>
      finishRun(sql, run, {
        ...stored,
        state,
        validation,
        stages: tracker.snapshot(),
        admits: admit !== undefined,
      }),
  );
  admit?.();
  // null: by an earlier try whose answer was lost, or another attempt has the run
  if (ended !== null) {
    log.info("run ended", {
      state: ended.state,
      total_rows: ended.total_rows,
      ratio: ended.ratio,
      duration_ms: ended.ended_at!.getTime() - ended.requested_at.getTime(),
      ...(ended.error === null ? {} : { error: ended.error.detail }),
    });
  }
  await removeOwn(ending);
  return "ended";
}

/** What the run has left on disk and in schema etl is needed no more: a retry prepares again. */
async function removeOwn({ sql, run, log, leaves, spoolDir }: Ending): Promise<void> {
  try {
    if (leaves) {
      await dropManifests(sql, run);
      await unshareRun(sql, run);
    }
    await Deno.remove(runDir(spoolDir, run.run_id), { recursive: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    log.warn("leftovers of the run could not be removed now", { error });
  }
}
