import { say } from "../../../vocabulary/messages.ts";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Connection as CallbackConnection } from "mysql2";
import mysql from "mysql2/promise";
import { Problem } from "../../../vocabulary/problem.ts";
import { put } from "../../numbers.ts";
import { parseJsonValue } from "../json_text.ts";
import type { SourceRecord } from "../../numbers.ts";
import { identify } from "../../field_path.ts";
import { numericType } from "../catalogue.ts";
import { BYTES as BASE64, type RecordBatch, Unreadable } from "../source.ts";
import { HIGHEST, highestOf } from "./positions.ts";
import { parseSourceDsn } from "../../../store/dsn.ts";
import { exactNumber } from "../../numbers.ts";
import { defineSource, type SourceContext, z } from "./define.ts";

/*
 * A table or view of MySQL or MariaDB, by ranges of its primary key. It runs in the workers that read
 * databases, as a host has no sockets.
 */

const config = z.strictObject({
  table: z.string().min(1).max(200).describe('table, "name" or "database.name"'),
  page_key: z.array(z.string().min(1).max(64)).min(1).max(4).optional()
    .describe("unique columns to page by; default: the primary key"),
  cursor: z.string().min(1).max(64).optional()
    .describe("column that grows with every change; only rows from the last position on are read"),
  blobs: z.enum(["base64", "hex"]).default("base64").describe("how bytes become text"),
  slice_rows: z.number().int().min(1).max(10_000_000).default(50_000).describe("rows of a part"),
});

type Config = z.infer<typeof config>;
type Key = string[];
/** `columns`: those of the plan, see {@linkcode digestOf}; without where an earlier version has planned. */
type Slice = { key: string[]; after: Key | null; upto: Key; columns?: string };
type Context = SourceContext<Config>;

export default defineSource<Config, Slice>({
  config,
  cursor: ({ cursor }) => cursor,
  plan: (context) =>
    withConnection(context, async (client) => {
      const { config: { slice_rows } } = context;
      const columns = await columnsOf(client, context);
      requireCursor(columns, context);
      const position = await positionNow(client, columns, context);
      const key = await keyOf(client, columns, context);
      const slices: Slice[] = [];
      // a row whose page key changes may be in no page
      const steady = identify(key, context.trusted!.key);
      let after: Key | null = null;
      while (true) {
        // the last key of each part, one step of the index a part
        const { sql, values } = after === null
          ? { sql: "", values: [] }
          : behind(key, after, columns);
        const upto: Key | null = await lastKey(client, {
          text: `${from(context)}${sql === "" ? "" : ` where ${sql}`}`,
          values,
          key,
          columns,
          offset: slice_rows - 1,
        });
        if (upto === null) return { slices, steady, position };
        slices.push({ key, after, upto, columns: digestOf(columns) });
        after = upto;
      }
    }),
  async *read(slice, context) {
    const { config, pageSize, trusted } = context;
    let client = await connect(context);
    const abort = () => client.destroy();
    trusted!.signal.addEventListener("abort", abort, { once: true });
    try {
      const columns = await columnsAsPlanned(client, context, slice);
      const types = Object.fromEntries(columns.map(({ name, declare }) => [name, declare]));
      let after = slice.after;
      let size = Math.min(pageSize, FIRST_PAGE);
      while (true) {
        trusted!.signal.throwIfAborted();
        const conditions = [behindOrAt(slice.key, slice.upto, columns)];
        if (after !== null) conditions.push(behind(slice.key, after, columns));
        if (config.cursor !== undefined && context.since !== null) {
          conditions.push(since(config.cursor, context.since, columns));
        }
        const { rows, bytes, cut } = await readPage(client, {
          text: `select ${columns.map(selected).join(", ")}${
            slice.key.map((name) => `, ${keyText(name, columns)}`).join("")
          } from ${from(context)} where ${conditions.map(({ sql }) => sql).join(" and ")}
            order by ${slice.key.map(quoted).join(", ")} limit ${size + 1}`,
          values: conditions.flatMap(({ values }) => values),
        });
        const keys = rows.map((row) => row.slice(columns.length).map((value) => value!.toString()));
        refuseRepeatedKeys(keys, slice.key, context);
        // one row more than the page tells whether keys repeat, and whether there is more
        const isLast = !cut && rows.length <= size;
        const page = isLast ? rows : rows.slice(0, -1);
        if (page.length > 0) {
          const batch: RecordBatch = page.map((row) => recordOf(row, columns, config));
          batch.types = types;
          yield batch;
        }
        if (isLast) {
          // else its pages may have been read as what they are not
          await columnsAsPlanned(client, context, slice);
          return;
        }
        after = keys[page.length - 1]!;
        const fitting = Math.floor(PAGE_BYTES * rows.length / Math.max(1, bytes));
        size = Math.max(1, Math.min(pageSize, size * GROWTH, fitting));
        if (cut) {
          // the rest of the page is still on its way
          client.destroy();
          client = await connect(context);
        }
      }
    } catch (error) {
      trusted!.signal.throwIfAborted();
      throw asProblem(error, readOf(context));
    } finally {
      trusted!.signal.removeEventListener("abort", abort);
      client.destroy();
    }
  },
});

