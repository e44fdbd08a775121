-- Literal secrets in confs. A conf is stored, copied into runs, audited, backed up and shown, so a secret has no place
-- in it: the name of a connection has (docs/decisions/secrets.md). These functions are the only ones that know what a
-- secret looks like.

-- A text with its percent-encoded characters as they are, for a look at names only.
create or replace function etl.percent_decoded(encoded text) returns text
language sql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
  select case when encoded !~ '%' then encoded else coalesce((
    select string_agg(case when p.part[1] ~ '^%' and p.part[1] <> '%' and p.part[1] <> '%00'
      then chr(('x' || substr(p.part[1], 2))::bit(8)::integer) else p.part[1] end, '' order by p.place)
    from regexp_matches(encoded, '%[0-9a-fA-F]{2}|[^%]+|%', 'g') with ordinality as p (part, place)), '') end
$$;

-- Whether a value looks as if it was drawn and not chosen: 16 characters or more, letters and digits.
create or replace function etl.looks_drawn(value text) returns boolean
language sql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
  select value ~ '^[A-Za-z0-9._~+/=%|:-]{16,}$' and value ~ '[0-9]' and value ~ '[A-Za-z]' and value !~ '^[0-9T:.Z%A-Fa-f+-]{16,35}$'
    or value ~ '^[0-9a-fA-F]{32,}$'
$$;

-- Whether this is the name of a header, parameter or member that holds a secret.
create or replace function etl.names_secret(name text) returns boolean
language sql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
  select n.name ~ ('^(x-)?(proxy-)?(authorization|auth|cookie|set-cookie|password|passwd|passphrase|pass|pwd|secret|sig|signature|hmac|jwt|bearer|credentials?|sas|sslpassword)$'
      || '|(^|-)(token|secret|password|passwd|signature|credential|api-?key|access-?key(-?id)?|private-?key|auth-?key|subscription-?key|session-?(id|key|token)|accessid)$'
      || '|^(access|api|auth|security|session|refresh|id|bearer)?token$|^(api|access|private|secret|auth)key$|^(client|app)secret$|^(wskey|hapikey|jsessionid|phpsessid|awsaccesskeyid|googleaccessid|ossaccesskeyid|key-pair-id|hdnea|hdnts|q-ak)$')
    and n.name !~ '^(next-?|previous-?|prev-?)?(page|continuation|sync|cursor|next)-?token$'
  -- accessToken, access_token, access.token, auth[token] and access%5Ftoken are one name
  from (select lower(trim(both '-' from regexp_replace(regexp_replace(etl.percent_decoded(etl.percent_decoded(name)),
    '([a-z0-9])([A-Z])', '\1-\2', 'g'), '[^A-Za-z0-9]+', '-', 'g'))) as name) as n
$$;

