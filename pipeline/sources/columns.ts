import { type Message, say } from "../../vocabulary/messages.ts";
import { z } from "zod";
import { strptimeIso, strptimeParser } from "../strptime.ts";
import { Canonicalizer } from "../canonical.ts";
import { parsePath } from "../field_path.ts";
import { digitsOf, ExactNumber, numberText, put, setDigits } from "../numbers.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { toUtcText } from "../timestamps.ts";
import { parseJsonValue } from "./json_text.ts";
import { repeatedNameOf } from "./repeated_names.ts";
import { CellFault, setCell, setNumber } from "./local/csv_values.ts";
import { type Json, type SourceRecord, Unreadable } from "./source.ts";

/**
 * The types of columns, one vocabulary with the typed views (sql/datasets/typed_views.sql); `number` is
 * `numeric` and `bigint` is `integer`.
 */
const TYPE =
  /^(?:text|integer|bigint|number|boolean|date|timestamptz|jsonb|numeric(?:\( *([1-9]\d{0,3}) *(?:, *(\d{1,4}) *)?\))?)$/;

const columnType = z.string().max(40).regex(
  TYPE,
  "text, integer, numeric, numeric(p,s), boolean, date, timestamptz or jsonb",
).describe("text, integer, numeric, numeric(p,s), boolean, date, timestamptz or jsonb");

const words = z.array(z.string().max(200)).max(100);
const sign = z.string().length(1);

const tableColumn = z.string().min(1).max(63).regex(/^(?!_etl_)/, "the name of a column")
  .describe("the column of a typed table that holds the field; default: named after the field");

const columnSchema = z.union([
  columnType,
  z.strictObject({ column: tableColumn }),
  z.strictObject({
    type: columnType,
    column: tableColumn.optional(),
    format: z.string().min(1).max(100).optional().describe(
      "of a date or timestamptz, as in Python's strptime: %d/%m/%Y; default: ISO 8601",
    ),
    decimal: sign.optional().describe('what separates the fraction of a number; default "."'),
    thousands: sign.optional().describe("what groups the digits of a number; default: nothing"),
    null_values: words.optional().describe("texts that are null in this column"),
    true_values: words.optional().describe("texts that are true; default: true, t, yes, y, on, 1"),
    false_values: words.optional().describe(
      "texts that are false; default: false, f, no, n, off, 0",
    ),
  }),
]);

/** Members of a source that say what its columns hold. */
export const columnsShape = {
  columns: z.record(z.string().min(1).max(512), columnSchema).optional().describe(
    'types of columns, by name: {"price": "numeric(12,2)", "sold": {"type": "date", "format": "%d/%m/%Y"}, "No.": {"column": "number"}}',
  ),
  null_values: words.optional().describe(
    "texts that are null in every column; an empty cell always is",
  ),
  true_values: words.optional().describe("texts that are true in columns declared boolean"),
  false_values: words.optional().describe("texts that are false in columns declared boolean"),
};

export interface ColumnsConf {
  columns?: Record<string, z.infer<typeof columnSchema>> | undefined;
  null_values?: string[] | undefined;
  true_values?: string[] | undefined;
  false_values?: string[] | undefined;
}

/** Puts the value of a cell that is not null into a record. Throws CellFault. */
type PutText = (record: SourceRecord, name: string, text: string) => void;

/** What a conf says of columns, and whether records of CSV are given by their cells. */
export type DeclaringConf = ColumnsConf & {
  cells?: boolean | undefined;
  read_columns?: boolean | undefined;
};

/**
 * What a conf says of values that a typed table's columns do not say again: later confs may leave it out. Of the `key`, paths of
 * fields, also that it has a type: nobody may have said so of a column that has it. Null where it says nothing of the kind.
 */
export function readingOf(conf: DeclaringConf, key: string[] = []): DeclaringConf | null {
  const keys = new Set(key.map((path) => parsePath(path).join(".")));
  const { columns = {}, null_values, true_values, false_values, read_columns } = conf;
  const saying = Object.entries(columns).filter(([field, column]) =>
    keys.has(field) ||
    (typeof column === "string"
      ? column === "jsonb"
      : Object.keys(column).some((name) => name !== "type" && name !== "column") ||
        "type" in column && column.type === "jsonb")
  );
  const rest = Object.fromEntries(
    Object.entries({ null_values, true_values, false_values, read_columns })
      .filter(([, value]) => value !== undefined),
  );
  if (saying.length === 0 && Object.keys(rest).length === 0) return null;
  return { ...rest, columns: Object.fromEntries(saying) };
}

