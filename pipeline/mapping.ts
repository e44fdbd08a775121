import { type Message, say } from "../vocabulary/messages.ts";
import { fieldReader, fieldTextReader } from "./field_path.ts";
import { normalNumber } from "./numbers.ts";
import type { SourceConf } from "./sources/schema.ts";
import { type Json, type RecordBatch, type SourceRecord, Unreadable } from "./sources/source.ts";
import { type TimeFormat, toUtcText, utcTextToEpoch } from "./timestamps.ts";

/** Thrown while one record is mapped: the record goes to the quarantine. */
export class RowError extends Error {
  constructor(
    readonly rule: string,
    override readonly message: Message,
    readonly field: string | null = null,
  ) {
    super(message);
  }
}

/** How a source's records become events: the conf's key, event_type, occurred_at and version, compiled. */
export interface Mapping {
  /** Null where the source has no key: then the record's hash identifies it. */
  eventId: ((record: SourceRecord) => string) | null;
  eventType(record: SourceRecord): string;
  occurredAt(record: SourceRecord): string | null;
  version(record: SourceRecord): string | null;
  /** Whether a record deletes its key; null where none does. */
  isDeletion: ((record: SourceRecord) => boolean) | null;
  /** The fields of the key, as they were read. */
  keyFields: ((record: SourceRecord) => Json | undefined)[];
}

/** Which records delete their key. */
export interface DeletedConf {
  field: string;
  equals: string | number | boolean | null;
}

/** The mapping part of a conf: of its source, and what else says how records become events. */
export type MappingConf =
  & Pick<SourceConf, "key" | "event_type" | "occurred_at" | "version">
  & {
    /** `write: history`: each version of a key is an event of its own, and the version a time. */
    history?: boolean;
    deleted?: DeletedConf | null;
  };

/** Mappings that are kept, the latest last. */
const MAPPINGS = 16;
const compiled = new Map<string, Mapping>();

/**
 * Compiles a conf's mapping. The functions throw RowError for a record that lacks what they need; those of equal confs
 * are the same, as the engine's fast code is that of a function, and a chunk is too short to make it anew.
 */
export function compileMapping(conf: MappingConf): Mapping {
  const { key, event_type, occurred_at, version, history, deleted } = conf;
  const text = JSON.stringify([key, event_type, occurred_at, version, history, deleted]);
  const mapping = compiled.get(text) ?? newMapping(conf);
  compiled.delete(text);
  compiled.set(text, mapping);
  if (compiled.size > MAPPINGS) compiled.delete(compiled.keys().next().value!);
  return mapping;
}

function newMapping(conf: MappingConf): Mapping {
  const { key, version, history = false } = conf;
  const paths = key === undefined ? [] : [key].flat();
  return {
    eventId: key === undefined
      ? null
      : history
      ? versionedKeyReader(paths, version!)
      : keyReader(paths),
    eventType: eventTypeReader(conf.event_type ?? "record"),
    occurredAt: occurredAtReader(conf.occurred_at),
    version: versionReader(version, history ? 6 : 9),
    isDeletion: conf.deleted === undefined || conf.deleted === null
      ? null
      : deletionReader(conf.deleted),
    keyFields: paths.map(fieldReader),
  };
}

/** 1 and "1", true and "true" are the same here, as in a key: of a CSV nobody knows which it will be. */
function deletionReader({ field, equals }: DeletedConf): (record: SourceRecord) => boolean {
  const read = fieldTextReader(field, { asKey: true });
  const wanted = equals === null
    ? null
    : typeof equals === "number"
    ? normalNumber(`${equals}`)
    : `${equals}`;
  return (record) => {
    const value = read(record) ?? null;
    if (value === null || wanted === null) return value === wanted;
    return typeof value !== "object" && `${value}` === wanted;
  };
}

/** The key with its version behind a `|`: a time in one form, so that two spellings of it are one version. */
function versionedKeyReader(paths: string[], version: string): (record: SourceRecord) => string {
  const parts = paths.map((path) => keyReader([path]));
  const read = fieldReader(version);
  return (record) => {
    const key = parts.map((part) => part(record).replace(/[\\|]/g, "\\$&")).join("|");
    const value = read(record);
    const time = typeof value === "string" ? toUtcText(value) : null;
    if (time !== null) return `${key}|${time}`;
    throw new RowError(
      "version_invalid",
      say("version-no-time", { field: version }),
      version,
    );
  };
}

function keyReader(paths: string[]): (record: SourceRecord) => string {
  const readers = paths.map((path) => fieldTextReader(path, { asKey: true }));
  const part = (record: SourceRecord, i: number) => keyText(readers[i]!(record), paths[i]!);
  if (readers.length === 1) return (record) => part(record, 0);
  // escaped so that ("a|b", "c") and ("a", "b|c") stay two keys
  return (record) =>
    readers.map((_, i) => part(record, i).replace(/[\\|]/g, (c) => `\\${c}`)).join("|");
}

/** The parts of a key of several fields. */
export function keyParts(key: string): string[] {
  return (key.match(/(?:[^\\|]|\\[^])+/g) ?? []).map((part) => part.replace(/\\([^])/g, "$1"));
}

