import type { Sql } from "./database.ts";
import type { TypedColumn, TypedTable } from "./row_layout.ts";

/** What a dataset has declared; null where it has not, or is a table of events. */
export async function declaredTable(sql: Sql, dataset: string): Promise<TypedTable | null> {
  const [row] = await sql<{ declared: TypedTable | null }[]>`
    select declared from etl.datasets where dataset = ${dataset}`;
  return row?.declared ?? null;
}

/**
 * Notes what the first load of a typed table declares, and makes the table. Answers what holds: what an earlier load
 * declared stays. Raises destination-mismatch, invalid-conf, missing-grant.
 */
export async function declareTable(
  sql: Sql,
  runId: string,
  table: TypedTable,
): Promise<TypedTable> {
  const [row] = await sql<{ declared: TypedTable }[]>`
    select etl.declare_dataset(${runId}, ${JSON.stringify(table)}::text::jsonb) as declared`;
  return row!.declared;
}

/** Gives the table of a mirror, of either layout, the column in which it marks rows. Raises missing-grant. */
export async function addMarkColumn(sql: Sql, runId: string): Promise<void> {
  await sql`select etl.add_mark_column(${runId})`;
}

/** Tells the planner what a typed table holds. */
export async function analyzeTable(sql: Sql, dataset: string): Promise<void> {
  await sql`select etl.analyze_dataset(${dataset})`;
}

/**
 * Adds columns to a typed table, and gives columns wider types, by name. Answers what the dataset declares then. Raises
 * not-found, invalid-conf, conflict, missing-grant.
 */
export async function alterTable(
  sql: Sql,
  dataset: string,
  { add, types = {}, actor, runId = null }: {
    add: TypedColumn[];
    types?: Record<string, string>;
    actor: string;
    runId?: string | null;
  },
): Promise<TypedTable> {
  const [row] = await sql<{ declared: TypedTable }[]>`
    select etl.alter_dataset(${dataset}, ${JSON.stringify(add)}::text::jsonb, ${
    JSON.stringify(types)
  }::text::jsonb, ${actor}, ${runId}) as declared`;
  return row!.declared;
}
