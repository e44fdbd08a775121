import { z } from "zod";
import { OVERLAPS, type Stage, STAGES } from "../vocabulary/words.ts";
import { fieldPath, sourceSchema } from "./sources/schema.ts";

/** A PostgreSQL identifier that the pipeline may create or write; quoted wherever it is used. */
const identifier = z.string().min(1).max(63).regex(
  /^[A-Za-z_][A-Za-z0-9_$]*$/,
  "a name of letters, digits, _ and $, not starting with a digit",
);

const label = z.string().min(1).max(200).regex(
  // deno-lint-ignore no-control-regex
  /^[^\u0000-\u001f\u007f-\u009f\u200b\u2028-\u202e\u2060-\u206f\ufeff]+$/,
  "text without control characters and such as cannot be seen",
);

const name = z.string().regex(
  /^[A-Za-z][A-Za-z0-9_.-]{0,99}$/,
  "a name of letters, digits, _ . and -, starting with a letter",
);

const seconds = z.number().positive().max(31_536_000);

/** Seconds for the whole run, or for it and for stages. */
const secondsOfStages = z.union([
  seconds,
  z.strictObject({
    run: seconds.optional(),
    stages: z.strictObject(
      Object.fromEntries(STAGES.map((stage) => [stage, seconds.optional()])) as {
        [S in Stage]: z.ZodOptional<typeof seconds>;
      },
    ).optional(),
  }),
]).nullable();

/**
 * Every parameter of a run: types, bounds, defaults and help in one place.
 * OpenAPI, the command line's help, `etl.param_schema` and the dashboard's
 * form are made from it. Values are resolved in SQL (`etl.resolve_params`):
 * request → configuration → variable `etl_improved__<name>` → environment
 * `ETL_IMPROVED__<NAME>` → default.
 */
export const paramsSchema = z.strictObject({
  batch_size: z.number().int().min(0).max(1_000_000_000).default(500)
    .describe(
      "records to extract; for other sources than synthetic a cap, and the number expected",
    ),
  run_label: label.default("etl_improved").describe("groups runs that belong together"),
  chunk_size: z.number().int().min(1).max(1_000_000).default(500)
    .describe("records a chunk; not given, file-like sources choose about 50,000 or 16 MiB"),
  schema_name: identifier.default("public").describe("destination schema"),
  table_name: identifier.default("etl_improved_events").describe("destination table"),
  audit_table_name: identifier.default("etl_improved_audit").describe("audit table"),
  layout: z.enum(["events", "typed"]).default("events")
    .describe("events: a row an event, its record as JSON; typed: a column for each field"),
  schema_policy: z.enum(["freeze", "evolve", "quarantine"]).default("freeze")
    .describe(
      "fields that a typed table has no column for: fail before loading, add columns, or quarantine the record",
    ),
  add_columns: z.boolean().default(false)
    .describe("add the columns that a run needs (_etl_…) to your own table"),
  write: z.enum(["upsert", "append", "replace", "mirror", "history"]).default("upsert")
    .describe(
      "upsert: newer records change the rows of their keys; append: rows are added only; replace: the table has this run's rows instead of the source's earlier ones; mirror: upsert, and rows that the source no longer has are deleted; history: every version of a key is kept",
    ),
  on_missing: z.enum(["delete", "mark"]).default("delete").describe(
    "mirror: delete rows that the source no longer has, or mark them in the column _etl_deleted_at",
  ),
  max_delete_ratio: z.number().min(0).max(1).default(0.2).describe(
    "mirror: share of the source's rows that may go in one run; more fails it before anything is published",
  ),
  deleted: z.strictObject({
    field: z.string().min(1).max(512).describe('path of a field, nested with dots: "meta.op"'),
    equals: z.union([z.string().max(200), z.number(), z.boolean(), z.null()])
      .describe("the value of it that makes a record a deletion; null: it is null or missing"),
  }).nullable().default(null).describe(
    'records that delete their key, of feeds that carry deletions: {"field": "op", "equals": "D"}',
  ),
  exclude: z.array(fieldPath).max(200).default([])
    .describe("fields of the records that are left out before anything is stored or shown"),
  hash: z.array(fieldPath).max(200).default([])
    .describe("fields in whose place a keyed hash is stored and shown (ETL_HASH_SECRET)"),
  min_acceptance_ratio: z.number().min(0).max(1).default(1)
    .describe("lowest accepted total_rows / expected_rows; below it the run fails in finalize"),
  enforce_ge: z.boolean().default(false)
    .describe("load nothing unless every expectation of the suite holds for the whole batch"),
  mlflow_enable: z.boolean().default(false).describe("log the run to MLflow"),
  mlflow_experiment: z.string().min(1).max(250).default("etl_improved")
    .describe("MLflow experiment"),
  dry_run: z.boolean().default(false)
    .describe("do everything but write: report what would be inserted, updated, unchanged"),
  compare: z.boolean().default(false)
    .describe(
      "of a dry run: compare its records with the table's rows, value by value (etl compare)",
    ),
  db_statement_timeout_ms: z.number().int().min(0).max(86_400_000).default(0)
    .describe("time limit of a SQL statement in ms; 0: none"),
  db_max_retries: z.number().int().min(1).max(20).default(3)
    .describe("attempts of a database operation that fails transiently"),
  db_retry_initial_ms: z.number().int().min(1).max(60_000).default(200)
    .describe("first delay of the exponential backoff in ms"),
  db_page_size: z.number().int().min(1).max(100_000).default(1000)
    .describe(
      "rows in a COPY flush and in a page of a source; a postgres source fetches up to 16 pages at once, 8 MiB at most",
    ),
  source: sourceSchema.default({ type: "synthetic", seed: 0 })
    .describe("where the records come from"),
  transform: z.string().regex(/^[a-z][a-z0-9_]{0,63}$/, "the name of a transform module").nullable()
    .default(null).describe("a transform module of your own, by name"),
  transform_timeout_ms: z.number().int().min(100).max(3_600_000).default(60_000)
    .describe("time limit of the transform module for a batch of about 1,000 records, in ms"),
  suite: name.nullable().default(null)
    .describe("expectation suite; default: the one of the destination table"),
  on_failure: z.enum(["record", "quarantine"]).default("record")
    .describe("failed expectations: record them, or quarantine the failing rows"),
  sla_seconds: secondsOfStages.default(null)
    .describe("seconds from the request after which the run, or a stage, is late"),
  timeout_seconds: secondsOfStages.default(null)
    .describe("seconds that an attempt of the run, or a stage of it, may take; then the run fails"),
  full_refresh: z.boolean().default(false)
    .describe("read all of an incremental source and set its cursor"),
  pool: name.default("default_pool").describe("named limit on runs at once"),
  priority: z.number().int().min(-10).max(10).default(0)
    .describe("priority in the pool: each step counts as a minute of waiting"),
  overlap: z.enum(OVERLAPS).default("queue")
    .describe(
      "while a run of the same label is in progress: wait, create no run, or cancel the older one",
    ),
});

