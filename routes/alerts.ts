import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { recentAlerts } from "../store/alerts.ts";
import type { AppDeps } from "./shared/deps.ts";

const time = z.string().openapi({ format: "date-time" });

const alertSchema = z.object({
  alert_id: z.number().int(),
  kind: z.string().openapi({ example: "run_failed" }),
  severity: z.string(),
  message: z.string(),
  run_id: z.uuid().nullable(),
  run_label: z.string().nullable(),
  fingerprint: z.string().nullable(),
  details: z.record(z.string(), z.any()),
  suppressed: z.boolean(),
  created_at: time,
  resolved_at: time.nullable(),
  notified: z.record(z.string(), z.enum(["pending", "sent", "failed"])),
}).openapi("Alert");

/** What the consumer found. */
export function alertRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/alerts/recent",
      summary: "The last 50 alerts, newest first",
      responses: {
        200: {
          description: "the alerts",
          content: { "application/json": { schema: z.object({ items: z.array(alertSchema) }) } },
        },
      },
    }),
    async (c) => c.json({ items: await recentAlerts(deps.sql) }, 200),
  );
}
