-- Deletes what pg_cron has noted of these jobs' runs more than 7 days ago; it deletes nothing by itself.
-- pg_cron only
select cron.schedule('etl_purge_cron_details', '17 3 * * *', $$
  delete from cron.job_run_details as d using cron.job as j
  where j.jobid = d.jobid and j.jobname ~ '(^|\.)etl_' and d.runid <= (
    select max(o.runid) from cron.job_run_details as o where o.end_time < now() - interval '7 days')
$$);
