import type { Sql } from "./database.ts";

/** The stored position of an incremental source, if it has one. */
export async function cursorPosition(
  sql: Sql,
  sourceName: string,
  dataset: string,
): Promise<string | null> {
  const [row] = await sql<{ position: string }[]>`
    select position from etl.cursors where source_name = ${sourceName} and dataset = ${dataset}`;
  return row?.position ?? null;
}
