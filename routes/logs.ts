import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { runLogs } from "../store/logs.ts";
import type { AppDeps } from "./shared/deps.ts";
import { decodeCursor, encodeCursor } from "./shared/page_cursor.ts";
import { knownRun } from "./runs.ts";
import { pageOf, problemResponses } from "./shared/schemas.ts";

const lineSchema = z.object({
  line_no: z.number().int(),
  logged_at: z.string().openapi({ format: "date-time" }),
  level: z.string(),
  message: z.string(),
  fields: z.record(z.string(), z.any()),
}).openapi("LogLine");

/** The tail of a run's log that the database keeps. */
export function logRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/runs/{id}/logs",
      summary: "The last lines of a run's log, oldest first",
      description: "ETL_RUN_LOG_LINES (1,000) lines of a run are kept.",
      request: {
        params: z.object({ id: z.uuid().openapi({ param: { name: "id", in: "path" } }) }),
        query: z.strictObject({
          limit: z.coerce.number().int().min(1).max(5000).default(1000),
          cursor: z.string().max(500).optional(),
        }),
      },
      responses: {
        200: {
          description: "a page of lines",
          content: { "application/json": { schema: pageOf(lineSchema) } },
        },
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const { limit, cursor } = c.req.valid("query");
      await knownRun(deps, id);
      const after = cursor === undefined ? 0 : Number(decodeCursor(cursor, ["integer"])[0]);
      const lines = await runLogs(deps.sql, id, { after, limit: limit + 1 });
      const items = lines.slice(0, limit);
      const next = lines.length > limit ? encodeCursor([items.at(-1)!.line_no]) : null;
      return c.json({ items, next }, 200);
    },
  );
}
