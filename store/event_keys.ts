import { copiedText, copyIn, copyOut } from "./copy.ts";
import type { Sql } from "./database.ts";
import { endFirstLoad } from "./first_load.ts";
import { isNewer, isSame, orNone, type Precedence, versionOf } from "./event_rows.ts";
import { type Client, quoteLiteral, quoteTable } from "./pg.ts";
import { layoutOf, type RowLayout, type TypedTable } from "./row_layout.ts";

/** Columns of an event's key, in the order in which they are sent. */
const KEY_COLUMNS = ["event_id", "fingerprint", "version", "chunk_no", "position"] as const;

const KEY_TABLE =
  "event_id text, fingerprint bytea, version numeric, chunk_no integer, position integer";

const LARGE_JOINS = `set local work_mem = '64MB'; set local hash_mem_multiplier = 4;
      set local enable_hashagg = off; set local jit = off; set local parallel_tuple_cost = 0.01`;
const LOOKUPS = `set local enable_hashjoin = off; set local enable_mergejoin = off;
      set local enable_memoize = off; set local enable_hashagg = off; set local jit = off`;

/** Rows of another source that have keys of this run. */
export interface ForeignRows {
  count: number;
  examples: { event_id: string; source: string }[];
}

/** A run and the table that it loads. */
export interface KeyedRun extends Precedence {
  orderRunId: string;
  sourceName: string;
  params: { schema_name: string; table_name: string };
  /** Null: the events table. */
  table: TypedTable | null;
  /** Whether the table has the column for rows that are marked as gone. */
  marks?: boolean;
  /** Whether keys of the dataset have been deleted, or may be by this run. */
  buries?: boolean;
  /** Whether Citus distributes the table, and the manifest with it. */
  distributed?: boolean;
}

/**
 * The manifest of an attempt, quoted: an unlogged table with key, fingerprint and version of every event, for the
 * comparison with a destination that holds rows already. Each attempt has its own, so a replaced one disturbs nothing.
 */
export function manifestTable(of: { runId: string; attempt: number }): string {
  return quoteTable("etl", manifestName(of));
}

function manifestName({ runId, attempt }: { runId: string; attempt: number }): string {
  return `manifest_${runId.replaceAll("-", "")}_${attempt}`;
}

/** What of a destination decides how a run is compared with it. */
export interface DestinationSize {
  there: boolean;
  /** Whether it holds a row. */
  filled: boolean;
  /** How many PostgreSQL thinks it holds; 0 where it was never analysed. */
  rows: number;
  /** Whether it has the column for rows that are marked as gone. */
  marks: boolean;
  /** Whether keys of it have been deleted (etl.tombstones). */
  buries: boolean;
  /** Whether Citus distributes its rows by event_id. */
  distributed: boolean;
}

/** Looks at a destination. Makes the indexes that a first load has left out. */
export async function destinationSize(
  sql: Sql,
  schema: string,
  table: string,
): Promise<DestinationSize> {
  const [known] = await sql<
    {
      rows: number | null;
      marks: boolean | null;
      buries: boolean;
      keyless: boolean;
      distributed: boolean | null;
    }[]
  >`
    select sum(greatest(c.reltuples, 0))::float8 as rows, bool_or(etl.marks_rows(t.oid)) as marks,
      exists (select from etl.tombstones where dataset = ${`${schema}.${table}`}) as buries,
      exists (select from etl.first_loads as f where f.relation = any (array_agg(t.oid))) as keyless,
      bool_or(etl.distribution_column(t.oid) = 'event_id') as distributed
    from (select to_regclass(format('%I.%I', ${schema}::text, ${table}::text)) as oid) as t
    -- autovacuum analyses the partitions of a table, never the table
    cross join lateral (select t.oid union select p.relid from pg_partition_tree(t.oid) as p where p.isleaf) as stored
    -- one by one: a thousand partitions are expected, for which all tables of the database would be read
    cross join lateral (select k.reltuples from pg_class as k where k.oid = stored.oid and k.relkind <> 'p' offset 0) as c`;
  const { rows, marks, buries, keyless, distributed } = known!;
  if (rows === null) {
    return {
      there: false,
      filled: false,
      rows: 0,
      marks: false,
      buries: false,
      distributed: false,
    };
  }
  // without its key nothing could be compared with it
  if (keyless) await endFirstLoad(sql, { schema_name: schema, table_name: table });
  const [row] = await sql<{ filled: boolean }[]>`
    select exists (select 1 from ${sql(schema)}.${sql(table)}) as filled`;
  return {
    there: true,
    filled: row!.filled,
    rows,
    marks: marks ?? false,
    buries,
    distributed: distributed ?? false,
  };
}

