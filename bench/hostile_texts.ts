import process from "node:process";
import v8 from "node:v8";
import vm from "node:vm";
import * as parser from "libpg-query";
import { parseConf } from "../pipeline/conf_errors.ts";
import { statementsOf } from "../pipeline/consumers/sql_text.ts";
import { writesOnly } from "../pipeline/consumers/sql_writes.ts";
import { parseCondition } from "../pipeline/expectations/condition.ts";
import { compileSchema } from "../pipeline/expectations/json_schema.ts";
import { compileLike, compileRegex } from "../pipeline/expectations/regex.ts";
import { readSuite } from "../pipeline/expectations/expectations.ts";
import { SlotClock } from "../pipeline/schedules/cron.ts";
import { globMatcher } from "../pipeline/sources/file.ts";
import { glob } from "../pipeline/sources/list_tables.ts";
import { parseJson } from "../pipeline/sources/json_text.ts";
import { splitRecord } from "../pipeline/sources/local/csv_dialect.ts";
import { proposeTable } from "../pipeline/typed_rows.ts";
import { compileStrptime } from "../pipeline/strptime.ts";
import { excessOf } from "../routes/shared/body.ts";
import { csvText } from "../routes/shared/csv.ts";
import { slackMessage } from "../telemetry/integrations/slack.ts";

const MIB = 1 << 20;

/** Something that reads what others send, and the text of its kind that costs it most. */
export interface HostileText {
  name: string;
  /** Bytes that its route or its own check lets through; default 8 MiB. */
  maxBytes?: number;
  /** A text of about so many bytes. */
  text(bytes: number): string;
  /** Reads it; what it refuses, it refuses by an error. */
  read(text: string): unknown;
}

const filled = (unit: string, bytes: number) => unit.repeat(Math.ceil(bytes / unit.length));
const numbered = (bytes: number, item: (i: number) => string) => {
  const count = Math.ceil(bytes / item(99_999).length);
  return Array.from({ length: count }, (_, i) => item(i)).join(",");
};

/** A body as body_limits.ts and body.ts read it. */
function readBody(text: string): unknown {
  const excess = excessOf(new TextEncoder().encode(text));
  if (excess !== null) throw new RangeError(excess);
  return parseJson(text);
}

const body = (name: string, text: (bytes: number) => string): HostileText => ({
  name: `body: ${name}`,
  text,
  read: readBody,
});
const conf = (name: string, text: (bytes: number) => string): HostileText => ({
  name: `conf: ${name}`,
  text,
  read: (json) => parseConf(readBody(json)),
});
const suite = (name: string, text: (bytes: number) => string, maxBytes = 4 * MIB): HostileText => ({
  name: `suite: ${name}`,
  maxBytes,
  text,
  read: (json) => readSuite({ name: "x", expectations: [], ...readBody(json) as object }),
});
const DIALECT = { delimiter: ",", quote: '"', escape: '"', comment: undefined } as never;
const record = (name: string, unit: string): HostileText => ({
  name: `CSV record: ${name}`,
  text: (bytes) => filled(unit, bytes),
  read: (text) => splitRecord(text, DIALECT),
});

