import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { jsonText } from "../pipeline/numbers.ts";
import { Problem } from "../vocabulary/problem.ts";
import { checkedSuite } from "../pipeline/workers/aside.ts";
import {
  deleteSuite,
  getSuite,
  listSuites,
  putSuite,
  runValidation,
  type SuiteText,
} from "../store/suites.ts";
import { readJson } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { Turns } from "./shared/gate.ts";
import { actorOf } from "./access/identity.ts";
import { knownRun } from "./runs.ts";
import { json, problemResponses } from "./shared/schemas.ts";

const name = z.string().regex(
  /^[A-Za-z_][A-Za-z0-9_.-]{0,199}$/,
  "a name of letters, digits, _ . and -",
)
  .openapi({ param: { name: "name", in: "path" } });
/** Each has a worker; the others wait. */
const COMPILED_AT_ONCE = 2;

const suiteJson = z.record(z.string(), z.any()).openapi("ExpectationSuite");
const resultJson = z.record(z.string(), z.any()).openapi("ValidationResult");

/** Expectation suites: list, get, put, remove; and the validation result of a run. */
export function suiteRoutes(app: OpenAPIHono, deps: AppDeps): void {
  const compiling = new Turns(COMPILED_AT_ONCE);
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/suites",
      summary: "Every expectation suite",
      responses: {
        200: {
          description: "by name, with the number of expectations and where it comes from",
          content: json(z.object({
            items: z.array(z.object({
              name: z.string(),
              expectations: z.number().int(),
              row_wise: z.boolean(),
              origin: z.enum(["file", "api"]),
            })),
          })),
        },
      },
    }),
    async (c) => {
      const items = (await listSuites(deps.sql)).map(({ name, suite, row_wise, origin }) => ({
        name,
        expectations: JSON.parse(suite).expectations.length,
        row_wise,
        origin,
      }));
      return c.json({ items }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/suites/{name}",
      summary: "One suite, in the JSON of Great Expectations 1.x",
      request: { params: z.object({ name }) },
      responses: {
        200: { description: "the suite", content: json(suiteJson) },
        ...problemResponses(400, 404),
      },
    }),
    async (c) => suiteAnswer(c, (await knownSuite(deps, c.req.valid("param").name)).suite, 200),
  );
  app.openapi(
    createRoute({
      method: "put",
      path: "/api/suites/{name}",
      summary: "Create or replace a suite",
      description:
        "Takes the JSON that Great Expectations 0.18 or 1.x writes. The name in the path counts.",
      request: { params: z.object({ name }) },
      responses: {
        200: { description: "replaced", content: json(suiteJson) },
        201: { description: "created", content: json(suiteJson) },
        ...problemResponses(400, 413, 422),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const body = await bodyObject(c);
      if (body.expectations === undefined) throw noExpectations();
      const { suite, rowWise } = await compiling.take(() =>
        checkedSuite({
          ...body,
          name,
          expectation_suite_name: undefined,
        })
      );
      const text = jsonText(suite);
      const put = { name, suite: text, row_wise: rowWise };
      const isNew = await putSuite(deps.sql, put, actorOf(c));
      return suiteAnswer(c, text, isNew ? 201 : 200);
    },
  );
  app.openapi(
    createRoute({
      method: "delete",
      path: "/api/suites/{name}",
      summary: "Remove a suite",
      request: { params: z.object({ name }) },
      responses: { 204: { description: "removed" }, ...problemResponses(400, 404) },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      if (!await deleteSuite(deps.sql, name, actorOf(c))) throw noSuchSuite(name);
      return c.body(null, 204);
    },
  );
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/runs/{id}/validation",
      summary: "What the expectation suite found on the whole batch of a run",
      request: {
        params: z.object({ id: z.uuid().openapi({ param: { name: "id", in: "path" } }) }),
      },
      responses: {
        200: {
          description: "validation result in the shape of Great Expectations 1.x",
          content: json(resultJson),
        },
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      await knownRun(deps, id);
      const result = await runValidation(deps.sql, id);
      if (result !== null) return c.json(result, 200);
      throw new Problem("not-found", {
        status: 404,
        detail: `Run ${id} has no validation result: it had no suite, or has not come so far.`,
      });
    },
  );
}

/** With every digit of its integers, which c.json would not write. */
function suiteAnswer<S extends 200 | 201>(c: Context, suite: SuiteText, status: S) {
  return c.body(suite, status, { "content-type": "application/json" }) as never;
}

async function knownSuite(deps: AppDeps, name: string) {
  const suite = await getSuite(deps.sql, name);
  if (suite === null) throw noSuchSuite(name);
  return suite;
}

function noSuchSuite(name: string): Problem {
  return new Problem("not-found", {
    status: 404,
    detail: `There is no suite ${name}. GET /api/suites lists them.`,
  });
}

/** An empty body must not empty a suite. */
function noExpectations(): Problem {
  return new Problem("invalid-conf", {
    detail: "The body is no suite: it has no expectations. An empty suite has an empty list.",
    errors: [{ field: "expectations", message: "is missing", expected: "a list" }],
  });
}

async function bodyObject(c: Context): Promise<Record<string, unknown>> {
  const body = await readJson(c);
  if (typeof body === "object" && body !== null && !Array.isArray(body)) {
    return body as Record<string, unknown>;
  }
  throw new Problem("bad-request", { status: 400, detail: "The body must be a JSON object." });
}