/** A run's parameters, resolved. */
export type Params = z.infer<typeof paramsSchema>;
type ParamName = keyof Params;

/** What a request may hold: any parameter, and a configuration to start from. */
export const confSchema = z.strictObject({
  ...Object.fromEntries(
    Object.entries(paramsSchema.shape).map(([key, field]) => [key, field.unwrap().optional()]),
  ) as { [K in ParamName]: z.ZodOptional<ReturnType<(typeof paramsSchema.shape)[K]["unwrap"]>> },
  configuration: name.optional().describe(
    "saved configuration whose values come after the request's",
  ),
});

/** A request's conf, as sent. */
export type Conf = z.input<typeof confSchema>;

export const paramNames = Object.keys(paramsSchema.shape) as ParamName[];

/** The JSON Schema of a request: a conf that may start from a configuration. */
export function requestJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(confSchema, { io: "input" }) as Record<string, unknown>;
}

/** The JSON Schema of the parameters, for etl.param_schema and the form. */
export function confJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(paramsSchema, {
    io: "input",
    // what a pattern means in words: etl.schema_errors tells it
    override: ({ zodSchema, jsonSchema }) => {
      if (jsonSchema.pattern === undefined) return;
      const form = formOf(zodSchema);
      if (form !== undefined) jsonSchema["x-form"] = form;
    },
  }) as Record<string, unknown>;
}

/** What a text with a pattern is, in the words of its schema. */
function formOf(schema: z.core.$ZodTypes): string | undefined {
  for (const { _zod: { def } } of schema._zod.def.checks ?? []) {
    const { format, error } = def as unknown as {
      format?: string;
      error?: (issue: unknown) => unknown;
    };
    const told = format === "regex" ? error?.({}) : undefined;
    if (typeof told === "string") return told;
  }
}
