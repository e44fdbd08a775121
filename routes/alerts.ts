import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import {
  type AlertView,
  consumerParams,
  handleAlert,
  openIncidents,
  recentAlerts,
  sendTestAlert,
} from "../store/alerts.ts";
import { consumerSchema } from "../pipeline/consumers/params.ts";
import { actorOf } from "./access/identity.ts";
import { withMessages } from "./shared/language.ts";
import type { AppDeps } from "./shared/deps.ts";
import { jsonBody, jsonOf, problemResponses } from "./shared/schemas.ts";

const time = z.string().openapi({ format: "date-time" });

const alertSchema = z.object({
  // the original's, in its order
  kind: z.string().openapi({ example: "run_failed" }),
  message: z.string(),
  run_label: z.string().nullable(),
  ratio: z.number().nullable(),
  at: time,
  alert_id: z.number().int(),
  severity: z.string(),
  run_id: z.uuid().nullable(),
  fingerprint: z.string().nullable(),
  details: z.record(z.string(), z.any()),
  suppressed: z.boolean(),
  created_at: time,
  resolved_at: time.nullable(),
  notified: z.record(z.string(), z.enum(["pending", "sent", "failed"])),
}).openapi("Alert");

const incidentSchema = z.object({
  fingerprint: z.string(),
  kind: z.string(),
  subject: z.string(),
  opened_at: time,
  last_at: time,
  occurrences: z.number().int(),
  acknowledged_at: time.nullable(),
  acknowledged_by: z.string().nullable(),
  silenced_until: time.nullable(),
  silenced_by: z.string().nullable(),
  severity: z.string().nullable().openapi({ description: "of its last alert" }),
  message: z.string().nullable().openapi({ description: "what its last alert said" }),
  run_id: z.string().nullable(),
}).openapi("Incident");

const handleSchema = z.object({
  fingerprint: z.string().max(1000).openapi({ example: "run_failed:nightly" }),
  action: z.enum(["acknowledge", "silence", "close"]),
  minutes: z.number().positive().max(525_600).default(60)
    .openapi({ description: "of a silence" }),
}).strict().openapi("HandleAlert");

/** An alert with the original's members first, as it named them. */
function asOriginal(alert: AlertView) {
  const { kind, message, run_label, details, created_at: at, ...ours } = alert;
  const ratio = typeof details.ratio === "number" ? details.ratio : null;
  return { kind, message, run_label, ratio, at, details, created_at: at, ...ours };
}

/** What the consumer found. */
export function alertRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/alerts/recent",
      summary: "The last 50 alerts, newest first",
      responses: {
        200: jsonOf(z.object({ data: z.array(alertSchema) }), "the alerts"),
      },
    }),
    async (c) => {
      const data = withMessages(c, (await recentAlerts(deps.sql)).map(asOriginal));
      return c.json({ data }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/consumer",
      summary: "The parameters of etl_consumer, and where each comes from",
      description: "PUT /api/variables/etl_consumer__trend_window changes one.",
      responses: {
        200: jsonOf(
          z.object({ params: consumerSchema, origins: z.record(z.string(), z.string()) }),
          "them",
        ),
      },
    }),
    async (c) => c.json(await consumerParams(deps.sql), 200),
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/alerts/open",
      summary: "Open incidents, and the actions taken",
      responses: { 200: jsonOf(z.object({ items: z.array(incidentSchema) }), "the incidents") },
    }),
    async (c) => c.json({ items: withMessages(c, await openIncidents(deps.sql)) }, 200),
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/api/alerts/handle",
      summary: "Acknowledge, silence for a time, or close an incident",
      request: {
        body: jsonBody(handleSchema),
      },
      responses: {
        200: jsonOf(z.object({ fingerprint: z.string(), action: z.string() }), "done"),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { fingerprint, action, minutes } = c.req.valid("json");
      const actor = actorOf(c);
      const done = await handleAlert(deps.sql, {
        fingerprint,
        action,
        actor,
        minutes: action === "silence" ? minutes : null,
      });
      if (!done) {
        throw new Problem("not-found", {
          detail: say("no-incident", {}),
        });
      }
      return c.json({ fingerprint, action }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/api/alerts/test",
      summary: "Send one message to each channel",
      responses: {
        202: jsonOf(z.object({ channels: z.array(z.string()) }), "on its way to these"),
      },
    }),
    async (c) => c.json({ channels: await sendTestAlert(deps.sql, actorOf(c)) }, 202),
  );
}
