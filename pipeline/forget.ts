import { compileMapping } from "./mapping.ts";
import { normalNumber, type SourceRecord } from "./numbers.ts";
import { keyedHash } from "./private_fields.ts";
import { columnsOf, mappingOf } from "./sources/adapters.ts";
import { parsePath } from "./field_path.ts";
import { CELLS, type Cells, cellsRecord, compileColumns, rereadFields } from "./sources/columns.ts";
import { onOwnTable, RowShaper } from "./typed_rows.ts";
import { parseJson } from "./sources/json_text.ts";
import { isPacked } from "./sources/local/detect_format.ts";
import { Unreadable } from "./sources/source.ts";
import type { SourceConf } from "./sources/schema.ts";
import { Connection } from "../store/connection.ts";
import { errorCode, isTransient, passing } from "../store/errors.ts";
import {
  auditForgotten,
  datasetToForget,
  deleteComparisons,
  deleteQuarantined,
  deleteRows,
  deleteTombstones,
  deleteUpload,
  type ForgettingDataset,
  type ForgettingRecord,
  type ForgettingRun,
  ownTableOf,
  quarantinedOf,
  redactTexts,
  runsInto,
  uploadOf,
  uploadParts,
} from "../store/forget.ts";
import type { Client } from "../store/pg.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";

/** What was removed of a key, and what still has it or may have it. */
export interface Forgotten {
  dataset: string;
  rows: number;
  /** Rejected records, whatever became of them. */
  quarantine: number;
  /** Request bodies that held it, or could not be searched. */
  uploads: number;
  /** Notes that the key was deleted. */
  tombstones: number;
  /** Lines of runs' logs. */
  log_lines: number;
  /** Errors, warnings and results of runs in which it stood, and confs whose records were taken out. */
  texts: number;
  left: {
    /** Rows with the key that no run has written, and which are not changed. */
    foreign_rows: number;
    /** Rejected records that cannot be parsed and have the text of the key in them. */
    unreadable: number;
    /** Runs that are going on and may bring it back. */
    runs: string[];
    /** Request bodies that such a run still needs, and until when they are kept. */
    uploads: { upload_id: string; until: string }[];
    /** The key is so short that logs and errors were not searched. */
    short: boolean;
  };
}

/** Keys of fewer characters stand in too many texts that are of something else. */
const SEARCHED_FROM = 4;

/** Splits a key as messages show it: its parts with a `|` between them, `\|` for one in a part. */
export function partsOf(key: string, count: number): string[] | null {
  if (count === 1) return [key];
  const parts = key.match(/(?:[^\\|]|\\.)+/gs)?.map((part) => part.replace(/\\(.)/gs, "$1")) ?? [];
  return parts.length === count ? parts : null;
}

const escaped = (parts: string[]) =>
  parts.map((part) => part.replace(/[\\|]/g, (c) => `\\${c}`)).join("|");

const joined = (parts: string[]) => parts.length === 1 ? parts[0]! : escaped(parts);

/** What is to be forgotten, of which database. */
export interface Forgetting {
  dsn: string;
  dataset: string;
  key: string;
  /** Whether rejected records that cannot be parsed go, too, where they have the text in them. */
  unreadable: boolean;
  /** ETL_HASH_SECRET: a key that is hashed is given as it was read. */
  secret: string | null;
  actor: string;
}

/** As {@linkcode forgetKey}, on a connection of its own; `extra.locked` of its problem says that a client holds a lock. */
export async function forget({ dsn, ...wanted }: Forgetting): Promise<Forgotten> {
  const connection = new Connection(dsn, "etl-improved forget");
  try {
    return await forgetKey(connection, wanted);
  } catch (error) {
    if (error instanceof Problem || !isTransient(error)) throw error;
    const why = passing(error)?.words ?? say("connection-lost", {});
    throw new Problem("unavailable", {
      detail: say("nothing-forgotten", { why }),
      transient: true,
      extra: errorCode(error) === "55P03" ? { locked: true } : {},
    });
  } finally {
    await connection.close();
  }
}

/**
 * Removes one key of a dataset from whatever the installation keeps: the table, the quarantine, request bodies, notes of
 * deletions, logs and texts of runs; in one transaction, with an audit entry that does not hold the key.
 *
 * @throws {Problem} `not-found` for an unknown dataset, `invalid-conf` for what cannot be a key of it.
 */
