import { type Message, say, verbatim } from "../vocabulary/messages.ts";
import { hash } from "node:crypto";
import { quoteIdent } from "../store/pg.ts";
import { keyColumns, sqlType, type TypedColumn, type TypedTable } from "../store/row_layout.ts";
import { Canonicalizer, UNSTORABLE, unstorable } from "./canonical.ts";
import { type Event, rawOf, type Rejected } from "./event.ts";
import { fieldReader, parsePath } from "./field_path.ts";
import { keyParts } from "./mapping.ts";
import { digitsOf, normalNumber, numberText } from "./numbers.ts";
import { ruleOf } from "./stages/transform.ts";
import { isLonger, longKey, tooLarge } from "./stages/validate.ts";
import { farTime, toUtcText } from "./timestamps.ts";
import { castsOf, KEYS, type OwnTable } from "../store/own_tables.ts";
import { type ColumnsConf, compileColumns } from "./sources/columns.ts";
import { Problem } from "../vocabulary/problem.ts";
import { CellFault } from "./sources/local/csv_values.ts";
import { BYTES, type Json, type SourceRecord } from "./sources/source.ts";
import { type ReadText, textReader } from "./own_texts.ts";

/** Fields that a table has no column for, and values that do not fit their column, that a chunk tells of. */
const TOLD = 50;

/** What of a chunk's records has no place in the table's columns. */
export type UnknownFields = Record<string, { records: number; type: string; example: string }>;

/** A value as the text that the encoder takes; throws CellFault where it does not fit the column. */
type ReadValue = (value: Json, digits: string | undefined) => string | null;

const canonical = new Canonicalizer();
const PLAIN_NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/;

/** What PostgreSQL's types hold besides numbers and days, by type; `numeric(p,s)` holds no infinity. */
const SPECIAL: Record<string, RegExp> = {
  numeric: /^(?:NaN|-?Infinity)$/,
  "numeric(": /^NaN$/,
  date: /^-?infinity$/,
  timestamptz: /^-?infinity$/,
};

/**
 * A reader that also takes NaN, infinities and years before 1 or after 9999 where a source has types, whose values they are:
 * in text they are words.
 */
function withSpecials(
  { type }: TypedColumn,
  read: ReadValue,
  areValues: () => boolean,
): ReadValue {
  const special = SPECIAL[type.startsWith("numeric(") ? "numeric(" : type];
  if (special === undefined) return read;
  const far = type === "date" || type === "timestamptz"
    ? (value: string) => farTime(value, type)?.text
    : () => undefined;
  return (value, digits) =>
    typeof value === "string" && areValues()
      ? special.test(value) ? value : far(value) ?? read(value, digits)
      : read(value, digits);
}

/** Compiles the type of a column, with the checks that `source.columns` has: one vocabulary. */
function valueReader({ path, type }: TypedColumn): ReadValue {
  const name = parsePath(path).join(".");
  if (type === "jsonb") {
    return (value, digits) => {
      if (typeof value === "number") return numberText(value, digits);
      const text = canonical.text(value);
      const bad = unstorable(text);
      if (bad !== null) throw unstorableFault(bad, name);
      return text;
    };
  }
  const put = compileColumns({ columns: { [name]: type } })!.of(name)!;
  const careful: ReadValue = (value, digits) => {
    if (typeof value === "object") {
      throw new CellFault(
        "column_type",
        name,
        say("nested-value", { column: name, type }),
      );
    }
    const text = typeof value === "number" ? numberText(value, digits) : `${value}`;
    if (text === "" && type !== "text") return null;
    const record: SourceRecord = {};
    put(record, name, text);
    const read = record[name]!;
    if (read === null) return null;
    return typeof read === "number" ? numberText(read, digitsOf(record)?.[name]) : `${read}`;
  };
  switch (type) {
    case "text":
      return (value, digits) => typeof value === "string" ? value : careful(value, digits);
    case "integer":
      return (value, digits) =>
        digits === undefined && Number.isSafeInteger(value) ? `${value}` : careful(value, digits);
    case "numeric":
      return (value, digits) =>
        typeof value !== "number"
          ? careful(value, digits)
          : digits === undefined
          ? `${value}`
          : PLAIN_NUMBER.test(digits) && Number(digits) === value
          ? digits
          : careful(value, digits);
    case "date":
      return (value, digits) =>
        typeof value === "string" && value.length === 10 && toUtcText(value) !== null
          ? value
          : careful(value, digits);
    case "timestamptz":
      // six decimals of a second at most; more are looked at
      return (value, digits) =>
        typeof value === "string" && value.length <= 26 && toUtcText(value) ||
        careful(value, digits);
    case "boolean":
      return (value, digits) =>
        typeof value === "boolean" ? (value ? "true" : "false") : careful(value, digits);
    default:
      return careful;
  }
}

