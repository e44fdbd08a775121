import type { Message } from "../vocabulary/messages.ts";
import type { Submitted } from "../vocabulary/run_schema.ts";
import type { ChunkState, EndState, RunState, Stage, StageState } from "../vocabulary/words.ts";
import type { Sql } from "./database.ts";
import type { Client } from "./pg.ts";
import { withoutConflicts } from "./retry.ts";
import { storableJson } from "./storable.ts";

/** A row of etl.runs. Times are Dates, counts numbers. */
export interface RunRow {
  run_id: string;
  run_label: string;
  state: RunState;
  attempt: number;
  /** Attempts before the last request to retry it. */
  attempt_base: number;
  /** Whether it had ended and was taken up again, also where it was cancelled before an attempt. */
  comes_back: boolean;
  trigger: string;
  requested_by: string;
  conf: Record<string, unknown>;
  params: Record<string, unknown>;
  origins: Record<string, string>;
  schema_name: string;
  table_name: string;
  audit_table_name: string;
  dry_run: boolean;
  pool: string;
  overlap: string;
  cursor_key: string | null;
  replay_of: string | null;
  idempotency_key: string | null;
  traceparent: string | null;
  server_id: string | null;
  pin: Record<string, never> | null;
  requested_at: Date;
  admitted_at: Date | null;
  /** By the database's clock, as all times of a run. */
  attempt_started_at: Date | null;
  started_at: Date | null;
  ended_at: Date | null;
  cancel_requested_at: Date | null;
  deadline_at: Date | null;
  revision: string;
  num_chunks: number | null;
  counts: Record<string, number> | null;
  total_rows: string | null;
  expected_rows: string | null;
  ratio: number | null;
  low_ratio: boolean | null;
  error: Record<string, unknown> | null;
  warnings: string[];
}

/** A stage as report_progress and finish_run take it. */
export interface StageReport {
  stage: Stage;
  state: StageState;
  started_at: string | null;
  ended_at: string | null;
  busy_ms: number;
  records_in: number;
  records_out: number;
  attempts: number;
  error?: unknown;
}

export interface SubmitOptions {
  idempotency_key?: string;
  trigger: string;
  requested_by: string;
  replay_of?: string;
  traceparent?: string;
  /** The process that asks and is about to execute the run itself; others leave it alone for 10 s. */
  server_id?: string;
  /** What the run is to warn of. */
  warnings?: string[];
}

/** JSON for a parameter that is cast to jsonb in the statement. */
const json = (value: unknown) => JSON.stringify(value);

/**
 * Asks for a run and gives it a place in its pool, if one is free, in a second transaction. Throws the driver's error; store/errors.ts raisedProblem() reads what is wrong.
 */
export async function submitRun(
  sql: Sql,
  conf: unknown,
  options: SubmitOptions,
): Promise<Submitted> {
  const [row] = await withoutConflicts(() =>
    sql<{ answer: Submitted }[]>`
    select etl.submit_run(${json(conf)}::text::jsonb, ${
      json({ ...options, immediate: true, admits: true })
    }::text::jsonb) as answer`
  );
  await admitSoon(sql);
  return row!.answer;
}

/** Does at once what a work loop would do in a moment; it will, where this fails. */
export async function admitSoon(sql: Sql): Promise<void> {
  try {
    const { cancels } = await admitRuns(sql);
    if (!cancels) return;
    await applyCancels(sql);
    await admitRuns(sql);
  } catch {
    // what was asked for is stored
  }
}

/** How often rows of a source have been deleted from a dataset, as its runs count it; from now on they do. */
export async function deletionsOf(
  sql: Sql,
  { dataset, source }: { dataset: string; source: string },
): Promise<number> {
  const [row] = await sql<{ times: number }[]>`
    with made as (insert into etl.deletions (dataset, source) values (${dataset}, ${source}) on conflict do nothing
      returning times)
    select times::float8 from made
    union all select times::float8 from etl.deletions where dataset = ${dataset} and source = ${source} limit 1`;
  // another has made it meanwhile, and may count it up at once
  return row?.times ?? await deletionsOf(sql, { dataset, source });
}

/**
 * Gives free places to waiting runs; answers how many, whether somebody has asked for cancellations, which may make more
 * room, and whether there are requests to accept. A crash may take the places back: they are given again.
 */
