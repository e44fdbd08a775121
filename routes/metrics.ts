import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { Problem } from "../pipeline/problem.ts";
import { latestMetrics } from "../store/metrics.ts";
import type { AppDeps } from "./deps.ts";
import { problemResponses } from "./schemas.ts";

/** The metrics API of the original. */
export function metricsRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/metrics/latest",
      summary: "The newest run with a ratio, dry runs included",
      responses: {
        200: {
          description: "its metrics",
          content: { "application/json": { schema: z.record(z.string(), z.any()) } },
        },
        ...problemResponses(404),
      },
    }),
    async (c) => {
      const latest = await latestMetrics(deps.sql);
      if (latest === null) {
        throw new Problem("not-found", {
          status: 404,
          detail:
            "There are no metrics yet: no run has reached finalize. POST /api/etl/run starts one.",
        });
      }
      return c.json(latest, 200);
    },
  );
}
