import type { EndedRun, EndedStage } from "./reactions.ts";
import type { Sql } from "./database.ts";

export type ExportTarget = "mlflow" | "openlineage";

/** A run that is to be told to another system. */
export interface PendingExport {
  run_id: string;
  end_no: number;
  /** ISO 8601 */
  requested_at: string;
  started_at: string | null;
  external_id: string | null;
  attempts: number;
}

/** What is known of a run for that. */
export interface ExportFacts {
  run: EndedRun;
  stages: EndedStage[];
  /** Whether this end of the run has come. */
  ended: boolean;
  /** Great Expectations' validation result; null where there was no suite. */
  validation: ValidationFacts | null;
  /** Of a typed destination; null: a table of events. */
  columns?: { name: string; type: string }[] | null;
}

export interface ValidationFacts {
  success: boolean;
  suite_name: string;
  statistics: { evaluated_expectations: number; successful_expectations: number };
  results: {
    success: boolean;
    expectation_config: { type: string; kwargs: Record<string, unknown>; severity?: string };
  }[];
}

/** The next export: new ones before those that failed. Null where none waits. */
export async function nextExport(sql: Sql, target: ExportTarget): Promise<PendingExport | null> {
  const [row] = await sql<PendingExport[]>`
    select run_id, end_no, etl.iso(requested_at) as requested_at, etl.iso(started_at) as started_at, external_id, attempts
    from etl.exports where target = ${target} and state = 'pending' and next_attempt_at <= clock_timestamp()
    order by attempts, updated_at, run_id limit 1`;
  return row ?? null;
}

/** The run as it was at this end; as it is where that has not come. */
export async function exportFacts(
  sql: Sql,
  { run_id, end_no }: { run_id: string; end_no: number },
): Promise<ExportFacts> {
  const [row] = await sql<{ facts: ExportFacts }[]>`
    select jsonb_build_object(
      'run', (to_jsonb(jsonb_populate_record(r, coalesce(e.snapshot, '{}'))) - 'conf' - 'pin') #- '{params,source,records}',
      'ended', e.run_id is not null,
      'stages', coalesce((select jsonb_agg(to_jsonb(s)) from etl.stages as s where s.run_id = r.run_id), '[]'),
      'validation', (select v.result from etl.validations as v where v.run_id = r.run_id),
      'columns', (select d.declared -> 'columns' from etl.datasets as d
        where d.dataset = r.schema_name || '.' || r.table_name and r.params ->> 'layout' = 'typed')) as facts
    from etl.runs as r left join etl.run_ends as e on e.run_id = r.run_id and e.end_no = ${end_no}
    where r.run_id = ${run_id}`;
  return row!.facts;
}

export interface ExportOutcome {
  state: "started" | "done" | "failed" | "skipped" | "pending";
  startedAt?: string | null;
  externalId?: string | null;
  error?: string | null;
  /** Pending only: milliseconds until the next attempt. */
  retryMs?: number;
}

/** Notes how an export went; nothing where another server has taken the lease meanwhile. */
export async function markExport(
  sql: Sql,
  target: ExportTarget,
  { run_id, end_no, outcome, holder }: {
    run_id: string;
    end_no: number;
    outcome: ExportOutcome;
    holder: string;
  },
): Promise<void> {
  const { state, startedAt = null, externalId = null, error = null, retryMs = 0 } = outcome;
  await sql`
    update etl.exports as x set
      -- the run may have ended while its start was being told
      state = case when ${state} = 'started' and exists (
        select from etl.run_ends as e where e.run_id = x.run_id and e.end_no = x.end_no) then 'pending' else ${state} end,
      started_at = coalesce(${startedAt}::text::timestamptz, started_at), external_id = coalesce(${externalId}, external_id),
      error = ${error},
      attempts = case when ${state} in ('started', 'done') then 0 else attempts + 1 end,
      next_attempt_at = clock_timestamp() + ${retryMs}::double precision * interval '1 millisecond', updated_at = clock_timestamp()
    where run_id = ${run_id} and target = ${target} and end_no = ${end_no}
      and exists (select from etl.leases where name = ${`export ${target}`} and holder = ${holder})`;
}

/** An export as the API shows it. */
export interface ExportView {
  target: ExportTarget;
  end_no: number;
  state: string;
  external_id: string | null;
  attempts: number;
  error: string | null;
  updated_at: string;
}

/** How a run was told to other systems. */
export async function runExports(sql: Sql, runId: string): Promise<ExportView[]> {
  return await sql<ExportView[]>`
    select target, end_no, state, external_id, attempts, error, etl.iso(updated_at) as updated_at
    from etl.exports where run_id = ${runId} order by target, end_no`;
}
