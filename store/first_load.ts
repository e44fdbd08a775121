import type { Sql } from "./database.ts";
import { type Client, quoteTable } from "./pg.ts";

/** A dataset's table. */
export interface Destination {
  schema_name: string;
  table_name: string;
}

/**
 * Takes the indexes off the empty table of an attempt that is about to fill it; `endFirstLoad` makes them.
 * False where the table keeps them: sql/datasets/first_load.sql says when.
 */
export async function beginFirstLoad(
  sql: Sql,
  run: { run_id: string; attempt: number },
): Promise<boolean> {
  const [row] = await sql<{ began: boolean }[]>`
    select etl.begin_first_load(${run.run_id}, ${run.attempt}) as began`;
  return row!.began;
}

/** Makes the indexes that a first load has left out, if there is one. Takes a second for a million rows. */
export async function endFirstLoad(
  sql: Sql,
  { schema_name, table_name }: Destination,
): Promise<void> {
  await sql`
    select etl.end_first_load(to_regclass(format('%I.%I', ${schema_name}::text, ${table_name}::text)))`;
}

/** The same over a worker's connection. */
export async function endOthersFirstLoad(
  client: Client,
  { schema_name, table_name }: Destination,
): Promise<void> {
  await client.query("select etl.end_first_load(to_regclass($1))", [
    quoteTable(schema_name, table_name),
  ]);
}

/** Makes the indexes that first loads of runs which have ended have left out. */
export async function endLeftoverFirstLoads(sql: Sql): Promise<void> {
  await sql`select etl.end_leftover_first_loads()`;
}
