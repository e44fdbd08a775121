import assert from "node:assert/strict";
import { join } from "node:path";
import { commandLine, killTree } from "../../scripts/process_tree.ts";
import { isAlive, processesWith } from "../helpers/processes.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** A command that a shell starts under a name; what it writes is read line by line. */
function started(script: string, args: string[] = [], name = "sh") {
  const child = new Deno.Command("bash", {
    args: ["-c", 'exec -a "$0" bash -c "$@"', name, script, name, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  return {
    pid: child.pid,
    /** What it writes next. */
    said: async () => (await lines.read()).value?.trim(),
    ended: async () => {
      await lines.cancel();
      await child.status;
    },
    child,
  };
}

Deno.test("killTree() ends a process and all that it started, what has a group and a strange name of its own too", async () => {
  const dir = await Deno.makeTempDir();
  // the state and the parent of a process stand behind its name
  const odd = join(dir, "a) S 1 (");
  await Deno.copyFile("/bin/sleep", odd);
  await Deno.chmod(odd, 0o755);
  const other = started("echo up; exec sleep 30");
  await other.said();
  const tree = started('setsid bash -c "\\"$1\\" 30 & wait" & echo up; wait', [odd]);
  await tree.said();
  const deepest = await waitFor(async () => {
    for (const pid of await processesWith(odd)) {
      if ((await commandLine(pid)).startsWith(`${odd} 30`)) return pid;
    }
  });
  await killTree(tree.pid);
  await waitFor(async () => !await isAlive(deepest), { timeoutMs: 10_000 });
  await tree.ended();
  assert.equal(await isAlive(other.pid), true);
  assert.match(await commandLine(other.pid), /^sleep 30 $/);
  await killTree(other.pid);
  await other.ended();
  assert.equal(await commandLine(other.pid), "");
  // one that has ended is no error
  await killTree(other.pid);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a program that npx runs is told when that has ended, though a shell between them goes on", async () => {
  // it says when it has looked for the first time, and looks again at once
  const watching = `
    import { onNpxGone } from ${
    JSON.stringify(import.meta.resolve("../../scripts/process_tree.ts"))
  };
    const start = setTimeout;
    let looked = false;
    globalThis.setTimeout = (act, ms) => {
      if (!looked) console.log("up");
      looked = true;
      return start(act, 10);
    };
    start(() => Deno.exit(1), 60_000);
    onNpxGone(() => { console.log("gone"); Deno.exit(0); });`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(file, watching);
  const inner = `"$1" run -A --no-check "$2" & wait`;
  const npx = started(
    `bash -c '${inner}' sh "$@" & wait`,
    [Deno.execPath(), file],
    "npm exec etl",
  );
  assert.equal(await npx.said(), "up");
  npx.child.kill("SIGKILL");
  assert.equal(await npx.said(), "gone");
  await npx.ended();
  await Deno.remove(file);
});