/** PostgreSQL cuts spaces behind the last character that a varchar has room for, and two keys would be one. */
function widthReader({ path }: TypedColumn, read: ReadValue, width: number): ReadValue {
  const name = parsePath(path).join(".");
  return (value, digits) => {
    const text = read(value, digits);
    if (text === null || !text.endsWith(" ") || [...text].length <= width) return text;
    throw new CellFault("column_type", name, say("spaces-cut", { column: name, n: width }));
  };
}

/** A text of a type for which PostgreSQL takes more than it says; `isBase64` says that the source has bytes in the column. */
function ownTextReader(
  { path }: TypedColumn,
  read: ReadValue,
  { put, isBytes, isBase64 }: { put: ReadText; isBytes: boolean; isBase64: () => boolean },
): ReadValue {
  const name = parsePath(path).join(".");
  return (value, digits) => {
    const text = read(value, digits);
    if (text === null) return null;
    return put(
      isBytes && isBase64() ? `\\x${Uint8Array.fromBase64(text).toHex()}` : text,
      name,
    );
  };
}

/** A cell of a column of jsonb is JSON, as where the conf declares it. */
function jsonCellReader({ path }: TypedColumn, read: ReadValue): ReadValue {
  const name = parsePath(path).join(".");
  const put = compileColumns({ columns: { [name]: "jsonb" } })!.of(name)!;
  return (value, digits) => {
    if (typeof value !== "string") return read(value, digits);
    const record: SourceRecord = {};
    put(record, name, value);
    const parsed = record[name]!;
    return parsed === null ? null : read(parsed, digitsOf(record)?.[name]);
  };
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** In one form, as it may be a key. */
function uuidReader(column: TypedColumn): ReadValue {
  const read = valueReader(column);
  const name = parsePath(column.path).join(".");
  return (value, digits) => {
    const text = read(value, digits);
    if (text === null || UUID.test(text)) return text?.toLowerCase() ?? null;
    const shown = JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
    throw new CellFault("column_type", name, say("no-uuid", { column: name, value: shown }));
  };
}

function unstorableFault(what: "nul" | "surrogate", field: string): CellFault {
  const { rule, message } = UNSTORABLE[what];
  return new CellFault(rule, field, say("in-field", { field, what: message }));
}

/** The holder's digits of the number at a path, where a double would print others. */
function digitsReader(path: string): (record: SourceRecord) => string | undefined {
  const parts = parsePath(path);
  const name = parts.pop()!;
  if (parts.length === 0) return (record) => digitsOf(record)?.[name];
  const above = fieldReader(parts.map((part) => part.replaceAll(".", "\\.")).join("."));
  return (record) => {
    const holder = above(record);
    return typeof holder === "object" && holder !== null ? digitsOf(holder)?.[name] : undefined;
  };
}

/** A column, with how a record's value of it is read. */
interface ShapedColumn {
  name: string;
  field: string;
  prefix: string;
  read: (record: SourceRecord) => Json | undefined;
  digits: (record: SourceRecord) => string | undefined;
  value: ReadValue;
}

/** A field of the key: its column, and how two of its texts may be one value. */
interface KeyPart {
  at: number;
  type: string;
  /** Of type char(n), in which spaces at the end say nothing. */
  padded: boolean;
}

/** Makes rows of a typed table from events: checks every value, and has key and fingerprint cover the row. */
export class RowShaper {
  readonly #columns: ShapedColumn[];
  readonly #key: KeyPart[] | null;
  readonly #known: Set<string>;
  readonly #quarantines: boolean;
  readonly #maxBytes: number;
  /** In `order` of their names, so that a fingerprint stays as it is when a column is added. */
  readonly #order: number[];
  readonly unknown: UnknownFields = {};
  /** Numbers of the key whose texts nobody has declared to be numbers. */
  readonly #codes: (ShapedColumn & { type: string })[];
  /** Of the records in hand. */
  #types: Record<string, string> | undefined;
  #cells = false;

  constructor(
    table: TypedTable,
    { quarantinesUnknown, maxPayloadBytes, conf = {}, isRaw = () => true }: {
      quarantinesUnknown: boolean;
      /** Bytes that the values of a row may have. */
      maxPayloadBytes: number;
      /** What says how columns are read. */
      conf?: ColumnsConf;
      /** Whether a field has what its source gave, and no transform or hash made it. Default: every field has. */
      isRaw?: (field: string) => boolean;
    },
  ) {
    const isDeclared = (field: string) => {
      const known = Object.hasOwn(conf.columns ?? {}, field) ? conf.columns![field] : undefined;
      return typeof known === "string" || known !== undefined && "type" in known;
    };
    const { columns } = table;
    this.#columns = columns.map((column) => {
      const { base, leaf = "", kind = null, width = null } = table.casts?.[column.name] ?? {};
      const plain = base === "uuid" ? uuidReader(column) : valueReader(column);
      const field = parsePath(column.path).join(".");
      const put = textReader(leaf, kind);
      const plainValue = width !== null
        ? widthReader(column, plain, width)
        : put === null
        ? plain
        : ownTextReader(column, plain, {
          put,
          isBytes: leaf === "bytea",
          isBase64: () =>
            this.#types !== undefined && Object.hasOwn(this.#types, field) &&
            this.#types[field] === BYTES,
        });
      const ofCell = column.type === "jsonb" && isRaw(field) && !isDeclared(field)
        ? jsonCellReader(column, plainValue)
        : null;
      return {
        name: column.name,
        field,
        prefix: JSON.stringify(column.name),
        read: fieldReader(column.path),
        digits: digitsReader(column.path),
        value: withSpecials(
          column,
          ofCell === null
            ? plainValue
            : (value, digits) => (this.#cells ? ofCell : plainValue)(value, digits),
          () => this.#types !== undefined,
        ),
      };
    });
    this.#order = columns.map((_, i) => i).sort((a, b) =>
      columns[a]!.name < columns[b]!.name ? -1 : 1
    );
    this.#key = table.key === null ? null : keyColumns(table).map((column) => ({
      at: columns.indexOf(column),
      type: column.type,
      padded: table.casts?.[column.name]?.base === "bpchar",
    }));
    this.#codes = (this.#key ?? []).flatMap(({ at, type }) => {
      const column = this.#columns[at]!;
      const isCode = /^(?:integer|numeric)/.test(type) && !table.own &&
        !Object.hasOwn(conf.columns ?? {}, column.field);
      return isCode ? [{ ...column, type }] : [];
    });
    this.#known = new Set(columns.map(({ path }) => parsePath(path)[0]!));
    this.#quarantines = quarantinesUnknown;
    this.#maxBytes = maxPayloadBytes;
  }

  /**
   * Splits events into rows and what does not fit; `types` are those that their source has for its columns, `cells` says that
   * its records are cells of text.
   */
  batch(
    events: Event[],
    { types, cells = false }: { types?: Record<string, string> | undefined; cells?: boolean } = {},
  ): { valid: Event[]; rejected: Rejected[] } {
    this.#types = types;
    this.#cells = cells;
    const valid: Event[] = [];
    const rejected: Rejected[] = [];
    for (const event of events) {
      try {
        if (event.deletes) this.#bury(event);
        else this.#shape(event);
        valid.push(event);
      } catch (error) {
        const rule = error instanceof CellFault ? error.rule : ruleOf(error);
        if (rule === null) throw error;
        const message = verbatim((error as Error).message);
        const field = error instanceof CellFault ? error.field : null;
        const { position, output } = event;
        const key = this.keyOf(event);
        rejected.push({ position, output, rule, message, field, raw: rawOf(event), key });
      }
    }
    return { valid, rejected };
  }

  /** Of a deletion only the key counts. */
  #bury(event: Event): void {
    const key = this.keyOf(event);
    if (key === undefined) {
      const { field } = this.#columns[this.#key![0]!.at]!;
      throw new CellFault("key_type", field, say("key-misfit", { field }));
    }
    this.#refuseCodes(event.payload);
    event.eventId = key;
  }

  /** "01" and 1, of a cell also 1.0 and 1, are one number and two keys, unless somebody has declared that keys are numbers. */
  #refuseCodes(payload: SourceRecord): void {
    for (const { field, type, read, digits, value } of this.#codes) {
      const known = knownType(this.#types, field);
      if (known !== undefined && known !== "text") continue;
      const given = read(payload);
      const exact = typeof given === "number" ? digits(payload) : undefined;
      const isText = typeof given === "string" || this.#cells && typeof given === "number";
      if (!isText) continue;
      const text = typeof given === "number" ? numberText(given, exact) : given;
      const key = normalNumber(value(given, exact) ?? text);
      if (text !== key) {
        throw new CellFault("key_type", field, say("key-code", { field, type, text, key }));
      }
    }
  }

  #shape(event: Event): void {
    const { payload } = event;
    const row: (string | null)[] = new Array(this.#columns.length);
    for (let i = 0; i < row.length; i++) {
      const column = this.#columns[i]!;
      const value = column.read(payload);
      if (typeof value === "number" && !Number.isFinite(value)) {
        throw new TypeError(say("not-json-number", { value }));
      }
      row[i] = value === undefined || value === null
        ? null
        : column.value(value, typeof value === "number" ? column.digits(payload) : undefined);
    }
    if (this.#key !== null) {
      event.eventId = this.#keyOf(row, this.#key);
      this.#refuseCodes(payload);
      const broken = longKey(event.eventId);
      if (broken !== null) {
        throw new CellFault(broken.rule, this.#columns[this.#key[0]!.at]!.field, broken.message);
      }
    }
    let written = event.version === null ? "" : `v${event.version}`;
    for (const i of this.#order) {
      const text = row[i]!;
      if (text !== null) written += `${this.#columns[i]!.prefix}${text.length}:${text}`;
    }
    if (written.includes("\0") || !written.isWellFormed()) throw this.#unstorable(row);
    if (isLonger(written, this.#maxBytes)) throw this.#tooLarge(row);
    for (const field of Object.keys(payload)) {
      if (!this.#known.has(field)) this.#meetUnknown(field, payload);
    }
    // a row without a key of its own is its record
    if (this.#key === null) written += event.eventId;
    event.fingerprint = hash("sha256", written, "hex").slice(0, 32);
    event.row = row;
  }

  #unstorable(row: (string | null)[]): CellFault {
    const at = row.findIndex((text) =>
      text !== null && (text.includes("\0") || !text.isWellFormed())
    );
    return unstorableFault(row[at]!.includes("\0") ? "nul" : "surrogate", this.#columns[at]!.field);
  }

  #tooLarge(row: (string | null)[]): CellFault {
    const { rule, message } = tooLarge(this.#maxBytes);
    const sizes = row.map((text) => text?.length ?? 0);
    const { field } = this.#columns[sizes.indexOf(Math.max(...sizes))]!;
    return new CellFault(rule, field, say("mostly-in-field", { what: message, field }));
  }

  /** An event's key as a table of keys has it; undefined where no row can have it. */
  keyOf({ payload, eventId }: Pick<Event, "payload" | "eventId">): string | undefined {
    if (this.#key === null) return eventId;
    return this.#keyOfValues(({ read, digits }) => {
      const value = read(payload);
      return [value, typeof value === "number" ? digits(payload) : undefined];
    });
  }

  /** The same of a key as an events table would have it. */
  keyOfText(eventId: string): string | undefined {
    if (this.#key === null) return eventId;
    const parts = this.#key.length === 1 ? [eventId] : keyParts(eventId);
    let i = 0;
    return this.#keyOfValues(() => [parts[i++], undefined]);
  }

  #keyOfValues(
    read: (column: ShapedColumn) => [Json | undefined, string | undefined],
  ): string | undefined {
    const row: (string | null)[] = [];
    try {
      for (const { at } of this.#key!) {
        const column = this.#columns[at]!;
        const [value, digits] = read(column);
        row[at] = value === undefined || value === null ? null : column.value(value, digits);
      }
      const key = this.#keyOf(row, this.#key!);
      return longKey(key) === null && key.isWellFormed() && !key.includes("\0") ? key : undefined;
    } catch (error) {
      if (ruleOf(error) !== null || error instanceof CellFault) return undefined;
      throw error;
    }
  }

  #keyOf(row: (string | null)[], key: KeyPart[]): string {
    const parts = key.map(({ at, type, padded }) => {
      const given = row[at];
      const text = padded ? given?.replace(/ +$/, "") : given;
      if (text === null || text === undefined || text === "") {
        const { field } = this.#columns[at]!;
        const what = text === "" ? "key-empty" : "key-missing";
        throw new CellFault("key_missing", field, say(what, { field }));
      }
      return type.startsWith("numeric") && /\d/.test(text) ? normalNumber(text) : text;
    });
    if (parts.length === 1) return parts[0]!;
    // an array of PostgreSQL's, from which the comparison takes the parts
    return `{${parts.map((part) => `"${part.replace(/["\\]/g, "\\$&")}"`).join(",")}}`;
  }

  #meetUnknown(field: string, payload: SourceRecord): void {
    const value = payload[field]!;
    if (value === null) return;
    if (this.#quarantines) {
      throw new CellFault("unknown_field", field, say("unknown-field", { field }));
    }
    const known = Object.hasOwn(this.unknown, field) ? this.unknown[field] : undefined;
    const digits = typeof value === "number" ? digitsOf(payload)?.[field] : undefined;
    const type = knownType(this.#types, field) ?? typeOf(value, digits);
    if (known !== undefined) {
      known.records++;
      known.type = joined(known.type, type);
    } else if (Object.keys(this.unknown).length < TOLD) {
      this.unknown[field] = { records: 1, type, example: shown(value) };
    }
  }
}