type Client = mysql.Connection;

/** What a page takes of memory, and one row more: pages are small until their rows have been seen. */
const PAGE_BYTES = 8 * 1024 ** 2;
const FIRST_PAGE = 100;
const GROWTH = 8;

/** The rows of a statement, as they come; `cut` where they are more than a page takes: the connection is of no use then. */
async function readPage(
  client: Client,
  { text, values }: { text: string; values: unknown[] },
): Promise<{ rows: (Buffer | null)[][]; bytes: number; cut: boolean }> {
  // the one with promises keeps to itself that it has it
  const { connection } = client as unknown as { connection: CallbackConnection };
  const stream = connection.query({ sql: text, values, rowsAsArray: true })
    .stream({ highWaterMark: 1 });
  const rows: (Buffer | null)[][] = [];
  let bytes = 0;
  for await (const row of stream as AsyncIterable<(Buffer | null)[]>) {
    const isFull = bytes > PAGE_BYTES;
    rows.push(row);
    bytes += row.reduce((sum, value) => sum + (value?.length ?? 0), 0);
    if (isFull) return { rows, bytes, cut: true };
  }
  return { rows, bytes, cut: false };
}

/** Rows with one key could fall between two pages and be lost. */
function refuseRepeatedKeys(keys: Key[], names: string[], context: Context): void {
  for (let i = 1; i < keys.length; i++) {
    if (!keys[i]!.every((value, k) => value === keys[i - 1]![k])) continue;
    const key = names.map((name, k) => `${name} = ${keys[i]![k]}`).join(", ");
    const { config, connections } = context;
    throw new Problem("source-unreadable", {
      detail: say("mysql-same-key", { table: config.table, name: connections[0]!, key }),
      errors: [{
        field: "source.config.page_key",
        value: config.page_key,
        message: "is not unique",
      }],
    });
  }
}

async function connect(context: Context): Promise<Client> {
  const [name] = context.connections;
  if (name === undefined) {
    throw new Problem("invalid-conf", {
      detail: say("mysql-no-connection", {}),
      errors: [{ field: "source.connections", message: "names none", expected: '["shop"]' }],
    });
  }
  return await connectTo(context.trusted!.connection(name), {
    connection: name,
    table: context.config.table,
  });
}

/** What is read, for messages. */
export interface Read {
  connection: string;
  table: string;
}

/** Opens a session that only reads, in UTC; the caller ends it. */
export async function connectTo(text: string, what: Read): Promise<Client> {
  const dsn = parseSourceDsn(text);
  const [{ host, port } = { host: "127.0.0.1", port: 3306 }] = dsn.hosts;
  const verified = dsn.parameters.get("sslmode") ?? dsn.parameters.get("ssl_mode");
  try {
    const client = await mysql.createConnection({
      host,
      port,
      ...(dsn.user === undefined ? {} : { user: dsn.user }),
      ...(dsn.password === undefined ? {} : { password: dsn.password }),
      ...(dsn.database === undefined ? {} : { database: dsn.database }),
      connectTimeout: 15_000,
      charset: "utf8mb4",
      // values as the server writes them: the driver's own would lose digits, zones and zero dates
      typeCast: (field) => field.buffer(),
      rowsAsArray: true,
      // a server may not ask for files of ours
      flags: ["-LOCAL_FILES"],
      ...(verified === undefined || /^disable/i.test(verified)
        ? {}
        : { ssl: { rejectUnauthorized: /verify/i.test(verified) } }),
    });
    await client.query("set time_zone = '+00:00', sql_mode = ''");
    await client.query("set session transaction read only");
    return client;
  } catch (error) {
    throw asProblem(error, what);
  }
}