export async function admitRuns(
  sql: Sql,
): Promise<{ admitted: number; cancels: boolean; requests: boolean }> {
  const [row] = await withoutConflicts(() =>
    sql<{ admitted: number; cancels: boolean; requests: boolean }[]>`
    select etl.admit_runs() as admitted, exists (select from etl.cancel_requests) as cancels,
      exists (select from etl.runs where state = 'queued' and accepted_at is null and admitted_at is null
        and next_attempt_at <= clock_timestamp()) as requests
    from set_config('synchronous_commit', 'off', true)`
  );
  return row!;
}

/** Cancels what was asked for; of one run only, and waiting for its row, where it is named. */
export async function applyCancels(sql: Sql, runId: string | null = null): Promise<void> {
  await withoutConflicts(() => sql`select etl.apply_cancels(${runId}::uuid)`);
}

/** Makes destination and way for a run that was asked for in SQL; false where none waits for that. */
export async function acceptRun(sql: Sql): Promise<boolean> {
  const [row] = await withoutConflicts(() =>
    sql<{ accepted: boolean }[]>`select etl.accept_run() as accepted`
  );
  return row!.accepted;
}

export interface Claimant {
  serverId: string;
  maxAttempts: number;
  /** Runs that it executes: they stay its own when it was too busy to give signs of life; default none. */
  inHand?: Iterable<string>;
}

/** A run that has been taken up. */
export interface ClaimedRun {
  run: RunRow;
  /** Whether another one waited when it was; what is admitted later is told of. */
  more: boolean;
}

/** Takes up an admitted run that nobody executes, as a new attempt; null where there is none. */
export async function claimRun(
  sql: Sql,
  { serverId, maxAttempts, inHand = [] }: Claimant,
): Promise<ClaimedRun | null> {
  const [row] = await withoutConflicts(() =>
    sql<(RunRow & { more: boolean })[]>`
    select c.*, exists (select from etl.runs as r
        where r.admitted_at is not null and r.state = 'queued' and r.run_id <> c.run_id) as more
    from etl.claim_run(${serverId}, ${maxAttempts}, ${[...inHand]}::uuid[]) as c`
  );
  if (row === undefined) return null;
  const { more, ...run } = row;
  return { run, more };
}

/**
 * As {@linkcode claimRun}, for a process whose files are its own: takes only runs that it asked for. Where one of them has
 * waited for its turn for 10 s, also what has waited as long and may be in its way, as there may be nobody else.
 */
export async function claimOwnRun(
  sql: Sql,
  { serverId, maxAttempts, inHand = [] }: Claimant,
): Promise<ClaimedRun | null> {
  const [chosen] = await sql<{ run_id: string }[]>`
    select r.run_id from etl.runs as r
    where r.admitted_at is not null
      and (r.state = 'queued' and r.next_attempt_at <= clock_timestamp() or r.state = 'running' and not etl.is_alive(r))
      and r.run_id <> all (${[...inHand]}::uuid[])
      and (r.server_id = ${serverId} or r.admitted_at < clock_timestamp() - interval '10 seconds' and exists (
        select from etl.runs as own where own.server_id = ${serverId} and own.state = 'queued'
          and own.admitted_at is null and own.requested_at < clock_timestamp() - interval '10 seconds'))
    order by r.admitted_at limit 1`;
  if (chosen === undefined) return null;
  const run = await startRun(sql, chosen.run_id, { serverId, maxAttempts });
  return run === null ? null : { run, more: true };
}

/** Takes a run up as a new attempt; null where there is nothing to do. */
export async function startRun(
  sql: Sql,
  runId: string,
  { serverId, maxAttempts }: { serverId: string; maxAttempts: number },
): Promise<RunRow | null> {
  const [row] = await withoutConflicts(() =>
    sql<RunRow[]>`
    select * from etl.start_run(${runId}, ${serverId}, ${maxAttempts})`
  );
  return row ?? null;
}

/** The run, while an attempt of it goes on. */
export async function findRun(
  sql: Sql,
  { runId, attempt }: { runId: string; attempt: number },
): Promise<RunRow | null> {
  const [row] = await sql<RunRow[]>`
    select * from etl.runs where run_id = ${runId} and attempt = ${attempt} and state = 'running'`;
  return row ?? null;
}

/** A run's place in the order of requests: the run that it counts as, and whether a later one has been there first. */
export interface RunOrder {
  orderRunId: string;
  late: boolean;
  /** That later one has replaced or mirrored: what is missing is missing. */
  superseded: boolean;
}

