import assert from "node:assert/strict";
import fc from "fast-check";
import { paramsSchema } from "../../pipeline/params.ts";
import { differenceOf, sameOf } from "../../pipeline/same_program.ts";
import { SharedRun, whyAlone } from "../../pipeline/sharing.ts";
import { bitsOf, positionsOf } from "../../pipeline/spill/layout.ts";
import { fileAdapter } from "../../pipeline/sources/file.ts";
import { readAll, SourceFolder } from "../helpers/sources.ts";
import type { RunContext } from "../../pipeline/workers/task.ts";

Deno.test("a run is offered to others only where they can read its source, and for what is the same on several servers", () => {
  const slices = (count: number, root = "data") =>
    Array.from({ length: count }, () => ({ parts: [{ root }] }));
  const why = (
    conf: Record<string, unknown>,
    { count = 8, root = "data", dataShared = true, pin = {}, table = null as RunContext["table"] } =
      {},
  ) => {
    const source = { type: "file", path: "a.csv" };
    const params = paramsSchema.parse({ source, ...conf });
    return whyAlone({ params, table, pin }, { slices: slices(count, root), dataShared });
  };
  const lake = { source: { type: "s3", url: "s3://lake/*.csv", connection: "lake" } };
  const shop = { source: { type: "postgres", connection: "shop", table: "orders" } };
  const web = { source: { type: "http", url: "https://data.example.com/a.csv" } };

  assert.equal(why({}), null);
  assert.equal(why({ write: "append" }), null);
  assert.equal(why({ write: "history" }), null);
  for (const write of ["replace", "mirror"]) assert.equal(why({ write }), "write");
  assert.equal(why({}, { count: 7 }), "few_chunks");
  assert.equal(why({}, { dataShared: false }), "files");
  assert.equal(why({}, { root: "spool" }), null, "unpacked by each");
  assert.equal(why({}, { root: "spool", dataShared: false }), "files");
  for (const conf of [lake, web]) {
    assert.equal(why(conf, { root: "elsewhere", dataShared: false }), null);
    assert.equal(why(conf, { root: "spool" }), null);
  }
  assert.equal(why(web, { root: "spool", pin: { sha256: "…" } }), "downloaded");
  const body = { source: { type: "inline", upload_id: crypto.randomUUID() } };
  assert.equal(why(body, { root: "spool", dataShared: false }), null);
  assert.equal(why(shop, { dataShared: false }), null);
  assert.equal(why({ source: { type: "synthetic" } }), "source");
  assert.equal(why({ layout: "typed" }), null);
  assert.equal(why({ layout: "typed", dry_run: true }), "dry_run", "columns that nobody declares");
  const table = {
    source: "s",
    key: null,
    version: null,
    occurred_at: null,
    columns: [],
    own: true,
  };
  assert.equal(why({ layout: "typed" }, { table }), "own_table");
});

