import { z } from "@hono/zod-openapi";
import { OVERLAPS, RUN_STATES } from "../../vocabulary/words.ts";

/** A body of JSON, as OpenAPI describes it. */
export const json = <T extends z.ZodType>(schema: T) => ({ "application/json": { schema } });

/** An answer of JSON. */
export const jsonOf = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: json(schema),
});

/** What the API answers with; the source of its part of OpenAPI. */
const problemSchema = z.object({
  type: z.string().openapi({ example: "/api/problems/invalid-conf" }),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  instance: z.string().optional(),
  errors: z.array(z.object({
    field: z.string(),
    value: z.any().optional(),
    message: z.string(),
    expected: z.string().optional(),
  })).optional(),
}).loose().openapi("Problem");

const time = z.string().openapi({ format: "date-time" });
const state = z.enum(RUN_STATES);

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
  schedule: z.string().nullable(),
  slot: time.nullable(),
  requested_at: time,
  admitted_at: time.nullable(),
  started_at: time.nullable(),
  ended_at: time.nullable(),
  cancel_requested_at: time.nullable(),
  deadline_at: time.nullable(),
  duration_ms: z.number().nullable(),
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

export const runDetailSchema = runSchema.extend({
  params: z.record(z.string(), z.object({ value: z.any(), origin: z.string() })),
  stages: z.array(z.object({
    stage: z.string(),
    state: z.string(),
    started_at: time.nullable(),
    ended_at: time.nullable(),
    busy_ms: z.number(),
    records_in: z.number().int(),
    records_out: z.number().int(),
    attempts: z.number().int(),
    error: z.any(),
  })),
  chunks: z.record(z.string(), z.number().int()),
  cursor: z.object({
    column: z.string(),
    mode: z.string(),
    from: z.string().nullable(),
    to: z.string().nullable(),
  }).nullable(),
}).openapi("RunDetail");

export const submittedSchema = z.object({
  run_id: z.uuid(),
  state,
  created: z.boolean(),
  skipped: z.boolean(),
}).openapi("Submitted");

/** `{items, next}`: next is the cursor of the following page, null on the last. */
export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), next: z.string().nullable() });

/** Answers that are problems. Any request may meet a busy server, and any body may stop coming. */
export const problemResponses = (...statuses: number[]) =>
  Object.fromEntries(
    new Set([...statuses, 503, ...(statuses.includes(413) ? [408] : [])]).values().map((status) => [
      status,
      {
        description: "problem details (RFC 9457)",
        content: { "application/problem+json": { schema: problemSchema } },
      },
    ]),
  );
