import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { inDatabase } from "../../store/dsn.ts";
import { ownCluster, testDatabase } from "../helpers/postgres.ts";
import { pgbouncerIsInstalled, startBouncer } from "../helpers/pgbouncer.ts";
import { query, withClient } from "../helpers/query.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { canMount, smallDisk } from "../helpers/small_disk.ts";
import { waitFor } from "../helpers/wait_for.ts";

const post = (server: TestServer, conf: object, wait = true) =>
  fetch(`${server.address}/api/etl/run${wait ? "?wait=true" : ""}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(conf),
  });

async function problemsOf(server: TestServer, path: string): Promise<string> {
  const answer = await fetch(server.address + path);
  const { problems } = await answer.json();
  return `${answer.status} ${problems.join("; ")}`;
}

Deno.test("a database that takes no writes is an outage: readiness and health say so, requests are told to come again", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({ dsn: db.dsn });
  const readOnly = async (on: string) => {
    await withClient(db.dsn, async (client) => {
      await client.query("set default_transaction_read_only = off");
      await client.query(
        `alter database "${db.name}" set default_transaction_read_only = ${on}`,
      );
      await client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
      );
    });
  };
  await readOnly("on");
  for (const path of ["/readyz", "/api/etl/health"]) {
    await waitFor(async () => /^503 .*takes no writes/.test(await problemsOf(server, path)), {
      what: `${path} to see it`,
    });
  }
  const refused = await waitFor(async () => {
    const answer = await post(server, {}, false);
    // a backend ends when it is its turn
    return /takes no writes/.test((await answer.clone().json()).detail) ? answer : null;
  }, { what: "a request to be refused" });
  assert.equal(refused.status, 503);
  assert.ok(Number(refused.headers.get("retry-after")) > 0);
  await readOnly("off");
  await waitFor(async () => await problemsOf(server, "/readyz") === "200 ", {
    what: "the server to be ready again",
  });
  const ended = await waitFor(async () => {
    const answer = await post(server, { batch_size: 10 });
    const body = await answer.json();
    // who meets a backend that ends just then is told to come again, too
    return answer.status === 503 ? null : body;
  }, { what: "a request to be taken" });
  assert.equal(ended.state, "succeeded", JSON.stringify(ended));
});

Deno.test({
  name:
    "a full disk of the database is told as that, by the run, readiness and health; with room the run goes on",
  ignore: !await canMount(),
  async fn() {
    await using cluster = await ownCluster();
    await using disk = await smallDisk("64m");
    const [{ data_directory: data }] = await query(cluster.dsn, "show data_directory") as [
      { data_directory: string },
    ];
    const { uid, gid } = await Deno.stat(data);
    await Deno.chown(disk.path, uid, gid);
    await query(cluster.dsn, `create tablespace small location '${disk.path}'`);
    await query(cluster.dsn, "create database small tablespace small");
    const dsn = inDatabase(cluster.dsn, "small");
    try {
      await setupDatabase(dsn);
      await using server = await startServer({ dsn, env: { ETL_RUN_MAX_ATTEMPTS: "50" } });
      await fill(`${disk.path}/filler`);
      const refused = await waitFor(async () => {
        const answer = await post(server, { batch_size: 1 }, false);
        return answer.ok ? (await answer.body?.cancel(), null) : answer;
      }, { what: "a request that finds no room" });
      assert.equal(refused.status, 503);
      assert.match((await refused.json()).detail, /no space is left on the database's disk/);
      await Deno.truncate(
        `${disk.path}/filler`,
        (await Deno.stat(`${disk.path}/filler`)).size - (2 << 20),
      );
      const { run_id } = await (await post(server, { batch_size: 50_000 }, false)).json();
      const [run] = await waitFor(async () => {
        const rows = await query<{ error: { detail: string } }>(
          dsn,
          `select error from etl.runs where run_id = '${run_id}' and error is not null`,
        ).catch(() => []);
        return rows.length > 0 ? rows : null;
      }, { timeoutMs: 30_000, what: "the run to tell of the disk" }).catch((error) => {
        throw new Error(`${error.message}\n${server.logs.join("\n")}`);
      });
      assert.match(run!.error.detail, /no space is left on the database's disk/);
      assert.match(await problemsOf(server, "/readyz"), /^503 no space is left/);
      assert.match(await problemsOf(server, "/api/etl/health"), /^503 .*no space is left/);
      await Deno.remove(`${disk.path}/filler`);
      const ended = await waitFor(async () => {
        const [row] = await query<{ state: string; error: unknown }>(
          dsn,
          `select state, error from etl.runs where run_id = '${run_id}' and ended_at is not null`,
        );
        return row ?? null;
      }, { timeoutMs: 60_000, what: "the run to end" });
      assert.equal(ended.state, "succeeded", JSON.stringify(ended.error));
      await waitFor(async () => await problemsOf(server, "/readyz") === "200 ", {
        what: "the server to be ready again",
      });
    } finally {
      await query(cluster.dsn, "drop database small with (force)");
      await query(cluster.dsn, "drop tablespace small");
    }
  },
});

Deno.test({
  name: "behind PgBouncer a server outlives its database, and goes on when it is back",
  ignore: !await pgbouncerIsInstalled(),
  async fn() {
    for (const mode of ["transaction", "session"] as const) {
      await using cluster = await ownCluster({ durable: true });
      await setupDatabase(cluster.dsn);
      await using bouncer = await startBouncer(cluster.dsn, mode);
      const env: Record<string, string> = mode === "session"
        ? {}
        : { ETL_LISTEN: "false", ETL_PREPARED_STATEMENTS: "false" };
      await using server = await startServer({ dsn: bouncer.dsn, env });
      await cluster.crash();
      await waitFor(async () => (await problemsOf(server, "/readyz")).startsWith("503"), {
        what: "the server to notice",
      });
      // long enough for PgBouncer to try and tell that its server's login fails
      await waitFor(
        () =>
          /login has been failing|08P01|no such user|connect failed/.test(server.logs.join(" ")),
        {
          timeoutMs: 40_000,
          what: "PgBouncer to give up",
        },
      );
      await cluster.restart();
      const answer = await waitFor(async () => {
        const answer = await post(server, { batch_size: 10 });
        return answer.ok ? await answer.json() : (await answer.body?.cancel(), null);
      }, { timeoutMs: 60_000, what: `a run in ${mode} mode` }).catch((error) => {
        throw new Error(`${error.message}\n${server.logs.slice(-30).join("\n")}`);
      });
      assert.equal(answer.state, "succeeded", JSON.stringify(answer.error));
    }
  },
});

/** Writes until there is no space. */
async function fill(path: string): Promise<void> {
  using file = await Deno.open(path, { append: true, create: true });
  for (const size of [1 << 20, 1 << 13]) {
    try {
      for (;;) await file.write(new Uint8Array(size));
    } catch {
      // full for blocks of this size
    }
  }
}
