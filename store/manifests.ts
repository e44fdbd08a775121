import type { Sql } from "./database.ts";

/**
 * Whether the destination holds a row, and how many PostgreSQL thinks it holds
 * (0 where it was never analysed); nothing where it does not exist.
 */
export async function destinationSize(
  sql: Sql,
  schema: string,
  table: string,
): Promise<{ filled: boolean; rows: number }> {
  const [known] = await sql<{ rows: number }[]>`
    select greatest(c.reltuples, 0)::float8 as rows from pg_class as c
    where c.oid = to_regclass(format('%I.%I', ${schema}::text, ${table}::text))`;
  if (known === undefined) return { filled: false, rows: 0 };
  const [row] = await sql<{ filled: boolean }[]>`
    select exists (select 1 from ${sql(schema)}.${sql(table)}) as filled`;
  return { filled: row!.filled, rows: known.rows };
}

/** Makes the manifest of an attempt and drops those of earlier ones; false where the attempt is the run's no more. */
export async function createManifest(
  sql: Sql,
  run: { run_id: string; attempt: number },
  name: string,
): Promise<boolean> {
  const [row] = await sql<{ current: boolean }[]>`
    select etl.create_manifest(${run.run_id}, ${run.attempt}, ${name}) as current`;
  return row!.current;
}

/** Drops the manifests that this attempt of a run and earlier ones have made. */
export async function dropManifests(
  sql: Sql,
  run: { run_id: string; attempt: number },
): Promise<void> {
  await sql`select etl.drop_manifests(${run.run_id}, ${run.attempt})`;
}

/** Drops the manifests of runs that have ended without dropping them. */
export async function dropLeftoverManifests(sql: Sql): Promise<void> {
  await sql`select etl.drop_leftover_manifests()`;
}
