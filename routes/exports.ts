import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { runExports } from "../store/exports.ts";
import type { AppDeps } from "./shared/deps.ts";
import { knownRun } from "./runs.ts";
import { problemResponses } from "./shared/schemas.ts";

const exportSchema = z.object({
  target: z.enum(["mlflow", "openlineage"]),
  end_no: z.number().int(),
  state: z.string(),
  external_id: z.string().nullable(),
  attempts: z.number().int(),
  error: z.string().nullable(),
  updated_at: z.string().openapi({ format: "date-time" }),
}).openapi("Export");

/** How a run was told to MLflow and OpenLineage. */
export function exportRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/runs/{id}/exports",
      summary: "How a run was told to MLflow and OpenLineage",
      request: {
        params: z.object({ id: z.uuid().openapi({ param: { name: "id", in: "path" } }) }),
      },
      responses: {
        200: {
          description: "one for each system and end of the run",
          content: { "application/json": { schema: z.object({ items: z.array(exportSchema) }) } },
        },
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      await knownRun(deps, id);
      return c.json({ items: await runExports(deps.sql, id) }, 200);
    },
  );
}
