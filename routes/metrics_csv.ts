import { CSV_COUNTERS, GONE_COUNTERS } from "../vocabulary/words.ts";
import type { MetricsRow } from "../store/metrics.ts";
import { csvText } from "./shared/csv.ts";

/** Columns that every CSV of runs begins with: the original's, in its order. */
export const ORIGINAL_COLUMNS = [
  "run_label",
  "total_rows",
  "expected_rows",
  "ratio",
  "num_chunks",
  "dry_run",
  "at",
] as const;

/** Columns of the CSV, in their order; stages and missed deadlines are JSON's business. */
const COLUMNS = [
  ...ORIGINAL_COLUMNS,
  "run_id",
  "status",
  "min_acceptance_ratio",
  "low_ratio",
  ...CSV_COUNTERS,
  "duration_ms",
  "attempt",
  "schema_name",
  "table_name",
  "replay_of",
  "requested_at",
  "started_at",
  "waited_ms",
  ...GONE_COUNTERS,
] as const satisfies (keyof MetricsRow | "at")[];

/** Rows as CSV. */
export function metricsCsv(rows: MetricsRow[]): string {
  return csvText(COLUMNS, rows.map((row) => ({ ...row, at: row.created_at })));
}
