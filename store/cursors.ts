import type { Sql } from "./database.ts";

/** The stored position of an incremental source, if it has one. */
export async function cursorPosition(
  sql: Sql,
  sourceName: string,
  dataset: string,
): Promise<{ position: string; snapshot: string | null } | null> {
  const [row] = await sql<{ position: string; snapshot: string | null }[]>`
    select position, snapshot from etl.cursors where source_name = ${sourceName} and dataset = ${dataset}`;
  return row ?? null;
}
