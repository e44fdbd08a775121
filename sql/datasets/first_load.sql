-- The first load of an empty table adds its rows without indexes, which are made when the rows are there: a key that falls
-- anywhere in an index costs more than the rest of its row. Whoever else comes meanwhile has them made first, so that nothing
-- is written by a key that is not unique yet (markPublished, store/chunks.ts). docs/decisions/publish.md has figures.

-- Takes the indexes off the empty table of a run that is about to add its first rows. False where that is not worth a wait, or
-- the table is another's, partitioned, or has something attached to it. Runs as the owner of schema etl, who has made the table.
create or replace function etl.begin_first_load(run_id uuid, attempt integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set lock_timeout = '200ms' as $$
declare
  run etl.runs;
  relation regclass;
  filled boolean;
  key record;
  each text;
begin
  select * into run from etl.runs as r
    where r.run_id = begin_first_load.run_id and r.attempt = begin_first_load.attempt and r.state = 'running' for share;
  relation := to_regclass(format('%I.%I', run.schema_name, run.table_name));
  if relation is null or not exists (
      select from pg_class as c join pg_roles as o on o.oid = c.relowner
      where c.oid = relation and o.rolname = current_user and c.relkind = 'r' and c.relreplident = 'd')
      or exists (select from etl.datasets as d where d.dataset = run.schema_name || '.' || run.table_name and (d.declared -> 'own')::boolean)
      or etl.is_spread(relation)
      or exists (select from pg_inherits as i where relation in (i.inhrelid, i.inhparent))
      or exists (select from pg_rewrite as r where r.ev_class = relation)
      -- those of foreign keys too
      or exists (select from pg_trigger as t where t.tgrelid = relation)
      or exists (
        select from pg_index as i join pg_class as c on c.oid = i.indexrelid
        where i.indrelid = relation and (not i.indisvalid or i.indexprs is not null or i.indpred is not null or i.indisclustered
          or i.indisexclusion or not i.indimmediate or c.reltablespace <> 0 or c.reloptions is not null
          or i.indisunique and not i.indisprimary)) then
    return false;
  end if;
  select i.indexrelid, c.relname as name into key from pg_index as i join pg_class as c on c.oid = i.indexrelid
    where i.indrelid = relation and i.indisprimary;
  if not found then
    return false;
  end if;
  -- most large loads: a table that has rows is not locked
  execute format('select exists (select from %s)', relation) into filled;
  if filled then
    return false;
  end if;
  begin
    execute format('lock table %s in access exclusive mode', relation);
    execute format('select exists (select from %s)', relation) into filled;
    -- or another run has begun while this one waited
    if filled or not exists (select from pg_index as i where i.indexrelid = key.indexrelid) then
      return false;
    end if;
    insert into etl.first_loads (relation, run_id, primary_key, indexes)
    select i.indrelid, run.run_id, key.name, array_agg(pg_get_indexdef(i.indexrelid) order by i.indisprimary desc, i.indexrelid)
    from pg_index as i where i.indrelid = relation::oid group by i.indrelid;
    -- the columns of the key stay without nulls
    execute (select format('alter table %s %s, drop constraint %I', relation,
        string_agg(format('alter column %I set not null', a.attname), ', '), key.name)
      from pg_index as i join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = any (i.indkey) where i.indexrelid = key.indexrelid);
    for each in select i.indexrelid::regclass::text from pg_index as i where i.indrelid = relation loop
      execute format('drop index %s', each);
    end loop;
    return true;
  -- a reader that stays, or a view that groups by the key
  exception when lock_not_available or dependent_objects_still_exist then
    return false;
  end;
end $$;
comment on function etl.begin_first_load(uuid, integer) is 'takes the indexes off the empty table of a run that is about to fill it';

-- Makes the indexes that a first load has left out, whoever asks. Readers are let through while they are made. Raises conflict
-- where somebody has written keys of the load into the table by hand meanwhile.
create or replace function etl.end_first_load(relation regclass) returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
declare
  load etl.first_loads;
  each text;
  twice text;
begin
  select * into load from etl.first_loads as f where f.relation = end_first_load.relation for update;
  if not found then
    return;
  end if;
  if exists (select from pg_class as c join pg_roles as o on o.oid = c.relowner where c.oid = load.relation and o.rolname = current_user) then
    foreach each in array load.indexes loop
      begin
        execute each;
      exception
        when duplicate_table then null;
        when unique_violation then
          get stacked diagnostics twice = pg_exception_detail;
          perform etl.raise_problem('conflict', format('During the first load of %s, rows with the same keys were written by somebody else, so it has no primary key yet. '
            || 'Delete the duplicates (%s) and request the run again: it creates the key.', relation, rtrim(twice, '.')), status => 409);
      end;
    end loop;
    if not exists (select from pg_index as i where i.indrelid = load.relation and i.indisprimary) then
      execute format('alter table %s add constraint %I primary key using index %I', load.relation, load.primary_key, load.primary_key);
    end if;
  end if;
  delete from etl.first_loads as f where f.relation = load.relation;
end $$;
comment on function etl.end_first_load(regclass) is 'makes the indexes that a first load has left out';

-- Makes the indexes that runs which have ended have left out, as a server that died has.
create or replace function etl.end_leftover_first_loads() returns void
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp as $$
begin
  delete from etl.first_loads as f where not exists (select from pg_class as c where c.oid = f.relation);
  perform etl.end_first_load(f.relation) from etl.first_loads as f
  where not exists (select from etl.runs as r where r.run_id = f.run_id and r.state in ('queued', 'running'));
end $$;
