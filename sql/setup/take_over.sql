-- Copies the rows that set_aside.sql has set aside into our tables. Nothing of a row is lost: what has no column
-- here is in the audit table's details, or in the alert's. The ids of Airflow's runs become UUIDs, the same for the same.
do $etl_original$
declare
  each record;
  granted record;
  zone text := current_setting('timezone');
begin
  perform pg_advisory_xact_lock(hashtextextended('etl setup', 0));
  -- a schema of another role's holds what that role wants to be run here
  if not exists (select from pg_namespace as n where n.nspname = 'etl_original' and pg_get_userbyid(n.nspowner) = current_user) then return; end if;
  perform set_config('timezone', 'UTC', true);
  create function pg_temp.run_uuid(run_id text) returns uuid language sql immutable as $$
    select case when run_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then run_id::uuid else md5(run_id)::uuid end
  $$;

  if to_regclass('etl_original.etl_improved_metrics') is not null then
    create temp table etl_take_over as
    select to_jsonb(o) as j, o.created_at::timestamptz as created_at, o.run_label::text as run_label,
      -- several rows of one run stay several rows
      case when to_jsonb(o) ->> 'run_id' is null then md5('etl_improved_metrics ' || o.ctid)::uuid
        when row_number() over (partition by to_jsonb(o) ->> 'run_id' order by o.created_at desc, o.ctid desc) = 1
          then pg_temp.run_uuid(to_jsonb(o) ->> 'run_id')
        else md5(format('%s %s', to_jsonb(o) ->> 'run_id', o.ctid))::uuid end as run_id,
      o.total_rows::bigint as total_rows, o.expected_rows::bigint as expected_rows,
      coalesce(o.ratio::double precision, case when o.expected_rows > 0 then o.total_rows::double precision / o.expected_rows::double precision else 1 end) as ratio
    from etl_original.etl_improved_metrics as o;
    insert into public.etl_improved_metrics (run_id, run_label, status, total_rows, expected_rows, ratio, min_acceptance_ratio, low_ratio,
      num_chunks, dry_run, schema_name, table_name, created_at, id)
    select t.run_id, coalesce(t.run_label, 'etl_improved'), case when t.low then 'failed' else 'succeeded' end,
      t.total_rows, t.expected_rows, t.ratio, t.min_ratio, t.low, (t.j ->> 'num_chunks')::integer,
      coalesce((t.j ->> 'dry_run')::boolean, false), 'public', coalesce(t.j ->> 'table_name', 'etl_improved_events'), coalesce(t.created_at, now()),
      coalesce((t.j ->> 'id')::bigint, nextval('public.etl_improved_metrics_id_seq'))
    from (select o.*, (o.j ->> 'min_acceptance_ratio')::double precision as min_ratio,
      o.ratio < coalesce((o.j ->> 'min_acceptance_ratio')::double precision, 1) as low from pg_temp.etl_take_over as o) as t
    order by t.created_at;
    insert into public.etl_improved_audit (run_id, run_label, event, actor, details, created_at)
    select t.run_id, t.run_label, 'migrated', 'etl_migration', jsonb_build_object('metrics', t.j), coalesce(t.created_at, now())
    from pg_temp.etl_take_over as t order by t.created_at;
    drop table pg_temp.etl_take_over;
  end if;
  if to_regclass('etl_original.etl_improved_audit') is not null then
    insert into public.etl_improved_audit (run_id, run_label, event, status, actor, details, created_at)
    select pg_temp.run_uuid(to_jsonb(o) ->> 'run_id'), o.run_label, coalesce(to_jsonb(o) ->> 'event', 'finished'), to_jsonb(o) ->> 'status',
      coalesce(to_jsonb(o) ->> 'actor', 'airflow'), jsonb_build_object('audit', to_jsonb(o)), coalesce(o.created_at::timestamptz, now())
    from etl_original.etl_improved_audit as o order by o.created_at, o.ctid;
  end if;
  if to_regclass('etl_original.etl_improved_alerts') is not null then
    insert into public.etl_improved_alerts (kind, severity, message, run_id, run_label, details, created_at)
    select coalesce(o.kind, 'unknown'), coalesce(to_jsonb(o) ->> 'severity', 'warning'), coalesce(o.message, ''),
      pg_temp.run_uuid(to_jsonb(o) ->> 'run_id'), to_jsonb(o) ->> 'run_label', jsonb_build_object('alert', to_jsonb(o))
        || jsonb_strip_nulls(jsonb_build_object('ratio', to_jsonb(o) -> 'ratio', 'avg_ratio', to_jsonb(o) -> 'avg_ratio',
          'threshold_pct', to_jsonb(o) -> 'threshold_pct')),
      coalesce(o.created_at::timestamptz, now())
    from etl_original.etl_improved_alerts as o order by o.created_at, o.ctid;
  end if;

  for each in
    select c.relname as name, c.oid::regclass as old, to_regclass(format('public.%I', c.relname)) as new, c.relacl as acl, c.relowner as owner
    from pg_class as c where c.relnamespace = to_regnamespace('etl_original') and c.relkind = 'r'
  loop
    -- who could read the old table can read the new one
    for granted in
      select a.privilege_type as privilege, case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as grantee
      from aclexplode(each.acl) as a where a.grantee <> each.owner and a.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
    loop
      execute format('grant %s on %s to %s', granted.privilege, each.new, granted.grantee);
    end loop;
    execute format('drop table %s', each.old);
  end loop;
  drop schema etl_original;
  drop function pg_temp.run_uuid(text);
  perform set_config('timezone', zone, true);
end $etl_original$;
