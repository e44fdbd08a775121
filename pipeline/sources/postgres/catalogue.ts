import {
  type CatalogueRequest,
  numericType,
  type SourceColumn,
  type SourceTable,
} from "../catalogue.ts";
import { readOnly, withSession } from "./session.ts";

interface Row {
  own: string | null;
  schema: string;
  name: string;
  rows: number | null;
  readable: boolean;
  key: string[] | null;
  is_primary: boolean | null;
  columns: { name: string; type: string; base: string; kind: string; modifier: number }[];
}

/**
 * Tables and partitioned tables, without the parts of those, which are read with them. A domain counts as the type below
 * it. A unique key counts where it covers all rows, at once and without nulls.
 */
const TABLES = `
  with recursive bases as (
    select oid as type, typbasetype as base, typtypmod as modifier from pg_type where typtype = 'd'
    union all
    select b.type, t.typbasetype, case when b.modifier = -1 then t.typtypmod else b.modifier end
    from bases as b join pg_type as t on t.oid = b.base where t.typtype = 'd'
  )
  select current_schema() as own, n.nspname as schema, c.relname as name,
    case when c.reltuples >= 0 then c.reltuples::float8 end as rows,
    has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') as readable,
    k.columns as key, k.is_primary,
    coalesce((
      select jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
        'base', t.typname, 'kind', case when t.typcategory = 'A' then 'array' when t.typtype = 'c' then 'row' else 'value' end,
        'modifier', case when a.atttypmod = -1 then coalesce(b.modifier, -1) else a.atttypmod end) order by a.attnum)
      from pg_attribute as a
      left join bases as b on b.type = a.atttypid and not exists (select from pg_type as d where d.oid = b.base and d.typtype = 'd')
      join pg_type as t on t.oid = coalesce(b.base, a.atttypid)
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]') as columns
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  left join lateral (
    select i.indisprimary as is_primary, array(
      select a.attname::text from unnest(i.indkey::int2[]) with ordinality as u (attnum, position)
      join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = u.attnum
      where u.position <= i.indnkeyatts order by u.position) as columns
    from pg_index as i
    where i.indrelid = c.oid and i.indisvalid and i.indisunique and i.indpred is null and i.indexprs is null and i.indimmediate
      and (i.indisprimary or i.indnkeyatts <= 4 and not exists (
        select from unnest(i.indkey::int2[]) with ordinality as u (attnum, position)
        join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = u.attnum
        where u.position <= i.indnkeyatts and not a.attnotnull))
    order by i.indisprimary desc, i.indnkeyatts, i.indexrelid limit 1
  ) as k on true
  where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
    and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'`;

export async function postgresTables(
  { connection, dsn, patterns }: CatalogueRequest,
): Promise<{ own: string | null; tables: SourceTable[] }> {
  const { signal } = new AbortController();
  const rows = await withSession(
    { type: "postgres", connection, table: patterns.join(", ") } as never,
    { connections: { [connection]: dsn }, signal },
    (client) => readOnly(client, async () => (await client.query<Row>(TABLES)).rows),
  );
  return {
    own: rows[0]?.own ?? null,
    tables: rows.map(({ schema, name, rows, readable, key, is_primary, columns }) => ({
      schema,
      name,
      rows,
      readable,
      key,
      primary: is_primary === true,
      columns: columns.map((column): SourceColumn => ({
        name: column.name,
        type: column.type,
        declare: declared(column),
      })),
    })),
  };
}

/** As values.ts reads them; `modifier` as in pg_attribute. */
export function declared(
  { base, kind, modifier }: Pick<Row["columns"][number], "base" | "kind" | "modifier">,
): string {
  if (kind !== "value") return "jsonb";
  switch (base) {
    case "int2":
    case "int4":
    case "int8":
      return "integer";
    case "float4":
    case "float8":
      return "numeric";
    case "numeric": {
      if (modifier === -1) return "numeric";
      // 11 bits, of which one is the sign, since version 15
      const scale = ((modifier - 4) & 0x7ff ^ 1024) - 1024;
      return numericType((modifier - 4) >> 16 & 0xffff, scale);
    }
    case "bool":
      return "boolean";
    case "date":
      return "date";
    case "timestamp":
    case "timestamptz":
      return "timestamptz";
    case "json":
    case "jsonb":
      return "jsonb";
    default:
      return "text";
  }
}
