import assert from "node:assert/strict";
import fs from "node:fs";
import { gzipSync } from "node:zlib";
import type { ColumnMetaData } from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
import { Problem } from "../../vocabulary/problem.ts";
import { planSource, readSource } from "../../pipeline/sources/adapters.ts";
import { openPart } from "../../pipeline/sources/local/open_input.ts";
import { checkPage, type PageHeader } from "../../pipeline/sources/local/parquet_check.ts";
import { readAll, sourceConf, SourceFolder } from "../helpers/sources.ts";

const MIB = 1 << 20;

async function problemOf(promise: Promise<unknown>): Promise<Problem> {
  const error = await promise.then(() => assert.fail("did not fail"), (error) => error);
  assert.ok(error instanceof Problem, String(error?.stack ?? error));
  return error;
}

/** 10 GB of zeros in 10 MB: members of 64 MiB, one after the other. */
function bomb(): Uint8Array {
  const member = gzipSync(new Uint8Array(64 * MIB));
  const whole = new Uint8Array(member.length * 160);
  for (let i = 0; i < 160; i++) whole.set(member, i * member.length);
  return whole;
}

Deno.test("hostile files: 10 GB of zeros in 10 MB end at the limit, in little memory", async () => {
  await using folder = await SourceFolder.create();
  folder.ctx.limits.maxSpoolBytes = 800 * MIB;
  const bytes = bomb();
  await folder.write("bomb.ndjson.gz", bytes);
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response(bytes as BodyInit, { headers: { "content-type": "application/gzip" } }),
  );
  const { port } = server.addr;
  folder.ctx.limits.allowPrivateHosts = [`127.0.0.1:${port}`];
  const before = Deno.memoryUsage().rss;
  let most = before;
  const watch = setInterval(() => most = Math.max(most, Deno.memoryUsage().rss), 20);
  try {
    const sources = [
      { type: "file", path: "bomb.ndjson.gz" },
      { type: "http", url: `http://127.0.0.1:${port}/bomb.ndjson.gz`, format: "ndjson" },
    ];
    for (const source of sources) {
      const { type, message } = await problemOf(readAll(source, folder.ctx));
      assert.equal(type, "source-unreadable", message);
      assert.match(message, /more than 838860800 bytes when unpacked/);
    }
  } finally {
    clearInterval(watch);
  }
  assert.ok(most - before < 400 * MIB, `${Math.round((most - before) / MIB)} MiB more`);
  const kept = (await Array.fromAsync(Deno.readDir(folder.ctx.spoolDir))).map(({ name }) => name);
  assert.ok(kept.every((name) => !name.endsWith(".data")), kept.join());
});

Deno.test("hostile files: a Parquet file that claims rows or bytes that it has not is refused", async () => {
  await using folder = await SourceFolder.create();
  const honest = new Uint8Array(parquetWriteBuffer({
    columnData: [{ name: "id", data: Array.from({ length: 1000 }, (_, i) => i) }],
  }));
  // 1,000 is d0 0f as zigzag varint; where the footer has it, it counts rows
  const places = [...honest].flatMap((byte, i) =>
    i > honest.length - 150 && byte === 0xd0 && honest[i + 1] === 0x0f ? [i] : []
  );
  assert.ok(places.length >= 2);
  const claims = [2 ** 31, 10 ** 12, 2 ** 53, -1];
  for (const claim of claims) {
    const bytes = rewritten(honest, [...places], varint(claim));
    await folder.write("lie.parquet", bytes);
    const started = performance.now();
    const { type } = await problemOf(
      planSource(sourceConf({ type: "file", path: "lie.parquet" }), folder.ctx),
    );
    assert.equal(type, "source-unreadable", String(claim));
    assert.ok(performance.now() - started < 5_000);
  }
  await folder.write("honest.parquet", honest);
  assert.equal(
    (await readAll({ type: "file", path: "honest.parquet" }, folder.ctx)).records.length,
    1000,
  );
});

Deno.test("hostile files: a Parquet page that claims billions of values costs its run, not the process", async () => {
  await using folder = await SourceFolder.create();
  const read = async (bytes: Uint8Array) => {
    await folder.write("a.parquet", bytes);
    return await readAll({ type: "file", path: "a.parquet" }, folder.ctx);
  };
  const data = Array.from({ length: 200_000 }, (_, i) => i < 100_000 ? "a" : "b");
  const columnData = [{ name: "t", data, type: "STRING" as const }];
  for (const codec of ["UNCOMPRESSED", "SNAPPY"] as const) {
    const honest = new Uint8Array(parquetWriteBuffer({ columnData, codec }));
    assert.equal((await read(honest)).records.length, 200_000);
    // two runs of dictionary indexes become one of 2^31 - 1
    const runs = [0xf0, 0x8a, 0x0c, 0x00, 0xd0, 0x0f, 0x01];
    const at = honest.findIndex((_, i) => runs.every((byte, k) => honest[i + k] === byte));
    if (codec === "SNAPPY" && at < 0) continue;
    assert.ok(at > 0);
    const lie = Uint8Array.from(honest);
    lie.set([0xfe, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x01], at);
    const { type, message } = await problemOf(read(lie));
    assert.equal(type, "source-unreadable");
    assert.match(message, /a run of 2147483647 values in a page of 100000/);
  }
});