async function withConnection<T>(
  context: Context,
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect(context);
  try {
    return await use(client);
  } catch (error) {
    throw asProblem(error, readOf(context));
  } finally {
    client.destroy();
  }
}

export async function query(
  client: Client,
  { text, values }: { text: string; values: unknown[] },
): Promise<(Buffer | null)[][]> {
  const [rows] = await client.query({ sql: text, values, rowsAsArray: true });
  return rows as unknown as (Buffer | null)[][];
}

interface Column {
  name: string;
  /** As information_schema has it: bigint, decimal, json … */
  type: string;
  /** The type of `source.columns` that holds its values. */
  declare: string;
}

/** Columns of MariaDB that are declared json, which is a longtext with a check there. */
export const JSON_COLUMNS =
  `select k.table_schema, k.table_name, k.column_name from information_schema.columns k
    join information_schema.check_constraints c on c.constraint_schema = k.table_schema and c.table_name = k.table_name
      and c.check_clause = concat('json_valid(\`', k.column_name, '\`)')`;

async function columnsOf(client: Client, context: Context): Promise<Column[]> {
  const { database, table } = named(context);
  const rows = await query(client, {
    text: `select column_name, data_type, column_type, numeric_precision, numeric_scale, exists (
        select 1 from information_schema.check_constraints c
        where c.constraint_schema = k.table_schema and c.table_name = k.table_name
          and c.check_clause = concat('json_valid(\`', k.column_name, '\`)')) as is_json
      from information_schema.columns k
      where table_schema = coalesce(?, database()) and table_name = ? order by ordinal_position`,
    values: [database, table],
  }).catch(() =>
    // MySQL's list of constraints does not say of which table they are; it has a type json instead
    query(client, {
      text:
        `select column_name, data_type, column_type, numeric_precision, numeric_scale, 0 from information_schema.columns
        where table_schema = coalesce(?, database()) and table_name = ? order by ordinal_position`,
      values: [database, table],
    })
  );
  if (rows.length === 0) {
    throw new Problem("source-unreadable", {
      detail: say("mysql-no-table", {
        table: context.config.table,
        name: context.connections[0]!,
      }),
    });
  }
  return rows.map(([name, told, whole, precision, scale, isJson]) => {
    const type = isJson?.toString() === "1" ? "json" : told!.toString().toLowerCase();
    const number = (bytes: Buffer | null | undefined) => bytes ? Number(bytes.toString()) : null;
    return {
      name: name!.toString(),
      type,
      declare: BYTES.test(type) && context.config.blobs === "base64" ? BASE64 : declaredType({
        type,
        whole: whole!.toString().toLowerCase(),
        precision: number(precision),
        scale: number(scale),
      }),
    };
  });
}

async function keyOf(client: Client, columns: Column[], context: Context): Promise<string[]> {
  const { config } = context;
  const missing = config.page_key?.find((name) => !columns.some((column) => column.name === name));
  if (missing !== undefined) {
    throw new Problem("invalid-conf", {
      detail: say("mysql-no-key-column", { table: config.table, column: missing }),
      errors: [{ field: "source.config.page_key", value: missing, message: "is not a column" }],
    });
  }
  if (config.page_key !== undefined) {
    // what is behind null cannot be asked for
    const unknown = await query(client, {
      text: `select ${config.page_key.map((name) => `${quoted(name)} is null`).join(", ")} from ${
        from(context)
      } where ${config.page_key.map((name) => `${quoted(name)} is null`).join(" or ")} limit 1`,
      values: [],
    });
    const at = unknown[0]?.findIndex((isNull) => isNull!.toString() === "1") ?? -1;
    if (at < 0) return config.page_key;
    throw new Problem("invalid-conf", {
      detail: say("mysql-empty-key", { table: config.table, column: config.page_key[at]! }),
      errors: [{
        field: "source.config.page_key",
        value: config.page_key[at]!,
        message: "has rows without a value",
      }],
    });
  }
  const { database, table } = named(context);
  const rows = await query(client, {
    text: `select column_name from information_schema.statistics
      where table_schema = coalesce(?, database()) and table_name = ? and index_name = 'PRIMARY'
      order by seq_in_index`,
    values: [database, table],
  });
  if (rows.length > 0) return rows.map(([name]) => name!.toString());
  throw new Problem("invalid-conf", {
    detail: say("mysql-no-primary-key", { table: config.table }),
    errors: [{ field: "source.config.page_key", message: "is needed for this table" }],
  });
}

