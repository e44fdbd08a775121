import { createHash } from "node:crypto";
import { suiteRows } from "../pipeline/expectations/expectations.ts";
import { maintenanceJsonSchema } from "../pipeline/maintenance/params.ts";
import { confJsonSchema } from "../pipeline/params.ts";
import { setupMark } from "../store/schema_version.ts";
import { checkRights, FUNCTIONS, TABLES } from "./rights.ts";

const root = new URL("../", import.meta.url);

export interface SetupSqlOptions {
  /** Directory of the numbered migrations; default sql/migrations. */
  migrationsDir?: URL;
}

/**
 * The parts of sql/etl_setup.sql in their order, below sql/. Tables come before functions, as a function in SQL, a view
 * or an index needs what it names; PL/pgSQL looks when it runs.
 */
const PARTS = {
  beforeMigrations: ["setup/original_tables", "setup/set_aside", "setup/migrations"],
  tables: [
    "datasets/destination_tables",
    "setup/take_over",
    "conf/tables",
    "runs/tables",
    "datasets/tables",
    "schedules/tables",
    "queue/tables",
    "reactions/tables",
    "metrics/tables",
    "access/tables",
    "maintenance/tables",
  ],
  functions: [
    "shared/basics",
    "conf/schema_errors",
    "conf/secrets",
    "conf/resolve",
    "datasets/typed_values",
    "datasets/typed_views",
    "datasets/profile",
    "datasets/destination",
    "datasets/own_tables",
    "datasets/typed_tables",
    "datasets/first_load",
    "datasets/distributed",
    "runs/order",
    "datasets/private_fields",
    "datasets/history",
    "runs/ways_to_write",
    "runs/request",
    "runs/admit",
    "runs/attempt",
    "runs/share",
    "runs/finish",
    "runs/cancel_retry",
    "runs/replay",
    "runs/search",
    "runs/purge",
    "schedules/slots",
    "schedules/tick",
    "queue/work",
    "reactions/alerts",
    "reactions/run_ends",
    "reactions/deadlines",
    "reactions/deliveries",
    "metrics/totals",
    "metrics/views",
    "maintenance/maintenance",
    "access/grants",
  ],
  last: ["setup/closing"],
};

/** Texts that are no part of the set-up. */
const OTHER_FOLDERS = ["cron", "migrations", "restore"];

/** Throws when a file of sql/ is in no list, so that it would never run. */
function checkParts(): void {
  const listed = new Set(Object.values(PARTS).flat());
  for (const folder of Deno.readDirSync(new URL("sql", root))) {
    if (!folder.isDirectory || OTHER_FOLDERS.includes(folder.name)) continue;
    for (const { name } of Deno.readDirSync(new URL(`sql/${folder.name}`, root))) {
      const part = `${folder.name}/${name.replace(/\.sql$/, "")}`;
      if (!listed.has(part)) throw new Error(`scripts/setup_sql.ts: list ${part} in PARTS`);
    }
  }
}

const read = (part: string) => Deno.readTextFileSync(new URL(`sql/${part}.sql`, root));

function section(part: string): string {
  return `-- sql/${part}.sql\n${read(part).trim()}\n`;
}

/** A text as a SQL literal; standard_conforming_strings is on in every supported server. */
function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

