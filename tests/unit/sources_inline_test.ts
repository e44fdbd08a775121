import assert from "node:assert/strict";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { uploadName } from "../../pipeline/sources/local/spool.ts";
import { removeUntaken } from "../../pipeline/spill/spool_dirs.ts";
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

Deno.test("inline source takes a body that its server has just stored from the disk, and no other", async () => {
  await using folder = await SourceFolder.create({
    readUpload: () => assert.fail("it is at hand"),
  });
  const bodiesDir = join(folder.path, "bodies");
  for (const dir of [folder.ctx.spoolDir, bodiesDir]) await Deno.mkdir(dir);
  await Deno.writeTextFile(join(bodiesDir, uploadName(UPLOAD)), '{"a":1}');
  const source = { type: "inline", upload_id: UPLOAD };
  const read = await readAll(source, { ...folder.ctx, bodiesDir });
  assert.deepEqual(read.records, [{ a: 1 }]);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(bodiesDir)), []);
  const other = { ...source, upload_id: crypto.randomUUID() };
  await assert.rejects(readAll(other, { ...folder.ctx, bodiesDir }), /at hand/);
});

Deno.test("a stored body that no run takes leaves the disk after a minute", async () => {
  await using folder = await SourceFolder.create();
  const names = [uploadName(UPLOAD), `upload-${UPLOAD}`];
  for (const name of names) await Deno.writeTextFile(join(folder.path, name), "{}");
  const files = async () =>
    (await Array.fromAsync(Deno.readDir(folder.path))).flatMap(({ name, isFile }) =>
      isFile ? [name] : []
    );
  await removeUntaken(folder.path, Date.now() + 55_000);
  assert.equal((await files()).length, 2);
  await removeUntaken(folder.path, Date.now() + 65_000);
  // that is on its way still
  assert.deepEqual(await files(), [names[1]]);
});

Deno.test("inline source without records says so", async () => {
  await using folder = await SourceFolder.create();
  await assert.rejects(
    readAll({ type: "inline" }, folder.ctx),
    (error) => error instanceof Problem && error.type === "invalid-conf",
  );
});
