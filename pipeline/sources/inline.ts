import { say } from "../../vocabulary/messages.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { REQUEST_BODY } from "../../vocabulary/words.ts";
import { planFiles, type PlanFilesOptions, readParts, withColumns } from "./local/plan_files.ts";
import { findSpooled, spool, takeSpooled, uploadName } from "./local/spool.ts";
import { limitBytes } from "./local/streams.ts";
import type { InlineConf } from "./schema.ts";
import {
  type Json,
  type Plan,
  type PlanContext,
  RAW_LIMIT,
  type ReadContext,
  type RecordBatch,
  type Slice,
  type SourceAdapter,
  type SourceRecord,
  Unreadable,
} from "./source.ts";

const BATCH = 1_000;
const DEFAULT_CHUNK = 50_000;

function planRecords(records: unknown[], ctx: PlanContext): Plan {
  const count = Math.min(records.length, ctx.maxRecords ?? Infinity);
  const chunk = ctx.chunkSize ?? DEFAULT_CHUNK;
  const slices = [];
  for (let start = 0; start < count; start += chunk) {
    slices.push({ start, end: Math.min(start + chunk, count) });
  }
  return { pin: { records: records.length }, slices, records: count, warnings: [] };
}

/** Plans inline records or a stored request body. */
async function planInlineSource(conf: InlineConf, options: PlanFilesOptions): Promise<Plan> {
  const { ctx, previewRecords } = options;
  if (conf.upload_id === undefined) {
    if (conf.records === undefined) {
      throw new Problem("invalid-conf", {
        detail: say("inline-no-records", {}),
        errors: [{ field: "source.records", message: "required" }],
      });
    }
    return planRecords(conf.records, {
      ...ctx,
      ...(previewRecords === undefined ? {} : { maxRecords: previewRecords }),
    });
  }
  const uploadId = conf.upload_id;
  const label = REQUEST_BODY;
  if (ctx.readUpload === undefined) throw new Error("readUpload is needed for an upload");
  const name = uploadName(uploadId);
  const file = await findSpooled(ctx.spoolDir, name) ??
    (ctx.bodiesDir == null ? undefined : await takeSpooled(ctx.bodiesDir, ctx.spoolDir, name)) ??
    await spool(
      ctx.spoolDir,
      name,
      limitBytes(ctx.readUpload(uploadId), { maxBytes: ctx.limits.maxSpoolBytes, label }),
    );
  const raw = {
    root: "spool" as const,
    path: file.path,
    label,
    name: "",
    size: file.size,
    mtime_ms: 0,
    absolutePath: file.absolutePath,
    identity: `upload:${uploadId}`,
  };
  const plan = await planFiles([raw], conf, options);
  return { ...plan, pin: { upload_id: uploadId, size: file.size } };
}

/** Records in the conf, or the body of the request in any file format. */
export const inlineAdapter: SourceAdapter<InlineConf> = {
  atHand: true,
  // a body is in the database until its run has ended
  everywhere: (slices) => slices.every((slice) => "parts" in slice) ? "unpacked" : null,
  upload: ({ upload_id }) => upload_id,
  planFirst: (conf, ctx, previewRecords) => planInlineSource(conf, { ctx, previewRecords }),
  plan: (conf: InlineConf, ctx: PlanContext) => planInlineSource(conf, { ctx }),

  async *read(conf, slice, ctx) {
    if ("parts" in slice) {
      yield* readParts(slice, ctx, conf);
      return;
    }
    yield* withColumns(readRecords(conf, slice, ctx), conf);
  },
};

async function* readRecords(
  conf: InlineConf,
  slice: Slice,
  ctx: ReadContext,
): AsyncGenerator<RecordBatch> {
  const records = conf.records ?? [];
  const end = slice.end as number;
  for (let start = slice.start as number; start < end; start += BATCH) {
    ctx.signal.throwIfAborted();
    // a copy, since its columns may be read as something else
    yield records.slice(start, Math.min(start + BATCH, end))
      .map((record, i) => checkRecord(structuredClone(record) as Json, start + i + 1));
  }
}

/** A value from the conf as a record: an object whose numbers are all finite. */
function checkRecord(value: Json, n: number): SourceRecord | Unreadable {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const raw = rawText(value);
    return new Unreadable(
      "not_an_object",
      say("record-number", { n, what: say("not-an-object", {}) }),
      raw,
    );
  }
  if (hasInfinity(value)) {
    return new Unreadable(
      "number_range",
      say("record-number", { n, what: say("number-infinite", {}) }),
      rawText(value),
    );
  }
  return value;
}

function hasInfinity(value: Json): boolean {
  if (typeof value === "number") return !Number.isFinite(value);
  if (typeof value !== "object" || value === null) return false;
  for (const member of Array.isArray(value) ? value : Object.values(value)) {
    if (hasInfinity(member)) return true;
  }
  return false;
}

function rawText(value: Json): string {
  const text = JSON.stringify(
    value,
    (_key, member) => typeof member === "bigint" ? String(member) : member,
  ) ?? "";
  return text.slice(0, RAW_LIMIT);
}
