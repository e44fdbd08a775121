import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { canMount, smallDisk } from "../helpers/small_disk.ts";
import { waitFor } from "../helpers/wait_for.ts";
import type { Place } from "./holds.ts";
import { undisturbed } from "./invariants.ts";
import { endUndisturbed, holdAll, places, roomFor } from "./matrix.ts";
import { World } from "./world.ts";

/** Places after which nothing more is written to the disk. */
const WRITTEN: Place[] = ["publish", "finalize"];

Deno.test({
  name:
    "a full spool disk in any stage gives the runs back; with space they go on, nothing is lost or doubled",
  ignore: !await canMount(),
  async fn(t) {
    const at = places("chunk");
    await using db = await testDatabase(t);
    await using disk = await smallDisk("192m");
    await using world = await World.create({
      dsn: db.dsn,
      env: { ...roomFor(at), ETL_RUN_MAX_ATTEMPTS: "50", ETL_SPOOL_DIR: `${disk.path}/spool` },
    });
    const server = await world.start({ name: "a" });
    const expected = await undisturbed(world, server);
    const held = await holdAll(world, server, { at });
    for (const { runId, place, release } of held) {
      // a run that gives up frees what it had half written, so each finds the disk filled anew
      await fill(`${disk.path}/filler`);
      await release();
      if (WRITTEN.includes(place)) continue;
      const error = await waitFor(async () => {
        const { error } = await world.run(runId);
        return error?.type === "/api/problems/disk-full" ? error : null;
      }, { timeoutMs: 30_000, what: `the run held at ${place} to tell of the disk` }).catch(
        (error) => {
          throw new Error(`${error.message}\n${world.logs()}`);
        },
      );
      assert.match(error.detail, /spool.* is full.*space/s);
    }
    // all of them let go: what holds one in finalize holds the ends of the others, too
    for (const { place, runId } of held) if (WRITTEN.includes(place)) await world.ended(runId);
    await Deno.remove(`${disk.path}/filler`);
    await endUndisturbed(world, held, { expected, servers: [server], attempts: { max: 50 } });
  },
});

/** Writes until there is no space. */
async function fill(path: string): Promise<void> {
  using file = await Deno.open(path, { append: true, create: true });
  for (const size of [1 << 20, 1 << 12, 1]) {
    const block = new Uint8Array(size);
    try {
      for (;;) await file.write(block);
    } catch {
      // full for blocks of this size
    }
  }
}
