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
  /** open: can be replayed; returned: rejected by this replay, open again where it came from. */
  state: "open" | "replaying" | "replayed" | "returned";
  /** Replays that have had it, the last of which is `replayed_by`. */
  tries: number;
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
      translate(encode(raw_bytes, 'base64'), E'\\n', '') as raw_base64, state, tries, replayed_by
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

/** Whether a run's quarantine holds records that can be replayed, or that a replay has in hand. */
export async function hasOpenRecords(sql: Sql, runId: string): Promise<boolean> {
  const [row] = await sql<{ open: boolean }[]>`
    select exists (select 1 from etl.quarantine where run_id = ${runId} and state in ('open', 'replaying')) as open`;
  return row!.open;
}
