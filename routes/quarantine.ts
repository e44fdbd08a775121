import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { Problem } from "../pipeline/problem.ts";
import {
  listQuarantine,
  markReplayed,
  quarantinedLines,
  quarantineRules,
} from "../store/quarantine_views.ts";
import { submitRun } from "../store/runs.ts";
import type { AppDeps } from "./shared/deps.ts";
import { decodeCursor, encodeCursor } from "./shared/page_cursor.ts";
import { keepUpload } from "./shared/keep_upload.ts";
import { actorOf } from "./access/identity.ts";
import { knownRun } from "./runs.ts";
import { pageOf, problemResponses, submittedSchema } from "./shared/schemas.ts";

const runId = z.object({ id: z.uuid().openapi({ param: { name: "id", in: "path" } }) });
const rule = z.string().max(100).optional();

const quarantined = z.object({
  chunk_no: z.number().int(),
  position: z.number().int(),
  output: z.number().int(),
  rule: z.string(),
  message: z.string(),
  field: z.string().nullable(),
  raw: z.string().openapi({ description: "the record as it stands in its file, else as JSON" }),
  raw_base64: z.string().nullable().openapi({
    description: "its bytes, where text cannot hold them",
  }),
  file: z.string().nullable().openapi({ description: "file or URL that it stands in" }),
  line: z.number().int().nullable().openapi({
    description: "line of the file in which it begins, from 1",
  }),
  replayed_by: z.uuid().nullable(),
}).openapi("Quarantined");

/** Rejected records of a run: look at them, and load them again with today's transform and suite. */
export function quarantineRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/runs/{id}/quarantine",
      summary: "Records of a run that failed a rule, as they were read",
      request: {
        params: runId,
        query: z.strictObject({
          limit: z.coerce.number().int().min(1).max(1000).default(100),
          cursor: z.string().max(500).optional(),
          rule,
        }),
      },
      responses: {
        200: {
          description: "a page of records, and how many each rule rejected",
          content: {
            "application/json": {
              schema: pageOf(quarantined).extend({
                rules: z.array(z.object({ rule: z.string(), count: z.number().int() })),
              }),
            },
          },
        },
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const { limit, cursor, rule } = c.req.valid("query");
      await knownRun(deps, id);
      const after = cursor === undefined
        ? [-1, -1, -1]
        : decodeCursor(cursor, ["integer", "integer", "integer"]);
      const items = await listQuarantine(deps.sql, id, {
        after: after as [number, number, number],
        limit: limit + 1,
        ...(rule === undefined ? {} : { rule }),
      });
      const page = items.slice(0, limit);
      const last = page.at(-1);
      const next = items.length > limit && last !== undefined
        ? encodeCursor([last.chunk_no, last.position, last.output])
        : null;
      return c.json({ items: page, next, rules: await quarantineRules(deps.sql, id) }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/api/etl/runs/{id}/quarantine/replay",
      summary: "Load the quarantined records again, as a new run",
      description:
        "With today's transform and suite and min_acceptance_ratio 0. The counters of the original stay; a row that was updated since is not overwritten.",
      request: { params: runId, query: z.strictObject({ rule }) },
      responses: {
        202: {
          description: "the new run; Location names it",
          content: { "application/json": { schema: submittedSchema } },
        },
        ...problemResponses(400, 404, 409, 422),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const { rule } = c.req.valid("query");
      const submitted = await replay(c, deps, { id, rule });
      c.header("Location", `/api/etl/runs/${submitted.run_id}`);
      return c.json(submitted, 202);
    },
  );
}

async function replay(
  c: Context,
  deps: AppDeps,
  { id, rule }: { id: string; rule: string | undefined },
) {
  const run = await knownRun(deps, id);
  if (["queued", "running"].includes(run.state)) {
    throw new Problem("conflict", {
      status: 409,
      detail: `Run ${id} is ${run.state}; its quarantine can be replayed when it has ended.`,
    });
  }
  const lines = refuseNothing(quarantinedLines(deps.sql, id, rule), id);
  const uploadId = await keepUpload(lines, c, deps);
  const { batch_size: _size, chunk_size: _chunk, source: original, ...rest } = Object.fromEntries(
    Object.entries(run.params).filter(([, { origin }]) => origin !== "default")
      .map(([name, { value }]) => [name, value]),
  );
  const source = replaySource(
    (original ?? run.params.source!.value) as Record<string, unknown>,
    run,
  );
  const submitted = await submitRun(deps.sql, {
    ...rest,
    source: { ...source, upload_id: uploadId },
    dry_run: false,
    overlap: "queue",
  }, { trigger: "replay", requested_by: actorOf(c), replay_of: id });
  await markReplayed(deps.sql, id, { replayRunId: submitted.run_id, rule });
  return submitted;
}

/** The original's mapping, on the records themselves. */
function replaySource(original: Record<string, unknown>, run: { run_label: string }) {
  const { name, key, event_type, occurred_at, version, type } = original;
  const synthetic = type === "synthetic";
  return {
    type: "inline",
    format: "ndjson",
    // the rows belong to the original's source
    name: name ?? (synthetic ? "synthetic" : run.run_label),
    ...(key !== undefined ? { key } : synthetic ? { key: "id" } : {}),
    ...(event_type !== undefined
      ? { event_type }
      : synthetic
      ? { event_type: { field: "event_type" } }
      : {}),
    ...(occurred_at !== undefined
      ? { occurred_at }
      : synthetic
      ? { occurred_at: "occurred_at" }
      : {}),
    ...(version !== undefined ? { version } : {}),
  };
}

async function* refuseNothing(lines: AsyncIterable<Uint8Array>, id: string) {
  let any = false;
  for await (const block of lines) {
    any = true;
    yield block;
  }
  if (!any) {
    throw new Problem("conflict", {
      status: 409,
      detail: `Run ${id} has no quarantined records that were not replayed yet.`,
    });
  }
}
