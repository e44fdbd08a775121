import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { jsonText } from "../pipeline/numbers.ts";
import { confJsonSchema } from "../pipeline/params.ts";
import type { SourceRecord } from "../pipeline/sources/source.ts";
import type { ProfileResult } from "../pipeline/suite_tasks.ts";
import { datasetName } from "../pipeline/consumers/consumer.ts";
import { sampleDataset } from "../store/dataset_page.ts";
import { aside, asideOnSource, checkedSuite } from "../pipeline/workers/aside.ts";
import { NO_REACH } from "../pipeline/workers/permissions.ts";
import {
  deleteSuite,
  getSuite,
  listSuites,
  putSuite,
  runValidation,
  type SuiteText,
} from "../store/suites.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { actorOf } from "./access/identity.ts";
import { columnProposals, paramsOf, withSource } from "./preview.ts";
import { knownRun } from "./runs.ts";
import { readJson } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { Gate, Turns } from "./shared/load.ts";
import { nameTaken, onlyNew, onlyNewHeader } from "./shared/only_new.ts";
import { jsonBody, jsonOf, problemResponses } from "./shared/schemas.ts";

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
        200: jsonOf(
          z.object({
            items: z.array(z.object({
              name: z.string(),
              expectations: z.number().int(),
              row_wise: z.boolean(),
              origin: z.enum(["file", "api"]),
            })),
          }),
          "by name, with the number of expectations and where it comes from",
        ),
      },
    }),
    async (c) => c.json({ items: await listSuites(deps.sql) }, 200),
  );
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/suites/{name}",
      summary: "One suite, in the JSON of Great Expectations 1.x",
      request: { params: z.object({ name }) },
      responses: {
        200: jsonOf(suiteJson, "the suite"),
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
        "Takes the JSON that Great Expectations 0.18 or 1.x writes. The name in the path is used.",
      request: { params: z.object({ name }), headers: onlyNewHeader },
      responses: {
        200: jsonOf(suiteJson, "replaced"),
        201: jsonOf(suiteJson, "created"),
        ...problemResponses(400, 412, 413, 422),
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
        })
      );
      const text = jsonText(suite);
      const put = { name, suite: text, row_wise: rowWise };
      const isNew = await putSuite(deps.sql, put, { actor: actorOf(c), onlyNew: onlyNew(c) });
      if (isNew === null) throw nameTaken(name);
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
        200: jsonOf(resultJson, "validation result in the shape of Great Expectations 1.x"),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      await knownRun(deps, id);
      const result = await runValidation(deps.sql, id);
      if (result !== null) return c.json(result, 200);
      throw new Problem("not-found", {
        detail: say("no-validation", { id }),
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
    detail: say("missing-suite", { name }),
  });
}

/** An empty body must not empty a suite. */
function noExpectations(): Problem {
  return new Problem("invalid-conf", {
    detail: say("body-no-suite", {}),
    errors: [{ field: "expectations", message: "is missing", expected: "a list" }],
  });
}

async function bodyObject(c: Context): Promise<Record<string, unknown>> {
  const body = await readJson(c);
  if (typeof body === "object" && body !== null && !Array.isArray(body)) {
    return body as Record<string, unknown>;
  }
  throw new Problem("bad-request", { detail: say("body-no-object", {}) });
}

const MAX_SAMPLE = 10_000;
const AT_ONCE = 2;
const TRY_MS = 30_000;

/** Records that a server looks at for a profile: unless told, at most, and milliseconds for it. */
const SERVER_PROFILE = { records: 100_000, maxRecords: 1_000_000, timeoutMs: 120_000 };

const anyObject = z.record(z.string(), z.any());
const conf = () => ({ "application/json": { schema: confJsonSchema() as never } });

const profileSchema = z.object({
  suite: anyObject.describe("the suite, in the JSON of Great Expectations 1.x"),
  records: z.number().int().describe("records that were looked at"),
  events: z.number().int().describe("of these, events that a suite would see"),
  rejected: z.number().int().describe("of these, what a run would quarantine before"),
  cut: z.boolean().describe("whether the source has more records"),
  columns: columnProposals,
  warnings: z.array(z.string()),
}).openapi("SuiteProfile");

