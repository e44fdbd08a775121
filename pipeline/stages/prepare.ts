import { lockChunk, markPrepared } from "../../store/chunks.ts";
import { copyIn } from "../../store/copy.ts";
import { quoteIdent } from "../../store/pg.ts";
import { replaceQuarantine } from "../../store/quarantine.ts";
import type { Rejected } from "../event.ts";
import { manifestTable } from "./resolve.ts";
import { countKeyTypes } from "../mapping.ts";
import { Problem } from "../../vocabulary/problem.ts";
import type { Stage } from "../../vocabulary/words.ts";
import { atStage } from "../stage_tracker.ts";
import { mappingOf, readSource } from "../sources/adapters.ts";
import { locate, sliceBatch } from "../sources/origin.ts";
import { addRepeated } from "../sources/repeated_names.ts";
import { type RecordBatch, Unreadable } from "../sources/source.ts";
import { type PreparedCounts, readMeta, type SpillMeta } from "../spill/layout.ts";
import { readKeys } from "../spill/reader.ts";
import { KEY_COLUMNS, SpillWriter } from "../spill/writer.ts";
import { GeValidator, hasSpills, payloadCheckOf } from "./ge_validate.ts";
import { type TransformedBatch, Transformer } from "./transform.ts";
import { validateBatch } from "./validate.ts";
import { spillMaker, type TaskEnvironment, transactionOptions } from "../workers/environment.ts";
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
  const spilled = input.state === "planned" ? null : await readMeta(
    context.spillDir,
    input.chunkNo,
    { maker, published: input.state === "published" },
  );
  const existing = await hasSpills(spilled?.validation) ? spilled : null;
  const made = existing === null ? await makeSpill(env, input, maker) : null;
  const meta = existing ?? made!.meta;
  await connection.transaction(transactionOptions(env), async (client) => {
    await lockChunk(client, context, input.chunkNo);
    if (input.fillManifest) {
      await copyIn(
        client,
        `copy etl.${quoteIdent(manifestTable(context))} (${KEY_COLUMNS.join(", ")}) from stdin`,
        readKeys(context.spillDir, input.chunkNo),
      );
    }
    // a spill that was there has its quarantine and counters stored already
    if (made === null) return;
    await replaceQuarantine(client, context.runId, input.chunkNo, made.rejected);
    await markPrepared(client, context, {
      chunkNo: input.chunkNo,
      worker: env.workerName,
      spillBytes: meta.rowsBytes,
      stageMs: meta.stageMs,
      counts: meta.counts,
    });
  });
  return { meta, reused: existing !== null };
}

async function makeSpill(
  env: TaskEnvironment,
  input: Tasks["prepare"]["input"],
  maker: string,
): Promise<{ meta: SpillMeta; rejected: Rejected[] }> {
  const { context, signal } = env;
  const { params } = context;
  const transform = transformOf(env, input.chunkNo);
  using validator = new GeValidator(context, input.chunkNo);
  const payloadCheck = payloadCheckOf(context);
  const counts: PreparedCounts = {
    records_read: 0,
    rejected: 0,
    filtered: 0,
    extra: 0,
    events: 0,
    cursor_nulls: 0,
  };
  const ms: Partial<Record<Stage, number>> = {};
  const rejected: Rejected[] = [];
  using writer = await SpillWriter.open({
    dir: context.spillDir,
    chunkNo: input.chunkNo,
    runId: context.orderRunId,
    sourceName: context.sourceName,
    pageSize: params.db_page_size,
  });

  let mark = performance.now();
  /** What an error that is thrown now belongs to. */
  let stage: Stage = "extract";
  const lap = (ended: Stage, next: Stage = ended) => {
    const now = performance.now();
    ms[ended] = (ms[ended] ?? 0) + now - mark;
    mark = now;
    stage = next;
  };
  const batches = readSource(params.source, input.slice, {
    spoolDir: context.spillDir,
    dataDir: context.dataDir,
    connections: context.connections,
    pageSize: params.db_page_size,
    limits: context.limits,
    signal,
  });
  try {
    for await (const records of splitAt(batches, HOPELESS_AFTER)) {
      signal.throwIfAborted();
      lap("extract", "transform");
      if (params.source.type === "postgres" && params.source.cursor !== undefined) {
        counts.cursor_nulls += nullCount(records, params.source.cursor);
      }
      counts.repeated_names = addRepeated(counts.repeated_names, records.repeatedNames);
      if (env.module === null) {
        counts.key_types = countKeyTypes(mappingOf(params.source).key, records, counts.key_types);
      }
      const transformed = transform(records, counts.records_read);
      const batch = transformed instanceof Promise ? await transformed : transformed;
      lap("transform", "validate");
      const { valid, rejected: invalid } = validateBatch(batch.events, {
        maxPayloadBytes: context.limits.maxRecordBytes,
        ...(payloadCheck === undefined ? {} : { checks: [payloadCheck] }),
      });
      lap("validate", "ge_validate");
      const { events, rejected: unexpected } = validator.batch(valid);
      lap("ge_validate", "chunk");
      writer.add(events);
      lap("chunk", "validate");

      for (const rows of [batch.rejected, invalid, unexpected]) {
        locate(rows, records, counts.records_read);
        for (const row of rows) rejected.push(row);
      }
      counts.records_read += records.length;
      counts.filtered += batch.filtered;
      counts.extra += batch.extra;
      counts.events += events.length;
      counts.rejected = rejected.length;
      refuseHopeless(context, { chunkNo: input.chunkNo, counts, rejected });
      stage = "extract";
    }
    lap("extract", "ge_validate");
    const validation = validator.finish();
    lap("ge_validate", "chunk");
    const meta = await writer.finish({
      maker,
      counts,
      stageMs: ms,
      ...(validation === null ? {} : { validation }),
    });
    return { meta, rejected };
  } catch (error) {
    throw atStage(error, stage);
  }
}

