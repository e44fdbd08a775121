/**
 * Installs the dependencies from the lockfile, builds what browsers get, and
 * says so only where it takes a while. Has to work before anything is
 * installed: it imports no package.
 */
import { resolve } from "node:path";
import { TerminalProblem } from "../vocabulary/problem.ts";
import { runScript } from "./run_script.ts";
import { duration, Terminal } from "./terminal.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..");

async function main(): Promise<number> {
  const terminal = new Terminal();
  const start = performance.now();
  const announcing = setTimeout(() => {
    terminal.line("\n  Installing the dependencies from the lockfile, this once …");
  }, 500);
  const { success, stderr } = await deno(["install", "--frozen", "--quiet"]);
  if (success) {
    // The bundler is downloaded at its first use, which would be told in the midst of the start.
    // A failure is the launcher's to explain: without a dashboard the rest still works.
    await deno(["run", "--quiet", "--frozen", "-A", "scripts/build_islands.ts"]);
  }
  clearTimeout(announcing);
  if (!success) {
    const said = new TextDecoder().decode(stderr).replace(/\n\s*Stack backtrace:.*/s, "").trim();
    throw new TerminalProblem("unavailable", {
      detail: "The dependencies could not be installed. They come from the npm registry: check " +
        `the network (and the registry that ~/.npmrc names), then try again.\n${said}`,
    });
  }
  const took = performance.now() - start;
  if (took > 500) terminal.line(`  Installed in ${duration(took)}.`);
  return 0;
}

async function deno(args: string[]): Promise<Deno.CommandOutput> {
  return await new Deno.Command(Deno.execPath(), {
    args,
    cwd: PROJECT_DIR,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
}

await runScript(main);
