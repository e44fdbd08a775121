-- One row a run in the metrics table of its destination schema; a retry replaces it.
create or replace function etl.record_metrics(run etl.runs, stages jsonb) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  metrics_table text := etl.home_of(run.schema_name, 'etl_improved_metrics', 'public.etl_improved_metrics');
begin
  execute format($sql$
    insert into %s as m (run_id, run_label, status, total_rows, expected_rows, ratio, min_acceptance_ratio, low_ratio,
      num_chunks, dry_run, replay_of, inserted, updated, unchanged, rejected, duplicates, filtered, extra, schema_name,
      table_name, duration_ms, stages, attempt, requested_at, started_at, created_at)
    select $1.run_id, $1.run_label, $1.state, $1.total_rows, $1.expected_rows, $1.ratio,
      ($1.params ->> 'min_acceptance_ratio')::double precision, coalesce($1.low_ratio, false), $1.num_chunks, $1.dry_run,
      $1.replay_of, coalesce(c.inserted, 0), coalesce(c.updated, 0), coalesce(c.unchanged, 0), coalesce(c.rejected, 0),
      coalesce(c.duplicates, 0), coalesce(c.filtered, 0), coalesce(c.extra, 0), $1.schema_name, $1.table_name,
      extract(epoch from $1.ended_at - $1.requested_at) * 1000, $2, $1.attempt, $1.requested_at, $1.started_at, $1.ended_at
    from jsonb_to_record(coalesce($1.counts, '{}')) as c (inserted bigint, updated bigint, unchanged bigint, rejected bigint,
      duplicates bigint, filtered bigint, extra bigint)
    on conflict (run_id) do update set (status, total_rows, expected_rows, ratio, min_acceptance_ratio, low_ratio, num_chunks,
      inserted, updated, unchanged, rejected, duplicates, filtered, extra, duration_ms, stages, attempt, started_at, created_at)
    = (excluded.status, excluded.total_rows, excluded.expected_rows, excluded.ratio, excluded.min_acceptance_ratio,
      excluded.low_ratio, excluded.num_chunks, excluded.inserted, excluded.updated, excluded.unchanged, excluded.rejected,
      excluded.duplicates, excluded.filtered, excluded.extra, excluded.duration_ms, excluded.stages, excluded.attempt,
      excluded.started_at, excluded.created_at)
    $sql$, metrics_table) using run, stages;
end $$;
