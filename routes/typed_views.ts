import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { datasetName } from "../pipeline/consumers/consumer.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { proposeTable } from "../pipeline/typed_rows.ts";
import {
  distributeDataset,
  proposeColumns,
  setDatasetColumns,
  typedView,
} from "../store/datasets.ts";
import { alterTable, declaredTable } from "../store/typed_tables.ts";
import type { AppDeps } from "./shared/deps.ts";
import { actorOf } from "./access/identity.ts";
import { jsonBody, jsonOf, problemResponses } from "./shared/schemas.ts";

const columnType = z.enum([
  "text",
  "integer",
  "numeric",
  "boolean",
  "date",
  "timestamptz",
  "jsonb",
]);

const columnSchema = z.object({
  name: z.string(),
  path: z.string(),
  type: columnType,
}).openapi("DatasetColumn");

const viewSchema = z.object({
  dataset: z.string(),
  view: z.string().nullable(),
  columns: z.array(columnSchema),
  fixed: z.array(z.string()),
  exists: z.boolean(),
  table: z.any().openapi({
    type: ["object", "null"] as never,
    description:
      "what a typed table has declared: source, key, version, columns; null: its rows are events",
  }),
}).openapi("TypedView");

const proposalSchema = z.object({
  columns: z.array(columnSchema),
  rows: z.number().int(),
  left_out: z.number().int(),
}).openapi("ColumnProposal");

const distributionSchema = z.object({
  distributed_by: z.string().openapi({ example: "event_id" }),
  shards: z.number().int(),
  servers: z.number().int(),
}).openapi("Distribution");

/** What the columns have to be is said by the database, to psql as to HTTP. */
const bodySchema = z.strictObject({
  columns: z.array(z.any()).openapi({
    items: {
      type: "object",
      required: ["name", "type"],
      properties: {
        name: { type: "string", description: "of the column, at most 63 bytes" },
        path: {
          type: "string",
          description: 'into payload: "properties.mag", "items.0.price"; default: the name',
        },
        type: { type: "string", enum: [...columnType.options, "number", "bigint"] },
      },
    },
    example: [{ name: "amount", path: "amount", type: "numeric" }],
  }),
  view: z.string().min(1).max(63).nullable().optional().openapi({
    description: "name of the view; default: its current name, initially <table>_typed",
  }),
});

const types = z.record(z.string().min(1).max(512), z.string().min(1).max(40))
  .refine((all) => Object.keys(all).length <= 1_500, "has more than 1,500 columns");

const alterSchema = z.strictObject({
  add: types.optional().openapi({
    description: "fields of records that get a column, with its type",
    example: { discount: "numeric(5,2)" },
  }),
  types: types.optional().openapi({
    description: "columns that get a wider type: integer → numeric, date → timestamptz",
  }),
});

/** What a typed table is made of; its `columns` have types as numeric(12,2). */
const declaredSchema = z.object({
  source: z.string(),
  key: z.array(z.string()).nullable(),
  version: z.string().nullable(),
  columns: z.array(z.object({ name: z.string(), path: z.string(), type: z.string() })),
}).openapi("TypedTable");

const params = z.object({
  dataset: z.string().max(200).openapi({
    param: { name: "dataset", in: "path" },
    example: "public.etl_improved_events",
  }),
});

