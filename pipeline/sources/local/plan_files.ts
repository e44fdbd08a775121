import { Problem } from "../../problem.ts";
import type { Plan, PlanContext, ReadContext, Slice } from "../source.ts";
import { readCsv } from "./csv.ts";
import { type CsvHead, readCsvHead } from "./csv_header.ts";
import type { ColumnType } from "./csv_values.ts";
import { type Batch, readNdjson } from "./ndjson.ts";
import { openInput } from "./open_input.ts";
import { planParquet, readParquet } from "./parquet.ts";
import type { PartsSlice } from "./part.ts";
import {
  type ParsingConf,
  type PreparedInput,
  prepareInput,
  type RawFile,
} from "./prepare_input.ts";
import { CsvScanner } from "./record_scanner.ts";
import { SlicePacker } from "./slice_packer.ts";
import { isEmptyLine, lineCut, planText, type TextCut } from "./text_plan.ts";

export interface PlanFilesOptions {
  ctx: PlanContext;
  /** Only so many records are wanted, and nothing is pinned. */
  previewRecords?: number | undefined;
}

interface CsvInput extends PreparedInput {
  delimiter: string;
  head: CsvHead | undefined;
}

/** Plans the slices over files in the order given; the pin is the caller's. */
export async function planFiles(
  files: RawFile[],
  conf: ParsingConf,
  options: PlanFilesOptions,
): Promise<Omit<Plan, "pin">> {
  const { ctx, previewRecords } = options;
  const maxRecords = previewRecords ?? ctx.maxRecords;
  const packer = new SlicePacker({ chunkSize: ctx.chunkSize, maxRecords });
  const inputs: (PreparedInput | CsvInput)[] = [];
  for (const file of files) {
    ctx.signal.throwIfAborted();
    const prepared = await prepareInput(file, conf, { ctx, previewRecords });
    inputs.push(await withCsvHead(prepared, conf, ctx));
  }
  const types = commonTypes(inputs);
  for (const prepared of inputs) {
    ctx.signal.throwIfAborted();
    if (packer.full) break;
    await planOne(prepared, types, { packer, ctx });
  }
  const { slices, records } = packer.finish();
  return {
    slices,
    ...(records === undefined ? {} : { records }),
    warnings: inputs.flatMap((input) => input.warnings),
  };
}

/** Reads the records of a slice that `planFiles` made. */
export async function* readParts(slice: Slice, ctx: ReadContext): AsyncGenerator<Batch> {
  for (const part of (slice as PartsSlice).parts) {
    if (part.format === "csv") yield* readCsv(part, ctx);
    else if (part.format === "parquet") yield* readParquet(part, ctx);
    else yield* readNdjson(part, ctx);
  }
}

async function planOne(
  prepared: PreparedInput | CsvInput,
  types: Map<string, ColumnType>,
  { packer, ctx }: { packer: SlicePacker; ctx: PlanContext },
): Promise<void> {
  const { input } = prepared;
  if ("head" in prepared) {
    if (prepared.head === undefined) {
      prepared.warnings.push(`${input.label}: the file is empty.`);
      return;
    }
    const cut = csvCut(prepared, prepared.head, types);
    await planText(input, cut, { packer, context: ctx });
  } else if (prepared.format === "parquet") {
    await planParquet(input, packer);
  } else {
    await planText(input, lineCut(await bomLength(prepared)), { packer, context: ctx });
  }
}

async function withCsvHead(
  prepared: PreparedInput,
  conf: ParsingConf,
  ctx: PlanContext,
): Promise<PreparedInput | CsvInput> {
  if (prepared.format !== "csv" && prepared.format !== "tsv") return prepared;
  const { input } = prepared;
  const delimiter = conf.delimiter ?? (prepared.format === "tsv" ? "\t" : ",");
  if (!/^[^\r\n"\u0080-\uffff]$/.test(delimiter)) {
    throw new Problem("invalid-conf", {
      detail: "source.delimiter must be one ASCII character other than a quote or a line end.",
      errors: [{ field: "source.delimiter", message: "not usable", value: delimiter }],
    });
  }
  using opened = await openInput(input);
  const head = await readCsvHead(opened.file, {
    delimiter,
    size: input.size,
    label: input.label,
    limits: ctx.limits,
    signal: ctx.signal,
  });
  return { ...prepared, delimiter, head };
}

/** A column is read as one type in all files, so that one name never means two types. */
function commonTypes(inputs: (PreparedInput | CsvInput)[]): Map<string, ColumnType> {
  const types = new Map<string, ColumnType>();
  for (const input of inputs) {
    if (!("head" in input) || input.head === undefined) continue;
    input.head.names.forEach((name, i) => {
      const own = input.head!.types[i]!;
      const other = types.get(name);
      types.set(name, other === undefined || other === own ? own : "s");
    });
  }
  return types;
}

function csvCut(prepared: CsvInput, head: CsvHead, types: Map<string, ColumnType>): TextCut {
  const { delimiter, input } = prepared;
  return {
    part: {
      format: "csv",
      delimiter,
      types: head.names.map((name) => types.get(name)!).join(""),
    },
    scanner: () => new CsvScanner(delimiter),
    sequential: true,
    isBlank: isEmptyLine,
    start: head.start,
    line: head.line,
    onUnclosedQuote: (offset) => {
      throw new Problem("source-unreadable", {
        detail: `${input.label}: a quoted field after byte ${offset} is never closed, so the ` +
          "end of its record cannot be told. Close it or remove the quote.",
      });
    },
  };
}

async function bomLength({ input }: PreparedInput): Promise<number> {
  using opened = await openInput(input);
  const head = new Uint8Array(3);
  const got = await opened.file.read(head);
  return got === 3 && head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf ? 3 : 0;
}
