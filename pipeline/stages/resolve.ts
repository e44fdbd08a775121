import { type Message, say } from "../../vocabulary/messages.ts";
import {
  allowLargeJoins,
  analyzeManifest,
  compareKeys,
  copyKeys,
  copyRepeated,
  countKeys,
  countKeysByChunk,
  createKeyTable,
  type Decided,
  emptyKeys,
  type ForeignRows,
  foreignRows,
  type KeySet,
  keysIn,
  type KeysOfFiles,
  keysOfSeveralFiles,
  keysToLookUp,
  losingPositions,
  manifestTable,
  preferLookups,
} from "../../store/event_keys.ts";
import type { Client } from "../../store/pg.ts";
import { storeDecision } from "../../store/sharing.ts";
import { mappingOf } from "../sources/adapters.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { readRepeated, writeRepeated } from "../spill/duplicates.ts";
import { bitsOf, readPositions, writePositions } from "../spill/layout.ts";
import { readKeys } from "../spill/reader.ts";
import { type TaskEnvironment, transactionOptions } from "../workers/environment.ts";
import type { AloneChunk, ChunkDecision, RunContext, Tasks } from "../workers/task.ts";

type Chunks = Tasks["resolve"]["input"]["chunks"];

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
  { chunks, chunkSize, records, rows, filled, distributed = false }: {
    chunks: number;
    /** Records of a chunk, where the conf says so. */
    chunkSize: number | null;
    /** What the plan has estimated, if it has. */
    records?: number | undefined;
    rows: number;
    filled: boolean;
    /** Whether Citus distributes its rows. */
    distributed?: boolean;
  },
): Comparison {
  if (chunks === 0 || !filled) return "none";
  // only a manifest lies beside the rows; of other keys the rows would come to the coordinator
  if (distributed) return "join";
  const keys = records ?? chunks * (chunkSize ?? CHUNK_RECORDS);
  // what is as small as one chunk makes no table of its own, however small the destination is
  if (chunks === 1 || keys <= CHUNK_RECORDS && chunkSize === null) return "lookup";
  return isWorthLookups(keys, rows) ? "lookup" : "join";
}

/** Whether so many keys are looked up faster than so many rows are read. */
function isWorthLookups(keys: number, rows: number): boolean {
  return keys * LOOKUP_ROWS < rows;
}

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
  // other servers have hashes of their own on their disks: then the manifest is all that everybody knows
  const shared = context.holder !== null;
  const repeated = shared ? null : await writeRepeated(context, chunks);
  return await connection.transaction(transactionOptions(env), async (client) => {
    await allowLargeJoins(client);
    if (shared) await requireManifest(client, context, chunks);
    const { losers, keysOfFiles } = await findLosers(client, context, { repeated, chunks });
    const decided = async (decisions: ChunkDecision[]) => {
      if (shared && !context.params.dry_run) await handOut(client, context, decisions);
      return { decisions, compared: true, keysOfFiles };
    };
    if (comparison === "none") return await decided(decideAllNew(context, chunks, losers));
    const open = undecided(chunks, losers);
    if (comparison === "lookup" && open.length > 1 && !shared) {
      return { decisions: open, compared: false, keysOfFiles };
    }
    const keys = open.reduce((sum, { events }) => sum + events, 0);
    if (shared && isWorthLookups(keys, destinationRows)) await preferLookups(client);
    const { decisions, foreign } = shared
      ? await compare(client, context, open, keysIn(manifestTable(context)))
      : comparison === "lookup"
      ? await lookUp(client, context, open, destinationRows)
      : await compare(
        client,
        context,
        open,
        keysIn(await completeManifest(client, context, chunks)),
      );
    if (foreign !== null) throw foreignRowsProblem(context, foreign);
    return await decided(decisions);
  });
}

/** Decides for the only chunk of a run, in the transaction that publishes it. */
export async function decideAlone(
  client: Client,
  context: RunContext,
  { chunk, comparison, destinationRows }: AloneChunk,
): Promise<{ decision: ChunkDecision; keysOfFiles?: KeysOfFiles | undefined }> {
  const chunks = [chunk];
  const repeated = await writeRepeated(context, chunks);
  if (repeated.size > 0) await allowLargeJoins(client);
  const { losers, keysOfFiles } = await findLosers(client, context, { repeated, chunks });
  if (comparison === "none") {
    const [decision] = decideAllNew(context, chunks, losers);
    return { decision: decision!, keysOfFiles };
  }
  const { decisions, foreign } = await lookUp(
    client,
    context,
    undecided(chunks, losers),
    destinationRows,
  );
  if (foreign !== null) throw foreignRowsProblem(context, foreign);
  return { decision: decisions[0]!, keysOfFiles };
}