async function forgetKey(
  connection: Connection,
  { dataset, key, unreadable, secret, actor }: Omit<Forgetting, "dsn">,
): Promise<Forgotten> {
  const options = { retry: { attempts: 1, initialMs: 0 }, statementTimeoutMs: 0 };
  return await connection.transaction(options, async (client) => {
    const target = await datasetToForget(client, dataset);
    if (target === null) {
      throw new Problem("not-found", {
        detail: say("no-dataset", { dataset }),
      });
    }
    if (target.declared?.own) {
      const own = await ownTableOf(client, target);
      if (own !== null) target.declared = onOwnTable(target.declared, own);
    }
    const runs = await runsInto(client, target);
    const shaper = shaperOf(target);
    const wanted = keysOf(key, { target, runs, secret, shaper });
    const removed = await rowsOf(client, target, wanted);
    const records = await forgetRecords(client, runs, { ...wanted, unreadable, shaper });
    const uploads = await forgetUploads(client, {
      runs,
      parts: wanted.parts,
      declared: target.declared,
    });
    await deleteComparisons(client, dataset);
    const tombstones = await deleteTombstones(client, dataset, wanted.eventIds);
    const searched = wanted.texts.filter((text) => text.length >= SEARCHED_FROM);
    let [lines, texts] = [0, 0];
    for (const text of new Set(searched.flatMap(toldAs))) {
      const told = await redactTexts(client, runs.map(({ run_id }) => run_id), {
        pattern: patternOf(text, "[[:alnum:]]"),
        // valid JSON, in a string and in the place of a number
        instead: /^-?\d/.test(text) ? "0" : "(forgotten)",
      });
      lines += told.lines;
      texts += told.texts;
    }
    const forgotten: Forgotten = {
      dataset,
      rows: removed.deleted,
      quarantine: records.deleted,
      uploads: uploads.deleted,
      tombstones,
      log_lines: lines,
      texts,
      left: {
        foreign_rows: removed.foreign,
        unreadable: records.left,
        runs: runs.filter(({ ended }) => !ended).map(({ run_id }) => run_id),
        uploads: uploads.left,
        short: searched.length < wanted.texts.length,
      },
    };
    const { left, ...counts } = forgotten;
    await auditForgotten(client, actor, {
      ...counts,
      left: { ...left, uploads: left.uploads.length },
      ...(secret === null ? {} : { key_hash: keyedHash(key, secret) }),
    });
    return forgotten;
  });
}

interface WantedKeys {
  /** As the events table has them. */
  eventIds: string[];
  /** The parts of the key, as read and, where fields of it are hashed, as stored. */
  parts: string[][];
  /** What to look for in texts. */
  texts: string[];
}

function keysOf(
  key: string,
  { target, runs, secret, shaper }: {
    target: ForgettingDataset;
    runs: ForgettingRun[];
    secret: string | null;
    shaper: RowShaper | null;
  },
): WantedKeys {
  const paths = target.declared === null
    ? keyPathsOf(runs[0]?.source)
    : target.history
    ? target.declared.key!.slice(0, -1)
    : target.declared.key ?? [""];
  const plain = partsOf(key, paths.length);
  if (plain === null) {
    throw new Problem("invalid-conf", {
      detail: say("key-parts", { n: paths.length, names: paths.join(", ") }),
      errors: [{ field: "key", message: `must have ${paths.length} parts` }],
    });
  }
  const hashed = new Set(Object.values(target.private ?? {}).flatMap(({ hash }) => hash));
  const stored = plain.map((part, i) =>
    secret !== null && hashed.has(paths[i]!) && !/^[0-9a-f]{64}$/.test(part)
      ? keyedHash(part, secret)
      : part
  );
  const both = joined(plain) === joined(stored) ? [plain] : [plain, stored];
  const asTable = both.flatMap((parts) => shaper?.keyOfText(joined(parts)) ?? []);
  return {
    eventIds: [
      ...new Set([
        key,
        ...both.map(joined),
        ...(target.history ? both.map(escaped) : []),
        ...asTable,
      ]),
    ],
    parts: both,
    texts: [...new Set(both.flat())],
  };
}

/** What gives keys the form in which a typed table has them, so that 007 and 7 are one; null for events. */
function shaperOf({ declared, history }: ForgettingDataset): RowShaper | null {
  if (declared?.key == null) return null;
  const key = history ? declared.key.slice(0, -1) : declared.key;
  return new RowShaper({ ...declared, key, history: false }, {
    quarantinesUnknown: false,
    maxPayloadBytes: Infinity,
  });
}

/** The paths of a key in a source; one where it has none. */
function keyPathsOf(source: Record<string, unknown> | undefined): string[] {
  const { key } = source === undefined ? {} : mappingOf(source as unknown as SourceConf);
  return key === undefined ? [""] : [key].flat();
}

