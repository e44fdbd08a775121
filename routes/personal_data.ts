import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { datasetName } from "../pipeline/consumers/consumer.ts";
import { fieldPath } from "../pipeline/sources/schema.ts";
import { forgetAside } from "../pipeline/workers/aside.ts";
import { alterPrivateFields } from "../store/private_fields.ts";
import { Problem } from "../vocabulary/problem.ts";
import { actorOf } from "./access/identity.ts";
import type { AppDeps } from "./shared/deps.ts";
import { lockedProblem } from "./shared/problems.ts";
import { jsonBody, jsonOf, problemResponses } from "./shared/schemas.ts";

const params = z.object({ dataset: z.string().max(200) });

const paths = z.array(fieldPath).max(200);

const alterBody = z.strictObject({
  source: z.string().min(1).max(200).optional().openapi({
    description: "whose records are meant, by the source's name; default: the only source",
  }),
  exclude: paths.optional().openapi({
    description: "fields that are left out; default: as before",
  }),
  hash: paths.optional().openapi({
    description: "fields in whose place a keyed hash stands; default: as before",
  }),
});

const privateSchema = z.object({ exclude: paths, hash: paths }).openapi("PrivateFields");

const forgetBody = z.strictObject({
  key: z.string().min(1).max(10_000).openapi({
    description:
      "as messages show it: the parts of a key with | between them; a hashed one as it was read, or its hash",
  }),
  unreadable: z.boolean().default(false).openapi({
    description: "also rejected records that cannot be parsed and have the text of the key in them",
  }),
});

const rowCount = z.number().int();

const forgottenSchema = z.object({
  dataset: z.string(),
  rows: rowCount,
  quarantine: rowCount.openapi({ description: "rejected records, in any state" }),
  uploads: rowCount.openapi({ description: "request bodies that held it, or cannot be searched" }),
  tombstones: rowCount,
  log_lines: rowCount,
  texts: rowCount.openapi({ description: "errors, warnings and results in which it stood" }),
  left: z.object({
    foreign_rows: rowCount.openapi({ description: "rows that no run has written" }),
    unreadable: rowCount.openapi({ description: "rejected records that may be of it" }),
    runs: z.array(z.string()).openapi({ description: "current runs, which may bring it back" }),
    uploads: z.array(z.object({ upload_id: z.string(), until: z.string() })),
    short: z.boolean().openapi({ description: "too short to be looked for in logs and errors" }),
  }),
}).openapi("Forgotten");

/** What of a dataset is personal data, and the end of it. */
export function personalDataRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "patch",
      path: "/api/datasets/{dataset}/private",
      summary: "Change which fields of a dataset are left out or hashed",
      description:
        "Holds for the runs that come; a row that is there changes when its record is loaded again. Noted in the audit table.",
      request: {
        params,
        body: jsonBody(alterBody),
      },
      responses: {
        200: jsonOf(privateSchema, "the current declaration"),
        ...problemResponses(400, 404, 415, 422),
      },
    }),
    async (c) => {
      const dataset = datasetName(c.req.valid("param").dataset);
      const { source, exclude, hash } = c.req.valid("json");
      const fields = await alterPrivateFields(deps.sql, dataset, {
        source,
        exclude,
        hash,
        actor: actorOf(c),
      });
      return c.json(fields, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/api/datasets/{dataset}/forget",
      summary: "Remove one key from all that is kept of a dataset",
      description:
        "Its rows, rejected records, request bodies, notes of deletions, lines of logs and texts of runs, in one transaction. The audit entry does not hold the key. Source, backups, replicas, WAL and copies that consumers made are not reached.",
      request: {
        params,
        body: jsonBody(forgetBody),
      },
      responses: {
        200: jsonOf(forgottenSchema, "what was removed, and what is left"),
        ...problemResponses(400, 404, 415, 422),
      },
    }),
    async (c) => {
      const dataset = datasetName(c.req.valid("param").dataset);
      const { key, unreadable } = c.req.valid("json");
      const { dsn, hashSecret } = deps.config;
      const wanted = { dsn, dataset, key, unreadable, secret: hashSecret, actor: actorOf(c) };
      try {
        return c.json(await forgetAside(wanted), 200);
      } catch (error) {
        const locked = error instanceof Problem && error.extra.locked === true;
        throw locked ? await lockedProblem(deps.probe ?? deps.sql, error) : error;
      }
    },
  );
}