/** Stores what was decided for whoever has prepared the chunks: of those written in part, which of their rows, as bits. */
async function handOut(
  client: Client,
  context: RunContext,
  decisions: ChunkDecision[],
): Promise<void> {
  for (const decision of decisions) {
    const { chunkNo, events } = decision;
    const bits = (kind: "inserts" | "updates") =>
      decision[kind] === 0 || decision[kind] === events
        ? null
        : bitsOf(readPositions(context, chunkNo, kind), events);
    await storeDecision(client, context.runId, chunkNo, {
      decision,
      inserts: bits("inserts"),
      updates: bits("updates"),
    });
  }
}

/** Throws where the manifest does not hold every event of each chunk: a crash of PostgreSQL empties it. */
async function requireManifest(
  client: Client,
  context: RunContext,
  chunks: Chunks,
): Promise<void> {
  await analyzeManifest(client, context);
  const found = await countKeysByChunk(client, manifestTable(context));
  if (chunks.every(({ chunkNo, events }) => (found.get(chunkNo) ?? 0) === events)) return;
  throw new Problem("unavailable", {
    transient: true,
    detail: say("exchanged-keys-gone", {}),
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

/** Decisions of which only the duplicates are made. */
export function undecided(chunks: Chunks, losers: Map<number, number>): ChunkDecision[] {
  return chunks.map(({ chunkNo, events }) => ({
    chunkNo,
    events,
    duplicates: losers.get(chunkNo) ?? 0,
    inserts: 0,
    updates: 0,
    deletes: 0,
    buries: 0,
    stales: 0,
    heldBack: 0,
    deletions: 0,
    deleted: 0,
    marked: 0,
  }));
}

/**
 * Writes the positions that lose against another event of their key; answers how many, by chunk, and which keys
 * several files have.
 */
export async function findLosers(
  client: Client,
  context: RunContext,
  { repeated: inChunks, chunks }: {
    /** Those that hold repeated keys; null: to be looked for in the manifest. */
    repeated: Set<number> | null;
    chunks: Chunks;
  },
): Promise<{ losers: Map<number, number>; keysOfFiles?: KeysOfFiles | undefined }> {
  const losers = new Map<number, number>();
  if (inChunks?.size === 0) return { losers };
  const repeated = inChunks === null
    ? await copyRepeated(client, manifestTable(context), context)
    : await createKeyTable(client, "etl_repeated");
  for (const chunkNo of inChunks ?? []) {
    const positions = readRepeated(context, chunkNo);
    await copyKeys(client, repeated, readKeys(context.spillDir, chunkNo, { positions }));
  }
  for await (const { chunk_no, positions } of losingPositions(client, repeated)) {
    writePositions(context, chunk_no, "losers", Int32Array.from(positions));
    losers.set(chunk_no, positions.length);
  }
  const { source } = context.params;
  if (mappingOf(source).version !== undefined) return { losers };
  return { losers, keysOfFiles: await keysOfSeveralFiles(client, repeated, chunks) };
}

/** What the user is told of keys that several files have. */
export function keysOfFilesWarning(found: KeysOfFiles | undefined): Message[] {
  if (found === undefined) return [];
  const { keys, example, files } = found;
  return [
    say("keys-of-files", {
      who: keys === 1 ? say("one-key-has", {}) : say("keys-have", { n: keys }),
      key: JSON.stringify(example),
      files: files.join(" and "),
    }),
  ];
}

/** Decides for a destination that holds nothing, and of which nothing has been deleted. */
export function decideAllNew(
  context: RunContext,
  chunks: Chunks,
  losers: Map<number, number>,
): ChunkDecision[] {
  const decisions = undecided(chunks, losers);
  const of = new Map(chunks.map(({ chunkNo, deletions = 0 }) => [chunkNo, deletions]));
  for (const decision of decisions) {
    const { chunkNo, events, duplicates } = decision;
    if (duplicates > 0) {
      const lost = readPositions(context, chunkNo, "losers");
      writePositions(context, chunkNo, "inserts", complement(events, lost));
    }
    // only a dry run finds no table at all and has deletions: there is nothing that they could delete
    decision.deletions = Math.min(of.get(chunkNo) ?? 0, events - duplicates);
    decision.inserts = events - duplicates - decision.deletions;
  }
  return decisions;
}

/** Compares the destination with the keys of some chunks. */
async function lookUp(
  client: Client,
  context: RunContext,
  decisions: ChunkDecision[],
  destinationRows: number,
): Promise<Compared> {
  const count = decisions.reduce((sum, { events }) => sum + events, 0);
  const blocks = keysOf(context, decisions);
  const prefer = isWorthLookups(count, destinationRows);
  const keys = await keysToLookUp(client, { blocks, count }, { prefer });
  return await compare(client, context, decisions, keys);
}

/** Fills the manifest again where it does not hold every event: a crash of PostgreSQL empties it. */
async function completeManifest(
  client: Client,
  context: RunContext,
  chunks: Chunks,
): Promise<string> {
  const table = manifestTable(context);
  const expected = chunks.reduce((sum, chunk) => sum + chunk.events, 0);
  if (await countKeys(client, table) !== expected) {
    await emptyKeys(client, table);
    await fillKeys(client, context, { chunks, table });
  }
  await analyzeManifest(client, context);
  return table;
}

export async function fillKeys(
  client: Client,
  context: RunContext,
  { chunks, table }: { chunks: Chunks; table: string },
): Promise<void> {
  await copyKeys(client, table, keysOf(context, chunks));
}

/** The keys of some chunks, as COPY text. */
function* keysOf(
  { spillDir }: RunContext,
  chunks: { chunkNo: number }[],
): Generator<Uint8Array> {
  for (const { chunkNo } of chunks) yield* readKeys(spillDir, chunkNo);
}

const whose = (n: number) =>
  n === 1 ? say("one-has-key-of-row", {}) : say("some-have-keys-of-rows", { n });

/** The problem of a run whose keys another source owns. */
export function foreignRowsProblem(
  { params, sourceName, table }: Pick<RunContext, "params" | "sourceName" | "table">,
  { count, examples }: ForeignRows,
): Problem {
  if (table !== null) {
    return new Problem("foreign-rows", {
      detail: say("rows-of-nobody", {
        who: whose(count),
        table: `${params.schema_name}.${params.table_name}`,
        keys: examples.map((row) => row.event_id).join(", "),
      }),
      errors: [{ field: "table_name", value: params.table_name, message: "has rows of others" }],
    });
  }
  const shown = examples.map((row) => `${row.event_id} (source ${row.source})`).join(", ");
  return new Problem("foreign-rows", {
    detail: say("rows-of-another", {
      who: whose(count),
      table: `${params.schema_name}.${params.table_name}`,
      keys: shown,
      source: sourceName,
    }),
    errors: [{ field: "source.name", value: sourceName, message: "does not own the rows" }],
  });
}

/** Positions that are kept of what a comparison decides. */
const KINDS = {
  insert: "inserts",
  update: "updates",
  delete: "deletes",
  bury: "buries",
  stale: "stales",
} as const;

interface Compared {
  decisions: ChunkDecision[];
  foreign: ForeignRows | null;
}

/** Completes decisions by the keys of their chunks and the destination. */
export async function compare(
  client: Client,
  context: RunContext,
  open: ChunkDecision[],
  keys: KeySet,
): Promise<Compared> {
  const decisions = new Map(open.map((chunk) => [chunk.chunkNo, { ...chunk }]));
  let foreign = false;
  for await (const row of compareKeys(client, keys, context, open.length)) {
    if (foreign || row.decision === "foreign") {
      foreign = true;
      continue;
    }
    const chunk = decisions.get(row.chunk_no)!;
    if (row.decision === "held") chunk.heldBack = row.events;
    else {
      const kind = KINDS[row.decision];
      chunk[kind] = writeWinners(context, chunk, kind, row);
    }
  }
  if (foreign) return { decisions: open, foreign: await foreignRows(client, keys, context) };
  for (const chunk of decisions.values()) {
    chunk.deletions = chunk.deletes + chunk.buries + chunk.stales;
    chunk.deleted = chunk.deletes;
  }
  return { decisions: [...decisions.values()], foreign: null };
}

/** Writes the positions of a kind that did not lose, unless it is all of the chunk; answers how many. */
function writeWinners(
  context: RunContext,
  { chunkNo, events, duplicates }: ChunkDecision,
  kind: (typeof KINDS)[keyof typeof KINDS],
  decided: Decided,
): number {
  if (decided.events === events && duplicates === 0) return events;
  const lost = duplicates === 0 ? new Int32Array(0) : readPositions(context, chunkNo, "losers");
  const winners = decided.positions === null
    ? complement(decided.events, lost.filter((position) => position < decided.events))
    : without(Int32Array.from(decided.positions), lost);
  writePositions(context, chunkNo, kind, winners);
  return winners.length;
}

/** The positions below `count` that are not among the sorted ones. */
export function complement(count: number, sorted: Int32Array): Int32Array<ArrayBuffer> {
  const rest = new Int32Array(count - sorted.length);
  let at = 0;
  for (let value = 0, skip = 0; value < count; value++) {
    if (skip < sorted.length && sorted[skip] === value) skip++;
    else rest[at++] = value;
  }
  return rest;
}

/** The sorted values that are not among the other sorted ones. */
function without(
  values: Int32Array<ArrayBuffer>,
  others: Int32Array,
): Int32Array<ArrayBuffer> {
  let skip = 0;
  return values.filter((value) => {
    while (skip < others.length && others[skip]! < value) skip++;
    return others[skip] !== value;
  });
}
