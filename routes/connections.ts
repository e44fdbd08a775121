import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { tablesOf } from "../pipeline/workers/aside.ts";
import { nearestName } from "../vocabulary/nearest_name.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import type { AppDeps } from "./shared/deps.ts";
import { Gate } from "./shared/load.ts";
import { jsonOf, problemResponses } from "./shared/schemas.ts";

/** Each has a Web Worker of its own, so there are few at once. */
const AT_ONCE = 4;

const cataloguedTables = z.object({
  connection: z.string(),
  kind: z.enum(["postgres", "mysql"]),
  tables: z.array(z.object({
    schema: z.string(),
    name: z.string(),
    columns: z.array(z.object({
      name: z.string(),
      type: z.string().describe("as that database calls it"),
      declare: z.string().describe("the type of source.columns that holds all its values"),
    })),
    key: z.array(z.string()).nullable().describe(
      "its primary key, else a unique key without nulls; null: it has neither",
    ),
    primary: z.boolean().describe("whether key is the primary key"),
    rows: z.number().nullable().describe("as that database's statistics have it"),
    readable: z.boolean().describe("whether the connection's role may read it"),
  })),
}).openapi("SourceTables");
export type SourceTables = z.infer<typeof cataloguedTables>;

/** What the databases of connections hold. */
export function connectionRoutes(app: OpenAPIHono, { config }: AppDeps): void {
  const gate = new Gate(AT_ONCE, say("catalogues-read", { n: AT_ONCE }), { status: 429 });
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/connections/{name}/tables",
      summary: "Tables of another database, with keys and columns as its catalogue has them",
      description:
        "PostgreSQL, MySQL and MariaDB. Reads no row. What `etl replicate` makes configurations of.",
      request: {
        params: z.object({
          name: z.string().max(63).openapi({
            param: { name: "name", in: "path" },
            example: "crm",
          }),
        }),
        query: z.strictObject({
          tables: z.string().min(1).max(2_000).openapi({
            description: "schema.table with * and ?; several with commas between them",
            example: "sales.*",
          }),
        }),
      },
      responses: {
        200: jsonOf(cataloguedTables, "the tables, by name"),
        ...problemResponses(400, 404, 422, 429, 503),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const patterns = c.req.valid("query").tables.split(",").map((each) => each.trim());
      const dsn = Object.hasOwn(config.connections, name) ? config.connections[name] : undefined;
      if (dsn === undefined) throw unknown(name, Object.keys(config.connections));
      const found = await gate.run(() =>
        tablesOf(
          { connection: name, dsn, patterns: patterns.filter((each) => each !== "") },
          c.req.raw.signal,
        )
      );
      return c.json({ connection: name, ...found }, 200);
    },
  );
}

function unknown(name: string, known: string[]): Problem {
  const near = nearestName(name, known);
  return new Problem("not-found", {
    detail: say("no-database-connection", {
      name,
      near: near === undefined ? "." : say("do-you-mean", { name: near }),
      variable: `ETL_CONNECTION_${name.toUpperCase()}`,
    }),
  });
}
