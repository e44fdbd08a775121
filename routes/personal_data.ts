import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { datasetName } from "../pipeline/consumers/consumer.ts";
import { fieldPath } from "../pipeline/sources/schema.ts";
import { alterPrivateFields } from "../store/private_fields.ts";
import { actorOf } from "./access/identity.ts";
import type { AppDeps } from "./shared/deps.ts";
import { jsonOf, problemResponses } from "./shared/schemas.ts";

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

/** What of a dataset is personal data. */
export function personalDataRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "patch",
      path: "/api/datasets/{dataset}/private",
      summary: "Declare anew which fields of a dataset are left out or hashed",
      description:
        "Holds for the runs that come; a row that is there changes when its record is loaded again. Noted in the audit table.",
      request: {
        params,
        body: { required: true, content: { "application/json": { schema: alterBody } } },
      },
      responses: {
        200: jsonOf(privateSchema, "what is declared now"),
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
}
