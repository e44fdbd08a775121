/**
 * The shape of a run: what the store reads, the API answers and describes in OpenAPI, and the dashboard and the command line
 * show. Times are ISO 8601 in UTC.
 */
import { z } from "@hono/zod-openapi";
import { ERROR_CODES } from "./problem.ts";
import { ALONE, NO_HELP } from "./sharing.ts";
import { OVERLAPS, RUN_STATES, STAGE_STATES, STAGES } from "./words.ts";

/** Problem details (RFC 9457). */
export const problemSchema = z.object({
  type: z.string().openapi({ example: "/api/problems/invalid-conf" }),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  instance: z.string().optional(),
  errors: z.array(z.object({
    field: z.string(),
    value: z.any().optional(),
    code: z.enum(ERROR_CODES).optional(),
    message: z.string(),
    expected: z.string().optional(),
  })).optional(),
}).loose().openapi("Problem");

const keysOf = <T extends string>(of: Record<T, string>) => Object.keys(of) as [T, ...T[]];
const time = z.string().openapi({ format: "date-time" });
const state = z.enum(RUN_STATES);

/** A run as the API shows it. */
export const runSchema = z.object({
  run_id: z.uuid(),
  run_label: z.string(),
  state,
  attempt: z.number().int(),
  trigger: z.string(),
  requested_by: z.string(),
  dry_run: z.boolean(),
  dataset: z.string(),
  pool: z.string(),
  overlap: z.enum(OVERLAPS),
  replay_of: z.uuid().nullable(),
  /** The schedule that asked for it, or whose conf it has; null for other runs. */
  schedule: z.string().nullable(),
  /** The time at which the schedule was due; null where its run was asked for by hand. */
  slot: time.nullable(),
  requested_at: time,
  admitted_at: time.nullable(),
  started_at: time.nullable(),
  ended_at: time.nullable(),
  cancel_requested_at: time.nullable(),
  deadline_at: time.nullable(),
  /** What attempts worked on it; null before the first. */
  duration_ms: z.number().nullable(),
  /** What lay before, between and after attempts, since the request. */
  waited_ms: z.number(),
  queue_position: z.number().int().nullable(),
  num_chunks: z.number().int().nullable(),
  total_rows: z.number().int().nullable(),
  expected_rows: z.number().int().nullable(),
  ratio: z.number().nullable(),
  low_ratio: z.boolean().nullable(),
  counts: z.record(z.string(), z.number()),
  error: problemSchema.nullable(),
  warnings: z.array(z.string()),
  revision: z.number().int(),
}).openapi("Run");

const stageSchema = z.object({
  stage: z.enum(STAGES),
  state: z.enum(STAGE_STATES),
  started_at: time.nullable(),
  ended_at: time.nullable(),
  busy_ms: z.number(),
  records_in: z.number().int(),
  records_out: z.number().int(),
  attempts: z.number().int(),
  error: z.any(),
});

/** A run with its parameters, stages and chunk states. */
export const runDetailSchema = runSchema.extend({
  params: z.record(z.string(), z.object({ value: z.any(), origin: z.string() })),
  stages: z.array(stageSchema),
  /** Chunks by state. */
  chunks: z.record(z.string(), z.number().int()),
  /** Servers that have prepared chunks: how many, and which, as numbers and ranges (the first 20 of them). */
  servers: z.array(z.object({
    server_id: z.string(),
    count: z.number().int(),
    chunks: z.array(z.string()),
  })),
  /** Of a run with 8 chunks or more: why one server executes it, and which servers do not help, and why. */
  sharing: z.object({
    alone: z.enum(keysOf(ALONE)).nullable(),
    left: z.array(z.object({ server_id: z.string(), why: z.array(z.enum(keysOf(NO_HELP))) })),
  }),
  /** What an incremental run reads: from where, to where; null where the source has no cursor, or is not planned yet. */
  cursor: z.object({
    column: z.string(),
    mode: z.string(),
    from: z.string().nullable(),
    to: z.string().nullable(),
  }).nullable(),
}).openapi("RunDetail");

/** What a request for a run is answered with; `created` is false where an idempotency key or `overlap: skip` gave an existing run. */
export const submittedSchema = z.object({
  run_id: z.uuid(),
  state,
  created: z.boolean(),
  skipped: z.boolean(),
}).openapi("Submitted");

export type RunView = z.infer<typeof runSchema>;
export type StageView = z.infer<typeof stageSchema>;
export type RunDetail = z.infer<typeof runDetailSchema>;
export type Submitted = z.infer<typeof submittedSchema>;
