import assert from "node:assert/strict";
import fc from "fast-check";
import { paramsSchema } from "../../pipeline/params.ts";
import { differenceOf, sameOf } from "../../pipeline/same_program.ts";
import { canBeShared } from "../../pipeline/sharing.ts";
import { bitsOf, positionsOf } from "../../pipeline/spill/layout.ts";
import type { RunContext } from "../../pipeline/workers/task.ts";

Deno.test("a run is offered to others only where they can read its source, and for what is the same on several servers", () => {
  const slices = (count: number, root = "data") =>
    Array.from({ length: count }, () => ({ parts: [{ root }] }));
  const shared = (
    conf: Record<string, unknown>,
    { count = 8, root = "data", dataShared = true, table = null as RunContext["table"] } = {},
  ) => {
    const source = { type: "file", path: "a.csv" };
    const params = paramsSchema.parse({ source, ...conf });
    return canBeShared({ params, table }, { slices: slices(count, root), dataShared });
  };
  const lake = { source: { type: "s3", url: "s3://lake/*.csv", connection: "lake" } };
  const shop = { source: { type: "postgres", connection: "shop", table: "orders" } };

  assert.equal(shared({}), true);
  assert.equal(shared({ write: "append" }), true);
  assert.equal(shared({}, { count: 7 }), false, "few chunks");
  assert.equal(shared({}, { dataShared: false }), false, "files of one server");
  assert.equal(shared({}, { root: "spool" }), false, "files that were unpacked");
  assert.equal(shared(lake, { root: "elsewhere", dataShared: false }), true);
  assert.equal(shared(lake, { root: "spool" }), false, "objects that were unpacked");
  assert.equal(shared(shop, { dataShared: false }), true);
  assert.equal(shared({ source: { type: "synthetic" } }), false);
  assert.equal(shared({ layout: "typed" }), true);
  assert.equal(shared({ layout: "typed", dry_run: true }), false, "columns that nobody declares");
  const table = {
    source: "s",
    key: null,
    version: null,
    occurred_at: null,
    columns: [],
    own: true,
  };
  assert.equal(shared({ layout: "typed" }, { table }), false, "a table of the user's own");
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

    assert.equal(await against({}), null);
    assert.equal(await against({ pin: { of: { a: [1], b: 1 }, at: 1.5 } }), null, "order of keys");
    const other = (dsn: string) => ({ connections: { shop: dsn } });
    assert.equal(await against(other("postgres://u:other@db.internal:5432/shop")), null);
    assert.match(
      (await against(other("postgres://u:secret@db.internal/test")))!,
      /leads elsewhere/,
    );
    assert.match((await against({ suite: null }))!, /suite/);
    assert.match((await against({ late: true }))!, /other rows/);
    const limits = { maxSpoolBytes: 1, maxRecordBytes: 999, allowPrivateHosts: [] };
    assert.match((await against({ limits }))!, /limit/);
    const privacy = { exclude: [], hash: ["email"], hashed: [], secret: "b".repeat(32) };
    assert.match((await against({ privacy }))!, /ETL_HASH_SECRET/);
    assert.ok(!JSON.stringify(theirs).includes("secret"));
    await Deno.writeTextFile(`${dir}/rates.ts`, "export const rate = (r) => null;\n");
    assert.match((await against({}))!, /transform module/);
    assert.match(differenceOf({ ...theirs, program: "x" }, theirs)!, /another build/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("positions are the same after they were bits", () => {
  fc.assert(fc.property(fc.uniqueArray(fc.nat(999)), (values) => {
    const positions = Int32Array.from(values).sort();
    const bits = bitsOf(positions, 1_000);
    assert.equal(bits.length, 125);
    assert.deepEqual(positionsOf(bits), positions);
  }));
});