const BEGINNING = `set client_min_messages = warning;
-- whoever may create in public or in a schema of his own name must not lend his functions and operators to this
select set_config('etl.search_path', current_setting('search_path'), false), set_config('search_path', 'pg_catalog, pg_temp', false);
select pg_advisory_lock(hashtextextended('etl setup', 0));
-- All objects have one owner, that of schema etl, whoever sets up: functions that run as their owner must not be a superuser's.
do $etl_owner$
declare
  owner name := (select pg_get_userbyid(n.nspowner) from pg_namespace as n where n.nspname = 'etl');
  foreign_objects text;
  each record;
begin
  if owner is null then return; end if;
  for each in
    select format('alter table %s owner to %I', c.oid::regclass, owner) as statement, c.relowner as holder
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm') and (n.nspname = 'etl' or n.nspname = 'public' and c.relname in ('etl_improved_events',
      'etl_improved_audit', 'etl_improved_metrics', 'etl_improved_alerts', 'v_etl_latest_metrics', 'v_etl_recent_alerts',
      'mv_etl_metrics_daily', 'mv_etl_alerts_daily')) and pg_get_userbyid(c.relowner) <> owner
    union all
    select format('alter routine %s owner to %I', p.oid::regprocedure, owner), p.proowner
    from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
    where (n.nspname = 'etl' or p.oid = to_regprocedure('public.refresh_etl_mvs()')) and pg_get_userbyid(p.proowner) <> owner
  loop
    if pg_has_role(each.holder, 'member') and pg_has_role(owner, 'member') then
      execute each.statement;
    else
      foreign_objects := concat_ws('; ', foreign_objects, each.statement);
    end if;
  end loop;
  if foreign_objects is not null then
    raise exception using errcode = '42501', message =
      format('Everything of the program has to belong to %I, the owner of schema etl. As a superuser, then set up again: %s', owner, foreign_objects);
  end if;
  -- version 0.1.0 had servers' roles make schemas of their own for destinations
  if to_regclass('etl.server_roles') is not null then
    for each in
      select n.nspname, r.rolname from etl.server_roles as s join pg_roles as r on r.rolname = s.role_name
      join pg_namespace as n on n.nspowner = r.oid
      where r.rolname <> owner and pg_has_role(r.oid, 'member') and pg_has_role(owner, 'member') and exists (
        select from etl.datasets as d join pg_class as c on c.relname = d.table_name and c.relnamespace = n.oid
        where d.schema_name = n.nspname and pg_get_userbyid(c.relowner) = owner)
    loop
      execute format('alter schema %I owner to %I', each.nspname, owner);
      execute format('grant usage, create on schema %I to %I', each.nspname, each.rolname);
    end loop;
  end if;
  if owner <> current_user and pg_has_role(owner, 'member') then
    perform set_config('role', owner, false);
  end if;
end $etl_owner$;
`;
const END =
  `-- in one transaction the second lock lasts until its end, when others can see what was made
select pg_advisory_xact_lock(hashtextextended('etl setup', 0)), pg_advisory_unlock(hashtextextended('etl setup', 0));
reset role;
select set_config('search_path', current_setting('etl.search_path'), false);
reset client_min_messages;
`;
const GENERATED =
  "-- Generated by scripts/build_sql.ts: edit the parts that it names, then run `deno task build-sql`.\n";

/** sql/etl_setup.sql: everything, from whatever there is. */
export async function setupSql(options: SetupSqlOptions = {}): Promise<string> {
  checkParts();
  const migrations = readMigrations(options.migrationsDir ?? new URL("sql/migrations/", root));
  const names = migrations.map(({ name }) => name);
  checkRights(
    Object.values(PARTS).flat().map(read),
    ["etl.rights", "public.etl_improved_events"],
  );
  const body = [
    `-- Everything that etl-improved needs in its database. Idempotent; safe when two run at once.
-- Run it with psql -f or as one statement of any driver, in a transaction or not.
${GENERATED}${BEGINNING}`,
    ...PARTS.beforeMigrations.map(section),
    migrationCalls(migrations),
    ...[...PARTS.tables, ...PARTS.functions].map(section),
    rights(),
    ...PARTS.last.map(section),
    parameters(),
    await suites(),
  ].join("\n");
  const checksum = sha256(body);
  return `${body}
insert into etl.setups (checksum) values ('${checksum}')
on conflict (checksum) do update set applied_at = clock_timestamp(), applied_by = session_user;

${END}${setupMark({ checksum, migrations: names })}`;
}

