import { type Message, say } from "../../../vocabulary/messages.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import {
  type LineCount,
  type Plan,
  type PlanContext,
  type ReadContext,
  type RecordBatch,
  type Slice,
  Unreadable,
} from "../source.ts";
import {
  type ColumnsConf,
  compileColumns,
  type DeclaringConf,
  readColumns,
  replayedCells,
} from "../columns.ts";
import { readCsv } from "./csv.ts";
import { type CsvConf, type CsvLayout, csvLayout } from "./csv_dialect.ts";
import { type CsvHead, markLength, readCsvHead } from "./csv_header.ts";
import { readNdjson } from "./ndjson.ts";
import { openInput, type Roots } from "./open_input.ts";
import { countNewlines, windows } from "./ranges.ts";
import { type InputFile, type Part, type PartsSlice, SlicePacker } from "./slice_packer.ts";
import {
  type ParsingConf,
  type PreparedInput,
  prepareInput,
  PREVIEW_BYTES,
  type RawFile,
} from "./prepare_input.ts";
import { csvScanner } from "./record_scanner.ts";
import { isEmptyLine, lineCut, planText, type TextCut } from "./text_plan.ts";

export interface PlanFilesOptions {
  ctx: PlanContext;
  /** Only so many records are wanted, and nothing is pinned. */
  previewRecords?: number | undefined;
}

interface CsvInput extends PreparedInput {
  layout: CsvLayout;
  head: CsvHead | undefined;
}

/** Plans the slices over files in the order given; the pin is the caller's. */
export async function planFiles(
  files: Iterable<RawFile> | AsyncIterable<RawFile>,
  conf: ParsingConf,
  options: PlanFilesOptions,
): Promise<Omit<Plan, "pin">> {
  const { ctx, previewRecords } = options;
  const maxRecords = previewRecords ?? ctx.maxRecords;
  const packer = new SlicePacker({ chunkSize: ctx.chunkSize, maxRecords });
  const inputs: (PreparedInput | CsvInput)[] = [];
  const plan = async (prepared: PreparedInput | CsvInput) => {
    ctx.signal.throwIfAborted();
    if (packer.full) return;
    const before = packer.records;
    await planOne(prepared, { packer, ctx, quote: conf.quote });
    if (prepared.beginning && packer.records === before) {
      prepared.warnings.push(
        say("preview-too-short", { file: prepared.input.label, n: PREVIEW_BYTES }),
      );
    }
  };
  let all = true;
  for await (const file of files) {
    ctx.signal.throwIfAborted();
    if (previewRecords !== undefined && packer.full) {
      all = false;
      break;
    }
    const prepared = await prepareInput(file, conf, { ctx, previewRecords });
    inputs.push(await withCsvHead(prepared, conf, { ctx, contentType: file.contentType }));
    if (previewRecords !== undefined) await plan(inputs.at(-1)!);
  }
  if (previewRecords === undefined) {
    // a Parquet file is divided by its row groups
    if (inputs.every(({ format }) => format !== "parquet")) {
      packer.divide(inputs.reduce((sum, { input }) => sum + input.size, 0));
    }
    for (const prepared of inputs) await plan(prepared);
  }
  const { slices, records, estimate } = packer.finish();
  return {
    slices,
    estimate,
    ...(records === undefined ? {} : { records }),
    warnings: [
      ...inputs.flatMap((input) => input.warnings),
      ...(all ? missingColumns(inputs, conf) : []),
    ],
  };
}

/** Declarations that say nothing, since no file has such a column. */
function missingColumns(inputs: (PreparedInput | CsvInput)[], conf: ColumnsConf): Message[] {
  const there = new Set<string>();
  for (const input of inputs) {
    if (!("head" in input)) return [];
    for (const name of input.head?.names ?? []) there.add(name);
  }
  if (there.size === 0) return [];
  return Object.keys(conf.columns ?? {}).filter((name) => !there.has(name))
    .map((name) => say("no-such-column", { column: name }));
}

/** Whether all parts of these slices are below one root. */
export function areParts(slices: Slice[], root: PartsSlice["parts"][number]["root"]): boolean {
  return slices.every((slice) => (slice as PartsSlice).parts.every((part) => part.root === root));
}

/** Whether a slice reads what planning has put on this server's disk. */
export function readsSpooled(slice: Slice): boolean {
  return "parts" in slice && (slice as PartsSlice).parts.some(({ root }) => root === "spool");
}

/** Loaded with the first such file: few runs read one, and every worker would load it. */
const parquet = () => import("./parquet.ts");

/** Reads the records of a slice that `planFiles` made. */
export async function* readParts(
  slice: Slice,
  ctx: ReadContext & Roots,
  conf: CsvConf & ColumnsConf & { cells?: boolean | undefined },
): AsyncGenerator<RecordBatch> {
  const lines = ctx.lines ?? { next: 1, ofSlice: true };
  let before: Part | undefined;
  for (const part of (slice as PartsSlice).parts) {
    beginLines(lines, part, before);
    before = part;
    // the reader of CSV knows what is declared
    const flat = part.format === "csv" ? ctx.flat && !conf.cells : readsFlat(ctx, conf);
    const own = { ...ctx, lines, flat: flat === true };
    const batches = part.format === "csv" ? readCsv(part, own, conf) : withColumns(
      part.format === "parquet" ? (await parquet()).readParquet(part, own) : readNdjson(part, own),
      conf,
    );
    for await (const batch of batches) {
      batch.file = part.label;
      yield batch;
    }
  }
}

