import type { EventColumns } from "./expectations/expectations.ts";
import {
  compileSuite,
  isRowWise,
  newProfile,
  readSuite,
  type ValidationResult,
  writeSuite,
} from "./expectations/expectations.ts";
import { chainOf, type PreviewContext } from "./preview.ts";
import { columnsOf } from "./sources/adapters.ts";
import { parseJson } from "./sources/json_text.ts";
import { planFirst, planSource, readSource } from "./sources/adapters.ts";
import { sliceBatch } from "./sources/origin.ts";
import { type ColumnProposal, ColumnProposer } from "./sources/propose_columns.ts";
import type { Plain, RecordBatch, SourceRecord } from "./sources/source.ts";
import { verdict } from "./stages/ge_validate.ts";
import type { SampledRow } from "../store/dataset_page.ts";
import type { Bounded } from "./workers/aside_worker.ts";

/** A source that is read outside of a run. */
export interface SampleContext extends PreviewContext {
  /** Records that are read at most; null: all of them. */
  maxRecords: number | null;
}

/** A suite that is proposed, and what was looked at for it. */
export interface ProfileResult {
  /** In the JSON of Great Expectations 1.x, ready to edit. */
  suite: Record<string, unknown>;
  records: number;
  events: number;
  /** Records that a run would quarantine before its suite sees them. */
  rejected: number;
  /** Whether the source has more records than were read. */
  cut: boolean;
  warnings: string[];
  /** Columns whose declaration in source.columns would change what their values become. */
  columns: ColumnProposal[];
}

/** Proposes a suite named `name` that holds on the events of a source. */
export async function profileSource(
  context: SampleContext & { name: string },
  host: MessagePort | null,
  bounded: Bounded,
): Promise<ProfileResult> {
  const profile = newProfile({ name: context.name, spillDir: context.source.spoolDir });
  const proposer = new ColumnProposer(columnsOf(context.params.source));
  const told = { cut: false, warnings: [] as string[] };
  let events = 0;
  using chain = chainOf(context, host, {
    judges: false,
    bounded,
    onRead: (records) => proposer.observe(records),
  });
  for await (const { valid } of chain.pass(sampleOf(context, told))) {
    events += valid.length;
    if (valid.length === 0) continue;
    await bounded(() => profile.observe(valid.map(({ payload }) => payload), valid));
  }
  return {
    suite: await bounded(() => profile.finish()),
    records: chain.counts.records_read,
    events,
    rejected: chain.counts.rejected - (events - chain.counts.events),
    ...told,
    columns: proposer.propose(),
  };
}

/** The records of a source in batches of about 1,000, as far as they are wanted; pins nothing. */
async function* sampleOf(
  { params, mostRecords, source, maxRecords }: SampleContext,
  told: { cut: boolean; warnings: string[] },
): AsyncGenerator<RecordBatch> {
  const ctx = { ...source, signal: new AbortController().signal };
  const made = mostRecords ?? Infinity;
  const most = Math.min(maxRecords ?? Infinity, made);
  // one more tells whether there are more
  const { slices, warnings } = Number.isFinite(most)
    ? await planFirst(params.source, ctx, most === made ? most : most + 1)
    : await planSource(params.source, ctx);
  told.warnings.push(...warnings);
  let left = most;
  for (const slice of slices) {
    for await (const batch of readSource(params.source, slice, ctx)) {
      if (batch.length > left) told.cut = true;
      const records = batch.length > left ? sliceBatch(batch, 0, left) : batch;
      if (records.length === 0) return;
      left -= records.length;
      yield records;
    }
  }
}

/** A sample to try a suite on: records as they are, rows of a dataset, or records of a source as a run would see them. */
export type TrySample =
  | { records: SourceRecord[] }
  | { rows: SampledRow[] }
  | { source: SampleContext };

/** A suite as it is stored. */
export interface CheckedSuite {
  suite: Record<string, unknown>;
  /** Whether each verdict depends on a row alone. */
  rowWise: boolean;
}

/** Reads and compiles a suite. Throws a Problem with everything that is wrong with it. */
export function checkSuite(json: unknown): CheckedSuite {
  const suite = readSuite(json);
  compileSuite(suite);
  return { suite: writeSuite(suite), rowWise: suite.expectations.every(isRowWise) };
}

/** What a suite, in the JSON of Great Expectations, says of a sample. */
export async function trySuite(
  { suite, sample }: { suite: unknown; sample: TrySample },
  host: MessagePort | null,
  bounded: Bounded,
): Promise<ValidationResult> {
  if ("source" in sample) {
    const json = suite as Plain;
    // a run with this suite would have it judge, and leave every row in
    const params = { ...sample.source.params, on_failure: "record" as const };
    using chain = chainOf({ ...sample.source, params, suite: json }, host, { bounded });
    for await (const _ of chain.pass(sampleOf(sample.source, { cut: false, warnings: [] })));
    return await bounded(() => verdict(json, [chain.finish()!]));
  }
  const compiled = compileSuite(readSuite(suite));
  const state = compiled.newState({ chunkNo: 0 });
  if ("rows" in sample) {
    const { rows } = sample;
    // a typed table has no event's columns beside its own
    const typed = rows.every(({ event_id }) => event_id === null);
    for (let from = 0; from < rows.length; from += 1000) {
      const some = rows.slice(from, from + 1000);
      const records = some.map(({ payload }) => parseJson(payload) as SourceRecord);
      compiled.observe(state, records, typed ? {} : { events: some.map(columnsOfRow) });
    }
  } else {
    for (let from = 0; from < sample.records.length; from += 1000) {
      compiled.observe(state, sample.records.slice(from, from + 1000), {});
    }
  }
  return compiled.finish(compiled.mergeStates([compiled.serializeState(state)]));
}

function columnsOfRow({ event_id, event_type, occurred_at }: SampledRow): EventColumns {
  return { eventId: event_id!, eventType: event_type!, occurredAt: occurred_at };
}
