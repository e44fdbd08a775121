import { wantsSpanish } from "./language.ts";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { asRaised } from "../../pipeline/run_problem.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say, verbatim } from "../../vocabulary/messages.ts";
import { baseOf, problemBelow } from "./base_path.ts";
import { spanishProblem } from "../../vocabulary/problems_es.ts";
import { blockers, blockerText } from "../../store/blockers.ts";
import type { Sql } from "../../store/database.ts";
import {
  errorCode,
  isTransient,
  isUnstorableText,
  noteOutage,
  passing,
} from "../../store/errors.ts";
import type { Log } from "../../telemetry/log.ts";

/** Turns whatever a route throws into the problem that its caller may see. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof HTTPException && error.status === 415) {
    return new Problem("unsupported-media-type", {
      detail: say("body-no-type", {}),
    });
  }
  if (error instanceof HTTPException) {
    return new Problem("bad-request", { status: error.status, detail: verbatim(error.message) });
  }
  const raised = asRaised(error);
  if (raised instanceof Problem) return raised;
  if (isUnstorableText(error)) {
    return new Problem("bad-request", {
      detail: say("request-not-storable", {}),
      cause: error,
    });
  }
  noteOutage(error);
  if (isTransient(error)) {
    const words = passing(error)?.words ?? say("connection-lost", {});
    return new Problem("unavailable", {
      detail: say("database-just-now", { why: words }),
      transient: true,
      cause: error,
    });
  }
  return new Problem("internal", {
    detail: say("unexpected", {}),
    cause: error,
  });
}

/** Whether a statement has waited in vain for a lock that somebody else holds. */
export const isLockTimeout = (error: unknown): boolean => {
  const code = errorCode(error);
  // those of the pool have no limit of their own: store/database.ts cancels them
  return code === "55P03" ||
    code === "57014" && passing(error) !== null;
};

/** Says who holds the lock that a statement has waited for in vain, as far as that can be seen. */
export async function lockedProblem(sql: Sql, cause: unknown): Promise<Problem> {
  // who has waited for 5 s has been waiting for somebody who has had the lock for longer
  const [blocker] = await blockers(sql, 4, { busy: true }).catch(() => []);
  return new Problem("unavailable", {
    detail: blocker === undefined
      ? say("locked", {})
      : say("locked-by", { who: blockerText(blocker), pid: blocker.pid }),
    transient: true,
    cause,
    ...(blocker === undefined ? {} : { extra: { blocked_by: blocker.pid } }),
  });
}

/** Answers with application/problem+json; what is unexpected goes to the log with its cause. */
export function problemResponse(c: Context, error: unknown, log: Log): Response {
  const problem = toProblem(error);
  if (problem.status >= 500) {
    log.error("request failed", {
      method: c.req.method,
      path: c.req.path,
      error: problem.cause ?? problem,
    });
  }
  if (problem.status === 503 || problem.status === 429) {
    c.header("Retry-After", String(problem.extra.retry_after_seconds ?? 2));
  }
  if (problem.status === 401) c.header("WWW-Authenticate", challenge(problem));
  const spanish = wantsSpanish(c);
  const details = spanish ? spanishProblem(problem.toJSON()) : problem.toJSON();
  return c.body(
    JSON.stringify({ ...problemBelow(c, details), instance: baseOf(c) + c.req.path }),
    problem.status as ContentfulStatusCode,
    {
      "content-type": "application/problem+json",
      "content-language": spanish ? "es" : "en",
      vary: "Accept-Language",
    },
  );
}

/** RFC 6750: what is wrong with the token, where there was one. */
function challenge({ extra, message }: Problem): string {
  const realm = 'Bearer realm="etl-improved"';
  if (typeof extra.error !== "string") return realm;
  // a quoted string of ASCII alone
  const description = message.replace(/[^ !#-[\]-~]/g, "'");
  return `${realm}, error="${extra.error}", error_description="${description}"`;
}
