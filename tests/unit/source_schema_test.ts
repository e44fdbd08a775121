import assert from "node:assert/strict";
import { parseS3Url, sourceSchema } from "../../pipeline/sources/schema.ts";
import { RAW_LIMIT, refuseManySlices, unreadable } from "../../pipeline/sources/source.ts";
import { say } from "../../vocabulary/messages.ts";
import { Problem } from "../../vocabulary/problem.ts";

/** The paths of what is wrong with a source, and in which words. */
const wrongOf = (source: object) =>
  (sourceSchema.safeParse(source).error?.issues ?? [])
    .map(({ path, message }) => `${path.join(".")}: ${message}`);

const assertTaken = (source: object) => assert.deepEqual(wrongOf(source), []);

function assertRefused(source: object, ...fields: string[]): void {
  assert.deepEqual(wrongOf(source).map((each) => each.split(":")[0]), fields);
}

Deno.test("what a source leaves out is as the documents say", () => {
  const sources = [
    [{ type: "synthetic" }, { seed: 0 }],
    [{ type: "postgres", connection: "shop" }, { cursor_mode: "window", cursor_sortable: false }],
    [{ type: "module", name: "rest" }, { config: {}, connections: [], timeout_ms: 60_000 }],
  ] as const;
  for (const [given, rest] of sources) {
    assert.deepEqual(sourceSchema.parse(given), { ...given, ...rest });
  }
  const { occurred_at } = sourceSchema.parse({ type: "inline", occurred_at: { field: "at" } });
  assert.deepEqual(occurred_at, { field: "at", format: "iso" });
});

Deno.test("a source has no more than one sign as delimiter, quote, escape or comment, and columns of different names", () => {
  const csv = { type: "file", path: "a.csv" };
  for (const name of ["delimiter", "quote", "escape", "comment"]) {
    assertTaken({ ...csv, [name]: "|" });
    for (const text of ["", "||"]) {
      assertRefused({ ...csv, [name]: text }, name);
    }
  }
  assertTaken({ ...csv, quote: false });
  assertTaken({ ...csv, header: ["a", "b"] });
  assert.match(wrongOf({ ...csv, header: ["a", "a"] }).join(), /^header: names must differ$/);
  assertRefused({ ...csv, skip_lines: -1 }, "skip_lines");
  assertRefused({ ...csv, kye: "id" }, "");
});

Deno.test("a key has at most 16 fields, and a path into a record is never empty", () => {
  const fields = Array.from({ length: 17 }, (_, i) => `f${i}`);
  assertTaken({ type: "inline", key: fields.slice(1) });
  assertRefused({ type: "inline", key: fields }, "key");
  for (const name of ["key", "occurred_at", "version"]) {
    assertTaken({ type: "inline", [name]: "x".repeat(512) });
    for (const path of ["", "x".repeat(513)]) assertRefused({ type: "inline", [name]: path }, name);
  }
});

Deno.test("the URL of an http source is whole, or follows its connection's, and hides nothing", () => {
  const http = (url: string, connection?: string) => ({ type: "http", url, connection });
  assertTaken(http("https://h.test/a.csv"));
  assertTaken(http("exports/day.csv", "shop"));
  assert.match(wrongOf(http("exports/day.csv")).join(), /^url: a whole URL/);
  assert.match(wrongOf(http("ftp://h.test/a", "shop")).join(), /^url: a URL that follows/);
  assert.match(wrongOf(http("https://h.test/a?key=***")).join(), /^url: has \*\*\*/);
  for (const name of ["Shop", "1shop", "shop-1", "x".repeat(64)]) {
    assertRefused(http("a", name), "connection");
  }
});

Deno.test("the URL of an s3 source has a bucket and a key", () => {
  assert.deepEqual(parseS3Url("s3://lake.of-1/a/b c*.csv"), {
    bucket: "lake.of-1",
    key: "a/b c*.csv",
  });
  assert.deepEqual(parseS3Url("s3://lake/a\nb"), { bucket: "lake", key: "a\nb" });
  for (
    const url of [
      "s3://lake",
      "s3://lake/",
      "s3://a/b",
      "s3://-lake/a",
      "s3://lake-/a",
      "https://lake/a",
    ]
  ) {
    assert.equal(parseS3Url(url), undefined, url);
    assert.match(wrongOf({ type: "s3", url }).join(), /^url: s3:\/\/bucket\/key$/);
  }
});

Deno.test("a module source names its module, by its name where nothing else says it", () => {
  assertTaken({ type: "module", name: "rest" });
  assertTaken({ type: "module", module: "rest", name: "Orders of the shop" });
  assertRefused({ type: "module" }, "name");
  assertRefused({ type: "module", name: "Orders of the shop" }, "module");
  assertRefused({ type: "module", module: "../up" }, "module");
  const many = Array.from({ length: 9 }, (_, i) => `c${i}`);
  assertTaken({ type: "module", module: "rest", connections: many.slice(1) });
  assertRefused({ type: "module", module: "rest", connections: many }, "connections");
  for (const ms of [99, 3_600_001]) {
    assertRefused({ type: "module", module: "rest", timeout_ms: ms }, "timeout_ms");
  }
});

Deno.test("a record that cannot be read is told with its place, and with a bounded part of its text", () => {
  const at = { label: "a.csv", line: 12, byte: 340 };
  const told = (more: object, raw: string | Uint8Array = "x") =>
    unreadable("rule", say("not-utf8", {}), { at: { ...at, ...more }, raw });
  assert.match(told({}).message, /^line 12 of a\.csv: /);
  assert.match(told({ derived: true }).message, /^record 12 of a\.csv: /);
  assert.match(told({ line: undefined }).message, /^byte 340 of a\.csv: /);
  const long = "é".repeat(RAW_LIMIT + 1);
  assert.equal(told({}, long).raw.length, RAW_LIMIT);
  assert.equal(told({}, new TextEncoder().encode(long)).raw.length, RAW_LIMIT / 2);
  assert.equal(told({}, new Uint8Array([97, 0xff])).raw, "a\ufffd");
  assert.equal(told({}).field, null);
});

Deno.test("a plan of more than a million chunks is refused, with what would make fewer", () => {
  refuseManySlices(1_000_000);
  assert.throws(() => refuseManySlices(1_000_001), (error) => {
    assert.ok(error instanceof Problem);
    assert.match(error.message, /1,000,000/);
    return error.errors[0]!.field === "chunk_size";
  });
});
