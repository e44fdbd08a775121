import assert from "node:assert/strict";
import { join } from "node:path";
import { killTree } from "../../scripts/process_tree.ts";
import { lines } from "../../scripts/server_process.ts";
import { freshClone } from "../helpers/fresh_clone.ts";
import { processesWith } from "../helpers/processes.ts";
import { query } from "../helpers/query.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { lacks } from "../helpers/needs.ts";

/** Rows of flights-200k.json, and how many of them differ. */
const RECORDS = 200_000;
const DISTINCT = 193_927;

interface Account {
  uid: number;
  gid: number;
}

interface Setting {
  /** Directory of the clone. */
  dir: string;
  /** Deno's program; the account has to be able to run it. */
  deno: string;
  env: Record<string, string>;
  account?: Account;
}

function startTask({ dir, deno, env, account }: Setting, args: string[]): Deno.ChildProcess {
  return new Deno.Command(deno, {
    args: ["task", ...args],
    cwd: dir,
    clearEnv: true,
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...account,
  }).spawn();
}

async function runTask(
  setting: Setting,
  args: string[],
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await startTask(setting, args).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: decode(stdout), err: decode(stderr) };
}

/** Everything that is checked of a first and a second quickstart. */
async function checkQuickstart(t: Deno.TestContext, setting: Setting): Promise<void> {
  const once = ["quickstart", "--once", "--port", "0"];
  await t.step("the first one loads everything", async () => {
    const { code, out, err } = await runTask(setting, once);
    assert.equal(code, 0, `${out}\n${err}`);
    const { stages, ...run } = JSON.parse(out.trimEnd().split("\n").at(-1) ?? "");
    assert.deepEqual(Object.keys(stages), [
      "extract",
      "transform",
      "chunk",
      "validate",
      "ge_validate",
      "load",
      "finalize",
    ]);
    assert.match(run.run_id, /^[0-9a-f-]{36}$/);
    assert.ok(run.duration_ms > 0);
    assert.ok(run.num_chunks > 0);
    assert.partialDeepStrictEqual(run, {
      status: "succeeded",
      total_rows: DISTINCT,
      expected_rows: DISTINCT,
      ratio: 1,
      inserted: DISTINCT,
      updated: 0,
      unchanged: 0,
      rejected: 0,
      duplicates: RECORDS - DISTINCT,
      filtered: 0,
    });
    // A newcomer reads this: no stack traces, no noise of package managers.
    assert.doesNotMatch(`${out}\n${err}`, /^\s+at |npm|Download|Initialize|warn/im);
    const noise = err.trim().split("\n").filter((line) => !/Task.*quickstart/.test(line));
    assert.deepEqual(noise, []);
  });
  await t.step("the second one finds nothing to do", async () => {
    const { code, out, err } = await runTask(setting, once);
    assert.equal(code, 0, `${out}\n${err}`);
    assert.partialDeepStrictEqual(JSON.parse(out.trimEnd().split("\n").at(-1) ?? ""), {
      status: "succeeded",
      inserted: 0,
      updated: 0,
      unchanged: DISTINCT,
    });
  });
  await t.step("no process is left", async () => {
    assert.deepEqual(await processesWith(setting.dir), []);
    assert.deepEqual(await processesWith(await dataDir(setting)), []);
  });
}

async function dataDir({ dir, deno, env, account }: Setting): Promise<string> {
  const { stdout } = await new Deno.Command(deno, {
    args: [
      "eval",
      `import { defaultDataDir } from "./scripts/postgres/embedded.ts";
       console.log(defaultDataDir());`,
    ],
    cwd: dir,
    clearEnv: true,
    env,
    ...account,
  }).output();
  return new TextDecoder().decode(stdout).trim();
}

/** The environment of a newcomer: that of this machine, without any setting of ours. */
function newcomer(): Record<string, string> {
  const ours = /^(KPIS_|ETL_|PG)/;
  return Object.fromEntries(
    Object.entries(Deno.env.toObject()).filter(([name]) => !ours.test(name)),
  );
}

Deno.test("quickstart loads a real data set in a fresh clone, and keeps it", async (t) => {
  await using clone = await freshClone();
  const setting = { dir: clone.dir, deno: Deno.execPath(), env: newcomer() };
  try {
    await checkQuickstart(t, setting);
    await t.step("without --once it stays up until Ctrl-C", () => checkCtrlC(setting));
  } finally {
    const data = await dataDir(setting);
    if (data.startsWith("/var/lib/etl-improved/")) await Deno.remove(data, { recursive: true });
  }
});

async function checkCtrlC(setting: Setting): Promise<void> {
  const child = startTask(setting, ["quickstart", "--port", "0"]);
  const said: string[] = [];
  const reading = Promise.all([child.stdout, child.stderr].map(async (stream) => {
    for await (const line of lines(stream)) said.push(line);
  }));
  try {
    const dashboard = await Promise.race([
      waitFor(() => said.map((line) => /Dashboard\s+(\S+)/.exec(line)?.[1]).find(Boolean), {
        timeoutMs: 60_000,
        what: "the dashboard's address",
      }),
      child.status.then(() => reading).then(() => assert.fail(`It ended:\n${said.join("\n")}`)),
    ]);
    const response = await fetch(new URL("/livez", dashboard));
    await response.body?.cancel();
    assert.equal(response.status, 200);
    await waitFor(() => said.some((line) => line.includes("Ctrl-C ends it")), {
      what: "the last line",
    });
    assert.ok(said.some((line) => line.includes("deno task etl load ")), said.join("\n"));
    const dsn = said.map((line) => /psql "([^"]+)"/.exec(line)?.[1]).find(Boolean);
    const [loaded] = await query<{ n: number }>(
      dsn!,
      "select count(*)::integer as n from etl_improved_events",
    );
    assert.ok(loaded!.n > 0);
    child.kill("SIGINT");
  } catch (error) {
    await killTree(child.pid);
    throw error;
  }
  const { code } = await child.status;
  await reading;
  assert.equal(code, 0, said.join("\n"));
  assert.deepEqual(await processesWith(await dataDir(setting)), []);
}

Deno.test({
  name: "quickstart works for a plain user as well",
  ignore: lacks(
    Deno.uid() === 0 && Deno.env.get("ETL_TEST_LONG") !== undefined,
    "`deno task test:full` as root has the quickstart of a plain user",
  ), // otherwise the test above is this one
  async fn(t) {
    await using clone = await freshClone();
    const account = { uid: 65534, gid: 65534 }; // nobody
    const parent = join(clone.dir, "..");
    await Deno.chown(parent, account.uid, account.gid);
    const deno = join(parent, "deno");
    await Deno.copyFile(Deno.execPath(), deno);
    await Deno.chmod(deno, 0o755);
    for await (const path of walk(clone.dir)) await Deno.chown(path, account.uid, account.gid);
    const env = { ...newcomer(), HOME: parent, DENO_DIR: join(parent, ".deno"), TMPDIR: parent };
    await checkQuickstart(t, { dir: clone.dir, deno, env, account });
  },
});

async function* walk(dir: string): AsyncGenerator<string> {
  yield dir;
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    if (isDirectory) yield* walk(join(dir, name));
    else yield join(dir, name);
  }
}
