import { digitsOf, numberKey, numberText } from "./numbers.ts";
import type { Json, SourceRecord } from "./sources/source.ts";

/** Splits "properties.mag" at its dots; `\.` is a dot inside a name. */
export function parsePath(path: string): string[] {
  return path.split(/(?<!\\)\./).map((part) => part.replaceAll("\\.", "."));
}

/**
 * Whether columns are part of what identifies records, so that no record has another value there without being another record.
 *
 * @param key paths of `source.key`; undefined: a record is identified by all that it holds.
 */
export function identify(columns: string[], key: string | string[] | undefined): boolean {
  if (key === undefined) return true;
  const names = [key].flat().map(parsePath).filter(({ length }) => length === 1).flat();
  return columns.every((column) => names.includes(column));
}

/** Makes a function that reads a path from a record; undefined where there is nothing. */
export function fieldReader(path: string): (record: SourceRecord) => Json | undefined {
  const parts = parsePath(path);
  const first = parts[0]!;
  if (parts.length === 1) return (record) => own(record, first);
  return (record) => {
    let value: Json | undefined = record;
    for (const part of parts) {
      if (typeof value !== "object" || value === null) return undefined;
      value = own(value as SourceRecord, part);
    }
    return value;
  };
}

/** As fieldReader, but a number is its text, with the digits that were read; as a key, see numberKey. */
export function fieldTextReader(
  path: string,
  { asKey = false } = {},
): (record: SourceRecord) => Json | undefined {
  const read = fieldReader(path);
  const parts = parsePath(path);
  const name = parts.pop()!;
  const above = parts.map((part) => part.replaceAll(".", "\\.")).join(".");
  const holderOf = parts.length === 0 ? (record: SourceRecord) => record : fieldReader(above);
  return (record) => {
    const value = read(record);
    if (typeof value !== "number" && !(asKey && typeof value === "bigint")) return value;
    const holder = holderOf(record) as SourceRecord;
    return asKey ? numberKey(value, holder, name) : numberText(value, digitsOf(holder)?.[name]);
  };
}

/** A record's own property: `__proto__` and inherited names are nothing special, nor is a list's length. */
function own(record: SourceRecord, name: string): Json | undefined {
  if (name === "length" && Array.isArray(record)) return undefined;
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