async function rowsOf(client: Client, target: ForgettingDataset, wanted: WantedKeys) {
  try {
    return await deleteRows(client, target, wanted);
  } catch (error) {
    if (!/^22/.test(errorCode(error) ?? "")) throw error;
    throw new Problem("invalid-conf", {
      detail: say("key-no-value", {}),
      errors: [{ field: "key", message: "is of another type than the key" }],
    });
  }
}

async function forgetRecords(
  client: Client,
  runs: ForgettingRun[],
  wanted: WantedKeys & { unreadable: boolean; shaper: RowShaper | null },
): Promise<{ deleted: number; left: number }> {
  const matchers = new Map(runs.map((run) => [run.run_id, matcherOf(run, wanted)]));
  let deleted = 0;
  let left = 0;
  for await (const page of quarantinedOf(client, [...matchers.keys()])) {
    const gone: ForgettingRecord[] = [];
    for (const record of page) {
      const match = matchers.get(record.run_id)!(record);
      if (match === "is" || (match === "may" && wanted.unreadable)) gone.push(record);
      else if (match === "may") left++;
    }
    if (gone.length > 0) await deleteQuarantined(client, gone);
    deleted += gone.length;
  }
  return { deleted, left };
}

/** What says of a rejected record whether it is of a key: it is, it may be (unreadable, with its text), it is not. */
function matcherOf(
  { source, transform }: ForgettingRun,
  { eventIds, texts, parts, shaper }: WantedKeys & { shaper: RowShaper | null },
): (record: ForgettingRecord) => "is" | "may" | "no" {
  const ids = new Set(eventIds);
  const conf = source as unknown as SourceConf;
  const mapping = compileMapping(mappingOf(conf));
  const { key = [] } = mappingOf(conf);
  const names = new Set([key].flat().map((path) => parsePath(path)[0]!));
  const columns = compileColumns(columnsOf(conf));
  const isIt = (fields: SourceRecord): boolean => {
    const id = mapping.eventId?.(fields);
    return id !== undefined && (ids.has(id) || ids.has(shaper?.keyOfText(id) ?? id));
  };
  // as the run read it; where the key itself is what it could not read, as it stands there
  const found = (read: () => SourceRecord | Unreadable | null): boolean => {
    try {
      const fields = read();
      return fields !== null && !(fields instanceof Unreadable) && isIt(fields);
    } catch {
      // a record without a key
      return false;
    }
  };
  const patterns = texts.map((text) => new RegExp(patternOf(text, "[\\p{L}\\p{N}]"), "u"));
  const says = (text: string) => patterns.some((pattern) => pattern.test(text));
  return ({ record, raw, message }) => {
    const read = recordOf(record ?? raw);
    if (read === null) return says(raw) || says(message) ? "may" : "no";
    const declared = () => rereadFields(parseJson(record ?? raw) as SourceRecord, names, columns);
    if (found(declared) || found(() => read)) return "is";
    // a module of the user's may make the key of any field
    if (transform === null) return "no";
    const values = new Set<string>();
    collect(read, values);
    return parts.some((each) => each.every((part) => values.has(part))) ? "is" : "no";
  };
}

