import { say } from "../../../vocabulary/messages.ts";
import { type Client, firstRowsOf, quoteIdent } from "../../../store/pg.ts";
import { put } from "../../numbers.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import { NumberRangeError } from "../json_text.ts";
import type { PostgresConf } from "../schema.ts";
import { addRepeated, repeatedNameOf } from "../repeated_names.ts";
import {
  RAW_LIMIT,
  type ReadContext,
  type RecordBatch,
  type SourceRecord,
  Unreadable,
} from "../source.ts";
import { type CursorBounds, cursorCondition } from "./cursor.ts";
import type { KeySlice } from "./plan.ts";
import { fromClause, keyTuple, Params, valueTuple } from "./relation.ts";
import { asSourceProblem, describeSource, openSession, readOnly } from "./session.ts";
import { type ColumnReader, columnReaders } from "./values.ts";

/**
 * What a page takes of memory, and one row more: rows of a page are looked at before more are asked for, and of one whose
 * rows are suddenly larger only the first are kept.
 */
const PAGE_BYTES = 8 * 1024 ** 2;
const FIRST_PAGE = 100;
const GROWTH = 8;

type Batch = RecordBatch;
type TextRow = (string | null)[];

// The driver would turn dates, numbers and JSON into values that lose digits.
const AS_TEXT = { getTypeParser: () => (value: string) => value };

/** Reads the rows of a slice page by page, each in a short read-only transaction. */
export async function* readPostgres(
  conf: PostgresConf,
  slice: KeySlice,
  ctx: ReadContext,
): AsyncGenerator<Batch, void, void> {
  const client = await openSession(conf, ctx);
  const abort = () => void client.end().catch(() => {});
  ctx.signal.addEventListener("abort", abort, { once: true });
  try {
    const columns = await readOnly(client, () => describeColumns(client, conf));
    let after = slice.after;
    let size = Math.min(ctx.pageSize, FIRST_PAGE);
    while (true) {
      const page = await readOnly(
        client,
        () => readPage(client, conf, { slice, columns, after, size }),
      );
      const fitting = Math.floor(PAGE_BYTES * page.rows.length / Math.max(1, page.bytes));
      size = Math.max(1, Math.min(ctx.pageSize, size * GROWTH, fitting));
      if (page.rows.length > 0) yield page.rows;
      if (page.last === undefined) return;
      after = page.last;
    }
  } catch (error) {
    ctx.signal.throwIfAborted();
    throw asSourceProblem(error, conf);
  } finally {
    ctx.signal.removeEventListener("abort", abort);
    await client.end().catch(() => {});
  }
}

/** The first rows in no particular order, for a preview. */
export async function firstRows(
  client: Client,
  conf: PostgresConf,
  count: number,
): Promise<Batch> {
  return await readOnly(client, async () => {
    const columns = await describeColumns(client, conf);
    const { rows } = await firstRowsOf<TextRow>(client, {
      text: `select ${selectList(columns)} from ${fromClause(conf)} limit $1`,
      values: [count],
      rowMode: "array",
      types: AS_TEXT,
    }, bytesUpTo(PAGE_BYTES));
    return toBatch(rows, columns, conf);
  });
}

async function describeColumns(client: Client, conf: PostgresConf): Promise<ColumnReader[]> {
  const { fields } = await client.query(`select * from ${fromClause(conf)} limit $1`, [0]);
  const names = fields.map((field) => field.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new Problem("source-unreadable", {
      detail: say("columns-same-name", { what: describeSource(conf), name: twice }),
    });
  }
  return await columnReaders(client, fields);
}

function selectList(columns: ColumnReader[]): string {
  return columns
    .map(({ name, select }) => select.replace("{}", () => `source_rows.${quoteIdent(name)}`))
    .join(", ");
}

interface PageOptions {
  slice: KeySlice;
  columns: ColumnReader[];
  after: string[];
  size: number;
}

