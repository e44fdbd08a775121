import { OpenAPIHono } from "@hono/zod-openapi";
import { fieldErrors } from "./pipeline/conf_errors.ts";
import { Problem } from "./pipeline/problem.ts";
import { dashboardRoutes } from "./routes/dashboard/dashboard.tsx";
import type { AppDeps } from "./routes/deps.ts";
import { guard } from "./routes/guard.ts";
import { healthRoutes } from "./routes/health.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { namedRoutes } from "./routes/named.ts";
import { problemResponse } from "./routes/problems.ts";
import { quarantineRoutes } from "./routes/quarantine.ts";
import { runRoutes } from "./routes/runs.ts";

/** The HTTP application; tests import it and call `app.request`. */
export function createApp(deps: AppDeps): OpenAPIHono {
  const app = new OpenAPIHono({
    defaultHook: (result) => {
      if (result.success) return;
      const errors = result.error.issues.flatMap((issue) => fieldErrors(issue as never, []));
      throw new Problem("bad-request", {
        status: 400,
        detail: errors.map((error) => `${error.field} ${error.message}`).join("; "),
        errors,
      });
    },
  });
  app.onError((error, c) => problemResponse(c, error, deps.log));
  app.notFound((c) =>
    problemResponse(
      c,
      new Problem("not-found", {
        status: 404,
        detail: `There is nothing at ${c.req.path}. /api/openapi.json describes what there is.`,
      }),
      deps.log,
    )
  );
  app.use(guard(deps.config.allowedHosts));
  runRoutes(app, deps);
  quarantineRoutes(app, deps);
  namedRoutes(app, deps);
  metricsRoutes(app, deps);
  healthRoutes(app, deps);
  dashboardRoutes(app, deps);
  app.doc31("/api/openapi.json", {
    openapi: "3.1.0",
    info: {
      title: "etl-improved",
      version: "0.1.0",
      description:
        "An ETL pipeline with a queue, validation, metrics and a dashboard, on PostgreSQL alone.",
    },
  });
  return app;
}
