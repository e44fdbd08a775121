/**
 * Installs the dependencies from the lockfile and says so only where it takes
 * a while. Has to work before anything is installed: it imports no package.
 */
import { resolve } from "node:path";
import { Problem } from "../pipeline/problem.ts";
import { runScript } from "./run_script.ts";
import { duration, Terminal } from "./terminal.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..");

async function main(): Promise<number> {
  const terminal = new Terminal();
  const start = performance.now();
  const announcing = setTimeout(() => {
    terminal.line("\n  Installing the dependencies from the lockfile, this once …");
  }, 500);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["install", "--frozen", "--quiet"],
    cwd: PROJECT_DIR,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
  }).output();
  clearTimeout(announcing);
  if (!success) {
    const said = new TextDecoder().decode(stderr).replace(/\n\s*Stack backtrace:.*/s, "").trim();
    throw new Problem("unavailable", {
      detail: "The dependencies could not be installed. They come from the npm registry: check " +
        `the network (and the registry that ~/.npmrc names), then try again.\n${said}`,
    });
  }
  const took = performance.now() - start;
  if (took > 500) terminal.line(`  Installed in ${duration(took)}.`);
  return 0;
}

await runScript(main);
