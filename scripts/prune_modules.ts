/**
 * Removes from node_modules what the server, the database's set-up and the
 * command line do not import: the embedded PostgreSQL, and what tests,
 * benchmarks and the dashboard's bundler need. For images; `deno install`
 * brings everything back.
 */
import { join, resolve } from "node:path";
import { runScript } from "./run_script.ts";

const ENTRIES = [
  "main.ts",
  "pipeline/workers/worker.ts",
  "pipeline/workers/aside_worker.ts",
  "pipeline/transforms/example.ts",
  "scripts/server_command.ts",
  "scripts/setup_db.ts",
  "scripts/etl.ts",
  "scripts/doctor.ts",
  "scripts/backup.ts",
  "scripts/restore.ts",
];

/** Removes them; answers the names of the packages that stay. */
async function pruneModules(projectDir: string): Promise<string[]> {
  const store = join(projectDir, "node_modules", ".deno");
  const needed = new Set<string>();
  const need = async (name: string) => {
    if (needed.has(name)) return;
    needed.add(name);
    for (const link of await links(join(store, name, "node_modules"))) {
      const other = packageOf(link, store);
      if (other !== undefined) await need(other);
    }
  };
  for (const entry of ENTRIES) {
    for (const path of await externalModules(join(projectDir, entry))) {
      const name = packageOf(path, store);
      if (name !== undefined) await need(name);
    }
  }
  for await (const { name, isDirectory } of Deno.readDir(store)) {
    if (isDirectory && name !== "node_modules" && !needed.has(name)) {
      await Deno.remove(join(store, name), { recursive: true });
    }
  }
  for (const dir of [join(projectDir, "node_modules"), join(store, "node_modules")]) {
    await removeDangling(dir);
  }
  // deno task doctor reads what is meant to be there
  const kept = [...needed].sort();
  await Deno.writeTextFile(join(store, "pruned.json"), JSON.stringify(kept));
  return kept;
}

async function externalModules(entry: string): Promise<string[]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--frozen", entry],
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    modules: { kind: string; specifier: string; error?: string }[];
  };
  const broken = modules.find((module) => module.error !== undefined);
  if (broken !== undefined) throw new Error(`${broken.specifier}: ${broken.error}`);
  return modules.filter(({ kind }) => kind === "external")
    .map(({ specifier }) => decodeURIComponent(new URL(specifier).pathname));
}

/** "zod@4.6.7" of a path below the store. */
function packageOf(path: string, store: string): string | undefined {
  if (!path.startsWith(`${store}/`)) return undefined;
  const name = path.slice(store.length + 1).split("/")[0]!;
  return name === "node_modules" ? undefined : name;
}

/** Where the links of a node_modules folder lead, those of scoped packages too. */
async function links(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory, isSymlink } of Deno.readDir(dir)) {
    const path = join(dir, name);
    if (isSymlink) found.push(await Deno.realPath(path));
    else if (isDirectory && name.startsWith("@")) found.push(...await links(path));
  }
  return found;
}

async function removeDangling(dir: string): Promise<void> {
  for await (const { name, isDirectory, isSymlink } of Deno.readDir(dir)) {
    const path = join(dir, name);
    if (isDirectory && name.startsWith("@")) {
      await removeDangling(path);
      if ([...Deno.readDirSync(path)].length === 0) await Deno.remove(path);
    } else if (isSymlink && !(await Deno.stat(path).then(() => true, () => false))) {
      await Deno.remove(path);
    }
  }
}

if (import.meta.main) {
  await runScript(async () => {
    const kept = await pruneModules(resolve(import.meta.dirname ?? ".", ".."));
    console.log(`${kept.length} packages stay.`);
    return 0;
  });
}