/** The typed view of a dataset: look, declare columns, remove, propose. */
export function typedViewRoutes(app: OpenAPIHono, deps: AppDeps): void {
  const path = "/api/datasets/{dataset}/columns";
  const known = async (dataset: string) => {
    const found = await typedView(deps.sql, dataset);
    if (found !== null) return { ...found, table: await declaredTable(deps.sql, dataset) };
    throw new Problem("not-found", {
      detail: say("no-dataset-written", { dataset }),
    });
  };

  app.openapi(
    createRoute({
      method: "get",
      path,
      summary: "The typed view of a dataset and its declared columns",
      request: { params },
      responses: {
        200: jsonOf(viewSchema, "the view; no columns where none are declared"),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => c.json(await known(datasetName(c.req.valid("param").dataset)), 200),
  );
  app.openapi(
    createRoute({
      method: "put",
      path,
      summary: "Declare the columns of a dataset and make its typed view",
      description:
        "All or nothing. Columns added at the end leave the view and everything built on it in " +
        "place; any other change creates the view again, and is refused while something depends on it.",
      request: { params, body: jsonBody(bodySchema) },
      responses: {
        200: jsonOf(viewSchema, "the view"),
        ...problemResponses(400, 404, 409, 415, 422),
      },
    }),
    async (c) => {
      const dataset = datasetName(c.req.valid("param").dataset);
      const { columns, view } = c.req.valid("json" as never) as z.infer<typeof bodySchema>;
      await setDatasetColumns(deps.sql, dataset, { columns, view, actor: actorOf(c) });
      return c.json(await known(dataset), 200);
    },
  );
  app.openapi(
    createRoute({
      method: "patch",
      path,
      summary: "Add columns to a typed table, or widen their types",
      description: "All or nothing, and noted in the audit table. No value that is there changes.",
      request: { params, body: jsonBody(alterSchema) },
      responses: {
        200: jsonOf(declaredSchema, "what the dataset declares now"),
        ...problemResponses(400, 404, 409, 415, 422),
      },
    }),
    async (c) => {
      const dataset = datasetName(c.req.valid("param").dataset);
      const { add = {}, types = {} } = c.req.valid("json" as never) as z.infer<typeof alterSchema>;
      const table = await declaredTable(deps.sql, dataset);
      const paths = Object.entries(add).map(([field, type]) => [
        field.replaceAll(".", "\\."),
        type,
      ]);
      const altered = await alterTable(deps.sql, dataset, {
        add: proposeTable(Object.fromEntries(paths), { conf: {}, taken: table?.columns ?? [] }),
        types,
        actor: actorOf(c),
      });
      const { source, key, version, columns } = altered;
      return c.json({ source, key, version, columns }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: "post",
      path: "/api/datasets/{dataset}/distribute",
      summary: "Distribute the table of a dataset over several PostgreSQL servers (Citus)",
      description:
        "Its rows go to the servers that citus_add_node has named, by event_id. Noted in the audit table.",
      request: { params },
      responses: {
        200: jsonOf(distributionSchema, "where its rows are now"),
        ...problemResponses(400, 404, 409, 422),
      },
    }),
    async (c) => {
      const dataset = datasetName(c.req.valid("param").dataset);
      return c.json(await distributeDataset(deps.sql, dataset, actorOf(c)), 200);
    },
  );
  app.openapi(
    createRoute({
      method: "delete",
      path,
      summary: "Remove the typed view of a dataset and its columns",
      request: { params },
      responses: { 204: { description: "removed" }, ...problemResponses(400, 404, 409, 422) },
    }),
    async (c) => {
      const dataset = datasetName(c.req.valid("param").dataset);
      if ((await known(dataset)).view === null) {
        throw new Problem("not-found", {
          detail: say("no-declared-columns", { dataset }),
        });
      }
      await setDatasetColumns(deps.sql, dataset, { columns: null, actor: actorOf(c) });
      return c.body(null, 204);
    },
  );
  app.openapi(
    createRoute({
      method: "get",
      path: `${path}/proposal`,
      summary: "Columns that fit the data of a dataset",
      description: "Looks at a sample of the rows; changes nothing. Edit it and PUT it as columns.",
      request: {
        params,
        query: z.strictObject({
          sample: z.coerce.number().int().min(1).max(100_000).default(5000),
        }),
      },
      responses: {
        200: jsonOf(proposalSchema, "the proposal"),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const dataset = datasetName(c.req.valid("param").dataset);
      return c.json(await proposeColumns(deps.sql, dataset, c.req.valid("query").sample), 200);
    },
  );
}
