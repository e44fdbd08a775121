import { type Sql, textAsSql } from "./database.ts";

/** A column of a table, or a member of its payload, as some rows have it. */
export interface ProfiledColumn {
  name: string;
  type: string;
  /** Rows without a value. */
  nulls: number;
  distinct: number;
  /** Null where the values are no numbers and no texts. */
  least: string | null;
  greatest: string | null;
  /** At most 5, the most frequent first. */
  common: { value: string; rows: number }[];
}

export interface DatasetProfile {
  /** Rows that were looked at. */
  rows: number;
  /** Rows that there are: estimated where `sampled`. */
  estimate: number;
  /** Whether there are more rows than were looked at. */
  sampled: boolean;
  /** Of table and indexes. */
  bytes: number;
  /** The table's own, and of the members of payload the 200 that most rows have. */
  columns: ProfiledColumn[];
  /** Columns and members that there are in those rows. */
  all_columns: number;
  /** At most 20 rows: texts of at most 40 of the columns by their names. */
  examples: Record<string, string | null>[];
}

/** A profile may take so long: it is a page that somebody waits for. */
const PROFILE_MS = 3000;
/** And wait so long for a table that a client has locked. */
const LOCK_MS = 300;

/**
 * A dataset from some of its rows; null where it has no table. Rejects with the code 57014 where it takes longer than
 * 3 s, with 55P03 where a client keeps its table locked.
 */
export async function profileDataset(sql: Sql, dataset: string): Promise<DatasetProfile | null> {
  // two statements of one message are one transaction, in which the limit holds; the pool's driver offers no other
  const [, rows] = await sql.unsafe(
    `select set_config('statement_timeout', '${PROFILE_MS}', true), set_config('lock_timeout', '${LOCK_MS}', true);
    select etl.profile_dataset(${textAsSql(dataset)}) as profile`,
  ) as unknown as [unknown, { profile: DatasetProfile | null }[]];
  return rows[0]!.profile;
}

/** A row of a dataset as a suite sees it. */
export interface SampledRow {
  /** JSON. */
  payload: string;
  /** Null of a typed table, whose key is among its columns. */
  event_id: string | null;
  event_type: string | null;
  /** ISO 8601 in UTC. */
  occurred_at: string | null;
}

/** A sample may take so long. */
const SAMPLE_MS = 10_000;

/** At most so many rows of a dataset, and 32 MB of them. Raises not-found. */
export async function sampleDataset(
  sql: Sql,
  dataset: string,
  most: number,
): Promise<SampledRow[]> {
  const [, rows] = await sql.unsafe(
    `select set_config('statement_timeout', '${SAMPLE_MS}', true), set_config('lock_timeout', '${LOCK_MS}', true);
    select payload, event_id, event_type, to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as occurred_at
    from etl.sample_dataset(${textAsSql(dataset)}, ${Math.trunc(most)})`,
  ) as unknown as [unknown, SampledRow[]];
  return rows;
}

/** A day of a dataset, in the zone that was asked for. */
export interface DatasetDay {
  /** "2026-11-27" */
  day: string;
  inserted: number;
  updated: number;
}

export interface DatasetWriter {
  run_id: string;
  run_label: string;
  state: string;
  inserted: number;
  updated: number;
  unchanged: number;
  /** Deleted or marked. */
  gone: number;
  created_at: string;
}

export interface DatasetReader {
  consumer: string;
  active: boolean;
  pending: number;
  failed: number;
  last_done_at: string | null;
  last_error: string | null;
}

/** A change of a dataset's columns, as the audit table has it. */
export interface SchemaChange {
  event: "dataset_altered" | "dataset_columns_put" | "dataset_columns_delete";
  actor: string | null;
  /** The run that made it; null: a person did. */
  run_id: string | null;
  created_at: string;
  /** Columns that a typed table got. */
  added: { name: string; type: string }[];
  /** Wider types by column. */
  types: Record<string, string>;
  /** Columns of the typed view from then on. */
  columns: { name: string; type: string }[];
}

/** What is known of a dataset without a look at its rows. */
export interface DatasetFacts {
  dataset: string;
  last_written_at: string | null;
  stale_after_seconds: number | null;
  /** Whether its incident is open. */
  stale: boolean;
  view: string | null;
  /** "2026-11-27": the last of the 30 days that `days` are of. */
  today: string;
  days: DatasetDay[];
  writers: DatasetWriter[];
  readers: DatasetReader[];
  /** When its first load declared its columns; null of a table of events. */
  declared_at: string | null;
  /** The newest first. */
  changes: SchemaChange[];
}

/** Events that are added up by day. */
const EVENTS = 5000;
/** Failed runs, and cancelled ones, that are looked at for rows that they have left in the table. */
const UNSUCCESSFUL = 1000;
const DAYS = 30;
const WRITERS = 10;
const CHANGES = 50;
/** Deliveries of each consumer that are counted. */
const DELIVERIES = 2000;

