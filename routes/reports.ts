import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { Problem } from "../vocabulary/problem.ts";
import { latestReport } from "../store/reports.ts";
import type { AppDeps } from "./shared/deps.ts";
import { problemResponses } from "./shared/schemas.ts";

const reportSchema = z.object({
  report_id: z.number().int(),
  consumer: z.string(),
  dataset: z.string().nullable(),
  analysis_type: z.string(),
  run_ids: z.array(z.uuid()),
  report: z.record(z.string(), z.any()),
  created_at: z.string().openapi({ format: "date-time" }),
}).openapi("Report");

/** Reports of consumers such as etl_downstream_example. */
export function reportRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/reports/latest",
      summary: "The newest report",
      request: {
        query: z.strictObject({
          consumer: z.string().max(100).optional(),
          analysis_type: z.string().max(100).optional(),
        }),
      },
      responses: {
        200: {
          description: "the report",
          content: { "application/json": { schema: reportSchema } },
        },
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { consumer, analysis_type: analysisType } = c.req.valid("query");
      const report = await latestReport(deps.sql, { consumer, analysisType });
      if (report === null) {
        throw new Problem("not-found", {
          status: 404,
          detail:
            "There is no such report yet: etl_downstream_example writes one after each run, and on POST /api/etl/downstream.",
        });
      }
      return c.json(report, 200);
    },
  );
}
