import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { END_STATES, METRIC_COUNTERS } from "../vocabulary/words.ts";
import {
  latestMetrics,
  metricsHistory,
  type MetricsRow,
  type Scrape,
  scrape,
} from "../store/metrics.ts";
import { metricsCsv } from "./metrics_csv.ts";
import type { AppDeps } from "./shared/deps.ts";
import { deadline } from "./shared/lookups.ts";
import { decodeCursor, pageOfItems } from "./shared/page_cursor.ts";
import { jsonOf, problemResponses } from "./shared/schemas.ts";

const time = z.string().openapi({ format: "date-time" });
const count = z.number().int();
const metricCounters = Object.fromEntries(METRIC_COUNTERS.map((name) => [name, count])) as {
  [C in (typeof METRIC_COUNTERS)[number]]: typeof count;
};

const metricsSchema = z.object({
  // the original's, in its order
  run_label: z.string(),
  total_rows: count.nullable(),
  expected_rows: count.nullable(),
  ratio: z.number().nullable(),
  num_chunks: count.nullable(),
  dry_run: z.boolean(),
  at: time,
  run_id: z.uuid(),
  status: z.string().openapi({ example: "succeeded" }),
  min_acceptance_ratio: z.number().nullable(),
  low_ratio: z.boolean(),
  replay_of: z.uuid().nullable(),
  ...metricCounters,
  schema_name: z.string().nullable(),
  table_name: z.string().nullable(),
  duration_ms: z.number().nullable(),
  waited_ms: z.number().nullable(),
  stages: z.record(z.string(), z.any()),
  attempt: count,
  requested_at: time.nullable(),
  started_at: time.nullable(),
  created_at: time,
  sla_missed: z.array(z.string()),
}).openapi("Metrics");

/** A row with the original's members first, as it named them. */
function asOriginal(row: MetricsRow) {
  const { run_label, total_rows, expected_rows, ratio, num_chunks, dry_run, ...ours } = row;
  const at = row.created_at;
  return { run_label, total_rows, expected_rows, ratio, num_chunks, dry_run, at, ...ours };
}

/** A day, or a time with or without zone (UTC then). */
const moment = z.string().max(40).transform((text, context) => {
  const zoned = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$/.test(text)
    ? `${text.replace(" ", "T")}${text.length > 10 ? "Z" : "T00:00:00Z"}`
    : text;
  const at = /^\d{4}-/.test(zoned) ? Date.parse(zoned) : NaN;
  // PostgreSQL has no year 0, and what Date writes of years beyond 9999 it does not read
  if (Number.isNaN(at) || !/^(?!0000)\d{4}-/.test(new Date(at).toISOString())) {
    context.addIssue("must be a day or time such as 2025-01-31 or 2025-01-31T12:00:00Z");
    return z.NEVER;
  }
  return new Date(at).toISOString();
});

const historySchema = z.object({ data: z.array(metricsSchema), next: z.string().nullable() });

const historyQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(10_000).default(30),
  cursor: z.string().max(500).optional(),
  start: moment.optional().openapi({
    type: "string",
    description: "from this day or time on, in UTC unless it has a zone",
  }),
  end: z.string().transform((text) =>
    /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T23:59:59.999Z` : text
  )
    .pipe(moment).optional().openapi({
      type: "string",
      description: "up to here, included; a day means the whole of it",
    }),
  run_label: z.string().max(200).optional(),
  dry_run: z.enum(["true", "false"]).optional(),
  status: z.enum(END_STATES).optional(),
  format: z.enum(["json", "csv"]).default("json"),
});

/** The metrics API of the original: latest and history. */
export function metricsRoutes(app: OpenAPIHono, deps: AppDeps): void {
  // a form sends what was left empty, too
  app.use("/api/metrics/*", async (c, next) => {
    const url = new URL(c.req.url);
    const given = [...url.searchParams].filter(([, value]) => value !== "");
    // a Request of fetch takes no TRACE
    if (given.length < url.searchParams.size && ["GET", "HEAD"].includes(c.req.method)) {
      url.search = new URLSearchParams(given).toString();
      c.req.raw = new Request(url, c.req.raw);
    }
    await next();
  });

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/metrics/latest",
      summary: "The newest run with a ratio, dry runs included",
      responses: {
        200: jsonOf(
          z.object({ data: metricsSchema.nullable() }),
          "its metrics; data is null before the first",
        ),
      },
    }),
    async (c) => {
      const latest = await latestMetrics(deps.sql);
      return c.json({ data: latest === null ? null : asOriginal(latest) }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/metrics/history",
      summary: "Metrics of ended runs, newest first",
      description:
        "format=csv answers with a CSV file (RFC 4180); its Link header leads to the next page.",
      request: { query: historyQuery },
      responses: {
        200: {
          description: "a page of metrics",
          content: {
            "application/json": { schema: historySchema },
            "text/csv": { schema: z.string() },
          },
        },
        ...problemResponses(400),
      },
    }),
    async (c) => {
      const { format, ...query } = c.req.valid("query");
      const { items, next } = await historyPage(deps, query);
      if (format === "csv") return csv(c, items, next) as never;
      return c.json({ data: items.map(asOriginal), next }, 200);
    },
  );
}

type HistoryQuery = Omit<z.infer<typeof historyQuery>, "format">;

async function historyPage(
  deps: AppDeps,
  { limit, cursor, start, end, run_label: runLabel, dry_run: dryRun, status }: HistoryQuery,
): Promise<{ items: MetricsRow[]; next: string | null }> {
  const before = cursor === undefined ? undefined : cursorPosition(cursor);
  const rows = await metricsHistory(deps.sql, {
    limit: limit + 1,
    start,
    end,
    runLabel,
    dryRun: dryRun === undefined ? undefined : dryRun === "true",
    status,
    before,
  });
  const { items, next } = pageOfItems(rows, {
    limit,
    position: (last) => [last.position, last.metrics.run_id],
  });
  return {
    items: items.map((row) => row.metrics),
    next,
  };
}

function cursorPosition(cursor: string): { createdAt: string; runId: string } {
  const [createdAt, runId] = decodeCursor(cursor, ["time", "uuid"]) as string[];
  return { createdAt: createdAt!, runId: runId! };
}

function csv(c: Context, items: MetricsRow[], next: string | null): Response {
  if (next !== null) {
    const url = new URL(c.req.url);
    url.searchParams.set("cursor", next);
    c.header("Link", `<${url.pathname}${url.search}>; rel="next"`);
  }
  c.header("Content-Disposition", 'attachment; filename="etl_metrics.csv"');
  return c.body(metricsCsv(items), 200, {
    "content-type": "text/csv; charset=utf-8; header=present",
  });
}

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
