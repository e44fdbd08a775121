import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";

/** A transform module that tries what it must not be able to do, and tells in its output what became of it. */
const PROBE = (otherHost: string, outside: string, databasePort: string) => `
  const tries = {
    read: () => Deno.readTextFile(${JSON.stringify(outside)}),
    project: () => Deno.readTextFile(Deno.cwd() + "/deno.json"),
    data: () => Deno.readTextFile(${JSON.stringify("DATA")} + "/own.txt"),
    list: () => Array.fromAsync(Deno.readDir("/")),
    writeOwn: () => Deno.writeTextFile(new URL("./rates.json", import.meta.url), "x"),
    writeData: () => Deno.writeTextFile(${JSON.stringify(outside)}, "x"),
    writeProgram: () => Deno.writeTextFile(new URL("./probe.ts", import.meta.url), "x"),
    host: () => fetch("http://${otherHost}/"),
    socket: () => Deno.connect({ hostname: "127.0.0.1", port: Number("${otherHost}".split(":")[1]) }),
    listen: () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
    linkLocal: () => fetch("http://169.254.169.254/latest/meta-data/"),
    name: () => Deno.resolveDns("secret.example.com", "A"),
    nodeName: async () => (await import("node:dns/promises")).lookup("secret.example.com"),
    remote: () => import("https://esm.sh/" + "left-pad"),
    environment: () => Deno.env.toObject(),
    dsn: () => Deno.env.get("KPIS_PG_DSN"),
    nodeDsn: async () => (await import("node:process")).default.env.KPIS_PG_DSN,
    subprocess: () => new Deno.Command("true").output(),
    nodeSubprocess: async () => (await import("node:child_process")).spawnSync("true", { env: {} }).error,
    kill: () => Deno.kill(Deno.ppid, "SIGTERM"),
    native: () => Deno.dlopen("libc.so.6", {}),
    system: () => Deno.hostname(),
    priority: async () => (await import("node:os")).setPriority(0, 0),
    worker: () => new Worker("data:text/javascript,", { type: "module", deno: { permissions: { run: true } } }),
    grant: async () => (await Deno.permissions.request({ name: "run" })).state === "granted"
      ? "granted" : Promise.reject(Object.assign(new Error("denied"), { name: "NotCapable" })),
  };
  const found = {};
  for (const [name, attempt] of Object.entries(tries)) {
    try {
      const result = await attempt();
      found[name] = result instanceof Error ? result.name + ": " + result.message : "done";
    } catch (error) {
      found[name] = error.name === "NotCapable" || error.code === "EPERM" || /NotCapable|Requires \\w+ access/.test(error.message)
        ? "refused" : error.name + ": " + error.message;
    }
  }
  // the port of the database, which its own worker has open
  try { await Deno.connect({ hostname: "127.0.0.1", port: Number("${databasePort}") }); found.database = "done"; }
  catch (error) { found.database = error.name === "NotCapable" ? "refused" : error.message; }
  const ownFile = await Deno.readTextFile(new URL("./rates.json", import.meta.url));
  export const transform = (record) => ({ ...record, found, ownFile });
`;

interface Fixture extends AsyncDisposable {
  address: string;
  dsn: string;
  post(path: string, body: unknown): Promise<{ status: number; body: Record<string, never> }>;
}

/** The real server, with the probe as transform module "probe" and another HTTP server beside it. */
async function fixture(t: { name: string }, env: Record<string, string> = {}): Promise<Fixture> {
  const database = await testDatabase(t);
  const dir = await Deno.makeTempDir({ prefix: "etl_privilege_" });
  const other = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response("reached"),
  );
  await Deno.mkdir(`${dir}/data`);
  await Deno.mkdir(`${dir}/transforms`);
  await Deno.writeTextFile(`${dir}/outside.txt`, "secret");
  await Deno.writeTextFile(`${dir}/data/own.txt`, "own");
  await Deno.writeTextFile(`${dir}/transforms/rates.json`, "own");
  const { port } = new URL(database.dsn);
  const probe = PROBE(`127.0.0.1:${other.addr.port}`, `${dir}/outside.txt`, port);
  await Deno.writeTextFile(
    `${dir}/transforms/probe.ts`,
    `// @ts-nocheck\n${probe.replaceAll('"DATA"', JSON.stringify(`${dir}/data`))}`,
  );
  const server = await startServer({
    dsn: database.dsn,
    env: { ETL_DATA_DIR: `${dir}/data`, ETL_TRANSFORMS_DIR: `${dir}/transforms`, ...env },
  });
  return {
    address: server.address,
    dsn: database.dsn,
    async post(path, body) {
      const response = await fetch(`${server.address}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: await response.json() };
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await other.shutdown();
      await database[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

const CONF = { transform: "probe", source: { type: "inline", key: "id", records: [{ id: 1 }] } };

for (const network of ["closed", "open for http sources"]) {
  const env: Record<string, string> = network === "closed" ? {} : { ETL_HTTP_SOURCES: "*" };
  Deno.test(`a transform module reads its own directory and nothing else; reaches no host, database, environment or subprocess (network ${network})`, async (t) => {
    await using server = await fixture(t, env);
    const preview = await server.post("/api/etl/preview", CONF);
    assert.equal(preview.status, 200, JSON.stringify(preview.body));
    const [event] = preview.body.events as unknown as { payload: Record<string, unknown> }[];
    assert.deepEqual(event!.payload.ownFile, "own");
    const found = event!.payload.found as Record<string, string>;
    assert.deepEqual(
      found,
      Object.fromEntries(Object.keys(found).map((name) => [name, "refused"])),
    );
    const run = await server.post("/api/etl/run?wait=true", CONF);
    assert.equal(run.body.state, "succeeded", JSON.stringify(run.body.error));
    const { rows } = await withClient(
      server.dsn,
      (client) =>
        client.query<{ found: Record<string, string> }>(
          "select payload -> 'found' as found from etl_improved_events",
        ),
    );
    assert.deepEqual(rows, [{ found }]);
  });
}
