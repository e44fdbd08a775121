import { identify } from "../../field_path.ts";
import { say } from "../../../vocabulary/messages.ts";
import { Buffer } from "node:buffer";
import { constants, DatabaseSync, type StatementSync } from "node:sqlite";
import { Problem } from "../../../vocabulary/problem.ts";
import type { Json, SourceRecord } from "../../numbers.ts";
import { Canonicalizer } from "../../canonical.ts";
import { BYTES, RAW_LIMIT, type RecordBatch, Unreadable } from "../source.ts";
import { HIGHEST, highestOf } from "./positions.ts";
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
/** Row ids of a table, with its columns as {@linkcode columnsOf} has them (without where an earlier version has planned); null: all in one. */
type Slice = { from: string; to: string; columns?: string } | null;
type Context = SourceContext<Config>;

export default defineSource<Config, Slice>({
  config,
  cursor: ({ cursor }) => cursor,
  // one statement, or slices of row ids that are part of the key
  steady: true,
  async plan({ config, since, trusted }) {
    using db = await open(config, trusted!.dataDir);
    const { table, slice_rows } = config;
    const position = positionNow(db.database, { config, since });
    const rowid = table === undefined ? null : rowidOf(db.database, table);
    if (table === undefined || rowid === null) return { slices: [null], position };
    // VACUUM and INSERT OR REPLACE give rows other ids, and what moves may be in no slice
    const { key, whole } = trusted!;
    const id = columnOfRowid(db.database, table);
    if (whole && (id === null || !identify([id], key))) return { slices: [null], position };
    const [bounds] = rows(db.database.prepare(
      `select min(${rowid}) as low, max(${rowid}) as high from ${quoted(table)}`,
    ));
    if (bounds?.low === null || bounds === undefined) return { slices: [], position };
    const slices: Slice[] = [];
    const columns = columnsOf(db.database, table);
    const step = db.database.prepare(
      `select max(id) as high from (select ${rowid} as id from ${quoted(table)}
       where ${rowid} >= ? order by ${rowid} limit ?)`,
    );
    step.setReadBigInts(true);
    let from = bounds.low as bigint;
    while (true) {
      const { high } = step.get(from, slice_rows) as { high: bigint | null };
      if (high === null) return { slices, position };
      slices.push({ from: `${from}`, to: `${high}`, columns });
      if (high >= (bounds.high as bigint)) return { slices, position };
      from = high + 1n;
    }
  },
  async *read(slice, context) {
    using db = await open(context.config, context.trusted!.dataDir);
    // what is looked at and what is read are of one moment
    db.database.exec("begin");
    refuseOtherColumns(db.database, slice, context.config);
    const { statement, end, check, id } = prepared(db.database, slice, context);
    const wrongText = textChecker(db.database, context.config);
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
      read++;
      const length = Number(row[check]);
      const rowid = row[id] as bigint | null;
      // the last first, which costs the least
      for (const name of [end, check, id]) delete row[name];
      bytes += bytesOf(row);
      const record = recordOf(row, context.config);
      const wrong = wrongText(row, { length, rowid });
      batch.push(wrong === null ? record : unreadableText(record, wrong, context.config));
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

/** Names and types of a table's columns, as a text. */
function columnsOf(database: DatabaseSync, table: string): string {
  const columns = rows(database.prepare(`pragma table_xinfo(${quoted(table)})`));
  return JSON.stringify(columns.map(({ name, type }) => [name, type]));
}

/** @throws {Problem} `source-changed` where the table has other columns than when it was planned: two kinds of rows would be mixed. */
function refuseOtherColumns(database: DatabaseSync, slice: Slice, { table, path }: Config): void {
  if (slice?.columns === undefined || slice.columns === columnsOf(database, table!)) return;
  throw new Problem("source-changed", {
    detail: say("columns-changed", { what: say("the-table-in-file", { table: table!, path }) }),
  });
}

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
 * The rows of a slice, and names of columns beside theirs: `end`, which is null in each of them; `check`, the bytes of all their
 * texts in the file; `id`, the rowid or null. Deno ends an iteration without a word when SQLite fails within it, so one more row, in
 * which `end` is not null, says that these are all.
 */
function prepared(
  database: DatabaseSync,
  slice: Slice,
  { config: { path, table, query, cursor }, since }: Context,
): {
  statement: IterableIterator<Record<string, unknown>>;
  end: string;
  check: string;
  id: string;
} {
  try {
    const from = fromOf({ table, query });
    const known = table === undefined ? null : rowidOf(database, table);
    const rowid = slice === null ? null : known;
    const conditions: string[] = [];
    const values: (bigint | string | number)[] = [];
    if (slice !== null) {
      conditions.push(`${rowid} between ? and ?`);
      values.push(BigInt(slice.from), BigInt(slice.to));
    }
    if (cursor !== undefined && since !== null) {
      // texts of numbers and times count by their value, as positions do
      const column = quoted(cursor);
      const isNumber = /^-?\d+(\.\d+)?$/.test(since);
      const position = isNumber ? boundNumber(since) : since;
      conditions.push(
        isNumber
          ? `(${column} >= ? or ${column} is null or typeof(${column}) = 'text' and cast(${column} as numeric) >= ?)`
          // a number among texts is neither newer nor older, as is what has no value: it is read
          : `(${column} >= ? or ${column} is null or julianday(${column}) >= julianday(?) - 1e-6 or typeof(${column}) in ('integer', 'real'))`,
      );
      values.push(position, position);
    }
    const where = conditions.length === 0 ? "" : ` where ${conditions.join(" and ")}`;
    const order = rowid === null ? "" : ` order by ${rowid}`;
    // columns of a query that have one name get others here
    const names = database.prepare(`select * from (select * from ${from})`).columns()
      .map(({ name }) => name);
    if (cursor !== undefined && !names.includes(cursor)) {
      throw new Problem("invalid-conf", {
        detail: say("no-cursor-column", { column: cursor }),
        errors: [{ field: "source.config.cursor", value: cursor, message: "is not a column" }],
      });
    }
    const [end, check, id] = ["etl_end", "etl_check", "etl_rowid"].map((name) => {
      while (names.some((each) => each.toLowerCase() === name)) name += "_";
      return name;
    }) as [string, string, string];
    const select = `select *, ${known ?? "null"} as ${id} from ${from}${where}${order}`;
    const statement = database.prepare(
      `select *, ${sumOf(names.map(textLength))} as ${check}, null as ${end} from (${select})
       union all select ${"null, ".repeat(names.length + 2)}1`,
    );
    statement.setReadBigInts(true);
    return {
      statement: statement.iterate(...values) as IterableIterator<Record<string, unknown>>,
      end,
      check,
      id,
    };
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw unreadable(path, error);
  }
}

/** What is read; the line break ends a comment in the query's last line. */
function fromOf({ table, query }: Pick<Config, "table" | "query">): string {
  return table === undefined ? `(${query!.replace(/;\s*$/, "")}\n)` : quoted(table);
}

/** The highest position of what is read as it is now: what changes while it is read is newer, and the next run's. */
function positionNow(
  database: DatabaseSync,
  { config, since }: Pick<Context, "config" | "since">,
): string | null | undefined {
  const { cursor } = config;
  if (cursor === undefined) return undefined;
  const column = quoted(cursor);
  const isText = `typeof(${column}) = 'text'`;
  const isTime = `${column} like '____-__-__%' and julianday(${column}) is not null`;
  const isNumber = `${column} not glob '*[^0-9.-]*'`;
  // each kind has an order of its own
  const kinds = [
    [`typeof(${column}) in ('integer', 'real')`, column],
    [`${isText} and ${isTime}`, `julianday(${column})`],
    [`${isText} and ${isNumber} and not (${isTime})`, `cast(${column} as numeric)`],
    [`${isText} and not (${isNumber}) and not (${isTime})`, column],
  ];
  const known: RecordBatch = [];
  for (const [where, order] of kinds) {
    let found;
    try {
      found = rows(database.prepare(
        `select ${column} as value from ${
          fromOf(config)
        } where ${where} order by ${order} desc limit ${HIGHEST}`,
      ));
    } catch {
      // what reads the table says what is wrong
      return undefined;
    }
    known.push(...found.map(({ value }) => ({ value: valueOf(value, config.blobs) })));
  }
  return highestOf(known, "value", since);
}

/** A number as SQLite takes it: an integer of 64 bits, or the nearest double. */
function boundNumber(text: string): bigint | number {
  const whole = text.includes(".") ? null : BigInt(text);
  return whole !== null && BigInt.asIntN(64, whole) === whole ? whole : Number(text);
}

const textLength = (name: string) =>
  `iif(typeof(${quoted(name)}) = 'text', octet_length(${quoted(name)}), 0)`;

/** Terms added up, in groups: SQLite takes 1,000 levels of an expression. */
function sumOf(terms: string[]): string {
  const groups = Math.ceil(terms.length / 100);
  return Array.from(
    { length: groups },
    (_, i) => `(${terms.slice(100 * i, 100 * (i + 1)).join(" + ")})`,
  ).join(" + ");
}

/**
 * Makes a function that finds the columns whose text is not what the file has; null: all are. What is not valid is U+FFFD by the time
 * that it is here, and what is behind U+0000 is left out. As U+FFFD may be as long as what it stands for, and may stand in the file,
 * such a row is looked at once more, where it has a rowid.
 */
function textChecker(
  database: DatabaseSync,
  { table }: Config,
): (
  row: Record<string, unknown>,
  expected: { length: number; rowid: bigint | null },
) => string[] | null {
  const [encoding] = rows(database.prepare("pragma encoding"));
  const isUtf8 = encoding!.encoding === "UTF-8";
  const lengthOf = (text: string) => isUtf8 ? Buffer.byteLength(text) : 2 * text.length;
  const decoder = new TextDecoder(isUtf8 ? "utf-8" : String(encoding!.encoding), {
    fatal: true,
    ignoreBOM: true,
  });
  const isWrong = (text: string, bytes: Uint8Array) => {
    try {
      return decoder.decode(bytes) !== text;
    } catch {
      return true;
    }
  };
  return (row, { length, rowid }) => {
    let found = 0;
    let replaced = false;
    for (const name in row) {
      const value = row[name];
      if (typeof value !== "string") continue;
      found += lengthOf(value);
      replaced ||= value.includes("\uFFFD");
    }
    if (found === length && !replaced) return null;
    const texts = Object.keys(row).filter((name) => typeof row[name] === "string");
    const stored = table === undefined || rowid === null ? undefined : database.prepare(
      `select ${
        texts.map((name) => `cast(${quoted(name)} as blob) as ${quoted(name)}`).join(", ")
      } from ${quoted(table)} where ${rowidOf(database, table)} = ?`,
    ).get(rowid);
    const wrong = texts.filter((name) => {
      const bytes = stored?.[name];
      return bytes instanceof Uint8Array && isWrong(row[name] as string, bytes);
    });
    return wrong.length > 0 ? wrong : found === length ? null : texts;
  };
}

/** A row of which texts cannot be read, without them. */
function unreadableText(
  record: SourceRecord,
  wrong: string[],
  { path, table }: Config,
): Unreadable {
  const replaced = wrong.some((name) => String(record[name]).includes("\uFFFD"));
  return new Unreadable(
    replaced ? "encoding" : "nul_character",
    say("sqlite-text", { file: path, table: table ?? "query", columns: wrong.join(", ") }),
    new Canonicalizer().text(record).slice(0, RAW_LIMIT),
    wrong.length === 1 ? wrong[0]! : null,
  );
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
function typesOf(database: DatabaseSync, { table, blobs }: Config): Record<string, string> {
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
        ? declared === "BLOB" && blobs !== "hex" ? BYTES : STRICT[declared]
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
