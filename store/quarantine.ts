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
  /** Its line of the chunk, from 1, until the run ends, when `etl.number_lines` makes it that of the file; default: null. */
  slice_line?: number;
}

/** The rule of records that a table has refused when they were published, by a constraint, a type or a trigger of its own. */
export const REFUSED = "table_constraint";

/**
 * Replaces what the quarantine holds of a chunk since it was prepared by rows of {@linkcode quarantineText}. What its table has
 * refused stays: it was put there in the transaction that published the chunk. What replays have made of a record stays with
 * it: a run may be retried when its records have been replayed. Null: there are none.
 */
export async function replaceQuarantine(
  client: Client,
  { runId, chunkNo }: { runId: string; chunkNo: number },
  blocks: Iterable<Uint8Array> | null,
): Promise<void> {
  const { rows: replays } = await client.query<{ of: object }>(planned(
    client,
    `with gone as (delete from etl.quarantine where run_id = $1 and chunk_no = $2 and rule <> $3 returning *)
    select to_jsonb(g) - '{raw,raw_bytes,record}'::text[] as of from gone as g where g.tries > 0`,
    [runId, chunkNo, REFUSED],
  ));
  if (blocks === null) return;
  await addToQuarantine(client, blocks);
  if (replays.length === 0) return;
  await client.query(
    `update etl.quarantine as q set state = g.state, tries = g.tries, replayed_by = g.replayed_by, replay_place = g.replay_place
    from jsonb_populate_recordset(null::etl.quarantine, $3::jsonb) as g
    where q.run_id = $1 and q.chunk_no = $2 and q.position = g.position and q."output" = g."output"`,
    [runId, chunkNo, JSON.stringify(replays.map(({ of }) => of))],
  );
}

/** Adds rows of {@linkcode quarantineText}. */
export async function addToQuarantine(
  client: Client,
  blocks: Iterable<Uint8Array>,
): Promise<void> {
  await copyIn(
    client,
    `copy etl.quarantine (run_id, chunk_no, position, "output", rule, message, field, raw, raw_bytes, record, file, line, slice_line) from stdin`,
    blocks,
  );
}

/** A row of a chunk's quarantine as COPY takes it. */
export function quarantineText(runId: string, chunkNo: number, row: QuarantineRow): string {
  return `${runId}\t${chunkNo}\t${row.position}\t${row.output}\t${escape(row.rule)}\t${
    escape(row.message)
  }\t${orNull(row.field)}\t${escape(row.raw)}\t${
    row.raw_bytes === undefined ? "\\N" : `\\\\x${row.raw_bytes.toHex()}`
  }\t${orNull(row.record)}\t${orNull(row.file)}\t${row.line ?? "\\N"}\t${
    row.slice_line ?? "\\N"
  }\n`;
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

/** What a page of quarantined records may have, in bytes of their texts: each may have as many as a record. */
const PAGE_BYTES = 8 << 20;

/** Where a page of quarantined records begins and ends. */
export interface QuarantinePage {
  after: [chunkNo: number, position: number, output: number];
  limit: number;
  rule?: string | undefined;
  /** Bytes of texts from which on a page has no further record; default 8 MiB. */
  bytes?: number;
  /** Characters of a text that are shown; a JSON text that is longer is left out. Default: all. */
  shown?: number;
}

/** Quarantined records of a run in source order, as many as a page takes, and whether there are more. */
export async function listQuarantine(
  sql: Sql,
  runId: string,
  { after, limit, rule, bytes = PAGE_BYTES, shown = 2 ** 30 }: QuarantinePage,
): Promise<{ rows: QuarantineView[]; more: boolean }> {
  const found = await sql<(QuarantineView & { more: boolean })[]>`
    with page as (
      select chunk_no, position, output, row_number() over placed as place, lead(true) over placed is not null as more,
        sum(least(octet_length(raw), ${shown}) + least(coalesce(octet_length(record), 0), ${shown})) over placed as bytes
      from (
        select * from etl.quarantine
        where run_id = ${runId} and (chunk_no, position, output) > (${after[0]}, ${after[1]}, ${
    after[2]
  })
          ${rule === undefined ? sql`` : sql`and rule = ${rule}`}
        order by chunk_no, position, output limit ${limit + 1}) as q
      window placed as (order by chunk_no, position, output))
    select q.chunk_no, q.position, q.output, q.rule, q.message, q.field, q.file, q.line::float8 as line, q.state, q.tries, q.replayed_by,
      case when length(q.raw) > ${shown} then left(q.raw, ${shown}) || '…' else q.raw end as raw,
      case when octet_length(q.record) <= ${shown} then q.record end as record,
      case when octet_length(q.raw_bytes) <= ${shown} then translate(encode(q.raw_bytes, 'base64'), E'\\n', '') end as raw_base64,
      page.more
    from page join etl.quarantine as q on q.run_id = ${runId} and q.chunk_no = page.chunk_no and q.position = page.position and q.output = page.output
    where page.place <= ${limit} and (page.place = 1 or page.bytes <= ${bytes}) order by page.place`;
  const more = found.at(-1)?.more ?? false;
  const rows = found.map(({ more: _more, ...row }) => ({
    ...row,
    record: shownRecord(row.record),
  }));
  return { rows, more };
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
