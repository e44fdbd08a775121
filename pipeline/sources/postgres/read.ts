import type { FieldDef } from "pg";
import { say } from "../../../vocabulary/messages.ts";
import { copiedText, copyOut } from "../../../store/copy.ts";
import { errorCode, noteStatementTimeout } from "../../../store/errors.ts";
import { type Client, quoteIdent } from "../../../store/pg.ts";
import { put } from "../../numbers.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import { NumberRangeError } from "../json_text.ts";
import type { PostgresConf } from "../schema.ts";
import { MixedReader } from "../flat_records.ts";
import { FlatCopy } from "./flat_copy.ts";
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
import {
  fieldsAsPlanned,
  fromClause,
  keyTuple,
  Literals,
  Params,
  sourceFields,
  valueTuple,
} from "./relation.ts";
import { asSourceProblem, describeSource, openSession, readOnly } from "./session.ts";
import { type ColumnReader, columnReaders } from "./values.ts";

/**
 * What a page takes of memory, and one row more: rows of a page are looked at before more are asked for, and of one whose
 * rows are suddenly larger only the first are kept.
 */
const PAGE_BYTES = 8 * 1024 ** 2;
/** A page has so many times db_page_size rows: each costs the way to the source and back. */
const PAGE_FACTOR = 16;
const BATCH_RECORDS = 1_000;
/** About the longest text that there can be. */
const MAX_ROW_BYTES = 511 * 1024 ** 2;
const FIRST_PAGE = 100;
const GROWTH = 8;

const LINE_END = 10;
const TAB = 9;
/** Memory of a page to begin with. */
const FIRST_BYTES = 1 << 16;

/** The fields of a row as PostgreSQL writes them, null for NULL. */
type TextRow = (string | null)[];

