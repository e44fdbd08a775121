import type { Sql } from "./database.ts";
import type { QuarantineRow } from "./quarantine.ts";

export interface QuarantineView
  extends Pick<QuarantineRow, "position" | "output" | "rule" | "message" | "field" | "raw"> {
  chunk_no: number;
  /** Where the record stands, line from 1 as an editor counts; null where there is none. */
  file: string | null;
  line: number | null;
  /** The bytes of `raw` in base64, where text cannot hold them. */
  raw_base64: string | null;
  replayed_by: string | null;
}

/** Quarantined records of a run in source order, a page. */
export async function listQuarantine(
  sql: Sql,
  runId: string,
  { after, limit, rule }: { after: [number, number, number]; limit: number; rule?: string },
): Promise<QuarantineView[]> {
  return await sql<QuarantineView[]>`
    select chunk_no, position, output, rule, message, field, raw, file, line::float8 as line,
      translate(encode(raw_bytes, 'base64'), E'\\n', '') as raw_base64, replayed_by
    from etl.quarantine
    where run_id = ${runId} and (chunk_no, position, output) > (${after[0]}, ${after[1]}, ${
    after[2]
  })
      ${rule === undefined ? sql`` : sql`and rule = ${rule}`}
    order by chunk_no, position, output limit ${limit}`;
}

/** How many records each rule has put there. */
export async function quarantineRules(
  sql: Sql,
  runId: string,
): Promise<{ rule: string; count: number }[]> {
  return await sql<{ rule: string; count: number }[]>`
    select rule, count(*)::integer as count from etl.quarantine where run_id = ${runId}
    group by rule order by count(*) desc, rule`;
}

/** The raw records to replay, one line each, a record once whatever number of its outputs failed. */
export async function* quarantinedLines(
  sql: Sql,
  runId: string,
  rule: string | undefined,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let after: [number, number] = [-1, -1];
  for (;;) {
    const rows = await sql<{ chunk_no: number; position: number; raw: string }[]>`
      select chunk_no, position, min(coalesce(record, raw)) as raw from etl.quarantine
      where run_id = ${runId} and replayed_by is null
        and (chunk_no, position) > (${after[0]}, ${after[1]})
        ${rule === undefined ? sql`` : sql`and rule = ${rule}`}
      group by chunk_no, position order by chunk_no, position limit 1000`;
    const last = rows.at(-1);
    if (last === undefined) return;
    after = [last.chunk_no, last.position];
    yield encoder.encode(rows.map((row) => `${row.raw.replace(/\r?\n/g, " ")}\n`).join(""));
  }
}

/** Notes which run replays the records. */
export async function markReplayed(
  sql: Sql,
  runId: string,
  { replayRunId, rule }: { replayRunId: string; rule: string | undefined },
): Promise<number> {
  const rows = await sql`
    update etl.quarantine set replayed_by = ${replayRunId}
    where run_id = ${runId} and replayed_by is null
      ${rule === undefined ? sql`` : sql`and rule = ${rule}`}`;
  return rows.count;
}
