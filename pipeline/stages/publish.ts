import {
  KeyMissing,
  lockChunk,
  markPublished,
  noteDeletions,
  type PublishedCounts,
} from "../../store/chunks.ts";
import { errorCode } from "../../store/errors.ts";
import { endOthersFirstLoad } from "../../store/first_load.ts";
import { copyKeys, createKeyTable, datasetOf, dropKeyTable } from "../../store/event_keys.ts";
import { removeKeyed } from "../../store/missing_rows.ts";
import { bury, keysOf, type RefusedDeletion, siftDeletions } from "../../store/tombstones.ts";
import {
  copyRows,
  countLeftOut,
  createStage,
  LEFT_OUT,
  upsertStaged,
} from "../../store/event_rows.ts";
import { numberStaged, refusesRow, refuseUnheld, siftStaged } from "../../store/refused_rows.ts";
import { type Client, quoteTable } from "../../store/pg.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { layoutOf } from "../../store/row_layout.ts";
import { quarantineRefused } from "./refused_rows.ts";
import { decideAlone, foreignRowsProblem } from "./resolve.ts";
import { readDecision } from "../../store/sharing.ts";
import { chunkFile, positionsOf, readPositions, writePositions } from "../spill/layout.ts";
import { readKeys, readRows } from "../spill/reader.ts";
import { type TaskEnvironment, transactionOptions } from "../workers/environment.ts";
import type { ChunkDecision, PublishResult, RunContext, Tasks } from "../workers/task.ts";

/** What an upsert says of a table without its key. */
const NO_KEY = "42P10";
/** Bytes of one COPY message at least and at most. */
const MIN_FLUSH_BYTES = 1 << 10;
const MAX_FLUSH_BYTES = 1 << 20;

/**
 * The load stage of one chunk, in one transaction: new rows by COPY straight
 * into the destination, changed rows through a staging table and an upsert, the
 * chunk's state with them, so that each chunk is published exactly once. When
 * another run has put one of the new keys there since resolve, or the table refuses a
 * row, the whole chunk goes through the upsert. The key that another run's first load has left out is
 * made first. What is new is decided here, too, for the only chunk of a run.
 */
export async function publishChunk(
  env: TaskEnvironment,
  input: Tasks["publish"]["input"],
): Promise<PublishResult> {
  const started = performance.now();
  const { context, connection } = env;
  const { chunkNo } = "alone" in input ? input.alone.chunk : input.decision;
  let sifts = false;
  const once = () =>
    connection.transaction(transactionOptions(env), async (client) => {
      const { state, counts: earlier } = await lockChunk(client, context, chunkNo);
      // by another attempt, or by this one whose commit was not confirmed
      if (state === "published") return { published: false, refused: 0, ...earlier };
      if (context.holder !== null) await takePositions(client, context, chunkNo);
      const { decision, keysOfFiles } = "alone" in input
        ? await decideAlone(client, context, input.alone)
        : { ...input, keysOfFiles: undefined };
      const { keptDeletions, ...written } = sifts
        ? await siftRows(client, env, decision)
        : await writeRows(client, context, decision, !layoutOf(context).direct);
      const counts: Required<PublishedCounts> = {
        ...written,
        duplicates: decision.duplicates,
        deletions: decision.deletions - keptDeletions,
        marked: decision.marked,
        unchanged: 0,
      };
      counts.unchanged = decision.events - counts.duplicates - counts.refused - counts.deletions -
        counts.inserted - counts.updated;
      const loadMs = performance.now() - started;
      await markPublished(client, context, chunkNo, {
        ...counts,
        worker: env.workerName,
        loadMs,
        table: quoteTable(context.params.schema_name, context.params.table_name),
      });
      return { published: true, ...counts, heldBack: decision.heldBack, keysOfFiles };
    });
  let result: Omit<PublishResult, "elapsedMs"> | null = null;
  while (result === null) {
    try {
      result = await once();
    } catch (error) {
      if (error instanceof KeyMissing || errorCode(error) === NO_KEY) {
        await connection.transaction(
          transactionOptions(env),
          (client) => endOthersFirstLoad(client, context.params),
        );
      } else if (!sifts && (error instanceof RowsLeftOut || refusesRow(errorCode(error)))) {
        // or holds the key of one that is to be new, since another run was faster
        sifts = true;
      } else throw error;
    }
  }
  removeRows(context, chunkNo);
  return { ...result, elapsedMs: performance.now() - started };
}