/** The unknown fields of a run, from those of its chunks. */
export function joinUnknown(chunks: (UnknownFields | undefined)[]): UnknownFields {
  const all: UnknownFields = {};
  for (const fields of chunks) {
    for (const [field, { records, type, example }] of Object.entries(fields ?? {})) {
      const known = Object.hasOwn(all, field) ? all[field] : undefined;
      all[field] = known === undefined
        ? { records, type, example }
        : { ...known, records: known.records + records, type: joined(known.type, type) };
    }
  }
  return all;
}

/** The problem of a run whose records have fields that the table has no column for. */
export function unknownFieldsProblem(
  { schema_name, table_name }: { schema_name: string; table_name: string },
  all: UnknownFields,
  own: OwnTable | null = null,
): Problem {
  const names = Object.keys(all);
  const told = names.slice(0, 5).map((field) => {
    const { type, records: n, example } = all[field]!;
    return say("field-in-records", { field, type, n, example });
  });
  const dataset = `${schema_name}.${table_name}`;
  const first = all[names[0]!]!;
  return new Problem("schema-changed", {
    detail: say("fields-without-column", {
      n: names.length,
      dataset,
      fields: told.join("; "),
      how: own === null
        ? `etl dataset alter ${dataset} --add '${names[0]}:${first.type}'`
        : ownersAdvice(own, names[0]!, first.type),
    }),
    errors: names.map((field) => ({
      field,
      value: all[field]!.example,
      message: "has no column in the table",
      expected: `a column of type ${all[field]!.type}`,
    })),
  });
}