/** The declared columns of a source, compiled. */
export interface Columns {
  /** Puts a cell's text into the record; undefined for a column that is not declared. */
  of(name: string): PutText | undefined;
  /** Whether a text is null in every column. */
  isNull: ((text: string) => boolean) | undefined;
  names: string[];
}

/**
 * Compiles a source's declarations; undefined where there are none.
 *
 * @throws {Problem} `invalid-conf` for a format that cannot be read.
 */
export function compileColumns(conf: ColumnsConf): Columns | undefined {
  const { columns = {}, null_values: nulls = [] } = conf;
  const types = Object.entries(columns).flatMap(([name, column]) => {
    if (typeof column === "string") return [[name, { type: column }] as const];
    return "type" in column ? [[name, column] as const] : [];
  });
  const names = types.map(([name]) => name);
  if (names.length === 0 && nulls.length === 0) return undefined;
  const puts = new Map(types.map(([name, column]) => [name, putter(name, column, conf)]));
  const nullSet = new Set(nulls);
  return {
    of: (name) => puts.get(name),
    isNull: nulls.length === 0 ? undefined : (text) => nullSet.has(text),
    names,
  };
}

/** Member of a JSON object that holds a record's cells, for a replay; nothing that jsonb could hold has this name. */
export const CELLS = "\0cells";

/** The names and texts of a record's cells. */
export type Cells = [string, string][];

/** The cells of a record as JSON, which `replayedCells` reads back. */
export function cellsJson(names: string[], texts: string[]): string {
  return JSON.stringify({ [CELLS]: names.map((name, i) => [name, texts[i]]) });
}

/** The record of cells that `cellsJson` wrote; any other record as it is. */
export function replayedCells(
  record: SourceRecord,
  columns: Columns | undefined,
): SourceRecord | Unreadable {
  const cells = record[CELLS] as Cells | undefined;
  if (cells === undefined) return record;
  const names = cells.map(([name]) => name);
  const texts = cells.map(([, text]) => text);
  try {
    return cellsRecord(names, texts, {
      puts: names.map((name) => columns?.of(name)),
      isNull: columns?.isNull,
    });
  } catch (error) {
    if (!(error instanceof CellFault)) throw error;
    return new Unreadable(error.rule, error.message, JSON.stringify(record), error.field);
  }
}

/** Some fields of a record as it was kept when it was rejected, read as the others would have been. */
export function rereadFields(
  record: SourceRecord,
  names: ReadonlySet<string>,
  columns: Columns | undefined,
): SourceRecord | Unreadable {
  const cells = record[CELLS] as [string, string][] | undefined;
  if (cells !== undefined) {
    return replayedCells({ [CELLS]: cells.filter(([name]) => names.has(name)) }, columns);
  }
  for (const name of Object.keys(record)) if (!names.has(name)) delete record[name];
  return columns === undefined ? record : readColumns(record, columns);
}

/**
 * A record of text cells: declared ones as they are declared, any other by itself.
 *
 * @throws {CellFault} for a cell that does not fit.
 */
export function cellsRecord(
  names: string[],
  texts: string[],
  { puts, isNull }: {
    puts: (PutText | undefined)[];
    isNull: ((text: string) => boolean) | undefined;
  },
): SourceRecord {
  const record: SourceRecord = {};
  for (let i = 0; i < names.length; i++) {
    const text = texts[i]!;
    const name = names[i]!;
    const put = puts[i];
    if (isNull !== undefined && isNull(text)) record[name] = null;
    else if (put === undefined) setCell(record, name, text);
    else if (text === "") record[name] = null;
    else put(record, name, text);
  }
  return record;
}

/**
 * Reads the declared columns of a record that is not made of text cells (JSON, Parquet): text as a cell is read,
 * numbers and booleans as what they say.
 */
export function readColumns(record: SourceRecord, columns: Columns): SourceRecord | Unreadable {
  const digits = digitsOf(record);
  const read: SourceRecord = {};
  try {
    for (const name of columns.names) {
      if (!Object.hasOwn(record, name) || record[name] === null) continue;
      const value = record[name]!;
      const put = columns.of(name)!;
      if (value === "" || (typeof value === "string" && columns.isNull?.(value))) {
        read[name] = null;
      } else if (typeof value === "object") putObject(read, name, value, put);
      else {
        put(read, name, typeof value === "number" ? numberText(value, digits?.[name]) : `${value}`);
      }
    }
  } catch (error) {
    if (!(error instanceof CellFault)) throw error;
    return new Unreadable(error.rule, error.message, new Canonicalizer().text(record), error.field);
  }
  if (columns.isNull !== undefined) {
    for (const [name, value] of Object.entries(record)) {
      if (typeof value === "string" && columns.isNull(value)) record[name] = null;
    }
  }
  const fresh = digitsOf(read);
  for (const [name, value] of Object.entries(read)) {
    record[name] = value;
    if (digits !== undefined) delete digits[name];
    if (fresh?.[name] !== undefined) setDigits(record, name, fresh[name]);
  }
  return record;
}