/** Rows were written and are not there: nothing was raised, and nothing may be lost without a word. */
export class RowsLeftOut extends Problem {
  constructor(
    { schema_name, table_name }: RunContext["params"],
    missing: number,
    written: number,
  ) {
    super("destination-mismatch", {
      detail: say("rows-left-out", {
        missing,
        written,
        table: `${schema_name}.${table_name}`,
        why: LEFT_OUT,
      }),
    });
  }
}

/** Puts beside the spill what the run's coordinator has decided, which may be another server. */
async function takePositions(
  client: Client,
  context: RunContext,
  chunkNo: number,
): Promise<void> {
  const decided = await readDecision(client, context.runId, chunkNo);
  for (const kind of ["inserts", "updates"] as const) {
    const bits = decided[kind];
    if (bits !== null) writePositions(context, chunkNo, kind, positionsOf(bits));
  }
}

/** Rows that a chunk has brought. */
export interface PublishedRows {
  inserted: number;
  updated: number;
  /** Rows that deletions of a feed have removed. */
  deleted: number;
  /** Records that the table has refused, and how many of them are deletions. */
  refused: number;
  keptDeletions: number;
}

/**
 * Writes the new and changed rows of a chunk, all of them as an upsert where one of the new keys may be there, and deletes
 * what its records delete.
 */
export async function writeRows(
  client: Client,
  context: RunContext,
  decision: ChunkDecision,
  upsertAll: boolean,
): Promise<PublishedRows> {
  const { params, spillDir } = context;
  const { chunkNo } = decision;
  const destination = quoteTable(params.schema_name, params.table_name);
  const layout = layoutOf(context);
  const blockBytes = flushBytes(context, decision);
  const rows = (kind: "inserts" | "updates") =>
    readRows(spillDir, chunkNo, {
      blockBytes,
      positions: decision[kind] === decision.events
        ? undefined
        : readPositions(context, chunkNo, kind),
    });

  const { inserts, updates } = decision;
  const { deleted } = await deleteKeys(client, context, decision, { sifts: false });
  const none = { refused: 0, keptDeletions: 0 };
  if (inserts > 0 && !upsertAll) {
    const to = { table: destination, layout };
    const added = await copyRows(client, to, rows("inserts"));
    if (added < inserts) throw new RowsLeftOut(params, inserts - added, inserts);
  }
  if (updates === 0 && !upsertAll) return { inserted: inserts, updated: 0, deleted, ...none };

  const stage = {
    table: await createStage(client, destination, layout),
    layout,
  };
  let staged = 0;
  if (upsertAll && inserts > 0) staged += await copyRows(client, stage, rows("inserts"));
  if (updates > 0) staged += await copyRows(client, stage, rows("updates"));
  const held = layout.holds("s");
  if (held !== null) await refuseUnheld(client, held);
  const { foreign, inserted, updated } = await upsertStaged(client, destination, {
    ...context,
    layout,
  }, updates + (upsertAll ? inserts : 0));
  if (foreign.length > 0) {
    throw foreignRowsProblem(context, { count: foreign.length, examples: foreign });
  }
  if (inserted + updated < staged) {
    const missing = await countLeftOut(client, destination, layout);
    if (missing > 0) throw new RowsLeftOut(params, missing, staged);
  }
  return { inserted: (upsertAll ? 0 : inserts) + inserted, updated, deleted, ...none };
}

/** The problem of a run that replaces or mirrors where the table keeps rows that are to go; any other error as it is. */
export function deletionRefused(
  { params: { schema_name, table_name, on_missing } }: RunContext,
  error: unknown,
): unknown {
  const code = errorCode(error);
  if (!refusesRow(code)) return error;
  const { message, detail } = error as { message: string; detail?: string };
  const marks = on_missing === "mark";
  return new Problem("deletion-refused", {
    detail: say(marks ? "marking-refused" : "deletion-refused", {
      table: `${schema_name}.${table_name}`,
      error: detail === undefined ? message : `${message}: ${detail}`,
      code: code ?? "",
    }),
  });
}

/** Deletes the rows of the keys that a chunk's records delete, and notes the keys. `sifts`: but for those that are refused. */
async function deleteKeys(
  client: Client,
  context: RunContext,
  decision: ChunkDecision,
  { sifts }: { sifts: boolean },
): Promise<{ deleted: number; refused: RefusedDeletion[] }> {
  if (decision.deletes + decision.buries === 0) return { deleted: 0, refused: [] };
  // publishing at once has noted it, and counting twice does no harm
  await noteDeletions(client, { dataset: datasetOf(context), source: context.sourceName });
  const keys = await createKeyTable(client, "etl_deletions");
  for (const kind of ["deletes", "buries"] as const) {
    if (decision[kind] === 0) continue;
    const positions = decision[kind] === decision.events
      ? undefined
      : readPositions(context, decision.chunkNo, kind);
    await copyKeys(client, keys, readKeys(context.spillDir, decision.chunkNo, { positions }));
  }
  const buried = sifts
    ? await siftDeletions(client, keysOf(client, keys), context)
    : { deleted: await bury(client, keys, context), refused: [] };
  await dropKeyTable(client, keys);
  return buried;
}

