import { createRequire } from "node:module";
import { datasetName } from "../consumers/consumer.ts";
import { storableJson } from "../../store/storable.ts";

/*
 * What a consumer hands over to the thread that has the connection, checked and
 * made plain in its host, before it crosses: that thread serves everybody else,
 * too, and would stand still while it reads hundreds of megabytes.
 */

/** Characters of a statement with its parameters. */
const MAX_STATEMENT_LENGTH = 16 * 1024 ** 2;
/** Bytes that a query may answer; it comes into the memory of the thread that has the connection. */
export const MAX_ANSWER_BYTES = 8 * 1024 ** 2;
/** Characters of the JSON that is kept of what a consumer answers. */
export const MAX_RESULT_LENGTH = 1024 ** 2;
/** Characters of a dataset's name: schema, table and what may stand before them. */
const MAX_DATASET_LENGTH = 200;
/** Names of the counts of an event. */
const MAX_COUNTS = 100;

/** A parameter as it is sent: as text, or bytes. */
export type Parameter = string | Uint8Array | null;

const require = createRequire(import.meta.url);
let driver: { prepareValue(value: unknown): Parameter } | undefined;

/** As the driver sends values. It is loaded for those only that are no simple ones: that takes longer than most consumers do. */
function prepareValue(value: unknown): Parameter {
  if (value === null || value === undefined) return null;
  if (typeof value !== "object") return String(value);
  driver ??= require("pg/lib/utils.js") as { prepareValue(value: unknown): Parameter };
  return driver.prepareValue(value);
}

/**
 * What a consumer gave to `db.query`: text and list of values, or an object of both.
 *
 * @throws {Error} in words for whoever wrote the consumer.
 */
export function statementOf(
  [query, given]: unknown[],
): { text: string; values: Parameter[] } {
  const { text, values = given } = typeof query === "string"
    ? { text: query }
    : (query ?? {}) as { text?: unknown; values?: unknown };
  if (typeof text !== "string") {
    throw new Error(
      `db.query() takes the statement as text, or { text, values }; it was given ${kindOf(query)}`,
    );
  }
  if (values !== undefined && values !== null && !Array.isArray(values)) {
    throw new Error(
      `db.query() takes the values of $1, $2, … as a list; it was given ${kindOf(values)}`,
    );
  }
  if (text.includes("\0")) throw new Error(`the statement of db.query() ${NUL}`);
  let length = text.length;
  const sent = ((values ?? []) as unknown[]).map((value, i) => {
    const parameter = parameterOf(value, i);
    length += parameter?.length ?? 0;
    return parameter;
  });
  if (length > MAX_STATEMENT_LENGTH) {
    throw new Error(
      `a statement of db.query() has at most ${mib(MAX_STATEMENT_LENGTH)} with its parameters, ` +
        `and this one has ${mib(length)}: write in several calls`,
    );
  }
  return { text, values: sent };
}

function parameterOf(value: unknown, i: number): Parameter {
  const which = `parameter $${i + 1} of db.query()`;
  if (typeof value === "function" || typeof value === "symbol") {
    throw new Error(`${which} is ${kindOf(value)}, which the database cannot be sent`);
  }
  let parameter: Parameter;
  try {
    // `undefined` where an object's toJSON has nothing to say
    parameter = prepareValue(value) ?? null;
  } catch (error) {
    throw new Error(`${which} cannot be sent: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof parameter === "string" && parameter.includes("\0")) throw new Error(`${which} ${NUL}`);
  return parameter;
}

const NUL =
  "holds a NUL character, which PostgreSQL's text cannot: take it out, or send bytes to a column of type bytea";

/**
 * What a consumer gave to `emit`.
 *
 * @throws {Error} in words for whoever wrote the consumer.
 */
export function emissionOf(
  name: unknown,
  given: unknown = {},
): { dataset: string; counts: Record<string, number> } {
  if (typeof name !== "string") {
    throw new Error(`emit() takes a dataset as "schema.table"; it was given ${kindOf(name)}`);
  }
  if (name.length > MAX_DATASET_LENGTH) {
    throw new Error(`emit() takes a dataset as "schema.table"; it was given ${shown(name)}`);
  }
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new Error(
      `emit() takes counts as an object, e.g. { inserted: 7 }; it was given ${kindOf(given)}`,
    );
  }
  const counts = Object.entries(given);
  if (counts.length > MAX_COUNTS) {
    throw new Error(`emit() takes at most ${MAX_COUNTS} counts; it was given ${counts.length}`);
  }
  for (const [count, value] of counts) {
    if (typeof value !== "number" || !Number.isFinite(value)) {
      const what = typeof value === "number" ? String(value) : kindOf(value);
      throw new Error(`emit() takes numbers as counts, and ${shown(count)} is ${what}`);
    }
    if (count.length > 100 || count.includes("\0")) {
      throw new Error(`emit() takes names of at most 100 characters, without NUL, for counts`);
    }
  }
  return { dataset: datasetName(name), counts: Object.fromEntries(counts) };
}

/**
 * What is kept of a consumer's answer: JSON; null where it answered nothing.
 *
 * @throws {Error} in words for whoever wrote the consumer.
 */
export function resultText(result: unknown): string | null {
  if (result === undefined) return null;
  let text: string | undefined;
  try {
    text = JSON.stringify(result);
  } catch (error) {
    throw new Error(
      `what the consumer answers is kept as JSON, and cannot be written so: ${
        error instanceof Error ? error.message : error
      }`,
    );
  }
  if (text === undefined) return null;
  if (text.length > MAX_RESULT_LENGTH) {
    throw new Error(
      `what the consumer answers is kept with the delivery, at most ${mib(MAX_RESULT_LENGTH)} of ` +
        `JSON, and this has ${
          mib(text.length)
        }: write it into a table with db.query(), and answer how much it was`,
    );
  }
  if (text.includes("\\u") && storableJson(JSON.parse(text)) !== text) {
    throw new Error(
      `what the consumer answers holds a NUL character or half of a surrogate pair, which PostgreSQL's jsonb cannot: take it out`,
    );
  }
  return text;
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return shown(value);
  return Array.isArray(value)
    ? "a list"
    : typeof value === "object"
    ? "an object"
    : `a ${typeof value}`;
}

const shown = (text: string) => `"${text.length > 60 ? `${text.slice(0, 60)}…` : text}"`;

const mib = (size: number) => `${Math.ceil(size / 1024 ** 2 * 10) / 10} MiB`;
