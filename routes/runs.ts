import { type Message, say } from "../vocabulary/messages.ts";
import { runFor } from "./shared/language.ts";
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { RUN_STATES } from "../vocabulary/words.ts";
import { requestJsonSchema } from "../pipeline/params.ts";
import { runExports } from "../store/exports.ts";
import type { RunDetail } from "../vocabulary/run_schema.ts";
import { listChunks, listRuns, runDetail, runLogs } from "../store/run_views.ts";
import type { Submitted } from "../vocabulary/run_schema.ts";
import { cancelRun, retryRun, submitRun } from "../store/runs.ts";
import { activeTraceparent } from "../telemetry/integrations/opentelemetry.ts";
import { Problem } from "../vocabulary/problem.ts";
import { actorOf, clientOf } from "./access/identity.ts";
import { streamRun, waitForEnd } from "./run_events.ts";
import { readRunRequest } from "./run_request.ts";
import { DATA_TYPES } from "./shared/body.ts";
import type { AppDeps } from "./shared/deps.ts";
import { whileWaiting } from "./shared/load.ts";
import { decodeCursor, pageOfItems } from "./shared/page_cursor.ts";
import { runDetailSchema, runSchema, submittedSchema } from "../vocabulary/run_schema.ts";
import { jsonOf, pageOf, problemResponses } from "./shared/schemas.ts";

const runId = z.object({ id: z.uuid().openapi({ param: { name: "id", in: "path" } }) });

/** One event of the stream. */
const eventSchema = z.object({
  event: z.enum(["run", "end"]).describe("end: the run has ended, nothing follows"),
  id: z.string().regex(/^\d+$/).describe("the run's revision"),
  data: z.string().describe("the run, JSON as GET /api/etl/runs/{id} answers"),
}).openapi("RunEvent");

/** Runs: ask for one, look, follow, cancel, retry. */
export function runRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/api/etl/run",
    summary: "Ask for a run",
    description: "Answers at once with the run's id; with wait=true when the run has ended.",
    request: {
      query: z.object({ wait: z.enum(["true", "false"]).optional() }),
      headers: z.object({ "Idempotency-Key": z.string().max(255).optional() }),
      body: {
        required: true,
        content: {
          "application/json": { schema: requestJsonSchema() as never },
          ...Object.fromEntries(
            Object.keys(DATA_TYPES).map((
              type,
            ) => [type, { schema: { type: "string", format: "binary" } as never }]),
          ),
        },
      },
    },
    responses: {
      200: jsonOf(runDetailSchema, "the run, ended (wait=true)"),
      202: jsonOf(submittedSchema, "the run was accepted; Location names it"),
      ...problemResponses(400, 413, 415, 422, 429, 503),
    },
  });
  app.post("/api/etl/run", (c) => requestRun(c, deps));

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/runs",
      summary: "Runs, newest first",
      request: {
        query: z.strictObject({
          limit: z.coerce.number().int().min(1).max(500).default(50),
          cursor: z.string().max(500).optional(),
          state: z.enum(RUN_STATES).optional(),
          run_label: z.string().max(200).optional(),
        }),
      },
      responses: { 200: jsonOf(pageOf(runSchema), "a page of runs"), ...problemResponses(400) },
    }),
    async (c) => {
      const { limit, cursor, state, run_label } = c.req.valid("query");
      const [requestedAt, id] = cursor === undefined
        ? []
        : decodeCursor(cursor, ["time", "uuid"]) as string[];
      const items = await listRuns(deps.sql, {
        limit: limit + 1,
        ...(state === undefined ? {} : { state }),
        ...(run_label === undefined ? {} : { runLabel: run_label }),
        ...(requestedAt === undefined ? {} : { before: { requestedAt, runId: id! } }),
      });
      const page = pageOfItems(items, {
        limit,
        position: (last) => [last.requested_at, last.run_id],
      });
      return c.json({ ...page, items: page.items.map((run) => runFor(c, run)) }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/runs/{id}",
      summary: "One run with parameters, stages and chunk states",
      request: { params: runId },
      responses: { 200: jsonOf(runDetailSchema, "the run"), ...problemResponses(400, 404) },
    }),
    async (c) => c.json(runFor(c, await knownRun(deps, c.req.valid("param").id)), 200),
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/runs/{id}/chunks",
      summary: "Chunks of a run, in order",
      request: {
        params: runId,
        query: z.strictObject({
          limit: z.coerce.number().int().min(1).max(5000).default(500),
          cursor: z.string().max(500).optional(),
        }),
      },
      responses: {
        200: jsonOf(pageOf(z.record(z.string(), z.any())), "a page of chunks"),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const { limit, cursor } = c.req.valid("query");
      await knownRun(deps, id);
      const after = cursor === undefined ? -1 : Number(decodeCursor(cursor, ["integer"])[0]);
      const items = await listChunks(deps.sql, id, { after, limit: limit + 1 });
      const position = (last: { chunk_no?: unknown }) => [last.chunk_no as number];
      return c.json(pageOfItems(items, { limit, position }), 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/runs/{id}/events",
      summary: "Progress as server-sent events",
      description:
        "Each event `run` has the current state of the run; its id is the revision, for Last-Event-ID. The stream closes when the run has ended.",
      request: { params: runId },
      responses: {
        200: {
          description: "the stream",
          content: { "text/event-stream": { schema: eventSchema } },
        },
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      await knownRun(deps, id);
      return streamRun(c, deps, id) as never;
    },
  );

  for (const [verb, action] of [["cancel", cancelRun], ["retry", retryRun]] as const) {
    app.openapi(
      createRoute({
        method: "post",
        path: `/api/etl/runs/{id}/${verb}`,
        summary: verb === "cancel" ? "Cancel a run" : "Take up a failed run where it stopped",
        request: { params: runId },
        responses: {
          202: jsonOf(runDetailSchema, "the current state of the run"),
          ...problemResponses(400, 404, 409),
        },
      }),
      async (c) => {
        const { id } = c.req.valid("param");
        await action(deps.sql, id, actorOf(c));
        return c.json(runFor(c, await knownRun(deps, id)), 202);
      },
    );
  }
}

