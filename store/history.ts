import type { Sql } from "./database.ts";

export const SORT_COLUMNS = [
  "requested_at",
  "run_label",
  "state",
  "total_rows",
  "rejected",
  "ratio",
  "num_chunks",
  "duration_ms",
] as const;
export type SortColumn = (typeof SORT_COLUMNS)[number];

/** Which runs, in which order, and which page of them. */
export interface HistoryFilter {
  /** ISO 8601, inclusive. */
  start?: string;
  /** ISO 8601, exclusive. */
  end?: string;
  runLabel?: string;
  state?: string;
  dryRun?: boolean;
  sort: SortColumn;
  descending: boolean;
  limit: number;
  /** Position after which the page begins, or before which it ends. */
  from?: { value: string; runId: string; backwards: boolean };
}

export interface HistoryRow {
  run_id: string;
  run_label: string;
  state: string;
  trigger: string;
  dry_run: boolean;
  replay: boolean;
  requested_at: string;
  ended_at: string | null;
  duration_ms: number | null;
  num_chunks: number | null;
  total_rows: number | null;
  expected_rows: number | null;
  inserted: number | null;
  updated: number | null;
  unchanged: number | null;
  rejected: number | null;
  deleted: number | null;
  marked: number | null;
  ratio: number | null;
  low_ratio: boolean | null;
  /** Where the row is in the chosen order, for the cursor. */
  position: string;
}

/** The members of a HistoryRow, in their order. */
export const HISTORY_COLUMNS = [
  "run_id",
  "run_label",
  "state",
  "trigger",
  "dry_run",
  "replay",
  "requested_at",
  "ended_at",
  "duration_ms",
  "num_chunks",
  "total_rows",
  "expected_rows",
  "inserted",
  "updated",
  "unchanged",
  "rejected",
  "ratio",
  "low_ratio",
  "deleted",
  "marked",
  "position",
] as const satisfies (keyof HistoryRow)[];

export interface HistoryPage {
  rows: HistoryRow[];
  /** Runs that the filter leaves, counted up to `COUNT_LIMIT`. */
  count: number;
  hasPrevious: boolean;
  hasNext: boolean;
}

/** Further runs are not counted: "10,000+". */
export const COUNT_LIMIT = 10_000;

/** A page of runs; as fast for a long history as for a short one. */
export async function historyPage(sql: Sql, filter: HistoryFilter): Promise<HistoryPage> {
  const { limit, from, descending } = filter;
  const backwards = from?.backwards ?? false;
  const down = descending !== backwards;
  const order = sortExpression(sql, filter.sort);
  const where = conditions(sql, filter);
  const after = from === undefined
    ? sql``
    : sql`and (${order.value}, r.run_id) ${
      down ? sql`<` : sql`>`
    } (${from.value}::text::${order.type}, ${from.runId}::text::uuid)`;
  const [rows, [counted]] = await Promise.all([
    sql<{ row: HistoryRow }[]>`
      select jsonb_build_object('run_id', r.run_id, 'run_label', r.run_label, 'state', r.state,
        'trigger', r.trigger, 'dry_run', r.dry_run, 'replay', r.replay_of is not null,
        'requested_at', etl.iso(r.requested_at), 'ended_at', etl.iso(r.ended_at),
        'duration_ms', round(etl.worked_ms(r)::numeric, 1),
        'num_chunks', r.num_chunks, 'total_rows', r.total_rows, 'expected_rows', r.expected_rows,
        'inserted', r.counts -> 'inserted', 'updated', r.counts -> 'updated',
        'unchanged', r.counts -> 'unchanged', 'rejected', r.counts -> 'rejected', 'deleted', r.counts -> 'deleted', 'marked', r.counts -> 'marked',
        'ratio', r.ratio, 'low_ratio', r.low_ratio, 'position', (${order.value})::text) as row
      from etl.runs as r where ${where} ${after}
      order by ${order.value} ${down ? sql`desc` : sql`asc`}, r.run_id ${
      down ? sql`desc` : sql`asc`
    }
      limit ${limit + 1}`,
    sql<{ count: number }[]>`
      select count(*)::integer as count from (
        select from etl.runs as r where ${where} limit ${COUNT_LIMIT + 1}) as found`,
  ]);
  const more = rows.length > limit;
  const page = rows.slice(0, limit).map(({ row }) => row);
  if (backwards) page.reverse();
  return {
    rows: page,
    count: counted!.count,
    hasPrevious: from !== undefined && (backwards ? more : true),
    hasNext: backwards ? true : more,
  };
}

function conditions(sql: Sql, { start, end, runLabel, state, dryRun }: HistoryFilter) {
  return sql`true
    ${start === undefined ? sql`` : sql`and r.requested_at >= ${start}::text::timestamptz`}
    ${end === undefined ? sql`` : sql`and r.requested_at < ${end}::text::timestamptz`}
    ${runLabel === undefined ? sql`` : sql`and r.run_label = ${runLabel}`}
    ${state === undefined ? sql`` : sql`and r.state = ${state}`}
    ${dryRun === undefined ? sql`` : sql`and r.dry_run = ${dryRun}`}`;
}

/** What to order by, never null so that a cursor can compare it, and its type. */
function sortExpression(sql: Sql, column: SortColumn) {
  switch (column) {
    case "requested_at":
      return { value: sql`r.requested_at`, type: sql`timestamptz` };
    case "run_label":
    case "state":
      return { value: sql`r.${sql(column)}`, type: sql`text` };
    case "duration_ms":
      return {
        value: sql`coalesce(case when r.ended_at is not null then etl.worked_ms(r) end, -1)`,
        type: sql`double precision`,
      };
    case "rejected":
      return {
        value: sql`coalesce((r.counts ->> 'rejected')::double precision, -1)`,
        type: sql`double precision`,
      };
    default:
      return {
        value: sql`coalesce(r.${sql(column)}::double precision, -1)`,
        type: sql`double precision`,
      };
  }
}