await parser.loadModule();
/** Every parser of a body, a conf, a suite, a pattern, and of what is written for others. */
export const HOSTILE_TEXTS: HostileText[] = [
  body("quotes that do not end", (n) => `token="${filled('\\"', n)}`),
  body("backslashes", (n) => `"${filled("\\\\", n)}`),
  body("numbers, one of them long", (n) => `[1234567890123456789${filled(",0", n)}]`),
  body("long integers", (n) => `[1${filled(",12345678901234567890", n)}]`),
  body("longest integers", (n) => `[1${filled(`,${"9".repeat(1000)}`, n)}]`),
  body("one integer", (n) => `[${filled("9", n)}]`),
  body("long decimals", (n) => `[1${filled(",1.2345678901234567890", n)}]`),
  body("exponents", (n) => `[1${filled(",1e300", n)}]`),
  body("brackets", (n) => filled("[", n)),
  body("brackets and quotes", (n) => filled('["', n)),
  body("names", (n) => `{${numbered(n, (i) => `"name${i}":1`)}}`),
  body("objects of many names", (n) => {
    const object = `{${numbered(100_000, (i) => `"n${i}":1`)}}`;
    return `[${object}${filled(`,${object}`, n)}]`;
  }),
  conf("unknown names", (n) => `{${numbered(n, (i) => `"batch_sise${i}":1`)}}`),
  conf(
    "unknown members",
    (n) => `{"source":{"type":"inline",${numbered(n, (i) => `"records${i}":1`)}}}`,
  ),
  conf(
    "a list of errors",
    (n) => `{"source":{"type":"postgres","page_key":[0${filled(",0", n)}]}}`,
  ),
  conf("a long text", (n) => `{"run_label":"${filled("://a", n)}@"}`),
  conf("slashes", (n) => `{"source":{"type":"http","url":"${filled("//", n)}"}}`),
  conf("half of a surrogate pair", (n) => `{"run_label":"${filled("\\\\ud800", n)}"}`),
  suite("unknown members", (n) => `{${numbered(n, (i) => `"expectatons${i}":1`)}}`),
  suite(
    "unknown expectations",
    (n) => `{"expectations":[${numbered(n, (i) => `{"type":"expect_column_vlues_${i}"}`)}]}`,
  ),
  suite(
    "unknown arguments",
    (n) =>
      `{"expectations":[{"type":"expect_column_values_to_be_unique","kwargs":{${
        numbered(n, (i) => `"colum${i}":1`)
      }}}]}`,
  ),
  suite(
    "values of a set",
    (n) =>
      `{"expectations":[{"type":"expect_column_values_to_be_in_set","kwargs":{"column":"a","value_set":[${
        numbered(n, (i) => `${i}`)
      }]}}]}`,
  ),
  {
    name: "schema: properties",
    maxBytes: 190_000,
    text: (n) => `{"properties":{${numbered(n, (i) => `"p${i}":{"type":"string"}`)}}}`,
    read: (json) => compileSchema(JSON.parse(json)),
  },
  {
    name: "schema: references that double",
    maxBytes: 190_000,
    text: (n) =>
      `{"$ref":"#/$defs/d0","$defs":{${
        numbered(n, (i) =>
          `"d${i}":{"anyOf":[{"$ref":"#/$defs/d${i + 1}"},{"$ref":"#/$defs/d${i + 1}"}]}`)
      }}}`,
    read: (json) => compileSchema(JSON.parse(json)),
  },
  { name: "pattern: repetitions", text: (n) => filled("(a|b)*c", n), read: compileRegex },
  { name: "pattern: groups", text: (n) => filled("(", n), read: compileRegex },
  { name: "pattern: counted", text: (n) => filled("a{1000}", n), read: compileRegex },
  { name: "pattern: classes", text: (n) => filled("[^a-z]", n), read: compileRegex },
  { name: "pattern: LIKE", text: (n) => filled("%_", n), read: (text) => compileLike(text) },
  { name: "pattern: time", text: (n) => filled("%Y", n), read: compileStrptime },
  {
    name: "pattern: glob",
    maxBytes: 1024,
    text: (n) => filled("*?", n),
    read: (text) => globMatcher(text)(filled("a", 64)),
  },
  {
    name: "pattern: tables",
    maxBytes: 2_000,
    text: (n) => `${filled("*a", n)}b`,
    read: (text) => glob(text)(filled("a", 63)),
  },
  {
    name: "names of columns",
    maxBytes: MIB,
    // each field would have the same
    text: (n) =>
      `{${
        numbered(n, (i) =>
          `"${(i + 1_000_000).toString(2).replaceAll("0", "!").replaceAll("1", "?")}":"text"`)
      }}`,
    read: (json) => proposeTable(JSON.parse(json), { conf: {} }),
  },
  {
    name: "SQL: statements of a consumer",
    maxBytes: 100_000,
    text: (n) => filled("select :run_id;\n", n),
    read: (sql) => statementsOf(parser, sql, { run_id: "uuid" }, writesOnly("public.t")),
  },
  {
    name: "condition: pandas",
    text: (n) => filled("(a == 1) and ", n),
    read: (text) => parseCondition(text),
  },
  {
    name: "condition: parentheses",
    text: (n) => filled("(", n),
    read: (text) => parseCondition(text),
  },
  {
    name: "cron",
    maxBytes: 200,
    text: (n) => filled("*/1,", n - 8) + "1 * * * *",
    read: (text) => new SlotClock(text, "UTC"),
  },
  {
    name: "time zone",
    maxBytes: 100,
    text: (n) => filled("Europe/", n),
    read: (text) => new SlotClock("@daily", text),
  },
  record("quotes", '"'),
  record("delimiters", ","),
  record("quotes and delimiters", '"",'),
  record("a field in quotes", '""'),
  {
    name: "answer: CSV",
    maxBytes: MIB,
    text: (n) => filled(";=", n),
    read: (text) => csvText(["a"], [{ a: text }]),
  },
  {
    name: "message: Slack",
    maxBytes: MIB,
    text: (n) => filled("*https://a.b`<@x>", n),
    read: (text) =>
      slackMessage([{
        id: "1",
        type: "raised",
        payload: {
          kind: "run_failed",
          subject: text,
          severity: "error",
          message: text,
          run_id: null,
          run_label: null,
          fingerprint: "f",
          opened_at: "",
          at: "",
          details: {},
        },
      }], "http://localhost"),
  },
];

// the collection of what was left behind before is nobody's time
v8.setFlagsFromString("--expose-gc");
const collectGarbage = vm.runInNewContext("gc") as () => void;

/**
 * Milliseconds of the processor that this thread takes to read a text `times` times in a row, in ticks of up to 10: the
 * best of `rounds`. Not the time of a clock, nor of the process, which say what else the machine and other tests do.
 */
export function readingMs(
  each: HostileText,
  bytes: number,
  { times = 1, rounds = 3 } = {},
): number {
  let best = Infinity;
  for (let round = 0; round < rounds; round++) {
    const texts = Array.from({ length: times }, () => each.text(bytes));
    const read: unknown[] = [];
    collectGarbage();
    const started = process.threadCpuUsage();
    for (const text of texts) {
      try {
        read.push(each.read(text));
      } catch {
        // most of it is to be refused
      }
    }
    const { user, system } = process.threadCpuUsage(started);
    best = Math.min(best, (user + system) / 1000);
  }
  return best;
}
