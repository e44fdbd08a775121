import { createHash } from "node:crypto";
import { join, resolve } from "node:path";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");

/**
 * A virtual environment with the packages of a requirements file, from PyPI;
 * answers its python. It is made once for each version of the file and kept in
 * `ETL_TEST_CACHE`, else below .data/.
 */
export async function pythonVenv(name: string, requirementsPath: string): Promise<string> {
  const requirements = await Deno.readTextFile(requirementsPath);
  const version = createHash("sha256").update(requirements).digest("hex").slice(0, 12);
  const cache = Deno.env.get("ETL_TEST_CACHE") ?? join(PROJECT_DIR, ".data", "test_cache");
  const venv = join(cache, `${name}-${version}`);
  const python = join(venv, "bin", "python");
  const complete = join(venv, "complete");
  if (await Deno.stat(complete).then(() => true, () => false)) return python;
  await Deno.mkdir(cache, { recursive: true });
  await run("python3", ["-m", "venv", "--clear", venv]);
  // bytecode comes with the first import, of the few modules that are imported
  const pip = ["-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"];
  await run(python, [...pip, "-r", requirementsPath]);
  await Deno.writeTextFile(complete, "");
  return python;
}

async function run(command: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, stdout: "null" }).output();
  if (!success) {
    throw new Error(
      `${command} ${args.join(" ")}:\n${new TextDecoder().decode(stderr).slice(-3000)}`,
    );
  }
}