/** Trying a suite without storing it, and proposing one. */
export function suiteTaskRoutes(app: OpenAPIHono, deps: AppDeps): void {
  const gate = new Gate(AT_ONCE, say("suites-tried", { n: AT_ONCE }), { status: 429 });
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/suites/try",
    summary: "Try a suite on a sample, without storing anything",
    description: "The sample is `records`, as they are, or the first 10,000 of the source of " +
      "`conf`, transformed as a run would, or 10,000 rows of a `dataset`. Only records and typed " +
      "tables have no event_id, event_type and occurred_at beside their fields.",
    request: {
      body: jsonBody(z.strictObject({
        suite: anyObject,
        records: z.array(anyObject).max(MAX_SAMPLE).optional(),
        conf: anyObject.optional().describe("the conf of a run"),
        dataset: z.string().max(200).optional().describe("schema.table"),
      })),
    },
    responses: {
      200: jsonOf(anyObject, "validation result in the shape of Great Expectations 1.x"),
      ...problemResponses(400, 413, 422, 429),
    },
  });
  app.post("/api/suites/try", async (c) => {
    const { suite: draft, records, conf, dataset, ...unknown } = objectOf(
      await readJson(c),
      "The body",
    );
    const samples = [records, conf, dataset].filter((each) => each !== undefined).length;
    if (Object.keys(unknown).length > 0 || samples > 1) {
      throw new Problem("bad-request", {
        detail: say("suite-try-body", {}),
      });
    }
    const suite = { name: "draft", ...objectOf(draft, "suite") };
    const limits = { timeoutMs: TRY_MS, signal: c.req.raw.signal, tooSlow: tryTooSlow };
    if (conf === undefined) {
      const sample = dataset === undefined ? { records: sampleOf(records) } : {
        rows: await sampleDataset(
          deps.sql,
          datasetName(String(dataset).slice(0, 200)),
          MAX_SAMPLE,
        ),
      };
      return c.json(
        await gate.run(() => aside("try", { suite, sample }, { ...limits, permissions: NO_REACH })),
      );
    }
    const asked = await paramsOf(conf, deps);
    return c.json(
      await gate.run(() =>
        withSource(asked, deps, (context) => {
          const sample = { source: { ...context, maxRecords: MAX_SAMPLE } };
          return asideOnSource("try", { suite, sample }, {
            ...limits,
            context,
            httpConnections: deps.config.remotes.http,
            preview: true,
          });
        })
      ),
    );
  });

  const limit = deps.profile ?? SERVER_PROFILE;
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/suites/profile",
    summary: "Propose a suite from the data of a source, without storing anything",
    description: `Looks at the first ${SERVER_PROFILE.records.toLocaleString("en-US")} records ` +
      `unless \`records\` says how many, and proposes expectations that they meet. Creates no run.`,
    request: {
      query: z.object({
        name: z.string().optional().describe("of the suite; default: proposed"),
        records: z.number().int().min(1).max(SERVER_PROFILE.maxRecords).optional(),
      }),
      body: { required: true, content: conf() },
    },
    responses: {
      200: jsonOf(profileSchema, "the suite, ready to edit"),
      ...problemResponses(400, 413, 422, 429, 503),
    },
  });
  app.post("/api/suites/profile", async (c) => {
    const { name = "proposed", records } = c.req.query();
    if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,199}$/.test(name)) {
      throw badQuery("name", name, "a name of letters, digits, _ . and -");
    }
    const maxRecords = records === undefined
      ? limit.records
      : wholeNumber(records, limit.maxRecords ?? Number.MAX_SAFE_INTEGER);
    const asked = await paramsOf(await readJson(c), deps);
    const { timeoutMs } = limit;
    const profile = await gate.run(() =>
      withSource(
        asked,
        deps,
        (context) =>
          asideOnSource("profile", { ...context, maxRecords, name }, {
            context,
            httpConnections: deps.config.remotes.http,
            preview: maxRecords !== null,
            timeoutMs,
            signal: c.req.raw.signal,
            tooSlow: () => profileTooSlow(timeoutMs),
          }),
      )
    );
    return c.json({ ...profile, warnings: [...profile.warnings, ...remarks(profile)] });
  });
}

/** What the reader of a profile should know. */
function remarks({ records, events, rejected, cut }: ProfileResult): string[] {
  const shown = (count: number) => count.toLocaleString("en-US");
  return [
    ...(cut
      ? [
        `Only the first ${
          shown(records)
        } records were looked at and there are more: the suite may ` +
        "not hold on the others. Without a server `etl profile` looks at all of them; " +
        "`records` says how many.",
      ]
      : []),
    ...(rejected > 0
      ? [
        `${shown(rejected)} ${rejected === 1 ? "record was" : "records were"} left out: a run ` +
        "quarantines such before the suite sees them. A preview shows why.",
      ]
      : []),
    ...(events === 0 ? ["There are no events to make proposals from."] : []),
  ];
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new Problem("bad-request", { detail: say("must-be-object", { what }) });
}

function sampleOf(records: unknown): SourceRecord[] {
  const isObject = (value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (Array.isArray(records) && records.length <= MAX_SAMPLE && records.every(isObject)) {
    return records;
  }
  throw new Problem("bad-request", {
    detail: say("sample-form", { n: MAX_SAMPLE }),
    errors: [{ field: "records", message: "is not a list of objects", expected: "[{…}, …]" }],
  });
}

/** Rows of a dataset, as a run's suite sees them. */

function wholeNumber(text: string, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= max) return value;
  throw badQuery("records", text, `a whole number from 1 to ${max.toLocaleString("en-US")}`);
}

function badQuery(field: string, value: string, expected: string): Problem {
  return new Problem("bad-request", {
    detail: say("must-be", { field, expected }),
    errors: [{ field, value, message: "is not valid", expected }],
  });
}

function tryTooSlow(): Problem {
  return new Problem("source-unreadable", {
    detail: say("suite-try-too-slow", { seconds: TRY_MS / 1000 }),
  });
}

function profileTooSlow(timeoutMs: number): Problem {
  return new Problem("source-unreadable", {
    detail: say("profile-too-slow", { seconds: timeoutMs / 1000 }),
  });
}
