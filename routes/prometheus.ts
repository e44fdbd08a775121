import type { OpenAPIHono } from "@hono/zod-openapi";
import { z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { type Scrape, scrape } from "../store/metrics.ts";
import { deadline } from "./shared/deadline.ts";
import type { AppDeps } from "./shared/deps.ts";

/** A database that does not answer must not hang the scrape. */
const SCRAPE_LIMIT_MS = 5_000;

/** GET /api/etl/metrics, for Prometheus. */
export function prometheusRoutes(app: OpenAPIHono, deps: AppDeps): void {
  let current: Promise<Scrape | null> | null = null;
  // several scrapers at once share one query
  const read = () =>
    current ??= deadline(scrape(deps.probe ?? deps.sql), SCRAPE_LIMIT_MS).catch((error) => {
      deps.log.warn("metrics of the database could not be read", { error });
      return null;
    }).finally(() => current = null);

  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/api/etl/metrics",
    summary: "Metrics in Prometheus' text format",
    description:
      "Answers 200 when the database is out of reach too, with etl_database_up 0 and what this server knows itself.",
    responses: {
      200: { description: "metrics", content: { "text/plain": { schema: z.string() } } },
    },
  });
  app.get("/api/etl/metrics", async (c) => {
    const { workers, workersBusy } = deps.status();
    const text = await deps.metrics.text(await read(), { workers, workersBusy });
    return c.body(text, 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
  });
}

/** Counts every request by the route that answered it. */
export function countRequests(deps: Pick<AppDeps, "metrics">): MiddlewareHandler {
  return async (c, next) => {
    const started = performance.now();
    await next();
    const route = routePath(c, -1);
    deps.metrics.httpAnswered({
      method: c.req.method,
      // what no route answers has no name of its own
      route: route === "*" || route === "/*" ? "other" : route,
      status: c.res.status,
      ms: performance.now() - started,
    });
  };
}
