import { OpenAPIHono } from "@hono/zod-openapi";
import { fieldErrors } from "./pipeline/conf_errors.ts";
import { Problem } from "./pipeline/problem.ts";
import { dashboardRoutes } from "./routes/dashboard/dashboard.tsx";
import type { AppDeps } from "./routes/deps.ts";
import { docsRoutes } from "./routes/docs.ts";
import { guard } from "./routes/guard.ts";
import { healthRoutes } from "./routes/health.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { namedRoutes } from "./routes/named.ts";
import { previewRoutes } from "./routes/preview.ts";
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
  previewRoutes(app, deps);
  quarantineRoutes(app, deps);
  namedRoutes(app, deps);
  metricsRoutes(app, deps);
  healthRoutes(app, deps);
  dashboardRoutes(app, deps);
  docsRoutes(app);
  return app;
}
