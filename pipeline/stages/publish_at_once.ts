import { type Message, say, verbatim } from "../../vocabulary/messages.ts";
import {
  FencedOut,
  KeyMissing,
  lockChunks,
  markPublished,
  noteDeletions,
} from "../../store/chunks.ts";
import { errorCode } from "../../store/errors.ts";
import {
  allowLargeJoins,
  analyzeKeys,
  copyKeys,
  createKeyTable,
  datasetOf,
  destinationOf,
  keysIn,
} from "../../store/event_keys.ts";
import { endOthersFirstLoad } from "../../store/first_load.ts";
import { dropStage } from "../../store/event_rows.ts";
import { findMissing, type Missing, removeMissing } from "../../store/missing_rows.ts";
import type { Client } from "../../store/pg.ts";
import { refusesRow } from "../../store/refused_rows.ts";
import { layoutOf } from "../../store/row_layout.ts";
import { finishRunWithin, type Outcome, type StageReport } from "../../store/runs.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { writeRepeated } from "../spill/duplicates.ts";
import { readPresent } from "../spill/reader.ts";
import { type TaskEnvironment, transactionOptions } from "../workers/environment.ts";
import type { AtOnceChunk, ChunkDecision, RunContext, Tasks } from "../workers/task.ts";
import {
  deletionRefused,
  type PublishedRows,
  RowsLeftOut,
  siftRows,
  writeRows,
} from "./publish.ts";
import {
  compare,
  decideAllNew,
  fillKeys,
  findLosers,
  foreignRowsProblem,
  keysOfFilesWarning,
  undecided,
} from "./resolve.ts";

const UNIQUE_VIOLATION = "23505";
/** What an upsert says of a table without its key. */
const NO_KEY = "42P10";
/** Times that others may put a key there between the comparison and the COPY, or leave the table without one. */
const TRIES = 5;

type Input = Tasks["publishAtOnce"]["input"];
type Output = Tasks["publishAtOnce"]["output"];

/**
 * Publishes a run that replaces or mirrors: compares it with its table, deletes or marks what the source has no more, writes
 * what is new or changed, and ends the run, all in one transaction. So readers see all of it or nothing, and whatever fails
 * or is cancelled before the commit leaves nothing behind. Without an outcome (a dry run) it writes nothing.
 */
export async function publishAtOnce(env: TaskEnvironment, input: Input): Promise<Output> {
  const { context, connection } = env;
  const repeated = await writeRepeated(context, input.chunks);
  let { filled } = input;
  let sifts = false;
  for (let tries = 1;; tries++) {
    try {
      return await connection.transaction(
        transactionOptions(env),
        (client) => publish(client, env, { ...input, filled, repeated, sifts }),
      );
    } catch (error) {
      if (tries === TRIES) throw error;
      const code = errorCode(error);
      const isKey = code === UNIQUE_VIOLATION;
      if (error instanceof KeyMissing || code === NO_KEY) {
        await connection.transaction(
          transactionOptions(env),
          (client) => endOthersFirstLoad(client, context.params),
        );
      } else if (
        !sifts && (!isKey || filled) && (refusesRow(code) || error instanceof RowsLeftOut)
      ) {
        sifts = true;
      } else if (!isKey) throw error;
      filled = true;
    }
  }
}

async function publish(
  client: Client,
  env: TaskEnvironment,
  { chunks, filled, outcome, repeated, sifts }: Input & {
    repeated: Set<number>;
    /** Whether the table has refused something: rows, which are looked for and quarantined, or deletions, which may do behind the rows. */
    sifts: boolean;
  },
): Promise<Output> {
  const { context } = env;
  const started = performance.now();
  if (!await lockChunks(client, context)) return { decisions: [], warnings: [], ended: true };
  await allowLargeJoins(client);
  if (outcome !== null) {
    await noteDeletions(client, { dataset: datasetOf(context), source: context.sourceName });
  }
  const { losers, keysOfFiles } = await findLosers(client, context, { repeated, chunks });
  const warnings = keysOfFilesWarning(keysOfFiles);
  let decisions: ChunkDecision[];
  let missing: Missing | null = null;
  if (filled) {
    const keys = await createKeyTable(client, "etl_input");
    await fillKeys(client, context, { chunks, table: keys });
    await analyzeKeys(client, keys);
    const compared = await compare(client, context, undecided(chunks, losers), keysIn(keys));
    if (compared.foreign !== null) throw foreignRowsProblem(context, compared.foreign);
    decisions = compared.decisions;
    const kept = whyKept(context, chunks);
    if (kept !== null) warnings.push(kept);
    else missing = await missingRows(client, context, { chunks, keys });
  } else decisions = decideAllNew(context, chunks, losers);

  const gone = context.params.on_missing === "mark" ? "marked" : "deleted";
  const [first] = decisions;
  if (first !== undefined) first[gone] += missing?.missing ?? 0;
  if (outcome === null) return { decisions, warnings, ended: false };

  const remove = async () => {
    if (first === undefined || missing === null || missing.missing === 0) return;
    const removed = await removeMissing(client, context, { marking: gone === "marked" });
    first[gone] += removed - missing.missing;
  };
  // before the rows: what comes may have what goes has had, where more than the key is unique
  const inTheWay = sifts ? await refusedFirst(client, remove) : await remove();
  const loaded: (() => Promise<void>)[] = [];
  let [recordsIn, recordsOut] = [0, 0];
  for (const decision of decisions) {
    env.signal.throwIfAborted();
    const begun = performance.now();
    const written = sifts
      ? await siftRows(client, env, decision)
      : await writeRows(client, context, decision, !layoutOf(context).direct);
    await dropStage(client);
    recordsIn += decision.events;
    recordsOut += written.inserted + written.updated;
    const loadMs = performance.now() - begun;
    loaded.push(() =>
      markPublished(client, context, decision.chunkNo, {
        ...publishedCounts(decision, written),
        worker: env.workerName,
        loadMs,
        table: destinationOf(context),
      })
    );
  }
  if (inTheWay === true) {
    // what comes may no longer refer to what goes
    try {
      await remove();
    } catch (error) {
      throw deletionRefused(context, error);
    }
  }
  for (const mark of loaded) await mark();
  const stages = outcome.stages.map((stage) =>
    ended(stage, { busyMs: performance.now() - started, in: recordsIn, out: recordsOut })
  );
  await finish(client, context, {
    ...outcome,
    stages,
    warnings: [...outcome.warnings ?? [], ...warnings],
  });
  return { decisions, warnings, ended: true };
}

