import assert from "node:assert/strict";
import { statfs } from "node:fs/promises";
import { refuseWithoutRoom, spillBytes } from "../../pipeline/spill/room.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { readAll, SourceFolder } from "../helpers/sources.ts";

Deno.test("refuseWithoutRoom() tells what a disk has no room for, and whether it ever will", async () => {
  const { blocks, bavail, bsize } = await statfs("/tmp");
  await refuseWithoutRoom("/tmp", bavail * bsize / 2);
  await assert.rejects(refuseWithoutRoom("/tmp", blocks * bsize + 1), (error: Problem) => {
    assert.deepEqual([error.type, error.transient], ["disk-full", false]);
    assert.match(
      error.message,
      /take about .* GiB, .* in all: point ETL_SPOOL_DIR at a larger disk/,
    );
    return true;
  });
  await assert.rejects(refuseWithoutRoom("/tmp", (bavail * bsize + blocks * bsize) / 2), {
    transient: true,
    message: /full but for .* GiB: free space/,
  });
});

Deno.test("a plan of files says about how many records and bytes it has", async () => {
  await using folder = await SourceFolder.create();
  const text = Array.from({ length: 5_000 }, (_, i) => `{"id":${i},"text":"of a record"}\n`).join(
    "",
  );
  await folder.write("a.ndjson", text);
  const { plan } = await readAll({ type: "file", path: "a.ndjson" }, folder.ctx);
  const { records, bytes } = plan.estimate!;
  assert.equal(bytes, text.length);
  assert.ok(Math.abs(records - 5_000) < 100);
  assert.ok(spillBytes({ records, bytes }) > text.length * 2.5);
});