function keyText(value: Json | undefined, path: string): string {
  if (typeof value === "string") {
    if (value !== "") return value;
    throw new RowError("key_missing", say("key-empty", { field: path }), path);
  }
  if (typeof value === "boolean") return `${value}`;
  if (value === undefined || value === null) {
    throw new RowError("key_missing", say("key-missing", { field: path }), path);
  }
  throw new RowError("key_type", say("key-nested", { field: path }), path);
}

function eventTypeReader(conf: string | { field: string }): (record: SourceRecord) => string {
  if (typeof conf === "string") return () => conf;
  const read = fieldTextReader(conf.field);
  return (record) => {
    const value = read(record);
    if (typeof value === "string" && value.trim() !== "") return value.trim();
    if (typeof value === "bigint" || typeof value === "boolean") return `${value}`;
    throw new RowError(
      "event_type_missing",
      say("type-missing", { field: conf.field }),
      conf.field,
    );
  };
}

function occurredAtReader(
  conf: MappingConf["occurred_at"],
): (record: SourceRecord) => string | null {
  if (conf === undefined) return () => null;
  const { field, format }: { field: string; format: TimeFormat } = typeof conf === "string"
    ? { field: conf, format: "iso" }
    : conf;
  const read = fieldReader(field);
  const readText = fieldTextReader(field);
  return (record) => {
    let value = read(record);
    if (typeof value === "number") {
      const text = readText(record) as string;
      // digits that a double does not hold: seconds of our days with microseconds have 16, those of other days more
      if (text !== `${value}` && /^-?\d+\.\d+$/.test(text)) value = text;
    }
    if (value === undefined || value === null || value === "") {
      throw new RowError("occurred_at_missing", say("time-missing", { field }), field);
    }
    const text = toUtcText(value, format);
    if (text !== null) return text;
    const shown = String(value).slice(0, 60);
    // such as 31/12/2026: whether day or month comes first, only the reader knows
    const code = /^\s*\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b/.test(shown)
      ? "time-day-first"
      : "time-invalid";
    throw new RowError("occurred_at_invalid", say(code, { field, format, value: shown }), field);
  };
}

/** `decimals` of a second tell versions apart: those of a history are rows' times, which have six. */
function versionReader(
  path: string | undefined,
  decimals: 6 | 9,
): (record: SourceRecord) => string | null {
  if (path === undefined) return () => null;
  const read = fieldReader(path);
  const readText = fieldTextReader(path);
  return (record) => {
    const value = read(record);
    if (typeof value === "number") return readText(record) as string;
    if (typeof value === "bigint") return `${value}`;
    if (typeof value === "string") {
      if (/^-?\d{1,100}(\.\d{1,100})?$/.test(value)) return value;
      const time = toUtcText(value, "iso", { decimals });
      if (time !== null) return utcTextToEpoch(time);
    }
    throw new RowError(
      "version_invalid",
      say("version-invalid", { field: path }),
      path,
    );
  };
}

/**
 * How often a field of the key had which JSON type. 1 and "1", true and "true" are one key, which a source may not mean.
 */
export interface KeyTypes {
  numbers: number;
  /** Strings that read as a number does as a key. */
  numberTexts: number;
  booleans: number;
  booleanTexts: number;
}

const NUMBER_KEY = /^-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?$/;

/** Counts the JSON types of each field of a key; `counts` goes on from an earlier batch. */
export function countKeyTypes(
  { keyFields }: Mapping,
  records: RecordBatch,
  counts?: KeyTypes[],
): KeyTypes[] {
  return keyFields.map((read, i) => countTypes(read, records, { ...counts?.[i] ?? NO_KEY_TYPES }));
}

function countTypes(
  read: (record: SourceRecord) => Json | undefined,
  records: RecordBatch,
  count: KeyTypes,
): KeyTypes {
  for (const record of records) {
    if (record instanceof Unreadable) continue;
    const value = read(record);
    if (typeof value === "string") countKeyText(value, count);
    else if (typeof value === "number" || typeof value === "bigint") count.numbers++;
    else if (typeof value === "boolean") count.booleans++;
  }
  return count;
}

/** Counts a key that is a text. */
export function countKeyText(value: string, count: KeyTypes): void {
  if (mayBeNumber(value.charCodeAt(0)) && NUMBER_KEY.test(value)) count.numberTexts++;
  else if (value === "true" || value === "false") count.booleanTexts++;
}

/** Whether a number can begin so: most texts need no pattern. */
function mayBeNumber(unit: number): boolean {
  return unit >= 48 && unit <= 57 || unit === 45;
}

const NO_KEY_TYPES: KeyTypes = { numbers: 0, numberTexts: 0, booleans: 0, booleanTexts: 0 };

/** What the user is told of key fields whose type is not always the same, by all chunks of a run. */
export function keyTypesWarnings(
  key: MappingConf["key"],
  chunks: (KeyTypes[] | undefined)[],
): Message[] {
  const paths = key === undefined ? [] : [key].flat();
  return paths.flatMap((path, i) => {
    const sum = (name: keyof KeyTypes) =>
      chunks.reduce((total, chunk) => total + (chunk?.[i]?.[name] ?? 0), 0);
    const told = (count: number, texts: number, kind: Message, example: string) =>
      count === 0 || texts === 0
        ? []
        : [say("key-kinds", { field: path, kind, n: count, texts, example, same: example })];
    return [
      ...told(sum("numbers"), sum("numberTexts"), say("kind-number", {}), "1"),
      ...told(sum("booleans"), sum("booleanTexts"), say("kind-boolean", {}), "true"),
    ];
  });
}