/** A list or an object fits jsonb only. */
function putObject(record: SourceRecord, name: string, value: Json, put: PutText): void {
  if (put === putJson) return;
  put(record, name, JSON.stringify(value, (_key, v) => typeof v === "bigint" ? `${v}` : v));
  record[name] = value;
}

function putter(name: string, column: Column, conf: ColumnsConf): PutText {
  const put = typed(name, column, conf);
  const nulls = new Set(column.null_values ?? []);
  if (nulls.size === 0) return put;
  return (record, field, text) => {
    if (nulls.has(text)) record[field] = null;
    else put(record, field, text);
  };
}

type Column = Extract<z.infer<typeof columnSchema>, { type: string }>;

function typed(name: string, column: Column, conf: ColumnsConf): PutText {
  const { type, format, decimal, thousands } = column;
  switch (type) {
    case "text":
      return (record, field, text) => void (record[field] = text);
    case "jsonb":
      return putJson;
    case "boolean":
      return booleans(column, conf);
    case "date":
      return times(
        name,
        type,
        format,
        (iso) => /T00:00:00$|^.{10}$/.test(iso) ? iso.slice(0, 10) : null,
      );
    case "timestamptz":
      return times(name, type, format, (iso) => toUtcText(iso));
    default:
      return numbers(name, type, { decimal: decimal ?? ".", thousands });
  }
}

function misfit(column: string, message: Message): CellFault {
  return new CellFault("column_type", column, message);
}

