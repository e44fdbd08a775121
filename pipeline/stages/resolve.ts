import { copyIn } from "../../store/copy.ts";
import { type Client, quoteIdent, quoteTable } from "../../store/pg.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { possibleDuplicates } from "../spill/duplicates.ts";
import { readPositions, writePositions } from "../spill/layout.ts";
import { readKeys } from "../spill/reader.ts";
import { KEY_COLUMNS } from "../spill/writer.ts";
import { type TaskEnvironment, transactionOptions } from "../workers/environment.ts";
import type { ChunkDecision, ForeignRows, RunContext, Tasks } from "../workers/task.ts";

type Chunks = Tasks["resolve"]["input"]["chunks"];

/**
 * Decides for every event of the run whether its row is new, changed or needs
 * nothing. Two comparisons, both exact:
 *
 * 1. within the run, set-wise: of several events with one key the highest version
 *    wins, then the last in source order. Only events whose key hash occurs more
 *    than once go to the database for this.
 * 2. with the destination, when it holds rows: by the manifest that prepare filled,
 *    or chunk by chunk (`lookUpChunk`; here only where there is just one).
 *
 * Positions to publish are written beside the spill. Throws `foreign-rows` when
 * another source owns a row, before anything is published.
 */
export async function resolveRun(
  env: TaskEnvironment,
  { chunks, comparison, destinationRows }: Tasks["resolve"]["input"],
): Promise<Tasks["resolve"]["output"]> {
  const { context, connection } = env;
  return await connection.transaction(transactionOptions(env), async (client) => {
    // room for a hash join over millions of keys; sorted groups spill to disk, where hashed
    // ones would hold every position in memory; all of it ends with the transaction
    await client.query(
      `set local work_mem = '64MB'; set local hash_mem_multiplier = 4;
      set local enable_hashagg = off; set local jit = off`,
    );
    const losers = await findLosers(client, context, chunks);
    if (comparison === "none") {
      return { decisions: await decideAllNew(context, chunks, losers), compared: true };
    }
    const undecided = chunks.map(({ chunkNo, events }): ChunkDecision => ({
      chunkNo,
      events,
      duplicates: losers.get(chunkNo) ?? 0,
      inserts: 0,
      updates: 0,
      heldBack: 0,
    }));
    if (comparison === "lookup" && undecided.length > 1) {
      return { decisions: undecided, compared: false };
    }
    const { decisions, foreign } = comparison === "lookup"
      ? await lookUp(client, context, undecided, destinationRows)
      : await compare(client, context, undecided, await completeManifest(client, context, chunks));
    if (foreign !== null) throw foreignRowsProblem(context, foreign);
    return { decisions, compared: true };
  });
}

/**
 * Looks the keys of one chunk up in the destination's primary key, which costs
 * what the chunk is, however large the destination. Foreign rows are answered,
 * so that the run can name them all.
 */
export async function lookUpChunk(
  env: TaskEnvironment,
  { decision, destinationRows }: Tasks["lookup"]["input"],
): Promise<Tasks["lookup"]["output"]> {
  return await env.connection.transaction(transactionOptions(env), async (client) => {
    const { decisions, foreign } = await lookUp(client, env.context, [decision], destinationRows);
    return { decision: decisions[0]!, foreign };
  });
}

/** Writes the positions that lose against another event of their key; answers how many, by chunk. */
async function findLosers(
  client: Client,
  context: RunContext,
  chunks: Chunks,
): Promise<Map<number, number>> {
  const losers = new Map<number, number>();
  let any = false;
  for await (const { chunkNo, positions } of possibleDuplicates(context.spillDir, chunks)) {
    if (!any) {
      await client.query(
        `create temp table etl_repeated (event_id text, fingerprint bytea, version numeric,
          chunk_no integer, position integer) on commit drop`,
      );
      any = true;
    }
    await copyIn(
      client,
      `copy pg_temp.etl_repeated (${KEY_COLUMNS.join(", ")}) from stdin`,
      readKeys(context.spillDir, chunkNo, { positions }),
    );
  }
  if (!any) return losers;
  await client.query(
    `declare etl_losers no scroll cursor for
    select chunk_no, array_agg(position order by position) as positions
    from (
      select chunk_no, position, row_number() over (
        partition by event_id collate "C" order by version desc nulls last, chunk_no desc, position desc) as place
      from pg_temp.etl_repeated
    ) as ranked
    where place > 1
    group by chunk_no`,
  );
  for await (
    const row of fetchAll<{ chunk_no: number; positions: number[] }>(client, "etl_losers")
  ) {
    await writePositions(context, row.chunk_no, "losers", Int32Array.from(row.positions));
    losers.set(row.chunk_no, row.positions.length);
  }
  return losers;
}

/** Rows of an open cursor, a few at a time: each may hold a chunk's positions. */
async function* fetchAll<T extends object>(client: Client, cursor: string): AsyncGenerator<T> {
  for (;;) {
    const { rows } = await client.query<T>(`fetch 10 from ${cursor}`);
    if (rows.length === 0) return;
    yield* rows;
  }
}

