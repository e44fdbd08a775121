import { type Message, say, verbatim } from "../../vocabulary/messages.ts";
import { lockChunk, markPrepared } from "../../store/chunks.ts";
import { replaceQuarantine } from "../../store/quarantine.ts";
import { rawOf, type Rejected } from "../event.ts";
import { copyKeys, manifestTable, removeKeys } from "../../store/event_keys.ts";
import { storePrepared } from "../../store/sharing.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { atStage } from "../stage_tracker.ts";
import { type ChainOptions, RecordChain } from "../record_chain.ts";
import { readSource } from "../sources/adapters.ts";
import { locate } from "../sources/origin.ts";
import type { LineCount, Plain, ReadContext, RecordBatch, Slice } from "../sources/source.ts";
import { type PreparedCounts, readMeta, type SpillMeta } from "../spill/layout.ts";
import { keysDigest, readKeys } from "../spill/reader.ts";
import { RejectedRows } from "../spill/rejected_rows.ts";
import { presentLine, SpillWriter } from "../spill/writer.ts";
import { hasSpills, readSuiteSpills } from "./ge_validate.ts";
import { spillMaker, type TaskEnvironment, transactionOptions } from "../workers/environment.ts";
import { MemoryWatch } from "../workers/memory.ts";
import type { PrepareResult, RunContext, Tasks } from "../workers/task.ts";

/** A run whose first records are all rejected ends here: its mapping is wrong. */
const HOPELESS_AFTER = 1000;

/** Rejected records that one run may have. */
export const MAX_QUARANTINE = 100_000;

/**
 * Prepares one chunk in a worker: extract, transform, validate and ge_validate
 * batch by batch, the finished rows to a spill file, then counters, quarantine
 * and manifest to the database in one transaction. Uses the spill of an earlier
 * attempt where this server has it.
 */
export async function prepareChunk(
  env: TaskEnvironment,
  input: Tasks["prepare"]["input"],
): Promise<PrepareResult> {
  const { context, connection } = env;
  const maker = spillMaker(context);
  const spilled = input.state === "planned" ? null : readMeta(
    context.spillDir,
    input.chunkNo,
    { maker, published: input.state === "published" },
  );
  const existing = await hasSpills(spilled?.validation) ? spilled : null;
  using rejected = new RejectedRows({
    dir: context.spillDir,
    runId: context.runId,
    chunkNo: input.chunkNo,
  });
  const made = existing === null ? await makeSpill(env, input, { maker, rejected }) : null;
  const meta = existing ?? made!;
  const shared = context.holder === null ? null : {
    chunkNo: input.chunkNo,
    digest: keysDigest(context.spillDir, input.chunkNo),
    spills: await readSuiteSpills(meta.validation),
  };
  // after a crash it is prepared again, unless it has been published
  await connection.transaction({ ...transactionOptions(env), durable: false }, async (client) => {
    await lockChunk(client, context, input.chunkNo);
    if (input.fillManifest) {
      const keys = readKeys(context.spillDir, input.chunkNo);
      if (input.again) await removeKeys(client, manifestTable(context), input.chunkNo);
      await copyKeys(client, manifestTable(context), keys);
    }
    // a spill that was there has its quarantine and counters stored already
    if (made !== null) {
      await replaceQuarantine(
        client,
        { runId: context.runId, chunkNo: input.chunkNo },
        rejected.count === 0 ? null : rejected.blocks(),
      );
      await markPrepared(client, context, {
        chunkNo: input.chunkNo,
        worker: env.workerName,
        serverId: context.serverId,
        spillBytes: meta.rowsBytes,
        stageMs: meta.stageMs,
        counts: meta.counts,
      });
    }
    if (shared !== null) {
      await storePrepared(client, context, { ...shared, meta, reused: made === null });
    }
  });
  return { meta, reused: existing !== null };
}

async function makeSpill(
  env: TaskEnvironment,
  input: Tasks["prepare"]["input"],
  { maker, rejected }: { maker: string; rejected: RejectedRows },
): Promise<SpillMeta> {
  const { context, signal } = env;
  const { params, spillDir } = context;
  using chain = chainOf(env, input.chunkNo, context.suite, {
    orderRunId: context.orderRunId,
    endsBehind: HOPELESS_AFTER,
  });
  const { counts } = chain;
  const memory = new MemoryWatch(context.limits.maxWorkerBytes);
  using writer = SpillWriter.open({
    dir: spillDir,
    chunkNo: input.chunkNo,
    runId: context.orderRunId,
    sourceName: context.sourceName,
    pageSize: params.db_page_size,
    table: context.table,
  });
  const lines: LineCount = { next: 0, ofSlice: true };
  const batches = readSlice(env, input.slice, { lines, flat: chain.takesFlat });
  const mirrors = context.atOnce && !context.replaces;
  let present = "";
  for await (const batch of chain.pass(batches)) {
    signal.throwIfAborted();
    memory.look(input.chunkNo);
    try {
      if (batch.rows === undefined) writer.add(batch.events);
      else writer.addRows(batch.rows);
    } catch (error) {
      throw atStage(error, "chunk");
    }
    for (const row of batch.rejected) {
      rejected.add(row);
      if (mirrors && row.key !== undefined) present += presentLine(row.key);
    }
    try {
      refuseHopeless(context, { chunkNo: input.chunkNo, counts, rejected });
    } catch (error) {
      throw atStage(error, "validate");
    }
  }
  if (lines.next > 0) counts.newlines = lines.next - 1;
  const validation = chain.finish();
  try {
    return writer.finish({
      maker,
      counts,
      present,
      stageMs: chain.ms,
      ...(validation === null ? {} : { validation }),
    });
  } catch (error) {
    throw atStage(error, "chunk");
  }
}

