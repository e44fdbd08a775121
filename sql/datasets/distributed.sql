-- Datasets whose rows Citus distributes over several PostgreSQL servers, by event_id. Nothing here needs the extension while no
-- dataset is distributed.

-- The column by which Citus distributes a table by hash; null where it does not.
create or replace function etl.distribution_column(relation regclass) returns text
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  found_one text;
begin
  if to_regclass('pg_catalog.pg_dist_partition') is not null then
    execute 'select column_to_column_name(p.logicalrelid, p.partkey) from pg_catalog.pg_dist_partition as p
      where p.logicalrelid = $1 and p.partmethod = ''h''' into found_one using relation;
  end if;
  return found_one;
end $$;

-- Datasets that are distributed, or were where this database comes from, and how many servers hold them.
create or replace function etl.distributed_datasets() returns table (dataset text, wanted boolean, distribution_column text, shards bigint, servers bigint)
language plpgsql stable set search_path = pg_catalog, etl, pg_temp as $$
declare
  has_citus boolean := to_regclass('pg_catalog.pg_dist_partition') is not null;
  each record;
begin
  for each in
    select d.dataset as name, d.distributed, etl.find_table(d.schema_name, d.table_name) as relation from etl.datasets as d order by 1
  loop
    distribution_column := etl.distribution_column(each.relation);
    continue when not each.distributed and distribution_column is null;
    dataset := each.name;
    wanted := each.distributed;
    shards := 0;
    servers := 0;
    if has_citus and distribution_column is not null then
      execute 'select count(distinct s.shardid), count(distinct (n.nodename, n.nodeport))
        from pg_catalog.pg_dist_shard as s join pg_catalog.pg_dist_placement as p on p.shardid = s.shardid
        join pg_catalog.pg_dist_node as n on n.groupid = p.groupid and n.noderole = ''primary'' where s.logicalrelid = $1'
        into shards, servers using each.relation;
    end if;
    return next;
  end loop;
end $$;

-- Distributes the table of a dataset, with the rows that it has. Runs as the owner of schema etl, who has made the table.
create or replace function etl.distribute_dataset(dataset text, actor text default session_user)
returns table (distributed_by text, shards bigint, servers bigint)
language plpgsql security definer set search_path = pg_catalog, etl, pg_temp set lock_timeout = '10s' as $$
declare
  target etl.datasets;
  relation regclass;
  by_column text;
begin
  select * into target from etl.datasets as d where d.dataset = distribute_dataset.dataset for update;
  relation := etl.dataset_table(target.schema_name, target.table_name, writes => true);
  if relation is null then
    perform etl.raise_problem('not-found', format('There is no dataset %s with a table. `etl dataset list` shows them.', dataset), status => 404);
  end if;
  if target.declared is not null then
    perform etl.raise_problem('invalid-conf', format('%s is a typed table. Only tables of events can be distributed: by event_id, as their key.', dataset));
  end if;
  if not has_table_privilege(session_user, relation, 'insert') or not pg_has_role(current_user, (select c.relowner from pg_class as c where c.oid = relation), 'usage') then
    perform etl.raise_problem('missing-grant', format('Role %I, or the owner of schema etl, may not change %s: it is another''s.', session_user, dataset));
  end if;
  if exists (select from etl.runs as r where r.schema_name = target.schema_name and r.table_name = target.table_name and r.state = 'running') then
    perform etl.raise_problem('conflict', format('A run loads %s just now. Wait for its end, then try again.', dataset), status => 409);
  end if;
  if to_regclass('pg_catalog.pg_dist_partition') is null then
    perform etl.raise_problem('invalid-conf', format('This database has no extension citus, so %s cannot be distributed. Install Citus on this PostgreSQL and on its '
      'workers, have a superuser run "create extension citus" and citus_add_node for each worker, then try again. docs/scaling.md says what else helps.', dataset));
  end if;
  perform etl.end_first_load(relation);
  by_column := etl.distribution_column(relation);
  if by_column is null then
    execute 'select create_distributed_table($1, ''event_id'', colocate_with := ''none'')' using relation;
  elsif by_column <> 'event_id' then
    perform etl.raise_problem('invalid-conf', format('%s is distributed by %s. Runs find rows by event_id: undistribute_table it, then try again.', dataset, by_column));
  end if;
  if by_column is null or not target.distributed then
    update etl.datasets as d set distributed = true where d.dataset = distribute_dataset.dataset;
    insert into public.etl_improved_audit (event, actor, details)
    values ('dataset_distributed', actor, jsonb_build_object('dataset', dataset, 'column', 'event_id'));
  end if;
  return query select d.distribution_column, d.shards, d.servers from etl.distributed_datasets() as d where d.dataset = distribute_dataset.dataset;
exception
  when lock_not_available then
    perform etl.raise_problem('conflict', format('%s is in use just now. Try again when the queries on it have ended.', dataset), status => 409);
end $$;
comment on function etl.distribute_dataset(text, text) is 'distributes the table of a dataset by event_id, with Citus';
