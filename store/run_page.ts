import type { RunLogLine } from "./logs.ts";
import type { Sql } from "./database.ts";

/** All chunks of a run, small enough to be sent often. */
export interface ChunkStates {
  /** A letter a chunk, in order: l planned, r prepared, p published, x failed. */
  states: string;
  /** Chunks that needed several attempts: attempts by number. */
  retried: Record<string, number>;
}

export async function chunkStates(sql: Sql, runId: string): Promise<ChunkStates> {
  const [row] = await sql<ChunkStates[]>`
    select coalesce(string_agg(case when error is not null and state <> 'published' then 'x'
        when state = 'published' then 'p' when state = 'prepared' then 'r' else 'l' end, '' order by chunk_no), '') as states,
      coalesce(jsonb_object_agg(chunk_no, attempts) filter (where attempts > 1), '{}') as retried
    from etl.chunks where run_id = ${runId}`;
  return row!;
}

/** One chunk in full; null where there is none. */
export interface ChunkView {
  chunk_no: number;
  state: string;
  attempts: number;
  worker: string | null;
  slice: Record<string, unknown>;
  records_read: number;
  rejected: number;
  filtered: number;
  duplicates: number;
  inserted: number;
  updated: number;
  unchanged: number;
  stage_ms: Record<string, number>;
  prepared_at: string | null;
  published_at: string | null;
  error: Record<string, unknown> | null;
}

export async function oneChunk(
  sql: Sql,
  runId: string,
  chunkNo: number,
): Promise<ChunkView | null> {
  const [row] = await sql<{ chunk: ChunkView }[]>`
    select jsonb_build_object('chunk_no', chunk_no, 'state', state, 'attempts', attempts, 'worker', worker,
      'slice', slice, 'records_read', records_read, 'rejected', rejected, 'filtered', filtered,
      'duplicates', duplicates, 'inserted', inserted, 'updated', updated, 'unchanged', unchanged,
      'stage_ms', stage_ms, 'prepared_at', etl.iso(prepared_at), 'published_at', etl.iso(published_at),
      'error', error) as chunk
    from etl.chunks where run_id = ${runId} and chunk_no = ${chunkNo}`;
  return row?.chunk ?? null;
}

/** The last lines of a run's log past a line, oldest first. */
export async function logTail(
  sql: Sql,
  runId: string,
  { after, limit }: { after: number; limit: number },
): Promise<RunLogLine[]> {
  const rows = await sql<RunLogLine[]>`
    select line_no, etl.iso(logged_at) as logged_at, level, message, fields
    from etl.run_logs where run_id = ${runId} and line_no > ${after} order by line_no desc limit ${limit}`;
  return rows.reverse();
}

/** What a run has to do with other things than its own chunks. */
export interface RunRelations {
  /** Number of the dataset event that it emitted; null where it emitted none. */
  event_no: number | null;
  /** Consumers of its dataset, and how far each is with that event. */
  consumers: { consumer: string; state: string | null }[];
  /** Runs that loaded its quarantine again. */
  replays: { run_id: string; state: string; requested_at: string }[];
  alerts: { kind: string; severity: string; message: string; created_at: string }[];
}

export async function runRelations(sql: Sql, runId: string): Promise<RunRelations> {
  const [row] = await sql<{ relations: RunRelations }[]>`
    select jsonb_build_object(
      'event_no', (select max(e.event_no) from etl.dataset_events as e where e.run_id = r.run_id),
      'consumers', coalesce((select jsonb_agg(jsonb_build_object('consumer', c.consumer,
          'state', (select d.state from etl.deliveries as d
            join etl.dataset_events as e on e.event_no = d.event_no
            where d.consumer = c.consumer and e.run_id = r.run_id order by e.event_no desc limit 1)) order by c.consumer)
        from etl.consumers as c where c.active and r.schema_name || '.' || r.table_name = any (c.datasets)), '[]'),
      'replays', coalesce((select jsonb_agg(jsonb_build_object('run_id', p.run_id, 'state', p.state,
          'requested_at', etl.iso(p.requested_at)) order by p.requested_at)
        from etl.runs as p where p.replay_of = r.run_id), '[]'),
      'alerts', coalesce((select jsonb_agg(jsonb_build_object('kind', a.kind, 'severity', a.severity,
          'message', a.message, 'created_at', etl.iso(a.created_at)) order by a.created_at)
        from public.etl_improved_alerts as a where a.run_id = r.run_id), '[]')) as relations
    from etl.runs as r where r.run_id = ${runId}`;
  return row!.relations;
}

/** The conf that a run was asked for with, without secrets; null where there is no such run. */
export async function runConf(sql: Sql, runId: string): Promise<Record<string, unknown> | null> {
  const [row] = await sql<{ conf: Record<string, unknown> }[]>`
    select etl.without_secrets(conf) as conf from etl.runs where run_id = ${runId}`;
  return row?.conf ?? null;
}
