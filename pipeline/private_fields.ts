import { type Message, say, verbatim } from "../vocabulary/messages.ts";
import { createHmac } from "node:crypto";
import { Canonicalizer, rawText } from "./canonical.ts";
import { parsePath } from "./field_path.ts";
import { digitsOf, normalNumber, numberKey } from "./numbers.ts";
import { CELLS, type Cells, compileColumns, type DeclaringConf } from "./sources/columns.ts";
import { parseJson } from "./sources/json_text.ts";
import { setCell } from "./sources/local/csv_values.ts";
import {
  type Json,
  type Origin,
  type RecordBatch,
  type SourceRecord,
  Unreadable,
} from "./sources/source.ts";
import { errorCode } from "../store/errors.ts";
import { Problem } from "../vocabulary/problem.ts";
import type { Rejected } from "./event.ts";

/** What of a dataset's records is personal data, and what becomes of it before anything else sees it. */
export interface Privacy {
  /** Paths of fields that are left out. */
  exclude: string[];
  /** Paths of fields in whose place the HMAC-SHA-256 of their text stands, in hex. */
  hash: string[];
  /** Those of `hash` in whose place it stands already, in records of a quarantine that are loaded again. */
  hashed: string[];
  /** ETL_HASH_SECRET; null where nothing is hashed. */
  secret: string | null;
}

/** Rules whose messages quote nothing of a record. */
const QUOTES_NOTHING = new Set([
  "csv_quotes",
  "csv_line_end",
  "csv_columns",
  "csv_header_repeated",
  "encoding",
  "record_too_long",
  "not_an_object",
]);

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What is told of a record that cannot be shown; JSON, so that a replay counts it as a record. */
function notKept(bytes: number): string {
  return JSON.stringify(`(${bytes} bytes, not kept: this dataset has private fields)`);
}

interface Field {
  path: string;
  parts: string[];
  /** The name of a field that is not nested, as a column of CSV with dots in its name. */
  name: string;
  change: (holder: SourceRecord | Json[], name: string) => void;
}

/**
 * Takes the personal data out of records as they come from a source, before transform, rules, suite, spill,
 * quarantine and log see them: `exclude` leaves a field out, `hash` puts a keyed hash in its place. Of a record that
 * is rejected the same is shown; of one that cannot be parsed nothing, as nobody can tell what in it is personal.
 */
export class PrivateFields {
  readonly #fields: Field[];
  readonly #isNull: ((text: string) => boolean) | undefined;
  readonly #canonical = new Canonicalizer();
  /** Paths that a record had. */
  readonly found = new Set<string>();

  constructor({ exclude, hash, hashed, secret }: Privacy, conf: DeclaringConf) {
    const field = (path: string, change: Field["change"]): Field => {
      const parts = parsePath(path);
      return { path, parts, name: parts.join("."), change };
    };
    this.#fields = [
      ...exclude.map((path) => field(path, leaveOut)),
      ...hash.filter((path) => !hashed.includes(path)).map((path) =>
        field(path, (holder, name) => this.#hash(holder, name, secret!))
      ),
    ];
    this.#isNull = compileColumns(conf)?.isNull;
  }

  /** Changes the records of a batch, and what it tells of their origins. */
  batch(records: RecordBatch): void {
    const { origin } = records;
    for (let i = 0; i < records.length; i++) {
      const record = records[i]!;
      if (record instanceof Unreadable) records[i] = this.#unreadable(record, origin?.(i));
      else this.#record(record);
    }
    if (origin === undefined) return;
    records.origin = (index) => {
      const found = origin(index);
      const record = records[index]!;
      const shown = record instanceof Unreadable
        ? { raw: record.raw, record: record.field === null ? null : this.#shown(found).record }
        : this.#shown(found);
      return {
        file: found.file,
        line: found.line,
        raw: shown.raw === null ? null : encoder.encode(shown.raw),
        record: shown.record,
      };
    };
  }

  /** Says of rejected records that they are not shown as they were read. */
  note(rejected: Rejected[]): void {
    for (const each of rejected) each.message = say("as-shown", { what: each.message });
  }

  #record(record: SourceRecord): boolean {
    let any = false;
    for (const { path, parts, name, change } of this.#fields) {
      let found = changeAt(record, parts, 0, change);
      if (parts.length > 1 && Object.hasOwn(record, name)) {
        change(record, name);
        found = true;
      }
      if (found) this.found.add(path);
      any ||= found;
    }
    return any;
  }

