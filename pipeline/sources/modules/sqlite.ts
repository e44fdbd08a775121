import { identify } from "../../field_path.ts";
import { say } from "../../../vocabulary/messages.ts";
import { constants, DatabaseSync, type StatementSync } from "node:sqlite";
import { Problem } from "../../../vocabulary/problem.ts";
import type { Json, SourceRecord } from "../../numbers.ts";
import type { RecordBatch } from "../source.ts";
import { resolveBelow } from "../local/open_input.ts";
import { defineSource, type SourceContext, z } from "./define.ts";

/*
 * A table or query of an SQLite file below ETL_DATA_DIR. It runs in the workers that read files, as a host
 * may open none.
 */

/** Bytes of one text or blob. */
const MAX_VALUE_BYTES = 128 * 1024 ** 2;

/** A page of large rows ends after so many bytes. */
const PAGE_BYTES = 8 * 1024 ** 2;

const config = z.strictObject({
  path: z.string().min(1).max(1024).describe('the file below ETL_DATA_DIR: "shop.db"'),
  table: z.string().min(1).max(200).optional().describe("table or view"),
  query: z.string().min(1).max(20_000).optional()
    .describe("one select statement, instead of table; read in one part, in its own order"),
  blobs: z.enum(["base64", "hex"]).default("base64").describe("how bytes become text"),
  cursor: z.string().min(1).max(200).optional()
    .describe("column that grows with every change; only rows from the last position on are read"),
  slice_rows: z.number().int().min(1).max(10_000_000).default(50_000)
    .describe("rows of a part, by the table's rowid"),
}).refine(
  ({ table, query }) => (table === undefined) !== (query === undefined),
  "takes either table or query",
);

type Config = z.infer<typeof config>;
type Slice = { from: string; to: string } | null;
type Context = SourceContext<Config>;

export default defineSource<Config, Slice>({
  config,
  cursor: ({ cursor }) => cursor,
  // one statement, or slices of row ids that are part of the key
  steady: true,
  async plan({ config, trusted }) {
    using db = await open(config, trusted!.dataDir);
    const { table, slice_rows } = config;
    const rowid = table === undefined ? null : rowidOf(db.database, table);
    if (table === undefined || rowid === null) return [null];
    // VACUUM and INSERT OR REPLACE give rows other ids, and what moves may be in no slice
    const { key, whole } = trusted!;
    const id = columnOfRowid(db.database, table);
    if (whole && (id === null || !identify([id], key))) return [null];
    const [bounds] = rows(db.database.prepare(
      `select min(${rowid}) as low, max(${rowid}) as high from ${quoted(table)}`,
    ));
    if (bounds?.low === null || bounds === undefined) return [];
    const slices: Slice[] = [];
    const step = db.database.prepare(
      `select max(id) as high from (select ${rowid} as id from ${quoted(table)}
       where ${rowid} >= ? order by ${rowid} limit ?)`,
    );
    step.setReadBigInts(true);
    let from = bounds.low as bigint;
    while (true) {
      const { high } = step.get(from, slice_rows) as { high: bigint | null };
      if (high === null) return slices;
      slices.push({ from: `${from}`, to: `${high}` });
      if (high >= (bounds.high as bigint)) return slices;
      from = high + 1n;
    }
  },
  async *read(slice, context) {
    using db = await open(context.config, context.trusted!.dataDir);
    const { statement, end } = prepared(db.database, slice, context);
    const types = typesOf(db.database, context.config);
    let whole = false;
    let read = 0;
    let batch: RecordBatch = [];
    batch.types = types;
    let bytes = 0;
    for (const row of statement) {
      context.trusted!.signal.throwIfAborted();
      if (row[end] !== null) {
        whole = true;
        break;
      }
      delete row[end];
      read++;
      bytes += bytesOf(row);
      batch.push(recordOf(row, context.config));
      if (batch.length < context.pageSize && bytes < PAGE_BYTES) continue;
      yield batch;
      batch = [];
      batch.types = types;
      bytes = 0;
    }
    if (!whole) throw cutShort(context.config.path, read);
    yield batch;
  },
});

function bytesOf(row: Record<string, unknown>): number {
  let bytes = 0;
  for (const name in row) {
    const value = row[name];
    if (typeof value === "string" || value instanceof Uint8Array) bytes += value.length;
  }
  return bytes;
}

