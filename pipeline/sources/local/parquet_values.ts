import { Buffer } from "node:buffer";
import type { SchemaElement, SchemaTree } from "hyparquet";
import { parseJson } from "../json_text.ts";
import type { Json, SourceRecord } from "../source.ts";
import { toNumber } from "./csv_values.ts";
import { isoDate, isoTimestamp, timeOfDay } from "./iso_time.ts";

/** Turns a value as hyparquet gives it into JSON. */
export type Convert = (value: unknown) => Json;

/** A value that cannot become JSON; the record goes to the quarantine. */
export class ValueError extends Error {
  override readonly name = "ValueError";
  readonly rule: string;
  constructor(rule: string, message: string) {
    super(message);
    this.rule = rule;
  }
}

/** Stands for text that is not what its column says, until its record is made. */
class BadText {
  constructor(readonly rule: string, readonly message: string) {}
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Parsers for hyparquet that lose nothing. */
export const LOSSLESS_PARSERS = {
  timestampFromNanoseconds: (nanos: bigint) => isoTimestamp(nanos, { unit: "NANOS", utc: true }),
  stringFromBytes(bytes: Uint8Array | undefined): unknown {
    if (!bytes) return bytes;
    try {
      return strict.decode(bytes);
    } catch {
      return new BadText("encoding", "a text that is not valid UTF-8");
    }
  },
  jsonFromBytes(bytes: Uint8Array | undefined): unknown {
    if (!bytes) return bytes;
    try {
      return parseJson(strict.decode(bytes));
    } catch {
      return new BadText("json_syntax", "a JSON value that is not valid");
    }
  },
};

const RAW_TYPES = new Set([
  "DECIMAL",
  "DATE",
  "TIME_MILLIS",
  "TIME_MICROS",
  "TIMESTAMP_MILLIS",
  "TIMESTAMP_MICROS",
  "BSON",
  "INTERVAL",
]);

/**
 * The element as hyparquet should read it: what it would convert with loss
 * (decimals, times) comes as stored, and `converterOf` converts it.
 */
export function asStored(element: SchemaElement): SchemaElement {
  if (element.num_children || element.type === undefined) return element;
  const logical = element.logical_type?.type;
  if (element.converted_type === "ENUM" || logical === "ENUM") {
    return { ...element, converted_type: "UTF8", logical_type: { type: "STRING" } };
  }
  const raw = RAW_TYPES.has(element.converted_type ?? "") || RAW_TYPES.has(logical ?? "") ||
    logical === "TIME" || logical === "TIMESTAMP";
  if (!raw) return element;
  const { converted_type: _converted, logical_type: _logical, ...stored } = element;
  return stored;
}

/** How the values of a column, nested or not, become JSON. */
export function converterOf(node: SchemaTree): Convert {
  const convert = node.children.length === 0 ? leaf(node.element) : group(node);
  if (node.element.repetition_type !== "REPEATED") return convert;
  return (value) => Array.isArray(value) ? value.map(convert) : convert(value);
}

function group(node: SchemaTree): Convert {
  const [child] = node.children;
  const kind = node.element.converted_type ?? node.element.logical_type?.type;
  if (node.element.logical_type?.type === "VARIANT") return plain;
  if (kind === "LIST" && node.children.length === 1 && child) {
    const element = converterOf(
      child.children.length === 1 ? child.children[0]! : withoutRepetition(child),
    );
    return (value) => Array.isArray(value) ? value.map(element) : nothing(value);
  }
  if (kind === "MAP" && child?.children.length === 2) {
    const member = converterOf(child.children[1]!);
    return (value) => {
      if (value === null || value === undefined) return null;
      return fromEntries(Object.entries(value).map(([key, own]) => [key, member(own)]));
    };
  }
  const members = node.children.map((own) => [own.element.name, converterOf(own)] as const);
  return (value) => {
    if (value === null || value === undefined) return null;
    const struct = value as Record<string, unknown>;
    return fromEntries(members.map(([name, convert]) => [name, convert(struct[name])]));
  };
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
  throw new ValueError("parquet_value", `a value of an unexpected kind (${typeof value})`);
}

function leaf(element: SchemaElement): Convert {
  const convert = present(element);
  return (value) => value === null || value === undefined ? null : convert(value);
}

function present(element: SchemaElement): Convert {
  const { type, converted_type: converted, logical_type: logical } = element;
  if (converted === "DECIMAL" || logical?.type === "DECIMAL") {
    const scale = logical?.type === "DECIMAL" ? logical.scale : element.scale ?? 0;
    return (value) => decimal(value, scale);
  }
  if (converted === "DATE" || logical?.type === "DATE") {
    return (value) => isoDate(value as number);
  }
  if (logical?.type === "TIMESTAMP") {
    const format = { unit: logical.unit, utc: logical.isAdjustedToUTC };
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
  return plain;
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

/** A number where a double holds every digit, else text. */
function decimal(value: unknown, scale: number): Json {
  const unscaled = value instanceof Uint8Array ? signed(value) : BigInt(value as number | bigint);
  if (scale <= 0) return fitted(unscaled * 10n ** BigInt(-scale));
  const text = decimalText(unscaled, scale);
  return toNumber(text) ?? text;
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
