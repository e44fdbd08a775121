import type { Sql } from "./database.ts";
import type { Client } from "./pg.ts";

/** What an installation's database says of itself, for deno task doctor. */
export interface ServerFacts {
  version: number;
  versionText: string;
  encrypted: boolean;
  role: string;
  superuser: boolean;
  maxConnections: number;
  usedConnections: number;
  /** Settings that cost committed data, or speed over time, where they are off. */
  off: string[];
  /** Milliseconds by which the server's clock is ahead. */
  clockAheadMs: number;
  /** Whether another backend answers than the one that was connected to: a pooler is between. */
  pooled: boolean;
}

/** `now` gives milliseconds since 1970. */
export async function serverFacts(client: Client, now: () => number): Promise<ServerFacts> {
  const sentAt = now();
  const { rows: [clock] } = await client.query<{ now: string; pid: number }>(
    "select extract(epoch from clock_timestamp()) * 1000 as now, pg_backend_pid() as pid",
  );
  const between = (sentAt + now()) / 2;
  const { rows: [row] } = await client.query(`
    select current_setting('server_version_num')::int as version, current_setting('server_version') as text,
      coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as encrypted,
      current_user as role, (select rolsuper from pg_roles where rolname = current_user) as superuser,
      current_setting('max_connections')::int as max_connections,
      (select count(*)::int from pg_stat_activity where backend_type = 'client backend') as used,
      array(select name::text from pg_settings where name in ('fsync', 'full_page_writes', 'autovacuum') and setting = 'off') as off`);
  const { processID } = client as unknown as { processID?: number };
  return {
    version: row.version,
    versionText: row.text,
    encrypted: row.encrypted,
    role: row.role,
    superuser: row.superuser,
    maxConnections: row.max_connections,
    usedConnections: row.used,
    off: row.off,
    clockAheadMs: Number(clock!.now) - between,
    pooled: processID !== undefined && processID !== clock!.pid,
  };
}

/** What tells this database from every other, a copy of it among them; the same for its whole life. */
export async function databaseIdentity(sql: Sql): Promise<string> {
  const [row] = await sql<{ identity: string }[]>`select etl.database_identity() as identity`;
  return row!.identity;
}

/** Relations of `names` ("schema.name") that are missing. */
export async function missingOf(client: Client, names: string[]): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "select name from unnest($1::text[]) as n (name) where to_regclass(name) is null order by name",
    [names],
  );
  return rows.map((row) => row.name);
}

/** The texts of the functions in schema etl, by name; a name may have several. */
export async function functionTexts(client: Client): Promise<Map<string, string[]>> {
  const { rows } = await client.query<{ name: string; texts: string[] }>(
    `select n.nspname || '.' || p.proname as name, array_agg(p.prosrc) as texts
    from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace where n.nspname = 'etl' group by 1`,
  );
  return new Map(rows.map((row) => [row.name, row.texts]));
}

/**
 * In words, what the role lacks to run the server, e.g. "insert on etl.runs"; what it needs is
 * what etl.rights() and etl.grant_destination grant.
 */
export async function missingGrants(client: Client): Promise<string[]> {
  const { rows: [known] } = await client.query<{ ok: boolean }>(
    "select has_schema_privilege('etl', 'usage') as ok",
  );
  if (!known!.ok) return ["usage on schema etl"];
  const { rows: [list] } = await client.query<{ ok: boolean }>(
    "select has_function_privilege('etl.rights()', 'execute') as ok",
  );
  if (!list!.ok) return ["everything that `setup-db --role` grants"];
  const { rows } = await client.query<{ lacks: string }>(`
    with needed as (
      -- "select, update (a, b)" is select on the table, update on each of the columns
      select case when has_schema_privilege(split_part(g.name, '.', 1), 'usage') then to_regclass(g.name) end as relation, p[1] as privilege, trim(c.name) as "column"
      from etl.rights() as g, regexp_matches(g.privileges, '([a-z]+)(?: \\(([^)]*)\\))?', 'g') as p,
        unnest(coalesce(string_to_array(p[2], ','), array[null])) as c (name)
      where g.kind = 'table' and g.role = 'server'
      union
      select etl.find_table(d.schema_name, t.name), p.privilege, null
      from (select * from etl.datasets as o where (o.declared -> 'own') is distinct from 'true') as d, lateral (values (d.table_name, array['select', 'insert', 'update', 'delete']),
        ('etl_improved_metrics', array['select', 'insert', 'update', 'delete']),
        ('etl_improved_audit', array['select', 'insert'])) as t (name, privileges), unnest(t.privileges) as p (privilege)
    )
    select lacks from (
      select 'usage on schema ' || nspname as lacks from pg_namespace
      where (nspname = 'public' or nspname in (select schema_name from etl.datasets where (declared -> 'own') is distinct from 'true')) and not has_schema_privilege(oid, 'usage')
      union
      select 'temporary on database ' || current_database()
      where not has_database_privilege(current_database(), 'temporary')
      union
      select n.privilege || coalesce(' (' || n."column" || ')', '') || ' on ' || s.nspname || '.' || c.relname
      from needed as n join pg_class as c on c.oid = n.relation join pg_namespace as s on s.oid = c.relnamespace
      where has_schema_privilege(s.oid, 'usage') and not case when n."column" is null then has_table_privilege(c.oid, n.privilege)
        else has_column_privilege(c.oid, n."column", n.privilege) end
      union
      select 'execute on function ' || n.nspname || '.' || p.proname
      from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
      join etl.rights() as g on g.kind = 'function' and g.name = n.nspname || '.' || p.proname and g.role = 'server'
      where not has_function_privilege(p.oid, 'execute')
    ) as all_of_them order by lacks`);
  return rows.map((row) => row.lacks);
}