async function open(
  { path }: Config,
  dataDir: string,
): Promise<{ database: DatabaseSync } & Disposable> {
  const { absolutePath } = await resolveBelow(dataDir, path);
  try {
    // statements may write nothing, nor attach another file
    const database = new DatabaseSync(absolutePath, { readOnly: true, allowExtension: false });
    database.exec("pragma query_only = on");
    database.exec("pragma busy_timeout = 5000");
    // a query makes no larger ones, whatever there is in the file
    database.limits.length = MAX_VALUE_BYTES;
    // nothing can stop a statement that is running, and only recursion has no end
    database.setAuthorizer((action) =>
      action === constants.SQLITE_RECURSIVE ? constants.SQLITE_DENY : constants.SQLITE_OK
    );
    return { database, [Symbol.dispose]: () => database.close() };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/**
 * The rows of a slice, and the name of a column that is null in each of them. Deno ends an iteration without a word when
 * SQLite fails within it, so one more row, in which that column is not null, says that these are all.
 */
function prepared(
  database: DatabaseSync,
  slice: Slice,
  { config: { path, table, query, cursor }, since }: Context,
): { statement: IterableIterator<Record<string, unknown>>; end: string } {
  try {
    const from = table === undefined ? `(${query!.replace(/;\s*$/, "")})` : quoted(table);
    const rowid = slice === null ? null : rowidOf(database, table!);
    const conditions: string[] = [];
    const values: (bigint | string | number)[] = [];
    if (slice !== null) {
      conditions.push(`${rowid} between ? and ?`);
      values.push(BigInt(slice.from), BigInt(slice.to));
    }
    if (cursor !== undefined && since !== null) {
      conditions.push(`${quoted(cursor)} >= ?`);
      values.push(
        /^-?\d+$/.test(since) ? BigInt(since) : /^-?\d+\.\d+$/.test(since) ? Number(since) : since,
      );
    }
    const where = conditions.length === 0 ? "" : ` where ${conditions.join(" and ")}`;
    const order = rowid === null ? "" : ` order by ${rowid}`;
    const select = `select * from ${from}${where}${order}`;
    const names = database.prepare(select).columns().map(({ name }) => name.toLowerCase());
    let end = "etl_end";
    while (names.includes(end)) end += "_";
    const statement = database.prepare(
      `select *, null as ${end} from (${select}) union all select ${
        "null, ".repeat(names.length)
      }1`,
    );
    statement.setReadBigInts(true);
    return {
      statement: statement.iterate(...values) as IterableIterator<Record<string, unknown>>,
      end,
    };
  } catch (error) {
    throw unreadable(path, error);
  }
}

function rows(statement: StatementSync): Record<string, unknown>[] {
  statement.setReadBigInts(true);
  return statement.all() as Record<string, unknown>[];
}

/** The name of the rowid that no column of the table has; null: there is none. Tables WITHOUT ROWID and views have none. */
function rowidOf(database: DatabaseSync, table: string): string | null {
  try {
    const kind = database.prepare("select type from sqlite_schema where name = ? collate nocase")
      .get(table) as { type: string } | undefined;
    if (kind?.type !== "table") return null;
    const columns = new Set(
      rows(database.prepare(`pragma table_xinfo(${quoted(table)})`))
        .map(({ name }) => String(name).toLowerCase()),
    );
    const free = ["rowid", "_rowid_", "oid"].find((name) => !columns.has(name));
    if (free === undefined) return null;
    database.prepare(`select ${free} from ${quoted(table)} limit 0`).all();
    return free;
  } catch {
    // what reads the table says what is wrong
    return null;
  }
}

/** The column that is the table's rowid (INTEGER PRIMARY KEY), which stays; null: it has none. */
function columnOfRowid(database: DatabaseSync, table: string): string | null {
  const keys = rows(database.prepare(`pragma table_xinfo(${quoted(table)})`))
    .filter(({ pk }) => pk !== 0n);
  // another key has an index
  const indexed = rows(database.prepare(`pragma index_list(${quoted(table)})`))
    .some(({ origin }) => origin === "pk");
  return keys.length === 1 && String(keys[0]!.type).toUpperCase() === "INTEGER" && !indexed
    ? String(keys[0]!.name)
    : null;
}

/**
 * Types of `source.columns` for the columns whose values SQLite holds to their type: all of a table that is `strict`, of others
 * those of texts (a number becomes one there) and the integer that is the rowid. A query and a view have none.
 */
function typesOf(database: DatabaseSync, { table }: Config): Record<string, string> {
  if (table === undefined) return {};
  try {
    const known = rows(database.prepare(
      `select type, strict from pragma_table_list where schema = 'main' and name = '${
        table.replaceAll("'", "''")
      }' collate nocase`,
    ))[0];
    if (known?.type !== "table") return {};
    const columns = rows(database.prepare(`pragma table_xinfo(${quoted(table)})`));
    const id = columnOfRowid(database, table);
    return Object.fromEntries(columns.flatMap((column) => {
      const declared = String(column.type).toUpperCase();
      const type = known.strict === 1n
        ? STRICT[declared]
        : column.name === id
        ? "integer"
        : /CHAR|CLOB|TEXT/.test(declared) && !/INT/.test(declared)
        ? "text"
        : undefined;
      return type === undefined ? [] : [[String(column.name), type]];
    }));
  } catch {
    // an SQLite without that list; what reads the table says what is wrong
    return {};
  }
}

const STRICT: Record<string, string> = {
  INT: "integer",
  INTEGER: "integer",
  REAL: "numeric",
  TEXT: "text",
  BLOB: "text",
};

function recordOf(row: Record<string, unknown>, { blobs }: Config): SourceRecord {
  const record: SourceRecord = {};
  for (const [name, value] of Object.entries(row)) record[name] = valueOf(value, blobs);
  return record;
}

function valueOf(value: unknown, blobs: Config["blobs"]): Json {
  if (value instanceof Uint8Array) {
    const bytes = new Uint8Array(value);
    return blobs === "hex" ? bytes.toHex() : bytes.toBase64();
  }
  if (typeof value === "bigint") {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : value;
  }
  // what JSON has no number for
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value as Json;
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function cutShort(path: string, read: number): Problem {
  return new Problem("source-unreadable", {
    detail: say("sqlite-cut-short", {
      path,
      rows: read,
      most: MAX_VALUE_BYTES / 1024 ** 2,
    }),
  });
}

function unreadable(path: string, error: unknown): Problem {
  const said = (error as Error).message;
  // the one thing that is not authorised (SQLITE_AUTH)
  const isRecursive = (error as { errcode?: number }).errcode === 23;
  return new Problem("source-unreadable", {
    detail: isRecursive
      ? say("sqlite-recursive", { path })
      : say("sqlite-not-readable", { path, words: said }),
    cause: error,
  });
}
