-- Expectations of the run's suite that failed: {failed, evaluated, names}; null where nothing was evaluated.
create or replace function etl.failed_expectations(run_id uuid) returns jsonb
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select jsonb_build_object('failed', (r.result #>> '{statistics,unsuccessful_expectations}')::bigint,
    'evaluated', (r.result #>> '{statistics,evaluated_expectations}')::bigint,
    'names', coalesce((select jsonb_agg(distinct e #>> '{expectation_config,type}')
      from jsonb_array_elements(r.result -> 'results') as e where not (e ->> 'success')::boolean), '[]'))
  from etl.validations as r where r.run_id = failed_expectations.run_id
$$;

-- Judges a run that has ended: raises what it shows, ends the incidents that it disproves.
-- Dry runs and replays raise nothing, a cancelled run neither raises nor disproves. One cause, one alert.
create or replace function etl.detect_alerts(run etl.runs) returns void
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  settings etl.reaction_settings;
  about jsonb := jsonb_build_object('run_id', run.run_id, 'run_label', run.run_label);
  problem text := replace(coalesce(run.error ->> 'type', ''), '/api/problems/', '');
  validation jsonb := etl.failed_expectations(run.run_id);
  ge_failed boolean;
  trend record;
  bound double precision;
begin
  if run.dry_run or run.replay_of is not null or run.state = 'cancelled' then return; end if;
  -- an end that could not be judged in its turn says nothing new after a later one of its label
  if exists (
      select from etl.runs as r join etl.run_ends as e using (run_id)
      where r.run_label = run.run_label and e.ended_at > run.ended_at and e.consumed_at is not null
        and not r.dry_run and r.replay_of is null and e.snapshot ->> 'state' <> 'cancelled') then
    return;
  end if;
  select * into settings from etl.reaction_settings;
  ge_failed := problem = 'validation-failed' or coalesce((validation ->> 'failed')::bigint > 0, false);
  if ge_failed then
    perform etl.raise_alert('ge_failed', run.run_label, case when validation is null then run.error ->> 'detail'
        else format('%s of %s expectations failed: %s. %s', validation ->> 'failed', validation ->> 'evaluated',
          (select string_agg(n #>> '{}', ', ') from jsonb_array_elements(validation -> 'names') as n),
          case when run.state = 'failed' then 'Nothing was loaded.' else 'The data was loaded all the same.' end) end,
      about || jsonb_build_object('severity', case when run.state = 'failed' then 'error' else 'warning' end,
        'details', coalesce(validation, '{}')));
  end if;
  if run.low_ratio then
    perform etl.raise_alert('low_ratio', run.run_label, case when run.state = 'failed' then run.error ->> 'detail'
        else format('%s of %s expected rows arrived (ratio %s), accepted by min_acceptance_ratio %s. Look at the quarantine of the run.',
          run.total_rows, run.expected_rows, round(run.ratio::numeric, 4), run.params ->> 'min_acceptance_ratio') end,
      about || jsonb_build_object('severity', case when run.state = 'failed' then 'error' else 'warning' end,
        'details', jsonb_build_object('ratio', run.ratio, 'min_acceptance_ratio', run.params -> 'min_acceptance_ratio',
          'accepted', run.state = 'succeeded', 'total_rows', run.total_rows, 'expected_rows', run.expected_rows)));
  end if;
  if run.state = 'failed' then
    if not coalesce(run.low_ratio, false) and not ge_failed then
      perform etl.raise_alert('run_failed', run.run_label, coalesce(run.error ->> 'detail', 'The run failed.'),
        about || jsonb_build_object('severity', 'error', 'details', jsonb_build_object('problem', problem, 'attempt', run.attempt)));
    end if;
    return;
  end if;

  perform etl.resolve_alert('run_failed', run.run_label, 'A run has succeeded.', about);
  if not run.low_ratio then
    perform etl.resolve_alert('low_ratio', run.run_label, format('The ratio is %s again.', round(run.ratio::numeric, 4)), about);
  end if;
  if not ge_failed then
    perform etl.resolve_alert('ge_failed', run.run_label, 'All expectations hold.', about);
  end if;

  -- the ratio of nothing is 1, so that nothing else tells of an empty source; an incremental one gives what changed
  if run.total_rows = 0 and run.params #>> '{source,cursor}' is null then
    perform etl.raise_alert('volume_drop', run.run_label, 'Nothing was read: the source had no records.',
      about || jsonb_build_object('details', jsonb_build_object('total_rows', 0)));
  end if;

  select count(*) as runs, avg(m.ratio) as ratio, avg(m.total_rows) as total_rows into trend
  from (
    select m.ratio, m.total_rows from public.etl_improved_metrics as m
    where m.run_label = run.run_label and m.created_at < run.ended_at and m.run_id <> run.run_id
      and not m.dry_run and m.replay_of is null and m.ratio is not null
    order by m.created_at desc limit settings.trend_window) as m;
  if trend.runs < 3 then
    if run.total_rows > 0 then
      perform etl.resolve_alert('volume_drop', run.run_label, format('%s rows arrived.', run.total_rows), about);
    end if;
    return;
  end if;
  bound := trend.ratio * (1 - settings.ratio_drop);
  if run.ratio < bound then
    perform etl.raise_alert('ratio_drop', run.run_label,
      format('The ratio fell to %s; the mean of the last %s runs of this label is %s.', round(run.ratio::numeric, 4), trend.runs,
        round(trend.ratio::numeric, 4)),
      about || jsonb_build_object('details', jsonb_build_object('ratio', run.ratio, 'mean', trend.ratio, 'runs', trend.runs)));
  else
    perform etl.resolve_alert('ratio_drop', run.run_label, format('The ratio is %s again.', round(run.ratio::numeric, 4)), about);
  end if;
  -- an incremental source gives what changed, however much that is
  if run.params #>> '{source,cursor}' is not null then return; end if;
  if run.total_rows = 0 then
    null;
  elsif run.total_rows <= trend.total_rows * (1 - settings.volume_drop) then
    perform etl.raise_alert('volume_drop', run.run_label,
      format('Only %s rows arrived; the mean of the last %s runs of this label is %s.', run.total_rows, trend.runs, round(trend.total_rows)),
      about || jsonb_build_object('details', jsonb_build_object('total_rows', run.total_rows, 'mean', round(trend.total_rows, 1), 'runs', trend.runs)));
  else
    perform etl.resolve_alert('volume_drop', run.run_label, format('%s rows arrived.', run.total_rows), about);
  end if;
end $$;
comment on function etl.detect_alerts(etl.runs) is 'raises and ends alerts from what a run that has ended shows';
