import assert from "node:assert/strict";
import { Database } from "../../store/database.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { RawClient } from "../helpers/raw_http.ts";
import { startServer } from "../helpers/server.ts";
import { bearer, makeToken } from "../helpers/tokens.ts";

Deno.test("whoever sends slowly, opens streams or asks for much keeps nobody out, and probes answer", async (t) => {
  await using database = await testDatabase(t);
  const db = new Database(database.dsn, { applicationName: "etl test", max: 1 });
  const viewer = bearer(await makeToken(db, { name: "viewer", role: "viewer" }));
  const other = bearer(await makeToken(db, { name: "other", role: "operator" }));
  await db.close();
  await using server = await startServer({
    dsn: database.dsn,
    env: { ETL_MAX_STREAMS: "400", ETL_MAX_REQUESTS: "64" },
  });
  const { address } = server;
  const status = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${address}${path}`, init);
    await response.body?.cancel();
    return response.status;
  };
  const open: RawClient[] = [];
  try {
    await t.step("half-sent forms of strangers", async () => {
      for (let i = 0; i < 600; i++) {
        const client = await RawClient.connect(address);
        open.push(client);
        const type = {
          "content-type": "application/x-www-form-urlencoded",
          "content-length": "100",
        };
        await client.send(RawClient.head("POST", "/etl/sign-in", type) + "\r\nt");
      }
      assert.equal(await status("/api/etl/runs", other), 200);
      assert.equal(await status("/readyz"), 200);
      assert.equal(await status("/etl/sign-in"), 200);
      const run = { ...other.headers, "content-type": "application/json" };
      assert.equal(
        await status("/api/etl/run?wait=true", {
          method: "POST",
          headers: run,
          body: '{"batch_size":1}',
        }),
        200,
      );
    });
    await t.step("half-sent requests of somebody who is known", async () => {
      for (let i = 0; i < 100; i++) {
        const client = await RawClient.connect(address);
        open.push(client);
        await client.send(
          RawClient.head("POST", "/api/etl/run", {
            ...other.headers,
            "content-type": "application/json",
            "content-length": "100",
          }) + "\r\n{",
        );
      }
      assert.equal(await status("/api/etl/runs", viewer), 200);
      assert.equal(await status("/api/etl/runs", other), 200);
    });
    await t.step("streams of many labels by one viewer", async () => {
      const opened = await Promise.all(Array.from({ length: 300 }, async (_, i) => {
        const client = await RawClient.connect(address);
        open.push(client);
        const path = `/etl/events?run_label=label${i % 150}`;
        await client.send(RawClient.head("GET", path, viewer.headers) + "\r\n");
        return (await client.readUntil(/\r\n\r\n/)).slice(9, 12);
      }));
      const count = (code: string) => opened.filter((each) => each === code).length;
      assert.equal(count("200") + count("429"), 300, [...new Set(opened)].join());
      assert.ok(count("200") <= 100, `${count("200")} streams of one viewer are open`);
      // others have theirs, and what they ask for is answered
      const stream = await fetch(`${address}/etl/events?run_label=mine`, other);
      assert.equal(stream.status, 200);
      await stream.body!.cancel();
      const started = performance.now();
      assert.equal(await status("/readyz"), 200);
      assert.equal(await status("/etl", other), 200);
      assert.ok(performance.now() - started < 5_000);
    });
  } finally {
    for (const client of open) client[Symbol.dispose]();
  }
});

Deno.test("readiness has a connection that requests cannot use up", async (t) => {
  await using database = await testDatabase(t);
  await using server = await startServer({ dsn: database.dsn, env: { ETL_RUN_SLOTS: "1" } });
  await withClient(database.dsn, async (client) => {
    // whoever lists configurations waits for this lock, with a connection each
    await client.query("begin");
    await client.query("lock table etl.configurations in access exclusive mode");
    const waiting = Array.from(
      { length: 40 },
      () =>
        fetch(`${server.address}/api/configurations`).then((response) => response.body?.cancel()),
    );
    const ready = await fetch(`${server.address}/readyz`);
    assert.equal(ready.status, 200, await ready.text());
    await client.query("rollback");
    await Promise.all(waiting);
  });
});
