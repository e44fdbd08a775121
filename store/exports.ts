import type { EndedRun, EndedStage } from "./run_end.ts";
import type { Sql } from "./database.ts";
import type { Queryable } from "./pg.ts";

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

/** The next export, locked for the transaction: new ones before those that failed. Null where none waits. */
export async function claimExport(
  db: Queryable,
  target: ExportTarget,
): Promise<PendingExport | null> {
  const { rows } = await db.query<PendingExport>(
    `select run_id, end_no, etl.iso(requested_at) as requested_at, etl.iso(started_at) as started_at, external_id, attempts
     from etl.exports where target = $1 and state = 'pending' and next_attempt_at <= clock_timestamp()
     order by attempts, updated_at, run_id limit 1 for update skip locked`,
    [target],
  );
  return rows[0] ?? null;
}

/** The run as it was at this end; as it is where that has not come. */
export async function exportFacts(
  db: Queryable,
  { run_id, end_no }: { run_id: string; end_no: number },
): Promise<ExportFacts> {
  const { rows } = await db.query<{ facts: ExportFacts }>(
    `select jsonb_build_object(
       'run', (to_jsonb(jsonb_populate_record(r, coalesce(e.snapshot, '{}'))) - 'conf' - 'pin') #- '{params,source,records}',
       'ended', e.run_id is not null,
       'stages', coalesce((select jsonb_agg(to_jsonb(s)) from etl.stages as s where s.run_id = r.run_id), '[]'),
       'validation', (select v.result from etl.validations as v where v.run_id = r.run_id)) as facts
     from etl.runs as r left join etl.run_ends as e on e.run_id = r.run_id and e.end_no = $2
     where r.run_id = $1`,
    [run_id, end_no],
  );
  return rows[0]!.facts;
}

export interface ExportOutcome {
  state: "started" | "done" | "failed" | "skipped" | "pending";
  startedAt?: string | null;
  externalId?: string | null;
  error?: string | null;
  /** Pending only: milliseconds until the next attempt. */
  retryMs?: number;
}

/** Notes how an export went, in the transaction that claimed it. */
export async function markExport(
  db: Queryable,
  target: ExportTarget,
  { run_id, end_no, outcome }: { run_id: string; end_no: number; outcome: ExportOutcome },
): Promise<void> {
  const { state, startedAt = null, externalId = null, error = null, retryMs = 0 } = outcome;
  await db.query(
    `update etl.exports as x set
       -- the run may have ended while its start was being told
       state = case when $4 = 'started' and exists (
         select from etl.run_ends as e where e.run_id = x.run_id and e.end_no = x.end_no) then 'pending' else $4 end,
       started_at = coalesce($5::timestamptz, started_at), external_id = coalesce($6, external_id), error = $7,
       attempts = case when $4 in ('started', 'done') then 0 else attempts + 1 end,
       next_attempt_at = clock_timestamp() + $8::double precision * interval '1 millisecond', updated_at = clock_timestamp()
     where run_id = $1 and target = $2 and end_no = $3`,
    [run_id, target, end_no, state, startedAt, externalId, error, retryMs],
  );
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
