import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer } from "../helpers/server.ts";

Deno.test("main.ts reads its environment and serves with the permissions of production", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({
    dsn: db.dsn,
    env: { ETL_IMPROVED__BATCH_SIZE: "7", ETL_CONNECTION_SHOP: db.dsn },
  });
  const answer = await fetch(`${server.address}/api/etl/run?wait=true`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  const run = await answer.json();
  assert.equal(run.state, "succeeded");
  assert.equal(run.total_rows, 7);
  const nice = (await threads(server.pid)).filter(({ name }) => /^worker-\d$/.test(name))
    .map((thread) => thread.nice);
  assert.ok(nice.length > 0 && nice.every((each) => each === 5), `${nice}`);
  const [main] = await threads(server.pid);
  assert.equal(main!.nice, 0);
});

/** Threads of a process with their nice values (proc_pid_stat(5)), the main thread first. */
async function threads(pid: number): Promise<{ name: string; nice: number }[]> {
  const found = [];
  for await (const { name: id } of Deno.readDir(`/proc/${pid}/task`)) {
    const stat = await Deno.readTextFile(`/proc/${pid}/task/${id}/stat`).catch(() => null);
    if (stat === null) continue;
    const [, name, rest] = /\((.*)\) (.*)$/s.exec(stat)!;
    found.push({ id: Number(id), name: name!, nice: Number(rest!.split(" ")[16]) });
  }
  return found.sort((a, b) => a.id - b.id);
}

Deno.test("a server warns of variables beginning with ETL_ that nothing reads, and of no others", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({
    dsn: db.dsn,
    env: { ETL_PROT: "9090", KPIS_OF_ANOTHER: "x", ETL_CONNECTION_SHOP: db.dsn },
  });
  assert.match(
    server.logs.join("\n"),
    /warn +ETL_PROT is set, and nothing reads a variable of that name\. Is ETL_PORT meant\?/,
  );
  assert.equal(server.logs.filter((line) => /nothing reads/.test(line)).length, 1);
});

Deno.test("a server that cannot use its database says which, why and what to do, without the password", async (t) => {
  await using db = await testDatabase(t);
  const wrong = (change: (url: URL) => void) => {
    const url = new URL(db.dsn);
    change(url);
    return url.href;
  };
  const cases: [string, RegExp][] = [
    [wrong((url) => url.port = "1"), /127\.0\.0\.1:1 cannot be used: nothing listens there/],
    [wrong((url) => url.pathname = "/none"), /no such database/],
    [wrong((url) => url.password = "falsch-1"), /user or password is wrong/],
    [wrong((url) => url.search = "sslmode=require"), /does not speak TLS.*sslmode=disable/],
  ];
  for (const [dsn, expected] of cases) {
    await assert.rejects(startServer({ dsn }), (error: Error) => {
      assert.match(error.message, expected);
      assert.ok(!error.message.includes(new URL(dsn).password), error.message);
      return true;
    });
  }
});

Deno.test("a server whose port or address cannot be had says so in a sentence", async (t) => {
  await using db = await testDatabase(t);
  const other = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response());
  try {
    for (
      const [env, expected] of [
        [{ ETL_PORT: String(other.addr.port) }, /listens on this port already.* set ETL_PORT/],
        [{ ETL_HOST: "192.0.2.1", ETL_ADMIN_TOKEN: "x".repeat(32) }, /ETL_HOST is no address/],
      ] as [Record<string, string>, RegExp][]
    ) {
      await assert.rejects(startServer({ dsn: db.dsn, env }), (error: Error) => {
        assert.match(error.message, expected);
        assert.ok(!/os error|\.ts:\d/.test(error.message), error.message);
        return true;
      });
    }
  } finally {
    await other.shutdown();
  }
});
