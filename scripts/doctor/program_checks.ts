import { join } from "node:path";
import { manifestSchema } from "../../routes/dashboard/assets.ts";
import { type Check, fail, ok, warn } from "./check.ts";

/** The Deno that this version is tested with. */
const TESTED_DENO = "2.9.6";

interface Lock {
  specifiers?: Record<string, string>;
}

/** Deno itself, the packages that the lockfile names, what browsers get. */
export async function programChecks(
  projectDir: string,
  deno: string = Deno.version.deno,
): Promise<Check[]> {
  return [denoVersion(deno), await packages(projectDir), await assets(projectDir)];
}

function denoVersion(version: string): Check {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [testedMajor = 0, testedMinor = 0] = TESTED_DENO.split(".").map(Number);
  if (major < testedMajor || (major === testedMajor && minor < testedMinor)) {
    return fail(
      "Deno",
      `${version} is older than ${TESTED_DENO}`,
      `Install ${TESTED_DENO}, or run it by npx: npx -y deno@${TESTED_DENO} task start`,
    );
  }
  if (version !== TESTED_DENO) {
    return warn(
      "Deno",
      `${version}; tested with ${TESTED_DENO}`,
      `Where something is odd, try npx -y deno@${TESTED_DENO} task start`,
    );
  }
  return ok("Deno", version);
}

async function packages(projectDir: string): Promise<Check> {
  const name = "npm packages";
  const remedy = "Run deno install --frozen in the project's directory.";
  const { imports } = JSON.parse(await Deno.readTextFile(join(projectDir, "deno.json"))) as {
    imports: Record<string, string>;
  };
  const { specifiers = {} } = JSON.parse(
    await Deno.readTextFile(join(projectDir, "deno.lock")),
  ) as Lock;
  const missing: string[] = [];
  const unlocked: string[] = [];
  const pruned = await prunedTo(projectDir);
  const wanted = new Set(
    Object.values(imports).filter((each) => each.startsWith("npm:"))
      .map((each) => each.replace(/^npm:\/?/, "npm:").replace(/\/$/, "")),
  );
  for (const specifier of wanted) {
    const version = specifiers[specifier];
    const packageName = specifier.slice("npm:".length).replace(/(.)@[^@]*$/, "$1");
    if (version === undefined) {
      unlocked.push(specifier);
      continue;
    }
    const folder = `${packageName.replace("/", "+")}@${version.split("_")[0]}`;
    if (pruned !== undefined && !pruned.some((each) => each.startsWith(folder))) continue;
    if (!await isInstalled(projectDir, folder)) missing.push(`${packageName}@${version}`);
  }
  if (unlocked.length > 0) {
    return fail(
      name,
      `deno.lock does not know ${unlocked.join(", ")}`,
      "Take deno.json and deno.lock of one version of the program.",
    );
  }
  if (missing.length > 0) {
    return fail(name, `not installed: ${missing.slice(0, 5).join(", ")}`, remedy);
  }
  return ok(name, `${wanted.size} as deno.lock says${pruned ? ", pruned to the server's" : ""}`);
}

/** The packages that scripts/prune_modules.ts has left. */
async function prunedTo(projectDir: string): Promise<string[] | undefined> {
  try {
    return JSON.parse(
      await Deno.readTextFile(join(projectDir, "node_modules", ".deno", "pruned.json")),
    );
  } catch {
    return undefined;
  }
}

async function isInstalled(projectDir: string, folder: string): Promise<boolean> {
  const store = join(projectDir, "node_modules", ".deno");
  if (await exists(join(store, folder))) return true;
  // a package with peers has their names behind its own
  for await (const { name } of Deno.readDir(store)) {
    if (name.startsWith(`${folder}_`)) return true;
  }
  return false;
}

async function assets(projectDir: string): Promise<Check> {
  const dir = join(projectDir, ".data", "assets");
  const remedy =
    "Run deno task build-dashboard; until then pages can be read, and charts and live progress are missing.";
  let text: string;
  try {
    text = await Deno.readTextFile(join(dir, "manifest.json"));
  } catch {
    return warn("dashboard", "its scripts and style are not built", remedy);
  }
  const manifest = manifestSchema.safeParse(JSON.parse(text));
  if (!manifest.success) return warn("dashboard", "its manifest is of another version", remedy);
  for (const file of manifest.data.files) {
    if (!await exists(join(dir, file))) return warn("dashboard", `${file} is missing`, remedy);
  }
  return ok("dashboard", "built");
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
