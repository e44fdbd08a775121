import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { Problem } from "../../vocabulary/problem.ts";
import { parseJson } from "../../pipeline/sources/json_text.ts";
import {
  type FlattenOptions,
  jsonArrayToNdjson,
} from "../../pipeline/sources/local/json_document.ts";
import { planSource, readSource } from "../../pipeline/sources/adapters.ts";
import { type ReadAll, readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";

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

/** The lines of a document, whose bytes arrive in pieces of this size. */
async function linesOf(
  document: string,
  { size = 3, ...options }: Partial<FlattenOptions> & { size?: number } = {},
): Promise<string[]> {
  const lines = jsonArrayToNdjson(chunked(new TextEncoder().encode(document), size), {
    ...{ recordsPath: "", label: "x", maxTokenBytes: 1_000 },
    ...options,
  });
  const bytes = (await Array.fromAsync(lines)).flatMap((chunk) => [...chunk]);
  return new TextDecoder().decode(Uint8Array.from(bytes)).split("\n").filter((line) => line !== "");
}

Deno.test("jsonArrayToNdjson() takes what strings hold for text, wherever they are escaped", async () => {
  const texts = ['"', "\\", '\\"', '\\\\"', '"}],[{', "],", '\\"}', "a\tb\nc", ""];
  const elements = texts.flatMap((a) => [a, { a }, { [a]: [a, { b: a }] }, [a]]);
  for (const size of [1, 2, 5, 1_000]) {
    assert.deepEqual(
      (await linesOf(JSON.stringify(elements), { size })).map(parseJson),
      elements,
      `${size}`,
    );
    for (const name of texts) {
      const document = JSON.stringify({ [`${name}x`]: { y: name }, rows: elements, [name]: 1 });
      assert.deepEqual(
        (await linesOf(document, { size, recordsPath: "rows" })).map(parseJson),
        elements,
      );
    }
  }
});

Deno.test("jsonArrayToNdjson() makes one line of a record, whatever ends its lines, and leaves its bytes", async () => {
  const document = '\t[\r\n{"a":\r1,\n"b" :\t"x"}\t,\r{"c":1.50}\t]\r\n';
  assert.deepEqual(await linesOf(document), ['  {"a": 1, "b" :\t"x"}\t', ' {"c":1.50}\t']);
  assert.deepEqual(await linesOf('{"a":1}\r{"b":2}\t{"c":3}'), ['{"a":1}', '{"b":2}', '{"c":3}']);
  assert.deepEqual(await linesOf("[]"), []);
  assert.deepEqual(await linesOf("[1", { truncated: true }), ["1"]);
});

Deno.test("jsonArrayToNdjson() ends after as many records as are wanted, and takes a beginning for one", async () => {
  const document = '[{"a":1},{"a":2},{"a":3},{"a":4}';
  for (const size of [1, 9, 1_000]) {
    const some = await linesOf(document, { size, maxRecords: 2 });
    assert.deepEqual(some, ['{"a":1}', '{"a":2}']);
    const beginning = await linesOf(`${document}, {"a"`, { size, truncated: true });
    assert.deepEqual(beginning.slice(0, 4), ['{"a":1}', '{"a":2}', '{"a":3}', '{"a":4}']);
    for (const end of ["", ', {"a"', ', {"a": "x', ","]) {
      await assert.rejects(linesOf(document + end, { size }), /x: .*(?:complete|end)/, end);
    }
  }
});

Deno.test("jsonArrayToNdjson() refuses what is not valid outside of records, with the place and the beginning of it", async () => {
  const path = { recordsPath: "rows" };
  for (const wrong of ["tru", "01", "-", "'a'", '"\\x"', '"a\tb"']) {
    await assert.rejects(linesOf(`{"v":${wrong},"rows":[{"a":1}]}`, path), Problem, wrong);
  }
  const long = "9x".repeat(100);
  await assert.rejects(linesOf(`{"v":${long},"rows":[]}`, path), (error: Error) => {
    assert.match(error.message, /(?:9x){20}/);
    assert.doesNotMatch(error.message, /(?:9x){21}/);
    return true;
  });
  const longer = "9".repeat(2_000);
  await assert.rejects(linesOf(`{"v":${longer},"rows":[]}`, path), /1000/);
  assert.deepEqual(
    await linesOf(`[${longer}]`),
    [longer],
    "a record's own values are its own affair",
  );
  assert.deepEqual(await linesOf(`{"a":1}{"b":"${longer}"}`), ['{"a":1}', `{"b":"${longer}"}`]);
  assert.deepEqual(await linesOf(`{"a":1}{"b":${longer}}`), ['{"a":1}', `{"b":${longer}}`]);
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
  assert.match(await refused('"text"'), /neither an array of records nor an object/);
  const large = `{"rows":[{"a":1}],"text":"${"x".repeat(2 << 20)}","more":1}`;
  assert.match(await refused(large), /one object of more than .* one of its arrays: "rows"/);
  assert.match(await refused('{"rows":[{}]}', path), /no array at "data\.rows".*"rows"/);
  assert.match(await refused('{"data":{"rows":{}}}', path), /no array at "data\.rows"/);
  assert.match(await refused('[{"a":1},{"a":'), /ends too early/);
  assert.match(await refused('[{"a":1}'), /ends too early/);
  assert.match(await refused('{"data":{"rows":[{}]}', path), /ends too early/);
  assert.match(await refused('[{"a":1},,{"a":2}]'), /unexpected , at byte 9/);
  assert.match(await refused('[{"a":1},]'), /unexpected , at byte 9/);
  assert.match(await refused('[{"a":1}] [2]'), /there is more after the end/);
  assert.match(await refused('[{"a":1}] nul'), /not valid JSON at byte 10: nul/);
  assert.match(await refused('{"a":1}]'), /there is more after the end/);
  assert.match(await refused("]"), /unexpected \] at byte 0/);
  assert.match(await refused("}"), /unexpected \} at byte 0/);
  assert.match(
    await refused('{"x":1e,"data":[]}', { records_path: "data" }),
    /not valid JSON at byte 5: 1e/,
  );
  assert.match(await refused(`${'{"a":'.repeat(2_000)}1`, path), /nested more than 1000 deep/);
});