/** The statements for owners of tables of the user's own that runs load into, for what the role lacks. */
export async function missingOwnGrants(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ statements: string }>(
    `select g.statements from etl.datasets as d
    cross join lateral (select etl.own_table_grants(etl.find_table(d.schema_name, d.table_name), current_user::text,
      exists (select from etl.runs as r where r.schema_name = d.schema_name and r.table_name = d.table_name and etl.deletes_rows(r.params)))
      as statements) as g
    where (d.declared -> 'own')::boolean and g.statements is not null order by d.dataset`,
  );
  return rows.map(({ statements }) => statements);
}

/** Whether a notification of one connection reaches another. */
export async function notifies(
  listener: Client,
  notifier: Client,
  timeoutMs: number,
): Promise<boolean> {
  const heard = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => heard.resolve(false), timeoutMs);
  const listen = (message: { channel: string }) => {
    if (message.channel === "etl_doctor") heard.resolve(true);
  };
  listener.on("notification", listen);
  try {
    await listener.query("listen etl_doctor");
    // in between others may use the backend, as a pooler would have it
    await notifier.query("select pg_notify('etl_doctor', '')");
    return await heard.promise;
  } finally {
    clearTimeout(timer);
    listener.off("notification", listen);
    await listener.query("unlisten etl_doctor").catch(() => {});
  }
}

/** Confs in which an earlier version has stored secrets, by their fields. */
export async function storedSecrets(
  client: Client,
): Promise<{ kind: string; name: string; fields: string[] }[]> {
  const { rows } = await client.query<{ kind: string; name: string; fields: string[] }>(
    "select kind, name, fields from etl.stored_secrets() order by kind, name",
  );
  return rows;
}

/** A table of the Airflow system that this program replaces. */
export interface OriginalTable {
  /** "schema.table" */
  name: string;
  kind: "events" | "audit" | "metrics" | "alerts";
  /** As the statistics have it, else counted. */
  rows: number;
  /** Why it cannot be taken over; null where it can. */
  differences: string | null;
  /** Statements that drop what depends on the table and would be lost; null where nothing does. */
  dependents: string | null;
}

/** What a set-up would take over; `text` is sql/setup/original_tables.sql. */
export async function originalTables(client: Client, text: string): Promise<OriginalTable[]> {
  await client.query("begin");
  try {
    await client.query("set local search_path = pg_catalog, pg_temp");
    await client.query(text);
    const { rows } = await client.query<OriginalTable & { estimate: number; relation: string }>(
      `select format('%I.%I', t.schema_name, t.table_name) as name, t.kind, t.differences, t.dependents, t.relation::text as relation,
        (select c.reltuples::float8 from pg_class as c where c.oid = t.relation) as estimate
      from pg_temp.original_tables() as t`,
    );
    const all: OriginalTable[] = [];
    for (const { name, kind, differences, dependents, estimate, relation } of rows) {
      let count = Math.round(estimate);
      // never analyzed
      if (estimate < 0) {
        const counted = await client.query<{ n: number }>(
          `select count(*)::float8 as n from only ${relation}`,
        );
        count = counted.rows[0]!.n;
      }
      all.push({ name, kind, differences, dependents, rows: count });
    }
    return all;
  } finally {
    await client.query("rollback");
  }
}