/** Makes the manifest of an attempt and drops those of earlier ones; false where the attempt is the run's no more. */
export async function createManifest(
  sql: Sql,
  run: { run_id: string; attempt: number },
): Promise<boolean> {
  const name = manifestName({ runId: run.run_id, attempt: run.attempt });
  const [row] = await sql<{ current: boolean }[]>`
    select etl.create_manifest(${run.run_id}, ${run.attempt}, ${name}) as current`;
  return row!.current;
}

/** Drops the manifests that this attempt of a run and earlier ones have made. */
export async function dropManifests(
  sql: Sql,
  run: { run_id: string; attempt: number },
): Promise<void> {
  await sql`select etl.drop_manifests(${run.run_id}, ${run.attempt})`;
}

/** Drops the manifests of runs that have ended without dropping them. */
export async function dropLeftoverManifests(sql: Sql): Promise<void> {
  await sql`select etl.drop_leftover_manifests()`;
}

/** Counts what a table of keys holds. */
export async function countKeys(client: Client, table: string): Promise<number> {
  const { rows } = await client.query<{ count: string }>(`select count(*) from ${table}`);
  return Number(rows[0]!.count);
}

export async function emptyKeys(client: Client, table: string): Promise<void> {
  await client.query(`truncate ${table}`);
}

/** Tells the planner what the manifest holds. */
export async function analyzeManifest(
  client: Client,
  of: { runId: string; attempt: number },
): Promise<void> {
  await client.query("select etl.analyze_manifest($1)", [manifestName(of)]);
}

/** Tells the planner what a table of keys of this transaction holds. */
export async function analyzeKeys(client: Client, table: string): Promise<void> {
  await client.query(`analyze ${table}`);
}

/** Makes a table of keys that ends with the transaction; answers its quoted name. */
export async function createKeyTable(
  client: Client,
  name: "etl_repeated" | "etl_input" | "etl_deletions" | "etl_rejected",
): Promise<string> {
  await client.query(`create temp table ${name} (${KEY_TABLE}) on commit drop`);
  return `pg_temp.${name}`;
}

/** Keys in a statement: a table of them, or values that are sent with it, as parameters from a number on. */
export interface KeySet {
  relation(firstParameter: number): string;
  values: unknown[];
}

export function keysIn(table: string): KeySet {
  return { relation: () => table, values: [] };
}

/** Keys from which on a table is worth it: making one costs as much as a thousand look-ups, and fills the catalogue. */
const KEYS_WITHOUT_TABLE = 5_000;

/**
 * Keys that are compared with the destination in this transaction, from COPY text with {@linkcode KEY_COLUMNS}. `prefer`:
 * they are looked up in the primary key, where a planner that counts pages would rather read the whole destination.
 */
export async function keysToLookUp(
  client: Client,
  keys: { blocks: Iterable<Uint8Array>; count: number },
  { prefer }: { prefer: boolean },
): Promise<KeySet> {
  const settings = `${LARGE_JOINS}${prefer ? `; ${LOOKUPS}` : ""}`;
  if (keys.count <= KEYS_WITHOUT_TABLE) {
    await client.query(settings);
    return sentKeys(keys.blocks);
  }
  await client.query(
    `create temp table etl_looked_up (${KEY_TABLE}) on commit drop; ${settings}`,
  );
  await copyKeys(client, "pg_temp.etl_looked_up", keys.blocks);
  return keysIn("pg_temp.etl_looked_up");
}

/** The same rows as copyKeys() would make: each column as the text of an array. */
function sentKeys(blocks: Iterable<Uint8Array>): KeySet {
  // the first key may begin with a byte order mark
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let text = "";
  for (const block of blocks) text += decoder.decode(block, { stream: true });
  const columns = KEY_COLUMNS.map(() => "{");
  for (const line of text.split("\n")) {
    if (line === "") continue;
    for (const [i, field] of line.split("\t").entries()) columns[i] += `${arrayElement(field)},`;
  }
  return {
    relation: (at) =>
      `(select * from unnest(${
        ["text", "bytea", "numeric", "integer", "integer"].map((type, i) => `$${at + i}::${type}[]`)
      }) as k (${KEY_COLUMNS.join(", ")}))`,
    values: columns.map((column) => `${column.replace(/,$/, "")}}`),
  };
}

