import type { Message } from "../../vocabulary/messages.ts";
import type { ColumnsConf } from "./columns.ts";
import { fileAdapter } from "./file.ts";
import { httpAdapter } from "./http/source.ts";
import { inlineAdapter } from "./inline.ts";
import { moduleAdapter } from "./modules/source.ts";
import { postgresAdapter } from "./postgres/source.ts";
import { s3Adapter } from "./s3/source.ts";
import type { SourceConf } from "./schema.ts";
import type {
  Origin,
  Plan,
  PlanContext,
  ReadContext,
  RecordBatch,
  Slice,
  SourceAdapter,
} from "./source.ts";
import { syntheticAdapter } from "./synthetic.ts";
import type { MappingConf } from "../mapping.ts";

/** Every kind of source, by its `type`. */
export const ADAPTERS = {
  synthetic: syntheticAdapter,
  inline: inlineAdapter,
  file: fileAdapter,
  http: httpAdapter,
  postgres: postgresAdapter,
  s3: s3Adapter,
  module: moduleAdapter,
};

/** The adapter of a conf's `type`. */
export function adapterFor(conf: SourceConf): SourceAdapter<SourceConf> {
  return ADAPTERS[conf.type] as SourceAdapter<SourceConf>;
}

/** Whether batch_size says how many records a run reads: where it was given, or the source has no end of its own. */
export function isBounded(conf: SourceConf, origins: Record<string, string>): boolean {
  return adapterFor(conf).endless === true ||
    ["request", "configuration"].includes(origins.batch_size ?? "");
}

/** The column by which an incremental conf reads what has changed; undefined for any other. */
export function cursorOf(conf: SourceConf): string | undefined {
  return adapterFor(conf).cursor?.(conf);
}

/** Plans the slices of a source; `adapterFor(conf).plan` in one call. */
export function planSource(conf: SourceConf, ctx: PlanContext): Promise<Plan> {
  return adapterFor(conf).plan(conf, ctx);
}

/** Reads the records of one slice, in order, in batches of about 1,000. */
export function readSource(
  conf: SourceConf,
  slice: Slice,
  ctx: ReadContext,
): AsyncIterable<RecordBatch> {
  return adapterFor(conf).read(conf, slice, ctx);
}

/** The mapping of a source, with the defaults of its kind. */
export function mappingOf(source: SourceConf): MappingConf {
  return { ...adapterFor(source).mapping, ...source };
}

interface WritingConf {
  source: SourceConf;
  write: string;
}

/** The mapping of a run: of one that keeps a history each version is an event of its own; a feed may carry deletions. */
export function mappingOfRun(
  { source, write, deleted = null }: WritingConf & Pick<MappingConf, "deleted">,
): MappingConf {
  return {
    ...mappingOf(source),
    ...(write === "history" ? { history: true } : {}),
    ...(deleted === null ? {} : { deleted }),
  };
}

/** The fields of the key of a typed table; null where the record's hash is the key. */
export function tableKeyOf({ source, write }: WritingConf): string[] | null {
  const { key, version } = mappingOf(source);
  if (key === undefined) return null;
  return write === "history" ? [...[key].flat(), version!] : [key].flat();
}

/** Owner of the rows: the conf's name, else its kind's, else the run_label. */
export function sourceNameOf(source: SourceConf, runLabel: string): string {
  return source.name ?? adapterFor(source).defaultName ?? runLabel;
}

export interface Preview {
  /** They tell their origin, if the source does. */
  records: RecordBatch;
  warnings: Message[];
}

/**
 * The first records of a source (20 unless told), reading little more than
 * them: of a compressed file or a download only the beginning. Nothing is
 * pinned. `ctx.spoolDir` must be a directory of this preview alone.
 */
export async function previewSource(
  conf: SourceConf,
  ctx: PlanContext & ReadContext,
  count = 20,
): Promise<Preview> {
  const records: RecordBatch = await adapterFor(conf).first?.(conf, ctx, count) ?? [];
  if (adapterFor(conf).first !== undefined) return { records, warnings: [] };
  const plan = await planFirst(conf, ctx, count);
  const origins: (Origin | undefined)[] = [];
  for (const slice of plan.slices) {
    for await (const batch of adapterFor(conf).read(conf, slice, ctx)) {
      if (batch.types !== undefined) records.types = batch.types;
      if (batch.cells) records.cells = true;
      if (batch.repeatedNames !== undefined) records.repeatedNames ??= batch.repeatedNames;
      for (const [i, record] of batch.slice(0, count - records.length).entries()) {
        const origin = batch.origin?.(i);
        // its bytes are valid until the next batch only
        origins.push(origin && { ...origin, raw: origin.raw && origin.raw.slice() });
        records.push(record);
      }
      if (batch.origin !== undefined) records.origin = (i) => origins[i]!;
      if (records.length >= count) return { records, warnings: plan.warnings };
    }
  }
  return { records, warnings: plan.warnings };
}

/** Plans the first records of a source (of a postgres source all): they may be a few more. */
export function planFirst(conf: SourceConf, ctx: PlanContext, count: number): Promise<Plan> {
  const adapter = adapterFor(conf);
  return adapter.planFirst?.(conf, ctx, count) ?? adapter.plan(conf, { ...ctx, maxRecords: count });
}

/** What a source declares; nothing where it cannot. */
export function columnsOf(source: SourceConf): ColumnsConf {
  return "columns" in source || "null_values" in source ? source : {};
}