/** What makes room for a field in a table of the user's own. */
function ownersAdvice({ relation, owner, columns }: OwnTable, field: string, type: string): string {
  const name = columnName(field.replaceAll(".", "\\."), new Set());
  const known = columns.find((column) => column.name === field || column.name === name);
  return known?.generated ? say("table-generates", { column: known.name }) : say("owner-adds", {
    owner,
    table: relation,
    column: quoteIdent(name),
    type: sqlType(type),
  });
}

function shown(value: Json): string {
  const text = typeof value === "string" ? value : canonical.text(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** The types that the values of fields have, by path. */
export type TypesSeen = Record<string, string>;

/** How many values of a field have each type, and one of those that are text. */
export type KindsSeen = Record<string, { counts: Record<string, number>; text: string | null }>;

/** Of values of another type at most one in so many is text where that is told. */
const FEW = 10;

/** Types without values yet: null in every record. */
const NONE = "none";

const readers = new Map(
  ["integer", "numeric", "date", "timestamptz"].map((type) => [
    type,
    valueReader({ name: "x", path: "x", type }),
  ]),
);

function fits(type: string, value: Json, digits?: string): boolean {
  try {
    return readers.get(type)!(value, digits) !== null;
  } catch (error) {
    if (error instanceof CellFault) return false;
    throw error;
  }
}

function knownType(types: Record<string, string> | undefined, name: string): string | undefined {
  if (types === undefined || !Object.hasOwn(types, name)) return undefined;
  return types[name] === BYTES ? "text" : types[name];
}

const DASH = 45;

/** The narrowest type that holds a value as it is. */
function typeOf(value: Json, digits: string | undefined): string {
  switch (typeof value) {
    case "number":
    case "bigint":
      if (digits === undefined && Number.isSafeInteger(value)) return "integer";
      return (digits === undefined || !digits.includes(".")) && fits("integer", value, digits)
        ? "integer"
        : "numeric";
    case "boolean":
      return "boolean";
    case "string":
      // most text begins with no year
      if (value.charCodeAt(4) !== DASH || !/^\d{4}-\d\d-\d\d/.test(value)) return "text";
      if (/^\d{4}-\d\d-\d\d$/.test(value)) return fits("date", value) ? "date" : "text";
      return fits("timestamptz", value) ? "timestamptz" : "text";
    default:
      return "jsonb";
  }
}

/** The narrowest type that holds the values of two. */
function joined(a: string, b: string): string {
  if (a === b || b === NONE) return a;
  if (a === NONE) return b;
  if (/^(?:integer|numeric)/.test(a) && /^(?:integer|numeric)/.test(b)) return "numeric";
  const both = [a, b].sort().join();
  if (both === "date,timestamptz") return "timestamptz";
  return a === "jsonb" || b === "jsonb" ? "jsonb" : "text";
}

/** Looks at the values of records, for the columns of a typed table. */
export class TypeProposer {
  // fields may have any name, such as those of Object.prototype
  readonly seen: TypesSeen = Object.create(null);
  readonly kinds: KindsSeen = Object.create(null);
  readonly #paths: { path: string; read: (record: SourceRecord) => Json | undefined }[];
  readonly #keys: Set<string>;

  /** `keys` and other `paths` get a column of their own although they are nested. */
  constructor(keys: string[], others: string[] = []) {
    const paths = [...keys, ...others];
    this.#keys = new Set(keys);
    this.#paths = paths.filter((path) => parsePath(path).length > 1)
      .map((path) => ({ path, read: fieldReader(path) }));
  }

  /**
   * `types` are those that the source has for its columns: then values say nothing of them. Of a record of `cells` a key
   * with decimals is text, as a number would make one key of 1.10 and 1.1.
   */
  observe(
    payload: SourceRecord,
    { types, cells = false }: { types?: Record<string, string> | undefined; cells?: boolean } = {},
  ): void {
    const digits = digitsOf(payload);
    for (const field of Object.keys(payload)) {
      const path = field.includes(".") ? field.replaceAll(".", "\\.") : field;
      const type = knownType(types, field);
      if (type === undefined) {
        const isCode = cells && this.#keys.has(path);
        this.#note(path, payload[field]!, { digits: digits?.[field], isCode });
      } else this.seen[path] = this.seen[path] === undefined ? type : joined(this.seen[path], type);
    }
    for (const { path, read } of this.#paths) this.#note(path, read(payload) ?? null);
  }

  #note(
    path: string,
    value: Json,
    { digits, isCode = false }: { digits?: string | undefined; isCode?: boolean } = {},
  ): void {
    const known = this.seen[path];
    // nothing is wider
    if (known === "jsonb") return;
    const type = value === null || value === "" ? NONE : typeOf(value, digits);
    if (type !== NONE) {
      const kinds = this.kinds[path] ??= { counts: {}, text: null };
      kinds.counts[type] = (kinds.counts[type] ?? 0) + 1;
      if (type === "text") kinds.text ??= shown(value);
    }
    // an integer has one text
    const wide = isCode && type === "numeric" && typeof value === "number" ? "text" : type;
    this.seen[path] = known === undefined ? wide : joined(known, wide);
  }
}

/** The types that the parts of a source have together, by path. */
export function joinTypes(parts: TypesSeen[]): TypesSeen {
  const all: TypesSeen = Object.create(null);
  for (const part of parts) {
    for (const [path, type] of Object.entries(part)) {
      all[path] = all[path] === undefined ? type : joined(all[path], type);
    }
  }
  return all;
}

/** Columns that became text for a few values, of which nobody was asked: what it would take to have them otherwise. */
export function fewTextsWarnings(
  columns: TypedColumn[],
  parts: KindsSeen[],
  conf: ColumnsConf,
): Message[] {
  return columns.flatMap(({ name, path, type }) => {
    const plain = path.replaceAll("\\.", ".");
    if (type !== "text" || Object.hasOwn(conf.columns ?? {}, plain)) return [];
    const counts: Record<string, number> = {};
    let text: string | null = null;
    for (const part of parts) {
      const kinds = Object.hasOwn(part, path) ? part[path]! : undefined;
      text ??= kinds?.text ?? null;
      for (const [kind, n] of Object.entries(kinds?.counts ?? {})) {
        counts[kind] = (counts[kind] ?? 0) + n;
      }
    }
    const { text: texts = 0, ...others } = counts;
    const all = Object.values(others).reduce((sum, n) => sum + n, 0);
    if (texts === 0 || texts * FEW > all) return [];
    const wanted = Object.keys(others).reduce(joined);
    return [
      say("few-texts", {
        column: name,
        texts,
        n: texts + all,
        example: text ?? "",
        type: wanted,
        columns: JSON.stringify({ [plain]: wanted }).replace('":"', '": "'),
      }),
    ];
  });
}

/**
 * Columns for the fields that were seen, in their order: declared ones as they are declared, the others of the
 * narrowest type that holds what was seen.
 */
export function proposeTable(
  seen: TypesSeen,
  { conf, taken = [], keep = [] }: {
    conf: ColumnsConf;
    /** Columns that are there already. */
    taken?: TypedColumn[];
    /** Paths that must have a column. */
    keep?: string[];
  },
): TypedColumn[] {
  const declared = new Map(
    Object.entries(conf.columns ?? {}).map(([name, column]) => [
      name.replaceAll(".", "\\."),
      typeof column === "string" ? { type: column } : column,
    ]),
  );
  const typeOf = (path: string) => {
    const column = declared.get(path);
    return column !== undefined && "type" in column ? plainType(column.type) : undefined;
  };
  const there = new Set(taken.map(({ path }) => path));
  const names = new Set(taken.map(({ name }) => name));
  const numbers = new Map<string, number>();
  const paths = [...new Set([...Object.keys(seen), ...declared.keys(), ...keep])];
  return paths.filter((path) => !there.has(path)).map((path) => {
    const type = typeOf(path) ?? (!Object.hasOwn(seen, path) || seen[path] === NONE
      ? "text"
      // a key that is text in one record and a number in another is text
      : seen[path]!);
    const name = declared.get(path)?.column ?? columnName(path, names, numbers);
    names.add(name);
    return { name, path, type };
  });
}

/**
 * Columns of a table of the user's own for fields: the one that the conf names, that of the field's own name, or of the name
 * that a new column would have. Fields without one are left out, and columns that no run writes.
 *
 * @throws {Problem} `invalid-conf` for a column that the conf names and the table does not have.
 */
export function mapOnto(
  { relation, columns }: OwnTable,
  paths: string[],
  { conf, taken = [] }: { conf: ColumnsConf; taken?: TypedColumn[] },
): TypedColumn[] {
  const open = new Map(
    columns.filter(({ generated }) => !generated).map(({ name, type }) => [name, type]),
  );
  for (const { name } of taken) open.delete(name);
  const named = new Map(
    Object.entries(conf.columns ?? {}).flatMap(([field, column]) =>
      typeof column !== "string" && column.column !== undefined
        ? [[field.replaceAll(".", "\\."), column.column] as const]
        : []
    ),
  );
  const there = new Set(taken.map(({ path }) => path));
  const asked = [...new Set([...named.keys(), ...paths])].filter((path) => !there.has(path));
  return asked.flatMap((path) => {
    const wanted = named.get(path);
    const candidates = wanted === undefined
      ? [parsePath(path).join("."), columnName(path, new Set())]
      : [wanted];
    const name = candidates.find((candidate) => open.has(candidate));
    if (name === undefined) {
      if (wanted === undefined) return [];
      const known = columns.find((column) => column.name === wanted);
      throw new Problem("invalid-conf", {
        detail: say("field-no-place", {
          field: path,
          column: wanted,
          table: relation,
          why: known === undefined
            ? say("has-no-such-column", {})
            : known.generated
            ? say("generates-it", {})
            : say("has-another-there", {}),
        }),
        errors: [{
          field: `source.columns.${path}.column`,
          value: wanted,
          message: "is no column",
        }],
      });
    }
    const type = open.get(name)!;
    open.delete(name);
    return [{ name, path, type }];
  });
}

/** The key of a table of the user's own where the conf names none: its primary key, if the records have its fields. */
export function primaryKeyOf(
  { keys: [primary] }: OwnTable,
  columns: TypedColumn[],
): string[] | null {
  const paths = primary?.map((name) => columns.find((column) => column.name === name)?.path) ?? [];
  return paths.length > 0 && paths.every((path) => path !== undefined) ? paths : null;
}

/** A dataset over a table of the user's own, with the types and casts that the table has now. */
export function onOwnTable(table: TypedTable, own: OwnTable): TypedTable {
  const types = new Map(own.columns.map(({ name, type }) => [name, type]));
  const columns = table.columns.map((column) => ({
    ...column,
    type: types.get(column.name) ?? column.type,
  }));
  const casts = castsOf(own, columns);
  for (const { name, path } of table.key === null ? [] : keyColumns({ ...table, columns })) {
    if (!Object.hasOwn(casts, name) || casts[name]!.key !== null) continue;
    const { base } = casts[name]!;
    const place = { field: path, column: name, table: own.relation };
    const isKey = Object.hasOwn(KEYS, base);
    throw new Problem("invalid-conf", {
      detail: isKey ? say("key-folds", place) : say("key-type-refused", { ...place, type: base }),
      errors: [{
        field: "source.key",
        value: table.key,
        message: "is not a value that can identify rows",
      }],
    });
  }
  return { ...table, own: true, columns, casts };
}

/** A type in the one form in which it is stored. */
export function plainType(type: string): string {
  const bare = type.replaceAll(" ", "");
  return bare === "number" ? "numeric" : bare === "bigint" ? "integer" : bare;
}

const encoder = new TextEncoder();
/** Columns that every table of PostgreSQL has. */
const SYSTEM = new Set(["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"]);

/** A name that needs no quotes in SQL, where that can be: `Release Date` is `release_date`. */
function columnName(
  path: string,
  taken: Set<string>,
  /** Of names that are taken, the number to try next: thousands of fields may have one name as columns. */
  numbers = new Map<string, number>(),
): string {
  let name = parsePath(path).join("_").replace(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase()
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+/g, "_").replace(/^_+|_+$/g, "");
  if (name === "" || /^\d/.test(name)) name = `c_${name}`;
  if (SYSTEM.has(name) || name.startsWith("etl_")) name = `c_${name}`;
  if (encoder.encode(name).length > 55) {
    name = `${name.slice(0, 12)}_${hash("sha256", path, "hex").slice(0, 8)}`;
  }
  let free = name;
  for (let i = numbers.get(name) ?? 2; taken.has(free); i++) {
    free = `${name}_${i}`;
    numbers.set(name, i + 1);
  }
  return free;
}
