import { errorCode, isTransient, noteOutage, passing, raisedProblem } from "../store/errors.ts";
import { type FieldError, Problem, type ProblemType } from "../vocabulary/problem.ts";
import { say, verbatim } from "../vocabulary/messages.ts";

/** The problem that a function in SQL has raised, as one of ours; any other error as it is. */
export function asRaised(error: unknown): unknown {
  const raised = raisedProblem(error);
  if (raised === null) return error;
  const { type, status, detail, errors, ...extra } = raised;
  return new Problem(type as ProblemType, {
    status,
    detail: verbatim(detail as string),
    errors: errors as FieldError[],
    extra,
    cause: error,
  });
}

/**
 * The problem that a failed run shows. Problems stay; what the database says is
 * shown with its code, since it tells the user what to do; a defect of the
 * program is named as such and its text stays in the log.
 */
export function runProblem(thrown: unknown, stage: string | null): Problem {
  const error = asRaised(thrown);
  if (error instanceof Problem) return error;
  noteOutage(error);
  const where = stage === null ? "" : say("in-stage", { stage });
  const code = errorCode(error);
  const message = error instanceof Error ? error.message : String(error);
  if (isTransient(error)) {
    const words = passing(error)?.words ??
      (code === "worker_died" ? say("worker-died", {}) : say("connection-lost", {}));
    return new Problem("database-unavailable", {
      transient: true,
      detail: say("run-stopped-at", { where, why: words, error: message }),
      cause: error,
    });
  }
  if (code === "57014") {
    return new Problem("database-error", {
      detail: say("statement-timeout", { where }),
      cause: error,
    });
  }
  if (code === "42501") {
    return new Problem("missing-grant", {
      detail: say("database-refused-grant", { where, error: message }),
      cause: error,
    });
  }
  if (code !== undefined && /^[0-9A-Z]{5}$/.test(code)) {
    return new Problem("database-error", {
      detail: say("database-refused", { where, code, error: message }),
      cause: error,
    });
  }
  return new Problem("internal", {
    detail: say("unexpected-in-run", { where }),
    cause: error,
  });
}
