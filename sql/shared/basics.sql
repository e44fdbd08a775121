-- What every topic uses.

-- RFC 9562 version 7, with microseconds in rand_a: run ids sort by the time of their request.
create or replace function etl.uuid7() returns uuid
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select encode(
    substring(int8send(us / 1000) from 3 for 6)
      || substring(int8send(28672 + (us % 1000) * 4096 / 1000) from 7 for 2)
      || substring(uuid_send(gen_random_uuid()) from 9 for 8),
    'hex')::uuid
  from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as us) as clock
$$;
comment on function etl.uuid7() is 'a time-ordered UUID (RFC 9562 version 7)';

-- The role that owns schema etl and what is in it.
create or replace function etl.owner() returns name
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select pg_get_userbyid(n.nspowner) from pg_namespace as n where n.nspname = 'etl'
$$;

-- SQLSTATE ET422 (or the status given) carries a problem whose JSON is in DETAIL;
-- the server turns it into application/problem+json, psql shows message and hint.
create or replace function etl.raise_problem(
  type text, message text, errors jsonb default '[]', status integer default 422, extra jsonb default '{}'
) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    errcode = 'ET' || status,
    message = message,
    detail = (extra || jsonb_build_object('type', type, 'status', status, 'detail', message, 'errors', errors))::text;
end $$;

-- A time as the API shows it: ISO 8601 in UTC with milliseconds.
create or replace function etl.iso(at timestamptz) returns text
language sql stable parallel safe as $$
  select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- Wakes the servers for work of a kind when the transaction that made it commits; etl.due_work() knows the kinds.
create or replace function etl.wake(kind text) returns void
language sql set search_path = pg_catalog, etl, pg_temp as $$
  select pg_notify('etl_work', kind)
$$;

-- The known name that was probably meant: with the smallest edit distance, upper and lower case being the
-- same, if that is at most a third of what was given, or 2. Of several at the same distance the first of the
-- same length, else the first. vocabulary/nearest_name.ts has the same rule; a test compares.
create or replace function etl.nearest_name(given text, known text[]) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  name text[] := string_to_array(lower(given), null);
  letters text[];
  candidate text;
  best text;
  best_score integer;
  score integer;
  previous integer[];
  current integer[];
  diagonal integer;
begin
  if given = '' or length(given) > 63 then return null; end if;
  best_score := 2 * greatest(2, length(given) / 3) + 2;
  foreach candidate in array known loop
    score := case when length(candidate) = length(given) then 0 else 1 end;
    -- no edit makes up for more letters than it adds
    continue when 2 * abs(length(candidate) - length(given)) + score >= best_score;
    letters := string_to_array(lower(candidate), null);
    previous := array(select generate_series(0, cardinality(letters)));
    for i in 1..cardinality(name) loop
      current := array[i];
      for j in 1..cardinality(letters) loop
        diagonal := previous[j] + case when name[i] = letters[j] then 0 else 1 end;
        current[j + 1] := least(current[j] + 1, previous[j + 1] + 1, diagonal);
      end loop;
      previous := current;
    end loop;
    score := score + 2 * previous[cardinality(letters) + 1];
    if score < best_score then
      best_score := score;
      best := candidate;
    end if;
  end loop;
  return best;
end $$;

-- What tells this database from every other, a copy of it among them; the same for its whole life and whoever asks.
create or replace function etl.database_identity() returns text
language plpgsql stable security definer set search_path = pg_catalog, etl, pg_temp set timezone = 'UTC' as $$
declare
  cluster text := '';
  first_setup text;
begin
  begin
    select c.system_identifier::text into cluster from pg_control_system() as c;
  exception when insufficient_privilege then
    -- some providers keep it from ordinary roles; the time of the first set-up is in microseconds
    null;
  end;
  select min(s.first_applied_at)::text into first_setup from etl.setups as s;
  return (select concat_ws('/', d.oid, d.datname, first_setup, cluster) from pg_database as d where d.datname = current_database());
end $$;
comment on function etl.database_identity() is 'tells this database from every other, a copy of it among them';