/** Reads the rows of a slice page by page, each in a short read-only transaction. */
export async function* readPostgres(
  conf: PostgresConf,
  slice: KeySlice,
  ctx: ReadContext,
): AsyncGenerator<RecordBatch, void, void> {
  const client = await openSession(conf, ctx);
  const abort = () => void client.end().catch(() => {});
  ctx.signal.addEventListener("abort", abort, { once: true });
  try {
    const columns = await readOnly(
      client,
      async () =>
        columnReaders(client, readable(conf, await fieldsAsPlanned(client, conf, slice.columns))),
    );
    const key = keyFields(slice, columns);
    const copy = ctx.flat ? FlatCopy.of(columns) : null;
    const flat = copy === null ? null : { copy, reader: new MixedReader(copy.records) };
    let most = ctx.pageSize * PAGE_FACTOR;
    let size = Math.min(most, FIRST_PAGE);
    const fetch = async (after: string[], next?: string[]): Promise<Page> => {
      while (true) {
        const started = performance.now();
        try {
          return await readOnly(client, async () => {
            await fieldsAsPlanned(client, conf, slice.columns);
            if (next !== undefined) await refuseEqualKeys(client, conf, { slice, after, next });
            const statement = pageStatement(conf, { slice, columns, key, after, size });
            return await fetchPage(client, conf, { statement, size });
          });
        } catch (error) {
          // the role's statement_timeout may leave time for fewer rows
          if (errorCode(error) !== "57014") throw error;
          const elapsedMs = performance.now() - started;
          await client.query("rollback");
          const { rows: [of] } = await client.query<{ limit: string }>(
            "select setting as limit from pg_settings where name = 'statement_timeout'",
          );
          const limitMs = Number(of!.limit);
          if (!noteStatementTimeout(error, { limitMs, elapsedMs }) || size === 1) throw error;
          most = size = Math.max(1, Math.floor(size / GROWTH));
        }
      }
    };
    let page: Page | undefined = await fetch(slice.after);
    while (page !== undefined) {
      const { rows, next, bytes }: Page = page;
      refuseRepeatedKeys(rows, conf, key);
      const fitting = Math.floor(PAGE_BYTES * rows.length / bytes);
      size = Math.max(1, Math.min(most, size * GROWTH, fitting));
      const bounds: [string[], string[]] | undefined = next &&
        [textsOf(rows.row(rows.length - 1), key), textsOf(next, key)];
      // while this page is worked on, unless two of them would take much memory
      const early: Promise<Page> | undefined = bounds === undefined || bytes > PAGE_BYTES
        ? undefined
        : fetch(...bounds);
      // told when it is waited for
      early?.catch(() => {});
      page = undefined;
      for (let from = 0; from < rows.length; from += BATCH_RECORDS) {
        const to = Math.min(rows.length, from + BATCH_RECORDS);
        const others = (first: number, end: number) =>
          toBatch(rows.texts(first, end), columns, conf);
        if (flat === null) yield others(from, to);
        else {
          const find = (first: number) => flat.copy.find(rows, first, to);
          yield* flat.reader.batches({ from, to, find, others });
        }
      }
      if (bounds !== undefined) page = await (early ?? fetch(...bounds));
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
): Promise<RecordBatch> {
  return await readOnly(client, async () => {
    const columns = await columnReaders(client, readable(conf, await sourceFields(client, conf)));
    const limit = new Literals().add(count, "int8");
    const statement = `select ${selectList(columns)} from ${fromClause(conf)} limit ${limit}`;
    const { rows, next } = await fetchPage(client, conf, { statement, size: count });
    const texts = rows.length === 0 ? [] : rows.texts(0, rows.length);
    return toBatch(next === undefined ? texts : [...texts, next], columns, conf);
  });
}

/** The same columns, of which no two have one name. */
function readable(conf: PostgresConf, fields: FieldDef[]): FieldDef[] {
  const names = fields.map((field) => field.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return fields;
  throw new Problem("source-unreadable", {
    detail: say("columns-same-name", { what: describeSource(conf), name: twice }),
  });
}

function selectList(columns: ColumnReader[]): string {
  return columns
    .map(({ name, select }) => select.replace("{}", () => `source_rows.${quoteIdent(name)}`))
    .join(", ");
}

/** The columns that rows are paged by, and which fields of a row have their texts. */
interface KeyField {
  name: string;
  field: number;
  /** Where no column is read as the text that it has: SQL of one more field. */
  select?: string;
}

function keyFields(slice: KeySlice, columns: ColumnReader[]): KeyField[] {
  let field = columns.length;
  return slice.key.map(({ name }) => {
    const at = columns.findIndex((column) => column.name === name && column.select === "{}");
    if (at >= 0) return { name, field: at };
    return { name, field: field++, select: `source_rows.${quoteIdent(name)}::text` };
  });
}

interface PageOptions {
  slice: KeySlice;
  columns: ColumnReader[];
  key: KeyField[];
  after: string[];
  size: number;
}

/** One row more than the page: whether there is more, and whether keys repeat. */
function pageStatement(
  conf: PostgresConf,
  { slice, columns, key, after, size }: PageOptions,
): string {
  const literals = new Literals();
  const tuple = keyTuple(slice.key);
  const conditions = [`${tuple} <= ${valueTuple(slice.key, slice.upto, literals)}`];
  if (after.length > 0) conditions.push(`${tuple} > ${valueTuple(slice.key, after, literals)}`);
  if ("column" in slice.cursor) {
    conditions.push(cursorCondition(slice.cursor as CursorBounds, literals));
  }
  const order = slice.key.map(({ name }) => `source_rows.${quoteIdent(name)}`).join(", ");
  const more = key.flatMap(({ select }) => select === undefined ? [] : [select]);
  return `select ${[selectList(columns), ...more].join(", ")}
    from ${fromClause(conf)} where ${conditions.join(" and ")}
    order by ${order} limit ${literals.add(size + 1, "int8")}`;
}

/** Rows as COPY writes them: lines of fields with tabs between. */
class CopiedRows {
  readonly bytes: Uint8Array;
  /** The byte behind each line's end. */
  readonly ends: readonly number[];

  constructor(bytes: Uint8Array, ends: number[]) {
    this.bytes = bytes;
    this.ends = ends;
  }

  get length(): number {
    return this.ends.length;
  }

  begin(i: number): number {
    return i === 0 ? 0 : this.ends[i - 1]!;
  }

  row(i: number): TextRow {
    return this.texts(i, i + 1)[0]!;
  }

  /** The fields of the rows [from, to). */
  texts(from: number, to: number): TextRow[] {
    const lines = this.bytes.subarray(this.begin(from), this.ends[to - 1]! - 1);
    return decoder.decode(lines).split("\n").map(fieldsOf);
  }
}

// PostgreSQL sends nothing else, whatever the encoding of the database
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

interface Page {
  rows: CopiedRows;
  /** The row behind it, where there is one. */
  next: TextRow | undefined;
  bytes: number;
}

/**
 * The first `size` rows of a statement that asks for one more; fewer where they have too many bytes. By COPY: its text is
 * taken apart much faster than the driver's messages.
 */
async function fetchPage(
  client: Client,
  conf: PostgresConf,
  { statement, size }: { statement: string; size: number },
): Promise<Page> {
  const ends: number[] = [];
  let page = new Uint8Array(FIRST_BYTES);
  let bytes = 0;
  // there is a row, and one that tells that there is more
  const isLarge = () => bytes > PAGE_BYTES && ends.length > 1;
  for await (const block of copyOut(client, `copy (${statement}) to stdout`)) {
    if (bytes + block.length > page.length) {
      const grown = new Uint8Array(Math.max(bytes + block.length, page.length * 2));
      grown.set(page.subarray(0, bytes));
      page = grown;
    }
    page.set(block, bytes);
    for (let at = block.indexOf(LINE_END); at >= 0; at = block.indexOf(LINE_END, at + 1)) {
      ends.push(bytes + at + 1);
    }
    bytes += block.length;
    if (bytes - (ends.at(-1) ?? 0) > MAX_ROW_BYTES) {
      throw new Problem("source-unreadable", {
        detail: say("row-too-large", { what: describeSource(conf), mb: MAX_ROW_BYTES / 1024 ** 2 }),
      });
    }
    if (isLarge()) break;
  }
  const rows = new CopiedRows(page, ends);
  const next = isLarge() || ends.length > size ? rows.row(ends.length - 1) : undefined;
  if (next !== undefined) ends.pop();
  return { rows, next, bytes };
}

function fieldsOf(line: string): TextRow {
  const fields: TextRow = line.split("\t");
  if (!line.includes("\\")) return fields;
  for (let i = 0; i < fields.length; i++) fields[i] = copiedText(fields[i]!);
  return fields;
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

function textsOf(row: TextRow, key: KeyField[]): string[] {
  return key.map(({ field }) => row[field]!);
}

/** That the first row behind a page has a key of its own: 1.0 and 1.00 are one, and the next page begins behind it. */
async function refuseEqualKeys(
  client: Client,
  conf: PostgresConf,
  { slice: { key }, after, next }: { slice: KeySlice; after: string[]; next: string[] },
): Promise<void> {
  const params = new Params();
  const columns = key.map(({ name }) => `source_rows.${quoteIdent(name)}`);
  // with the columns' collations, for which a and A may be one
  const last = key.map(({ type }, k) => `coalesce(${columns[k]}, ${params.add(after[k], type)})`);
  const { rows } = await client.query(
    `select from (select) as one left join (
       select ${columns.join(", ")} from ${fromClause(conf)} limit 0
     ) as source_rows on true
     where (${last.join(", ")}) = ${valueTuple(key, next, params)}`,
    params.values,
  );
  if (rows.length > 0) throw sameKey(conf, key.map(({ name }, k) => `${name} = ${next[k]}`));
}

function sameKey(conf: PostgresConf, key: string[]): Problem {
  return new Problem("source-unreadable", {
    detail: say("rows-same-key", { what: describeSource(conf), key: key.join(", ") }),
  });
}

/** Rows with one key could fall between two pages and be lost. */
function refuseRepeatedKeys(rows: CopiedRows, conf: PostgresConf, key: KeyField[]): void {
  const { bytes } = rows;
  const last = Math.max(...key.map(({ field }) => field));
  const begins = [new Int32Array(last + 2), new Int32Array(last + 2)];
  for (let i = 0; i < rows.length; i++) {
    const here = begins[i % 2]!;
    const before = begins[(i + 1) % 2]!;
    let at = here[0] = rows.begin(i);
    for (let field = 1; field <= last + 1; field++) {
      while (bytes[at] !== TAB && bytes[at] !== LINE_END) at++;
      here[field] = ++at;
    }
    if (i === 0 || !key.every(({ field }) => isSameField(bytes, before, here, field))) continue;
    const row = rows.row(i);
    throw sameKey(conf, key.map(({ name, field }) => `${name} = ${row[field]}`));
  }
}

/** Whether a field of two rows, whose fields begin there, has the same bytes. */
function isSameField(bytes: Uint8Array, a: Int32Array, b: Int32Array, field: number): boolean {
  const length = a[field + 1]! - a[field]!;
  if (length !== b[field + 1]! - b[field]!) return false;
  // without what ends the field
  for (let i = length - 2; i >= 0; i--) {
    if (bytes[a[field]! + i] !== bytes[b[field]! + i]) return false;
  }
  return true;
}

function toRecord(
  row: TextRow,
  columns: ColumnReader[],
  conf: PostgresConf,
): SourceRecord | Unreadable {
  try {
    const record: SourceRecord = {};
    for (let i = 0; i < columns.length; i++) {
      const { name, read } = columns[i]!;
      const value = row[i]!;
      put(record, name, value === null ? null : read(value));
    }
    return record;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const rule = error instanceof NumberRangeError ? "number_range" : "json_syntax";
    const raw = JSON.stringify(Object.fromEntries(columns.map(({ name }, i) => [name, row[i]])))
      .slice(0, RAW_LIMIT);
    return new Unreadable(
      rule,
      say("row-of", { what: describeSource(conf), error: error.message }),
      raw,
    );
  }
}
