import process from "node:process";
import { join } from "node:path";
import { planSource, readSource } from "../pipeline/sources/adapters.ts";
import type { FileConf } from "../pipeline/sources/schema.ts";
import type { TypedTable } from "../store/row_layout.ts";
import type { Event } from "../pipeline/event.ts";
import { copyText, SpillWriter } from "../pipeline/spill/writer.ts";
import { RecordChain } from "../pipeline/record_chain.ts";
import { paramsSchema } from "../pipeline/params.ts";

/** The name that owns the rows, in the baselines' tables as in ours. */
export const SOURCE_NAME = "bench";

const RUN_ID = "00000000-0000-7000-8000-000000000000";

const LIMITS = { maxSpoolBytes: 20 * 2 ** 30, maxRecordBytes: 16 << 20, allowPrivateHosts: [] };

/** The `source` of a run over a data set of the bench. */
export function sourceOf(file: string): FileConf {
  return {
    type: "file",
    path: file,
    name: SOURCE_NAME,
    key: "id",
    event_type: { field: "type" },
    occurred_at: "ts",
    ...(file.endsWith(".parquet") ? {} : { encoding: "utf-8" as const }),
  };
}

/** The columns that a typed table of the data set has. */
export const TYPED: TypedTable = {
  source: SOURCE_NAME,
  key: ["id"],
  version: null,
  occurred_at: "ts",
  columns: Object.entries({
    id: "text",
    type: "text",
    ts: "timestamptz",
    user_id: "integer",
    amount: "numeric",
    country: "text",
    device: "text",
    returning: "boolean",
  }).map(([name, type]) => ({ name, path: name, type })),
};

const STAGES = ["extract", "transform", "validate", "chunk"] as const;
export type PrepareStage = (typeof STAGES)[number];

export interface FinishedRows {
  /** Finished rows as COPY text, the columns those of the pipeline's spill. */
  rowsPath: string;
  records: number;
  rowsBytes: number;
  /** Time in each stage, in ms: of the CPUs (all threads, garbage collection too), and on the clock. */
  stages: Record<PrepareStage, { cpuMs: number; wallMs: number }>;
}

/**
 * Prepares a file as a worker does, but in this thread, in one chunk and
 * without a database. `file` is below `dataDir`; the rows are put in `dir`.
 */
export async function finishRows(
  file: string,
  { dataDir, dir, table = null, asRows = false }: {
    dataDir: string;
    dir: string;
    /** Default: the events table. */
    table?: TypedTable | null;
    /** Whether rows of flat records are made without events, as a run does; then there is no text of them. Default false. */
    asRows?: boolean;
  },
): Promise<FinishedRows> {
  const conf = sourceOf(file);
  const context = {
    spoolDir: dir,
    dataDir,
    connections: {},
    limits: LIMITS,
    pageSize: 1000,
    signal: new AbortController().signal,
    readUpload: () => {
      throw new Error("a file source reads no upload");
    },
  };
  await Deno.mkdir(dir, { recursive: true });
  const { slices } = await planSource(conf, context);
  using writer = SpillWriter.open({
    dir,
    chunkNo: 0,
    runId: RUN_ID,
    sourceName: SOURCE_NAME,
    pageSize: 1000,
    table,
  });
  const rowsPath = join(dir, "finished.copy");
  using text = await Deno.open(rowsPath, { write: true, create: true, truncate: true });
  const encoder = new TextEncoder();
  const lap = new StageClock();
  using chain = new RecordChain({
    privacy: null,
    params: paramsSchema.parse({ source: conf }),
    sourceName: SOURCE_NAME,
    module: null,
    suite: null,
    maxPayloadBytes: LIMITS.maxRecordBytes,
    spillDir: dir,
    chunkNo: 0,
    table,
    ...(asRows ? { orderRunId: RUN_ID } : {}),
    onLap: (stage) => stage === "ge_validate" ? lap.skip() : lap.end(stage),
  });
  for (const slice of slices) {
    const batches = readSource(conf, slice, { ...context, flat: chain.takesFlat });
    for await (const { events, rejected, rows } of chain.pass(batches)) {
      if (rows === undefined) writer.add(events);
      else writer.addRows(rows);
      lap.end("chunk");
      if (asRows || table !== null) continue;
      await text.write(encoder.encode(events.map((event) => copyLine(event, RUN_ID)).join("")));
      lap.skip();
      if (rejected.length > 0) {
        throw new Error(`${join(dataDir, file)} has records that are rejected`);
      }
    }
  }
  const { counts } = chain;
  writer.finish({ maker: "bench", counts, stageMs: {} });
  lap.end("chunk");
  const rowsBytes = (await text.stat()).size;
  return { rowsPath, records: counts.records_read, rowsBytes, stages: lap.stages };
}

/** A finished row as COPY text, for clients that are not ours; the columns are ROW_COLUMNS. */
function copyLine(event: Event, runId: string): string {
  const { eventId, eventType, occurredAt, version, text, fingerprint } = event;
  const time = occurredAt ?? "\\N";
  const [date, hour] = occurredAt === null
    ? ["\\N", "\\N"]
    : [occurredAt.slice(0, 10), occurredAt.slice(11, 13)];
  return [
    copyText(eventId),
    copyText(eventType),
    time,
    SOURCE_NAME,
    version ?? "\\N",
    copyText(text),
    `\\\\x${fingerprint}`,
    date,
    hour,
    runId,
  ].join("\t") + "\n";
}

/** Adds what has passed since the last call to a stage. */
class StageClock {
  readonly stages = Object.fromEntries(
    STAGES.map((stage) => [stage, { cpuMs: 0, wallMs: 0 }]),
  ) as FinishedRows["stages"];
  #cpu = cpuMs();
  #wall = performance.now();

  /** What has passed since the last call belongs to no stage. */
  skip(): void {
    this.#cpu = cpuMs();
    this.#wall = performance.now();
  }

  end(stage: PrepareStage): void {
    const [cpu, wall] = [cpuMs(), performance.now()];
    this.stages[stage].cpuMs += cpu - this.#cpu;
    this.stages[stage].wallMs += wall - this.#wall;
    this.#cpu = cpu;
    this.#wall = wall;
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
