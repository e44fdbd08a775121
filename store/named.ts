import { parseExact } from "../vocabulary/exact_json.ts";
import type { Sql } from "./database.ts";

/** A table of things that people name, save, change and remove. */
export interface NamedTable {
  schema: "etl";
  table: "configurations" | "variables" | "pools";
  /** Primary key. */
  key: string;
  /** Columns that a caller sets. */
  columns: string[];
  /** Those of them that hold JSON. */
  json: string[];
}

export const CONFIGURATIONS: NamedTable = {
  schema: "etl",
  table: "configurations",
  key: "name",
  columns: ["conf", "description"],
  json: ["conf"],
};
export const VARIABLES: NamedTable = {
  schema: "etl",
  table: "variables",
  key: "name",
  columns: ["value"],
  json: ["value"],
};
export const POOLS: NamedTable = {
  schema: "etl",
  table: "pools",
  key: "pool",
  columns: ["slots", "per_server", "description"],
  json: [],
};

/** A row whose numbers JSON.stringify writes with the digits that they have in the database. */
export type NamedRow = Record<string, unknown>;

function rowJson(sql: Sql, { key, columns }: NamedTable) {
  const names = [key, ...columns, "updated_at"];
  return sql`(select etl.shown_row(jsonb_object_agg(j.key, j.value)) from jsonb_each(to_jsonb(t)) as j where j.key = any(${names}))`;
}

/** All rows, by name. */
export async function listNamed(sql: Sql, table: NamedTable): Promise<NamedRow[]> {
  const rows = await sql<{ row: string }[]>`
    select ${rowJson(sql, table)}::text as row from ${sql(table.schema)}.${sql(table.table)} as t
    order by ${sql(table.key)}`;
  return rows.map(({ row }) => parseExact(row) as NamedRow);
}

export async function getNamed(
  sql: Sql,
  table: NamedTable,
  name: string,
): Promise<NamedRow | null> {
  const [found] = await sql<{ row: string }[]>`
    select ${rowJson(sql, table)}::text as row from ${sql(table.schema)}.${sql(table.table)} as t
    where ${sql(table.key)} = ${name}`;
  return found === undefined ? null : parseExact(found.row) as NamedRow;
}

/** Creates or replaces a row and audits who did it; answers whether it is new. */
export async function putNamed(
  sql: Sql,
  table: NamedTable,
  { name, values, actor, onlyNew }: {
    name: string;
    values: NamedRow;
    actor: string;
    onlyNew: boolean;
  },
): Promise<boolean | null> {
  const row = JSON.stringify({ [table.key]: name, ...values });
  const columns = [table.key, ...table.columns];
  const qualified = sql`${sql(table.schema)}.${sql(table.table)}`;
  const [done] = await sql<{ is_new: boolean }[]>`
    with put as (
      insert into ${qualified} as t (${sql(columns)})
      select ${sql(columns)} from jsonb_populate_record(null::${qualified}, ${row}::text::jsonb)
      on conflict (${sql(table.key)}) do update set ${
    table.columns.map((column) => sql`${sql(column)} = excluded.${sql(column)}, `)
  } updated_at = now() where not ${onlyNew}
      returning xmax = 0 as is_new),
    audited as (
      insert into public.etl_improved_audit (event, actor, details)
      select ${`${table.table}_put`}::text, ${actor}::text, etl.shown_row(${row}::text::jsonb) from put returning 1)
    select is_new from put, audited`;
  return done?.is_new ?? null;
}

/** Removes a row and audits who did it; false where there was none. */
export async function deleteNamed(
  sql: Sql,
  table: NamedTable,
  { name, actor }: { name: string; actor: string },
): Promise<boolean> {
  const rows = await sql`
    with gone as (
      delete from ${sql(table.schema)}.${sql(table.table)} where ${
    sql(table.key)
  } = ${name} returning 1)
    insert into public.etl_improved_audit (event, actor, details)
    select ${`${table.table}_delete`}::text, ${actor}::text, jsonb_build_object('name', ${name}::text)
    from gone returning 1`;
  return rows.length > 0;
}
