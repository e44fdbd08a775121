import { runFor, withMessages } from "./shared/language.ts";
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { isOver } from "../vocabulary/words.ts";
import { hasOpenRecords, listQuarantine, quarantineRules } from "../store/quarantine.ts";
import type { RunDetail } from "../vocabulary/run_schema.ts";
import { replayRun } from "../store/runs.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { actorOf } from "./access/identity.ts";
import { waitForEnd } from "./run_events.ts";
import { knownRun } from "./runs.ts";
import type { AppDeps } from "./shared/deps.ts";
import { whileWaiting } from "./shared/load.ts";
import { decodeCursor, encodeCursor } from "./shared/page_cursor.ts";
import { runDetailSchema, submittedSchema } from "../vocabulary/run_schema.ts";
import { anyMembers, json, jsonOf, pageOf, problemResponses } from "./shared/schemas.ts";

const runId = z.object({ id: z.uuid().openapi({ param: { name: "id", in: "path" } }) });
const rule = z.string().max(100).optional();

const quarantined = z.object({
  chunk_no: z.number().int(),
  position: z.number().int(),
  output: z.number().int(),
  rule: z.string(),
  message: z.string(),
  field: z.string().nullable(),
  raw: z.string().openapi({ description: "the record as it is in its file, otherwise as JSON" }),
  raw_base64: z.string().nullable().openapi({
    description: "its bytes, where text cannot hold them",
  }),
  record: z.string().nullable().openapi({
    description: "the record as JSON, where raw is not that",
  }),
  file: z.string().nullable().openapi({ description: "its file or URL" }),
  line: z.number().int().nullable().openapi({
    description: "line of the file in which it begins, from 1",
  }),
  state: z.enum(["open", "replaying", "replayed", "returned"]).openapi({
    description:
      "open: can be replayed; replaying: a replay has it; replayed: loaded by one; returned: rejected by this replay, open again where it came from",
  }),
  tries: z.number().int().openapi({ description: "replays that have had it" }),
  replayed_by: z.uuid().nullable().openapi({ description: "the last of them" }),
}).openapi("Quarantined");

/** What a replay may say in its body. */
const replayBody = z.strictObject({
  rule: rule.openapi({ description: "only records that this rule rejected" }),
  set: anyMembers(
    "parameters over the original's, such as a corrected transform; members of source one by one, null takes one away",
  ).default({}),
  dry_run: z.boolean().default(false).openapi({
    description: "only report what would happen to them",
  }),
}).openapi("ReplayRequest");

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
      const { rows, more } = await listQuarantine(deps.sql, id, {
        after: after as [number, number, number],
        limit,
        rule,
      });
      const last = rows.at(-1);
      const next = more && last !== undefined
        ? encodeCursor([last.chunk_no, last.position, last.output])
        : null;
      return c.json({
        items: withMessages(c, rows),
        next,
        rules: await quarantineRules(deps.sql, id),
      }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/api/etl/runs/{id}/quarantine/replay",
      summary: "Load the quarantined records again, as a new run",
      description:
        "With today's transform and suite and min_acceptance_ratio 0, or others that the body sets. The counters of the original stay; a row that a later request has written or confirmed is not overwritten. A record that is rejected again is open again, with the new reason. Requests that come while a replay has the records are answered with that replay.",
      request: {
        params: runId,
        query: z.strictObject({ rule, wait: z.enum(["true", "false"]).optional() }),
        body: { content: json(replayBody) },
      },
      responses: {
        200: jsonOf(runDetailSchema, "the new run, ended (wait=true)"),
        202: jsonOf(submittedSchema, "the new run; Location names it"),
        ...problemResponses(400, 404, 409, 422),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const { rule } = c.req.valid("query");
      const body = replayBody.parse(c.req.valid("json") ?? {});
      const asked = { ...(rule === undefined ? {} : { rule }), ...body };
      return await whileWaiting(c, async (wait) => {
        const submitted = await replay(c, deps, id, asked);
        c.header("Location", `/api/etl/runs/${submitted.run_id}`);
        if (!wait) return c.json(submitted, 202);
        return c.json(runFor(c, await waitForEnd(deps, submitted.run_id, c.req.raw.signal)), 200);
      });
    },
  );
}

/** Members of the source that say where the records come from: those are the quarantine's. */
const NOT_SETTABLE = ["type", "format", "upload_id", "records", "cells", "path", "url", "name"];

async function replay(
  c: Context,
  deps: AppDeps,
  id: string,
  { rule, set, dry_run }: z.infer<typeof replayBody>,
) {
  const run = await originOf(deps, id);
  if (!isOver(run.state)) {
    throw new Problem("conflict", {
      detail: say("replay-too-early", { run: run.run_id, state: run.state }),
    });
  }
  // what is private is what the dataset has declared by now
  const {
    batch_size: _size,
    chunk_size: _chunk,
    exclude: _exclude,
    hash: _hash,
    source: original,
    ...rest
  } = Object.fromEntries(
    Object.entries(run.params).filter(([, { origin }]) => origin !== "default")
      .map(([name, { value }]) => [name, value]),
  );
  const { source: changed, ...others } = set;
  const source = replaySource((original ?? run.params.source!.value) as Members, run);
  return await replayRun(deps.sql, run.run_id, {
    ...rest,
    ...others,
    source: { ...changedSource(source, changed), format: "ndjson" },
    dry_run,
    overlap: "queue",
  }, {
    requested_by: actorOf(c),
    ...(rule === undefined ? {} : { rule }),
    ...(deps.reservedFor === undefined ? {} : { server_id: deps.reservedFor }),
  });
}

/** The run whose quarantine holds what a replay rejected: records go back to where they came from. */
async function originOf(deps: AppDeps, id: string): Promise<RunDetail> {
  let run = await knownRun(deps, id);
  while (run.replay_of !== null && !await hasOpenRecords(deps.sql, run.run_id)) {
    run = await knownRun(deps, run.replay_of);
  }
  return run;
}

type Members = Record<string, unknown>;

function changedSource(source: Members, changed: unknown): Members {
  if (changed === undefined) return source;
  const fixed = typeof changed === "object" && changed !== null && !Array.isArray(changed)
    ? NOT_SETTABLE.filter((name) => Object.hasOwn(changed, name))
    : ["source"];
  if (fixed.length > 0) {
    throw new Problem("invalid-conf", {
      detail: say("replay-fixed", { names: fixed.join(", ") }),
      errors: fixed.map((name) => ({
        field: `set.source.${name}`,
        message: "cannot be set",
        expected: "the mapping: key, event_type, occurred_at, version, columns",
      })),
    });
  }
  return Object.fromEntries(
    Object.entries({ ...source, ...changed as Members }).filter(([, value]) => value !== null),
  );
}

/** What says how cells are read. */
const COLUMN_MEMBERS = ["columns", "null_values", "true_values", "false_values"];

/** The original's mapping, on the records themselves. */
function replaySource(original: Members, run: { run_label: string }): Members {
  const { name, key, event_type, occurred_at, version, type } = original;
  const synthetic = type === "synthetic";
  return {
    type: "inline",
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
    ...Object.fromEntries(
      COLUMN_MEMBERS.filter((name) => original[name] !== undefined)
        .map((name) => [name, original[name]]),
    ),
    cells: true,
  };
}
