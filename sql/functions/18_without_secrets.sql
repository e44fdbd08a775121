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

-- A conf, parameters or a source as they may be shown and audited: the URL of an http source without its secrets.
create or replace function etl.without_secrets(conf jsonb) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
  select case
    when jsonb_typeof(conf #> '{source,url}') = 'string'
      then jsonb_set(conf, '{source,url}', to_jsonb(etl.public_url(conf #>> '{source,url}')))
    when jsonb_typeof(conf) = 'object' and jsonb_typeof(conf -> 'url') = 'string'
      then jsonb_set(conf, '{url}', to_jsonb(etl.public_url(conf ->> 'url')))
    else conf end
$$;

-- A row of configurations, schedules or variables as it may be shown and audited.
create or replace function etl.shown_row(named jsonb) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, etl, pg_temp as $$
  select named
    || case when named ? 'conf' then jsonb_build_object('conf', etl.without_secrets(named -> 'conf')) else '{}' end
    || case when named ? 'value' then jsonb_build_object('value', etl.without_secrets(named -> 'value')) else '{}' end
$$;