/** The transform stage of a chunk: here, or where the conf names a module in its host. */
function transformOf(
  { module, context }: TaskEnvironment,
  chunkNo: number,
): (records: RecordBatch, start: number) => TransformedBatch | Promise<TransformedBatch> {
  if (module !== null) return (records, start) => module.batch(records, { start, chunkNo });
  const transformer = new Transformer({
    mapping: mappingOf(context.params.source),
    sourceName: context.sourceName,
  });
  return (records, start) => transformer.batch(records, start);
}

/** The same batches, one of which ends exactly behind the first `count` records. */
async function* splitAt(
  batches: AsyncIterable<RecordBatch>,
  count: number,
): AsyncGenerator<RecordBatch> {
  let read = 0;
  for await (const batch of batches) {
    const rest = count - read;
    read += batch.length;
    if (rest > 0 && rest < batch.length) {
      yield sliceBatch(batch, 0, rest);
      yield sliceBatch(batch, rest);
    } else {
      yield batch;
    }
  }
}

function refuseHopeless(
  { isReplay }: RunContext,
  { chunkNo, counts, rejected }: { chunkNo: number; counts: PreparedCounts; rejected: Rejected[] },
): void {
  const { records_read: read, events, filtered } = counts;
  // what a replay cannot mend goes back to where it came from
  const hopeless = !isReplay && chunkNo === 0 && read >= HOPELESS_AFTER && events === 0 &&
    filtered === 0;
  if (!hopeless && rejected.length <= MAX_QUARANTINE) return;
  throw tooManyRejected(
    hopeless
      ? `The first ${read} records were all rejected`
      : `More than ${MAX_QUARANTINE} records were rejected`,
    rejected[0],
  );
}

/** The problem of a run that rejects more than it may, with an example. */
export function tooManyRejected(what: string, example: Rejected | undefined): Problem {
  const shown = example === undefined
    ? ""
    : ` The first: ${example.message} (rule ${example.rule})${place(example)}, in ${
      example.raw.slice(0, 200)
    }`;
  return new Problem("too-many-rejected", {
    detail:
      `${what}. Check the mapping of the source (key, event_type, occurred_at, version) with a preview.${shown}`,
  });
}

function place({ file, line }: Rejected): string {
  if (typeof file !== "string") return "";
  return typeof line === "number" ? `, line ${line} of ${file}` : `, in ${file}`;
}

function nullCount(records: unknown[], field: string): number {
  let count = 0;
  for (const record of records) {
    if (record instanceof Unreadable) continue;
    const value = (record as Record<string, unknown>)[field];
    if (value === null || value === undefined) count++;
  }
  return count;
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
      throw tooManyRejected(`The first ${read} records were all rejected`, undefined);
    }
  }
  return false;
}