async function requestRun(c: Context, deps: AppDeps): Promise<Response> {
  if (deps.status().draining) {
    throw new Problem("unavailable", {
      detail: say("server-stopping", {}),
    });
  }
  return await whileWaiting(c, async (wait) => {
    const submitted = await submit(c, deps);
    if (!wait) return c.json(submitted, 202);
    return c.json(runFor(c, await waitForEnd(deps, submitted.run_id, c.req.raw.signal)), 200);
  });
}

async function submit(c: Context, deps: AppDeps): Promise<Submitted> {
  const warnings: Message[] = [];
  const conf = await readRunRequest(c, deps, warnings);
  const key = c.req.header("idempotency-key");
  // the server's own span where it is traced: it continues the caller's
  const traceparent = activeTraceparent() ?? c.req.header("traceparent");
  const submitted = await submitRun(deps.sql, conf, {
    trigger: clientOf(c),
    requested_by: actorOf(c),
    ...(deps.reservedFor === undefined ? {} : { server_id: deps.reservedFor }),
    ...(key === undefined ? {} : { idempotency_key: key }),
    ...(warnings.length === 0 ? {} : { warnings }),
    ...(traceparent !== undefined && /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(traceparent)
      ? { traceparent }
      : {}),
  });
  c.header("Location", `/api/etl/runs/${submitted.run_id}`);
  return submitted;
}

export async function knownRun(deps: AppDeps, id: string): Promise<RunDetail> {
  const run = await runDetail(deps.sql, id);
  if (run === null) throw new Problem("not-found", { detail: say("no-run", { id }) });
  return run;
}

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
          after: z.coerce.number().int().min(0).max(2 ** 31 - 1).default(0)
            .openapi({ description: "only lines behind this line_no" }),
        }),
      },
      responses: {
        200: jsonOf(pageOf(lineSchema), "a page of lines"),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const { limit, cursor, after: from } = c.req.valid("query");
      await knownRun(deps, id);
      const after = cursor === undefined ? from : Number(decodeCursor(cursor, ["integer"])[0]);
      const lines = await runLogs(deps.sql, id, { after, limit: limit + 1 });
      return c.json(pageOfItems(lines, { limit, position: (last) => [last.line_no] }), 200);
    },
  );
}

const exportSchema = z.object({
  target: z.enum(["mlflow", "openlineage"]),
  end_no: z.number().int(),
  state: z.string(),
  external_id: z.string().nullable(),
  attempts: z.number().int(),
  error: z.string().nullable(),
  updated_at: z.string().openapi({ format: "date-time" }),
}).openapi("Export");

/** Deliveries of a run to MLflow and OpenLineage. */
export function exportRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/runs/{id}/exports",
      summary: "Deliveries of a run to MLflow and OpenLineage",
      request: {
        params: z.object({ id: z.uuid().openapi({ param: { name: "id", in: "path" } }) }),
      },
      responses: {
        200: jsonOf(
          z.object({ items: z.array(exportSchema) }),
          "one for each system and end of the run",
        ),
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
