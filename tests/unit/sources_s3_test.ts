import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { planSource, previewSource, readSource } from "../../pipeline/sources/adapters.ts";
import { type Plain, Unreadable } from "../../pipeline/sources/source.ts";
import { RemoteFile } from "../../pipeline/sources/http/remote_file.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { FakeS3 } from "../helpers/s3.ts";
import { readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";
import { Bucket } from "../../pipeline/sources/s3/bucket.ts";

interface Lake extends AsyncDisposable {
  s3: FakeS3;
  folder: SourceFolder;
}

async function lake(): Promise<Lake> {
  const s3 = await FakeS3.start();
  const folder = await SourceFolder.create({
    target: s3.connection,
    limits: { maxSpoolBytes: 1 << 30, maxRecordBytes: 1 << 20, allowPrivateHosts: [s3.host] },
  });
  return {
    s3,
    folder,
    async [Symbol.asyncDispose]() {
      await s3[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const conf = (key: string, rest: Record<string, unknown> = {}) => ({
  type: "s3",
  url: `s3://lake/${key}`,
  ...rest,
});

async function problemOf(work: Promise<unknown>): Promise<Problem> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof Problem, String(error));
    return error;
  }
  throw new Error("it succeeded");
}

const csvOf = (rows: number) =>
  "id,text\n" +
  Array.from({ length: rows }, (_, i) => `${i},"line one of ${i}\nand two"\n`).join("");

Deno.test("s3: CSV, NDJSON, JSON, gzip and Parquet give what the same files give here", async () => {
  await using at = await lake();
  const { s3, folder } = at;
  const rows = Array.from({ length: 3_000 }, (_, i) => ({ id: i, text: `of ${i}` }));
  const ndjson = rows.map((row) => JSON.stringify(row) + "\n").join("");
  const files: Record<string, string | Uint8Array> = {
    "a.csv": csvOf(3_000),
    "a.ndjson": ndjson,
    "a.json": JSON.stringify({ rows }),
    "a.csv.gz": gzipSync(csvOf(50)),
    "a.parquet": new Uint8Array(parquetWriteBuffer({
      columnData: [
        { name: "id", data: rows.map(({ id }) => id), type: "INT32" },
        { name: "text", data: rows.map(({ text }) => text), type: "STRING" },
      ],
      rowGroupSize: 700,
    })),
  };
  for (const [name, content] of Object.entries(files)) {
    s3.put(`in/${name}`, content);
    await folder.write(name, content);
    const parsing = name === "a.json" ? { records_path: "rows" } : {};
    const ctx = { ...folder.ctx, chunkSize: 800 };
    const here = await readAll({ type: "file", path: name, ...parsing }, ctx);
    const there = await readAll(conf(`in/${name}`, parsing), ctx);
    assert.deepEqual(there.slices, here.slices, name);
    assert.equal(there.plan.records, here.plan.records, name);
    assert.ok(there.records.length >= 50);
  }
  assert.ok(s3.asked.every(({ signed }) => signed));
  assert.ok(s3.asked.every(({ range, ifMatch }) => range === undefined || ifMatch !== undefined));
});

Deno.test("s3: a slice is read by its bytes, and of Parquet by its row group's columns", async () => {
  await using at = await lake();
  const { s3, folder } = at;
  const filler = "x".repeat(1_000);
  s3.put(
    "big.ndjson",
    Array.from({ length: 20_000 }, (_, i) => `{"id":${i},"text":"${filler}"}\n`).join(""),
  );
  const size = s3.objects.get("big.ndjson")!.bytes.length;
  const { ctx } = folder;
  const plan = await readAll(conf("big.ndjson"), ctx);
  assert.equal(plan.records.length, 20_000);
  assert.equal(plan.slices.length, 4);
  const bytes = s3.rangesOf("big.ndjson").map((range) => {
    const [, from, to] = /(\d+)-(\d+)/.exec(range)!;
    return Number(to) - Number(from) + 1;
  });
  // places to sample and cut beside what is read
  assert.ok(bytes.reduce((sum, each) => sum + each) < size * 1.2);
  assert.ok(Math.max(...bytes) <= 8 << 20);

  const column = (length: number, text: string) => Array.from({ length }, (_, i) => `${text}${i}`);
  s3.put(
    "big.parquet",
    new Uint8Array(parquetWriteBuffer({
      columnData: [{ name: "text", data: column(40_000, filler), type: "STRING" }],
      rowGroupSize: 20_000,
      codec: "UNCOMPRESSED",
    })),
  );
  const parquet = s3.objects.get("big.parquet")!.bytes.length;
  const read = await readAll(conf("big.parquet"), ctx);
  assert.deepEqual([read.slices.length, read.records.length], [4, 40_000]);
  const fetched = s3.rangesOf("big.parquet").map((range) => {
    const [, from, to] = /(\d+)-(\d+)/.exec(range)!;
    return Number(to) - Number(from) + 1;
  });
  // each row group once, though two slices have it
  assert.ok(fetched.reduce((sum, each) => sum + each) < parquet * 1.1, String(fetched));
});

Deno.test("s3: 3,000 keys come in pages, in natural order, and keys may have any characters", async () => {
  await using at = await lake();
  const { s3, folder } = at;
  for (let i = 0; i < 3_000; i++) s3.put(`day/part-${i}.ndjson`, `{"n":${i}}`);
  s3.put("day/below/part-1.ndjson", '{"n":-1}');
  s3.put("day/", "");
  const { records, plan } = await readAll(conf("day/*.ndjson"), folder.ctx);
  assert.deepEqual(records.map(({ n }) => n), Array.from({ length: 3_000 }, (_, i) => i));
  const { files } = plan.pin as unknown as { files: { path: string; etag: string }[] };
  assert.equal(files.length, 3_000);
  assert.match(files[0]!.etag, /^"[0-9a-f]{32}-2"$/);
  assert.equal(s3.asked.filter(({ range }) => range === undefined).length, 4);

  const strange = [
    "a b+c%20d&e=f?g#h.ndjson",
    "ü/日本語 '\"<>!()*.ndjson",
    "a//b.ndjson",
    "new\nline\t.ndjson",
    "é~$,;:@.ndjson",
  ];
  for (const encodes of [true, false]) {
    s3.encodes = encodes;
    for (const [i, key] of strange.entries()) s3.put(`odd/${key}`, `{"n":${i}}`);
    // what consoles make for a folder is none
    for (const folder of ["odd/", "odd/below/"]) s3.put(folder, '{"n":7}');
    const read = await readAll(conf("odd/**"), folder.ctx);
    assert.deepEqual(read.records.map(({ n }) => Number(n)).sort(), [0, 1, 2, 3, 4]);
  }
  s3.put("odd/a[1]*.ndjson", '{"n":9}');
  const one = await readAll(conf("odd/a\\[1\\]\\*.ndjson"), folder.ctx);
  assert.deepEqual(one.records, [{ n: 9 }]);
  s3.put("up/../x.ndjson", "{}");
  const up = await problemOf(readAll(conf("up/../x.ndjson"), folder.ctx));
  assert.match(up.message, /"\." or "\.\."/);
});

Deno.test("s3: an object that is replaced, longer, shorter or gone after the plan fails as changed input", async () => {
  await using at = await lake();
  const { s3, folder } = at;
  const text = (n: number) => `{"id":${n}}\n`.repeat(40_000);
  const changes: Record<string, () => void> = {
    replaced: () => s3.put("x.ndjson", text(2)),
    longer: () => s3.put("x.ndjson", text(1) + text(1)),
    shorter: () => s3.put("x.ndjson", "{}\n"),
    gone: () => s3.objects.delete("x.ndjson"),
  };
  for (const [how, change] of Object.entries(changes)) {
    s3.put("x.ndjson", text(1));
    const parsed = sourceConf(conf("x.ndjson"));
    const { planSource, readSource } = await import("../../pipeline/sources/adapters.ts");
    const plan = await planSource(parsed, folder.ctx);
    change();
    // another worker has not kept the beginning
    const [part] = (plan.slices[0] as { parts: { start: number }[] }).parts;
    const read = async () => {
      const late = { parts: [{ ...part, start: 300_003 }] };
      for await (const _ of readSource(parsed, late as never, folder.ctx));
    };
    const problem = await problemOf(read());
    assert.equal(problem.type, "source-changed", `${how}: ${problem.message}`);
    assert.match(problem.message, /s3:\/\/lake\/x\.ndjson changed .*start a new run/);
    const again = await problemOf(planSource(parsed, { ...folder.ctx, pin: plan.pin }));
    assert.match(again.type, how === "gone" ? /source-unreadable/ : /source-changed/);
  }
});

Deno.test("s3: outages, resets, cut bodies and SlowDown are gone on from, and a short answer is never the file", async () => {
  await using at = await lake();
  const { s3, folder } = at;
  const count = 60_000;
  s3.put("x.ndjson", Array.from({ length: count }, (_, i) => `{"id":${i}}\n`).join(""));
  const bytes = s3.objects.get("x.ndjson")!.bytes;
  const bucket = new Bucket("lake", s3.connection, { ...folder.ctx, retryInitialMs: 1 });
  let n = 0;
  const faults = [
    { status: 429 },
    { status: 503, body: "<Error><Code>SlowDown</Code></Error>" },
    "reset" as const,
    { status: 500 },
    { cutAfter: 0 },
    { cutAfter: 100_000 },
    { status: 429 },
    { cutAfter: 1_000 },
  ];
  s3.fault = () => faults[n++];
  const objects = await Array.fromAsync(bucket.list("x", { flat: true }));
  const file = bucket.open(objects[0]!);
  const read = async () => new Uint8Array(await file.slice(0, bytes.length));
  // a comparison that shows no difference: it would take minutes to print
  assert.equal(Buffer.compare(await read(), bytes), 0);
  assert.ok(n > faults.length);
  const from = s3.rangesOf("x.ndjson").map((range) => Number(/(\d+)-/.exec(range)![1]));
  assert.ok(
    from.includes(100_000) && from.includes(101_000),
    `it does not go on where it broke off: ${from}`,
  );

  s3.fault = () => ({ cutAfter: 0 });
  const dead = await problemOf(
    Promise.resolve(bucket.open({ ...objects[0]!, key: "x.ndjson" }).slice(1, 100)),
  );
  assert.deepEqual([dead.type, dead.transient], ["source-unreadable", true]);
  assert.match(
    dead.message,
    /bytes 1-99 of s3:\/\/lake\/x\.ndjson could not be fetched in 5 attempts/,
  );
  s3.fault = ({ range }) =>
    range === undefined
      ? undefined
      : { status: 206, body: "abc", headers: { "content-range": "bytes 5-7/9" } };
  const wrong = await problemOf(Promise.resolve(bucket.open(objects[0]!).slice(2, 50)));
  assert.equal(wrong.type, "source-changed");
});

Deno.test("s3: what the service refuses is said in its words and with what to do, and no secret", async () => {
  await using at = await lake();
  const { s3, folder } = at;
  s3.put("x.ndjson", "{}\n");
  const refused = async (fault: Exclude<ReturnType<FakeS3["fault"]>, undefined>) => {
    s3.fault = () => fault;
    const problem = await problemOf(readAll(conf("x.ndjson"), folder.ctx));
    assert.ok(!JSON.stringify(problem.toJSON()).includes("the-secret-key"));
    return problem.message;
  };
  const denied = "<Error><Code>AccessDenied</Code><Message>Access &amp; Denied</Message></Error>";
  assert.match(
    await refused({ status: 403, body: denied }),
    /403 AccessDenied: Access & Denied\. Check the connection's keys/,
  );
  assert.match(
    await refused({ status: 301, headers: { "x-amz-bucket-region": "eu-west-1" } }),
    /region eu-west-1: set it in the connection/,
  );
  assert.match(
    await refused({ status: 404, body: "<Error><Code>NoSuchBucket</Code></Error>" }),
    /Check the bucket's name/,
  );
  assert.match(
    await refused({ status: 200, body: "<html>sign in</html>" }),
    /no listing of an S3 service/,
  );
  s3.fault = () => undefined;
  const none = await problemOf(readAll(conf("y*.csv"), folder.ctx));
  assert.match(none.message, /No object matches "s3:\/\/lake\/y\*\.csv"\. There are: x\.ndjson/);
});

Deno.test("s3: an endpoint at a private address is read from only where it is allowed", async () => {
  await using at = await lake();
  const { s3, folder } = at;
  s3.put("x.ndjson", "{}\n");
  const ctx = { ...folder.ctx, limits: { ...folder.ctx.limits, allowPrivateHosts: [] } };
  const problem = await problemOf(readAll(conf("x.ndjson"), ctx));
  assert.equal(problem.type, "source-refused");
  assert.match(problem.message, /not a public address/);
  assert.equal(s3.asked.length, 0);
  const metadata = { ...s3.connection, endpoint: "http://169.254.169.254/" };
  const never = await problemOf(readAll(conf("x.ndjson"), {
    ...ctx,
    target: metadata,
    limits: { ...ctx.limits, allowPrivateHosts: ["169.254.169.254"] },
  }));
  assert.match(never.message, /keep their credentials/);
});

Deno.test("s3: a rejected record names its object and line, or its byte and the line of its slice", async () => {
  await using at = await lake();
  const { s3, folder } = at;
  s3.put("x.csv", 'id,text\n1,a\n2,"b\nb"\n3,c,d\n' + "4,e\n".repeat(20) + "5,f,g\n");
  const csv = await readAll(conf("x.csv"), { ...folder.ctx, chunkSize: 5 });
  assert.deepEqual(csv.unreadable.map(({ message }) => message.split(":").slice(0, 2).join(":")), [
    "line 5 of s3://lake/x.csv",
    "line 26 of s3://lake/x.csv",
  ]);
  // several blocks of one slice
  s3.put("y.csv", "id,text\n" + `1,${"y".repeat(1_000)}\n`.repeat(1_400) + "3,c,d\n");
  const blocks = await readAll(conf("y.csv"), folder.ctx);
  assert.equal(blocks.slices.length, 1);
  assert.match(blocks.unreadable[0]!.message, /^line 1402 of/);
  const line = `{"text":"${"x".repeat(500)}"}\n`;
  s3.put("x.ndjson", line.repeat(70_000) + "{\n");
  const { unreadable, plan } = await readAll(conf("x.ndjson"), folder.ctx);
  assert.ok(plan.slices.length > 1);
  assert.match(
    unreadable[0]!.message,
    new RegExp(`^byte ${line.length * 70_000} of s3://lake/x.ndjson`),
  );
  // a slice whose parts are the file's second, its last and another's
  const parts = plan.slices.flatMap((slice) => slice.parts as Plain[]);
  s3.put("y.ndjson", "[]\n");
  const other = await planSource(sourceConf(conf("y.ndjson")), folder.ctx);
  const read = async (parts: Plain[]) => {
    const lines = { next: 0, ofSlice: true };
    const found: unknown[] = [];
    const ctx = { ...folder.ctx, lines };
    for await (const batch of readSource(sourceConf(conf("x.ndjson")), { parts }, ctx)) {
      batch.forEach((record, i) => {
        if (!(record instanceof Unreadable)) return;
        const { file, line, sliceLine } = batch.origin!(i);
        found.push([file, line, sliceLine]);
      });
    }
    return { found, newlines: lines.next - 1 };
  };
  const first = await read([parts[0]!]);
  const rest = await read(parts.slice(1));
  assert.equal(first.newlines + rest.newlines, 70_001);
  const broken = ["s3://lake/x.ndjson", null, 70_001 - first.newlines];
  assert.deepEqual(rest.found, [broken]);
  assert.deepEqual(await read([...parts.slice(1), ...other.slices[0]!.parts as Plain[]]), {
    found: [broken, ["s3://lake/y.ndjson", 1, undefined]],
    newlines: 1,
  });
});

Deno.test("s3: a preview reads the beginning only", async () => {
  await using at = await lake();
  const { s3, folder } = at;
  for (let i = 0; i < 100; i++) s3.put(`p/${i}.csv`, csvOf(10_000));
  const { records } = await previewSource(sourceConf(conf("p/*.csv")), folder.ctx, 20);
  assert.equal(records.length, 20);
  assert.ok(s3.asked.length < 20, String(s3.asked.length));
  assert.ok(
    new Bucket("b", s3.connection, folder.ctx).open({ key: "k", size: 1, etag: '"e"' }) instanceof
      RemoteFile,
  );
});
