import { type Message, say } from "../../../vocabulary/messages.ts";
import { Buffer } from "node:buffer";
import type { SchemaElement, SchemaTree } from "hyparquet";
import { ExactNumber, exactNumber, listOf, put } from "../../numbers.ts";
import { textAt } from "../../short_texts.ts";
import { parseJsonValue } from "../json_text.ts";
import { numericType } from "../catalogue.ts";
import { BYTES, type Json, type SourceRecord } from "../source.ts";

/** Turns a value as hyparquet gives it into JSON. */
export type Convert = (value: unknown) => Json | ExactNumber;

/** A value that cannot become JSON; the record goes to the quarantine. */
export class ValueError extends Error {
  override readonly name = "ValueError";
  readonly rule: string;
  constructor(rule: string, override readonly message: Message) {
    super(message);
    this.rule = rule;
  }
}

/** Stands for text that is not what its column says, until its record is made. */
class BadText {
  constructor(readonly rule: string, readonly message: Message) {}
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string | BadText {
  try {
    return textAt(bytes, 0, bytes.length, strict);
  } catch {
    return new BadText("encoding", say("bad-utf8", {}));
  }
}

/** Parsers for hyparquet that lose nothing. */
export const LOSSLESS_PARSERS = {
  timestampFromNanoseconds: (nanos: bigint) => isoTimestamp(nanos, { unit: "NANOS", utc: true }),
  stringFromBytes: (bytes: Uint8Array | undefined): unknown => bytes && textOf(bytes),
  jsonFromBytes(bytes: Uint8Array | undefined): unknown {
    if (!bytes) return bytes;
    try {
      return parseJsonValue(strict.decode(bytes));
    } catch {
      return new BadText("json_syntax", say("bad-json", {}));
    }
  },
};

/** The same, which leave texts as they are stored, for {@linkcode textOfBytes}. */
export const TEXTS_AS_BYTES = {
  ...LOSSLESS_PARSERS,
  stringFromBytes: (bytes: Uint8Array | undefined): unknown => bytes,
};

/** Whether a column has a text in each row: no list, and nothing within it. */
export function isText({ element, children }: SchemaTree): boolean {
  const { converted_type: converted, logical_type: logical, repetition_type } = element;
  return children.length === 0 && repetition_type !== "REPEATED" && element.type === "BYTE_ARRAY" &&
    ["UTF8", "STRING", "ENUM"].includes(logical?.type ?? converted ?? "");
}

/** How texts that are left as they are stored become JSON. */
export const textOfBytes: Convert = (value) =>
  plain(value instanceof Uint8Array ? textOf(value) : value);

const RAW_TYPES = new Set([
  "DECIMAL",
  "DATE",
  "TIMESTAMP_MILLIS",
  "TIMESTAMP_MICROS",
  "BSON",
  "INTERVAL",
]);

/**
 * The element as hyparquet should read it: what it would convert with loss
 * (decimals, dates, times since 1970) comes as stored, and `converterOf` converts it.
 */
export function asStored(element: SchemaElement): SchemaElement {
  const logical = element.logical_type?.type;
  if (isMap(element)) {
    // hyparquet makes an object of it, whose names cannot tell what the keys were; this gives its entries
    const { converted_type: _converted, logical_type: _logical, ...stored } = element;
    return stored;
  }
  if (element.num_children || element.type === undefined) return element;
  if (element.converted_type === "ENUM" || logical === "ENUM") {
    return { ...element, converted_type: "UTF8", logical_type: { type: "STRING" } };
  }
  // hyparquet knows it by its older word only
  if (logical === "JSON") return { ...element, converted_type: "JSON" };
  if (!RAW_TYPES.has(element.converted_type ?? "") && logical !== "TIMESTAMP") return element;
  const { converted_type: _converted, logical_type: _logical, ...stored } = element;
  return stored;
}

function isMap({ converted_type: converted, logical_type: logical }: SchemaElement): boolean {
  return converted === "MAP" || converted === "MAP_KEY_VALUE" || logical?.type === "MAP";
}

/**
 * The type of `source.columns` that holds all values of a column as `converterOf` gives them; undefined where its values
 * decide: nanoseconds fit a time or are text.
 */
export function declaredType({ element, children }: SchemaTree): string | undefined {
  const { type, converted_type: converted, logical_type: logical, repetition_type } = element;
  const is = (name: string) => converted === name || logical?.type === name;
  // it never has a value
  if (is("NULL")) return undefined;
  if (children.length > 0 || repetition_type === "REPEATED" || is("JSON")) return "jsonb";
  if (logical?.type === "DECIMAL") return numericType(logical.precision, logical.scale);
  if (is("DECIMAL")) return numericType(element.precision ?? null, element.scale ?? 0);
  if (is("DATE")) return "date";
  if (logical?.type === "TIMESTAMP") return logical.unit === "NANOS" ? undefined : "timestamptz";
  if (is("TIMESTAMP_MILLIS") || is("TIMESTAMP_MICROS")) return "timestamptz";
  if (is("TIME") || is("TIME_MILLIS") || is("TIME_MICROS")) return "text";
  if (is("UTF8") || is("STRING") || is("ENUM") || is("UUID")) return "text";
  if (is("FLOAT16") || type === "FLOAT" || type === "DOUBLE") return "numeric";
  if (type === "BOOLEAN") return "boolean";
  const beyondBigint = is("UINT_64") ||
    logical?.type === "INTEGER" && !logical.isSigned && logical.bitWidth === 64;
  if (type === "INT32" || type === "INT64") return beyondBigint ? "numeric" : "integer";
  const isBytes = type === "BYTE_ARRAY" || type === "FIXED_LEN_BYTE_ARRAY";
  return isBytes && logical === undefined && converted === undefined ? BYTES : undefined;
}

export interface Infinities {
  /**
   * Whether the last nanosecond of 64 bits is infinity, as DuckDB writes it; default false: it is a time of the year 2262, the
   * last one that pandas has.
   */
  ofNanos?: boolean;
}

/** How the values of a column, nested or not, become JSON. */
export function converterOf(node: SchemaTree, options: Infinities = {}): Convert {
  const convert = node.children.length === 0 ? leaf(node.element, options) : group(node, options);
  if (node.element.repetition_type !== "REPEATED") return convert;
  return (value) => Array.isArray(value) ? listOf(value.map(convert)) : [];
}

function group(node: SchemaTree, options: Infinities): Convert {
  const [child] = node.children;
  const kind = node.element.converted_type ?? node.element.logical_type?.type;
  if (node.element.logical_type?.type === "VARIANT") return plain;
  if (kind === "LIST" && node.children.length === 1 && child) return list(child, options);
  if (isMap(node.element) && child?.children.length === 2) return map(child, options);
  const members = node.children.map((own) =>
    [own.element.name, converterOf(own, options)] as const
  );
  return (value) => {
    if (value === null || value === undefined) return null;
    const struct = value as Record<string, unknown>;
    const record: SourceRecord = {};
    for (const [name, convert] of members) put(record, name, convert(struct[name]));
    return record;
  };
}

/**
 * A list: of what its one child repeats, or of that child itself, as older writers have it. Of those hyparquet
 * gives a group's list as a member of its own, and an empty list of scalars as null, but a missing one as undefined.
 */
function list(child: SchemaTree, options: Infinities): Convert {
  const { length } = child.children;
  const element = converterOf(
    length === 1 ? child.children[0]! : withoutRepetition(child),
    options,
  );
  const { name } = child.element;
  return (value) => {
    const values = length > 1
      ? (value as Record<string, unknown> | null | undefined)?.[name]
      : value;
    if (Array.isArray(values)) return listOf(values.map(element));
    return length === 0 && values === null ? [] : nothing(values);
  };
}

/**
 * A map whose keys are scalars is an object with their text as names (a date is "2024-01-01"). One with keys
 * that are structs or lists, or that has a key twice, is a list of its entries, [{"key": …, "value": …}].
 */
function map(entries: SchemaTree, options: Infinities): Convert {
  const [keyNode, valueNode] = entries.children as [SchemaTree, SchemaTree];
  const [key, member] = [converterOf(keyNode, options), converterOf(valueNode, options)];
  return (value) => {
    if (value === null || value === undefined) return null;
    const pairs = (value as Record<string, Record<string, unknown>[]>)[entries.element.name] ?? [];
    return mapOf(
      pairs.map((pair) => [
        key(pair[keyNode.element.name]),
        member(pair[valueNode.element.name]),
      ]),
      keyNode.children.length > 0,
    );
  };
}

function mapOf(
  entries: [key: Json | ExactNumber, value: Json | ExactNumber][],
  asList: boolean,
): Json {
  const names = entries.map(([key]) => nameOf(key));
  if (asList || names.includes(undefined) || new Set(names).size < names.length) {
    return entries.map(([key, value]) => {
      const entry: SourceRecord = {};
      put(entry, "key", key);
      put(entry, "value", value);
      return entry;
    });
  }
  const record: SourceRecord = {};
  entries.forEach(([, value], i) => put(record, names[i]!, value));
  return record;
}

/** A key's text as a name; undefined for what is no scalar. */
function nameOf(key: Json | ExactNumber): string | undefined {
  if (typeof key === "string") return key;
  if (key instanceof ExactNumber) return key.text;
  return key === null || typeof key === "object" ? undefined : `${key}`;
}

function withoutRepetition(node: SchemaTree): SchemaTree {
  return { ...node, element: { ...node.element, repetition_type: "OPTIONAL" } };
}

// Object.fromEntries makes own properties of any name, "__proto__" too.
function fromEntries(entries: [string, Json][]): SourceRecord {
  return Object.fromEntries(entries);
}

function nothing(value: unknown): null {
  if (value === null || value === undefined) return null;
  throw new ValueError("parquet_value", say("parquet-kind", { kind: typeof value }));
}

function leaf(element: SchemaElement, options: Infinities): Convert {
  const convert = present(element, options);
  return (value) => value === null || value === undefined ? null : convert(value);
}

function present(element: SchemaElement, { ofNanos = false }: Infinities): Convert {
  const { type, converted_type: converted, logical_type: logical } = element;
  if (converted === "DECIMAL" || logical?.type === "DECIMAL") {
    const scale = logical?.type === "DECIMAL" ? logical.scale : element.scale ?? 0;
    return (value) => decimal(value, scale);
  }
  if (converted === "DATE" || logical?.type === "DATE") {
    return (value) => isoDate(value as number);
  }
  if (logical?.type === "TIMESTAMP") {
    const format = { unit: logical.unit, utc: logical.isAdjustedToUTC, ofNanos };
    return (value) => isoTimestamp(value as bigint, format);
  }
  if (converted === "TIMESTAMP_MILLIS" || converted === "TIMESTAMP_MICROS") {
    const unit = converted === "TIMESTAMP_MILLIS" ? "MILLIS" : "MICROS";
    return (value) => isoTimestamp(value as bigint, { unit, utc: true });
  }
  if (logical?.type === "TIME") {
    return (value) => timeOfDay(BigInt(value as number | bigint), logical.unit);
  }
  if (converted === "TIME_MILLIS" || converted === "TIME_MICROS") {
    const unit = converted === "TIME_MILLIS" ? "MILLIS" : "MICROS";
    return (value) => timeOfDay(BigInt(value as number | bigint), unit);
  }
  if (type === "FLOAT") return (value) => shortestFloat(value as number);
  if (converted === "JSON" || logical?.type === "JSON") return parsed;
  return plain;
}

/** What was parsed already, with the digits of its numbers. */
function parsed(value: unknown): Json {
  if (value instanceof BadText) throw new ValueError(value.rule, value.message);
  return value as Json;
}

/** JSON for a value whose own type says everything. */
function plain(value: unknown): Json {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "bigint":
      return fitted(value);
    case "undefined":
      return null;
  }
  if (value === null) return null;
  if (value instanceof BadText) throw new ValueError(value.rule, value.message);
  if (value instanceof Uint8Array) return base64(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  return fromEntries(
    Object.entries(value as Record<string, unknown>).map(([key, own]) => [key, plain(own)]),
  );
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

function fitted(value: bigint): number | bigint {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
    ? Number(value)
    : value;
}

function decimal(value: unknown, scale: number): Json | ExactNumber {
  const unscaled = value instanceof Uint8Array ? signed(value) : BigInt(value as number | bigint);
  return exactNumber(decimalText(unscaled, scale));
}

/** `unscaled` / 10^`scale` with all its digits, as a JSON number. */
export function decimalText(unscaled: bigint, scale: number): string {
  if (scale <= 0) return String(unscaled * 10n ** BigInt(-scale));
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, "0");
  return `${unscaled < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** Big-endian two's complement. */
function signed(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return BigInt.asIntN(Math.max(1, bytes.length * 8), value);
}

/** The shortest decimal that is the same 32-bit float: 0.1, not 0.10000000149011612. */
export function shortestFloat(value: number): number | string {
  if (Number.isInteger(value)) return value;
  if (!Number.isFinite(value)) return String(value);
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9));
}

export type TimeUnit = "SECONDS" | "MILLIS" | "MICROS" | "NANOS";

const PER_SECOND: Record<TimeUnit, bigint> = {
  SECONDS: 1n,
  MILLIS: 1_000n,
  MICROS: 1_000_000n,
  NANOS: 1_000_000_000n,
};
const DIGITS: Record<TimeUnit, number> = { SECONDS: 0, MILLIS: 3, MICROS: 6, NANOS: 9 };

/** What stands for infinity where PostgreSQL's infinity is written (DuckDB), in 64 and 32 bits. */
const FOREVER = 2n ** 63n - 1n;
const FOREVER_DAYS = 2 ** 31 - 1;

/** ISO 8601 of a time since the epoch, with as many digits as it needs; Z only for UTC. */
export function isoTimestamp(
  value: bigint,
  { unit, utc, ofNanos = false }: { unit: TimeUnit; utc: boolean } & Infinities,
): string {
  if (unit !== "NANOS" || ofNanos) {
    if (value === FOREVER) return "infinity";
    if (value === -FOREVER) return "-infinity";
  }
  const { millis, finer } = inMillis(value, unit);
  const date = new Date(millis);
  if (Number.isNaN(date.getTime())) return `${value} ${unit.toLowerCase()} since 1970-01-01`;
  // always thousandths, and finer ones only where there are some
  const digits = finer === 0 ? "" : `${finer}`.padStart(DIGITS[unit] - 3, "0");
  return `${date.toISOString().slice(0, -1)}${digits}${utc ? "Z" : ""}`;
}

/** Whole milliseconds, and what is left in the unit. Most times have few enough digits for a double, which is much faster. */
function inMillis(value: bigint, unit: TimeUnit): { millis: number; finer: number } {
  const count = Number(value);
  if (unit === "SECONDS") return { millis: count * 1_000, finer: 0 };
  const per = Number(PER_SECOND[unit]) / 1_000;
  if (!Number.isSafeInteger(count)) {
    const { seconds, rest } = split(value, unit);
    const millis = Math.floor(Number(rest) / per);
    return { millis: Number(seconds) * 1_000 + millis, finer: Number(rest) - millis * per };
  }
  // of a count below 2^53 no quotient is rounded up to the next whole one
  const millis = Math.floor(count / per);
  return { millis, finer: count - millis * per };
}

/** The date of a day since 1970-01-01. */
export function isoDate(day: number): string {
  if (day === FOREVER_DAYS) return "infinity";
  if (day === -FOREVER_DAYS) return "-infinity";
  const date = new Date(day * 86_400_000);
  return Number.isNaN(date.getTime())
    ? `${day} days since 1970-01-01`
    : date.toISOString().split("T")[0]!;
}

/** "HH:MM:SS", with a fraction where there is one. */
export function timeOfDay(value: bigint, unit: TimeUnit): string {
  const { seconds, rest } = split(value, unit);
  const two = (part: bigint) => String(part).padStart(2, "0");
  return `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}` +
    fraction(rest, unit);
}

/** ISO 8601 of a span of time: "P1Y2M3DT4.5S", "PT0S" for none. */
export function isoDuration(
  { months = 0, days = 0, value, unit }: {
    months?: number;
    days?: number;
    value: bigint;
    unit: TimeUnit;
  },
): string {
  const size = value < 0n ? -value : value;
  const { seconds, rest } = split(size, unit);
  const time = value === 0n ? "" : `T${value < 0n ? "-" : ""}${seconds}${fraction(rest, unit)}S`;
  const text = `P${months === 0 ? "" : `${months}M`}${days === 0 ? "" : `${days}D`}${time}`;
  return text === "P" ? "PT0S" : text;
}

/** Whole seconds, rounded down also before 1970, and what is left of the unit. */
function split(value: bigint, unit: TimeUnit): { seconds: bigint; rest: bigint } {
  const per = PER_SECOND[unit];
  const rest = ((value % per) + per) % per;
  return { seconds: (value - rest) / per, rest };
}

function fraction(rest: bigint, unit: TimeUnit): string {
  return rest === 0n ? "" : `.${String(rest).padStart(DIGITS[unit], "0").replace(/0+$/, "")}`;
}
