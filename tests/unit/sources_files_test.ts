import { detectFormat } from "../../pipeline/sources/local/detect_format.ts";
import { inSpanish } from "../../vocabulary/messages.ts";
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { Problem } from "../../vocabulary/problem.ts";
import { planSource, previewSource, readSource } from "../../pipeline/sources/adapters.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import { readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";

async function problem(promise: Promise<unknown>): Promise<Problem> {
  const error = await promise.then(() => assert.fail("did not fail"), (error) => error);
  assert.ok(error instanceof Problem, String(error?.stack ?? error));
  return error;
}

function file(path: string): { type: string; path: string } {
  return { type: "file", path };
}

Deno.test("file source reads what a glob matches, in the order of paths", async () => {
  await using folder = await SourceFolder.create();
  const names = [
    "b.ndjson",
    "a.ndjson",
    "sub/c.ndjson",
    "sub/deep/d.ndjson",
    ".hidden.ndjson",
    "x.txt",
  ];
  for (const name of names) await folder.write(name, JSON.stringify({ name }));
  const read = async (pattern: string) =>
    (await readAll(file(pattern), folder.ctx)).records.map(({ name }) => name);
  assert.deepEqual(await read("*.ndjson"), ["a.ndjson", "b.ndjson"]);
  assert.deepEqual(await read("**/*.ndjson"), [
    "a.ndjson",
    "b.ndjson",
    "sub/c.ndjson",
    "sub/deep/d.ndjson",
  ]);
  assert.deepEqual(await read("{a,sub/c}.ndjson"), ["a.ndjson", "sub/c.ndjson"]);
  assert.deepEqual(await read("./sub/c.ndjson"), ["sub/c.ndjson"]);
  // a file that is called as a glob is written is that file, and no other
  await folder.write("sub/[c].ndjson", JSON.stringify({ name: "brackets" }));
  assert.deepEqual(await read("sub/[c].ndjson"), ["brackets"]);
});

Deno.test("a preview has so many records of several files together, and says what they had twice", async () => {
  await using folder = await SourceFolder.create();
  for (const name of ["a", "b"]) {
    await folder.write(`${name}.ndjson`, '{"x":1,"x":2}\n{"x":3}\n{"x":4}\n');
  }
  // each file by itself
  const ctx = { ...folder.ctx, chunkSize: 3 };
  const { records } = await previewSource(sourceConf(file("*.ndjson")), ctx, 4);
  assert.deepEqual(records.map((record) => (record as SourceRecord).x), [2, 3, 4, 2]);
  assert.deepEqual(records.repeatedNames, { records: 1, example: '"x" in line 1 of a.ndjson' });
});

Deno.test("file source refuses paths that leave the data directory", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("inside/a.ndjson", "{}");
  await Deno.writeTextFile(`${folder.path}/secret.ndjson`, '{"secret":1}');
  await Deno.mkdir(`${folder.path}/other`);
  await Deno.writeTextFile(`${folder.path}/other/o.ndjson`, '{"secret":1}');
  await Deno.symlink(`${folder.path}/secret.ndjson`, `${folder.ctx.dataDir}/link.ndjson`);
  await Deno.symlink(`${folder.path}/other`, `${folder.ctx.dataDir}/linked`);
  await Deno.symlink(`${folder.ctx.dataDir}/inside`, `${folder.ctx.dataDir}/alias`);
  // a directory beside it whose name begins as its own
  await Deno.mkdir(`${folder.ctx.dataDir}_beside`);
  await Deno.writeTextFile(`${folder.ctx.dataDir}_beside/o.ndjson`, '{"secret":1}');
  await Deno.symlink(
    `${folder.ctx.dataDir}_beside/o.ndjson`,
    `${folder.ctx.dataDir}/beside.ndjson`,
  );
  const refused = [
    "../secret.ndjson",
    "inside/../../secret.ndjson",
    "{..,inside}/*.ndjson",
    `${folder.path}/secret.ndjson`,
    "/etc/passwd",
    "a\0b",
    "link.ndjson",
    "*.ndjson",
    "linked/o.ndjson",
    "beside.ndjson",
  ];
  for (const path of refused) {
    const { type, message } = await problem(readAll(file(path), folder.ctx));
    assert.equal(type, "source-refused", `${path}: ${message}`);
  }
  const around = await readAll(file("*/*.ndjson"), folder.ctx);
  assert.deepEqual(around.records, [{}], "one file, once, though two paths lead to it");
  assert.deepEqual(around.plan.warnings, [
    "linked: not searched, it leads out of the data directory.",
  ]);
  assert.equal((await readAll(file("alias/a.ndjson"), folder.ctx)).records.length, 1);
});