/**
 * Writes a chunk some of whose rows or deletions the table refuses: those records go to the quarantine, and the rest is
 * written. All goes through the staging table. Deletions that rows were in the way of are tried again behind them.
 */
export async function siftRows(
  client: Client,
  env: TaskEnvironment,
  decision: ChunkDecision,
): Promise<PublishedRows> {
  const { context } = env;
  const first = await deleteKeys(client, context, decision, { sifts: true });
  const written = context.table === null
    ? await writeRows(client, context, { ...decision, deletes: 0, buries: 0 }, true)
    : await siftStagedRows(client, env, decision);
  if (first.refused.length === 0) return { ...written, deleted: written.deleted + first.deleted };
  const { deleted, refused } = await siftDeletions(client, [first.refused], context);
  if (refused.length > 0) {
    const places = Int32Array.from(refused.map(({ position }) => position));
    await quarantineRefused(client, env, {
      chunkNo: decision.chunkNo,
      places,
      refused: refused.map(({ why }, index) => ({ index, ...why })),
      hopeless: false,
    });
  }
  return {
    ...written,
    deleted: written.deleted + first.deleted + deleted,
    refused: written.refused + refused.length,
    keptDeletions: refused.length,
  };
}

async function siftStagedRows(
  client: Client,
  env: TaskEnvironment,
  decision: ChunkDecision,
): Promise<PublishedRows> {
  const { context } = env;
  const { chunkNo, events } = decision;
  const destination = quoteTable(context.params.schema_name, context.params.table_name);
  const layout = layoutOf(context);
  const stage = { table: await createStage(client, destination, layout), layout };
  await numberStaged(client);
  const blockBytes = flushBytes(context, decision);
  const positions: number[] = [];
  for (const kind of ["inserts", "updates"] as const) {
    if (decision[kind] === 0) continue;
    const chosen = decision[kind] === events ? undefined : readPositions(context, chunkNo, kind);
    await copyRows(
      client,
      stage,
      readRows(context.spillDir, chunkNo, { blockBytes, positions: chosen }),
    );
    for (let i = 0; i < decision[kind]; i++) positions.push(chosen?.[i] ?? i);
  }
  let gone = 0;
  const { foreign, refused, hopeless, inserted, updated } = await siftStaged(client, destination, {
    ...context,
    layout,
  }, {
    givesUp: chunkNo === 0 && !context.isReplay &&
      positions.length + decision.duplicates === events,
  });
  if (foreign.length > 0) {
    throw foreignRowsProblem(context, { count: foreign.length, examples: foreign });
  }
  if (refused.length > 0) {
    const places = Int32Array.from(refused.map(({ index }) => positions[index]!));
    await quarantineRefused(client, env, { chunkNo, places, refused, hopeless });
    if (context.replaces) {
      // what was rejected is not there
      const keys = await createKeyTable(client, "etl_rejected");
      const sorted = places.toSorted();
      await copyKeys(client, keys, readKeys(context.spillDir, chunkNo, { positions: sorted }));
      try {
        gone = await removeKeyed(client, keys, context);
      } catch (error) {
        throw deletionRefused(context, error);
      }
      await dropKeyTable(client, keys);
    }
  }
  return { inserted, updated, deleted: gone, refused: refused.length, keptDeletions: 0 };
}

/** db_page_size rows of this chunk, in bytes. */
function flushBytes(context: RunContext, { chunkNo, events }: ChunkDecision) {
  const { size } = Deno.statSync(chunkFile(context.spillDir, chunkNo, "rows"));
  const page = (size / Math.max(1, events)) * context.params.db_page_size;
  return Math.trunc(Math.min(MAX_FLUSH_BYTES, Math.max(MIN_FLUSH_BYTES, page)));
}

/** Rows of a published chunk are in the table; its keys may still be compared by a later attempt. */
function removeRows(context: RunContext, chunkNo: number): void {
  try {
    Deno.truncateSync(chunkFile(context.spillDir, chunkNo, "rows"), 0);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
