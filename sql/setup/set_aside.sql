-- Tables of the Airflow system that this project replaces, as pg_temp.original_tables() finds them. Events become ours
-- where they are, without being rewritten; audit, metrics and alerts are set aside in schema etl_original, and take_over.sql
-- copies their rows into ours. A table of a third shape is refused, saying what differs, before anything is changed. Where
-- there is nothing of the kind, nothing happens.
-- Dashboards go on reading views that are dropped here, or by a migration, and made again: closing.sql grants them again.
create temp table if not exists etl_view_grants (view_name text, privilege text, grantee text);
insert into pg_temp.etl_view_grants
select c.relname, a.privilege_type, case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end
from pg_class as c cross join lateral aclexplode(c.relacl) as a
where c.relnamespace = 'public'::regnamespace and c.relkind in ('v', 'm') and a.grantee <> c.relowner and a.privilege_type = 'SELECT'
  and c.relname in ('v_etl_latest_metrics', 'v_etl_recent_alerts', 'mv_etl_metrics_daily', 'mv_etl_alerts_daily');
do $etl_original$
declare
  -- what ours is called, by what the original calls it
  names constant jsonb := '{"events": {"pk": "event_id", "event_time": "occurred_at", "attributes": "payload", "inserted_at": "first_seen_at"},
    "audit": {"at": "created_at"}, "metrics": {"at": "created_at"}, "alerts": {"at": "created_at"}}';
  each record;
  part record;
  refused text;
  others boolean := false;
  aside text;
  zone text := current_setting('timezone');