Deno.test("hostile files: a Parquet page's levels and values are walked over run by run, whatever their width", () => {
  const big = [0xfe, 0xff, 0xff, 0xff, 0x0f]; // a repetition of 2^31 - 1 values
  /** Eight packed values, four repeated ones, and then that; each value has these bits. */
  const lying = (width: number) => [
    ...[3, ...Array.from({ length: width }, () => 0xff)],
    ...[8, ...Array.from({ length: Math.ceil(width / 8) }, () => 0xff)],
    ...[...big, 1],
  ];
  const honest = (width: number) => lying(width).slice(0, -6);
  const sized = (runs: number[]) => [runs.length, 0, 0, 0, ...runs];
  const check = (
    bytes: number[],
    { encoding = "PLAIN", definition = 0, repetition = 0, v2 = [0, 0] },
  ) =>
    checkPage(
      Uint8Array.from(bytes),
      {
        uncompressed_page_size: bytes.length,
        ...(v2[0]! + v2[1]! > 0
          ? {
            data_page_header_v2: {
              num_values: 13,
              encoding,
              repetition_levels_byte_length: v2[0],
              definition_levels_byte_length: v2[1],
              is_compressed: false,
            },
          }
          : { data_page_header: { num_values: 13, encoding } }),
      } as unknown as PageHeader,
      {
        column: { codec: "UNCOMPRESSED" } as ColumnMetaData,
        levels: { repetition, definition },
        compressors: {},
      },
    );
  for (const [width, level] of [[1, 1], [7, 127], [9, 300]] as const) {
    const [good, bad] = [honest(width), lying(width)];
    const pages: [(runs: number[]) => number[], Parameters<typeof check>[1]][] = [
      [sized, { definition: level }],
      [sized, { repetition: level }],
      [(runs) => [...sized(good), ...sized(runs)], { repetition: level, definition: level }],
      [(runs) => [...good, ...runs], {
        repetition: level,
        definition: level,
        v2: [good.length, bad.length],
      }],
      [(runs) => [width, ...runs], { encoding: "RLE_DICTIONARY" }],
      [(runs) => [...sized(good), width, ...runs], {
        encoding: "PLAIN_DICTIONARY",
        definition: level,
      }],
      ...(width === 1 ? [[sized, { encoding: "RLE" }] as [typeof sized, object]] : []),
    ];
    for (const [page, how] of pages) {
      check(page(good), how);
      assert.throws(
        () => check(page(bad), how),
        /a run of 2147483647 values in a page of 13/,
        JSON.stringify([width, how]),
      );
    }
  }
});

/** The file with what is at these places of its footer replaced, and the footer's length corrected. */
function rewritten(file: Uint8Array, places: number[], by: number[]): Uint8Array {
  const bytes: number[] = [];
  for (let i = 0; i < file.length; i++) {
    if (places.includes(i)) {
      bytes.push(...by);
      i++;
    } else bytes.push(file[i]!);
  }
  const whole = Uint8Array.from(bytes);
  const view = new DataView(whole.buffer);
  const at = whole.length - 8;
  view.setUint32(at, view.getUint32(at, true) + places.length * (by.length - 2), true);
  return whole;
}

/** A zigzag varint, as the compact protocol of Thrift has integers. */
function varint(value: number): number[] {
  let rest = BigInt(value) >= 0n ? BigInt(value) * 2n : BigInt(value) * -2n - 1n;
  const bytes: number[] = [];
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return bytes;
}

Deno.test("hostile files: a run cannot be cut into more chunks than memory holds", async () => {
  await using folder = await SourceFolder.create();
  const ctx = { ...folder.ctx, chunkSize: 1, maxRecords: 1_000_000_000 };
  const { type, message } = await problemOf(planSource(sourceConf({ type: "synthetic" }), ctx));
  assert.deepEqual([type, /chunk_size/.test(message)], ["invalid-conf", true]);
});

Deno.test("hostile files: a link that is swapped while the file is opened leads nowhere", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("d/a.ndjson", '{"a":1}\n');
  await Deno.mkdir(`${folder.path}/outside`);
  await Deno.writeTextFile(`${folder.path}/outside/a.ndjson`, '{"s":1}\n');
  const { slices } = await planSource(sourceConf({ type: "file", path: "d/a.ndjson" }), folder.ctx);
  const [part] = (slices[0] as unknown as { parts: Parameters<typeof openPart>[0][] }).parts;
  const [inside, kept] = [`${folder.ctx.dataDir}/d`, `${folder.ctx.dataDir}/kept`];
  // after the path was resolved the directory becomes a link to another, before the file is opened,
  // and is itself again when the path is looked at once more
  let swapped = 0;
  using _swap = beforeOpen(() => {
    swapped++;
    Deno.renameSync(inside, kept);
    Deno.symlinkSync(`${folder.path}/outside`, inside);
    return () => {
      Deno.removeSync(inside);
      Deno.renameSync(kept, inside);
    };
  });
  const { type } = await problemOf(openPart({ ...part!, mtime_ms: 0 }, folder.ctx));
  assert.deepEqual([type, swapped], ["source-refused", 1]);
});

