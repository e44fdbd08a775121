import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { lines } from "../../scripts/server_process.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");

interface Started extends AsyncDisposable {
  child: Deno.ChildProcess;
  said: string[];
}

function start(env: Record<string, string>): Started {
  const child = new Deno.Command(join(PROJECT_DIR, "deploy", "start.sh"), {
    cwd: "/",
    clearEnv: true,
    env: {
      PATH: Deno.env.get("PATH")!,
      HOME: Deno.env.get("HOME") ?? "/",
      DENO: Deno.execPath(),
      ...env,
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const said: string[] = [];
  const read = async (stream: ReadableStream<Uint8Array>) => {
    for await (const line of lines(stream)) said.push(line);
  };
  const over = Promise.all([read(child.stdout), read(child.stderr), child.status]);
  return {
    child,
    said,
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch { /* it has ended */ }
      await over;
    },
  };
}

Deno.test("start.sh becomes the server, restricted and with its secrets from files, and drains when asked to end", async (t) => {
  await using db = await testDatabase(t);
  const dir = await Deno.makeTempDir({ prefix: "etl it's $HOME " });
  const url = new URL(db.dsn);
  await Deno.writeTextFile(join(dir, "password"), `${decodeURIComponent(url.password)}\n`);
  url.password = "";
  await using started = start({
    KPIS_PG_DSN: url.href,
    PGPASSWORD_FILE: join(dir, "password"),
    ETL_PORT: "0",
    ETL_DATA_DIR: dir,
    ETL_SPOOL_DIR: join(dir, "spool"),
  });
  const { child, said } = started;
  const address = await waitFor(
    () => said.map((line) => /listening on (\S+)/.exec(line)?.[1]).find(Boolean),
    { timeoutMs: 120_000, what: `an address in\n${said.join("\n")}` },
  );
  const answer = await fetch(`${address}/readyz`);
  assert.equal(answer.status, 200, await answer.text());
  // no shell and no launcher remain
  const command = (await Deno.readTextFile(`/proc/${child.pid}/cmdline`)).split("\0");
  assert.ok(command.includes(join(PROJECT_DIR, "main.ts")), command.join(" "));
  assert.ok(!command.some((arg) => /^(-A|--allow-all|--allow-run|--allow-ffi)/.test(arg)));
  assert.ok(command.some((arg) => arg.startsWith("--allow-read=") && arg.includes(dir)));
  assert.ok(!command.join(" ").includes(decodeURIComponent(new URL(db.dsn).password)));
  child.kill("SIGTERM");
  assert.equal((await child.status).code, 0, said.join("\n"));
  await Deno.remove(dir, { recursive: true });
});

Deno.test("start.sh says what is missing and ends with an error", async () => {
  await using started = start({ ETL_PORT: "0" });
  assert.equal((await started.child.status).code, 1);
  await waitFor(() => started.said.some((line) => line.includes("KPIS_PG_DSN is not set")));
});
