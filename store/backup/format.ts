import { z } from "zod";
import { quoteIdent, quoteTable } from "../pg.ts";

/**
 * The text of a backup, which psql can run as it is:
 *
 *     -- etl-improved backup, format 1
 *     -- {the manifest}
 *     …                                what has to be done before, in SQL
 *     -- etl-improved data
 *     copy "etl"."pools" (…) from stdin;
 *     …
 *     \.
 *     …                                the other tables, in the manifest's order
 *     -- etl-improved end of data
 *     …                                what has to be done after
 *     -- etl-improved backup ends: {tables, rows, bytes, sha256 of all before this line}
 */
export const FIRST_LINE = "-- etl-improved backup, format 1\n";
export const DATA_MARK = "\n-- etl-improved data\n";
export const END_OF_TABLE = "\\.\n";
export const END_MARK = "-- etl-improved backup ends: ";

const trailerSchema = z.object({
  tables: z.number(),
  rows: z.number(),
  bytes: z.number(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type Trailer = z.infer<typeof trailerSchema>;

/** A text as a SQL literal, whatever standard_conforming_strings says: several statements are parsed before the first is run. */
function literal(text: string): string {
  return `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}

/** `copy "a"."b" ("c", "d")`, the beginning of both directions. */
export function copyColumns({ schema_name, table_name, columns }: BackedUpTable): string {
  return `copy ${quoteTable(schema_name, table_name)} (${
    columns.map(({ name }) => quoteIdent(name)).join(", ")
  })`;
}

/** The line that begins a table's rows. */
export function copyLine(table: BackedUpTable): string {
  return `${copyColumns(table)} from stdin;\n`;
}

export function manifestLine(manifest: Manifest): string {
  return `-- ${JSON.stringify(manifest)}\n`;
}

/** What a session needs so that COPY text means the same wherever it is read; for one transaction. */
export const SESSION = `set local standard_conforming_strings = on;
set local datestyle = 'ISO';
set local intervalstyle = 'postgres';
set local timezone = 'UTC';
set local extra_float_digits = 1;
set local bytea_output = 'hex';
`;

/**
 * Begins a restore in a transaction. The trigger holds the commit back until
 * the last statement of the backup has been run, so that half a file, which
 * psql would take for the whole, changes nothing.
 */
export function openingSql(manifest: Manifest, checks: string): string {
  return `${SESSION}set local lock_timeout = '60s';
do $$ begin
  perform set_config(s.name, '0', true) from pg_catalog.pg_settings as s
  where s.name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout');
end $$;
create temp table etl_restore (manifest jsonb not null, complete boolean not null default false) on commit drop;
create or replace function pg_temp.etl_restore_is_complete() returns trigger language plpgsql as $$
begin
  if not (select r.complete from pg_temp.etl_restore as r) then
    raise exception 'The backup is truncated: nothing was restored.';
  end if;
  return null;
end $$;
create constraint trigger etl_restore_is_complete after insert on pg_temp.etl_restore
  deferrable initially deferred for each row execute function pg_temp.etl_restore_is_complete();
insert into pg_temp.etl_restore (manifest) values (${literal(JSON.stringify(manifest))});
${checks}`;
}

/**
 * What only psql needs: a transaction, also without --single-transaction, and
 * the set-up where there is none. Both are silent where they have been done.
 */
export function psqlOpening(setupSql: string): string {
  const quoted = "$etl_setup$";
  if (setupSql.includes(quoted)) throw new Error(`the set-up must not contain ${quoted}`);
  return `-- Restore it with: deno task restore FILE
-- or, also into an empty database: zcat FILE | psql -X -v ON_ERROR_STOP=1 --single-transaction "$KPIS_PG_DSN"
set client_encoding = 'UTF8';
set client_min_messages = error;
begin;
do $etl_restore$
begin
  if to_regclass('etl.runs') is null then
    execute ${quoted}
${setupSql}${quoted};
  end if;
end $etl_restore$;
set client_min_messages = error;
`;
}

export const PSQL_CLOSING = "commit;\n";

export function trailerLine(trailer: Trailer): string {
  return `${END_MARK}${JSON.stringify(trailer)}\n`;
}

/** The trailer in the last line of a backup, if it is one. */
export function parseTrailer(line: string): Trailer | null {
  if (!line.startsWith(END_MARK) || !line.endsWith("\n")) return null;
  try {
    return trailerSchema.parse(JSON.parse(line.slice(END_MARK.length)));
  } catch {
    return null;
  }
}

const column = z.object({
  name: z.string(),
  /** As format_type() writes it, e.g. `numeric(10,2)`. */
  type: z.string(),
});

const table = z.object({
  schema_name: z.string(),
  table_name: z.string(),
  /** etl: of schema etl; destination: events; reported: audit, metrics, alerts. */
  kind: z.enum(["etl", "destination", "reported"]),
  columns: z.array(column),
  /** The column whose values are given out by a sequence, and the last one that was, as far as the role may see it. */
  identity: z.object({ column: z.string(), last_value: z.number().nullable() }).nullable(),
});

/** The head of a backup: what it holds, and what has to be there before it is restored. */
export const manifestSchema = z.object({
  format: z.literal(1),
  taken_at: z.string(),
  database: z.string(),
  /** etl.database_identity() there; version 0.1.0 did not note it. */
  database_identity: z.string().nullish(),
  server_version: z.string(),
  /** Arguments of etl.ensure_destination. */
  destinations: z.array(z.object({
    schema_name: z.string(),
    table_name: z.string(),
    audit_table_name: z.string(),
    /** What a typed table is made from. */
    declared: z.record(z.string(), z.unknown()).nullish(),
  })),
  tables: z.array(table),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type BackedUpTable = z.infer<typeof table>;

/** The SQL around the data of a backup, from sql/restore. */
export interface RestoreSql {
  opening: string;
  closing: string;
}

export async function readRestoreSql(): Promise<RestoreSql> {
  const read = (name: string) =>
    Deno.readTextFile(new URL(`../../sql/restore/${name}.sql`, import.meta.url));
  return { opening: await read("opening"), closing: await read("closing") };
}

export async function readSetupSql(): Promise<string> {
  return await Deno.readTextFile(new URL("../../sql/etl_setup.sql", import.meta.url));
}