-- What kind of secret a text holds, in words without it; null where none is found. SQL is allowed to speak of passwords.
-- For texts that etl.secrets_of lets through: nothing of what follows can be found in the others.
create or replace function etl.secret_in(value text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
declare
  parameter record;
begin
  if value ~* '[a-z][a-z0-9+.-]*:[/\\]{2,}[^/\\?#\s@]*@|^\s*https?:[/\\]*[^/\\?#\s@]*@' then
    return 'a user or password before the host';
  end if;
  -- a URL may have tabs and line ends anywhere: whoever reads it takes them out
  if value ~* '^\s*[a-z]+:' and value ~ E'[\t\n\r]' and translate(value, E'\t\n\r', '') ~* '^\s*[a-z][a-z0-9+.-]*:[/\\]*[^/\\?#\s@]*@' then
    return 'a user or password before the host';
  end if;
  if value ~* '^\s*[a-z][a-z0-9+.-]*:|^[/.?]|\.[a-z0-9]+\?' then
    for parameter in
      select split_part(p.text, '=', 1) as name, case when p.text ~ '=' then substr(p.text, strpos(p.text, '=') + 1) end as value
      from regexp_split_to_table(regexp_replace(value, '^[^?#]*[?#]', ''), '[&;#?]') as p (text)
      where value ~ '[?#]' and p.text <> ''
    loop
      -- a look that costs next to nothing before those that cost a call
      if parameter.value <> '' and parameter.name ~* '%|token|secret|pass|pwd|sig|auth|key|cookie|hmac|jwt|bearer|credential|sas|session|sessid|accessid|hdn|q-ak'
        and etl.names_secret(parameter.name) then
        return format('a token or signature in the query (%s)', left(etl.percent_decoded(parameter.name), 40));
      elsif parameter.value is null and length(parameter.name) >= 16 and etl.looks_drawn(parameter.name) then
        return 'a token as its query';
      elsif length(parameter.value) >= 16 and etl.looks_drawn(parameter.value)
        and lower(etl.percent_decoded(parameter.name)) in ('key', 'code', 'policy', 'hash', 'sign', 'ticket', 'sid', 'k', 'appid', 'app_id', 'consumer_key', 'oauth_consumer_key') then
        return format('a token or signature in the query (%s)', left(etl.percent_decoded(parameter.name), 40));
      end if;
    end loop;
  end if;
  -- what follows looks at the whole text; no field that may hold one is that long
  if length(value) <= 20000 and value ~* '%|token|secret|pass|pwd|sig|auth|key|cookie|session|hook' then
    if value !~* '^\s*(select|with|table|values)\y' then
      for parameter in
        select m.found[1] as name, m.found[2] as value
        from regexp_matches(value, '(?:^|[^A-Za-z0-9%_.-])([A-Za-z][A-Za-z0-9%_.-]{1,40})["'']?\s?[=:](?!//)\s?["'']?([A-Za-z0-9._~+%|-]{16,})', 'g') as m (found)
      loop
        if etl.names_secret(parameter.name) and etl.looks_drawn(parameter.value) then
          return format('a token or password (%s)', left(etl.percent_decoded(parameter.name), 40));
        end if;
      end loop;
      for parameter in
        select m.found[1] as name, m.found[2] as value
        from regexp_matches(value, '/(tokens?|api[_-]?keys?|secrets?|auth|(?:web)?hooks?(?:/[0-9]+)?)/([^/?#]{16,})', 'gi') as m (found)
      loop
        if etl.looks_drawn(parameter.value) then
          return format('a token in the path (%s)', parameter.name);
        end if;
      end loop;
    end if;
    if value ~* '%(25)*(3a|3d|40)' then
      return etl.secret_in(etl.percent_decoded(value));
    end if;
  end if;
  if value ~* '(^|[\s;''"])(password|passwd|pwd|sslpassword)\s*=\s*[''"]*[^\s;''"]' and value ~* '(^|[\s;''"])(host|hostaddr|dbname|user|server|data source|uid)\s*=' then
    return 'a connection string with a password';
  end if;
  return case
    when value ~* '^\s*((proxy-)?authorization|cookie|set-cookie|x-[a-z-]*(key|token|auth|secret)|api-?key)\s*:\s*\S' then 'a header that authorises'
    when value ~* '^\s*(bearer|basic|digest|apikey)\s+[A-Za-z0-9._~+/=:-]{8,}\s*$' then 'a header that authorises'
    when value ~ '-----BEGIN [A-Z ]*PRIVATE KEY-----' then 'a private key'
    when value ~ '(^|[^A-Za-z0-9_-])eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*' then 'a JSON web token'
    when value ~ '(^|[^A-Za-z0-9])(AKIA|ASIA)[0-9A-Z]{16}($|[^A-Za-z0-9])|(^|[^A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{30,}|(^|[^A-Za-z0-9])xox[abprs]-[A-Za-z0-9-]{10,}|(^|[^A-Za-z0-9])etl_[A-Za-z0-9]{10}_[A-Za-z0-9_-]{32,}|hooks\.slack\.com/services/[^/\s]+/[^/\s]+/[^/\s]+|/bot[0-9]+:[A-Za-z0-9_-]{16,}|(^|[^A-Za-z0-9])(glpat-|github_pat_|npm_|hf_|shp(at|ss|ca|pa)_|dop_v1_|[srp]k_(live|test)_|sk-|xapp-|ya29\.|AIza)[A-Za-z0-9_.-]{16,}|(^|[^A-Za-z0-9])SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}'
      then 'an access token'
  end;
end $$;

-- Where a conf, or the value of a parameter, holds a secret, and what kind. Records of an inline source are data, and
-- names of columns are the user's own.
create or replace function etl.secrets_of(value jsonb, path text[] default '{}') returns table (at text[], what text)
language plpgsql immutable parallel safe set search_path = pg_catalog, etl, pg_temp set jit = off as $$
begin
  -- level by level: a call for each member would cost more than the looks at all texts
  return query with recursive part (at, value) as (
    select secrets_of.path, secrets_of.value where secrets_of.path <> '{source,records}'
    union all
    select p.at || c.member, c.value
    from part as p cross join lateral (
      select e.key as member, e.value from jsonb_each(case jsonb_typeof(p.value) when 'object' then p.value else '{}' end) as e
      union all
      select (e.place - 1)::text, e.value
      from jsonb_array_elements(case jsonb_typeof(p.value) when 'array' then p.value else '[]' end) with ordinality as e (value, place)
    ) as c
    where jsonb_typeof(c.value) not in ('null', 'number', 'boolean') and p.at || c.member <> '{source,records}'
  )
  select p.at, w.what
  from part as p, lateral (select p.at[cardinality(p.at)] as name, p.at[cardinality(p.at) - 1] as parent) as n, lateral (
    select case when n.name <> '' and p.value <> '""' and (
          -- a look that costs next to nothing before one that costs a call
          n.name ~* '%|token|secret|pass|pwd|sig|auth|key|cookie|hmac|jwt|bearer|credential|sas|session|sessid|accessid|hdn|q.?ak'
          and etl.names_secret(n.name) and (cardinality(p.at) <= 2 and p.at[1] <> 'source' or cardinality(p.at) = 2 and p.at[1] = 'source'
            or n.parent in ('headers', 'auth', 'query', 'params'))
          or n.parent = 'headers' and etl.looks_drawn(p.value #>> '{}')) then 'what authorises'
      when p.value #>> '{}' ~ '[:=@]|-----|^\s*[A-Za-z]+\s|eyJ|[A-Za-z0-9_-]{16}' then etl.secret_in(p.value #>> '{}') end as what
  ) as w
  where jsonb_typeof(p.value) = 'string' and w.what is not null;
end $$;

-- Each secret of a conf as an error that names its field and what to do, and never shows it.
create or replace function etl.secret_errors(value jsonb, path text[] default '{}') returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('field', array_to_string(s.at, '.'),
    'code', 'secret', 'message', format('holds %s, and confs are stored and shown', s.what),
    'expected', case when s.at[1] = 'source' then 'the name of a connection in source.connection, whose URL and headers the variable ETL_CONNECTION_<NAME> of the servers holds; source.url then without secrets'
      else 'no secret' end) order by s.at), '[]')
  from etl.secrets_of(value, path) as s
$$;
comment on function etl.secret_errors(jsonb, text[]) is 'each secret that a conf holds, as an error that does not show it';

-- Keeps secrets out of what is saved, whoever saves it. What an earlier version has saved may stay while it is not changed.
create or replace function etl.refuse_secrets() returns trigger
language plpgsql set search_path = pg_catalog, etl, pg_temp as $$
declare
  saved jsonb := to_jsonb(new);
  checked jsonb := coalesce(saved -> 'conf', saved -> 'value');
  errors jsonb;
begin
  if tg_op = 'UPDATE' and checked = coalesce(to_jsonb(old) -> 'conf', to_jsonb(old) -> 'value')
    or tg_table_name = 'variables' and saved ->> 'name' not like 'etl\_%\_\_%' then
    return new;
  end if;
  errors := case when saved ? 'conf' then etl.secret_errors(checked)
    else etl.secret_errors(checked, array[regexp_replace(saved ->> 'name', '^.*?__', '')]) end;
  if errors <> '[]' then
    perform etl.raise_problem('invalid-conf', (select string_agg(format('%s %s: give %s', e ->> 'field', e ->> 'message', e ->> 'expected'), '; ')
      from jsonb_array_elements(errors) as e), errors);
  end if;
  return new;
end $$;
create or replace trigger refuse_secrets before insert or update on etl.configurations for each row execute function etl.refuse_secrets();
create or replace trigger refuse_secrets before insert or update on etl.schedules for each row execute function etl.refuse_secrets();
create or replace trigger refuse_secrets before insert or update on etl.variables for each row execute function etl.refuse_secrets();

-- What an earlier version has stored with secrets: kind and name of each, the fields, no value. Runs that have ended are
-- counted in one row.
create or replace function etl.stored_secrets() returns table (kind text, name text, fields text[])
language sql stable set search_path = pg_catalog, etl, pg_temp as $$
  select s.kind, s.name, array_agg(distinct array_to_string(f.at, '.') order by array_to_string(f.at, '.'))
  from (
    select 'configuration' as kind, c.name, c.conf, '{}'::text[] as path from etl.configurations as c
    union all select 'schedule', c.name, c.conf, '{}' from etl.schedules as c
    union all select 'variable', v.name, v.value, array[regexp_replace(v.name, '^.*?__', '')] from etl.variables as v where v.name like 'etl\_%\_\_%'
    union all select 'environment', e.key, e.value, array[e.key] from etl.param_schema as p, jsonb_each(p.environment) as e
    union all select 'run', 'runs', r.conf, '{}' from etl.runs as r where jsonb_typeof(r.conf -> 'source') = 'object'
  ) as s, etl.secrets_of(s.conf, s.path) as f
  group by 1, 2
$$;
comment on function etl.stored_secrets() is 'confs with secrets that an earlier version has stored, without the secrets';

-- A URL as it may be shown: without user and password, without the values of its query, which often are a token.
create or replace function etl.public_url(url text) returns text
language sql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
  select regexp_replace(
    regexp_replace(
      regexp_replace(
        regexp_replace(url, '#.*$', ''),
        '^([A-Za-z][A-Za-z0-9+.-]*:[/\\]*)[^/\\?]*@', '\1***@'),
      -- a part without a name is a value
      '([?&])[^=&]+(?=&|$)', '\1***', 'g'),
    '([?&][^=&]*=)[^&]+', '\1***', 'g')
$$;

-- A conf, parameters or a source as they may be shown and audited: the URL of an http source without its secrets, and
-- *** for what else holds one.
create or replace function etl.without_secrets(conf jsonb) returns jsonb
language plpgsql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
declare
  shown jsonb := case
    when jsonb_typeof(conf #> '{source,url}') = 'string'
      then jsonb_set(conf, '{source,url}', to_jsonb(etl.public_url(conf #>> '{source,url}')))
    when jsonb_typeof(conf) = 'object' and jsonb_typeof(conf -> 'url') = 'string'
      then jsonb_set(conf, '{url}', to_jsonb(etl.public_url(conf ->> 'url')))
    else conf end;
  url text[] := case when jsonb_typeof(conf #> '{source,url}') = 'string' then '{source,url}' else '{url}' end;
  -- what is left of a URL that is shown may hold one in its path
  rest jsonb := case when jsonb_typeof(shown #> url) = 'string'
    then jsonb_set(shown, url, to_jsonb(replace(replace(shown #>> url, '***@', ''), '***', ''))) else conf end;
  hidden text[];
begin
  for hidden in select s.at from etl.secrets_of(rest) as s loop
    shown := case when hidden = '{}' then '"***"' else jsonb_set(shown, hidden, '"***"') end;
  end loop;
  return shown;
end $$;

-- The parameters of a run as they may be shown and audited: a default is ours, and holds no secret.
create or replace function etl.shown_params(params jsonb, origins jsonb) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
  select params || etl.without_secrets(coalesce((
    select jsonb_object_agg(p.key, p.value) from jsonb_each(params) as p where origins ->> p.key is distinct from 'default'), '{}'))
$$;

-- A row of configurations, schedules or variables as it may be shown and audited.
create or replace function etl.shown_row(named jsonb) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
  select named
    || case when named ? 'conf' then jsonb_build_object('conf', etl.without_secrets(named -> 'conf')) else '{}' end
    || case when named ? 'value' then jsonb_build_object('value', etl.without_secrets(named -> 'value')) else '{}' end
$$;
