import assert from "node:assert/strict";
import { join } from "node:path";
import { buildIslands } from "../../scripts/build_islands.ts";
import { Assets } from "../../routes/dashboard/assets.ts";

Deno.test("buildIslands() names files by their content, and does nothing twice", async () => {
  const outputDir = await Deno.makeTempDir();
  try {
    const first = await buildIslands({ outputDir });
    const names = new Set(first.files);
    for (const { file, imports } of Object.values(first.scripts)) {
      for (const name of [file, ...imports]) assert.ok(names.has(name), name);
    }
    for (const name of names) {
      assert.match(name, /[-.][A-Za-z0-9]{8,}\./);
      assert.ok((await Deno.stat(join(outputDir, name))).isFile);
    }
    const style = await Deno.readTextFile(join(outputDir, first.style));
    assert.ok(style.includes(`url("${first.font}")`));

    const { mtime } = await Deno.stat(join(outputDir, "manifest.json"));
    assert.deepEqual(await buildIslands({ outputDir }), first);
    assert.deepEqual((await Deno.stat(join(outputDir, "manifest.json"))).mtime, mtime);

    // what is damaged is made again
    await Deno.remove(join(outputDir, first.style));
    await buildIslands({ outputDir });
    assert.ok((await Deno.stat(join(outputDir, first.style))).isFile);
  } finally {
    await Deno.remove(outputDir, { recursive: true });
  }
});

Deno.test("without a build there is no manifest, and pages do without scripts", async () => {
  assert.equal(await new Assets(new URL("file:///nowhere/")).manifest(), null);
});