export async function orderOf(sql: Sql, runId: string): Promise<RunOrder> {
  const [row] = await sql<{ order_run_id: string; late: boolean; superseded: boolean }[]>`
    select * from etl.order_of(${runId})`;
  const { order_run_id: orderRunId, ...rest } = row!;
  return { orderRunId, ...rest };
}

/**
 * Replays the open records of a run's quarantine with this conf, whose source
 * needs no `upload_id`. Answers the replay that has them where one goes on already.
 */
export async function replayRun(
  sql: Sql,
  runId: string,
  conf: unknown,
  options: Omit<SubmitOptions, "trigger" | "replay_of" | "idempotency_key"> & { rule?: string },
): Promise<Submitted> {
  const [row] = await withoutConflicts(() =>
    sql<{ answer: Submitted }[]>`
    select etl.replay_run(${runId}, ${json(conf)}::text::jsonb, ${
      json({ ...options, immediate: true })
    }::text::jsonb) as answer`
  );
  await admitSoon(sql);
  return row!.answer;
}

/** A chunk as plan_chunks found it; of a published one, what is in the table. */
export interface StoredChunk {
  chunk_no: number;
  state: ChunkState;
  events: number;
  /** Rows inserted or updated. */
  written: number;
}

export async function planChunks(
  sql: Sql,
  run: { run_id: string; attempt: number },
  plan: { pin: unknown; slices: unknown[]; warnings: string[] },
): Promise<StoredChunk[]> {
  return await sql<StoredChunk[]>`
    select p.chunk_no, p.state, coalesce(c.events, 0)::float8 as events,
      coalesce(c.inserted + c.updated, 0)::float8 as written
    from set_config('synchronous_commit', 'off', true), etl.plan_chunks(${run.run_id}, ${run.attempt}, ${
    json(plan.pin)
  }::text::jsonb,
      ${json(plan.slices)}::text::jsonb, ${storableJson(plan.warnings)}::text::jsonb) as p
    left join etl.chunks as c on c.run_id = ${run.run_id} and c.chunk_no = p.chunk_no
    order by p.chunk_no`;
}

export async function reportProgress(
  sql: Sql,
  run: { run_id: string; attempt: number },
  stages: StageReport[],
): Promise<{ is_current: boolean; cancel_requested: boolean }> {
  const [row] = await withoutConflicts(() =>
    sql<{ is_current: boolean; cancel_requested: boolean }[]>`
    select p.* from set_config('synchronous_commit', 'off', true),
      etl.report_progress(${run.run_id}, ${run.attempt}, ${storableJson(stages)}::text::jsonb) as p`
  );
  return row!;
}

export interface Outcome {
  state: EndState;
  error?: unknown;
  stages: StageReport[];
  warnings?: Message[];
  /** Result of the suite, in the shape of Great Expectations 1.x. */
  validation?: unknown;
  cursor?: { source_name: string; dataset: string; position: string; snapshot: string | null };
  /** Whether the caller admits waiting runs after the commit; else servers are woken for it. */
  admits?: boolean;
}

/** Ends a run; null where the attempt is no longer the run's or the run has ended. */
export async function finishRun(
  sql: Sql,
  run: { run_id: string; attempt: number },
  outcome: Outcome,
): Promise<RunRow | null> {
  const [row] = await sql<RunRow[]>`
    select * from etl.finish_run(${run.run_id}, ${run.attempt}, ${
    storableJson(outcome)
  }::text::jsonb)`;
  return row ?? null;
}

/** The same in a worker's transaction; answers what decides whether it may be committed. */
export async function finishRunWithin(
  client: Client,
  { runId, attempt }: { runId: string; attempt: number },
  outcome: Outcome,
): Promise<{ state: string; cancelled: boolean; error: { detail: string } | null } | null> {
  const { rows } = await client.query<{
    state: string;
    cancelled: boolean;
    error: { detail: string } | null;
  }>({
    text: `select state, cancel_requested_at is not null as cancelled, error
      from etl.finish_run($1, $2, $3::text::jsonb)`,
    values: [runId, attempt, storableJson(outcome)],
  });
  return rows[0] ?? null;
}

/** A run as it is stored; null where there is none. */
export async function runRow(sql: Sql, runId: string): Promise<RunRow | null> {
  const [row] = await sql<RunRow[]>`select * from etl.runs where run_id = ${runId}`;
  return row ?? null;
}

