import type { RunDetail, RunView } from "../vocabulary/run_schema.ts";
import { COUNTERS, type RunState, STAGES } from "../vocabulary/words.ts";
import type { Sql } from "./database.ts";
import { storableJson } from "./storable.ts";

/** Columns of RunView, as one JSON object. */
function runJson(sql: Sql) {
  return sql`jsonb_build_object(
    'run_id', r.run_id, 'run_label', r.run_label, 'state', r.state, 'attempt', r.attempt, 'trigger', r.trigger,
    'requested_by', r.requested_by, 'dry_run', r.dry_run, 'dataset', r.schema_name || '.' || r.table_name,
    'pool', r.pool, 'overlap', r.overlap, 'replay_of', r.replay_of,
    'schedule', r.schedule, 'slot', etl.iso(r.slot))
  || jsonb_build_object(
    'requested_at', etl.iso(r.requested_at), 'admitted_at', etl.iso(r.admitted_at), 'started_at', etl.iso(r.started_at),
    'ended_at', etl.iso(r.ended_at), 'cancel_requested_at', etl.iso(r.cancel_requested_at), 'deadline_at', etl.iso(r.deadline_at),
    'duration_ms', round(etl.worked_ms(r)::numeric, 1),
    'waited_ms', round((extract(epoch from coalesce(r.ended_at, clock_timestamp()) - r.requested_at) * 1000 - coalesce(etl.worked_ms(r), 0))::numeric, 1),
    'queue_position', case when r.state = 'queued' and r.admitted_at is null then (
      select count(*) from etl.runs as w where w.pool = r.pool and w.state = 'queued' and w.admitted_at is null
        and (w.requested_at, w.run_id) <= (r.requested_at, r.run_id)) end,
    'num_chunks', r.num_chunks, 'total_rows', r.total_rows, 'expected_rows', r.expected_rows, 'ratio', r.ratio,
    'low_ratio', r.low_ratio, 'counts', coalesce(r.counts, '{}'), 'error', r.error, 'warnings', r.warnings,
    'revision', r.revision)`;
}

/** One run with its parameters, stages and chunk states; null where there is none. */
export async function runDetail(sql: Sql, runId: string): Promise<RunDetail | null> {
  const [row] = await sql<{ run: RunDetail }[]>`
    select ${runJson(sql)} || jsonb_build_object(
      'params', (select jsonb_object_agg(key, jsonb_build_object('value', value, 'origin', r.origins -> key))
        from jsonb_each(case when r.params #> '{source,records}' is null then etl.shown_params(r.params, r.origins)
          else jsonb_set(r.params, '{source,records}', to_jsonb(jsonb_array_length(r.params #> '{source,records}'))) end)),
      'stages', coalesce((select jsonb_agg(jsonb_build_object('stage', s.stage, 'state', s.state,
          'started_at', etl.iso(s.started_at), 'ended_at', etl.iso(s.ended_at), 'busy_ms', round(s.busy_ms::numeric, 1),
          'records_in', s.records_in, 'records_out', s.records_out, 'attempts', s.attempts, 'error', s.error)
        order by array_position(${[...STAGES]}::text[], s.stage))
        from etl.stages as s where s.run_id = r.run_id), '[]'),
      'chunks', coalesce((select jsonb_object_agg(c.state, c.count) from (
        select state, count(*) from etl.chunks where run_id = r.run_id group by state) as c), '{}'),
      'servers', coalesce((select jsonb_agg(jsonb_build_object('server_id', v.server_id, 'count', v.count, 'chunks', v.chunks) order by v.server_id) from (
        select i.server_id, sum(i.size) as count,
          (array_agg(case when i.first = i.last then i.first::text else i.first || '–' || i.last end order by i.first))[1:20] as chunks
        from (
          select n.server_id, min(n.chunk_no) as first, max(n.chunk_no) as last, count(*) as size from (
            select c.server_id, c.chunk_no, c.chunk_no - row_number() over (partition by c.server_id order by c.chunk_no) as island
            from etl.chunks as c where c.run_id = r.run_id and c.server_id is not null) as n
          group by n.server_id, n.island) as i
        group by i.server_id) as v), '[]'),
      'sharing', jsonb_build_object('alone', r.sharing ->> 'alone', 'left', coalesce((
        select jsonb_agg(jsonb_build_object('server_id', l.key, 'why', l.value) order by l.key)
        from jsonb_each(r.sharing -> 'left') as l), '[]')),
      'cursor', case when r.pin ? 'cursor_column' then jsonb_build_object('column', r.pin -> 'cursor_column',
        'mode', coalesce(r.pin ->> 'cursor_mode', 'window'), 'from', r.pin -> 'cursor_lower', 'to', r.pin -> 'cursor_upper') end,
      -- what an unfinished run has counted so far
      'counts', coalesce(case when r.ended_at is not null then r.counts end, (
        select jsonb_build_object(${
    COUNTERS.map((name) => sql`${name}::text, coalesce(sum(c.${sql(name)}), 0)`)
      .reduce((all, each) => sql`${all}, ${each}`)
  }) from etl.chunks as c where c.run_id = r.run_id))) as run
    from etl.runs as r where r.run_id = ${runId}`;
  return row?.run ?? null;
}