Deno.test("JSON: an element that is not valid by itself is quarantined", async () => {
  const { records, unreadable } = await read('[{"a":1} {"a":2}, {"b" 1}, {"c":3}]');
  assert.deepEqual(records, [{ c: 3 }]);
  assert.deepEqual(unreadable.map(({ rule }) => rule), ["json_syntax", "json_syntax"]);
});

Deno.test("JSON: a record of a document has no line of its own, one of NDJSON has", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.json", '[\n{"a":1},\n{"a":2}]');
  await folder.write("a.ndjson", '{"a":1}\n{"a":2}\n');
  const lines = async (path: string) => {
    const conf = sourceConf({ type: "file", path });
    const { slices } = await planSource(conf, folder.ctx);
    const batches = await Array.fromAsync(readSource(conf, slices[0]!, folder.ctx));
    return batches.flatMap((batch) => batch.map((_, i) => batch.origin!(i)!.line));
  };
  assert.deepEqual(await lines("a.json"), [null, null]);
  assert.deepEqual(await lines("a.ndjson"), [1, 2]);
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

Deno.test("JSON: a document that is one object is one record, and tells of arrays that may be meant", async () => {
  const one = await read('{"id":3,"v":"c","tags":["a",["b"]]}\n');
  assert.deepEqual(one.records, [{ id: 3, v: "c", tags: ["a", ["b"]] }]);
  assert.deepEqual(one.plan.warnings, []);
  const collection = await read('{"type":"all","features":[{"id":1},{"id":2}]}');
  assert.equal(collection.records.length, 1);
  assert.match(collection.plan.warnings.join(), /read as one record.*records_path: "features"/);
});

Deno.test("JSON: objects that follow one another are records, also when the first is long", async () => {
  const wide = { id: 1, t: "x".repeat(100_000) };
  const { records } = await read(
    `${JSON.stringify(wide, null, 2)}\n{"id":2}\n\n{\n"id":3}{"id":4}`,
  );
  assert.deepEqual(records, [wide, { id: 2 }, { id: 3 }, { id: 4 }]);
});

Deno.test("JSON: both arrays of a name that stands twice are read", async () => {
  const document = '{"features":[{"id":1}],"meta":1,"features":[{"id":2},{"id":3}]}';
  const { records } = await read(document, { records_path: "features" });
  assert.deepEqual(records, [{ id: 1 }, { id: 2 }, { id: 3 }]);
  for (const more of ['"features":{"id":4}', '"features":null', '"features":"x"']) {
    for (const members of [`"features":[{"id":1}],${more}`, `${more},"features":[{"id":1}]`]) {
      await assert.rejects(
        read(`{${members}}`, { records_path: "features" }),
        /"features" occurs more than once, and not always as an array/,
      );
    }
  }
  const empty = await read('{"a":[{"x":1}],"a":[],"a":[ ]}', { records_path: "a" });
  assert.deepEqual([empty.records, empty.unreadable], [[{ x: 1 }], []]);
});

Deno.test("JSON: what is no JSON inside a record costs that record, and its text is kept", async () => {
  const { records, unreadable } = await read(
    '[{"a":1},{"a":NaN},{"a":-Infinity},{\'b\':2},{"a":tru},{"a":"\\x"},{"a":"x\r\ny"},\n{"a":2}]',
  );
  assert.deepEqual(records, [{ a: 1 }, { a: 2 }]);
  assert.deepEqual(unreadable.map(({ rule, raw }) => [rule, raw]), [
    ["json_syntax", '{"a":NaN}'],
    ["json_syntax", '{"a":-Infinity}'],
    ["json_syntax", "{'b':2}"],
    ["json_syntax", '{"a":tru}'],
    ["json_syntax", '{"a":"\\x"}'],
    // line ends within a string
    ["json_syntax", '{"a":"x\t\ty"}'],
  ]);
  assert.match(unreadable[0]!.message, /^record 2 of a\.json: /);
  const single = await read('{"a":NaN}');
  assert.deepEqual(single.unreadable.map(({ rule }) => rule), ["json_syntax"]);
});

Deno.test("an empty file is a warning in every format, and costs no other file", async () => {
  await using folder = await SourceFolder.create();
  const names = ["json", "ndjson", "csv", "tsv", "parquet", "arrow", "geojson"].map((e) =>
    `0.${e}`
  );
  for (const name of names) {
    for (const content of name.endsWith("parquet") ? [""] : ["", "\ufeff", "\n"]) {
      await folder.write(name, content);
      const { plan, records, unreadable } = await readAll({ type: "file", path: name }, folder.ctx);
      assert.deepEqual([records, unreadable], [[], []], name);
      assert.deepEqual(plan.warnings, [`${name}: the file is empty.`]);
    }
  }
  await folder.write("d/a.json", "");
  await folder.write("d/b.json", '{"id":1}\n{"id":2}\n');
  await folder.write("d/c.json", '{"id":3}');
  const { records } = await readAll({ type: "file", path: "d/*.json" }, folder.ctx);
  assert.deepEqual(records, [{ id: 1 }, { id: 2 }, { id: 3 }]);
});
