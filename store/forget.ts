import type { Client } from "./pg.ts";
import { quoteIdent, quoteTable } from "./pg.ts";
import type { OwnTable } from "./own_tables.ts";
import { keyColumns, sqlType, type TypedTable } from "./row_layout.ts";

/** A dataset, with what tells where a key of it may be. */
export interface ForgettingDataset {
  schema_name: string;
  table_name: string;
  declared: TypedTable | null;
  /** Every version of a key is kept, each under key and version. */
  history: boolean;
  private: Record<string, { exclude: string[]; hash: string[] }> | null;
}

/** Null where there is none. Nothing that follows in the transaction waits long for a lock that a client holds. */
export async function datasetToForget(
  client: Client,
  dataset: string,
): Promise<ForgettingDataset | null> {
  await client.query("set local lock_timeout = '5s'");
  const { rows } = await client.query<ForgettingDataset>(
    `select schema_name, table_name, declared, history, private from etl.datasets where dataset = $1`,
    [dataset],
  );
  return rows[0] ?? null;
}

/** The table of the user's own that a dataset is; null where there is none of that name. */
export async function ownTableOf(
  client: Client,
  { schema_name, table_name }: ForgettingDataset,
): Promise<OwnTable | null> {
  const { rows: [row] } = await client.query<{ known: OwnTable | null }>(
    "select etl.own_table($1, $2) as known",
    [schema_name, table_name],
  );
  return row!.known;
}

/** A run into a dataset whose quarantine, request body or texts may hold a key. */
export interface ForgettingRun {
  run_id: string;
  ended: boolean;
  source: Record<string, unknown>;
  run_label: string;
  transform: string | null;
}

/** Runs into a table, newest first. */
export async function runsInto(
  client: Client,
  { schema_name, table_name }: ForgettingDataset,
): Promise<ForgettingRun[]> {
  const { rows } = await client.query<ForgettingRun>(
    `select run_id, state not in ('queued', 'running') as ended, params -> 'source' as source, run_label,
      params ->> 'transform' as transform
    from etl.runs where schema_name = $1 and table_name = $2 order by requested_at desc`,
    [schema_name, table_name],
  );
  return rows;
}

/** Rows that a statement has deleted, and rows with the key that are nobody's of ours. */
export interface ForgottenRows {
  deleted: number;
  foreign: number;
}

/** What of an event_id of a history is not its version, which has no | in it. */
const VERSIONLESS = "regexp_replace(event_id, '\\|[^|]*$', '')";

/** Deletes the rows of keys, as event_id has them, or, of a typed table, in the parts of the key. */
export async function deleteRows(
  client: Client,
  { schema_name, table_name, declared, history }: ForgettingDataset,
  { eventIds, parts }: { eventIds: string[]; parts: string[][] },
): Promise<ForgottenRows> {
  const table = quoteTable(schema_name, table_name);
  const { rows: [found] } = await client.query<{ oid: string | null }>(
    "select etl.dataset_table($1, $2, writes => true) as oid",
    [schema_name, table_name],
  );
  if (found!.oid === null) return { deleted: 0, foreign: 0 };
  if (declared === null) {
    const { rowCount } = await client.query(
      `delete from ${table} where ${history ? VERSIONLESS : "event_id"} = any ($1)`,
      [eventIds],
    );
    return { deleted: rowCount ?? 0, foreign: 0 };
  }
  const { casts = {} } = declared;
  const columns = history ? keyColumns(declared).slice(0, -1) : keyColumns(declared);
  let deleted = 0;
  let foreign = 0;
  for (const values of parts) {
    const is = columns.map(({ name, type }, i) =>
      `${quoteIdent(name)} = $${i + 1}::text::${casts[name]?.key ?? sqlType(type)}`
    ).join(" and ");
    const { rowCount } = await client.query(
      `delete from ${table} where ${is} and _etl_run_id is not null`,
      values,
    );
    deleted += rowCount ?? 0;
    const { rows: [left] } = await client.query<{ count: number }>(
      `select count(*)::integer as count from ${table} where ${is}`,
      values,
    );
    foreign += left!.count;
  }
  return { deleted, foreign };
}

/** A rejected record, and where it is in the quarantine. */
export interface ForgettingRecord {
  run_id: string;
  chunk_no: number;
  position: number;
  output: number;
  record: string | null;
  raw: string;
  message: string;
}

/** Of a page: a record may have megabytes. */
const PAGE = 500;
const PAGE_BYTES = 8 * 1024 ** 2;

/** The rejected records of runs, a page at a time. */
export async function* quarantinedOf(
  client: Client,
  runIds: string[],
): AsyncGenerator<ForgettingRecord[]> {
  let after: [string, number, number, number] = ["00000000-0000-0000-0000-000000000000", 0, 0, -1];
  for (;;) {
    const { rows } = await client.query<ForgettingRecord>(
      `with places as (
        select run_id, chunk_no, position, "output", row_number() over placed as place,
          sum(octet_length(raw) + coalesce(octet_length(record), 0)) over placed as bytes
        from (
          select * from etl.quarantine where run_id = any ($1) and (run_id, chunk_no, position, "output") > ($2, $3, $4, $5)
          order by run_id, chunk_no, position, "output" limit ${PAGE}) as q
        window placed as (order by run_id, chunk_no, position, "output"))
      select run_id, chunk_no, position, "output", q.record, q.raw, q.message
      from places join etl.quarantine as q using (run_id, chunk_no, position, "output")
      where place = 1 or bytes <= ${PAGE_BYTES} order by place`,
      [runIds, ...after],
    );
    if (rows.length === 0) return;
    yield rows;
    const last = rows.at(-1)!;
    after = [last.run_id, last.chunk_no, last.position, last.output];
  }
}

