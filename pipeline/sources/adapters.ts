import { fileAdapter } from "./file.ts";
import { httpAdapter } from "./http.ts";
import { inlineAdapter } from "./inline.ts";
import { postgresAdapter } from "./postgres.ts";
import type { SourceConf } from "./schema.ts";
import type {
  Plan,
  PlanContext,
  ReadContext,
  RecordBatch,
  Slice,
  SourceAdapter,
} from "./source.ts";
import { syntheticAdapter } from "./synthetic.ts";

const ADAPTERS = {
  synthetic: syntheticAdapter,
  inline: inlineAdapter,
  file: fileAdapter,
  http: httpAdapter,
  postgres: postgresAdapter,
};

/** The adapter of a conf's `type`. */
export function adapterFor(conf: SourceConf): SourceAdapter<SourceConf> {
  return ADAPTERS[conf.type] as SourceAdapter<SourceConf>;
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