async function decideAllNew(
  context: RunContext,
  chunks: Chunks,
  losers: Map<number, number>,
): Promise<ChunkDecision[]> {
  const decisions: ChunkDecision[] = [];
  for (const { chunkNo, events } of chunks) {
    const duplicates = losers.get(chunkNo) ?? 0;
    if (duplicates > 0) {
      const lost = await readPositions(context, chunkNo, "losers");
      await writePositions(context, chunkNo, "inserts", complement(events, lost));
    }
    const inserts = events - duplicates;
    decisions.push({ chunkNo, events, duplicates, inserts, updates: 0, heldBack: 0 });
  }
  return decisions;
}

/** Compares the destination with a table of this transaction that gets the keys of some chunks. */
async function lookUp(
  client: Client,
  context: RunContext,
  decisions: ChunkDecision[],
  destinationRows: number,
): Promise<Compared> {
  const manifest = "pg_temp.etl_manifest";
  await client.query(
    `create temp table etl_manifest (event_id text, fingerprint bytea, version numeric,
      chunk_no integer, position integer) on commit drop`,
  );
  const keys = decisions.reduce((sum, { events }) => sum + events, 0);
  if (isWorthLookups(keys, destinationRows)) {
    // a planner that counts pages would rather read the whole destination
    await client.query(
      `set local enable_hashjoin = off; set local enable_mergejoin = off;
      set local enable_memoize = off; set local enable_hashagg = off; set local jit = off`,
    );
  }
  await fillManifest(client, context, { chunks: decisions, manifest });
  return await compare(client, context, decisions, manifest);
}

/** Fills the manifest again where it does not hold every event: a crash of PostgreSQL empties it. */
async function completeManifest(
  client: Client,
  context: RunContext,
  chunks: Chunks,
): Promise<string> {
  const name = manifestTable(context);
  const manifest = `etl.${quoteIdent(name)}`;
  const expected = chunks.reduce((sum, chunk) => sum + chunk.events, 0);
  const { rows } = await client.query<{ count: string }>(`select count(*) from ${manifest}`);
  if (Number(rows[0]!.count) !== expected) {
    await client.query(`truncate ${manifest}`);
    await fillManifest(client, context, { chunks, manifest });
  }
  await client.query("select etl.analyze_manifest($1)", [name]);
  return manifest;
}

async function fillManifest(
  client: Client,
  context: RunContext,
  { chunks, manifest }: { chunks: Chunks; manifest: string },
): Promise<void> {
  for (const { chunkNo } of chunks) {
    await copyIn(
      client,
      `copy ${manifest} (${KEY_COLUMNS.join(", ")}) from stdin`,
      readKeys(context.spillDir, chunkNo),
    );
  }
}

/** The problem of a run whose keys another source owns. */
export function foreignRowsProblem(
  { params, sourceName }: Pick<RunContext, "params" | "sourceName">,
  { count, examples }: ForeignRows,
): Problem {
  const shown = examples.map((row) => `${row.event_id} (source ${row.source})`).join(", ");
  return new Problem("foreign-rows", {
    status: 409,
    detail: `${
      count === 1
        ? "A record of this run has the key of a row"
        : `${count} records of this run have keys of rows`
    } that another source owns in ` +
      `${params.schema_name}.${params.table_name}: ${shown}. Nothing of them was changed. Give the source the ` +
      `name that owns them (now: ${sourceName}), a key of its own, or another table_name.`,
    errors: [{ field: "source.name", value: sourceName, message: "does not own the rows" }],
  });
}

/** Numeric that is below every version, for rows without one. */
export const NO_VERSION = "'-infinity'::numeric";

/**
 * SQL that is true where an event is newer than the row of its key: by version, then by the order of
 * requests. A late run cannot know what the later one found as it was, so only a version helps it.
 */
export function isNewer(
  { late }: Pick<RunContext, "late">,
  { event, row, orderRunId }: { event: string; row: string; orderRunId: string },
): string {
  const [new_, old] = [event, row].map((name) => `coalesce(${name}.version, ${NO_VERSION})`);
  return late
    ? `${new_} > ${old} and ${orderRunId}::uuid is not null`
    : `(${new_}, ${orderRunId}::uuid) > (${old}, ${row}.run_id)`;
}

interface Compared {
  decisions: ChunkDecision[];
  foreign: ForeignRows | null;
}