Deno.test("file source checks links again when it reads", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.ndjson", "{}");
  await Deno.writeTextFile(`${folder.path}/secret.ndjson`, "{}");
  const conf = sourceConf(file("a.ndjson"));
  const { slices } = await planSource(conf, folder.ctx);
  await Deno.remove(`${folder.ctx.dataDir}/a.ndjson`);
  await Deno.symlink(`${folder.path}/secret.ndjson`, `${folder.ctx.dataDir}/a.ndjson`);
  const { type } = await problem(Array.fromAsync(readSource(conf, slices[0]!, folder.ctx)));
  assert.equal(type, "source-refused");
});

Deno.test("file source that finds nothing says where it looked and what is there", async () => {
  await using folder = await SourceFolder.create();
  const empty = await problem(readAll(file("*.csv"), folder.ctx));
  assert.equal(
    empty.message,
    `No file matches "*.csv" in the data directory (ETL_DATA_DIR). It holds no files.`,
  );
  const nowhere = { ...folder.ctx, dataDir: `${folder.path}/nowhere` };
  assert.match((await problem(readAll(file("*"), nowhere))).message, /does not exist: create it/);
  await folder.write("flights.tsv", "");
  await folder.write("sub/more.tsv", "");
  const other = await problem(readAll(file("flights.csv"), folder.ctx));
  assert.equal(other.type, "source-unreadable");
  assert.match(other.message, /It holds: flights\.tsv, sub\/more\.tsv$/);
  assert.match(
    (await problem(readAll(file("sub"), folder.ctx))).message,
    /is a directory.*"sub\/\*"/,
  );
});

Deno.test("file source fails when a file changes after it was pinned", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.ndjson", '{"a":1}\n');
  await folder.write("b.ndjson", '{"a":2}\n');
  const conf = sourceConf(file("*.ndjson"));
  const plan = await planSource(conf, folder.ctx);
  const same = await planSource(conf, { ...folder.ctx, pin: plan.pin });
  assert.deepEqual(same, plan);

  const changes: [() => Promise<void>, RegExp][] = [
    [() => folder.write("c.ndjson", "{}"), /c\.ndjson is new/],
    [
      () =>
        Deno.remove(`${folder.ctx.dataDir}/c.ndjson`).then(() => folder.write("a.ndjson", "{}")),
      /a\.ndjson had 8 bytes and has 2/,
    ],
    [() => Deno.remove(`${folder.ctx.dataDir}/b.ndjson`), /b\.ndjson is gone/],
  ];
  for (const [change, message] of changes) {
    await change();
    const replan = await problem(planSource(conf, { ...folder.ctx, pin: plan.pin }));
    assert.equal(replan.type, "source-changed");
    assert.match(replan.message, message);
  }
  const read = await problem(Array.fromAsync(readSource(conf, plan.slices[0]!, folder.ctx)));
  assert.equal(read.type, "source-changed");
});

Deno.test("a missing spool file is a reason to try again, not to give up", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.ndjson.gz", gzipSync("{}"));
  const conf = sourceConf(file("a.ndjson.gz"));
  const { slices, pin } = await planSource(conf, folder.ctx);
  await Deno.remove(folder.ctx.spoolDir, { recursive: true });
  const missing = await problem(Array.fromAsync(readSource(conf, slices[0]!, folder.ctx)));
  assert.equal(missing.transient, true);
  const again = await planSource(conf, { ...folder.ctx, pin });
  assert.deepEqual(again.slices, slices);
  assert.deepEqual((await Array.fromAsync(readSource(conf, slices[0]!, folder.ctx))).flat(), [{}]);
});

