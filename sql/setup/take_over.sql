-- Copies the rows that set_aside.sql has set aside into our tables. Nothing of a row is lost: what has no column
-- here is in the audit table's details, or in the alert's. Tables of other schemas and names become children of the public
-- ones. The ids of Airflow's runs become UUIDs, the same for the same.
do $etl_original$
declare
  each record;
  granted record;
  parent text;
  target text;
  zone text := current_setting('timezone');
begin
  perform pg_advisory_xact_lock(hashtextextended('etl setup', 0));
  -- a schema of another role's holds what that role wants to be run here
  if not exists (select from pg_namespace as n where n.nspname = 'etl_original' and pg_get_userbyid(n.nspowner) = current_user) then return; end if;
  perform set_config('timezone', 'UTC', true);
  create function pg_temp.run_uuid(run_id text) returns uuid language sql immutable as $$
    select case when run_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then run_id::uuid else md5(run_id)::uuid end
  $$;

  for each in
    select c.oid::regclass as old, c.relacl as acl, c.relowner as owner, said.place ->> 'kind' as kind,
      said.place ->> 'schema_name' as schema_name, said.place ->> 'table_name' as table_name
    from pg_class as c cross join lateral (select obj_description(c.oid, 'pg_class')::jsonb as place) as said
    where c.relnamespace = to_regnamespace('etl_original') and c.relkind = 'r'
    -- the audit lines of metrics go where those of their schema do
    order by said.place ->> 'kind' = 'metrics', said.place ->> 'schema_name' <> 'public', c.oid
  loop
    parent := 'public.etl_improved_' || each.kind;
    target := format('%I.%I', each.schema_name, each.table_name);
    if to_regclass(target) is null then
      execute format('create table %1$s (like %2$s including all excluding generated) inherits (%2$s)', target, parent);
    end if;
    if each.kind = 'metrics' then
      execute format($sql$
        create temp table etl_take_over as
        select to_jsonb(o) as j, o.created_at::timestamptz as created_at, o.run_label::text as run_label,
          -- several rows of one run stay several rows
          case when to_jsonb(o) ->> 'run_id' is null then md5(%2$L || o.ctid)::uuid
            when row_number() over (partition by to_jsonb(o) ->> 'run_id' order by o.created_at desc, o.ctid desc) = 1
              then pg_temp.run_uuid(to_jsonb(o) ->> 'run_id')
            else md5(format('%%s %%s', to_jsonb(o) ->> 'run_id', o.ctid))::uuid end as run_id,
          o.total_rows::bigint as total_rows, o.expected_rows::bigint as expected_rows,
          -- a scrape shows no NaN
          coalesce(case when o.ratio::double precision between 0 and 1e300 then o.ratio::double precision end, case when o.expected_rows > 0 then o.total_rows::double precision / o.expected_rows::double precision else 1 end) as ratio
        from %1$s as o$sql$, each.old, case each.schema_name when 'public' then '' else each.schema_name || '.' end || 'etl_improved_metrics ');
      execute format($sql$
        insert into %s (run_id, run_label, status, total_rows, expected_rows, ratio, min_acceptance_ratio, low_ratio,
          num_chunks, dry_run, schema_name, table_name, created_at, id)
        select t.run_id, coalesce(t.run_label, 'etl_improved'), case when t.low then 'failed' else 'succeeded' end,
          t.total_rows, t.expected_rows, t.ratio, t.min_ratio, t.low, (t.j ->> 'num_chunks')::integer,
          coalesce((t.j ->> 'dry_run')::boolean, false), $1, coalesce(t.j ->> 'table_name', 'etl_improved_events'), coalesce(t.created_at, now()),
          coalesce((t.j ->> 'id')::bigint, nextval('public.etl_improved_metrics_id_seq'))
        from (select o.*, (o.j ->> 'min_acceptance_ratio')::double precision as min_ratio,
          o.ratio < coalesce((o.j ->> 'min_acceptance_ratio')::double precision, 1) as low from pg_temp.etl_take_over as o) as t
        order by t.created_at$sql$, target) using each.schema_name;
      perform setval('public.etl_improved_metrics_id_seq', greatest((select max(m.id) from public.etl_improved_metrics as m), 1));
      target := coalesce(to_regclass(format('%I.etl_improved_audit', each.schema_name))::text, 'public.etl_improved_audit');
      execute format($sql$
        insert into %s (run_id, run_label, event, actor, details, created_at)
        select t.run_id, t.run_label, 'migrated', 'etl_migration', jsonb_build_object('metrics', t.j), coalesce(t.created_at, now())
        from pg_temp.etl_take_over as t order by t.created_at$sql$, target);
      drop table pg_temp.etl_take_over;
      target := format('%I.%I', each.schema_name, each.table_name);
      if to_regprocedure('etl.watch_metrics(regclass)') is not null then
        perform etl.watch_metrics(target::regclass);
        perform etl.recount_metrics();
      end if;
    elsif each.kind = 'audit' then
      execute format($sql$
        insert into %1$s (audit_id, run_id, run_label, event, status, actor, details, created_at) overriding system value
        select coalesce((to_jsonb(o) ->> 'id')::bigint, nextval(%3$L)), pg_temp.run_uuid(to_jsonb(o) ->> 'run_id'), o.run_label,
          coalesce(to_jsonb(o) ->> 'event', 'finished'), to_jsonb(o) ->> 'status',
          coalesce(to_jsonb(o) ->> 'actor', 'airflow'), jsonb_build_object('audit', to_jsonb(o)), coalesce(o.created_at::timestamptz, now())
        from %2$s as o order by o.created_at, o.ctid$sql$, target, each.old, pg_get_serial_sequence(target, 'audit_id'));
      execute format('select setval(%L, greatest((select max(audit_id) from only %s), 1))', pg_get_serial_sequence(target, 'audit_id'), target);
    else
      execute format($sql$
        insert into %1$s (alert_id, kind, severity, message, run_id, run_label, details, created_at) overriding system value
        select coalesce((to_jsonb(o) ->> 'id')::bigint, nextval(%3$L)), coalesce(o.kind, 'unknown'), coalesce(to_jsonb(o) ->> 'severity', 'warning'), coalesce(o.message, ''),
          pg_temp.run_uuid(to_jsonb(o) ->> 'run_id'), to_jsonb(o) ->> 'run_label', jsonb_build_object('alert', to_jsonb(o))
            || jsonb_strip_nulls(jsonb_build_object('ratio', to_jsonb(o) -> 'ratio', 'avg_ratio', to_jsonb(o) -> 'avg_ratio',
              'threshold_pct', to_jsonb(o) -> 'threshold_pct')),
          coalesce(o.created_at::timestamptz, now())
        from %2$s as o order by o.created_at, o.ctid$sql$, target, each.old, pg_get_serial_sequence(target, 'alert_id'));
      execute format('select setval(%L, greatest((select max(alert_id) from %s), 1))', pg_get_serial_sequence(target, 'alert_id'), target);
    end if;

    -- who could read the old table can read the new one
    for granted in
      select a.privilege_type as privilege, case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as grantee
      from aclexplode(each.acl) as a where a.grantee <> each.owner and a.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
    loop
      execute format('grant %s on %s to %s', granted.privilege, target, granted.grantee);
    end loop;
  end loop;
  -- at once, as one may count with the sequence of another
  select string_agg(c.oid::regclass::text, ', ') into target from pg_class as c where c.relnamespace = to_regnamespace('etl_original') and c.relkind = 'r';
  execute coalesce('drop table ' || target, 'select 1');
  drop schema etl_original;
  drop function pg_temp.run_uuid(text);
  perform set_config('timezone', zone, true);
end $etl_original$;