/** sql/etl_migration.sql: only what is done to the tables of the system that this project replaces. */
export function migrationSql(): string {
  return [
    `-- Makes the tables of the Airflow system etl_improved into those of this project, without losing a row.
-- etl_setup.sql does the same by itself; run this before or after it, as often as you like.
${GENERATED}${BEGINNING}`,
    section("setup/original_tables"),
    section("setup/set_aside"),
    section("datasets/destination_tables"),
    section("setup/take_over"),
    `do $$ begin
  if to_regprocedure('public.refresh_etl_mvs()') is not null then
    perform public.refresh_etl_mvs();
  end if;
end $$;
-- etl_setup.sql makes views that are gone; who could read them is not known then
do $$
declare
  lost text;
begin
  select string_agg(distinct format('grant select on public.%I to %s', g.view_name, g.grantee), '; ') into lost
  from pg_temp.etl_view_grants as g where to_regclass('public.' || quote_ident(g.view_name)) is null;
  drop table pg_temp.etl_view_grants;
  if lost is not null then
    raise warning 'Run etl_setup.sql, which creates the views again, then grant them again: %', lost;
  end if;
end $$;
`,
    END,
  ].join("\n");
}

interface Migration {
  name: string;
  text: string;
}

function readMigrations(dir: URL): Migration[] {
  const migrations = [...Deno.readDirSync(dir)]
    .filter(({ name }) => name.endsWith(".sql"))
    .map(({ name }) => ({
      name: name.replace(/\.sql$/, ""),
      text: Deno.readTextFileSync(new URL(name, dir)),
    }))
    .sort((a, b) => a.name < b.name ? -1 : 1);
  migrations.forEach(({ name }, index) => {
    const number = name.slice(0, 4);
    if (!/^\d{4}_[a-z0-9_]+$/.test(name) || number === migrations[index - 1]?.name.slice(0, 4)) {
      throw new Error(
        `sql/migrations: ${name} must be named NNNN_what_it_does.sql, with a number of its own`,
      );
    }
  });
  return migrations;
}

/** A statement each: psql commits one before it begins the next. */
function migrationCalls(migrations: Migration[]): string {
  const names = migrations.map(({ name }) => literal(name)).join(", ");
  return [
    `-- sql/migrations\ndo $$ begin perform etl.require_known_migrations(array[${names}]); end $$;`,
    ...migrations.map(({ name, text }) => {
      const quote = "$etl_migration$";
      if (text.includes(quote)) throw new Error(`sql/migrations: ${name} must not use ${quote}`);
      return `do $etl_apply$ begin perform etl.apply_migration('${name}', '${
        sha256(text)
      }', ${quote}\n${text.trim()}\n${quote}); end $etl_apply$;`;
    }),
    "",
  ].join("\n");
}

/** What etl.apply_rights grants. */
function rights(): string {
  const rows = Object.entries({ table: TABLES, function: FUNCTIONS }).flatMap(([kind, all]) =>
    Object.entries(all).flatMap(([name, of]) =>
      Object.entries(of).map(([role, privileges]) =>
        `    (${[kind, name, role, privileges].map(literal).join(", ")})`
      )
    )
  );
  return `-- scripts/rights.ts
create or replace function etl.rights() returns table (kind text, name text, role text, privileges text)
language sql immutable set search_path = pg_catalog, pg_temp as $$
  values
${rows.join(",\n")}
$$;
comment on function etl.rights() is 'what each kind of role may do with the program''s tables and functions';
`;
}

function parameters(): string {
  const params = literal(JSON.stringify(confJsonSchema()));
  const maintenance = literal(JSON.stringify(maintenanceJsonSchema()));
  return `-- pipeline/params.ts, pipeline/maintenance/params.ts
insert into etl.param_schema (schema, maintenance) values (${params}, ${maintenance})
on conflict (singleton) do update set schema = excluded.schema, maintenance = excluded.maintenance;
`;
}

async function suites(): Promise<string> {
  const rows = (await suiteRows(new URL("suites", root).pathname)).map((
    { name, suite, row_wise },
  ) => `  (${literal(name)}, ${literal(suite)}, ${row_wise}, 'file')`);
  return `-- suites
insert into etl.suites as s (name, suite, row_wise, origin) values
${rows.join(",\n")}
on conflict (name) do update set suite = excluded.suite, row_wise = excluded.row_wise
where s.origin = 'file' and s.suite <> excluded.suite;
`;
}
