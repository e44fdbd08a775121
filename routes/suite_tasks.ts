import { type OpenAPIHono, z } from "@hono/zod-openapi";
import { confJsonSchema } from "../pipeline/params.ts";
import { Problem } from "../vocabulary/problem.ts";
import type { SourceRecord } from "../pipeline/sources/source.ts";
import type { ProfileResult } from "../pipeline/suite_tasks.ts";
import { aside, asideOnSource } from "../pipeline/workers/aside.ts";
import { NO_REACH } from "../pipeline/workers/permissions.ts";
import { readJson } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { Gate } from "./shared/gate.ts";
import { json, problemResponses } from "./shared/schemas.ts";
import { columnProposals } from "./preview.ts";
import { paramsOf, withSource } from "./shared/source_context.ts";

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
  const { httpConnections } = deps.config;
  const gate = new Gate(AT_ONCE, `${AT_ONCE} suites are being tried or profiled`, { status: 429 });
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/suites/try",
    summary: "Try a suite on a sample, without storing anything",
    description: "The sample is `records`, as they are, or the first 10,000 of the source of " +
      "`conf`, transformed as a run would. Only the latter have event_id, event_type and occurred_at " +
      "beside their fields.",
    request: {
      body: {
        required: true,
        content: json(z.strictObject({
          suite: anyObject,
          records: z.array(anyObject).max(MAX_SAMPLE).optional(),
          conf: anyObject.optional().describe("the conf of a run"),
        })),
      },
    },
    responses: {
      200: {
        description: "validation result in the shape of Great Expectations 1.x",
        content: json(anyObject),
      },
      ...problemResponses(400, 413, 422, 429),
    },
  });
  app.post("/api/suites/try", async (c) => {
    const { suite: draft, records, conf, ...unknown } = objectOf(
      await readJson(c),
      "The body",
    );
    if (Object.keys(unknown).length > 0 || (records !== undefined && conf !== undefined)) {
      throw new Problem("bad-request", {
        status: 400,
        detail: "The body has the suite, and either records or the conf of a source; nothing else.",
      });
    }
    const suite = { name: "draft", ...objectOf(draft, "suite") };
    const limits = { timeoutMs: TRY_MS, signal: c.req.raw.signal, tooSlow: tryTooSlow };
    if (conf === undefined) {
      const sample = { records: sampleOf(records) };
      return c.json(
        await gate.run(() => aside("try", { suite, sample }, { ...limits, permissions: NO_REACH })),
      );
    }
    const params = await paramsOf(conf, deps);
    return c.json(
      await gate.run(() =>
        withSource(params, deps, (context) => {
          const sample = { source: { ...context, maxRecords: MAX_SAMPLE } };
          return asideOnSource("try", { suite, sample }, {
            ...limits,
            context,
            httpConnections,
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
      `unless \`records\` says how many, and proposes expectations that hold on them. Makes no run.`,
    request: {
      query: z.object({
        name: z.string().optional().describe("of the suite; default: proposed"),
        records: z.number().int().min(1).max(SERVER_PROFILE.maxRecords).optional(),
      }),
      body: { required: true, content: conf() },
    },
    responses: {
      200: { description: "the suite, ready to edit", content: json(profileSchema) },
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
    const params = await paramsOf(await readJson(c), deps);
    const { timeoutMs } = limit;
    const profile = await gate.run(() =>
      withSource(
        params,
        deps,
        (context) =>
          asideOnSource("profile", { ...context, maxRecords, name }, {
            context,
            httpConnections,
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
        `${shown(rejected)} records were left out: a run would quarantine them before the suite ` +
        "sees them. A preview shows why.",
      ]
      : []),
    ...(events === 0 ? ["There are no events to propose anything from."] : []),
  ];
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new Problem("bad-request", { status: 400, detail: `${what} must be a JSON object.` });
}

function sampleOf(records: unknown): SourceRecord[] {
  const isObject = (value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (Array.isArray(records) && records.length <= MAX_SAMPLE && records.every(isObject)) {
    return records;
  }
  throw new Problem("bad-request", {
    status: 400,
    detail: `records must be a list of at most ${MAX_SAMPLE} JSON objects; or give a conf.`,
    errors: [{ field: "records", message: "is no list of objects", expected: "[{…}, …]" }],
  });
}

function wholeNumber(text: string, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= max) return value;
  throw badQuery("records", text, `a whole number from 1 to ${max.toLocaleString("en-US")}`);
}

function badQuery(field: string, value: string, expected: string): Problem {
  return new Problem("bad-request", {
    status: 400,
    detail: `${field} must be ${expected}.`,
    errors: [{ field, value, message: "is not valid", expected }],
  });
}

function tryTooSlow(): Problem {
  return new Problem("source-unreadable", {
    detail: `The suite was not tried after ${TRY_MS / 1000} s. The source is slow to answer, the ` +
      "transform module does not end, or the schemas or patterns of the suite are large. Try a " +
      "smaller sample.",
  });
}

function profileTooSlow(timeoutMs: number): Problem {
  return new Problem("source-unreadable", {
    detail:
      `The profile was not ready after ${timeoutMs / 1000} s. Ask for fewer records, or use ` +
      "`etl profile` without a server, which has no such limit.",
  });
}