/** Returns a run to the queue; without an error the attempt does not count. */
export async function giveBackRun(
  sql: Sql,
  run: { run_id: string; attempt: number },
  error: unknown = null,
): Promise<boolean> {
  const [row] = await sql<{ done: boolean }[]>`
    select etl.give_back_run(${run.run_id}, ${run.attempt},
      ${error === null ? null : storableJson(error)}::text::jsonb) as done`;
  return row!.done;
}

/** Stores what resolve found for a dry run: what would have been done. */
export async function storeDryRunCounts(
  sql: Sql,
  run: { run_id: string; attempt: number },
  decisions: {
    chunkNo: number;
    events: number;
    duplicates: number;
    inserts: number;
    updates: number;
    deleted: number;
    marked: number;
    deletions: number;
  }[],
): Promise<void> {
  await withoutConflicts(() =>
    sql`
    with fence as (
      select from etl.runs where run_id = ${run.run_id} and attempt = ${run.attempt} and state = 'running' for share)
    update etl.chunks as c set inserted = d.inserts, updated = d.updates, duplicates = d.duplicates,
      unchanged = d.events - d.duplicates - d.inserts - d.updates - d.deletions, deletions = d.deletions,
      deleted = d.deleted, marked = d.marked
    from jsonb_to_recordset(${json(decisions)}::text::jsonb)
      as d ("chunkNo" integer, events bigint, duplicates bigint, inserts bigint, updates bigint,
        deletions bigint, deleted bigint, marked bigint)
    where c.run_id = ${run.run_id} and c.chunk_no = d."chunkNo" and exists (select from fence)`
  );
}

/** Cancels a run; answers the state that it was in, null where there is no such run. */
export async function cancelRun(sql: Sql, runId: string, actor: string): Promise<string | null> {
  const [row] = await withoutConflicts(() =>
    sql<{ state: string | null }[]>`
    select etl.cancel_run(${runId}, ${actor}) as state`
  );
  await applyCancels(sql, runId);
  await admitSoon(sql);
  return row!.state;
}

/** Queues a failed or cancelled run again; answers its state, null where there is no such run. */
export async function retryRun(sql: Sql, runId: string, actor: string): Promise<string | null> {
  const [row] = await withoutConflicts(() =>
    sql<{ state: string | null }[]>`
    select etl.retry_run(${runId}, ${actor}) as state`
  );
  await admitSoon(sql);
  return row!.state;
}

/** Deletes what is older than the retention, batch by batch; answers how many rows of each table. */
export async function purgeRuns(
  sql: Sql,
  { retentionDays, signal }: { retentionDays: number; signal?: AbortSignal },
): Promise<Record<string, number>> {
  const total: Record<string, number> = {};
  while (!signal?.aborted) {
    const [row] = await sql<{ deleted: Record<string, number> }[]>`
      select etl.purge(${retentionDays}) as deleted`;
    let any = false;
    for (const [table, count] of Object.entries(row!.deleted)) {
      total[table] = (total[table] ?? 0) + count;
      any ||= count > 0;
    }
    if (!any) break;
  }
  return total;
}

/** Those of these runs that may still be executed. */
export async function unfinishedRuns(sql: Sql, runIds: string[]): Promise<Set<string>> {
  const rows = await sql<{ run_id: string }[]>`
    select run_id from etl.runs where run_id = any(${runIds}::uuid[]) and state in ('queued', 'running')`;
  return new Set(rows.map((row) => row.run_id));
}

/** Those of the runs that this database knows and that have ended. */
export async function endedRuns(sql: Sql, runIds: string[]): Promise<string[]> {
  const rows = await sql<{ run_id: string }[]>`
    select run_id from etl.runs where run_id = any(${runIds}::uuid[]) and state not in ('queued', 'running')`;
  return rows.map((row) => row.run_id);
}

/** Whether any run is admitted and has not ended. */
export async function areRunsGoingOn(sql: Sql): Promise<boolean> {
  const [row] = await sql<{ busy: boolean }[]>`
    select exists (select from etl.runs where admitted_at is not null and state in ('queued', 'running')) as busy`;
  return row!.busy;
}

/** The stored position of an incremental source, if it has one. */
export async function cursorPosition(
  sql: Sql,
  sourceName: string,
  dataset: string,
): Promise<{ position: string; snapshot: string | null } | null> {
  const [row] = await sql<{ position: string; snapshot: string | null }[]>`
    select position, snapshot from etl.cursors where source_name = ${sourceName} and dataset = ${dataset}`;
  return row ?? null;
}
