import { createHash } from "node:crypto";
import type { FieldDef } from "pg";
import { type Message, say } from "../../../vocabulary/messages.ts";
import { type Client, quoteIdent, quoteLiteral } from "../../../store/pg.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import type { PostgresConf } from "../schema.ts";
import { describeSource } from "./session.ts";

const TABLE = /^(?:"((?:[^"]|"")+)"|([^".]+))(?:\.(?:"((?:[^"]|"")+)"|([^".]+)))?$/;

/** A column with its type as a cast names it. */
export interface TypedColumn {
  name: string;
  type: string;
}

function invalid(field: string, detail: Message): Problem {
  return new Problem("invalid-conf", {
    detail,
    errors: [{ field: `source.${field}`, message: detail }],
  });
}

/** The quoted table name of a conf that has one. */
function quotedTable(table: string): string {
  const match = TABLE.exec(table);
  if (match === null) {
    throw invalid("table", say("no-table-name", { table }));
  }
  const [, quoted, bare, quotedName, bareName] = match;
  const parts = [
    quoted?.replaceAll('""', '"') ?? bare,
    quotedName?.replaceAll('""', '"') ?? bareName,
  ];
  return parts.filter((part) => part !== undefined).map(quoteIdent).join(".");
}

/** relkind of the source's table or view in pg_class; null for a query. */
export async function relationKind(client: Client, conf: PostgresConf): Promise<string | null> {
  if (conf.table === undefined) return null;
  const { rows } = await client.query<{ kind: string }>(
    "select relkind as kind from pg_class where oid = to_regclass($1)",
    [quotedTable(conf.table)],
  );
  return rows[0]?.kind ?? null;
}

/** Whether some of the source's rows are those of a foreign table, whatever views or partitions are between. */
export async function readsForeign(client: Client, conf: PostgresConf): Promise<boolean> {
  const { rows } = await client.query<{ "QUERY PLAN": string }>(
    `explain select from ${fromClause(conf)}`,
  );
  return rows.some((row) => /^\s*(?:->\s+)?(?:\w+ )?Foreign Scan /.test(row["QUERY PLAN"]));
}

/** What follows `from`; the source's rows are called `source_rows`. */
export function fromClause(conf: PostgresConf): string {
  if ((conf.table === undefined) === (conf.query === undefined)) {
    throw invalid("table", say("table-or-query", {}));
  }
  if (conf.table !== undefined) return `${quotedTable(conf.table)} as source_rows`;
  const query = conf.query!.trim().replace(/;\s*$/, "");
  // The line break ends a comment in the query's last line.
  return `(${query}\n) as source_rows`;
}

/**
 * The columns to page by: page_key, else the table's primary key.
 *
 * @throws {Problem} `invalid-conf` when there is neither.
 */
export async function keyColumns(client: Client, conf: PostgresConf): Promise<TypedColumn[]> {
  const names = conf.page_key ?? (await primaryKey(client, conf)).names;
  if (names.length === 0) {
    throw invalid("page_key", say("no-primary-key", { what: describeSource(conf) }));
  }
  return await typedColumns(client, conf, names);
}

/**
 * The columns of the table's primary key, none where it has none, and whether PostgreSQL can go through its index
 * without the table: almost all pages are known to be visible to everybody, and no table inherits from it, as its rows
 * are in no such index.
 */
export async function primaryKey(
  client: Client,
  conf: PostgresConf,
): Promise<{ names: string[]; indexOnly: boolean }> {
  if (conf.table === undefined) {
    throw invalid("page_key", say("query-needs-key", {}));
  }
  const { rows } = await client.query<{ name: string; visible: boolean }>(
    `select a.attname as name, not c.relhassubclass and c.relpages > 0
         and c.relallvisible >= 0.9 * c.relpages as visible
     from pg_index i
     join pg_class c on c.oid = i.indrelid
     cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, position)
     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indrelid = $1::regclass and i.indisprimary and k.position <= i.indnkeyatts
     order by k.position`,
    [quotedTable(conf.table)],
  );
  return { names: rows.map(({ name }) => name), indexOnly: rows[0]?.visible ?? false };
}

/** Columns of the source with their types. */
export async function typedColumns(
  client: Client,
  conf: PostgresConf,
  names: string[],
): Promise<TypedColumn[]> {
  const list = names.map((name) => `source_rows.${quoteIdent(name)}`).join(", ");
  const { fields } = await client.query(`select ${list} from ${fromClause(conf)} limit $1`, [0]);
  const { rows } = await client.query<{ oid: number; type: string }>(
    "select oid::int8::text as oid, format_type(oid, -1) as type from pg_type where oid = any($1)",
    [fields.map((field) => field.dataTypeID)],
  );
  const types = new Map(rows.map(({ oid, type }) => [Number(oid), type]));
  return fields.map(({ name, dataTypeID }) => ({ name, type: types.get(dataTypeID)! }));
}

/** The columns that a source had when it was planned, those that come later are not among them. */
export interface PlannedColumns {
  [key: string]: string | number;
  count: number;
  /** A hash of their names and types, and of the tables that they are of. */
  sha256: string;
}

/** The columns of the source, as PostgreSQL describes them. */
export async function sourceFields(client: Client, conf: PostgresConf): Promise<FieldDef[]> {
  return (await client.query(`select * from ${fromClause(conf)} limit $1`, [0])).fields;
}

export function plannedColumns(fields: FieldDef[]): PlannedColumns {
  const same = fields.map(({ name, tableID, columnID, dataTypeID }) => [
    name,
    tableID,
    columnID,
    dataTypeID,
  ]);
  const sha256 = createHash("sha256").update(JSON.stringify(same)).digest("base64");
  return { count: fields.length, sha256 };
}

/**
 * The columns that the source had when it was planned. They hold for the rest of the transaction, as they were locked
 * to be looked at.
 *
 * @throws {Problem} `source-changed` where one is gone, or another table, column or type is in its place: its texts would be
 * read as what they are not.
 */
export async function fieldsAsPlanned(
  client: Client,
  conf: PostgresConf,
  planned: PlannedColumns | undefined,
): Promise<FieldDef[]> {
  const fields = await sourceFields(client, conf);
  // a run that an earlier version has planned
  if (planned === undefined) return fields;
  const first = fields.slice(0, planned.count);
  if (plannedColumns(first).sha256 === planned.sha256) return first;
  throw new Problem("source-changed", {
    detail: say("columns-changed", { what: describeSource(conf) }),
  });
}

/** Numbers the values of a statement: `params.add(7)` is "$1". */
export class Params {
  readonly values: unknown[] = [];

  add(value: unknown, type?: string): string {
    this.values.push(value);
    return `$${this.values.length}${type === undefined ? "" : `::${type}`}`;
  }
}

/** Writes the values into the statement: `params.add(7, "int8")` is "'7'::int8". For COPY, which takes none beside it. */
export class Literals extends Params {
  override add(value: unknown, type?: string): string {
    const literal = value === null || value === undefined ? "null" : quoteLiteral(`${value}`);
    return type === undefined ? literal : `${literal}::${type}`;
  }
}

/** "(a, b)" of columns, each cast to its type where a value is compared with it. */
export function keyTuple(columns: TypedColumn[]): string {
  return `(${columns.map(({ name }) => `source_rows.${quoteIdent(name)}`).join(", ")})`;
}

/** "($1::int8, $2::text)" for values of these columns. */
export function valueTuple(columns: TypedColumn[], values: string[], params: Params): string {
  return `(${columns.map(({ type }, i) => params.add(values[i], type)).join(", ")})`;
}