/** A cell as an error shows it. */
function shown(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

function putJson(record: SourceRecord, field: string, text: string): void {
  let value;
  try {
    value = parseJsonValue(text);
  } catch {
    throw misfit(field, say("no-json", { column: field, value: shown(text) }));
  }
  const twice = value instanceof ExactNumber ? undefined : repeatedNameOf(text, value);
  if (twice !== undefined) {
    throw misfit(
      field,
      say("json-name-twice", { column: field, value: shown(text), name: JSON.stringify(twice) }),
    );
  }
  put(record, field, value);
}

const TRUE = ["true", "t", "yes", "y", "on", "1"];
const FALSE = ["false", "f", "no", "n", "off", "0"];

function booleans(column: Column, conf: ColumnsConf): PutText {
  const trues = column.true_values ?? conf.true_values;
  const falses = column.false_values ?? conf.false_values;
  const isTrue = new Set(trues ?? TRUE);
  const isFalse = new Set(falses ?? FALSE);
  return (record, field, text) => {
    const word = text.trim();
    const lower = word.toLowerCase();
    if (isTrue.has(word) || (trues === undefined && isTrue.has(lower))) record[field] = true;
    else if (isFalse.has(word) || (falses === undefined && isFalse.has(lower))) {
      record[field] = false;
    } else {
      const [words, others] = [isTrue, isFalse].map((set) => [...set].join(", ")) as [
        string,
        string,
      ];
      throw misfit(field, say("no-boolean", { column: field, value: shown(text), words, others }));
    }
  };
}

function times(
  name: string,
  type: string,
  format: string | undefined,
  read: (iso: string) => string | null,
): PutText {
  const parse = format === undefined ? null : strptimeParser(format);
  if (parse !== null && strptimeIso(sampleOf(format!)) === null) {
    throw new Problem("invalid-conf", {
      detail: say("format-no-day", { name }),
      errors: [{
        field: `source.columns.${name}.format`,
        message: "must have a year, a month and a day",
        expected: "%Y-%m-%d, %d/%m/%Y, …",
      }],
    });
  }
  const sample = type === "date" ? "2026-01-31" : "2026-01-31T23:59:59Z";
  return (record, field, text) => {
    const trimmed = text.trim();
    const parts = parse?.(trimmed);
    const iso = parse === null ? trimmed : parts ? strptimeIso(parts) : null;
    // what no calendar has is no time either
    const value = iso !== null && toUtcText(iso) !== null ? read(iso) : null;
    if (value === null) {
      const what = { column: field, value: shown(text), type };
      throw misfit(
        field,
        format === undefined
          ? say("no-such-type", { ...what, sample })
          : say("no-such-form", { ...what, form: format }),
      );
    }
    if (BELOW_MICROSECONDS.test(trimmed)) {
      throw misfit(
        field,
        say("below-microseconds", { column: field, value: shown(text), type }),
      );
    }
    record[field] = value;
  };
}

/** A digit that says something after the sixth of a second. */
const BELOW_MICROSECONDS = /[.,]\d{6}\d*[1-9]/;

/** Parts that a format has, to see whether they make a day. */
function sampleOf(format: string): Record<string, string | undefined> {
  const has = (directive: string) => new RegExp(`(?:^|[^%])(?:%%)*%${directive}`).test(format);
  return {
    Y: has("Y") ? "2026" : undefined,
    y: has("y") ? "26" : undefined,
    j: has("j") ? "1" : undefined,
    m: has("m") ? "1" : undefined,
    b: has("b") ? "jan" : undefined,
    B: has("B") ? "january" : undefined,
    d: has("d") ? "1" : undefined,
  };
}

const BIGINT = { least: -(2n ** 63n), most: 2n ** 63n - 1n };
/** An exponent beyond this stays one, where a double holds the number: 1e41. */
const LONGEST_EXPANDED = 40;

function numbers(
  name: string,
  type: string,
  { decimal, thousands }: { decimal: string; thousands: string | undefined },
): PutText {
  if (decimal === thousands || /[\d+\-eE]/.test(decimal + (thousands ?? ""))) {
    throw new Problem("invalid-conf", {
      detail: say("signs-no-digits", { name }),
      errors: [{ field: `source.columns.${name}`, message: "decimal and thousands clash" }],
    });
  }
  const [, precision, scale = "0"] = TYPE.exec(type)!;
  const integer = type === "integer" || type === "bigint";
  const grouped = thousands === undefined ? null : groupedPattern(thousands, decimal);
  const plain = new RegExp(
    `^([+-]?)(?=\\d|${escaped(decimal)}\\d)(\\d*)(?:${
      escaped(decimal)
    }(\\d*))?(?:[eE]([+-]?\\d{1,3}))?$`,
  );
  const sample = integer
    ? "1234"
    : `${thousands === undefined ? "1234" : `1${thousands}234`}${
      precision !== undefined && scale === "0" ? "" : `${decimal}50`
    }`;
  return (record, field, text) => {
    let cell = text.trim();
    if (grouped?.test(cell)) cell = cell.replaceAll(thousands!, "");
    const match = plain.exec(cell);
    if (match === null) {
      throw misfit(field, say("no-such-type", { column: field, value: shown(text), type, sample }));
    }
    const number = normal(match);
    if (integer) {
      const [whole, fraction = ""] = number.split(".");
      const fits = !/[^0]/.test(fraction) && /^-?\d{1,19}$/.test(whole!) &&
        BigInt(whole!) >= BIGINT.least && BigInt(whole!) <= BIGINT.most;
      if (!fits) {
        throw misfit(
          field,
          say("no-such-bits", { column: field, value: shown(text), type, sample }),
        );
      }
      setNumber(record, field, whole === "-0" ? "0" : whole!);
      return;
    }
    if (precision !== undefined) {
      const [whole, fraction = ""] = number.replace("-", "").split(".");
      const digits = whole === "0" ? 0 : whole!.length;
      if (
        number.includes("e") || fraction.replace(/0+$/, "").length > Number(scale) ||
        digits > Number(precision) - Number(scale)
      ) {
        throw misfit(field, say("does-not-fit", { column: field, value: shown(text), type }));
      }
    }
    setNumber(record, field, number);
  };
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}

/** Digits in groups of three, or of two before the last (Indian). Nothing else: "1.5" is not 15. */
function groupedPattern(thousands: string, decimal: string): RegExp {
  const group = escaped(thousands);
  return new RegExp(
    `^[+-]?\\d{1,3}(?:(?:${group}\\d{3})+|(?:${group}\\d{2})+${group}\\d{3})(?:${
      escaped(decimal)
    }\\d*)?$`,
  );
}

/** A JSON number of the same digits: no plus, no zeros before, an exponent only beyond 40 digits. */
function normal([, sign, whole = "", fraction = "", exponent = "0"]: RegExpExecArray): string {
  const shift = Number(exponent);
  let digits = whole + fraction;
  let point = whole.length + shift;
  if (
    Math.abs(shift) > LONGEST_EXPANDED && Number.isFinite(Number(`${whole}.${fraction}e${shift}`))
  ) {
    const bare = whole.replace(/^0+(?=\d)/, "") || "0";
    return `${sign === "-" ? "-" : ""}${bare}${fraction === "" ? "" : `.${fraction}`}e${shift}`;
  }
  if (point < 0) {
    digits = "0".repeat(-point) + digits;
    point = 0;
  }
  digits = digits.padEnd(point, "0");
  const before = digits.slice(0, point).replace(/^0+(?=\d)/, "") || "0";
  const after = digits.slice(point);
  return `${sign === "-" ? "-" : ""}${before}${after === "" ? "" : `.${after}`}`;
}
