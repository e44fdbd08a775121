import assert from "node:assert/strict";
import { join } from "node:path";
import pg from "pg";
import { defaultDataDir, startEmbeddedPostgres } from "../../scripts/postgres/embedded.ts";
import { SYSTEM_DIR } from "../../scripts/postgres/binaries.ts";
import { commandLine } from "../../scripts/process_tree.ts";
import { runCli } from "../helpers/cli.ts";
import { testClusterDir } from "../helpers/clusters.ts";
import { ownCluster } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** A directory for a cluster, deleted at the end. */
function clusterDir(): { dataDir: string } & AsyncDisposable {
  const dataDir = testClusterDir(`${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`);
  return {
    dataDir,
    [Symbol.asyncDispose]: () => Deno.remove(dataDir, { recursive: true }),
  };
}

async function query<Row extends pg.QueryResultRow>(dsn: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: dsn });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

Deno.test("startEmbeddedPostgres() keeps data, password and port between starts", async () => {
  await using dir = clusterDir();
  const first = await startEmbeddedPostgres(dir);
  await query(first.dsn, "create table kept as select 1 as n");
  await first.stop();
  await assert.rejects(query(first.dsn, "select 1"), { code: "ECONNREFUSED" });
  const second = await startEmbeddedPostgres(dir);
  try {
    assert.deepEqual([first.origin, second.origin], ["created", "started"]);
    assert.equal(second.dsn, first.dsn);
    assert.deepEqual(await query(second.dsn, "select n from kept"), [{ n: 1 }]);
  } finally {
    await second.stop();
  }
});

Deno.test("startEmbeddedPostgres() listens on loopback only and asks for its password", async () => {
  await using dir = clusterDir();
  const { dsn, stop } = await startEmbeddedPostgres(dir);
  try {
    // sorted by bytes, with the letters of all languages
    const words = await query(dsn, "select lower('ÄÉ') as small, 'Z' < 'a' as by_bytes");
    assert.deepEqual(words, [{ small: "äé", by_bytes: true }]);
    const settings = await query(
      dsn,
      `select name, setting from pg_settings where name in
       ('listen_addresses', 'unix_socket_directories', 'fsync', 'synchronous_commit',
        'full_page_writes') order by name collate "C"`,
    );
    assert.deepEqual(settings, [
      { name: "fsync", setting: "on" },
      { name: "full_page_writes", setting: "on" },
      { name: "listen_addresses", setting: "127.0.0.1" },
      { name: "synchronous_commit", setting: "on" },
      { name: "unix_socket_directories", setting: "" },
    ]);
    const wrong = new URL(dsn);
    wrong.password = "wrong";
    await assert.rejects(query(wrong.href, "select 1"), { code: "28P01" });
    const { mode } = await Deno.stat(join(dir.dataDir, "password"));
    assert.equal((mode ?? 0) & 0o777, 0o600);
  } finally {
    await stop();
  }
});

Deno.test("startEmbeddedPostgres() finds committed rows after the postmaster was killed", async () => {
  await using dir = clusterDir();
  const killed = await startEmbeddedPostgres(dir);
  await query(killed.dsn, "create table kept as select 1 as n");
  Deno.kill(killed.pid, "SIGKILL");
  // a start in the very moment of its death could still join it
  await waitFor(async () => await commandLine(killed.pid) === "", { timeoutMs: 10_000 });
  const again = await startEmbeddedPostgres(dir);
  try {
    assert.deepEqual(await query(again.dsn, "select n from kept"), [{ n: 1 }]);
  } finally {
    await again.stop();
    await killed.stop();
  }
});

Deno.test("startEmbeddedPostgres() joins the one that runs, and the last user stops it", async () => {
  await using dir = clusterDir();
  const [first, second] = await Promise.all([
    startEmbeddedPostgres(dir),
    startEmbeddedPostgres(dir),
  ]);
  assert.deepEqual([first.origin, second.origin].sort(), ["created", "joined"]);
  assert.equal(first.pid, second.pid);
  await first.stop();
  await query(second.dsn, "select 1");
  await second.stop();
  await assert.rejects(query(second.dsn, "select 1"), { code: "ECONNREFUSED" });
});

Deno.test("startEmbeddedPostgres() is not misled by a postmaster.pid whose id another program has", async () => {
  await using dir = clusterDir();
  await (await startEmbeddedPostgres(dir)).stop();
  const lines = [Deno.pid, join(dir.dataDir, "data"), 0, 1, "", "127.0.0.1", "", "ready"];
  await Deno.writeTextFile(join(dir.dataDir, "data", "postmaster.pid"), lines.join("\n"));
  const again = await startEmbeddedPostgres(dir);
  assert.notEqual(again.pid, Deno.pid);
  await again.stop();
});

