import Papa from "papaparse";
import type { MetricsRow } from "../store/metrics.ts";

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

/**
 * RFC 4180 with a header. Text that a spreadsheet would take for a formula is
 * given an apostrophe in front; numbers stay as they are.
 */
export function metricsCsv(rows: MetricsRow[]): string {
  const text = Papa.unparse({
    fields: [...COLUMNS],
    data: rows.map((row) => COLUMNS.map((column) => row[column])),
  }, { newline: "\r\n", escapeFormulae: /^[=+\-@\t\r\n\uFF0B\uFF0D\uFF1D\uFF20]/ });
  return `${text}\r\n`;
}