async function lastKey(
  client: Client,
  { text, values, key, columns, offset }: {
    text: string;
    values: unknown[];
    key: string[];
    columns: Column[];
    offset: number;
  },
): Promise<Key | null> {
  const list = key.map((name) => keyText(name, columns)).join(", ");
  const order = (direction: string) => key.map((name) => `${quoted(name)} ${direction}`).join(", ");
  const at = async (sql: string) => {
    const [row] = await query(client, { text: sql, values });
    return row === undefined ? null : row.map((value) => value!.toString());
  };
  return await at(
    `select ${list} from ${text} order by ${order("asc")} limit 1 offset ${offset}`,
  ) ??
    await at(`select ${list} from ${text} order by ${order("desc")} limit 1`);
}

interface Condition {
  sql: string;
  values: unknown[];
}

/** (a, b) > (x, y), written so that an index is used. */
function behind(key: string[], values: Key, columns: Column[]): Condition {
  return compared(key, values, { operator: ">", columns });
}

function behindOrAt(key: string[], values: Key, columns: Column[]): Condition {
  const less = compared(key, values, { operator: "<", columns });
  const equal = key.map((name, i) =>
    comparison(name, { operator: "=", value: values[i]!, columns })
  );
  return {
    sql: `(${less.sql} or (${equal.map(({ sql }) => sql).join(" and ")}))`,
    values: [...less.values, ...equal.flatMap((each) => each.values)],
  };
}

function compared(
  key: string[],
  values: Key,
  { operator, columns }: { operator: "<" | ">"; columns: Column[] },
): Condition {
  const parts = key.map((name, i) => [
    ...key.slice(0, i).map((each, k) =>
      comparison(each, { operator: "=", value: values[k]!, columns })
    ),
    comparison(name, { operator, value: values[i]!, columns }),
  ]);
  return {
    sql: `(${parts.map((part) => `(${part.map(({ sql }) => sql).join(" and ")})`).join(" or ")})`,
    values: parts.flat().flatMap((each) => each.values),
  };
}

/** A number stands in the statement as such: compared as text, it would become a double and lose digits. */
function comparison(
  name: string,
  { operator, value, columns }: { operator: string; value: string; columns: Column[] },
): Condition {
  const type = columns.find((column) => column.name === name)?.type ?? "";
  if (POSITIONS.test(type)) {
    return { sql: `${quoted(name)} ${operator} ${BigInt(value)}`, values: [] };
  }
  if (BYTES.test(type)) return { sql: `${quoted(name)} ${operator} unhex(?)`, values: [value] };
  return NUMBERS.test(type) && /^-?\d+(\.\d+)?$/.test(value)
    ? { sql: `${quoted(name)} ${operator} ${value}`, values: [] }
    : { sql: `${quoted(name)} ${operator} ?`, values: [value] };
}

/** Types whose values have another order as texts than in the table, or none. */
const NO_CURSOR = /binary|blob|^(enum|set|json)$/;

function requireCursor(columns: Column[], { config: { cursor } }: Context): void {
  if (cursor === undefined) return;
  const type = columns.find(({ name }) => name === cursor)?.type;
  if (type !== undefined && !NO_CURSOR.test(type) && !GEOMETRY.test(type)) return;
  throw new Problem("invalid-conf", {
    detail: type === undefined
      ? say("no-cursor-column", { column: cursor })
      : say("no-cursor-type", { column: cursor, type }),
    errors: [{
      field: "source.config.cursor",
      value: cursor,
      message: type === undefined ? "is not a column" : `is of type ${type}`,
    }],
  });
}

/** A text that is a number, or begins as a time does. */
const NUMBER_TEXT = "^-?[0-9]+([.][0-9]+)?$";
const TIME_TEXT = "^[0-9]{4}-[0-9]{2}-[0-9]{2}";

