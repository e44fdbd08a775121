import type { Event } from "./event.ts";
import { columnsOf, type PreviewContext, transformOf } from "./preview.ts";
import { adapterFor, planFirst } from "./sources/adapters.ts";
import { type ColumnProposal, ColumnProposer } from "./sources/propose_columns.ts";
import { validateBatch } from "./stages/validate.ts";

export interface SourceEventsContext extends PreviewContext {
  /** Records that are read at most; null: all of them. */
  maxRecords: number | null;
}

/** What became of the records of a source, so far. */
export interface SourceEventsCounts {
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

/**
 * The events of a source in batches of about 1,000, as a run's suite would see
 * them. Makes no run; pins nothing. `counts` is brought up to date with each batch.
 */
export async function* sourceEvents(
  { params, transformsDir, source, maxRecords }: SourceEventsContext,
  counts: SourceEventsCounts,
  host: MessagePort | null,
): AsyncGenerator<Event[]> {
  const transform = transformOf({ params, transformsDir, source }, host);
  const { signal } = new AbortController();
  const ctx = { ...source, signal };
  const generated = params.source.type === "synthetic" ? params.batch_size : Infinity;
  const most = Math.min(maxRecords ?? Infinity, generated);
  const adapter = adapterFor(params.source);
  // one more tells whether there are more
  const { slices, warnings } = Number.isFinite(most)
    ? await planFirst(params.source, ctx, most === generated ? most : most + 1)
    : await adapter.plan(params.source, ctx);
  counts.warnings.push(...warnings);
  const proposer = new ColumnProposer(columnsOf(params.source));
  for (const slice of slices) {
    for await (const batch of adapter.read(params.source, slice, ctx)) {
      const records = batch.slice(0, most - counts.records);
      if (records.length < batch.length) counts.cut = true;
      if (records.length === 0) {
        counts.columns = proposer.propose();
        return;
      }
      proposer.observe(records);
      const transformed = await transform(records, counts.records);
      const { valid, rejected } = validateBatch(transformed.events, {
        maxPayloadBytes: ctx.limits.maxRecordBytes,
      });
      counts.records += records.length;
      counts.events += valid.length;
      counts.rejected += transformed.rejected.length + rejected.length;
      if (valid.length > 0) yield valid;
    }
  }
  counts.columns = proposer.propose();
}

export function noCounts(): SourceEventsCounts {
  return { records: 0, events: 0, rejected: 0, cut: false, warnings: [], columns: [] };
}
