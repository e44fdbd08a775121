import type { MetricsRow } from "../store/metrics.ts";
import { csvText } from "./shared/csv.ts";

/** Columns of the CSV, in their order; stages and missed deadlines are JSON's business. */
const COLUMNS = [
  "created_at",
  "run_id",
  "run_label",
  "status",
  "dry_run",
  "total_rows",
  "expected_rows",
  "ratio",
  "min_acceptance_ratio",
  "low_ratio",
  "num_chunks",
  "inserted",
  "updated",
  "unchanged",
  "rejected",
  "duplicates",
  "filtered",
  "extra",
  "duration_ms",
  "attempt",
  "schema_name",
  "table_name",
  "replay_of",
  "requested_at",
  "started_at",
] as const satisfies (keyof MetricsRow)[];

/** Rows as CSV. */
export function metricsCsv(rows: MetricsRow[]): string {
  return csvText(COLUMNS, rows);
}
