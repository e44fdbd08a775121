import { copyIn } from "./copy.ts";
import { type Client, planned } from "./pg.ts";
import type { Sql } from "./database.ts";

/** A row of etl.quarantine. */
export interface QuarantineRow {
  position: number;
  output: number;
  rule: string;
  message: string;
  field: string | null;
  /** The record as it stands in its file, else as JSON. */
  raw: string;
  /** Its bytes, where text cannot hold them; default: null. */
  raw_bytes?: Uint8Array;
  /** JSON of the record, to be loaded again, where `raw` is not that; default: null. */
  record?: string;
  /** Where the record stands, line from 1; default: null. */
  file?: string | null;
  line?: number | null;
}

/** The rule of records that a table has refused when they were published, by a constraint, a type or a trigger of its own. */
export const REFUSED = "table_constraint";

/**
 * Replaces what the quarantine holds of a chunk since it was prepared by rows of {@linkcode quarantineText}. What its table has
 * refused stays: it was put there in the transaction that published the chunk. Null: there are none.
 */
export async function replaceQuarantine(
  client: Client,
  { runId, chunkNo }: { runId: string; chunkNo: number },
  blocks: Iterable<Uint8Array> | null,
): Promise<void> {
  await client.query(planned(
    client,
    "delete from etl.quarantine where run_id = $1 and chunk_no = $2 and rule <> $3",
    [runId, chunkNo, REFUSED],
  ));
  if (blocks !== null) await addToQuarantine(client, blocks);
}

/** Adds rows of {@linkcode quarantineText}. */
export async function addToQuarantine(
  client: Client,
  blocks: Iterable<Uint8Array>,
): Promise<void> {
  await copyIn(
    client,
    `copy etl.quarantine (run_id, chunk_no, position, "output", rule, message, field, raw, raw_bytes, record, file, line) from stdin`,
    blocks,
  );
}

/** A row of a chunk's quarantine as COPY takes it. */
export function quarantineText(runId: string, chunkNo: number, row: QuarantineRow): string {
  return `${runId}\t${chunkNo}\t${row.position}\t${row.output}\t${escape(row.rule)}\t${
    escape(row.message)
  }\t${orNull(row.field)}\t${escape(row.raw)}\t${
    row.raw_bytes === undefined ? "\\N" : `\\\\x${row.raw_bytes.toHex()}`
  }\t${orNull(row.record)}\t${orNull(row.file)}\t${row.line ?? "\\N"}\n`;
}

function orNull(text: string | null | undefined): string {
  return text === null || text === undefined ? "\\N" : escape(text);
}

const ESCAPES: Record<string, string> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };

/** COPY text; NUL cannot be stored as text and is shown as its picture. */
function escape(text: string): string {
  return text.replaceAll("\u0000", "␀").replace(/[\\\t\n\r]/g, (c) => ESCAPES[c]!);
}

export interface QuarantineView
  extends Pick<QuarantineRow, "position" | "output" | "rule" | "message" | "field" | "raw"> {
  chunk_no: number;
  /** Where the record stands, line from 1 as an editor counts; null where there is none. */
  file: string | null;
  line: number | null;
  /** The bytes of `raw` in base64, where text cannot hold them. */
  raw_base64: string | null;
  /** JSON of the record, where `raw` is not that. */
  record: string | null;
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
  const rows = await sql<QuarantineView[]>`
    select chunk_no, position, output, rule, message, field, raw, record, file, line::float8 as line,
      translate(encode(raw_bytes, 'base64'), E'\\n', '') as raw_base64, state, tries, replayed_by
    from etl.quarantine
    where run_id = ${runId} and (chunk_no, position, output) > (${after[0]}, ${after[1]}, ${
    after[2]
  })
      ${rule === undefined ? sql`` : sql`and rule = ${rule}`}
    order by chunk_no, position, output limit ${limit}`;
  return rows.map((row) => ({ ...row, record: shownRecord(row.record) }));
}

/** The cells of a line, which a replay reads as pairs, as the object that they are of; any other record as it is. */
function shownRecord(record: string | null): string | null {
  if (record === null || !record.startsWith('{"\\u0000cells":')) return record;
  const { "\0cells": cells } = JSON.parse(record) as { "\0cells": [string, string][] };
  return `{${
    cells.map(([name, text]) => `${JSON.stringify(name)}:${JSON.stringify(text)}`).join(",")
  }}`;
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
