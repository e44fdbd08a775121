/**
 * `deno task pack`: an npm package of the program, dist/etl-improved-<version>.tgz, whose command is
 * `etl` (scripts/etl.mjs). Deno comes as its dependency; what the program imports is installed from
 * the lockfile at its first use.
 */
import { createHash } from "node:crypto";
import { dirname, join, relative, resolve } from "node:path";
import { TerminalProblem } from "../vocabulary/problem.ts";
import { VERSION } from "../vocabulary/version.ts";
import { runScript } from "./run_script.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..");

/** What a user of the program needs none of. */
const LEFT_OUT = new Set([
  ...["node_modules", "dist", "data", "backups", "coverage", "tests", "bench"],
  ...["docs/img", "deploy/secrets"],
]);

/** Makes the package in `dist`; answers the tarball's path. */
export async function pack(dist: string): Promise<string> {
  const dir = join(dist, "package");
  await Deno.remove(dir, { recursive: true }).catch(() => {});
  const digest = createHash("sha256");
  for (const path of await programFiles(PROJECT_DIR)) {
    const bytes = await Deno.readFile(join(PROJECT_DIR, path));
    digest.update(`${path}\0${bytes.length}\0`).update(bytes);
    const target = join(dir, "program", path);
    await Deno.mkdir(dirname(target), { recursive: true });
    await Deno.writeFile(target, bytes);
  }
  await Deno.chmod(join(dir, "program", "scripts", "etl.mjs"), 0o755);
  for (const name of ["README.md", "LICENSE"]) {
    await Deno.copyFile(join(PROJECT_DIR, name), join(dir, name));
  }
  await Deno.writeTextFile(
    join(dir, "package.json"),
    `${JSON.stringify(await manifest(digest.digest("hex").slice(0, 12)), null, 2)}\n`,
  );
  const { success, stdout, stderr } = await new Deno.Command("npm", {
    args: ["pack", "--silent", "--pack-destination", dist],
    cwd: dir,
  }).output().catch((cause) => {
    throw new TerminalProblem("unavailable", {
      detail: "npm, which comes with Node, makes the package and is not on the PATH.",
      cause,
    });
  });
  if (!success) {
    throw new TerminalProblem("internal", {
      detail: `npm pack failed: ${new TextDecoder().decode(stderr)}`,
    });
  }
  return join(dist, new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
}

async function programFiles(root: string, dir = root): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory, isFile } of Deno.readDir(dir)) {
    const path = relative(root, join(dir, name));
    if (LEFT_OUT.has(path) || name.startsWith(".")) continue;
    if (isDirectory) found.push(...await programFiles(root, join(dir, name)));
    else if (isFile) found.push(path);
  }
  return found.sort();
}

/** `build` tells packages of one version apart, as their programs are kept side by side. */
async function manifest(build: string): Promise<Record<string, unknown>> {
  const image = await Deno.readTextFile(join(PROJECT_DIR, "deploy", "Dockerfile"));
  return {
    name: "etl-improved",
    version: VERSION,
    build,
    description: "An ETL pipeline on Deno and PostgreSQL alone",
    license: "MIT",
    bin: { etl: "program/scripts/etl.mjs" },
    engines: { node: ">=18" },
    dependencies: { deno: /^ARG DENO_VERSION=(\S+)/m.exec(image)![1] },
  };
}

if (import.meta.main) {
  await runScript(async () => {
    const tarball = await pack(join(PROJECT_DIR, "dist"));
    console.log(`${relative(Deno.cwd(), tarball)}: try it from any folder with`);
    console.log(`  npx file:${tarball} --version`);
    console.log(`or install the command etl with`);
    console.log(`  npm install --global ${tarball}`);
    return 0;
  });
}
