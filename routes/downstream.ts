import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { downstreamExample } from "../pipeline/consumers/downstream_example.ts";
import { Problem } from "../vocabulary/problem.ts";
import { deliveryState, requestDelivery } from "../store/deliveries.ts";
import { delay } from "../store/retry.ts";
import { actorOf } from "./access/identity.ts";
import { readJson } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { requireJson } from "./shared/media_type.ts";
import { jsonOf, problemResponses } from "./shared/schemas.ts";
import { whileWaiting } from "./shared/wait.ts";

const WAIT_LIMIT_MS = 60_000;
const LOOK_MS = 100;

const deliverySchema = z.object({
  delivery_id: z.number().int(),
  consumer: z.string(),
  state: z.enum(["pending", "done", "failed", "skipped"]),
  attempts: z.number().int(),
  error: z.string().nullable(),
  result: z.any(),
}).openapi("Delivery");

/** Starts etl_downstream_example by hand, and shows how that went. */
export function downstreamRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/etl/downstream",
    summary: "Run etl_downstream_example now",
    description: "Its report is at /api/reports/latest; wait=true answers when it is there.",
    request: {
      query: z.object({ wait: z.enum(["true", "false"]).optional() }),
      body: {
        required: true,
        content: {
          "application/json": {
            schema: z.strictObject({
              analysis_type: z.enum(["daily_summary"]).optional(),
              top_n: z.number().int().min(1).max(1000).optional(),
              cleanup: z.boolean().optional(),
            }),
          },
        },
      },
    },
    responses: {
      200: jsonOf(deliverySchema, "how it ended (wait=true)"),
      202: jsonOf(deliverySchema, "it will run; Location shows how it went"),
      ...problemResponses(400, 413, 415, 422),
    },
  });
  app.post("/api/etl/downstream", (c) => {
    requireJson(c, 'The parameters are application/json, e.g. {"top_n": 5}');
    return whileWaiting(c, (wait) => requestDownstream(c, deps, wait));
  });

  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/api/deliveries/{id}",
    summary: "How the run of a consumer went",
    request: { params: z.object({ id: z.string() }) },
    responses: { 200: jsonOf(deliverySchema, "the delivery"), ...problemResponses(404) },
  });
  app.get("/api/deliveries/:id{[0-9]{1,15}}", async (c) => {
    const delivery = await deliveryState(deps.sql, Number(c.req.param("id")));
    if (delivery === null) {
      throw new Problem("not-found", { status: 404, detail: "There is no such delivery." });
    }
    return c.json(delivery);
  });
}

async function requestDownstream(
  c: Context,
  deps: AppDeps,
  wait: boolean,
): Promise<Response> {
  const given = await readJson(c);
  downstreamExample.parseParams(given);
  const { name } = downstreamExample;
  const id = await requestDelivery(deps.sql, name, {
    params: given as Record<string, unknown>,
    actor: actorOf(c),
  });
  const read = async () => (await deliveryState(deps.sql, id))!;
  c.header("Location", `/api/deliveries/${id}`);
  if (!wait) return c.json(await read(), 202);
  const deadline = performance.now() + WAIT_LIMIT_MS;
  let delivery = await read();
  while (delivery.state === "pending" && performance.now() < deadline) {
    await delay(LOOK_MS, c.req.raw.signal);
    if (c.req.raw.signal.aborted) break;
    delivery = await read();
  }
  return c.json(delivery, delivery.state === "pending" ? 202 : 200);
}