  #hash(holder: SourceRecord | Json[], name: string, secret: string): void {
    const value = (holder as SourceRecord)[name];
    // an empty text is no value, as a key neither
    if (value === null || value === undefined || value === "") return;
    const text = this.#text(value, holder, name);
    const digits = digitsOf(holder);
    if (digits !== undefined) delete digits[name];
    (holder as SourceRecord)[name] = keyedHash(text, secret);
  }

  /** A value as a key of it would be, so that 1 and "1" are one. */
  #text(value: Json, holder: object, name: string): string {
    switch (typeof value) {
      case "string":
        return value;
      case "number":
        return numberKey(value, holder, name);
      case "bigint":
        return normalNumber(`${value}`);
      case "boolean":
        return `${value}`;
      default:
        return this.#canonical.text(value);
    }
  }

  /** What is shown of a record that could be read, and what a replay reads. */
  #shown(
    { record, raw }: Pick<Origin, "record" | "raw">,
  ): { raw: string | null; record: string | null } {
    if (record === null && raw === null) return { raw: null, record: null };
    const bytes = raw?.length ?? encoder.encode(record!).length;
    const value = objectOf(record ?? textOf(raw!));
    if (value === null) return { raw: notKept(bytes), record: null };
    if (!Object.hasOwn(value, CELLS)) {
      this.#record(value);
      return { raw: rawText(value), record: null };
    }
    const cells = this.#cells(value[CELLS] as Cells);
    if (cells === null) return { raw: notKept(bytes), record: null };
    return {
      raw: JSON.stringify(Object.fromEntries(cells)),
      record: JSON.stringify({ [CELLS]: cells }),
    };
  }

  /** The cells of a record of CSV; null where one may hold a private field that cannot be found in it. */
  #cells(cells: Cells): Cells | null {
    const shown: Cells = [];
    for (const [name, text] of cells) {
      const empty = text === "" || this.#isNull?.(text) === true;
      const cell: SourceRecord = {};
      if (empty) cell[name] = null;
      else if (this.#fields.some(({ parts }) => parts.length > 1 && parts[0] === name)) {
        const value = objectOf(text);
        if (value === null) return null;
        cell[name] = value;
      } else setCell(cell, name, text);
      const changed = this.#record(cell);
      if (!Object.hasOwn(cell, name)) continue;
      const value = cell[name]!;
      if (!changed || empty) shown.push([name, text]);
      else shown.push([name, typeof value === "string" ? value : rawText(value as SourceRecord)]);
    }
    return shown;
  }

  #unreadable(record: Unreadable, origin: Origin | undefined): Unreadable {
    const { rule, field } = record;
    const isPrivate = field !== null && this.#touches(field);
    const quiet = QUOTES_NOTHING.has(rule) || (field !== null && !isPrivate);
    const message = quiet ? record.message : at(
      origin,
      field === null ? say("breaks-rule", { rule }) : say("field-breaks-rule", { field, rule }),
    );
    return new Unreadable(rule, message, this.#unreadableText(record, origin), field);
  }

  #unreadableText(record: Unreadable, origin: Origin | undefined): string {
    const bytes = origin?.raw?.length ?? encoder.encode(record.raw).length;
    // only a fault of one field says that the others are what they seem
    if (record.field === null) return notKept(bytes);
    const stands = origin?.record ?? origin?.raw ?? null;
    const shown = stands === null ? { record: record.raw, raw: null } : origin!;
    return this.#shown(shown).raw ?? notKept(bytes);
  }

  /** Whether a field is private, or holds one, or is held by one. */
  #touches(field: string): boolean {
    return this.#fields.some(({ name }) =>
      name === field || name.startsWith(`${field}.`) || field.startsWith(`${name}.`)
    );
  }
}