Deno.test("startEmbeddedPostgres() begins again after a creation that was killed", async () => {
  await using dir = clusterDir();
  await Deno.mkdir(join(dir.dataDir, "data.partial", "base"), { recursive: true });
  await Deno.writeTextFile(join(dir.dataDir, "password.partial"), "half");
  const { dsn, stop } = await startEmbeddedPostgres(dir);
  await query(dsn, "select 1");
  await stop();
});

Deno.test("startEmbeddedPostgres() refuses data of another major version and leaves it alone", async () => {
  await using dir = clusterDir();
  const { stop, dsn } = await startEmbeddedPostgres(dir);
  await query(dsn, "create table kept as select 1 as n");
  await stop();
  const version = join(dir.dataDir, "data", "PG_VERSION");
  await Deno.writeTextFile(version, "17\n");
  await assert.rejects(
    startEmbeddedPostgres(dir),
    /written by PostgreSQL 17, and this is PostgreSQL 18.*Nothing was changed.*backup/,
  );
  await Deno.writeTextFile(version, "18\n");
  const again = await startEmbeddedPostgres(dir);
  assert.deepEqual(await query(again.dsn, "select n from kept"), [{ n: 1 }]);
  await again.stop();
});

Deno.test("startEmbeddedPostgres() takes another port when its own was taken meanwhile", async () => {
  await using dir = clusterDir();
  const first = await startEmbeddedPostgres(dir);
  await first.stop();
  using _taken = Deno.listen({ hostname: "127.0.0.1", port: first.port });
  const second = await startEmbeddedPostgres(dir);
  assert.notEqual(second.port, first.port);
  await second.stop();
});

Deno.test("a cluster has a port that no outgoing connection is given, and keeps it through a crash", async () => {
  const range = await Deno.readTextFile("/proc/sys/net/ipv4/ip_local_port_range").catch(() => "");
  await using cluster = await ownCluster();
  const port = Number(new URL(cluster.dsn).port);
  assert.ok(port < (Number.parseInt(range) || 32_768), `${port} is one of ${range}`);
  await cluster.crash();
  // clients that ask for it meanwhile do not take it
  const asked = await Promise.all(
    Array.from(
      { length: 200 },
      () =>
        Deno.connect({ hostname: "127.0.0.1", port }).then(
          (socket) => socket.close(),
          () => "refused",
        ),
    ),
  );
  assert.deepEqual(new Set(asked), new Set(["refused"]));
  await cluster.restart();
  assert.deepEqual(await query(cluster.dsn, "select 1 as n"), [{ n: 1 }]);
});

Deno.test("defaultDataDir() is of this clone and reachable for the account of PostgreSQL", () => {
  const dir = defaultDataDir();
  if (Deno.uid() === 0) assert.match(dir, new RegExp(`^${SYSTEM_DIR}/[0-9a-f]{12}$`));
  else assert.match(dir, /\/\.data\/postgres$/);
});

// the driver does not wait for the socket of a connection that the server refused
const noOps = { sanitizeOps: false };

Deno.test("a test cluster ends and is deleted when its process is killed", noOps, async () => {
  const helper = new URL("../helpers/postgres.ts", import.meta.url).href;
  const code = `
    const { ownCluster } = await import(${JSON.stringify(helper)});
    const { dsn } = await ownCluster();
    console.log(dsn);
    setInterval(() => {}, 1000);`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", code],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const dsn = new TextDecoder().decode(value).trim();
  await query(dsn, "select 1");
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  await waitFor(() => query(dsn, "select 1").then(() => false, () => true), { timeoutMs: 15_000 });
});

Deno.test(
  "etl without a database of one's own says that it uses the embedded one, and of a server that answers beside it",
  noOps,
  async () => {
    await using dir = clusterDir();
    const home = await Deno.makeTempDir();
    await using server = Deno.serve({ port: 0, onListen: () => {} }, () => new Response("ok"));
    const { port } = server.addr as Deno.NetAddr;
    const { code, err } = await runCli(["runs"], {
      env: {
        ETL_EMBEDDED_PG_DIR: dir.dataDir,
        ETL_DATA_DIR: home,
        ETL_SPOOL_DIR: home,
        ETL_PORT: String(port),
      },
    });
    await Deno.remove(home, { recursive: true });
    assert.equal(code, 0, err);
    assert.match(err, /Using the embedded database: neither KPIS_PG_DSN nor ETL_SERVER is set/);
    assert.match(err, new RegExp(`A server answers at http://127.0.0.1:${port}`));
  },
);
