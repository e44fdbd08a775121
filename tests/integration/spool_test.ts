import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { canMount, smallDisk } from "../helpers/small_disk.ts";
import { waitFor } from "../helpers/wait_for.ts";

const run = async (server: TestServer, conf: object) => {
  const answer = await fetch(`${server.address}/api/etl/run?wait=true`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(conf),
  });
  return await answer.json();
};

/** Paths below a directory with their modes. */
function below(dir: string): [string, string][] {
  return [...Deno.readDirSync(dir)].flatMap(({ name, isDirectory }) => {
    const path = `${dir}/${name}`;
    const mode = (Deno.statSync(path).mode! & 0o777).toString(8);
    return [[path, mode] as [string, string], ...(isDirectory ? below(path) : [])];
  });
}

Deno.test("servers of two databases on one spool leave each other's runs alone, and files to their account", async (t) => {
  const spool = await Deno.makeTempDir({ prefix: "etl-spool-" });
  await using one = await testDatabase(t);
  await using two = await testDatabase(t);
  const env = { ETL_SPOOL_DIR: spool };
  await using first = await startServer({ dsn: one.dsn, env });
  // a run of the first database that is not over, as another server sees it
  await query(one.dsn, "select etl.request_run('{\"batch_size\": 10}')").catch(() => {});
  const mine = [...Deno.readDirSync(spool)].map(({ name }) => name);
  assert.equal(mine.length, 1);
  const foreign = `${spool}/${mine[0]}/${crypto.randomUUID()}`;
  await using second = await startServer({ dsn: two.dsn, env });
  await Deno.mkdir(foreign);
  const results = await Promise.all(
    [first, second, first, second].map((server, i) =>
      run(server, { batch_size: 5_000, chunk_size: 500, run_label: `r${i}` })
    ),
  );
  assert.deepEqual(results.map(({ state }) => state), Array(4).fill("succeeded"));
  const bad = below(spool).filter(([path, mode]) => path !== foreign && !/^(700|600)$/.test(mode));
  assert.deepEqual(bad, []);
  // the first database's server tidies its own; the other database's never did
  await waitFor(() => !exists(foreign), { what: "the owner to tidy up" });
  assert.equal([...Deno.readDirSync(spool)].length, 2);
});

Deno.test("what a server left that died during an upload goes while another one goes on", async (t) => {
  const spool = await Deno.makeTempDir({ prefix: "etl-spool-" });
  await using db = await testDatabase(t);
  const env = { ETL_SPOOL_DIR: spool };
  const dying = await startServer({ dsn: db.dsn, env });
  // a database stays the same one when it is set up again
  await setupDatabase(db.dsn);
  await using staying = await startServer({ dsn: db.dsn, env });
  assert.equal([...Deno.readDirSync(spool)].length, 1);
  const uploading = fetch(`${dying.address}/api/etl/run`, {
    method: "POST",
    headers: { "content-type": "text/csv" },
    body: new ReadableStream({
      start: (stream) => stream.enqueue(new TextEncoder().encode("id,type\n".repeat(10_000))),
    }),
  }).catch(() => null);
  const partial = () => below(spool).filter(([path]) => path.includes("upload-"));
  await waitFor(() => partial().length === 1, { what: "the upload to be on its way" });
  dying.kill("SIGKILL");
  await dying.ended;
  await uploading;
  await waitFor(() => partial().length === 0, { what: "the leftover to go" });
  assert.equal((await run(staying, { batch_size: 10 })).state, "succeeded");
  await Deno.remove(spool, { recursive: true });
});

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test({
  name:
    "a run whose finished rows the spool's disk has no room for is refused before one is written",
  ignore: !await canMount(),
  async fn(t) {
    await using db = await testDatabase(t);
    await using disk = await smallDisk("8m");
    const data = await Deno.makeTempDir();
    try {
      const line = (id: number) => `{"id":${id},"text":"${"x".repeat(100)}"}\n`;
      const records = (count: number) =>
        Array.from({ length: count }, (_, id) => line(id)).join("");
      await Deno.writeTextFile(`${data}/large.ndjson`, records(60_000));
      await Deno.writeTextFile(`${data}/small.ndjson`, records(1_000));
      await using server = await startServer({
        dsn: db.dsn,
        env: {
          ETL_SPOOL_DIR: `${disk.path}/spool`,
          ETL_DATA_DIR: data,
          // a run that is not refused waits for room
          ETL_OUTAGE_MINUTES: "0",
        },
      });
      const load = (path: string) => run(server, { source: { type: "file", path, key: "id" } });
      const refused = await load("large.ndjson");
      assert.equal(refused.error.type, "/api/problems/disk-full", JSON.stringify(refused));
      assert.match(
        refused.error.detail,
        /take about 1\d MiB, .* has 8 MiB in all: point ETL_SPOOL_DIR/,
      );
      const chunks = await query(db.dsn, "select from etl.chunks where state <> 'planned'");
      assert.equal(chunks.length, 0);
      assert.equal((await load("small.ndjson")).state, "succeeded");
    } finally {
      await Deno.remove(data, { recursive: true });
    }
  },
});