/** Changes what is at a path; a list on the way stands for each of its elements. */
function changeAt(
  value: Json | undefined,
  parts: string[],
  at: number,
  change: Field["change"],
): boolean {
  if (typeof value !== "object" || value === null) return false;
  const part = parts[at]!;
  if (Array.isArray(value) && (part === "length" || !Object.hasOwn(value, part))) {
    let found = false;
    for (const element of value) found = changeAt(element, parts, at, change) || found;
    return found;
  }
  if (!Object.hasOwn(value, part)) return false;
  if (at < parts.length - 1) {
    return changeAt((value as SourceRecord)[part], parts, at + 1, change);
  }
  change(value as SourceRecord, part);
  return true;
}

function leaveOut(holder: SourceRecord | Json[], name: string): void {
  const digits = digitsOf(holder);
  if (digits !== undefined) delete digits[name];
  // the elements behind keep their places
  if (Array.isArray(holder)) holder[Number(name)] = null;
  else delete holder[name];
}

/** The HMAC-SHA-256 of a text in hex, as PostgreSQL's `encode(hmac(text, secret, 'sha256'), 'hex')` makes it. */
export function keyedHash(text: string, secret: string): string {
  return createHmac("sha256", secret).update(text, "utf8").digest("hex");
}

/** What tells whether two servers have one secret, without saying anything of it. */
export function secretMark(secret: string): string {
  return keyedHash("etl_improved: mark of the secret", secret).slice(0, 16);
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return strict.decode(bytes);
  } catch {
    return null;
  }
}

function objectOf(text: string | null): SourceRecord | null {
  if (text === null) return null;
  try {
    const value = parseJson(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** What a source's server says of values that it cannot read quotes them. */
export function withoutValues(error: unknown): unknown {
  if (!(error instanceof Problem) || !/^2[23]/.test(errorCode(error.cause) ?? "")) return error;
  const { type, status, transient } = error;
  return new Problem(type, {
    status,
    detail: verbatim(error.message.replaceAll(/"[^"]*"/g, '"…"')),
    transient,
  });
}

/**
 * What a run needs to take private fields out; null where the dataset has none.
 *
 * @throws {Problem} `invalid-conf` where something is to be hashed and the server has no secret.
 */
export function privacyOf(
  { exclude, hash }: { exclude: string[]; hash: string[] },
  secret: string | null,
  hashed: string[] = [],
): Privacy | null {
  if (exclude.length === 0 && hash.length === 0) return null;
  if (hash.length > 0 && secret === null) {
    throw new Problem("invalid-conf", {
      detail: say("no-hash-secret", {}),
      errors: [{ field: "hash", value: hash, message: "needs ETL_HASH_SECRET" }],
    });
  }
  return { exclude, hash, hashed, secret: hash.length > 0 ? secret : null };
}

/** What is wrong with a record, with its place where that is known. */
function at(origin: Origin | undefined, what: Message): Message {
  if (origin === undefined || origin.file === null) return what;
  const { file, line } = origin;
  return line === null ? say("file-place", { file, what }) : say("place", { line, file, what });
}

/** What the user is told of private fields that no record had: a name that is wrong protects nothing. */
export function missingFieldsWarning(
  privacy: Privacy | null,
  found: Iterable<string>,
): Message[] {
  if (privacy === null) return [];
  const had = new Set(found);
  const missing = [...privacy.exclude, ...privacy.hash].filter((path) =>
    !had.has(path) && !privacy.hashed.includes(path)
  );
  if (missing.length === 0) return [];
  return [
    say("private-missing", { fields: missing.join(", ") }),
  ];
}

/** Refuses a plan whose parts are told by a private field: they are stored as they were read. */
export function refusePrivateKeys(privacy: Privacy | null, slices: unknown[]): void {
  if (privacy === null) return;
  const names = [...privacy.exclude, ...privacy.hash].map((path) => parsePath(path).join("."));
  const keys = keyNames(slices[0]);
  const wrong = keys.find((name) => names.includes(name));
  if (wrong === undefined) return;
  throw new Problem("invalid-conf", {
    detail: say("page-key-private", { column: wrong }),
    errors: [{ field: "page_key", value: wrong, message: "is a private field" }],
  });
}

function keyNames(slice: unknown): string[] {
  if (typeof slice !== "object" || slice === null) return [];
  return Object.entries(slice).flatMap(([name, value]) =>
    name === "key" && Array.isArray(value)
      ? value.map((each) =>
        typeof each === "string" ? each : `${(each as { name?: unknown })?.name}`
      )
      : keyNames(value)
  );
}
