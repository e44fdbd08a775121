import { inSpanish, type Message, say } from "../vocabulary/messages.ts";
import type { Event, Rejected } from "./event.ts";
import { keyTypesWarnings } from "./mapping.ts";
import type { Params } from "./params.ts";
import { missingFieldsWarning, type Privacy } from "./private_fields.ts";
import {
  columnsOf,
  mappingOf,
  mappingOfRun,
  previewSource,
  sourceNameOf,
  tableKeyOf,
} from "./sources/adapters.ts";
import { parseVerbatim } from "./numbers.ts";
import { type ColumnProposal, ColumnProposer } from "./sources/propose_columns.ts";
import { repeatedNamesWarning } from "./sources/repeated_names.ts";
import { type ChainBatch, type ChainOptions, isRawField, RecordChain } from "./record_chain.ts";
import { locate } from "./sources/origin.ts";
import {
  mapOnto,
  onOwnTable,
  primaryKeyOf,
  proposeTable,
  RowShaper,
  TypeProposer,
} from "./typed_rows.ts";
import type { OwnTable } from "../store/own_tables.ts";
import type { TypedTable } from "../store/row_layout.ts";
import {
  type Json,
  type Plain,
  type PlanContext,
  type ReadContext,
  type RecordBatch,
  Unreadable,
} from "./sources/source.ts";
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
  /** Names of the events' fields in the order of the source, then those that it does not have. */
  fields: string[];
  rejected: (
    & Pick<Rejected, "position" | "output" | "rule" | "field" | "raw">
    & { message: string; file: string | null; line: number | null; record?: string }
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
  /** Columns of a typed table, as it has them or its first load would make them; null: a table of events. */
  table: { name: string; type: string }[] | null;
  /** What {{slot}} stood for; null: the conf has no such text. */
  slot: string | null;
  warnings: string[];
}

export interface PreviewContext {
  /** Whether messages are Spanish; default: English. */
  spanish?: boolean;
  params: Params;
  /** The personal data of its records; null where there is none. */
  privacy: Privacy | null;
  /** Records that a run would read; null for all. */
  mostRecords: number | null;
  /** What {{slot}} stood for in its conf; null: there was no such place. Default: null. */
  slot?: string | null;
  /** ETL_TRANSFORMS_DIR, resolved. */
  transformsDir: string;
  /** ETL_SOURCES_DIR, resolved. */
  sourcesDir: string;
  /** The suite that a run would have. */
  suite: Plain | null;
  /** What a typed dataset has declared; null where there is nothing yet, or its rows are events. */
  table?: TypedTable | null;
  /** The table of the user's own that is there; null where there is none. */
  own?: OwnTable | null;
  source: Omit<PlanContext & ReadContext, "signal">;
}

/** What the first records of a source would become. Writes nothing but spooled input. */
export async function preview(
  context: PreviewContext,
  host: MessagePort | null,
): Promise<Preview> {
  const { params } = context;
  const said = context.spanish === true ? inSpanish : (text: Message) => text;
  const mapping = mappingOf(params.source);
  const ctx = { ...context.source, signal: new AbortController().signal };
  const count = Math.min(SAMPLE, context.mostRecords ?? SAMPLE);
  const { records, warnings } = await previewSource(params.source, ctx, count);
  const proposer = new ColumnProposer(columnsOf(params.source));
  using chain = chainOf(context, host, {
    judges: false,
    onRead: (batch) => proposer.observe(batch),
  });
  const [batch = { events: [], rejected: [], types: undefined, cells: false }] = await Array
    .fromAsync(
      chain.pass(only(records)),
    );
  chain.finish();
  const { counts } = chain;
  const typed = params.layout === "typed" ? asTyped(context, batch, records) : null;
  const events = typed?.valid ?? batch.events;
  const rejected = [...batch.rejected, ...typed?.rejected ?? []];
  counts.events = events.length;
  counts.rejected = rejected.length;
  rejected.sort((a, b) => a.position - b.position || a.output - b.output);
  const sourceName = sourceNameOf(params.source, params.run_label);
  const shown = events.slice(0, SHOWN).map((event) => asRow(event, sourceName));
  return {
    sampled: records.length,
    events: shown,
    fields: fieldsOf(shown, records),
    rejected: rejected.slice(0, SHOWN).map((each) => ({
      position: each.position,
      output: each.output,
      rule: each.rule,
      message: said(each.message),
      field: each.field,
      file: each.file ?? null,
      line: each.line ?? null,
      ...(each.record === undefined ? {} : { record: each.record }),
      raw: each.raw.length > 2000 ? `${each.raw.slice(0, 2000)}…` : each.raw,
    })),
    counts: {
      events: counts.events,
      rejected: counts.rejected,
      filtered: counts.filtered,
      extra: counts.extra,
    },
    rules: countBy(rejected.map(({ rule }) => rule)),
    key: {
      fields: mapping.key === undefined ? null : [mapping.key].flat(),
      ...keysOf(events),
    },
    columns: proposer.propose(),
    table: typed?.columns ?? null,
    slot: context.slot ?? null,
    warnings: [
      ...warnings,
      ...typed?.warnings ?? [],
      ...repeatedNamesWarning(counts.repeated_names),
      ...keyTypesWarnings(mapping.key, [counts.key_types]),
      ...(records.length === 0
        ? []
        : missingFieldsWarning(context.privacy, counts.private_found ?? [])),
    ].map(said),
  };
}

