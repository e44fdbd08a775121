import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { Problem } from "../../pipeline/problem.ts";
import { parseJson } from "../../pipeline/sources/json_text.ts";
import { jsonArrayToNdjson } from "../../pipeline/sources/local/json_document.ts";
import { type ReadAll, readAll, SourceFolder } from "../helpers/sources.ts";

async function read(content: string, conf: Record<string, unknown> = {}): Promise<ReadAll> {
  await using folder = await SourceFolder.create();
  await folder.write("a.json", content);
  return await readAll({ type: "file", path: "a.json", ...conf }, folder.ctx);
}

async function refused(content: string, conf: Record<string, unknown> = {}): Promise<string> {
  const error = await read(content, conf).then(() => assert.fail("was read"), (error) => error);
  assert.ok(error instanceof Problem, String(error?.stack ?? error));
  assert.equal(error.type, "source-unreadable");
  return error.message;
}

async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.slice(i, i + size);
}

Deno.test("jsonArrayToNdjson() gives every element unchanged, however the bytes arrive", async () => {
  const element = fc.jsonValue({ maxDepth: 3, stringUnit: "binary" });
  await fc.assert(
    fc.asyncProperty(
      fc.array(element, { maxLength: 6 }),
      fc.constantFrom(undefined, 1, "\t"),
      fc.integer({ min: 1, max: 40 }),
      fc.boolean(),
      async (elements, indent, size, nested) => {
        const document = nested
          ? { x: [1, { rows: [0] }], data: { "r.s": elements }, z: 1 }
          : elements;
        const bytes = new TextEncoder().encode("\ufeff" + JSON.stringify(document, null, indent));
        const lines = jsonArrayToNdjson(chunked(bytes, size), {
          recordsPath: nested ? "data.r\\.s" : "",
          label: "x",
          maxTokenBytes: 1_000_000,
        });
        const text = new TextDecoder().decode(
          new Uint8Array((await Array.fromAsync(lines)).flatMap((chunk) => [...chunk])),
        );
        const parsed = text.split("\n").slice(0, -1).map(parseJson);
        assert.deepEqual(parsed, parseJson(JSON.stringify(elements)));
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("JSON: an array, pretty-printed or not, keeps long integers", async () => {
  const { records, unreadable } = await read(
    ' [ {"a":\n12345678901234567890} ,\n{"b":"\\n"}, 7, [8] ] ',
  );
  assert.deepEqual(records, [{ a: 12345678901234567890n }, { b: "\n" }]);
  assert.deepEqual(unreadable.map(({ rule }) => rule), ["not_an_object", "not_an_object"]);
});

Deno.test("JSON: records_path leads to an array inside the document", async () => {
  const document = '{"meta":{"features":[{"wrong":1}]},"features":[{"id":1},{"id":2}],"bbox":[1]}';
  assert.deepEqual((await read(document, { records_path: "features" })).records, [
    { id: 1 },
    { id: 2 },
  ]);
  assert.deepEqual((await read(document, { records_path: "meta.features" })).records, [
    { wrong: 1 },
  ]);
});

Deno.test("JSON: an empty array has no records", async () => {
  assert.deepEqual((await read("[]")).plan.slices, []);
  assert.deepEqual((await read('{"a":[]}', { records_path: "a" })).plan.slices, []);
});

Deno.test("JSON: a document that cannot be used is refused with what to do", async () => {
  const path = { records_path: "data.rows" };
  assert.match(
    await refused('{"features":[1],"x":2}'),
    /records_path to one of its arrays: "features"/,
  );
  assert.match(await refused('{"rows":[{}]}', path), /no array at "data\.rows".*"rows"/);
  assert.match(await refused('{"data":{"rows":{}}}', path), /no array at "data\.rows"/);
  assert.match(await refused('[{"a":1},{"a":'), /ends too early/);
  assert.match(await refused('[{"a":1}'), /ends too early/);
  assert.match(await refused('{"data":{"rows":[{}]}', path), /ends too early/);
  assert.match(await refused('[{"a":1},,{"a":2}]'), /unexpected , at byte 9/);
  assert.match(await refused('[{"a":1},]'), /unexpected , at byte 9/);
  assert.match(await refused('[{"a":1}] [2]'), /there is more after the end/);
  assert.match(await refused("[{'a':1}]"), /not valid JSON/);
  assert.match(await refused(`${'{"a":'.repeat(2_000)}1`), /nested more than 1000 deep/);
});

Deno.test("JSON: an element that is not valid by itself is quarantined", async () => {
  const { records, unreadable } = await read('[{"a":1} {"a":2}, {"b" 1}, {"c":3}]');
  assert.deepEqual(records, [{ c: 3 }]);
  assert.deepEqual(unreadable.map(({ rule }) => rule), ["json_syntax", "json_syntax"]);
});

Deno.test("JSON: a .json file of one object a line is read as NDJSON", async () => {
  const { records, plan } = await read('{"a":1}\n{"a":2}\n');
  assert.deepEqual(records, [{ a: 1 }, { a: 2 }]);
  assert.deepEqual(plan.warnings, ["a.json: read as NDJSON, one object a line."]);
});

Deno.test("JSON: gzipped documents are unpacked and found again on the next attempt", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.json.gz", gzipSync('{"rows":[{"a":1},{"a":2}]}'));
  const conf = { type: "file", path: "a.json.gz", records_path: "rows" };
  const first = await readAll(conf, folder.ctx);
  assert.deepEqual(first.records, [{ a: 1 }, { a: 2 }]);
  await using other = await SourceFolder.create({ dataDir: folder.ctx.dataDir });
  const elsewhere = await readAll(conf, { ...other.ctx, pin: first.plan.pin });
  assert.deepEqual(elsewhere.plan, first.plan);
});
