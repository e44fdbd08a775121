import type { Sql } from "./database.ts";

/** A table that was taken over from the original, whose rows' fingerprints are not all known yet. */
export interface TakenOver {
  dataset: string;
  schema_name: string;
  table_name: string;
  /** Blocks of the table: the next to look at, and how many there are. */
  next: number;
  blocks: number;
}

/** Tables with rows whose fingerprints are not known yet, by name. */
export async function takenOverTables(sql: Sql): Promise<TakenOver[]> {
  return await sql<TakenOver[]>`
    select d.dataset, d.schema_name, d.table_name, d.fingerprints_from::float8 as next,
      ceil(pg_relation_size(c.oid) / current_setting('block_size')::float8) as blocks
    from etl.datasets as d join pg_class as c on c.oid = to_regclass(format('%I.%I', d.schema_name, d.table_name))
    where d.fingerprints_from is not null order by d.dataset`;
}

/** What the fingerprint of a row is made from; times in UTC with microseconds, numbers as text. */
export interface TakenOverRow {
  event_id: string;
  event_type: string;
  occurred_at: string | null;
  source: string;
  version: string | null;
  payload: string;
}

/**
 * Fills the fingerprints, days and hours of the rows in some blocks; answers how many. `compute` answers the fingerprint in
 * hex, null where there can be none. Rows that a load has in hand are left to it.
 */
export async function fillFingerprints(
  sql: Sql,
  { dataset, schema_name: schema, table_name: table, next }: TakenOver,
  { blocks, compute }: { blocks: number; compute: (row: TakenOverRow) => string | null },
): Promise<number> {
  const qualified = sql`${sql(schema)}.${sql(table)}`;
  const rows = await sql<TakenOverRow[]>`
    select event_id, event_type, to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as occurred_at,
      source, version::text, payload::text as payload
    from only ${qualified}
    where ctid >= ${`(${next},0)`}::text::tid and ctid < ${`(${next + blocks},0)`}::text::tid
      and (fingerprint is null or fingerprint = '')`;
  const known = rows.flatMap((row) => {
    const fingerprint = compute(row);
    return fingerprint === null ? [] : [{ id: row.event_id, fingerprint }];
  });
  const ids = known.map(({ id }) => id);
  if (ids.length > 0) {
    // what changed meanwhile has a fingerprint of its own; what is locked is not waited for
    await sql`
      with mine as (
        select event_id from only ${qualified} where event_id = any(${ids}::text[]) and (fingerprint is null or fingerprint = '')
        for no key update skip locked)
      update only ${qualified} as t set fingerprint = decode(f.fingerprint, 'hex'),
        event_date = (t.occurred_at at time zone 'UTC')::date, event_hour = extract(hour from t.occurred_at at time zone 'UTC')
      from unnest(${ids}::text[], ${
      known.map(({ fingerprint }) => fingerprint)
    }::text[]) as f (event_id, fingerprint)
      where t.event_id = f.event_id and t.event_id in (select m.event_id from mine as m)`;
  }
  await sql`update etl.datasets set fingerprints_from = ${
    next + blocks
  } where dataset = ${dataset}`;
  return known.length;
}

/** Notes that all fingerprints of a table are known. */
export async function endFingerprints(sql: Sql, dataset: string): Promise<void> {
  await sql`update etl.datasets set fingerprints_from = null where dataset = ${dataset}`;
}
