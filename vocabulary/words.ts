/**
 * The fixed words of the product, each list in one place. Schemas, OpenAPI, the command line, the dashboard and metrics are
 * made from them; the checks and functions of sql/ are compared with them (tests/unit/vocabulary_test.ts).
 */

/** The stages of a run, in the order in which they are shown everywhere. */
export const STAGES = [
  "extract",
  "transform",
  "chunk",
  "validate",
  "ge_validate",
  "load",
  "finalize",
] as const;
export type Stage = (typeof STAGES)[number];

/** States of a run that has not ended. */
const OPEN_STATES = ["queued", "running"] as const;
/** States in which a run ends. */
export const END_STATES = ["succeeded", "failed", "cancelled"] as const;
export type EndState = (typeof END_STATES)[number];
/** States of a run; etl.run_transitions lists the ways between them. */
export const RUN_STATES = [...OPEN_STATES, ...END_STATES] as const;
export type RunState = (typeof RUN_STATES)[number];

/** Whether a run in this state has ended. */
export const isOver = (state: string): state is EndState =>
  (END_STATES as readonly string[]).includes(state);

/** States of a stage. */
export const STAGE_STATES = ["pending", "running", ...END_STATES, "skipped"] as const;
export type StageState = (typeof STAGE_STATES)[number];

/** States of a chunk. */
export const CHUNK_STATES = ["planned", "prepared", "published"] as const;
export type ChunkState = (typeof CHUNK_STATES)[number];

/** What an unfinished run of the same label means for a new one: wait for it, make no run, cancel it. */
export const OVERLAPS = ["queue", "skip", "cancel"] as const;

/** What became of rows: what etl_rows_total counts. */
export const OUTCOMES = [
  "inserted",
  "updated",
  "unchanged",
  "rejected",
  "deleted",
  "marked",
] as const;
/** Counters whose places in a CSV of runs are fixed; those that came later stand at its end. */
export const CSV_COUNTERS = [
  "inserted",
  "updated",
  "unchanged",
  "rejected",
  "duplicates",
  "filtered",
  "extra",
] as const;
/** Rows that went, or were marked as gone. */
export const GONE_COUNTERS = ["deleted", "marked"] as const;
/** What the metrics of a run count beside its rows in all: columns of etl_improved_metrics, in their order. */
export const METRIC_COUNTERS = [...CSV_COUNTERS, ...GONE_COUNTERS] as const;
/** What a run counts, in the order in which the dashboard shows it. */
export const COUNTERS = [
  "records_read",
  "filtered",
  "extra",
  "duplicates",
  "rejected",
  "inserted",
  "updated",
  "unchanged",
  "deleted",
  "marked",
] as const satisfies ("records_read" | (typeof METRIC_COUNTERS)[number])[];
export type Counter = (typeof COUNTERS)[number];

/** How grave an alert is, the least grave first. */
export const ALERT_SEVERITIES = ["info", "warning", "error"] as const;
export type AlertSeverity = (typeof ALERT_SEVERITIES)[number];

/** What a token may do; each role may do what those before it may. */
export const ROLES = ["viewer", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** The file that records of a request's own data are said to stand in. */
export const REQUEST_BODY = "the request body";