/** What becomes of the records of a run's chunk. */
function chainOf(
  { context, module, source }: TaskEnvironment,
  chunkNo: number,
  suite: Plain | null,
  options: Pick<ChainOptions, "judges" | "onRead" | "orderRunId" | "endsBehind"> = {},
): RecordChain {
  return new RecordChain({
    ...options,
    params: context.params,
    sourceName: context.sourceName,
    privacy: context.privacy,
    module,
    suite,
    hide: source === null ? undefined : (text) => source.hide(text),
    maxPayloadBytes: context.limits.maxRecordBytes,
    spillDir: context.spillDir,
    attempt: context.attempt,
    chunkNo,
    table: context.table,
  });
}

/** The records of a slice of the run's source. */
export function readSlice(
  { context, source, signal }: TaskEnvironment,
  slice: Slice,
  options: Pick<ReadContext, "lines" | "flat"> = {},
): AsyncIterable<RecordBatch> {
  const { params, spillDir } = context;
  return readSource(params.source, slice, {
    spoolDir: spillDir,
    dataDir: context.dataDir,
    connections: context.connections,
    target: context.target,
    pageSize: params.db_page_size,
    ...(context.cursorPosition === null ? {} : { cursorPosition: context.cursorPosition }),
    module: source,
    limits: context.limits,
    now: context.startedAt,
    ...options,
    signal,
  });
}

/**
 * Reads a chunk once more for some of its events, by key and fingerprint: what its table has refused goes to the quarantine as
 * it was read. Those that the source does not give again are missing.
 */
export async function readAgain(
  env: TaskEnvironment,
  { chunkNo, slice }: { chunkNo: number; slice: Slice },
  wanted: Set<string>,
): Promise<Map<string, Rejected>> {
  const found = new Map<string, Rejected>();
  let read: RecordBatch | undefined;
  using chain = chainOf(env, chunkNo, null, { judges: false, onRead: (batch) => read = batch });
  for await (const { events } of chain.pass(readSlice(env, slice))) {
    const rejected: Rejected[] = [];
    for (const event of events) {
      const name = eventName(event);
      if (!wanted.has(name)) continue;
      const { position, output } = event;
      rejected.push({ position, output, rule: "", message: NONE, field: null, raw: rawOf(event) });
      // of several that are the same the last one counts
      found.set(name, rejected.at(-1)!);
    }
    locate(rejected, read!, chain.counts.records_read - read!.length);
    chain.tellPrivate(rejected);
  }
  return found;
}

/** Of a record of which nobody has said yet what is wrong. */
export const NONE = verbatim("");

/** What tells an event of a chunk from those with another content. */
export function eventName(
  { eventId, fingerprint }: { eventId: string; fingerprint: string },
): string {
  return `${fingerprint} ${eventId}`;
}

function refuseHopeless(
  { isReplay }: RunContext,
  { chunkNo, counts, rejected }: {
    chunkNo: number;
    counts: PreparedCounts;
    rejected: RejectedRows;
  },
): void {
  const { records_read: read, events, filtered } = counts;
  // what a replay cannot mend goes back to where it came from
  const hopeless = !isReplay && chunkNo === 0 && read >= HOPELESS_AFTER && events === 0 &&
    filtered === 0;
  if (!hopeless && rejected.count <= MAX_QUARANTINE) return;
  throw tooManyRejected(
    hopeless
      ? say("first-all-rejected", { n: read })
      : say("more-were-rejected", { n: MAX_QUARANTINE }),
    rejected.first,
  );
}

/** The problem of a run that rejects more than it may, with an example. */
export function tooManyRejected(what: Message, example: Rejected | undefined): Problem {
  const shown = example === undefined ? "" : say("first-rejected", {
    what: example.message,
    rule: example.rule,
    place: place(example),
    raw: example.raw.slice(0, 200),
  });
  return new Problem("too-many-rejected", {
    detail: say("too-many-rejected", { what, example: shown }),
  });
}

function place({ file, line }: Rejected): string {
  if (typeof file !== "string") return "";
  return typeof line === "number"
    ? say("at-line-of", { line, file })
    : say("in-the-file", { file });
}

/**
 * A run whose first 1,000 records are all rejected has a wrong mapping. Judges
 * by the first chunks, as far as they are prepared; answers whether there is hope.
 */
export function refuseHopelessRun(metas: (SpillMeta | undefined)[]): boolean {
  let read = 0;
  for (let i = 0; metas[i] !== undefined; i++) {
    const { counts } = metas[i]!;
    if (counts.events > 0 || counts.filtered > 0) return true;
    read += counts.records_read;
    if (read >= 1000) {
      throw tooManyRejected(say("first-all-rejected", { n: read }), undefined);
    }
  }
  return false;
}
