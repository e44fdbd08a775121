import type { EndState, Stage, StageState } from "../vocabulary/words.ts";

/** The end of a run as etl.consume_run tells it, once to one server. Times are ISO 8601. */
export interface RunEnd {
  end_no: number;
  run: EndedRun;
  stages: EndedStage[];
  alerts: { kind: string; message: string; suppressed: boolean }[];
  /** Whether a dataset event was written with it. */
  dataset_event: boolean;
}

export interface EndedRun {
  run_id: string;
  run_label: string;
  state: EndState;
  attempt: number;
  trigger: string;
  requested_by: string;
  dry_run: boolean;
  replay_of: string | null;
  schema_name: string;
  table_name: string;
  pool: string;
  params: Record<string, unknown> & { source?: Record<string, unknown> };
  traceparent: string | null;
  /** The time at which the run's schedule was due; null or not there for other runs. */
  slot?: string | null;
  requested_at: string;
  admitted_at: string | null;
  started_at: string | null;
  ended_at: string;
  deadline_at: string | null;
  num_chunks: number | null;
  total_rows: number | null;
  expected_rows: number | null;
  ratio: number | null;
  low_ratio: boolean | null;
  counts: Record<string, number> | null;
  error: { type?: string; title?: string; detail?: string } | null;
  warnings: string[];
}

export interface EndedStage {
  stage: Stage;
  state: StageState;
  started_at: string | null;
  ended_at: string | null;
  busy_ms: number;
  records_in: number;
  records_out: number;
  error: unknown;
}
