import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer } from "../helpers/server.ts";

const headers = { "content-type": "application/json" };

Deno.test("a server with its real permissions reads from a host in its lists, and from no other", async (t) => {
  await using database = await testDatabase(t);
  await using data = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () =>
      new Response('{"id":1}\n{"id":2}\n', { headers: { "content-type": "application/x-ndjson" } }),
  );
  const host = `localhost:${data.addr.port}`;
  await using server = await startServer({
    dsn: database.dsn,
    env: { ETL_HTTP_SOURCES: host, ETL_HTTP_PRIVATE_HOSTS: host },
  });
  const run = async (url: string) => {
    const response = await fetch(`${server.address}/api/etl/run?wait=true`, {
      method: "POST",
      headers,
      body: JSON.stringify({ source: { type: "http", url, key: "id" } }),
    });
    return await response.json();
  };
  const read = await run(`http://${host}/x.ndjson`);
  assert.deepEqual([read.state, read.total_rows], ["succeeded", 2], JSON.stringify(read.error));
  const refused = await run("http://example.com/x.ndjson");
  assert.equal(refused.error.type, "/api/problems/source-refused");
  assert.match(refused.error.detail, /add it to ETL_HTTP_SOURCES/);
});

Deno.test("a data directory that is a symbolic link is read by the server and its workers", async (t) => {
  await using database = await testDatabase(t);
  const home = await Deno.makeTempDir();
  await Deno.mkdir(`${home}/real`);
  await Deno.writeTextFile(`${home}/real/x.ndjson`, '{"id":1}\n{"id":2}\n');
  await Deno.symlink(`${home}/real`, `${home}/data`);
  try {
    await using server = await startServer({
      dsn: database.dsn,
      env: { ETL_DATA_DIR: `${home}/data` },
    });
    const ask = async (path: string) => {
      const response = await fetch(server.address + path, {
        method: "POST",
        headers,
        body: JSON.stringify({ source: { type: "file", path: "x.ndjson", key: "id" } }),
      });
      return await response.json();
    };
    const run = await ask("/api/etl/run?wait=true");
    assert.deepEqual([run.state, run.total_rows], ["succeeded", 2], JSON.stringify(run.error));
    assert.equal((await ask("/api/etl/preview")).events.length, 2);
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});