/** The state of a run; null where there is none. */
export async function runState(sql: Sql, runId: string): Promise<RunState | null> {
  const [row] = await sql<{ state: RunState }[]>`
    select state from etl.runs where run_id = ${runId}`;
  return row?.state ?? null;
}

export interface RunFilter {
  limit: number;
  /** The cursor of the page before: runs older than this. */
  before?: { requestedAt: string; runId: string };
  state?: string;
  runLabel?: string;
}

/** Runs, newest first. */
export async function listRuns(sql: Sql, filter: RunFilter): Promise<RunView[]> {
  const { limit, before, state, runLabel } = filter;
  const rows = await sql<{ run: RunView }[]>`
    select ${runJson(sql)} as run from etl.runs as r
    where true
      ${state === undefined ? sql`` : sql`and r.state = ${state}`}
      ${runLabel === undefined ? sql`` : sql`and r.run_label = ${runLabel}`}
      ${
    before === undefined
      ? sql``
      // the cursor's time has milliseconds; the run itself, while it is there, knows microseconds
      : sql`and (r.requested_at, r.run_id) < (
        coalesce((select c.requested_at from etl.runs as c where c.run_id = ${before.runId}),
          ${before.requestedAt}::text::timestamptz), ${before.runId})`
  }
    order by r.requested_at desc, r.run_id desc
    limit ${limit}`;
  return rows.map((row) => row.run);
}

/** The newest runs of each of these labels, in one statement; a label without runs is not there. */
export async function runsOfLabels(
  sql: Sql,
  labels: string[],
  limit: number,
): Promise<Map<string, RunView[]>> {
  const rows = await sql<{ label: string; runs: RunView[] }[]>`
    select l.label, jsonb_agg(n.run order by n.requested_at desc, n.run_id desc) as runs
    from unnest(${labels}::text[]) as l (label) cross join lateral (
      select r.requested_at, r.run_id, ${runJson(sql)} as run from etl.runs as r
      where r.run_label = l.label order by r.requested_at desc, r.run_id desc limit ${limit}) as n
    group by l.label`;
  return new Map(rows.map(({ label, runs }) => [label, runs]));
}

/** Chunks of a run in order, a page. */
export async function listChunks(
  sql: Sql,
  runId: string,
  { after, limit }: { after: number; limit: number },
): Promise<Record<string, unknown>[]> {
  const rows = await sql<{ chunk: Record<string, unknown> }[]>`
    select jsonb_build_object('chunk_no', chunk_no, 'state', state, 'slice', slice, 'attempts', attempts,
      'worker', worker, 'server_id', server_id, 'records_read', records_read, 'rejected', rejected, 'filtered', filtered, 'extra', extra,
      'events', events, 'duplicates', duplicates, 'inserted', inserted, 'updated', updated, 'unchanged', unchanged,
      'deletions', deletions, 'deleted', deleted, 'marked', marked,
      'stage_ms', stage_ms, 'prepared_at', etl.iso(prepared_at), 'published_at', etl.iso(published_at)) as chunk
    from etl.chunks where run_id = ${runId} and chunk_no > ${after} order by chunk_no limit ${limit}`;
  return rows.map((row) => row.chunk);
}

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
  deleted: number;
  marked: number;
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
      'deleted', deleted, 'marked', marked, 'stage_ms', stage_ms, 'prepared_at', etl.iso(prepared_at), 'published_at', etl.iso(published_at),
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
  replays: { run_id: string; state: string; dry_run: boolean; requested_at: string }[];
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
          'dry_run', p.dry_run, 'requested_at', etl.iso(p.requested_at)) order by p.requested_at)
        from etl.runs as p where p.replay_of = r.run_id), '[]'),
      'alerts', coalesce((select jsonb_agg(jsonb_build_object('kind', a.kind, 'severity', a.severity,
          'message', a.message, 'created_at', etl.iso(a.created_at)) order by a.created_at)
        from public.etl_improved_alerts as a where a.run_id = r.run_id), '[]')) as relations
    from etl.runs as r where r.run_id = ${runId}`;
  return row!.relations;
}

/** The conf that a run was asked for with, as JSON with every digit, without secrets; null where there is no such run. */
export async function runConf(sql: Sql, runId: string): Promise<string | null> {
  const [row] = await sql<{ conf: string }[]>`
    select etl.without_secrets(conf)::text as conf from etl.runs where run_id = ${runId}`;
  return row?.conf ?? null;
}

export interface RunLogLine {
  line_no: number;
  logged_at: string;
  level: string;
  message: string;
  fields: Record<string, unknown>;
}

/** Adds lines to the logs of runs, by the database's clock, and drops those beyond each run's tail. */
export async function appendLogs(sql: Sql, lines: object[]): Promise<void> {
  const sent_at = new Date().toISOString();
  const sent = lines.map((line) => ({ ...line, sent_at }));
  await sql`select etl.append_logs(${storableJson(sent)}::text::jsonb)`;
}

/** Lines of a run's log in order, a page. */
export async function runLogs(
  sql: Sql,
  runId: string,
  { after, limit }: { after: number; limit: number },
): Promise<RunLogLine[]> {
  return await sql<RunLogLine[]>`
    select line_no, etl.iso(logged_at) as logged_at, level, message, fields
    from etl.run_logs where run_id = ${runId} and line_no > ${after} order by line_no limit ${limit}`;
}
