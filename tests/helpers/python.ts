import { createHash } from "node:crypto";
import { join, resolve } from "node:path";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");

/** Installs packages in a second where pip takes half a minute: it links them and compiles nothing. */
const UV = "uv==0.13.9";

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
  if (await exists(complete)) return python;
  await Deno.mkdir(cache, { recursive: true });
  await run("python3", ["-m", "venv", "--clear", "--without-pip", venv]);
  await install(cache, venv, requirementsPath);
  await Deno.writeTextFile(complete, "");
  return python;
}

/** By uv; where that is not to be had, or does not get at the packages, by pip. */
async function install(cache: string, venv: string, requirementsPath: string): Promise<void> {
  const python = join(venv, "bin", "python");
  try {
    const uv = await uvPath(cache);
    const options = ["--quiet", "--python", python, "--link-mode", "copy"];
    await run(uv, ["pip", "install", ...options, "-r", requirementsPath]);
  } catch (error) {
    console.warn(`without uv: ${error instanceof Error ? error.message : error}`);
    await run(python, ["-m", "ensurepip"]);
    await run(python, ["-m", "pip", ...PIP_INSTALL, "-r", requirementsPath]);
  }
}

// bytecode comes with the first import, of the few modules that are imported
const PIP_INSTALL = ["install", "--quiet", "--no-compile", "--disable-pip-version-check"];

/** uv, installed once below the cache; of tests that need it at once each makes it, and the first one's stays. */
async function uvPath(cache: string): Promise<string> {
  const dir = join(cache, UV.replace("==", "-"));
  const path = join(dir, "bin", "uv");
  if (await exists(path)) return path;
  const made = await Deno.makeTempDir({ dir: cache, prefix: "uv-" });
  await run("python3", ["-m", "venv", made]);
  await run(join(made, "bin", "python"), ["-m", "pip", ...PIP_INSTALL, UV]);
  try {
    await Deno.rename(made, dir);
  } catch (error) {
    if (!await exists(path)) throw error;
    await Deno.remove(made, { recursive: true });
  }
  return path;
}

function exists(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}

async function run(command: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, stdout: "null" }).output();
  if (!success) {
    throw new Error(
      `${command} ${args.join(" ")}:\n${new TextDecoder().decode(stderr).slice(-3000)}`,
    );
  }
}
