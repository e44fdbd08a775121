import type { Event, Rejected } from "./event.ts";
import { countKeyTypes, keyTypesWarnings } from "./mapping.ts";
import type { Params } from "./params.ts";
import type { ColumnsConf } from "./sources/columns.ts";
import { mappingOf, previewSource, sourceNameOf } from "./sources/adapters.ts";
import { parseVerbatim } from "./numbers.ts";
import { locate } from "./sources/origin.ts";
import { type ColumnProposal, ColumnProposer } from "./sources/propose_columns.ts";
import type { SourceConf } from "./sources/schema.ts";
import { repeatedNamesWarning } from "./sources/repeated_names.ts";
import type { Json, PlanContext, ReadContext, RecordBatch } from "./sources/source.ts";
import { type TransformedBatch, Transformer } from "./stages/transform.ts";
import { validateBatch } from "./stages/validate.ts";
import { TransformClient } from "./user_code/transform_client.ts";

/** Events and rejected records that a preview shows, each. */
const SHOWN = 20;
/** Records that are read: what shows is counted over all of them. */
const SAMPLE = 200;
/** Keys that occur several times, and their positions, that a preview lists. */
const LISTED = 10;

/** An event as its row would be, without what only a run can say (run_id, first_seen_at, updated_at). */
export interface PreviewEvent {
  /** Number of the record in the source, from 0. */
  position: number;
  event_id: string;
  event_type: string;
  occurred_at: string | null;
  source: string;
  /** Decimal text: a version may have more digits than a JavaScript number. */
  version: string | null;
  /** Integers beyond 2^53 are bigints. */
  payload: Json;
  fingerprint: string;
  event_date: string | null;
  event_hour: number | null;
}

export interface Preview {
  /** How many records were read; the source may have more. */
  sampled: number;
  events: PreviewEvent[];
  rejected: (
    & Pick<Rejected, "position" | "output" | "rule" | "message" | "field" | "raw">
    & { file: string | null; line: number | null; record?: string }
  )[];
  /** Over the whole sample. */
  counts: { events: number; rejected: number; filtered: number; extra: number };
  /** Rejected records of the sample, by rule. */
  rules: Record<string, number>;
  key: {
    /** The fields of the key; null where the record's hash identifies it. */
    fields: string[] | null;
    distinct: number;
    unique: boolean;
    /** Keys that occur several times, with the records where. */
    repeated: { event_id: string; positions: number[] }[];
  };
  /** Columns whose declaration in source.columns would change what their values become. */
  columns: ColumnProposal[];
  warnings: string[];
}

export interface PreviewContext {
  params: Params;
  /** ETL_TRANSFORMS_DIR, resolved. */
  transformsDir: string;
  source: Omit<PlanContext & ReadContext, "signal">;
}

/** What the first records of a source would become. Writes nothing but spooled input. */
export async function preview(
  context: PreviewContext,
  host: MessagePort | null,
): Promise<Preview> {
  const { params } = context;
  const transform = transformOf(context, host);
  const sourceName = sourceNameOf(params.source, params.run_label);
  const mapping = mappingOf(params.source);
  const ctx = { ...context.source, signal: new AbortController().signal };
  const { records, warnings } = await previewSource(params.source, ctx, SAMPLE);
  const proposer = new ColumnProposer(columnsOf(params.source));
  // before a transform changes them
  proposer.observe(records);
  const batch = await transform(records, 0);
  const { valid, rejected } = validateBatch(batch.events, {
    maxPayloadBytes: ctx.limits.maxRecordBytes,
  });
  const allRejected = [...batch.rejected, ...rejected]
    .sort((a, b) => a.position - b.position || a.output - b.output);
  locate(allRejected, records, 0);
  return {
    sampled: records.length,
    events: valid.slice(0, SHOWN).map((event) => asRow(event, sourceName)),
    rejected: allRejected.slice(0, SHOWN).map((each) => ({
      position: each.position,
      output: each.output,
      rule: each.rule,
      message: each.message,
      field: each.field,
      file: each.file ?? null,
      line: each.line ?? null,
      ...(each.record === undefined ? {} : { record: each.record }),
      raw: each.raw.length > 2000 ? `${each.raw.slice(0, 2000)}…` : each.raw,
    })),
    counts: {
      events: valid.length,
      rejected: allRejected.length,
      filtered: batch.filtered,
      extra: batch.extra,
    },
    rules: countBy(allRejected.map(({ rule }) => rule)),
    key: {
      fields: mapping.key === undefined ? null : [mapping.key].flat(),
      ...keysOf(valid),
    },
    columns: proposer.propose(),
    warnings: [
      ...warnings,
      ...repeatedNamesWarning(records.repeatedNames),
      ...params.transform === null
        ? keyTypesWarnings(mapping.key, [countKeyTypes(mapping.key, records)])
        : [],
    ],
  };
}

/** What a source declares; nothing where it cannot. */
export function columnsOf(source: SourceConf): ColumnsConf {
  return "columns" in source || "null_values" in source ? source : {};
}

/**
 * The transform stage as a run would have it; `host` is the line to the host of
 * the module, where the conf names one.
 */
export function transformOf(
  { params, transformsDir }: PreviewContext,
  host: MessagePort | null,
): (records: RecordBatch, start: number) => Promise<TransformedBatch> {
  const mapping = mappingOf(params.source);
  const sourceName = sourceNameOf(params.source, params.run_label);
  if (host === null) {
    const transformer = new Transformer({ mapping, sourceName });
    return (records, start) => Promise.resolve(transformer.batch(records, start));
  }
  const module = new TransformClient(host, {
    module: params.transform!,
    dir: transformsDir,
    mapping,
    sourceName,
    limitMs: params.transform_timeout_ms,
  });
  return (records, start) => module.batch(records, { start, chunkNo: null });
}

function asRow(event: Event, source: string): PreviewEvent {
  const { position, eventId, eventType, occurredAt, version, text, fingerprint } = event;
  return {
    position,
    event_id: eventId,
    event_type: eventType,
    occurred_at: occurredAt,
    source,
    version,
    payload: parseVerbatim(text),
    fingerprint,
    event_date: occurredAt?.slice(0, 10) ?? null,
    event_hour: occurredAt === null ? null : Number(occurredAt.slice(11, 13)),
  };
}

function keysOf(events: Event[]): Omit<Preview["key"], "fields"> {
  const groups = Map.groupBy(events, ({ eventId }) => eventId);
  const repeated = [...groups].filter(([, members]) => members.length > 1);
  return {
    distinct: groups.size,
    unique: repeated.length === 0,
    repeated: repeated.slice(0, LISTED).map(([event_id, members]) => ({
      event_id,
      positions: members.slice(0, LISTED).map(({ position }) => position),
    })),
  };
}

function countBy(names: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