/** A field of COPY text as an element in the text of an array. */
function arrayElement(field: string): string {
  if (field === "\\N") return "NULL";
  // both write a backslash as two, which all bytea begin with; all else that has to be escaped differs
  if (!/["\\]/.test(field) || /^\\\\x[0-9a-f]*$/.test(field)) return `"${field}"`;
  return `"${copiedText(field)!.replace(/["\\]/g, "\\$&")}"`;
}

/** Takes the keys of a chunk out again. */
export async function removeKeys(client: Client, table: string, chunkNo: number): Promise<void> {
  await client.query(`delete from ${table} where chunk_no = $1`, [chunkNo]);
}

/** Removes all keys from an attempt's manifest. */
export async function emptyManifest(
  sql: Sql,
  of: { runId: string; attempt: number },
): Promise<void> {
  await sql.unsafe(`truncate ${manifestTable(of)}`);
}

/** Events of each chunk in a table of keys. */
export async function countKeysByChunk(
  client: Client,
  table: string,
): Promise<Map<number, number>> {
  const { rows } = await client.query<{ chunk_no: number; events: number }>(
    `select chunk_no, count(*)::float8 as events from ${table} group by chunk_no`,
  );
  return new Map(rows.map(({ chunk_no, events }) => [chunk_no, events]));
}

/**
 * Makes a table of the events whose key may occur more than once in a manifest, that ends with the transaction; answers its
 * quoted name. By hashes of keys, whose groups PostgreSQL puts on disk where they need more than its memory.
 */
export async function copyRepeated(
  client: Client,
  manifest: string,
  { distributed = false } = {},
): Promise<string> {
  // where keys lie by their own value, grouping by it needs none of them elsewhere
  const hash = distributed ? "event_id" : `hashtextextended(event_id collate "C", 0)`;
  await client.query(
    `set local enable_hashagg = on;
    create temp table etl_repeated on commit drop as select * from ${manifest}
      where ${hash} in (select ${hash} from ${manifest} group by 1 having count(*) > 1);
    set local enable_hashagg = off`,
  );
  return "pg_temp.etl_repeated";
}

/** Drops a table of keys before the transaction makes another of its name. */
export async function dropKeyTable(client: Client, table: string): Promise<void> {
  await client.query(`drop table ${table}`);
}

/** Adds keys, as COPY text with {@linkcode KEY_COLUMNS}. */
export async function copyKeys(
  client: Client,
  table: string,
  blocks: Iterable<Uint8Array>,
): Promise<void> {
  await copyIn(client, `copy ${table} (${KEY_COLUMNS.join(", ")}) from stdin`, blocks);
}

/**
 * Room for a hash join over millions of keys, for this transaction; sorted groups spill to disk, where hashed ones
 * would hold every position in memory.
 */
export async function allowLargeJoins(client: Client): Promise<void> {
  await client.query(LARGE_JOINS);
}

/** Has keys looked up in the primary key: a planner that counts pages would rather read the whole destination. */
export async function preferLookups(client: Client): Promise<void> {
  await client.query(LOOKUPS);
}

/** The positions that lose against another event of their key, sorted, by chunk: the highest version wins, then the last. */
export async function* losingPositions(
  client: Client,
  table: string,
): AsyncGenerator<{ chunk_no: number; positions: number[] }> {
  await client.query(
    `declare etl_losers no scroll cursor for
    select chunk_no, array_agg(position order by position) as positions
    from (
      select chunk_no, position, row_number() over (
        partition by event_id collate "C" order by version desc nulls last, chunk_no desc, position desc) as place
      from ${table}
    ) as ranked
    where place > 1
    group by chunk_no`,
  );
  yield* fetchAll<{ chunk_no: number; positions: number[] }>(client, "etl_losers");
}

/** Keys that several files have, with different contents. */
export interface KeysOfFiles {
  keys: number;
  /** One of them, and the first and last of its files. */
  example: string;
  files: [string, string];
}

/** Which of the repeated keys come from several files with different contents; `files` say where each begins in its chunk. */
export async function keysOfSeveralFiles(
  client: Client,
  table: string,
  chunks: { chunkNo: number; files?: { file: string; from: number }[] }[],
): Promise<KeysOfFiles | undefined> {
  const names = [...new Set(chunks.flatMap(({ files }) => files ?? []).map(({ file }) => file))];
  if (names.length < 2) return undefined;
  const numbers = new Map(names.map((name, i) => [name, i]));
  const places = chunks.map(({ chunkNo, files = [] }) => ({
    chunk_no: chunkNo,
    starts: files.map(({ from }) => from),
    files: files.map(({ file }) => numbers.get(file)!),
  }));
  const { rows: [row] } = await client.query<
    { keys: number; event_id: string; first: number; last: number }
  >({
    text: `select count(*) over ()::float8 as keys, event_id, min(file) as first, max(file) as last
      from (
        select k.event_id, k.fingerprint, p.files[width_bucket(k.position, p.starts)] as file
        from ${table} as k
        join jsonb_to_recordset($1::jsonb) as p (chunk_no integer, starts integer[], files integer[])
          on p.chunk_no = k.chunk_no
      ) as placed
      group by event_id collate "C", event_id
      having min(file) < max(file) and count(distinct fingerprint) > 1
      order by event_id collate "C" limit 1`,
    values: [JSON.stringify(places)],
  });
  if (row === undefined) return undefined;
  return {
    keys: row.keys,
    example: row.event_id,
    files: [names[row.first]!, names[row.last]!],
  };
}

/** What becomes of the events of a chunk that are not as the destination has them. */
export interface Decided {
  chunk_no: number;
  /**
   * held: another content, which a late run leaves as it is. Of deletions: delete, where there is a row; bury, where there
   * is none; stale, where something newer has come.
   */
  decision: "insert" | "update" | "held" | "foreign" | "delete" | "bury" | "stale";
  events: number;
  /** Sorted; null: the first `events` of the chunk. */
  positions: ArrayLike<number> | null;
}

/** Compares keys with the destination. Events that need nothing are not in the answer, so a repeated load has none. */
export async function* compareKeys(
  client: Client,
  keys: KeySet,
  run: KeyedRun,
  /** How many chunks the keys are of. */
  chunks: number,
): AsyncGenerator<Decided> {
  if (chunks === 1) {
    const { text, values } = comparison(keys, run);
    return yield* (await client.query<Decided>(text, values)).rows;
  }
  // not by a cursor, whose statement no two processes of PostgreSQL share
  const { text } = comparison(keys, run, { literals: true });
  for await (const line of copiedLines(client, `copy (${text}) to stdout`)) {
    const [chunk, decision, events, positions] = line.split("\t") as [
      string,
      string,
      string,
      string,
    ];
    yield {
      chunk_no: Number(chunk),
      decision: decision as Decided["decision"],
      events: Number(events),
      positions: positions === "\\N" ? null : integersIn(positions, Number(events)),
    };
  }
}

/** The statement of {@linkcode compareKeys}; `literals`: with its values in it, for COPY, which takes no parameters. */
export function comparison(
  keys: KeySet,
  run: KeyedRun,
  { literals = false } = {},
): { text: string; values: unknown[] } {
  const parameters = [run.orderRunId, run.sourceName, ...(run.buries ? [datasetOf(run)] : [])];
  const [orderRunId, source, dataset] = parameters.map((value, i) =>
    literals ? quoteLiteral(value) : `$${i + 1}`
  ) as [string, string, string?];
  const layout = layoutOf(run);
  const version = versionOf(layout, "m") && "m.version";
  const newer = isNewer({ ...run, layout }, {
    eventVersion: version,
    row: "t",
    orderRunId,
  });
  const held = `${run.late && !run.appends} and ${orNone(version)} = ${
    orNone(versionOf(layout, "t"))
  }`;
  const { deletes, unlessBuried, buried } = dataset === undefined
    ? NO_BURIALS
    : burials(layout, run, { version, orderRunId, source, dataset });
  return {
    text: `select chunk_no, decision, count(*)::integer as events,
      case when decision <> 'insert' or count(*) <= max(position) then array_agg(position order by position) end as positions
    from (
      select m.chunk_no, m.position, case
        when t.${layout.key[0]} is null then ${
      unlessBuried(`'${run.superseded ? "held" : "insert"}'`)
    }
        when ${layout.isForeign("t", source)} and ${source}::text is not null then 'foreign'
        when ${deletes} then case when ${newer} then 'delete' else 'stale' end
        when ${isSame(layout, { row: "t", entry: "m.fingerprint" })} then null
        when ${newer} then 'update'
        when ${held} then 'held'
      end as decision
      from ${keys.relation(parameters.length + 1)} as m left join ${destinationOf(run)} as t on ${
      layout.hasKey("t", "m")
    } ${buried}
    ) as compared
    where decision is not null
    group by chunk_no, decision`,
    values: [...parameters, ...keys.values],
  };
}

const NO_BURIALS = {
  deletes: "false",
  unlessBuried: (insert: string) => insert,
  buried: "",
};

/** SQL that has deletions, and keys that were deleted, take part in the comparison. */
function burials(
  layout: RowLayout,
  run: KeyedRun,
  { version, orderRunId, source, dataset }: {
    version: string | null;
    orderRunId: string;
    source: string;
    dataset: string;
  },
): typeof NO_BURIALS {
  const deletes = "m.fingerprint = ''::bytea";
  const newer = isNewer(
    { ...run, appends: false, layout: tombstoneLayout(layout) },
    { eventVersion: version, row: "b", orderRunId },
  );
  return {
    deletes,
    unlessBuried: (insert) =>
      `case
      when b.event_id is not null and not (${newer}) then case when ${deletes} then 'stale' end
      when ${deletes} then 'bury' else ${insert} end`,
    buried:
      `left join etl.tombstones as b on b.dataset = ${dataset} and b.source = ${source} and b.event_id = m.event_id`,
  };
}

/** A key that was deleted, compared like a row. */
export function tombstoneLayout(layout: RowLayout): RowLayout {
  return { ...layout, version: layout.version === null ? null : "version", runId: "run_id" };
}

/** Rows of other sources that have one of the keys. */
export async function foreignRows(
  client: Client,
  keys: KeySet,
  run: KeyedRun,
): Promise<ForeignRows> {
  const layout = layoutOf(run);
  const { rows } = await client.query<{ event_id: string; source: string; count: string }>(
    `select ${layout.keyText("t")} as event_id, ${
      layout.owner("t")
    } as source, count(*) over () as count
    from ${keys.relation(2)} as m join ${destinationOf(run)} as t on ${layout.hasKey("t", "m")}
    where ${layout.isForeign("t", "$1")} and $1::text is not null limit 3`,
    [run.sourceName, ...keys.values],
  );
  return {
    count: Number(rows[0]?.count ?? 0),
    examples: rows.map(({ event_id, source }) => ({ event_id, source })),
  };
}

export function datasetOf({ params }: KeyedRun): string {
  return `${params.schema_name}.${params.table_name}`;
}

export function destinationOf({ params }: KeyedRun): string {
  return quoteTable(params.schema_name, params.table_name);
}

/** Rows of an open cursor, a few at a time: each may hold a chunk's positions. */
async function* fetchAll<T extends object>(client: Client, cursor: string): AsyncGenerator<T> {
  for (;;) {
    const { rows } = await client.query<T>(`fetch 10 from ${cursor}`);
    if (rows.length === 0) return;
    yield* rows;
  }
}

/** What `copy … to stdout` sends, line by line. A reader that stops early has to close the connection. */
async function* copiedLines(client: Client, statement: string): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest: string[] = [];
  for await (const block of copyOut(client, statement)) {
    const [first, ...others] = decoder.decode(block, { stream: true }).split("\n");
    rest.push(first!);
    for (const other of others) {
      yield rest.join("");
      rest = [other];
    }
  }
}

/** So many integers from 0 on, as PostgreSQL writes an array of them. */
function integersIn(text: string, count: number): Int32Array {
  const integers = new Int32Array(count);
  let at = 0;
  let value = 0;
  for (let i = 1; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit >= 0 && digit <= 9) value = value * 10 + digit;
    else {
      integers[at++] = value;
      value = 0;
    }
  }
  return integers;
}
