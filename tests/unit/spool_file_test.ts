import assert from "node:assert/strict";
import { join } from "node:path";
import {
  asDiskFull,
  findSpooled,
  isUpload,
  spool,
  spoolName,
  takeSpooled,
  uploadName,
} from "../../pipeline/sources/local/spool.ts";
import { Problem } from "../../vocabulary/problem.ts";

Deno.test("a spool file holds what came, whatever the sizes of the blocks", async () => {
  const dir = await Deno.makeTempDir({ prefix: "etl_spool_" });
  try {
    const mebibyte = 1 << 20;
    const sizes = {
      nothing: [],
      empty: [0],
      "one block": [mebibyte],
      "across blocks": [1, 0, 700_000, 700_000, 3 * mebibyte + 5, 1],
    };
    for (const [name, of] of Object.entries(sizes)) {
      let at = 0;
      const blocks = of.map((size) => Uint8Array.from({ length: size }, () => at++ % 251));
      const stored = await spool(
        dir,
        name,
        (async function* () {
          yield* blocks;
        })(),
      );
      const bytes = await Deno.readFile(join(dir, name));
      const expected = Uint8Array.from({ length: at }, (_, i) => i % 251);
      assert.equal(stored.size, at, name);
      assert.equal(bytes.length, at, name);
      assert.equal(bytes.findIndex((byte, i) => byte !== expected[i]), -1, name);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

async function* texts(...of: string[]): AsyncGenerator<Uint8Array> {
  for (const text of of) yield new TextEncoder().encode(text);
}

Deno.test("a spool file that fails in the middle leaves nothing, and says what its source said", async () => {
  const dir = await Deno.makeTempDir({ prefix: "etl_spool_" });
  try {
    const cut = async function* () {
      yield* texts("x".repeat(3 << 20));
      throw new Error("the network is gone");
    };
    await assert.rejects(spool(dir, "cut", cut()), /the network is gone/);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(dir)), []);
    assert.equal(await findSpooled(dir, "cut"), undefined);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("one spool file may be made twice at once, in a directory that is not there yet", async () => {
  const root = await Deno.makeTempDir({ prefix: "etl_spool_" });
  try {
    const dir = join(root, "run", "input");
    const both = await Promise.all([1, 2].map(() => spool(dir, "same", texts("a", "bc"))));
    for (const file of both) assert.deepEqual(file, await findSpooled(dir, "same"));
    assert.deepEqual(both[0], { path: "same", absolutePath: join(dir, "same"), size: 3 });
    assert.equal((await Array.fromAsync(Deno.readDir(dir))).length, 1);
    const taken = await takeSpooled(dir, root, "same");
    assert.deepEqual(taken, { path: "same", absolutePath: join(root, "same"), size: 3 });
    assert.equal(await takeSpooled(dir, root, "same"), undefined);
    // what cannot be looked at is not taken for missing
    await assert.rejects(findSpooled(join(root, "same"), "below"), Deno.errors.NotADirectory);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("a full disk or quota is a problem that may pass; other errors stay what they are", () => {
  for (const code of ["ENOSPC", "EDQUOT"]) {
    const problem = asDiskFull(Object.assign(new Error(), { code }), "/spool");
    assert.ok(problem instanceof Problem);
    assert.deepEqual([problem.type, problem.transient], ["disk-full", true]);
    assert.match(problem.message, /\/spool/);
  }
  const other = Object.assign(new Error(), { code: "EIO" });
  assert.equal(asDiskFull(other, "/spool"), other);
});

Deno.test("spool files have names of their own, those of request bodies among them", () => {
  assert.match(uploadName("a"), /^[0-9a-f]{24}\.upload$/);
  assert.notEqual(uploadName("a"), uploadName("b"));
  assert.deepEqual([uploadName("a"), spoolName("a", "http")].map(isUpload), [true, false]);
});