/** The highest position of the table as it is now: what changes while it is read is newer, and the next run's. */
async function positionNow(
  client: Client,
  columns: Column[],
  context: Context,
): Promise<string | null | undefined> {
  const { cursor } = context.config;
  if (cursor === undefined) return undefined;
  const column = columns.find(({ name }) => name === cursor)!;
  const name = quoted(cursor);
  // of texts each kind has an order of its own
  const kinds = /char|text/.test(column.type)
    ? [
      [`${name} regexp '${TIME_TEXT}'`, timeText(name)],
      [`${name} regexp '${NUMBER_TEXT}'`, `cast(${name} as decimal(65, 30))`],
      [`${name} not regexp '${TIME_TEXT}' and ${name} not regexp '${NUMBER_TEXT}'`, name],
    ]
    : [[`${name} is not null`, name]];
  const known: RecordBatch = [];
  for (const [where, order] of kinds) {
    const rows = await query(client, {
      text: `select ${selected(column)} from ${from(context)} where ${where}
        order by ${order} desc limit ${HIGHEST}`,
      values: [],
    });
    known.push(...rows.map((row) => recordOf(row, [column], context.config)));
  }
  return highestOf(known, cursor, context.since);
}

const timeText = (name: string) => `replace(replace(${name}, 'T', ' '), 'Z', '')`;

function since(name: string, position: string, columns: Column[]): Condition {
  const { type = "" } = columns.find((column) => column.name === name) ?? {};
  const time = position.replace("T", " ").replace(/Z$/, "");
  const value = /^(timestamp|datetime|date)$/.test(type) ? time : type === "float"
    // the column's own value, which is no short decimal number
    ? String(Math.fround(Number(position)))
    : position;
  const condition = comparison(name, { operator: ">=", value, columns });
  const conditions = [condition, { sql: `${quoted(name)} is null`, values: [] }];
  if (/char|text/.test(type)) {
    // texts of numbers and times count by their value, as positions do
    const column = quoted(name);
    conditions.push(
      /^-?\d+(\.\d+)?$/.test(position)
        ? {
          sql:
            `${column} regexp '${NUMBER_TEXT}' and cast(${column} as decimal(65, 30)) >= cast(? as decimal(65, 30))`,
          values: [position],
        }
        : { sql: `${timeText(column)} >= ?`, values: [time] },
    );
  }
  return {
    sql: `(${conditions.map(({ sql }) => sql).join(" or ")})`,
    values: conditions.flatMap(({ values }) => values),
  };
}

/** Types of places, which are read as GeoJSON. */
const GEOMETRY =
  /^(geometry|point|linestring|polygon|multipoint|multilinestring|multipolygon|geometrycollection)$/;

/** A column as it is read: as text that loses nothing. */
function selected({ name, type }: Column): string {
  const column = quoted(name);
  switch (type) {
    case "float":
      // as float it would be written with six digits
      return `cast(${column} as double)`;
    case "bit":
      return `cast(${column} as unsigned)`;
    default:
      return GEOMETRY.test(type) ? `st_asgeojson(${column})` : column;
  }
}

/** A column of the key, as text that compares equal to it, and greater and less as the column sorts. */
function keyText(name: string, columns: Column[]): string {
  const type = columns.find((column) => column.name === name)?.type ?? "";
  if (type === "float") return `cast(cast(${quoted(name)} as double) as char)`;
  if (type === "bit" || POSITIONS.test(type)) {
    return `cast(cast(${quoted(name)} as unsigned) as char)`;
  }
  return BYTES.test(type) ? `hex(${quoted(name)})` : `cast(${quoted(name)} as char)`;
}

/** Types that sort by their number, whatever their texts are. */
const POSITIONS = /^(enum|set)$/;
const BYTES = /binary|blob/;

/** How many columns there are, and a hash of their names and types. */
function digestOf(columns: Column[]): string {
  const sha256 = createHash("sha256").update(JSON.stringify(columns)).digest("base64");
  return `${columns.length} ${sha256}`;
}

/**
 * The columns that the table had when it was planned; what has been added behind them is the next run's.
 *
 * @throws {Problem} `source-changed` where they are others by now.
 */
async function columnsAsPlanned(
  client: Client,
  context: Context,
  { columns: planned }: Slice,
): Promise<Column[]> {
  const columns = await columnsOf(client, context);
  if (planned === undefined) return columns;
  const first = columns.slice(0, Number.parseInt(planned));
  if (digestOf(first) === planned) return first;
  const { table, connection: name } = readOf(context);
  throw new Problem("source-changed", {
    detail: say("columns-changed", { what: say("the-table-of", { table, name }) }),
  });
}

const NUMBERS =
  /^(tinyint|smallint|mediumint|int|integer|bigint|decimal|numeric|float|double|real|year|bit)$/;

