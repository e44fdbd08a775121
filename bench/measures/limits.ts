import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import type { TestServer } from "../../tests/helpers/server.ts";
import type { Measure, Row } from "../bench.ts";
import { recordLine } from "../data_set.ts";
import { cpuSecondsOf, watchMemory } from "../process_usage.ts";
import { completeRun } from "../runs.ts";
import { rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const MAX_MB = 700;
const MAX_LIVEZ_MS = 200;

/** What a server needs at most for loads of every kind: docs/operations.md has its table. */
export const limits: Measure = {
  name: "limits",
  about: "memory, CPU, spool and the slowest /livez for large, wide, nested and many inputs",
  onlyNamed: true,
  run: measure,
};

interface Case {
  name: string;
  /** Writes what is loaded below `dir`; `scale` is 1 for a million `--records`. */
  prepare(dir: string, scale: number): Promise<string>;
  /** Loads it; default: as one run. */
  load?(server: TestServer, file: string, table: string): Promise<void>;
  env?: Record<string, string>;
}

const text = (length: number, seed: number) =>
  `${seed}`.padEnd(length, "abcdefghijklmnopqrstuvwxyz ");

const objects = (count: number, bytes: number) => (dir: string, scale: number) =>
  written(dir, Math.ceil(count * scale), (i) => `{"id":${i},"text":"${text(bytes - 30, i)}"}\n`);

const CASES: Case[] = [
  { name: "1,000,000 records of 150 bytes", prepare: narrow(1_000_000) },
  { name: "100,000 records of 5 KB", prepare: objects(100_000, 5_000) },
  { name: "5,000 records of 100 KB", prepare: objects(5_000, 100_000) },
  { name: "100 records of 5 MB", prepare: objects(100, 5_000_000) },
  {
    name: "20,000 records of 2,000 fields (CSV)",
    prepare: async (dir, scale) => {
      const columns = Array.from({ length: 2_000 }, (_, i) => i === 0 ? "id" : `column_${i}`);
      return await written(
        dir,
        Math.ceil(20_000 * scale),
        (i) => `${i},${columns.slice(1).map((_, c) => (i * 31 + c) % 1_000).join(",")}\n`,
        { head: `${columns.join(",")}\n`, name: "wide.csv" },
      );
    },
  },
  {
    name: "500,000 rows of nested lists and structs (Parquet, one row group)",
    prepare: async (dir, scale) => {
      await Deno.writeFile(join(dir, "nested.parquet"), nested(Math.ceil(500_000 * scale)));
      return "nested.parquet";
    },
  },
  {
    name: "3 GB of NDJSON as gzip",
    prepare: async (dir, scale) => {
      const records = Math.ceil(20_000_000 * scale);
      const file = await Deno.create(join(dir, "large.ndjson.gz"));
      await ReadableStream.from(blocks(records, (i) => recordLine(i, "sequential")))
        .pipeThrough(new CompressionStream("gzip")).pipeTo(file.writable);
      return "large.ndjson.gz";
    },
  },
  {
    name: "3,000 files",
    prepare: async (dir, scale) => {
      await Deno.mkdir(join(dir, "files"));
      const encoder = new TextEncoder();
      for (let file = 0; file < Math.ceil(3_000 * scale); file++) {
        let content = "";
        for (let i = 0; i < 100; i++) content += recordLine(file * 100 + i, "sequential");
        await Deno.writeFile(join(dir, "files", `${file}.ndjson`), encoder.encode(content));
      }
      return "files/*.ndjson";
    },
  },
  {
    name: "100,000 rejected records of 1 KB",
    // without an id, after as many as make the first 1,000 no sign of a wrong mapping
    prepare: (dir, scale) =>
      written(
        dir,
        Math.ceil(120_000 * scale),
        (i) => `{${i % 6 === 0 ? `"id":${i}` : `"di":${i}`},"text":"${text(1_000, i)}"}\n`,
      ),
  },
  {
    name: "8 runs at once, of 250,000 records each",
    prepare: narrow(250_000),
    env: { ETL_RUN_SLOTS: "8" },
    load: async (server, file, table) => {
      await Promise.all(
        Array.from(
          { length: 8 },
          (_, i) => completeRun(server, conf(file, `${table}_${i}`)),
        ),
      );
    },
  },
  {
    name: "an upload of 500 MB",
    prepare: narrow(3_300_000),
    env: { ETL_MAX_BODY_BYTES: String(1 << 30) },
    load: async (server, file, table) => {
      const body = await Deno.readFile(file);
      const response = await fetch(
        `${server.address}/api/etl/run?wait=true&key=id&name=limits&table_name=${table}`,
        {
          method: "POST",
          headers: { "content-type": "application/x-ndjson" },
          body,
        },
      );
      const run = await response.json();
      if (run.state !== "succeeded") throw new Error(JSON.stringify(run));
    },
  },
];

function conf(file: string, table: string): Record<string, unknown> {
  return {
    source: { type: "file", path: file, key: "id", name: "limits" },
    table_name: table,
    run_label: table,
    min_acceptance_ratio: 0,
  };
}

async function measure(world: World): Promise<Row[]> {
  const rows: Row[] = [];
  const scale = world.options.records / 1_000_000;
  await world.db.query("update etl.pools set slots = 8 where pool = 'default_pool'");
  for (const each of CASES) {
    world.log(each.name);
    rows.push(await measured(world, each, scale));
  }
  return rows;
}

async function measured(world: World, each: Case, scale: number): Promise<Row> {
  const dir = await Deno.makeTempDir({ dir: world.dir, prefix: "limits-" });
  const spool = await Deno.makeTempDir({ prefix: "etl-limits-" });
  const table = "bench_limits";
  try {
    const file = await each.prepare(dir, scale);
    await using server = await world.server({
      env: { ...each.env, ETL_DATA_DIR: dir, ETL_SPOOL_DIR: spool },
    });
    const livez = new Worker(new URL("../livez_worker.ts", import.meta.url), { type: "module" });
    // before the server, where the run fails: that is what should be shown
    using _watch = { [Symbol.dispose]: () => livez.terminate() };
    livez.postMessage({ address: server.address });
    const memory = watchMemory(server.pid);
    const disk = watchDisk(spool);
    const cpu = await cpuSecondsOf(server.pid);
    const started = performance.now();
    if (each.load === undefined) await completeRun(server, conf(file, table));
    else await each.load(server, each.name.includes("upload") ? join(dir, file) : file, table);
    const seconds = (performance.now() - started) / 1000;
    const used = await cpuSecondsOf(server.pid) - cpu;
    const livezMs = await new Promise<number>((resolve) => {
      livez.onmessage = ({ data }) => resolve(data);
      livez.postMessage("stop");
    });
    const megabytes = await memory.stop() / 1e6;
    const spoolMb = disk.stop() / 1e6;
    const scaled = scale === 1 ? "" : `${scale} of `;
    return {
      measure: `${scaled}${each.name}: ${seconds.toFixed(0)} s, ${used.toFixed(0)} s of CPU, ` +
        `spool ${spoolMb.toFixed(0)} MB, /livez ${livezMs.toFixed(0)} ms`,
      baseline: null,
      ours: rounded(megabytes),
      unit: "MB",
      ratio: null,
      target: `≤ ${MAX_MB} MB, /livez ≤ ${MAX_LIVEZ_MS} ms`,
      ok: megabytes <= MAX_MB && livezMs <= MAX_LIVEZ_MS,
      detail: { seconds, cpuSeconds: used, spoolMb, livezMs },
    };
  } finally {
    for (let i = 0; i < 8; i++) await world.dropTable(`${table}_${i}`);
    await world.dropTable(table);
    await Deno.remove(dir, { recursive: true });
    await Deno.remove(spool, { recursive: true });
  }
}

function narrow(count: number) {
  return (dir: string, scale: number) =>
    written(dir, Math.ceil(count * scale), (i) => recordLine(i, "scattered"));
}

async function written(
  dir: string,
  count: number,
  line: (index: number) => string,
  { head = "", name = "records.ndjson" } = {},
): Promise<string> {
  // what closes the file writes the last blocks
  const file = await Deno.create(join(dir, name));
  await ReadableStream.from(blocks(count, line, head)).pipeTo(file.writable);
  return name;
}

/** Lines as bytes, about a MiB at once. */
async function* blocks(count: number, line: (index: number) => string, head = "") {
  const encoder = new TextEncoder();
  let content = head;
  for (let i = 0; i < count; i++) {
    content += line(i);
    if (content.length < 1 << 20) continue;
    yield await Promise.resolve(encoder.encode(content));
    content = "";
  }
  yield encoder.encode(content);
}

/** Three structs a row, each with a list of two numbers. */
function nested(rows: number): Uint8Array {
  const optional = { repetition_type: "OPTIONAL" } as const;
  const repeated = { repetition_type: "REPEATED", num_children: 1 } as const;
  const number = { ...optional, type: "INT32" } as const;
  return new Uint8Array(parquetWriteBuffer({
    schema: [
      { name: "root", num_children: 2 },
      { name: "id", ...number },
      { name: "items", ...optional, num_children: 1, converted_type: "LIST" },
      { name: "list", ...repeated },
      { name: "element", ...optional, num_children: 3 },
      { name: "a", ...number },
      { name: "b", ...number },
      { name: "c", ...optional, num_children: 1, converted_type: "LIST" },
      { name: "list", ...repeated },
      { name: "element", ...number },
    ],
    columnData: [
      { name: "id", data: Array.from({ length: rows }, (_, i) => i) },
      {
        name: "items",
        data: Array.from(
          { length: rows },
          (_, i) => [0, 1, 2].map((n) => ({ a: (i + n) % 7, b: n, c: [i % 50, n] })),
        ),
      },
    ],
    rowGroupSize: rows,
  }));
}

/** The most bytes that files below a directory take, looked at five times a second. */
function watchDisk(dir: string): { stop(): number } {
  let most = 0;
  const bytesOf = async (path: string): Promise<number> => {
    let bytes = 0;
    try {
      for await (const { name, isDirectory } of Deno.readDir(path)) {
        const own = join(path, name);
        bytes += isDirectory ? await bytesOf(own) : (await Deno.stat(own)).size;
      }
    } catch {
      // it is gone meanwhile
    }
    return bytes;
  };
  const timer = setInterval(async () => most = Math.max(most, await bytesOf(dir)), 200);
  return {
    stop: () => {
      clearInterval(timer);
      return most;
    },
  };
}
