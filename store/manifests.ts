import type { Sql } from "./database.ts";

/** Whether the destination holds a row; false where it does not exist. */
export async function destinationHasRows(
  sql: Sql,
  schema: string,
  table: string,
): Promise<boolean> {
  const [known] = await sql<{ exists: boolean }[]>`
    select to_regclass(format('%I.%I', ${schema}::text, ${table}::text)) is not null as exists`;
  if (!known!.exists) return false;
  const [row] = await sql<{ filled: boolean }[]>`
    select exists (select from ${sql(schema)}.${sql(table)}) as filled`;
  return row!.filled;
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