function recordOf(
  row: (Buffer | null)[],
  columns: Column[],
  config: Config,
): SourceRecord | Unreadable {
  const record: SourceRecord = {};
  for (const [i, { name, type }] of columns.entries()) {
    const bytes = row[i];
    if (bytes === null || bytes === undefined) {
      put(record, name, null);
      continue;
    }
    if (BYTES.test(type)) {
      put(record, name, bytes.toString(config.blobs));
      continue;
    }
    const text = bytes.toString();
    if (type === "float") put(record, name, shortestSingle(Number(text)));
    else if (type === "double" || type === "real") put(record, name, Number(text));
    else if (NUMBERS.test(type)) put(record, name, exactNumber(plainNumber(text)));
    else if (type === "json") {
      try {
        put(record, name, parseJsonValue(text));
      } catch (error) {
        const what = say("column-not-json", {
          table: config.table,
          column: name,
          error: (error as Error).message,
        });
        return new Unreadable("json_syntax", what, rawOf(row, columns), name);
      }
    } else if (type === "timestamp" || type === "datetime" || type === "date") {
      if (/^\d{4}-00|^\d{4}-\d\d-00/.test(text)) {
        const what = say("zero-date", { table: config.table, column: name, value: text });
        return new Unreadable("zero_date", what, rawOf(row, columns), name);
      }
      // the session is in UTC; a datetime has no zone
      const time = text.replace(" ", "T");
      put(record, name, type === "timestamp" ? `${time}Z` : time);
    } else if (
      /json$/.test(type) || GEOMETRY.test(type)
    ) {
      put(record, name, parseJsonValue(text));
    } else put(record, name, text);
  }
  return record;
}

/** A number without the zeros that zerofill puts in front. */
function plainNumber(text: string): string {
  return text.replace(/^(-?)0+(?=\d)/, "$1");
}

/** The shortest decimal number that is this number of single precision: 0.1, not 0.10000000149011612. */
function shortestSingle(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

function rawOf(row: (Buffer | null)[], columns: Column[]): string {
  return JSON.stringify(
    Object.fromEntries(columns.map(({ name }, i) => [name, row[i]?.toString() ?? null])),
  ).slice(0, 65_536);
}

function named({ config: { table } }: Context): { database: string | null; table: string } {
  const dot = table.indexOf(".");
  return dot < 0
    ? { database: null, table }
    : { database: table.slice(0, dot), table: table.slice(dot + 1) };
}

function from(context: Context): string {
  const { database, table } = named(context);
  return `${database === null ? "" : `${quoted(database)}.`}${quoted(table)}`;
}

function quoted(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

const PASSING =
  /^(ECONN|EHOST|ENET|ETIMEDOUT|EPIPE|PROTOCOL_CONNECTION_LOST|ER_CON_COUNT|ER_LOCK_|ER_SERVER_SHUTDOWN|ER_QUERY_INTERRUPTED)/;

function readOf({ connections, config }: Context): Read {
  return { connection: connections[0]!, table: config.table };
}

export function asProblem(error: unknown, { connection, table }: Read): unknown {
  if (error instanceof Problem || !(error instanceof Error)) return error;
  const { code = "", sqlMessage } = error as { code?: string; sqlMessage?: string };
  if (code === "") return error;
  const transient = PASSING.test(code);
  const words = sqlMessage === undefined ? code : `${sqlMessage}, ${code}`;
  return new Problem("source-unreadable", {
    detail: transient
      ? say("source-try-again", {
        what: say("the-table-of", { table, name: connection }),
        reason: ` (${words})`,
      })
      : say("mysql-not-readable", { table, name: connection, words }),
    transient,
    cause: error,
  });
}

/** The type of `source.columns` that holds all values of a column as they are read here. */
export function declaredType(
  { type, whole, precision, scale }: {
    type: string;
    whole: string;
    precision: number | null;
    scale: number | null;
  },
): string {
  switch (type) {
    case "tinyint":
    case "smallint":
    case "mediumint":
    case "int":
    case "integer":
    case "year":
      return "integer";
    case "bigint":
      return whole.includes("unsigned") ? "numeric(20,0)" : "integer";
    case "bit":
      return Number(/\d+/.exec(whole)?.[0] ?? 1) > 63 ? "numeric(20,0)" : "integer";
    case "decimal":
    case "numeric":
      return numericType(precision, scale);
    case "float":
    case "double":
    case "real":
      return "numeric";
    case "timestamp":
    case "datetime":
      return "timestamptz";
    case "date":
      return "date";
    case "json":
      return "jsonb";
    default:
      return GEOMETRY.test(type) ? "jsonb" : "text";
  }
}