function recordOf(text: string): SourceRecord | null {
  try {
    const value = parseJson(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
    if (!Object.hasOwn(value, CELLS)) return value;
    const cells = value[CELLS] as Cells;
    return cellsRecord(cells.map(([name]) => name), cells.map(([, cell]) => cell), {
      puts: [],
      isNull: undefined,
    });
  } catch {
    return null;
  }
}

function collect(value: unknown, values: Set<string>): void {
  if (typeof value === "object" && value !== null) {
    for (const each of Object.values(value)) collect(each, values);
  } else if (typeof value === "number" || typeof value === "bigint") {
    values.add(normalNumber(`${value}`));
  } else if (value !== null) values.add(`${value}`);
}

/** A text as messages have it, also as a part of a longer key, and as those stand in JSON. */
function toldAs(text: string): string[] {
  return [text, escaped([text])].flatMap((form) => [form, JSON.stringify(form).slice(1, -1)]);
}

/** A pattern that finds a text where it stands alone: no `sign` of a word before or behind it, but for an escape of JSON. */
function patternOf(text: string, sign: string): string {
  const plain = text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  return `(?:(?<!${sign})|(?<=\\\\[bfnrt]))${plain}(?!${sign})`;
}

async function forgetUploads(
  client: Client,
  { runs, parts, declared }: Pick<WantedKeys, "parts"> & {
    runs: ForgettingRun[];
    declared: ForgettingDataset["declared"];
  },
): Promise<{ deleted: number; left: { upload_id: string; until: string }[] }> {
  const isAscii = parts.flat().every((part) => /^[\0-\x7f]*$/.test(part));
  const bodies = new Map<string, { searchable: boolean }>();
  for (const { source } of runs) {
    const { upload_id: id, encoding = "utf-8" } = source as {
      upload_id?: string;
      encoding?: string;
    };
    if (id === undefined) continue;
    const { searchable = true } = bodies.get(id) ?? {};
    // bytes of ASCII are the same in all of them but these
    const alike = encoding === "utf-8" || !encoding.startsWith("utf-16") && isAscii;
    bodies.set(id, {
      searchable: searchable && alike && !respells(source as unknown as SourceConf, declared),
    });
  }
  const left: { upload_id: string; until: string }[] = [];
  let deleted = 0;
  for (const [uploadId, { searchable }] of bodies) {
    const found = await uploadOf(client, uploadId);
    if (found === null) continue;
    const clears = searchable && !isPacked(found.head) &&
      !await holdsKey(uploadParts(client, uploadId), parts);
    if (clears) continue;
    if (found.needed) left.push({ upload_id: uploadId, until: found.until });
    else {
      await deleteUpload(client, uploadId);
      deleted++;
    }
  }
  return { deleted, left };
}

/** Whether values of the key are not read as they stand in a body, but for numbers: a day has many forms. */
function respells(source: SourceConf, declared: ForgettingDataset["declared"]): boolean {
  const { key = [] } = mappingOf(source);
  const { columns = {} } = columnsOf(source);
  const asRead = (type: string) => /^(?:text|integer|numeric.*)$/.test(type);
  return [key].flat().some((path) => {
    const conf = Object.hasOwn(columns, path) ? columns[path]! : "text";
    const type = declared?.columns.find((column) => column.path === path)?.type ?? "text";
    return typeof conf === "string"
      ? !asRead(conf) || !asRead(type)
      : Object.keys(conf).some((name) => !["type", "column"].includes(name)) || !asRead(type);
  });
}

/** Characters of a body that are looked at again with the next part: what a key may be long there. */
const OVERLAP = 8_192;
/** A number that is a value of its own: no part of a word, a day, a time or a path. */
const NUMBER =
  /(?<![\p{L}\p{N}][-.:/]?)[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,5})?(?![-.:/]?[\p{L}\p{N}])/gu;

/** Whether a body has all parts of one of the keys, as text (of JSON, of CSV) or as the same number. */
async function holdsKey(blocks: AsyncIterable<Uint8Array>, keys: string[][]): Promise<boolean> {
  const wanted = [...new Set(keys.flat())].map((text) => ({
    text,
    pattern: new RegExp(patternOf(text, "[\\p{L}\\p{N}]"), "u"),
    number: valueOf(text),
  }));
  const found = new Set<string>();
  const decoder = new TextDecoder();
  let tail = "";
  for await (const block of blocks) {
    const text = tail + decoder.decode(block, { stream: true });
    tail = text.slice(-OVERLAP);
    const open = wanted.filter((each) => !found.has(each.text));
    const forms = [text, text.replaceAll('""', '"'), withoutEscapes(text)];
    for (const each of open) {
      if (each.number === null && forms.some((form) => each.pattern.test(form))) {
        found.add(each.text);
      }
    }
    if (open.some(({ number }) => number !== null)) {
      const numbers = new Map(open.map(({ text, number }) => [number, text]));
      for (const form of [forms[0]!, forms[2]!]) {
        for (const [token] of form.matchAll(NUMBER)) {
          const same = numbers.get(valueOf(token));
          if (same !== undefined) found.add(same);
        }
      }
    }
    if (keys.some((parts) => parts.every((part) => found.has(part)))) return true;
  }
  return false;
}

/** A number in one form of its own, whatever its zeros, sign and exponent; null for what is none. */
function valueOf(text: string): string | null {
  const match = /^([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?$/.exec(text);
  if (match === null || match[2] + match[3]! === "") return null;
  const [, sign, whole, fraction, exponent = "0"] = match;
  const digits = `${whole}${fraction}`.replace(/^0+/, "");
  const short = digits.replace(/0+$/, "");
  if (short === "") return "0";
  return `${sign === "-" ? "-" : ""}${short}e${
    Number(exponent) - fraction!.length + digits.length - short.length
  }`;
}

const ESCAPES: Record<string, string> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/** JSON text with what was escaped in its strings. */
function withoutEscapes(text: string): string {
  return text.replace(
    /\\(?:u([0-9a-fA-F]{4})|(.))/g,
    (_, hex: string | undefined, c: string) =>
      hex === undefined ? ESCAPES[c] ?? c : String.fromCharCode(parseInt(hex, 16)),
  );
}