/** Completes decisions from the manifest, which holds the keys of their chunks, and the destination. */
async function compare(
  client: Client,
  context: RunContext,
  undecided: ChunkDecision[],
  manifest: string,
): Promise<Compared> {
  const { params, runId } = context;
  const destination = quoteTable(params.schema_name, params.table_name);
  const decisions = new Map(undecided.map((chunk) => [chunk.chunkNo, { ...chunk }]));
  // rows that need nothing are not in the result, so a repeated load answers with nothing
  await client.query(
    `declare etl_decisions no scroll cursor for
    select chunk_no, decision,
      case when decision <> 'insert'
          or count(*) < (select c.events from etl.chunks as c where c.run_id = $2 and c.chunk_no = compared.chunk_no)
        then array_agg(position order by position) end as positions
    from (
      select m.chunk_no, m.position, case
        when t.event_id is null then 'insert'
        when t.source <> $3 then 'foreign'
        when t.fingerprint = m.fingerprint then null
        when ${isNewer(context, { event: "m", row: "t", orderRunId: "$1" })} then 'update'
        when ${context.late} and coalesce(m.version, ${NO_VERSION}) = coalesce(t.version, ${NO_VERSION}) then 'held'
      end as decision
      from ${manifest} as m left join ${destination} as t on t.event_id = m.event_id
    ) as compared
    where decision is not null
    group by chunk_no, decision`,
    [context.orderRunId, runId, context.sourceName],
  );
  type Row = { chunk_no: number; decision: string; positions: number[] | null };
  for await (const row of fetchAll<Row>(client, "etl_decisions")) {
    if (row.decision === "foreign") {
      const foreign = await foreignRows(client, context, manifest, destination);
      return { decisions: undecided, foreign };
    }
    const chunk = decisions.get(row.chunk_no)!;
    if (row.decision === "held") {
      chunk.heldBack = row.positions!.length;
      continue;
    }
    const kind = row.decision === "insert" ? "inserts" : "updates";
    chunk[kind] = await writeWinners(context, chunk, kind, row.positions);
  }
  return { decisions: [...decisions.values()], foreign: null };
}

/** Writes the positions of a kind that did not lose, unless it is all of the chunk; answers how many. */
async function writeWinners(
  context: RunContext,
  { chunkNo, events, duplicates }: ChunkDecision,
  kind: "inserts" | "updates",
  positions: number[] | null,
): Promise<number> {
  if (positions === null && duplicates === 0) return events;
  const lost = duplicates === 0
    ? new Int32Array(0)
    : await readPositions(context, chunkNo, "losers");
  const winners = positions === null ? complement(events, lost) : without(positions, lost);
  await writePositions(context, chunkNo, kind, winners);
  return winners.length;
}

async function foreignRows(
  client: Client,
  { sourceName }: RunContext,
  manifest: string,
  destination: string,
): Promise<ForeignRows> {
  const { rows } = await client.query<{ event_id: string; source: string; count: string }>(
    `select t.event_id, t.source, count(*) over () as count
    from ${manifest} as m join ${destination} as t on t.event_id = m.event_id
    where t.source <> $1 limit 3`,
    [sourceName],
  );
  return {
    count: Number(rows[0]?.count ?? 0),
    examples: rows.map(({ event_id, source }) => ({ event_id, source })),
  };
}

/** The numbers from 0 to count − 1 that are not among the sorted ones. */
function complement(count: number, sorted: Int32Array): Int32Array<ArrayBuffer> {
  const rest = new Int32Array(count - sorted.length);
  let at = 0;
  for (let value = 0, skip = 0; value < count; value++) {
    if (skip < sorted.length && sorted[skip] === value) skip++;
    else rest[at++] = value;
  }
  return rest;
}

/** The sorted values that are not among the other sorted ones. */
function without(values: number[], others: Int32Array): Int32Array<ArrayBuffer> {
  let skip = 0;
  return Int32Array.from(values.filter((value) => {
    while (skip < others.length && others[skip]! < value) skip++;
    return others[skip] !== value;
  }));
}

/**
 * How a run is compared with its destination: not at all when that is empty; by
 * looking the keys of each chunk up in its primary key, which costs what the run
 * is; or by one join with a table that the chunks fill as they are prepared,
 * which costs what the destination is. docs/decisions/publish.md has figures.
 */
export type Comparison = "none" | "lookup" | "join";

/** Records that the largest chunk of a source has, unless the conf says otherwise. */
const CHUNK_RECORDS = 50_000;
/** A key that is looked up costs as much as so many rows of the destination that are read. */
const LOOKUP_ROWS = 10;

/** Chooses the comparison; `rows` is what PostgreSQL thinks the destination has, 0 where it does not know. */
export function chooseComparison(
  { chunks, chunkSize, rows, filled }: {
    chunks: number;
    /** Records of a chunk, where the conf says so. */
    chunkSize: number | null;
    rows: number;
    filled: boolean;
  },
): Comparison {
  if (chunks === 0 || !filled) return "none";
  // a run of one chunk makes no table of its own, however large it is
  if (chunks === 1) return "lookup";
  return isWorthLookups(chunks * (chunkSize ?? CHUNK_RECORDS), rows) ? "lookup" : "join";
}

/** Whether so many keys are looked up faster than so many rows are read. */
export function isWorthLookups(keys: number, rows: number): boolean {
  return keys * LOOKUP_ROWS < rows;
}

/**
 * The manifest of an attempt: an unlogged table with key, fingerprint and
 * version of every event, for the comparison with a destination that holds
 * rows already. Each attempt has its own, so a replaced one disturbs nothing.
 */
export function manifestTable(of: { runId: string; attempt: number }): string {
  return `manifest_${of.runId.replaceAll("-", "")}_${of.attempt}`;
}