begin
  perform pg_advisory_xact_lock(hashtextextended('etl setup', 0));
  for each in select * from pg_temp.original_tables() as t where t.differences is not null loop
    refused := format('%I.%I is neither a table of etl-improved nor of the system that it replaces: %s. It has: %s. Nothing was changed. Rename the table, or bring it into that shape, then run this again.',
      each.schema_name, each.table_name, each.differences, each.columns);
    raise exception '%', refused using errcode = 'ET409', detail = jsonb_build_object('type', 'destination-mismatch',
      'status', 409, 'detail', refused, 'errors', '[]'::jsonb)::text;
  end loop;
  if not exists (select from pg_temp.original_tables()) then return; end if;
  select string_agg(distinct t.dependents, '; ') into refused from pg_temp.original_tables() as t;
  if refused is not null then
    refused := format('Other objects depend on tables of the Airflow system whose rows are copied. Nothing was changed. Save their definitions, run %s, then run this again and create them again.', refused);
    raise exception '%', refused using errcode = 'ET409', detail = jsonb_build_object('type', 'destination-mismatch',
      'status', 409, 'detail', refused, 'errors', '[]'::jsonb)::text;
  end if;

  -- times without a zone were written by Airflow in UTC
  perform set_config('timezone', 'UTC', true);
  for each in select * from pg_temp.original_tables() loop
    for part in
      select n.key as name, n.value as to_name from jsonb_each_text(names -> each.kind) as n
      where exists (select from pg_attribute as a where a.attrelid = each.relation and a.attname = n.key and not a.attisdropped)
        and not exists (select from pg_attribute as a where a.attrelid = each.relation and a.attname = n.value and not a.attisdropped)
    loop
      execute format('alter table %s rename column %I to %I', each.relation, part.name, part.to_name);
    end loop;
    if each.kind <> 'events' then
      if not others then
        others := true;
        if exists (select from pg_namespace as n where n.nspname = 'etl_original' and pg_get_userbyid(n.nspowner) <> current_user) then
          raise exception 'Schema etl_original belongs to another role, so its functions are not executed. Rename it, then run this again.';
        end if;
        create schema if not exists etl_original;
        -- views are made again over our tables; of the same name, with other columns
        for part in
          select c.oid::regclass as relation, c.relkind from pg_class as c
          where c.relnamespace = 'public'::regnamespace and c.relkind in ('v', 'm')
            and c.relname in ('v_etl_latest_metrics', 'v_etl_recent_alerts', 'mv_etl_metrics_daily', 'mv_etl_alerts_daily')
        loop
          execute format('drop %s %s', case part.relkind when 'v' then 'view' else 'materialized view' end, part.relation);
        end loop;
        drop function if exists public.refresh_etl_mvs();
      end if;
      aside := format('%s_%s', each.kind, each.relation::oid);
      -- indexes and sequences go with it, and tables of two schemas have some of one name
      for part in
        select case c.relkind when 'S' then 'sequence' else 'index' end as what, c.oid::regclass as name, row_number() over (order by c.oid) as n
        from pg_class as c where c.oid in (select i.indexrelid from pg_index as i where i.indrelid = each.relation
          union all select d.objid from pg_depend as d where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
            and d.refobjid = each.relation and d.deptype = 'a')
          and c.relkind in ('S', 'i')
      loop
        execute format('alter %s %s rename to %I', part.what, part.name, format('%s_part_%s', aside, part.n));
      end loop;
      execute format('alter table %s set schema etl_original', each.relation);
      execute format('alter table etl_original.%I rename to %I', each.table_name, aside);
      execute format('comment on table etl_original.%I is %L', aside,
        jsonb_build_object('kind', each.kind, 'schema_name', each.schema_name, 'table_name', each.table_name)::text);
      continue;
    end if;

    -- what its owner would attach to it later would run with the rights of whoever loads
    select pg_get_userbyid(c.relowner) as owner into part from pg_class as c where c.oid = each.relation;
    if part.owner <> current_user then
      execute format('alter table %s owner to %I', each.relation, current_user);
      execute format('grant select, insert, update, delete on %s to %I', each.relation, part.owner);
    end if;
    for part in select a.attname as name from pg_attribute as a
      where a.attrelid = each.relation and a.attnum > 0 and not a.attisdropped
    loop
      case part.name
        when 'created_at' then
          if not exists (select from pg_attribute as a where a.attrelid = each.relation and a.attname = 'first_seen_at' and not a.attisdropped) then
            execute format('alter table %s rename column created_at to first_seen_at', each.relation);
          end if;
        -- an id of Airflow's becomes ours, the same in every table
        when 'run_id' then
          execute format($ddl$alter table %s alter column run_id drop default, alter column run_id type uuid
            using case when run_id::text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then run_id::text::uuid else md5(run_id::text)::uuid end$ddl$, each.relation);
        when 'fingerprint' then
          execute format($ddl$alter table %s alter column fingerprint drop default, alter column fingerprint drop not null, alter column fingerprint type bytea
            using case when fingerprint::text ~ '^([0-9a-f]{2})+$' then decode(fingerprint::text, 'hex') else convert_to(fingerprint::text, 'UTF8') end$ddl$, each.relation);
        when 'version' then
          execute format('alter table %s alter column version drop default, alter column version type numeric using version::text::numeric', each.relation);
        else null;
      end case;
    end loop;
    -- constants, so that no row is written: the type that sources have which say none; the synthetic source, and sources without a name of runs labelled
    -- etl_improved, own the rows
    execute format($ddl$
      alter table %1$s
        add column if not exists event_type text not null default 'record',
        add column if not exists occurred_at timestamptz,
        add column if not exists source text not null default 'etl_improved',
        add column if not exists version numeric,
        add column if not exists fingerprint bytea,
        add column if not exists event_date date,
        add column if not exists event_hour smallint,
        add column if not exists run_id uuid not null default '00000000-0000-0000-0000-000000000000',
        add column if not exists first_seen_at timestamptz not null default now(),
        add column if not exists updated_at timestamptz not null default now()$ddl$, each.relation);
    for part in
      select w.name, w.type, a.attnotnull, w.missing from (values
        ('event_id', 'text', null), ('event_type', 'text', '''record'''), ('source', 'text', '''etl_improved'''), ('payload', 'jsonb', '''{}'''),
        ('run_id', 'uuid', '''00000000-0000-0000-0000-000000000000'''), ('occurred_at', 'timestamp with time zone', null),
        ('first_seen_at', 'timestamp with time zone', 'now()'), ('updated_at', 'timestamp with time zone', 'now()')) as w (name, type, missing)
      join pg_attribute as a on a.attrelid = each.relation and a.attname = w.name
    loop
      if (select format_type(a.atttypid, null) from pg_attribute as a where a.attrelid = each.relation and a.attname = part.name) <> part.type then
        execute format('alter table %1$s alter column %2$I drop default, alter column %2$I type %3$s using %2$I::%3$s', each.relation, part.name, part.type);
      end if;
      if not part.attnotnull and part.missing is not null then
        -- its triggers are its old owner's
        execute format('alter table %s disable trigger user', each.relation);
        execute format('update %1$s set %2$I = %3$s where %2$I is null', each.relation, part.name, part.missing);
        execute format('alter table %s enable trigger user', each.relation);
        execute format('alter table %s alter column %I set not null', each.relation, part.name);
      end if;
    end loop;
    execute format('alter table %s alter column occurred_at drop not null, alter column event_type drop default, alter column source drop default,
      alter column run_id drop default, alter column payload drop default, alter column first_seen_at set default now(), alter column updated_at set default now()', each.relation);
    -- as etl.create_destination names them
    aside := case when length(each.table_name) <= 50 then each.table_name else left(each.table_name, 41) || '_' || left(md5(each.table_name), 8) end;
    if to_regclass(format('%I.%I', each.schema_name, aside || '_occurred_at')) is null then
      execute format('alter index if exists %I.%I rename to %I', each.schema_name, each.table_name || '_event_time_idx', aside || '_occurred_at');
    end if;
    execute format('create index if not exists %I on %s (occurred_at)', aside || '_occurred_at', each.relation);
    execute format('drop index if exists %I.%I', each.schema_name, aside || '_updated_at');
    execute format('create index %I on %s using brin (updated_at)', aside || '_updated_at', each.relation);
    execute format('comment on table %s is %L', each.relation, 'events loaded by etl_improved, taken over');
  end loop;
  perform set_config('timezone', zone, true);
end $etl_original$;
