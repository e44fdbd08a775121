import type { EndState, Stage, StageState } from "../vocabulary/words.ts";
import type { Sql } from "./database.ts";

/** How finished runs are judged and who is told; a row of etl.reaction_settings. */
export interface ReactionSettings {
  channels: string[];
  openlineage: boolean;
  suppress_seconds: number;
  /** Whether Slack is told of maintenances that succeeded. */
  maintenance_slack: boolean;
  trend_window: number;
  ratio_drop: number;
  volume_drop: number;
  stale_after_seconds: number | null;
  log_lines: number;
}

/**
 * Publishes this server's settings for the SQL functions, whoever calls them;
 * audited where they differ from those before, which another environment had.
 */
export async function publishReactionSettings(sql: Sql, settings: ReactionSettings): Promise<void> {
  const json = JSON.stringify(settings);
  await sql`
    with changed as (
      update etl.reaction_settings as s set (channels, openlineage, suppress_seconds, trend_window, ratio_drop,
        volume_drop, stale_after_seconds, log_lines, maintenance_slack) = (select w.channels, w.openlineage, w.suppress_seconds,
        w.trend_window, w.ratio_drop, w.volume_drop, w.stale_after_seconds, w.log_lines, w.maintenance_slack
        from jsonb_populate_record(null::etl.reaction_settings, ${json}::text::jsonb) as w)
      where to_jsonb(s) <> to_jsonb(jsonb_populate_record(s, ${json}::text::jsonb))
      returning 1)
    insert into public.etl_improved_audit (event, actor, details)
    select 'reaction_settings_put', 'environment', ${json}::text::jsonb from changed`;
}

/**
 * Judges the oldest end of a run that nobody has judged; each once, to one caller; and whether more of
 * them wait. Null where none does. A crash may take all of it back, which is then judged again.
 */
export async function consumeRunEnd(
  sql: Sql,
): Promise<{ ended: RunEnd | { run_id: string; failed: string }; more: boolean } | null> {
  const [row] = await sql<{ ended: RunEnd | { run_id: string; failed: string }; more: boolean }[]>`
    select ended, (select count(*) from (select from etl.run_ends where consumed_at is null limit 2) as e) > 1 as more
    from set_config('synchronous_commit', 'off', true), etl.consume_run_end() as ended`;
  return row ?? null;
}

/** Refreshes the daily views if a run has ended since; answers whether it did. */
export async function refreshViewsIfAsked(sql: Sql): Promise<boolean> {
  const [row] = await sql<{ done: boolean }[]>`select etl.refresh_views_if_asked() as done`;
  return row!.done;
}

/** Milliseconds since the last refresh ended; null before the first. */
export async function viewRefreshAge(sql: Sql): Promise<number | null> {
  const [row] = await sql<{ age: number | null }[]>`
    select (extract(epoch from clock_timestamp() - refreshed_at) * 1000)::double precision as age
    from etl.view_refresh`;
  return row?.age ?? null;
}

/** Raises alerts for deadlines that have passed; answers which. */
export async function sweepDeadlines(sql: Sql): Promise<{ run_id: string; scope: string }[]> {
  return await sql<{ run_id: string; scope: string }[]>`select * from etl.sweep_deadlines()`;
}

/** Stale datasets and overdue schedules. */
export async function sweepConditions(sql: Sql): Promise<void> {
  await sql`select etl.sweep_conditions()`;
}

/** Deletes what was told, delivered or exported more than 30 days ago. */
export async function purgeReactions(sql: Sql): Promise<void> {
  await sql`select etl.purge_reactions()`;
}

/** The end of a run as etl.consume_run tells it, once to one server. Times are ISO 8601. */
export interface RunEnd {
  end_no: number;
  run: EndedRun;
  stages: EndedStage[];
  alerts: { kind: string; message: string; suppressed: boolean }[];
  /** Expectations that failed; null where no suite was evaluated. */
  expectations_failed: number | null;
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
