import type { Sql } from "./database.ts";

export interface RunLogLine {
  line_no: number;
  logged_at: string;
  level: string;
  message: string;
  fields: Record<string, unknown>;
}

/** Adds lines to the logs of runs and drops those beyond each run's tail. */
export async function appendLogs(sql: Sql, lines: unknown[]): Promise<void> {
  await sql`select etl.append_logs(${JSON.stringify(lines)}::text::jsonb)`;
}

/** Lines of a run's log in order, a page. */
export async function runLogs(
  sql: Sql,
  runId: string,
  { after, limit }: { after: number; limit: number },
): Promise<RunLogLine[]> {
  return await sql<RunLogLine[]>`
    select line_no, etl.iso(logged_at) as logged_at, level, message, fields
    from etl.run_logs where run_id = ${runId} and line_no > ${after} order by line_no limit ${limit}`;
}