/** Deletes, unless the table refuses it; true where it does. */
async function refusedFirst(client: Client, remove: () => Promise<void>): Promise<boolean> {
  // what waits for the commit would fail it
  await client.query("set constraints all immediate; savepoint etl_missing");
  try {
    await remove();
  } catch (error) {
    if (!refusesRow(errorCode(error))) throw error;
    await client.query("rollback to savepoint etl_missing");
    return true;
  }
  await client.query("release savepoint etl_missing");
  return false;
}

/** What a published chunk has counted. */
function publishedCounts(decision: ChunkDecision, { keptDeletions, ...written }: PublishedRows) {
  const { events, duplicates, deletions, deletes, deleted, marked } = decision;
  return {
    ...written,
    duplicates,
    deletions: deletions - keptDeletions,
    // those that the source has no more, and those that its records delete
    deleted: deleted - deletes + written.deleted,
    marked,
    unchanged: events - duplicates - (deletions - keptDeletions) - written.inserted -
      written.updated - written.refused,
  };
}

/** Why nothing may be deleted, in words; null where it may. */
function whyKept({ replaces, params }: RunContext, chunks: AtOnceChunk[]): Message | null {
  const marks = params.on_missing === "mark";
  if (chunks.every(({ recordsRead }) => recordsRead === 0)) {
    return say(marks ? "nothing-marked" : "nothing-deleted", {});
  }
  if (replaces) return null;
  const keyless = chunks.reduce((sum, chunk) => sum + chunk.keyless, 0);
  if (keyless === 0) return null;
  const why = keyless === 1 ? say("one-keyless", {}) : say("keyless", { n: keyless });
  return say(marks ? "none-marked" : "none-deleted", { why });
}

async function missingRows(
  client: Client,
  context: RunContext,
  { chunks, keys }: { chunks: AtOnceChunk[]; keys: string },
): Promise<Missing> {
  const { params, replaces, sourceName } = context;
  if (!replaces) {
    // what was rejected is there, whatever is wrong with it
    for (const { chunkNo } of chunks.filter(({ present }) => present)) {
      await copyKeys(client, keys, readPresent(context.spillDir, chunkNo));
    }
  }
  const marking = params.on_missing === "mark";
  const missing = await findMissing(client, keys, context, { marking });
  const { missing: gone, rows } = missing;
  if (replaces || gone <= params.max_delete_ratio * rows) return missing;
  throw new Problem("too-many-deletions", {
    detail: say("too-many-gone", {
      gone,
      rows,
      source: sourceName,
      percent: Math.round(gone / rows * 1000) / 10,
      most: params.max_delete_ratio,
      table: `${params.schema_name}.${params.table_name}`,
    }),
    errors: [{
      field: "max_delete_ratio",
      value: params.max_delete_ratio,
      message: `is less than ${gone} of ${rows} rows`,
      expected: "1, if the rows are to go",
    }],
  });
}

/** A stage as the commit leaves it. */
function ended(
  stage: StageReport,
  { busyMs, ...records }: { busyMs: number; in: number; out: number },
): StageReport {
  const now = new Date().toISOString();
  if (stage.stage === "load") {
    return {
      ...stage,
      state: "succeeded",
      ended_at: now,
      busy_ms: stage.busy_ms + busyMs,
      records_in: records.in,
      records_out: records.out,
    };
  }
  if (stage.stage !== "finalize") return stage;
  return { ...stage, state: "succeeded", started_at: now, ended_at: now };
}

/** Ends the run in the transaction that publishes it. Throws what keeps it from succeeding, so that nothing is published. */
async function finish(client: Client, context: RunContext, outcome: Outcome): Promise<void> {
  const run = await finishRunWithin(client, context, outcome);
  if (run === null) throw new FencedOut(context);
  if (run.cancelled) {
    throw new Problem("cancelled", { detail: say("run-cancelled", {}) });
  }
  if (run.state === "succeeded") return;
  throw new Problem("low-ratio", { detail: verbatim(run.error!.detail) });
}
