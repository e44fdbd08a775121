import { Buffer } from "node:buffer";
import type { Client } from "../../../store/pg.ts";
import { type ExactNumber, exactNumber, listOf } from "../../numbers.ts";
import { parseJson, parseJsonValue } from "../json_text.ts";
import { declared } from "./catalogue.ts";
import { BYTES, type Json } from "../source.ts";

/** Turns the text of a value that is not null into JSON. */
export type FromText = (text: string) => Json | ExactNumber;

/** How a column is selected and read. */
export interface ColumnReader {
  name: string;
  /** The column's expression; `{}` stands for its quoted name. */
  select: string;
  read: FromText;
  /** The type of source.columns that holds its values. */
  type: string;
  /** What its text is where it need not be read; null: it must be. */
  flat: FlatText | null;
  /** Whether its text may have a name twice: json keeps it as it was written. */
  repeats?: boolean;
}

const BOOL = 16;
const BYTEA = 17;
const INT8 = 20;
const INT2 = 21;
const INT4 = 23;
const FLOAT4 = 700;
const FLOAT8 = 701;
const NUMERIC = 1700;
const JSON_TYPE = 114;
const JSONB = 3802;
const TIMESTAMP = 1114;
const TIMESTAMPTZ = 1184;

const text: FromText = (value) => value;

const float: FromText = (value) => {
  const parsed = Number(value);
  return Number.isFinite(parsed) ? parsed : value;
};

const base64: FromText = (value) => Buffer.from(value.slice(2), "hex").toString("base64");

/** ISO 8601 for times of this era; "infinity" and years BC stay as PostgreSQL writes them. */
const time: FromText = (value) => {
  // 2026-02-03 04:05:06.789+00, without a pattern
  if (value[4] === "-" && value[10] === " " && value.endsWith("+00")) {
    return `${value.slice(0, 10)}T${value.slice(11, -3)}Z`;
  }
  const match = /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(\+00)?$/.exec(value);
  return match === null ? value : `${match[1]}T${match[2]}${match[3] === undefined ? "" : "Z"}`;
};

const BY_TYPE: Record<number, FromText> = {
  [BOOL]: (value) => value === "t",
  [BYTEA]: base64,
  [INT8]: exactNumber,
  [INT2]: Number,
  [INT4]: Number,
  [FLOAT4]: float,
  [FLOAT8]: float,
  [NUMERIC]: exactNumber,
  [JSON_TYPE]: parseJsonValue,
  [JSONB]: parseJsonValue,
  [TIMESTAMP]: time,
  [TIMESTAMPTZ]: time,
};

/** What a text is, of which the reader of its type would make no more than it says. */
export type FlatText = "text" | "boolean" | "number" | "time";

const FLAT: Record<number, FlatText> = {
  [BOOL]: "boolean",
  [INT8]: "number",
  [INT2]: "number",
  [INT4]: "number",
  [FLOAT4]: "number",
  [FLOAT8]: "number",
  [NUMERIC]: "number",
  [TIMESTAMP]: "time",
  [TIMESTAMPTZ]: "time",
};

/** Element types whose arrays are read as arrays of text, each then by its own reader. */
const AS_TEXT = new Set([NUMERIC, FLOAT4, FLOAT8, BYTEA, TIMESTAMP, TIMESTAMPTZ]);

/**
 * How each column of a result becomes JSON without loss: integers beyond 2^53
 * are bigint, decimals keep their digits (numbers.ts), times are ISO 8601,
 * bytea is base64, arrays and rows are arrays and objects.
 */
export async function columnReaders(
  client: Client,
  fields: { name: string; dataTypeID: number; dataTypeModifier: number }[],
): Promise<ColumnReader[]> {
  const { rows } = await client.query<
    { oid: string; base: string; kind: string; element: string }
  >(
    `select oid::int8::text as oid, typname as base, typtype as kind,
       case when typcategory = 'A' then typelem else 0 end::int8::text as element
     from pg_type where oid = any($1)`,
    [fields.map((field) => field.dataTypeID)],
  );
  const types = new Map(rows.map((row) => [Number(row.oid), row]));
  return fields.map(({ name, dataTypeID, dataTypeModifier: modifier }) => {
    // of a domain the type below it is told
    const { base, kind, element: elementType } = types.get(dataTypeID)!;
    const element = Number(elementType);
    if (AS_TEXT.has(element)) {
      return {
        name,
        select: "to_jsonb({}::text[])",
        type: "jsonb",
        read: arrayOf(BY_TYPE[element]!),
        flat: null,
      };
    }
    if (element !== 0 || kind === "c") {
      return { name, select: "to_jsonb({})", type: "jsonb", read: parseJson, flat: null };
    }
    return {
      name,
      type: dataTypeID === BYTEA ? BYTES : declared({ base, kind: "value", modifier }),
      select: "{}",
      read: BY_TYPE[dataTypeID] ?? text,
      flat: FLAT[dataTypeID] ?? (dataTypeID in BY_TYPE ? null : "text"),
      repeats: dataTypeID === JSON_TYPE,
    };
  });
}

function arrayOf(read: FromText): FromText {
  const deep = (value: Json): Json | ExactNumber =>
    Array.isArray(value)
      ? listOf(value.map(deep))
      : typeof value === "string"
      ? read(value)
      : value;
  return (value) => deep(JSON.parse(value));
}