Deno.test("file source notices a change of the same size by its time", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.ndjson", '{"a":1}\n');
  const conf = sourceConf(file("a.ndjson"));
  const plan = await planSource(conf, folder.ctx);
  for (const time of [1_000_000_000_000, Date.now() + 60_000]) {
    await Deno.utime(`${folder.ctx.dataDir}/a.ndjson`, new Date(), new Date(time));
    const { type } = await problem(planSource(conf, { ...folder.ctx, pin: plan.pin }));
    assert.equal(type, "source-changed");
  }
});

Deno.test("what was made of a file is not taken for a file of the same size that came in its place", async () => {
  await using folder = await SourceFolder.create();
  const read = async (text: string, time: number) => {
    await folder.write("a.json", text);
    await Deno.utime(`${folder.ctx.dataDir}/a.json`, new Date(), new Date(time));
    return (await readAll(file("a.json"), folder.ctx)).records;
  };
  assert.deepEqual(await read('[{"a":1}]', 1_000_000_000_000), [{ a: 1 }]);
  assert.deepEqual(await read('[{"a":2}]', 1_000_000_001_000), [{ a: 2 }]);
});

Deno.test("file source that cannot tell the format asks for it", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("data.txt", "a,b\n1,2\n");
  await folder.write("data.zip", new Uint8Array([0x50, 0x4b, 3, 4, 0, 0]));
  await folder.write("data.parquet", "a,b\n");
  assert.match(
    (await problem(readAll(file("data.txt"), folder.ctx))).message,
    /Set source\.format/,
  );
  assert.match((await problem(readAll(file("data.zip"), folder.ctx))).message, /a zip archive/);
  assert.match(
    (await problem(readAll(file("data.parquet"), folder.ctx))).message,
    /not a Parquet file/,
  );
  const told = await readAll({ ...file("data.txt"), format: "csv" }, folder.ctx);
  assert.deepEqual(told.records, [{ a: 1, b: 2 }]);
});

Deno.test("previewSource() reads the first records, of a compressed file only the beginning", async () => {
  await using folder = await SourceFolder.create();
  const rows = Array.from({ length: 400_000 }, (_, i) => `${i},"text ${i}"`).join("\n");
  const csv = `id,text\n${rows}\n`;
  await folder.write("a.csv", csv);
  await folder.write("a.csv.gz", gzipSync(csv));
  const json = JSON.stringify({
    rows: Array.from({ length: 200_000 }, (_, i) => ({ id: i, text: "x" })),
  });
  await folder.write("a.json.gz", gzipSync(json));
  const expected = [0, 1, 2].map((i) => ({ id: i, text: `text ${i}` }));
  for (const path of ["a.csv", "a.csv.gz"]) {
    const { records } = await previewSource(sourceConf(file(path)), folder.ctx, 3);
    assert.deepEqual([...records], expected, path);
  }
  const conf = sourceConf({ ...file("a.json.gz"), records_path: "rows" });
  assert.equal((await previewSource(conf, folder.ctx)).records.length, 20);
  let spooled = 0;
  for await (const { name } of Deno.readDir(folder.ctx.spoolDir)) {
    spooled += (await Deno.stat(`${folder.ctx.spoolDir}/${name}`)).size;
  }
  assert.ok(spooled < 3 << 20, `${spooled} bytes were spooled`);
});

Deno.test("what a preview has unpacked is not taken for the file, nor one list of a document for another", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("a.csv.gz", gzipSync(`id,text\n${"1,some text of a row\n".repeat(60_000)}`));
  assert.equal(
    (await previewSource(sourceConf(file("a.csv.gz")), folder.ctx, 3)).records.length,
    3,
  );
  assert.equal((await readAll(file("a.csv.gz"), folder.ctx)).records.length, 60_000);
  await folder.write("a.json", '{"x":[{"a":1}],"y":[{"a":2}]}');
  for (const [records_path, a] of [["x", 1], ["y", 2]] as const) {
    const { records } = await readAll({ ...file("a.json"), records_path }, folder.ctx);
    assert.deepEqual(records, [{ a }]);
  }
  const latin = Uint8Array.from("a\n\u00e9\n", (c) => c.charCodeAt(0));
  await folder.write("l.csv", latin);
  for (const [encoding, a] of [["latin1", "é"], ["windows-1251", "й"]] as const) {
    const { records } = await readAll({ ...file("l.csv"), encoding }, folder.ctx);
    assert.deepEqual(records, [{ a }], encoding);
  }
});

