import { type Sql, textAsSql } from "./database.ts";
import type { DatasetReader } from "./dataset_page.ts";
import type { Queryable } from "./pg.ts";

/** A dataset as the API shows it, with its last event and who reads it. */
export interface DatasetView {
  dataset: string;
  aliases: string[];
  events: number;
  last_event: DatasetEventView | null;
  consumers: string[];
  stale_after_seconds: number | null;
  /** The typed view, "schema.view"; null without one. */
  view: string | null;
}

export interface DatasetEventView {
  event_no: number;
  dataset: string;
  run_id: string | null;
  emitted_by: string;
  counts: Record<string, number>;
  /** Columns of a typed table as the run left them; null of a table of events, and of what a consumer emits. */
  schema: { name: string; type: string }[] | null;
  /** Whether they are others than at the event before. */
  schema_changed: boolean;
  created_at: string;
}

/** Datasets that were ever written or are read by a consumer. */
export async function listDatasets(sql: Sql): Promise<DatasetView[]> {
  const rows = await sql<{ dataset: DatasetView }[]>`
    with known as (
      select dataset from etl.datasets
      union select unnest(datasets || emits) from etl.consumers where active)
    select jsonb_build_object('dataset', k.dataset,
      'aliases', case when k.dataset like 'public.%'
        then jsonb_build_array('postgres://etl_improved/' || substr(k.dataset, 8)) else '[]' end,
      'events', (select count(*) from etl.dataset_events as e where e.dataset = k.dataset),
      'last_event', (select etl.event_json(e) from etl.dataset_events as e
        where e.dataset = k.dataset order by e.event_no desc limit 1),
      'consumers', coalesce((select jsonb_agg(c.consumer order by c.consumer) from etl.consumers as c
        where c.active and k.dataset = any (c.datasets)), '[]'),
      'stale_after_seconds', (select coalesce(d.stale_after_seconds, s.stale_after_seconds)
        from etl.reaction_settings as s left join etl.datasets as d on d.dataset = k.dataset),
      'view', (select d.schema_name || '.' || d.view_name from etl.datasets as d where d.dataset = k.dataset)) as dataset
    from known as k order by k.dataset`;
  return rows.map((row) => row.dataset);
}

/** Dataset events, newest first, a page. */
export async function listDatasetEvents(
  sql: Sql,
  filter: { limit: number; before?: number | undefined; dataset?: string | undefined },
): Promise<DatasetEventView[]> {
  const { limit, before, dataset } = filter;
  const rows = await sql<{ event: DatasetEventView }[]>`
    select etl.event_json(e) as event from etl.dataset_events as e where true
      ${before === undefined ? sql`` : sql`and e.event_no < ${before}`}
      ${dataset === undefined ? sql`` : sql`and e.dataset = ${dataset}`}
    order by e.event_no desc limit ${limit}`;
  return rows.map((row) => row.event);
}

/** The newest event of any of these datasets. */
export async function newestEvent(
  db: Queryable,
  datasets: readonly string[],
): Promise<DatasetEventView | null> {
  const { rows: [row] } = await db.query<{ event: DatasetEventView }>(
    `select etl.event_json(e) as event
    from etl.dataset_events as e where e.dataset = any ($1) order by e.event_no desc limit 1`,
    [datasets],
  );
  return row?.event ?? null;
}

/** A consumer as the API shows it. */
export interface ConsumerView extends DatasetReader {
  datasets: string[];
  emits: string[];
  mode: "each" | "batch";
  skip_unchanged: boolean;
  /** SHA-256 of its file; null where it is no SQL. */
  sha256: string | null;
}

export async function listConsumers(sql: Sql): Promise<ConsumerView[]> {
  const rows = await sql<{ consumer: ConsumerView }[]>`
    select jsonb_build_object('consumer', c.consumer, 'datasets', to_jsonb(c.datasets), 'emits', to_jsonb(c.emits),
      'mode', c.mode, 'skip_unchanged', c.skip_unchanged, 'sha256', c.sha256, 'active', c.active,
      'pending', count(d.delivery_id) filter (where d.state = 'pending'),
      'failed', count(d.delivery_id) filter (where d.state = 'failed'),
      'last_done_at', etl.iso(max(d.ended_at) filter (where d.state = 'done')),
      'last_error', (array_agg(d.error order by d.delivery_id desc) filter (where d.error is not null))[1]) as consumer
    from etl.consumers as c left join etl.deliveries as d on d.consumer = c.consumer
    group by c.consumer order by c.consumer`;
  return rows.map((row) => row.consumer);
}

