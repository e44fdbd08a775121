import { OpenAPIHono } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { fieldErrors } from "../pipeline/conf_errors.ts";
import { accessOf } from "../routes/access/access.ts";
import { noteRefused, WrongTokens } from "../routes/access/auth_failures.ts";
import { guard, requireAccess } from "../routes/access/require_access.ts";
import { requireRoles } from "../routes/access/route_rules.ts";
import { requireOurPage } from "../routes/access/session.ts";
import { alertRoutes } from "../routes/alerts.ts";
import { connectionRoutes } from "../routes/connections.ts";
import { dashboardRoutes } from "../routes/dashboard/dashboard.tsx";
import { datasetRoutes, downstreamRoutes, reportRoutes } from "../routes/datasets.ts";
import { docsRoutes } from "../routes/docs.ts";
import { healthRoutes } from "../routes/health.ts";
import { jobRoutes } from "../routes/jobs.ts";
import { maintenanceRoutes } from "../routes/maintenance.ts";
import { countRequests, metricsRoutes, prometheusRoutes } from "../routes/metrics.ts";
import { namedRoutes } from "../routes/named.ts";
import { previewRoutes } from "../routes/preview.ts";
import { quarantineRoutes } from "../routes/quarantine.ts";
import { exportRoutes, logRoutes, runRoutes } from "../routes/runs.ts";
import { scheduleRoutes } from "../routes/schedules.ts";
import { belowBase, withoutBase } from "../routes/shared/base_path.ts";
import { bodyLimits } from "../routes/shared/body.ts";
import type { AppDeps } from "../routes/shared/deps.ts";
import { limitLoad, limitRequests } from "../routes/shared/load.ts";
import {
  isLockTimeout,
  lockedProblem,
  problemResponse,
  toProblem,
} from "../routes/shared/problems.ts";
import { suiteRoutes, suiteTaskRoutes } from "../routes/suites.ts";
import { tokenRoutes } from "../routes/tokens.ts";
import { personalDataRoutes } from "../routes/personal_data.ts";
import { typedViewRoutes } from "../routes/typed_views.ts";
import { errorsText, type FieldError, MAX_ERRORS, Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";

/** zod does not keep what was given in a request, so that a wrong type looks as if nothing was. */
function asGiven(error: FieldError, given: unknown): FieldError {
  const value = error.field.split(".").reduce(
    (part, name) => (part as Record<string, unknown> | null | undefined)?.[name],
    given,
  );
  if (error.value !== undefined || value === undefined || typeof value === "object") return error;
  return {
    ...error,
    value: typeof value === "string" ? value.slice(0, 200) : value,
    ...(error.code === "missing" && { code: "wrong-type", message: `must be ${error.expected}` }),
  };
}

/** The HTTP application; tests import it and call `app.request`. */
export function createApp(deps: AppDeps): OpenAPIHono {
  const app = new OpenAPIHono({
    defaultHook: (result, c) => {
      if (result.success) return;
      const given = { query: c.req.query(), param: c.req.param() }[result.target as string] ??
        (result as { data?: unknown }).data;
      const errors = result.error.issues.slice(0, MAX_ERRORS).flatMap((issue) =>
        fieldErrors(issue as never, []).map((error) =>
          issue.code === "unrecognized_keys"
            ? {
              ...(result.target === "query"
                ? { field: error.field, message: error.message }
                : error),
              expected: "a name of /api/docs",
            }
            : asGiven(error, given)
        )
      );
      throw new Problem("bad-request", {
        detail: say("request-errors", { errors: errorsText(errors) }),
        errors,
      });
    },
  });
  app.notFound((c) => {
    const allowed = allowedMethods(app, c.req.path);
    if (allowed.length === 0) {
      return problemResponse(
        c,
        new Problem("not-found", {
          detail: say("nothing-there", { path: c.req.path }),
        }),
        deps.log,
      );
    }
    c.header("Allow", allowed.join(", "));
    return problemResponse(
      c,
      new Problem("method-not-allowed", {
        detail: say("method-not-possible", {
          method: c.req.method,
          path: c.req.path,
          allowed: allowed.join(", "),
        }),
      }),
      deps.log,
    );
  });
  app.use(belowBase(deps.config));
  app.use(countRequests(deps));
  app.use(answerHeaders());
  app.use(noteRefused(deps));
  app.use(limitLoad(deps.config));
  app.use(guard(deps.config.allowedHosts));
  const access = deps.access ?? accessOf(deps);
  const wrongTokens = new WrongTokens(deps.config);
  app.use(requireAccess(deps, access, wrongTokens));
  app.use(bodyLimits());
  app.use(limitRequests());
  app.use(requireOurPage());
  runRoutes(app, deps);
  previewRoutes(app, deps);
  connectionRoutes(app, deps);
  quarantineRoutes(app, deps);
  namedRoutes(app, deps);
  scheduleRoutes(app, deps);
  suiteRoutes(app, deps);
  suiteTaskRoutes(app, deps);
  metricsRoutes(app, deps);
  alertRoutes(app, deps);
  logRoutes(app, deps);
  exportRoutes(app, deps);
  prometheusRoutes(app, deps);
  datasetRoutes(app, deps);
  typedViewRoutes(app, deps);
  personalDataRoutes(app, deps);
  reportRoutes(app, deps);
  downstreamRoutes(app, deps);
  maintenanceRoutes(app, deps);
  jobRoutes(app, deps);
  healthRoutes(app, deps);
  const showProblem = dashboardRoutes(app, { ...deps, wrongTokens }, access);
  app.onError(async (thrown, c) => {
    const error = isLockTimeout(thrown)
      ? await lockedProblem(deps.probe ?? deps.sql, thrown)
      : thrown;
    return /^\/etl(\/|$)/.test(c.req.path)
      ? showProblem(c, toProblem(error))
      : problemResponse(c, error, deps.log);
  });
  tokenRoutes(app, deps, access);
  docsRoutes(app);
  requireRoles(app.routes);
  const answer = app.fetch;
  app.fetch = (request, ...rest) => answer(withoutBase(request, deps.config.basePath), ...rest);
  return app;
}

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/** The HTTP methods that a path answers to; none where there is nothing. */
function allowedMethods(app: OpenAPIHono, path: string): string[] {
  const handlers = (method: string) => app.router.match(method, path)[0].length;
  // what answers to any method is middleware
  const middleware = handlers("NONE");
  const found = METHODS.filter((method) => handlers(method) > middleware);
  return found.includes("GET") ? ["GET", "HEAD", ...found.slice(1)] : found;
}

/**
 * What every answer says to browsers: that its type is what it says, that pages of other origins may
 * not hold it, and, of what the interface for programs answers, that nobody keeps it.
 */
function answerHeaders(): MiddlewareHandler {
  return async (c, next) => {
    await next();
    const { headers } = c.res;
    headers.set("x-content-type-options", "nosniff");
    headers.set("cross-origin-resource-policy", "same-origin");
    const isStyle = headers.get("content-type")?.startsWith("text/css") ?? false;
    if (!c.req.path.startsWith("/etl") && !isStyle) headers.set("cache-control", "no-store");
  };
}