Deno.test("what is unpacked stops with the run", async () => {
  const controller = new AbortController();
  await using folder = await SourceFolder.create({ signal: controller.signal });
  await folder.write("a.csv.gz", gzipSync("a\n1\n"));
  const { prepareInput } = await import("../../pipeline/sources/local/prepare_input.ts");
  const { size } = await Deno.stat(`${folder.ctx.dataDir}/a.csv.gz`);
  controller.abort(new Error("cancelled"));
  const raw = {
    root: "data",
    path: "a.csv.gz",
    label: "a.csv.gz",
    size,
    mtime_ms: 0,
    absolutePath: `${folder.ctx.dataDir}/a.csv.gz`,
    name: "a.csv.gz",
    identity: "x",
  } as const;
  await assert.rejects(prepareInput(raw, {}, { ctx: folder.ctx }), /cancelled/);
});

Deno.test("previewSource() drops a record that its beginning cuts off", async () => {
  await using folder = await SourceFolder.create();
  const csv = `a,b\n1,2\n3,"${"y\n".repeat(1 << 20)}"\n`;
  await folder.write("a.csv.gz", gzipSync(csv));
  const { records } = await previewSource(sourceConf(file("a.csv.gz")), folder.ctx);
  assert.deepEqual([...records], [{ a: 1, b: 2 }]);
});

Deno.test("previewSource() says so where no record ends in what it reads of a file", async () => {
  await using folder = await SourceFolder.create();
  const long = "y".repeat(3 << 20);
  await folder.write("a.csv.gz", gzipSync(`a\n"${long}"\n`));
  await folder.write("a.ndjson.gz", gzipSync(`{"a":"${long}"}\n`));
  await folder.write("a.json.gz", gzipSync(`[{"a":"${long}"}]`));
  for (const name of ["a.csv.gz", "a.ndjson.gz", "a.json.gz"]) {
    const { records, warnings } = await previewSource(sourceConf(file(name)), folder.ctx);
    assert.equal(records.length, 0);
    assert.match(
      warnings.join(),
      /no record ends in the first 1048576 bytes.*A run reads it whole/,
    );
  }
  await folder.write("b.csv.gz", gzipSync("a\n"));
  const { warnings } = await previewSource(sourceConf(file("b.csv.gz")), folder.ctx);
  assert.doesNotMatch(warnings.join(), /no record ends/);
});

Deno.test("a cancelled run stops planning and reading", async () => {
  const controller = new AbortController();
  await using folder = await SourceFolder.create({ signal: controller.signal });
  await folder.write("a.ndjson", '{"a":1}\n');
  const conf = sourceConf(file("a.ndjson"));
  const plan = await planSource(conf, folder.ctx);
  controller.abort();
  await assert.rejects(planSource(conf, folder.ctx), { name: "AbortError" });
  await assert.rejects(Array.fromAsync(readSource(conf, plan.slices[0]!, folder.ctx)), {
    name: "AbortError",
  });
});

Deno.test("file source that names more than a file system can is told so", async () => {
  await using folder = await SourceFolder.create();
  for (const path of ["0".repeat(300), "a/".repeat(500) + "x", `${"b".repeat(300)}/*.csv`]) {
    const { type } = await problem(planSource(sourceConf(file(path)), folder.ctx));
    assert.equal(type, "source-unreadable");
  }
});

Deno.test("a file that is no data says how to leave it out of a folder, in either language", () => {
  const head = new TextEncoder().encode("Read me first.");
  assert.throws(
    () => detectFormat(head, { name: "readme.txt", label: "readme.txt" }),
    (error: Error) => {
      assert.match(
        error.message,
        /Set source\.format .*; of a folder, name the files .*\*\.csv\.$/,
      );
      assert.match(inSpanish(error.message), /de una carpeta, nombre los archivos de datos/);
      return true;
    },
  );
});