/** A part begins in the line that its plan knows, or behind the part before it of the same file; else the slice is counted. */
function beginLines(lines: LineCount, part: Part, before: Part | undefined): void {
  if (part.root !== "elsewhere") return;
  const known = part.line as number | undefined;
  if (known === undefined && before?.label === part.label) return;
  lines.next = known ?? 1;
  lines.ofSlice = known === undefined;
}

/** Whether flat records are left as they are: nobody has declared how columns are read. */
export function readsFlat(
  { flat = false }: Pick<ReadContext, "flat">,
  conf: DeclaringConf,
): boolean {
  return flat && compileColumns(conf) === undefined && !conf.cells;
}

/** The batches, whose declared columns are read as they are declared. */
export async function* withColumns(
  batches: AsyncIterable<RecordBatch>,
  conf: DeclaringConf,
): AsyncGenerator<RecordBatch> {
  const columns = compileColumns(conf);
  for await (const batch of batches) yield asDeclared(batch, conf, columns);
}

/** The same batch, its declared columns read as they are declared. */
export function asDeclared(
  batch: RecordBatch,
  conf: DeclaringConf,
  columns = compileColumns(conf),
): RecordBatch {
  if (columns === undefined && !conf.cells || conf.read_columns === false) return batch;
  for (let i = 0; i < batch.length; i++) {
    const record = batch[i]!;
    if (record instanceof Unreadable) continue;
    const read = conf.cells ? replayedCells(record, columns) : record;
    batch[i] = read !== record || columns === undefined ? read : readColumns(record, columns);
  }
  return batch;
}

async function planOne(
  prepared: PreparedInput | CsvInput,
  { packer, ctx, quote }: {
    packer: SlicePacker;
    ctx: PlanContext;
    /** As the conf has it. */
    quote: ParsingConf["quote"];
  },
): Promise<void> {
  const { input } = prepared;
  if ("head" in prepared) {
    if (prepared.head === undefined) {
      prepared.warnings.push(say("file-empty", { file: input.label }));
      return;
    }
    if (prepared.head.looksQuoted && quote === undefined) {
      prepared.warnings.push(say("tsv-quotes", { file: input.label }));
    }
    if (prepared.head.start >= input.size) {
      const names = prepared.head.names.slice(0, 3).join(", ").slice(0, 100);
      prepared.warnings.push(say("header-alone", { file: input.label, names }));
    }
    const cut = await csvCut(prepared, prepared.head);
    await planText(input, cut, { packer, context: ctx });
  } else if (prepared.format === "parquet") {
    await (await parquet()).planParquet(input, packer);
  } else {
    await planText(input, lineCut(await bomLength(prepared)), { packer, context: ctx });
  }
}

async function withCsvHead(
  prepared: PreparedInput,
  conf: ParsingConf,
  { ctx, contentType }: { ctx: PlanContext; contentType?: string | undefined },
): Promise<PreparedInput | CsvInput> {
  const { input, format } = prepared;
  if (format !== "csv" && format !== "tsv") return prepared;
  const layout = csvLayout(conf, { format, contentType });
  using opened = await openInput(input);
  const head = await readCsvHead(opened, {
    layout,
    names: Array.isArray(conf.header) ? conf.header : undefined,
    size: input.size,
    label: input.label,
    limits: ctx.limits,
    signal: ctx.signal,
  });
  return { ...prepared, layout, head };
}

async function csvCut({ layout, input }: CsvInput, head: CsvHead): Promise<TextCut> {
  const mark = layout.comment?.charCodeAt(0);
  const sequential = layout.quote !== null;
  return {
    part: { format: "csv", layout: JSON.stringify(layout) },
    scanner: () => csvScanner(layout),
    sequential,
    isBlank: (bytes, from, to) => isEmptyLine(bytes, from, to) || bytes[from] === mark,
    start: head.start,
    // those of a file here are counted when a record is rejected
    line: input.root === "elsewhere" ? await lineOf(input, head.start) : 0,
    onUnclosedQuote: async (openedAt) => {
      throw new Problem("source-unreadable", {
        detail: say("csv-unclosed-field", {
          file: input.label,
          line: await lineOf(input, openedAt),
        }),
      });
    },
  };
}

async function bomLength({ input }: PreparedInput): Promise<number> {
  using opened = await openInput(input);
  return await markLength(opened, input.size);
}

/** The line, from 1, of a byte; reads the file as far. */
async function lineOf(input: InputFile, byte: number): Promise<number> {
  using opened = await openInput(input);
  let newlines = 0;
  for await (const bytes of windows(opened, 0, byte)) newlines += countNewlines(bytes);
  return newlines + 1;
}
