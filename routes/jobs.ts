import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { jobsReport } from "../store/jobs.ts";
import type { AppDeps } from "./shared/deps.ts";
import { jsonOf, problemResponses } from "./shared/schemas.ts";

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
  scheduler: z.enum(["pg_cron", "servers"]),
  state: z.enum(["scheduled", "off", "changed", "missing", "unknown"]),
  last_runs: z.array(runSchema),
}).openapi("Job");
const schedulerSchema = z.object({
  in_use: z.string().openapi({ example: "pg_cron in database postgres" }),
  kind: z.enum(["pg_cron", "servers"]),
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

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/jobs/{name}",
      summary: "One periodic job with its last runs",
      request: { params: z.object({ name: z.string().max(100) }) },
      responses: {
        200: jsonOf(jobSchema, "the job"),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { dsn, cronDsn } = deps.config;
      const { name } = c.req.valid("param");
      const { items } = await jobsReport(deps.sql, { dsn, cronDsn });
      const job = items.find((each) => each.name === name);
      if (job === undefined) {
        throw new Problem("not-found", {
          detail: say("no-job", { name }),
        });
      }
      return c.json(job, 200);
    },
  );
}
