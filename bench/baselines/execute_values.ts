import { ROW_COLUMNS } from "../../store/row_layout.ts";
import { runClient } from "./client_program.ts";

const SCRIPT = new URL("./execute_values.py", import.meta.url).pathname;

/**
 * Loads the first `rows` finished rows with psycopg2's execute_values, 1,000 a
 * page, with ON CONFLICT. Answers the seconds, without reading the file.
 */
export async function executeValues(
  dsn: string,
  { table, rowsPath, rows }: { table: string; rowsPath: string; rows: number },
): Promise<number> {
  const args = [SCRIPT, table, ROW_COLUMNS.join(","), rowsPath, String(rows)];
  const printed = await runClient("/usr/bin/python3", args, {
    dsn,
    hint: "Debian: apt-get install python3-psycopg2",
  });
  return Number(printed);
}