/** Null where no run has written a dataset of this name. */
export async function datasetFacts(
  sql: Sql,
  dataset: string,
  zone: string,
): Promise<DatasetFacts | null> {
  const [row] = await sql<{ facts: DatasetFacts }[]>`
    with written as materialized (
      (select e.event_no, e.run_id, e.created_at, e.counts
        from etl.dataset_events as e where e.dataset = ${dataset} order by e.event_no desc limit ${EVENTS})
      union all
      select null, r.run_id, r.ended_at, r.counts from unnest(array['failed', 'cancelled']) as s (state) cross join lateral (
        select r.run_id, r.schema_name, r.table_name, r.dry_run, r.ended_at, r.counts from etl.runs as r
        where r.state = s.state order by r.requested_at desc, r.run_id desc limit ${UNSUCCESSFUL}) as r
      where r.schema_name || '.' || r.table_name = ${dataset} and not r.dry_run),
    newest as materialized (
      select w.event_no, w.run_id, w.created_at, n.inserted, n.updated, n.unchanged, n.gone
      from written as w cross join lateral (select coalesce((w.counts ->> 'inserted')::bigint, 0) as inserted,
        coalesce((w.counts ->> 'updated')::bigint, 0) as updated, coalesce((w.counts ->> 'unchanged')::bigint, 0) as unchanged,
        coalesce((w.counts ->> 'deleted')::bigint, 0) + coalesce((w.counts ->> 'marked')::bigint, 0) as gone) as n
      where w.event_no is not null or n.inserted + n.updated + n.gone > 0),
    days as (
      select (n.created_at at time zone ${zone})::date as day, sum(n.inserted) as inserted, sum(n.updated) as updated
      from newest as n where (n.created_at at time zone ${zone})::date > (now() at time zone ${zone})::date - ${DAYS}::integer group by 1),
    writers as (
      select n.*, r.run_label, r.state from newest as n join etl.runs as r on r.run_id = n.run_id
      order by n.created_at desc, n.event_no desc limit ${WRITERS})
    select jsonb_build_object('dataset', d.dataset,
      'last_written_at', (select etl.iso(max(n.created_at)) from newest as n),
      'stale_after_seconds', coalesce(d.stale_after_seconds, (select s.stale_after_seconds from etl.reaction_settings as s)),
      'stale', exists (select from etl.alert_states as i where i.fingerprint = 'stale:' || d.dataset and i.resolved_at is null),
      'today', (now() at time zone ${zone})::date,
      'view', d.schema_name || '.' || d.view_name,
      'days', coalesce((select jsonb_agg(jsonb_build_object('day', y.day, 'inserted', y.inserted, 'updated', y.updated) order by y.day)
        from days as y), '[]'),
      'writers', coalesce((select jsonb_agg(jsonb_build_object('run_id', w.run_id, 'run_label', w.run_label, 'state', w.state,
          'inserted', w.inserted, 'updated', w.updated, 'unchanged', w.unchanged, 'gone', w.gone, 'created_at', etl.iso(w.created_at))
        order by w.created_at desc, w.event_no desc) from writers as w), '[]'),
      'readers', coalesce((select jsonb_agg(jsonb_build_object('consumer', c.consumer, 'active', c.active,
          'pending', x.pending, 'failed', x.failed, 'last_done_at', etl.iso(x.last_done_at), 'last_error', x.last_error) order by c.consumer)
        from etl.consumers as c cross join lateral (
          select count(*) filter (where v.state = 'pending') as pending, count(*) filter (where v.state = 'failed') as failed,
            max(v.ended_at) filter (where v.state = 'done') as last_done_at,
            (array_agg(v.error order by v.delivery_id desc) filter (where v.state = 'failed'))[1] as last_error
          from (select * from etl.deliveries as v where v.consumer = c.consumer and v.event_no is not null
            order by v.event_no desc limit ${DELIVERIES}) as v) as x
        where d.dataset = any (c.datasets)), '[]'),
      'declared_at', case when d.declared is not null then etl.iso(d.created_at) end,
      'changes', coalesce((select jsonb_agg(jsonb_build_object('event', a.event, 'actor', a.actor, 'run_id', a.run_id,
          'created_at', etl.iso(a.created_at), 'added', coalesce(nullif(a.details -> 'added', 'null'), '[]'),
          'types', coalesce(nullif(a.details -> 'types', 'null'), '{}'), 'columns', coalesce(nullif(a.details -> 'columns', 'null'), '[]'))
        order by a.audit_id desc)
        from (select * from only public.etl_improved_audit as a
          where a.event in ('dataset_altered', 'dataset_columns_put', 'dataset_columns_delete') and a.details ->> 'dataset' = ${dataset}
          order by a.audit_id desc limit ${CHANGES}) as a), '[]')) as facts
    from etl.datasets as d where d.dataset = ${dataset}`;
  return row?.facts ?? null;
}
