import { deepStrictEqual as assertEquals } from "node:assert";
import { join } from "node:path";
import { spool } from "../../pipeline/sources/local/spool.ts";

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
      assertEquals(stored.size, at, name);
      assertEquals(bytes.length, at, name);
      assertEquals(bytes.findIndex((byte, i) => byte !== expected[i]), -1, name);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
