import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { Problem } from "../../vocabulary/problem.ts";
import { readAll, SourceFolder } from "../helpers/sources.ts";

const UPLOAD = "6f1de3f4-9d3c-4f0e-8a3b-0123456789ab";

async function* bytes(content: string | Uint8Array): AsyncGenerator<Uint8Array> {
  yield typeof content === "string" ? new TextEncoder().encode(content) : content;
}

Deno.test("inline source gives the records of the conf, in slices", async () => {
  await using folder = await SourceFolder.create({ chunkSize: 2, maxRecords: 5 });
  const records = [{ a: 1 }, 7, null, { a: [1e999] }, { a: 2n }, { never: true }];
  const { slices, unreadable } = await readAll({ type: "inline", records }, folder.ctx);
  assert.deepEqual(slices.map((slice) => slice.length), [2, 2, 1]);
  assert.deepEqual(unreadable.map(({ rule }) => rule), [
    "not_an_object",
    "not_an_object",
    "number_range",
  ]);
  assert.equal(unreadable[0]!.message, "record 2: a record must be a JSON object");
  assert.deepEqual(slices[2], [{ a: 2n }]);
});

Deno.test("inline source reads an uploaded body in any format, once for all attempts", async () => {
  const bodies: [Record<string, unknown>, string | Uint8Array][] = [
    [{ format: "csv" }, "a,b\n1,x\n"],
    [{ format: "ndjson" }, '{"a":1,"b":"x"}'],
    [{}, '{"a":1,"b":"x"}\n'],
    [{}, '[{"a":1,"b":"x"}]'],
    [{ format: "csv" }, gzipSync("a,b\n1,x\n")],
  ];
  for (const [conf, body] of bodies) {
    let reads = 0;
    const readUpload = (id: string) => {
      assert.equal(id, UPLOAD);
      reads++;
      return bytes(body);
    };
    await using folder = await SourceFolder.create({ readUpload });
    const source = { type: "inline", upload_id: UPLOAD, ...conf };
    const first = await readAll(source, folder.ctx);
    assert.deepEqual(first.records, [{ a: 1, b: "x" }]);
    const again = await readAll(source, { ...folder.ctx, pin: first.plan.pin });
    assert.deepEqual(again.plan, first.plan);
    assert.equal(reads, 1);
  }
});

Deno.test("inline source without records says so", async () => {
  await using folder = await SourceFolder.create();
  await assert.rejects(
    readAll({ type: "inline" }, folder.ctx),
    (error) => error instanceof Problem && error.type === "invalid-conf",
  );
});