/** Events as rows of the typed table that a run would load, or make. */
function asTyped(
  { params, table, own = null, source, privacy }: PreviewContext,
  { events, types, cells }: Pick<ChainBatch, "events" | "types" | "cells">,
  records: RecordBatch,
): {
  valid: Event[];
  rejected: Rejected[];
  columns: { name: string; type: string }[];
  warnings: Message[];
} {
  const { version } = mappingOf(params.source);
  const keys = tableKeyOf(params);
  const proposer = new TypeProposer(keys ?? []);
  for (const { payload } of events) proposer.observe(payload, { types, cells });
  const conf = columnsOf(params.source);
  const mapped = own === null || table !== null
    ? null
    : mapOnto(own, [...Object.keys(proposer.seen), ...keys ?? []], { conf });
  const proposed: TypedTable = table ?? {
    source: sourceNameOf(params.source, params.run_label),
    key: mapped === null ? keys : keys ?? primaryKeyOf(own!, mapped),
    version: version ?? null,
    occurred_at: null,
    columns: mapped ?? proposeTable(proposer.seen, { conf, keep: keys ?? [] }),
  };
  const shaped = own === null ? proposed : onOwnTable(proposed, own);
  const shaper = new RowShaper(shaped, {
    quarantinesUnknown: params.schema_policy === "quarantine",
    maxPayloadBytes: source.limits.maxRecordBytes,
    conf,
    isRaw: isRawField({ params, privacy }),
  });
  const { valid, rejected } = shaper.batch(events, { types, cells });
  locate(rejected, records, 0);
  const unknown = Object.entries(shaper.unknown).map(([field, { type }]) => `${field} (${type})`);
  return {
    valid,
    rejected,
    columns: shaped.columns.map(({ name, type }) => ({ name, type })),
    warnings: unknown.length === 0 ? [] : [
      say(
        own !== null
          ? "no-column-fails-owner"
          : params.schema_policy === "evolve"
          ? "no-column-adds"
          : "no-column-fails",
        { fields: unknown.join(", ") },
      ),
    ],
  };
}

async function* only(batch: RecordBatch): AsyncGenerator<RecordBatch> {
  if (batch.length > 0) yield await Promise.resolve(batch);
}

/**
 * The chain of a run, outside of one; `host` is the line to the host of the
 * module, where the conf names one.
 */
export function chainOf(
  { params, privacy, transformsDir, source, suite }: PreviewContext,
  host: MessagePort | null,
  options: Pick<ChainOptions, "judges" | "onRead" | "bounded">,
): RecordChain {
  const sourceName = sourceNameOf(params.source, params.run_label);
  const { module: hosted } = source;
  return new RecordChain({
    ...options,
    params,
    sourceName,
    privacy,
    module: host === null ? null : new TransformClient(host, {
      module: params.transform!,
      dir: transformsDir,
      mapping: mappingOfRun(params),
      sourceName,
      limitMs: params.transform_timeout_ms,
    }),
    suite,
    hide: hosted == null ? undefined : (text) => hosted.hide(text),
    maxPayloadBytes: source.limits.maxRecordBytes,
    spillDir: source.spoolDir,
    chunkNo: null,
  });
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

/** What the payloads have, whose own names are sorted. */
function fieldsOf(events: PreviewEvent[], records: RecordBatch): string[] {
  const namesIn = (values: unknown[]) =>
    values.flatMap((value) =>
      typeof value === "object" && value !== null ? Object.keys(value) : []
    );
  const shown = new Set(namesIn(events.map(({ payload }) => payload)));
  const read = new Set(namesIn(records.filter((record) => !(record instanceof Unreadable))));
  return [...read.intersection(shown), ...shown.difference(read)];
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
