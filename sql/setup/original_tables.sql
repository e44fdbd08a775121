-- Tables of the Airflow system that this project replaces, wherever they are: those of its own names in public, others
-- by their columns where they have the same owner. kind is events, audit, metrics or alerts; differences says why a table
-- cannot be taken over, dependents what would be lost with a table whose rows are copied. `deno task doctor` asks before
-- the set-up what it will find.
create or replace function pg_temp.original_tables()
returns table (relation regclass, schema_name text, table_name text, kind text, differences text, columns text, dependents text)
language plpgsql stable as $$
declare
  -- what makes a table the original's, by our names; further columns are welcome, and kept
  needed constant jsonb := '{
    "events": {"event_id": "text", "event_type": "text", "payload": "json"},
    "audit": {"run_label": "text", "created_at": "time"},
    "metrics": {"run_label": "text", "total_rows": "number", "expected_rows": "number", "ratio": "number", "created_at": "time"},
    "alerts": {"kind": "text", "message": "text", "created_at": "time"}}';
  -- what the original calls them
  names constant jsonb := '{"event_id": "pk", "payload": "attributes", "created_at": "at"}';
  families constant jsonb := '{
    "text": ["text", "character varying", "character"], "json": ["jsonb", "json"],
    "number": ["integer", "bigint", "smallint", "numeric", "double precision", "real"],
    "time": ["timestamp with time zone", "timestamp without time zone"]}';
  each record;
begin
  for each in
    with tables as (
      select c.oid, n.nspname, c.relname, c.relkind, c.relowner, array(select a.attname::text from pg_attribute as a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as has
      from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
      where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'etl', 'etl_original', 'cron')
        and (c.relkind in ('r', 'p') or n.nspname = 'public' and c.relname in ('etl_improved_events', 'etl_improved_audit',
          'etl_improved_metrics', 'etl_improved_alerts'))
    ), kinds as (
      select t.*, case
          when t.nspname = 'public' and t.relname = 'etl_improved_events' and not 'first_seen_at' = any (t.has) then 'events'
          when t.nspname = 'public' and t.relname = 'etl_improved_audit' and not 'audit_id' = any (t.has) then 'audit'
          when t.nspname = 'public' and t.relname = 'etl_improved_metrics' and not 'stages' = any (t.has) then 'metrics'
          when t.nspname = 'public' and t.relname = 'etl_improved_alerts' and not 'alert_id' = any (t.has) then 'alerts'
          -- what another role has attached to its table would run with our rights
          when t.relkind <> 'r' or pg_get_userbyid(t.relowner) <> current_user and t.relowner not in (
            select o.relowner from tables as o where o.nspname = 'public' and o.relname in ('etl_improved_events', 'etl_improved_metrics')) then null
          -- copies that somebody has made by `create table … as` have no key, and stay what they are
          when not exists (select from pg_index as i join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = t.oid and i.indisprimary and i.indnkeyatts = 1 and a.attname in ('pk', 'id')) then null
          when t.has @> array['pk', 'event_time', 'attributes', 'inserted_at', 'updated_at'] then 'events'
          when t.has @> array['id', 'run_label', 'num_rows', 'at'] and not 'audit_id' = any (t.has) then 'audit'
          when t.relname = 'etl_improved_metrics' and t.has @> array['id', 'run_label', 'total_rows', 'expected_rows', 'ratio', 'num_chunks', 'at']
            and not 'stages' = any (t.has) then 'metrics' end as what
      from tables as t)
    select * from kinds as k where k.what is not null order by k.nspname <> 'public', k.nspname, k.relname
  loop
    relation := each.oid;
    schema_name := each.nspname;
    table_name := each.relname;
    kind := each.what;
    select string_agg(format('%s expected %s, found %s', w.name,
        (select string_agg(f #>> '{}', ' or ') from jsonb_array_elements(families -> w.family) as f),
        coalesce(format_type(a.atttypid, a.atttypmod), 'no such column')), '; ' order by w.name) into differences
    from jsonb_each_text(needed -> kind) as w (name, family)
    left join pg_attribute as a on a.attrelid = relation and not a.attisdropped and a.attname = case
      when w.name = any (each.has) then w.name else names ->> w.name end
    where (a.attname is null or not (families -> w.family) ? format_type(a.atttypid, null))
      -- the original has no event_type
      and not (w.name = 'event_type' and 'pk' = any (each.has) and a.attname is null);
    if each.relkind <> 'r' then
      differences := concat_ws('; ', 'expected a table, found something else', differences);
    end if;
    if kind = 'events' and not exists (
        select from pg_index as i join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indrelid = relation and i.indisunique and i.indnkeyatts = 1 and i.indpred is null and a.attname in ('event_id', 'pk')) then
      differences := concat_ws('; ', differences, 'expected a primary key on event_id, found none');
    end if;
    select string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum) into columns
    from pg_attribute as a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped;
    -- events stay where they are; the original's own views are made again
    with recursive found as (
      select relation::oid as oid
      union
      select r.ev_class from found as f
      join pg_depend as d on d.refclassid = 'pg_class'::regclass and d.refobjid = f.oid and d.classid = 'pg_rewrite'::regclass
      join pg_rewrite as r on r.oid = d.objid)
    select string_agg(o.statement, '; ' order by o.statement) into dependents from (
      select format('drop %s %s', case c.relkind when 'm' then 'materialized view' else 'view' end, c.oid::regclass) as statement
      from found as f join pg_class as c on c.oid = f.oid
      where c.oid <> relation and not (c.relnamespace = 'public'::regnamespace
        and c.relname in ('v_etl_latest_metrics', 'v_etl_recent_alerts', 'mv_etl_metrics_daily', 'mv_etl_alerts_daily'))
      union all
      select format('alter table %s drop constraint %I', f.conrelid::regclass, f.conname) from pg_constraint as f
      where f.contype = 'f' and f.confrelid = relation and f.conrelid <> relation) as o
    where kind <> 'events';
    return next;
  end loop;
end $$;