/** A declared column of a typed view. */
export interface DatasetColumn {
  name: string;
  /** Into payload, as in a source's mapping: "properties.mag". */
  path: string;
  type: "text" | "integer" | "numeric" | "boolean" | "date" | "timestamptz" | "jsonb";
}

/** The typed view of a dataset and what it is made from. */
export interface TypedView {
  dataset: string;
  /** "schema.view"; null without one. */
  view: string | null;
  columns: DatasetColumn[];
  /** Columns of the table that every typed view begins with. */
  fixed: string[];
  /** Whether the view is there: it goes and comes with its table. */
  exists: boolean;
}

function viewColumns(sql: Sql) {
  return sql`d.dataset, d.schema_name || '.' || d.view_name as view, coalesce(d.columns, '[]') as columns,
    etl.typed_view_fixed() as fixed,
    coalesce(etl.is_typed_view(to_regclass(quote_ident(d.schema_name) || '.' || quote_ident(d.view_name)), d.dataset), false) as exists`;
}

/** Null for a dataset that no run has written. */
export async function typedView(sql: Sql, dataset: string): Promise<TypedView | null> {
  const [row] = await sql<TypedView[]>`
    select ${viewColumns(sql)} from etl.datasets as d where d.dataset = ${dataset}`;
  return row ?? null;
}

/** Typed views by dataset; with what a typed table is declared to be. */
export async function listTypedViews(sql: Sql): Promise<(TypedView & { declared: unknown })[]> {
  return await sql<(TypedView & { declared: unknown })[]>`
    select ${viewColumns(sql)}, d.declared from etl.datasets as d order by d.dataset`;
}

/**
 * Declares the columns of a dataset and makes its view, null takes both away.
 * Raises problems: not-found, invalid-conf, conflict, missing-grant.
 */
export async function setDatasetColumns(
  sql: Sql,
  dataset: string,
  { columns, view, actor }: { columns: unknown; view?: string | null | undefined; actor: string },
): Promise<void> {
  await sql`select etl.set_dataset_columns(${dataset}, ${JSON.stringify(columns)}::text::jsonb,
    ${view ?? null}, ${actor})`;
}

/** Columns that fit what is in the table. */
export interface ColumnProposal {
  columns: DatasetColumn[];
  /** Rows that were looked at. */
  rows: number;
  /** Paths that were found and are not proposed, as most rows lack them. */
  left_out: number;
}

/** A proposal may take so long; it holds a connection. */
const PROPOSAL_MS = 20_000;

/** Raises not-found where there is no table. */
export async function proposeColumns(
  sql: Sql,
  dataset: string,
  sample: number,
): Promise<ColumnProposal> {
  // two statements of one message are one transaction, in which the limits hold
  const [, rows] = await sql.unsafe(
    `select set_config('statement_timeout', '${PROPOSAL_MS}', true), set_config('lock_timeout', '1000', true);
    select etl.propose_dataset_columns(${textAsSql(dataset)}, ${Math.trunc(sample)}) as proposal`,
  ) as unknown as [unknown, { proposal: ColumnProposal }[]];
  return rows[0]!.proposal;
}

/** How Citus distributes a dataset. */
export interface Distribution {
  /** The column that says where a row is. */
  distributed_by: string;
  shards: number;
  /** Servers that have some of them. */
  servers: number;
}

/** Distributes the table of a dataset over the servers of Citus; throws a Problem where there is no Citus. */
export async function distributeDataset(
  sql: Sql,
  dataset: string,
  actor: string,
): Promise<Distribution> {
  const [row] = await sql<Distribution[]>`
    select distributed_by, shards::float8, servers::float8 from etl.distribute_dataset(${dataset}, ${actor})`;
  return row!;
}
