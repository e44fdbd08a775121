import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { jobsReport } from "../store/jobs.ts";
import type { AppDeps } from "./deps.ts";

const time = z.string().openapi({ format: "date-time" });
const runSchema = z.object({
  started_at: time.nullable(),
  ended_at: time.nullable(),
  status: z.string().openapi({ example: "succeeded" }),
  message: z.string().nullable(),
  age_seconds: z.number().nullable(),
});
const jobSchema = z.object({
  name: z.string().openapi({ example: "etl_schedule_tick" }),
  description: z.string(),
  schedule: z.string().openapi({ example: "* * * * *" }),
  command: z.string(),
  scheduler: z.enum(["pg_cron", "pg-boss"]),
  state: z.enum(["scheduled", "off", "changed", "missing", "unknown"]),
  last_runs: z.array(runSchema),
}).openapi("Job");
const schedulerSchema = z.object({
  in_use: z.string().openapi({ example: "pg_cron in database postgres" }),
  kind: z.enum(["pg_cron", "pg_boss"]),
  database: z.string().nullable(),
  role: z.string().nullable(),
  reason: z.string().nullable(),
  grants: z.array(z.string()),
});

/** The periodic jobs, who runs them, and how their last runs went. */
export function jobRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/jobs",
      summary: "Periodic jobs with their last runs, and who runs them",
      responses: {
        200: {
          description: "the jobs",
          content: {
            "application/json": {
              schema: z.object({
                scheduler: schedulerSchema,
                items: z.array(jobSchema),
                warnings: z.array(z.string()),
              }),
            },
          },
        },
      },
    }),
    async (c) => {
      const { dsn, cronDsn } = deps.config;
      return c.json(await jobsReport(deps.sql, { dsn, cronDsn }), 200);
    },
  );
}
