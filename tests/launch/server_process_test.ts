import assert from "node:assert/strict";
import { startServer } from "../helpers/server.ts";

const entry = new URL("../fixtures/stand_in_server.ts", import.meta.url).pathname;
const dsn = "postgres://nobody:secret@127.0.0.1:1/none";

Deno.test("startServer() waits until the server listens and ends it by SIGTERM", async () => {
  let ended: Promise<Deno.CommandStatus>;
  let logs: string[];
  {
    await using server = await startServer({ dsn, entry });
    ({ ended, logs } = server);
    const answer = await fetch(server.address);
    assert.equal(await answer.text(), "ok");
  }
  assert.equal((await ended).code, 0);
  assert.ok(logs.includes("draining after SIGTERM"));
});

Deno.test("startServer() gives the server no permission that its configuration does not need", async () => {
  await using server = await startServer({ dsn, entry });
  const answer = await fetch(`${server.address}/denied`);
  assert.deepEqual(await answer.json(), {
    run: "NotCapable",
    ffi: "NotCapable",
    net: "NotCapable",
    linkLocal: "NotCapable",
    read: "NotCapable",
    write: "NotCapable",
    env: "NotCapable",
  });
});

Deno.test("startServer() keeps link-local addresses out of reach also when every host is allowed", async () => {
  await using server = await startServer({ dsn, entry, env: { ETL_HTTP_SOURCES: "*" } });
  const answer = await fetch(`${server.address}/denied`);
  assert.equal((await answer.json()).linkLocal, "NotCapable");
});

Deno.test("startServer() fails with the server's last words when it does not come up", async () => {
  await assert.rejects(
    startServer({ dsn, entry: "/does/not/exist.ts" }),
    /ended with 1 before it listened:\n.*exist\.ts/s,
  );
});
