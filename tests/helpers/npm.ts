import { join, resolve } from "node:path";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");

/**
 * A directory whose node_modules has the given packages ("name@version"), which are too large
 * to be dependencies of the project. Made once and kept in `ETL_TEST_CACHE`, else below .data/.
 */
export async function npmPackages(name: string, packages: string[]): Promise<string> {
  const cache = Deno.env.get("ETL_TEST_CACHE") ?? join(PROJECT_DIR, ".data", "test_cache");
  const versions = packages.map((each) => each.replaceAll(/[^a-z0-9.]+/gi, "_")).join("-");
  const dir = join(cache, `npm-${name}-${versions}`);
  if (await Deno.stat(join(dir, "complete")).then(() => true, () => false)) return dir;
  await Deno.mkdir(dir, { recursive: true });
  await Deno.writeTextFile(join(dir, "package.json"), `{"private": true, "type": "module"}`);
  const { success, stderr } = await new Deno.Command("npm", {
    args: ["install", "--silent", "--no-audit", "--no-fund", ...packages],
    cwd: dir,
    stdout: "null",
  }).output();
  if (!success) throw new Error(`npm install ${packages.join(" ")}: ${text(stderr)}`);
  await Deno.writeTextFile(join(dir, "complete"), "");
  return dir;
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).slice(-3000);