Deno.test("a server is the same only with the same module, what that imports, suite, limits, secret and place of the source", async () => {
  const dir = await Deno.makeTempDir({ prefix: "etl_same_" });
  try {
    await Deno.writeTextFile(
      `${dir}/prices.ts`,
      `import { rate } from "./rates.ts";\nexport const transform = (r) => rate(r);\n`,
    );
    await Deno.writeTextFile(`${dir}/rates.ts`, "export const rate = (r) => r;\n");
    const context = (changes: Record<string, unknown> = {}) => ({
      runId: "r",
      orderRunId: "r",
      late: false,
      appends: false,
      params: paramsSchema.parse({
        source: { type: "postgres", connection: "shop", table: "orders" },
        transform: "prices",
      }),
      privacy: { exclude: [], hash: ["email"], hashed: [], secret: "a".repeat(32) },
      sourceName: "s",
      table: null,
      pin: { at: 1.5, of: { b: 1, a: [1] } },
      cursorPosition: null,
      transformsDir: dir,
      connections: { shop: "postgres://u:secret@db.internal:5432/shop" },
      limits: { maxSpoolBytes: 1, maxRecordBytes: 1000, allowPrivateHosts: [] },
      suite: { name: "s", expectations: [] },
      ...changes,
    } as unknown as RunContext);
    const theirs = await sameOf(context());
    const against = async (changes: Record<string, unknown>) =>
      differenceOf(theirs, await sameOf(context(changes)));

    assert.deepEqual(await against({}), []);
    assert.deepEqual(
      await against({ pin: { of: { a: [1], b: 1 }, at: 1.5 } }),
      [],
      "order of keys",
    );
    const other = (dsn: string) => ({ connections: { shop: dsn } });
    assert.deepEqual(await against(other("postgres://u:other@db.internal:5432/shop")), []);
    assert.deepEqual(await against(other("postgres://u:secret@db.internal/test")), ["source"]);
    assert.deepEqual(await against({ suite: null }), ["run"]);
    assert.deepEqual(await against({ late: true }), ["run"]);
    const limits = { maxSpoolBytes: 1, maxRecordBytes: 999, allowPrivateHosts: [] };
    assert.deepEqual(await against({ limits }), ["run"]);
    const privacy = { exclude: [], hash: ["email"], hashed: [], secret: "b".repeat(32) };
    assert.deepEqual(await against({ privacy }), ["personal"]);
    assert.ok(!JSON.stringify(theirs).includes("secret"));
    await Deno.writeTextFile(`${dir}/rates.ts`, "export const rate = (r) => null;\n");
    assert.deepEqual(await against({}), ["modules"]);
    assert.deepEqual(differenceOf({ ...theirs, program: "x" }, theirs), ["program"]);
    const web = (url: string) => ({
      params: paramsSchema.parse({ source: { type: "http", url: "a.csv", connection: "web" } }),
      target: { url, headers: { authorization: "Bearer secret" } },
    });
    const here = await sameOf(context(web("https://u:secret@data.example.com/v1/a.csv?key=1")));
    assert.ok(!JSON.stringify(here).includes("secret"));
    const there = async (url: string) => differenceOf(here, await sameOf(context(web(url))));
    assert.deepEqual(await there("https://data.example.com/v1/a.csv?key=2"), []);
    assert.deepEqual(await there("https://data.example.com/v2/a.csv"), ["source"]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a server helps with files only where it has those that were planned", async () => {
  await using folder = await SourceFolder.create();
  const { ctx } = folder;
  await folder.write("a.ndjson", '{"id":1}\n');
  const { plan } = await readAll({ type: "file", path: "*.ndjson" }, ctx);
  const isHere = (dataDir: string) => fileAdapter.isHere!(plan.pin, { dataDir });
  assert.equal(await isHere(ctx.dataDir), true);
  assert.equal(await isHere(ctx.spoolDir), false, "another directory");
  await folder.write("a.ndjson", '{"id":22}\n');
  assert.equal(await isHere(ctx.dataDir), false, "another file");
});

Deno.test("positions are the same after they were bits", () => {
  fc.assert(fc.property(fc.uniqueArray(fc.nat(999)), (values) => {
    const positions = Int32Array.from(values).sort();
    const bits = bitsOf(positions, 1_000);
    assert.equal(bits.length, 125);
    assert.deepEqual(positionsOf(bits), positions);
  }));
});

/** A shared run of chunks that this server coordinates; `answers`: what the database says to statements of such values. */
function coordinated(
  answers: [statement: RegExp, answer: (...values: unknown[]) => unknown][],
  chunks = 1,
): SharedRun {
  const sql = async (parts: TemplateStringsArray, ...values: unknown[]) =>
    await answers.find(([statement]) => statement.test(parts.join("$")))![1](...values);
  return new SharedRun({
    sql: sql as never,
    of: { runId: "r", attempt: 1, holder: "h" } as never,
    serverId: "s",
    submit: () => Promise.reject(new Error("the chunk fails")),
    chunks,
    spillDir: "",
    lanes: 1,
    control: {
      signal: new AbortController().signal,
      throwIfHalted: () => {},
      halt: () => {},
    } as never,
    log: undefined as never,
    retry: { attempts: 1, initialMs: 0 },
  });
}

Deno.test("a shared run whose chunk came out otherwise, prepared again after the verdict, is given back", async () => {
  const told: number[] = [];
  const looks = [
    { stale: false, published: [{ chunk_no: 0 }] },
    { stale: true, published: [] },
  ];
  const run = coordinated([
    [/advance_shared_run/, () => [{ advanced: true }]],
    [/release_helpers/, () => [{ gone: 0 }]],
    [/claim_chunk/, () => []],
    [/shared_runs/, () => [looks.shift()]],
  ], 2);
  await assert.rejects(run.publish(new Set(), (chunk) => told.push(chunk.chunk_no)), {
    type: "unavailable",
    transient: true,
    message: /other keys or contents when a second server prepared it/,
  });
  assert.deepEqual(told, [0]);
});

Deno.test("a chunk that was taken from a server that died is prepared and told again before the verdict", async () => {
  const told: number[] = [];
  const lost = [true, false];
  let looks = 0;
  const meta = (chunk: number) => ({ meta: chunk, reused: false });
  const run = coordinated([
    [/advance_shared_run/, () => [{ advanced: !lost.shift() }]],
    [/release_helpers/, () => [{ gone: 0 }]],
    [/claim_chunk/, () => []],
    [/meta/, () => [meta(0), meta(1)]],
    [/shared_runs/, (known) => {
      looks++;
      const prepared = [0, 1].filter((chunk) => !(known as number[]).includes(chunk));
      return [{ stale: false, prepared, published: [] }];
    }],
  ], 2);
  await run.prepare((chunk) => told.push(chunk as never));
  assert.deepEqual([looks, told], [2, [0, 1, 0, 1, 0, 1]]);
});

Deno.test("a chunk that fails ends a shared run, also while its server looks how far the others are", async () => {
  const looking = Promise.withResolvers<void>();
  const looked = Promise.withResolvers<{ stale: boolean; published: unknown[] }[]>();
  let looks = 0;
  const answers: [RegExp, () => unknown][] = [
    [/advance_shared_run/, () => [{ advanced: true }]],
    [/release_helpers/, () => [{ gone: 0 }]],
    [/claim_chunk/, async () => {
      await looking.promise;
      return [{ chunk_no: 0, step: "publish", decision: {} }];
    }],
    [/shared_runs/, () => {
      looking.resolve();
      // later it would be found that all is done
      return looks++ === 0 ? looked.promise : [{ stale: false, published: [{ chunk_no: 0 }] }];
    }],
  ];
  const run = coordinated(answers);
  const ended = run.publish(new Set(), () => {});
  await looking.promise;
  // the chunk has failed by then
  setTimeout(() => looked.resolve([{ stale: false, published: [] }]), 5);
  await assert.rejects(ended, /the chunk fails/);
  assert.equal(looks, 1);
});