Deno.test("hostile files: a pipe that takes the place of a file just before it is opened is refused, not waited for", async () => {
  await using folder = await SourceFolder.create();
  const path = `${folder.ctx.dataDir}/a.ndjson`;
  const source = sourceConf({ type: "file", path: "a.ndjson" });
  await folder.write("a.ndjson", '{"a":1}\n');
  const { slices: [slice] } = await planSource(source, folder.ctx);
  using _swap = beforeOpen(() => {
    Deno.removeSync(path);
    const { success } = new Deno.Command("mkfifo", { args: [path] }).outputSync();
    assert.ok(success);
    return () => {};
  });
  const { type, message } = await problemOf(
    Array.fromAsync(readSource(source, slice!, folder.ctx)),
  );
  assert.equal(type, "source-changed");
  assert.match(message, /a.ndjson is not a regular file any more/);
});

/** Does something right before files are opened, and what it answers right after. */
function beforeOpen(swap: () => () => void): Disposable {
  const { open } = fs;
  fs.open = ((path: string, flags: number, done: (error: Error | null, fd: number) => void) => {
    const back = swap();
    open(path, flags, (error, fd) => {
      back();
      done(error, fd);
    });
  }) as typeof open;
  return { [Symbol.dispose]: () => void (fs.open = open) };
}

Deno.test("hostile files: a Parquet footer of many columns is refused before it is read", async () => {
  await using folder = await SourceFolder.create();
  const columns = (count: number) =>
    new Uint8Array(parquetWriteBuffer({
      columnData: Array.from({ length: count }, (_, i) => ({
        name: `c${i}`,
        data: [1],
        type: "INT32" as const,
      })),
      statistics: false,
    }));
  await folder.write("many.parquet", columns(25_000));
  const started = performance.now();
  const { type, message } = await problemOf(
    planSource(sourceConf({ type: "file", path: "many.parquet" }), folder.ctx),
  );
  assert.equal(type, "source-unreadable");
  assert.match(message, /a schema of 25001 elements; the limit is 20000: select fewer columns/);
  assert.ok(performance.now() - started < 1_000);
  await folder.write("wide.parquet", columns(2_000));
  const { records } = await readAll({ type: "file", path: "wide.parquet" }, folder.ctx);
  assert.equal(Object.keys(records[0]!).length, 2_000);
});

Deno.test("hostile files: nested rows are put together a few at once, however many their row group has", async () => {
  await using folder = await SourceFolder.create();
  const optional = { repetition_type: "OPTIONAL" } as const;
  const lists = async (name: string, lengths: number[]) => {
    await folder.write(
      name,
      new Uint8Array(parquetWriteBuffer({
        schema: [
          { name: "root", num_children: 1 },
          { name: "items", ...optional, num_children: 1, converted_type: "LIST" },
          { name: "list", repetition_type: "REPEATED", num_children: 1 },
          { name: "element", ...optional, num_children: 1 },
          { name: "a", ...optional, type: "INT32" },
        ],
        columnData: [{
          name: "items",
          data: lengths.map((length) => Array.from({ length }, (_, a) => ({ a }))),
        }],
        rowGroupSize: lengths.length,
        pageSize: 1 << 14,
      })),
    );
    const source = sourceConf({ type: "file", path: name });
    const { slices: [slice] } = await planSource(source, folder.ctx);
    return readSource(source, slice!, folder.ctx);
  };
  // most of its values are in the last rows
  const lengths = Array.from({ length: 3_000 }, (_, row) => row < 2_500 ? row % 3 : 900);
  const batches: number[] = [];
  let row = 0;
  for await (const batch of await lists("skewed.parquet", lengths)) {
    let values = 0;
    for (const { items } of batch as { items: { a: number }[] }[]) {
      assert.equal(items.length, lengths[row++]);
      assert.deepEqual(items.at(-1), items.length === 0 ? undefined : { a: items.length - 1 });
      values += items.length;
    }
    batches.push(values);
  }
  assert.equal(row, 3_000);
  assert.ok(Math.max(...batches) <= 200_000, `${batches}`);

  const long = await lists("long.parquet", [1, 600_000, 1]);
  const first = await long[Symbol.asyncIterator]().next();
  assert.equal(first.value.length, 1, "those before it are read");
  const { type, message } = await problemOf(Array.fromAsync(long));
  assert.equal(type, "source-unreadable");
  assert.match(
    message,
    /^row 2 of long.parquet has at least 600,000 values .*the limit is 500,000/,
  );
});