export async function deleteQuarantined(
  client: Client,
  records: ForgettingRecord[],
): Promise<void> {
  await client.query(
    `delete from etl.quarantine as q using unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[])
      as d (run_id, chunk_no, position, "output")
    where q.run_id = d.run_id and q.chunk_no = d.chunk_no and q.position = d.position and q."output" = d."output"`,
    [
      records.map(({ run_id }) => run_id),
      records.map(({ chunk_no }) => chunk_no),
      records.map(({ position }) => position),
      records.map(({ output }) => output),
    ],
  );
}

/** A stored body: its first bytes, until when it is kept, and whether a run into any dataset is going to read it; null: there is none. */
export async function uploadOf(
  client: Client,
  uploadId: string,
): Promise<{ head: Uint8Array; until: string; needed: boolean } | null> {
  // the same content has one body, whoever has sent it
  const { rows: [found] } = await client.query<
    { head: Uint8Array; until: string; needed: boolean }
  >(
    `select substr(data, 1, 64) as head, etl.iso(created_at + interval '7 days') as until, exists (
      select from etl.runs as r where r.state in ('queued', 'running') and r.params #>> '{source,upload_id}' = $1) as needed
    from etl.uploads where upload_id = $1::uuid order by part_no limit 1`,
    [uploadId],
  );
  return found ?? null;
}

/** The bytes of a stored body, a part at a time. */
export async function* uploadParts(
  client: Client,
  uploadId: string,
): AsyncGenerator<Uint8Array> {
  for (let after = -1;;) {
    const { rows: [part] } = await client.query<{ part_no: number; data: Uint8Array }>(
      "select part_no, data from etl.uploads where upload_id = $1 and part_no > $2 order by part_no limit 1",
      [uploadId, after],
    );
    if (part === undefined) return;
    yield part.data;
    after = part.part_no;
  }
}

export async function deleteUpload(client: Client, uploadId: string): Promise<void> {
  await client.query("delete from etl.uploads where upload_id = $1", [uploadId]);
}

/** Deletes what dry runs have found of a dataset's rows, whoever's they are: each can be made again. */
export async function deleteComparisons(client: Client, dataset: string): Promise<void> {
  const { rows: [found] } = await client.query<{ there: boolean }>(
    "select to_regclass('etl.comparisons') is not null as there",
  );
  if (found!.there) await client.query("delete from etl.comparisons where dataset = $1", [dataset]);
}

/** Deletes the notes that records with these keys were deleted. */
export async function deleteTombstones(
  client: Client,
  dataset: string,
  eventIds: string[],
): Promise<number> {
  const { rows: [found] } = await client.query<{ there: boolean }>(
    "select to_regclass('etl.tombstones') is not null as there",
  );
  if (!found!.there) return 0;
  const { rowCount } = await client.query(
    "delete from etl.tombstones where dataset = $1 and event_id = any ($2)",
    [dataset, eventIds],
  );
  return rowCount ?? 0;
}

/** What was told of runs, and to whom: texts in which a key may stand. */
const TEXTS: [table: string, column: string, type: "jsonb" | "text", of: string][] = [
  ["etl.runs", "error", "jsonb", "run_id = any ($1)"],
  ["etl.runs", "warnings", "jsonb", "run_id = any ($1)"],
  ["etl.stages", "error", "jsonb", "run_id = any ($1)"],
  ["etl.chunks", "error", "jsonb", "run_id = any ($1)"],
  ["etl.validations", "result", "jsonb", "run_id = any ($1)"],
  ["public.etl_improved_alerts", "message", "text", "run_id = any ($1)"],
  ["public.etl_improved_alerts", "details", "jsonb", "run_id = any ($1)"],
  ["etl.notifications", "payload", "jsonb", "payload ->> 'run_id' = any ($1::text[])"],
  // where a part of a source begins and ends; of a run that may be taken up again that is needed
  [
    "etl.chunks",
    "slice",
    "jsonb",
    "run_id in (select r.run_id from etl.runs as r where r.run_id = any ($1) and r.state = 'succeeded')",
  ],
  ["etl.runs", "pin", "jsonb", "run_id = any ($1) and state = 'succeeded'"],
];

/**
 * Deletes lines of logs in which a pattern of SQL occurs, takes it out of errors, warnings, results, alerts and plans, and records
 * out of confs that hold it. Answers the lines and the texts.
 */
export async function redactTexts(
  client: Client,
  runIds: string[],
  { pattern, instead }: { pattern: string; instead: string },
): Promise<{ lines: number; texts: number }> {
  const lines = await client.query(
    `delete from etl.run_logs where run_id = any ($1) and (message ~ $2 or fields::text ~ $2)`,
    [runIds, pattern],
  );
  let texts = 0;
  for (const [table, column, type, of] of TEXTS) {
    const { rowCount } = await client.query(
      `update ${table} set ${column} = regexp_replace(${column}::text, $2, $3, 'g')::${type}
      where ${of} and ${column}::text ~ $2`,
      [runIds, pattern, instead],
    );
    texts += rowCount ?? 0;
  }
  const { rowCount } = await client.query(
    `update etl.runs set conf = conf #- '{source,records}'
    where run_id = any ($1) and conf #> '{source,records}' is not null and conf::text ~ $2`,
    [runIds, pattern],
  );
  return { lines: lines.rowCount ?? 0, texts: texts + (rowCount ?? 0) };
}

/** Notes in the audit table that a key was forgotten. */
export async function auditForgotten(
  client: Client,
  actor: string,
  details: Record<string, unknown>,
): Promise<void> {
  await client.query(
    "insert into public.etl_improved_audit (event, actor, details) values ('key_forgotten', $1, $2)",
    [actor, JSON.stringify(details)],
  );
}