async function readPage(
  client: Client,
  conf: PostgresConf,
  { slice, columns, after, size }: PageOptions,
): Promise<{ rows: Batch; bytes: number; last: string[] | undefined }> {
  const params = new Params();
  const key = keyTuple(slice.key);
  const conditions = [`${key} <= ${valueTuple(slice.key, slice.upto, params)}`];
  if (after.length > 0) conditions.push(`${key} > ${valueTuple(slice.key, after, params)}`);
  if ("column" in slice.cursor) {
    conditions.push(cursorCondition(slice.cursor as CursorBounds, params));
  }
  const keys = slice.key.map(({ name }) => `source_rows.${quoteIdent(name)}`);
  let bytes = 0;
  const { rows, cut } = await firstRowsOf<TextRow>(client, {
    // One row more than the page: whether there is more, and whether keys repeat.
    text: `select ${[selectList(columns), ...keys.map((name) => `${name}::text`)].join(", ")}
      from ${fromClause(conf)} where ${conditions.join(" and ")}
      order by ${keys.join(", ")} limit ${params.add(size + 1, "int8")}`,
    values: params.values,
    rowMode: "array",
    types: AS_TEXT,
  }, (row) => {
    const isFull = bytes > PAGE_BYTES;
    bytes += bytesOf(row);
    return isFull;
  });
  refuseRepeatedKeys(rows, conf, { slice, columns });
  const isLast = !cut && rows.length <= size;
  const page = isLast ? rows : rows.slice(0, -1);
  const last = isLast ? undefined : keyOf(page.at(-1)!, columns);
  return { rows: toBatch(page, columns, conf), bytes, last };
}

function toBatch(rows: TextRow[], columns: ColumnReader[], conf: PostgresConf): RecordBatch {
  const batch: RecordBatch = rows.map((row) => toRecord(row, columns, conf));
  batch.types = Object.fromEntries(columns.map(({ name, type }) => [name, type]));
  for (const [i, { name, repeats }] of columns.entries()) {
    if (repeats !== true) continue;
    for (const [at, row] of rows.entries()) {
      const record = batch[at]!;
      const text = row[i];
      if (record instanceof Unreadable || typeof text !== "string") continue;
      const twice = repeatedNameOf(text, record[name]!);
      if (twice === undefined) continue;
      const example = `"${twice}" in column ${name} of ${describeSource(conf)}`;
      batch.repeatedNames = addRepeated(batch.repeatedNames, { records: 1, example })!;
    }
  }
  return batch;
}

function bytesOf(row: TextRow): number {
  let bytes = 0;
  for (const value of row) bytes += value?.length ?? 0;
  return bytes;
}

/** Whether so many bytes have come, with this row. */
function bytesUpTo(most: number): (row: TextRow) => boolean {
  let bytes = 0;
  return (row) => (bytes += bytesOf(row)) > most;
}

function keyOf(row: TextRow, columns: ColumnReader[]): string[] {
  return row.slice(columns.length) as string[];
}

/** Rows with one key could fall between two pages and be lost. */
function refuseRepeatedKeys(
  rows: TextRow[],
  conf: PostgresConf,
  { slice, columns }: Pick<PageOptions, "slice" | "columns">,
): void {
  for (let i = 1; i < rows.length; i++) {
    const key = keyOf(rows[i]!, columns);
    if (!keyOf(rows[i - 1]!, columns).every((value, k) => value === key[k])) continue;
    throw new Problem("source-unreadable", {
      detail: say("rows-same-key", {
        what: describeSource(conf),
        key: slice.key.map(({ name }, k) => `${name} = ${key[k]}`).join(", "),
      }),
    });
  }
}

function toRecord(
  row: TextRow,
  columns: ColumnReader[],
  conf: PostgresConf,
): SourceRecord | Unreadable {
  try {
    const record: SourceRecord = {};
    columns.forEach(({ name, read }, i) => {
      const value = row[i];
      put(record, name, value === null || value === undefined ? null : read(value));
    });
    return record;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const rule = error instanceof NumberRangeError ? "number_range" : "json_syntax";
    const raw = JSON.stringify(
      Object.fromEntries(columns.map(({ name }, i) => [name, row[i]])),
    ).slice(0, RAW_LIMIT);
    return new Unreadable(
      rule,
      say("row-of", { what: describeSource(conf), error: error.message }),
      raw,
    );
  }
}
