import assert from "node:assert/strict";
import { join } from "node:path";
import { Canonicalizer } from "../../pipeline/canonical.ts";
import type { Rejected } from "../../pipeline/event.ts";
import { paramsSchema } from "../../pipeline/params.ts";
import { RecordChain } from "../../pipeline/record_chain.ts";
import { planSource, readSource } from "../../pipeline/sources/adapters.ts";
import { parseJsonExactly } from "../../pipeline/sources/json_text.ts";
import { SpillWriter } from "../../pipeline/spill/writer.ts";
import { ROW_COLUMNS, type TypedTable } from "../../store/row_layout.ts";
import { Problem } from "../../vocabulary/problem.ts";
import type { SourceContext } from "./sources.ts";

const RUN_ID = "0198c0de-0000-7000-8000-000000000001";
const FILES = ["rows", "ends", "keys", "hash"] as const;

/** What a chunk becomes, and how many records of it became rows without being parsed. */
interface Made {
  spill: Record<(typeof FILES)[number], string>;
  counts: unknown;
  rejected: Rejected[];
  flat: number;
}

export interface SpillOptions {
  source: Record<string, unknown>;
  /** Whose data directory has the source's files. */
  ctx: SourceContext;
  /** Of a typed table; default: the events table. */
  columns?: Record<string, string> | undefined;
}

/**
 * Prepares a source as a worker does, once with flat records as rows and once with an event for each: both must come to the
 * same. Answers how many records were not parsed.
 */
export async function madeAlike(options: SpillOptions, shown: string): Promise<number> {
  const [events, rows] = [
    await made(options, false).catch((error) => error),
    await made(options, true).catch((error) => error),
  ] as [Made, Made];
  if (events instanceof Problem) {
    assert.deepEqual(rows, events);
    return 0;
  }
  for (const each of [events, rows]) if (each instanceof Error) throw each;
  assert.deepEqual(rows.counts, events.counts, shown);
  assert.deepEqual(rows.rejected, events.rejected, shown);
  for (const kind of FILES) assert.equal(rows.spill[kind], events.spill[kind], `${kind}: ${shown}`);
  return rows.flat;
}

async function made({ source, ctx, columns }: SpillOptions, flat: boolean): Promise<Made> {
  const dir = ctx.spoolDir;
  const params = paramsSchema.parse({ source });
  const { key = null, occurred_at, version = null } = source as Partial<TypedTable>;
  const table: TypedTable | null = columns === undefined ? null : {
    source: "shop",
    key: key === null ? null : [key].flat(),
    version,
    occurred_at,
    columns: Object.entries(columns).map(([name, type]) => ({ name, path: name, type })),
  };
  const { slices } = await planSource(params.source, ctx);
  using writer = SpillWriter.open({
    dir,
    chunkNo: 3,
    runId: RUN_ID,
    sourceName: "shop",
    pageSize: 100,
    table,
  });
  using chain = new RecordChain({
    params,
    sourceName: "shop",
    privacy: null,
    module: null,
    suite: null,
    maxPayloadBytes: ctx.limits.maxRecordBytes,
    spillDir: dir,
    chunkNo: 3,
    endsBehind: 23,
    table,
    ...(flat ? { orderRunId: RUN_ID } : {}),
  });
  const rejected: Rejected[] = [];
  let rows = 0;
  for (const slice of structuredClone(slices)) {
    const batches = readSource(params.source, slice, { ...ctx, flat: chain.takesFlat });
    for await (const batch of chain.pass(batches)) {
      if (batch.rows === undefined) writer.add(batch.events);
      else writer.addRows(batch.rows);
      rows += batch.rows?.count ?? 0;
      rejected.push(...batch.rejected);
    }
  }
  writer.finish({ maker: "test", counts: chain.counts, stageMs: {} });
  const spill = Object.fromEntries(FILES.map((kind) => {
    const bytes = Deno.readFileSync(join(dir, `3.${kind}`));
    return [kind, kind === "rows" && table === null ? rowsOf(bytes) : bytes.toHex()];
  })) as Made["spill"];
  // those of one batch are in the order of the stages
  rejected.sort((a, b) => a.position - b.position || a.output - b.output);
  return { spill, counts: chain.counts, rejected, flat: rows };
}

/** Rows of binary COPY as text; of a payload it does not count in which order its members are sent. */
function rowsOf(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer);
  const rows: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const fields: string[] = [];
    const count = view.getInt16(at);
    at += 2;
    for (let i = 0; i < count; i++) {
      const length = view.getInt32(at);
      at += 4;
      const field = bytes.subarray(at, at + Math.max(0, length));
      const isPayload = i === ROW_COLUMNS.indexOf("payload");
      fields.push(`${length} ` + (isPayload ? payloadOf(field) : field.toHex()));
      at += Math.max(0, length);
    }
    rows.push(fields.join(" "));
  }
  return rows.join("\n");
}

function payloadOf(jsonb: Uint8Array): string {
  assert.equal(jsonb[0], 1);
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(jsonb.subarray(1));
  return new Canonicalizer().text(parseJsonExactly(text));
}
