import assert from "node:assert/strict";
import { join } from "node:path";
import { launch } from "../../scripts/launch.ts";
import { killTree } from "../../scripts/process_tree.ts";
import { lines } from "../../scripts/server_process.ts";
import { testClusterDir } from "../helpers/clusters.ts";
import { processesWith } from "../helpers/processes.ts";
import { waitFor } from "../helpers/wait_for.ts";

const script = new URL("../../scripts/start.ts", import.meta.url).pathname;
const entry = new URL("../fixtures/stand_in_server.ts", import.meta.url).pathname;

/** The launcher with a stand-in for the server and an embedded PostgreSQL of the test's own. */
async function startLauncher(env: Record<string, string> = {}, args: string[] = []) {
  const dir = testClusterDir(`${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`);
  const spool = await Deno.makeTempDir();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", script, "--entry", entry, ...args],
    env: { KPIS_PG_DSN: "", ETL_EMBEDDED_PG_DIR: dir, ETL_PORT: "0", ETL_SPOOL_DIR: spool, ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const said: string[] = [];
  const reading = Promise.all([child.stdout, child.stderr].map(async (stream) => {
    for await (const line of lines(stream)) said.push(line);
  }));
  return {
    child,
    dir,
    spool,
    said,
    address: () =>
      waitFor(() => said.map((line) => /listening on (\S+)/.exec(line)?.[1]).find(Boolean), {
        timeoutMs: 30_000,
      }),
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGTERM");
      } catch { /* it has ended */ }
      const timer = setTimeout(() => void killTree(child.pid), 15_000);
      await child.status;
      clearTimeout(timer);
      await reading;
      await Deno.remove(dir, { recursive: true }).catch(() => {});
      await Deno.remove(spool, { recursive: true });
    },
  };
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`launcher passes ${signal} on, waits for the server, stops PostgreSQL last`, async () => {
    await using launcher = await startLauncher();
    const { child, said, dir } = launcher;
    await launcher.address();
    assert.notDeepEqual(await processesWith(dir), []);
    child.kill(signal);
    const { code } = await child.status;
    assert.equal(code, 0);
    assert.deepEqual(said.slice(-2), [`draining after ${signal}`, "the database is there"]);
    assert.deepEqual(await processesWith(dir), []);
    await assert.rejects(Deno.stat(join(dir, "data", "postmaster.pid")), Deno.errors.NotFound);
  });
}

Deno.test("launcher --watch ends when asked, though a watcher outlives its server", async () => {
  await using launcher = await startLauncher({}, ["--watch"]);
  await launcher.address();
  launcher.child.kill("SIGINT");
  assert.equal((await launcher.child.status).code, 0);
  assert.ok(launcher.said.includes("draining after SIGINT"), launcher.said.join("\n"));
  assert.deepEqual(await processesWith(launcher.dir), []);
});

Deno.test("launcher ends with the exit code of its server and leaves no PostgreSQL", async () => {
  await using launcher = await startLauncher();
  await fetch(`${await launcher.address()}/crash?code=7`).catch(() => {});
  assert.equal((await launcher.child.status).code, 7);
  assert.deepEqual(await processesWith(launcher.dir), []);

  // nor where it could not be prepared
  const projectDir = await Deno.makeTempDir();
  const prepared: unknown[] = [];
  await assert.rejects(
    launch({
      projectDir,
      env: { ETL_EMBEDDED_PG_DIR: launcher.dir, ETL_PORT: "0" },
      prepare: async (_dsn, postgres) => {
        prepared.push(postgres?.dsn, (await processesWith(launcher.dir)).length > 0);
        throw new Error("no room for the schema");
      },
    }),
    /no room for the schema/,
  );
  await Deno.remove(projectDir, { recursive: true });
  assert.match(String(prepared[0]), /^postgres/);
  assert.equal(prepared[1], true);
  assert.deepEqual(await processesWith(launcher.dir), []);
});

Deno.test("launcher starts again on what a launcher killed with SIGKILL left running", async () => {
  await using killed = await startLauncher();
  await killed.address();
  killed.child.kill("SIGKILL");
  await killed.child.status;
  const [orphan] = await processesWith(killed.spool);
  await using next = await startLauncher({ ETL_EMBEDDED_PG_DIR: killed.dir });
  await next.address();
  next.child.kill("SIGTERM");
  assert.equal((await next.child.status).code, 0);
  assert.deepEqual(await processesWith(killed.dir), []);
  if (orphan) Deno.kill(orphan, "SIGKILL");
});

Deno.test("launcher leaves the database alone that KPIS_PG_DSN names", async () => {
  await using launcher = await startLauncher({ KPIS_PG_DSN: "postgres://a:b@127.0.0.1:1/c" });
  await launcher.address();
  await assert.rejects(Deno.stat(launcher.dir), Deno.errors.NotFound);
});

Deno.test("launcher says what is wrong with KPIS_PG_DSN without repeating its password", async () => {
  await using launcher = await startLauncher({ KPIS_PG_DSN: "mysql://db/x?password=hunter2" });
  assert.equal((await launcher.child.status).code, 1);
  const text = await waitFor(() => launcher.said.join("\n"));
  assert.match(text, /^error: The environment is not valid: KPIS_PG_DSN /);
  assert.doesNotMatch(text, /hunter2/);
});
