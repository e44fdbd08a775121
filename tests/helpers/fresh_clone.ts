import { dirname, join, resolve } from "node:path";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");

/** A copy of the project as someone who has just cloned it has it. */
export interface FreshClone {
  dir: string;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Copies what git tracks (or would, if it were added) into a directory below
 * one that only its owner can enter, as mktemp makes them. Nothing that is
 * ignored comes along: no dependencies, no data.
 */
export async function freshClone(): Promise<FreshClone> {
  const parent = await Deno.makeTempDir({ prefix: "etl-clone-" });
  const dir = join(parent, "etl-improved");
  for (const path of await projectFiles()) {
    const target = join(dir, path);
    await Deno.mkdir(dirname(target), { recursive: true });
    await Deno.copyFile(join(PROJECT_DIR, path), target);
  }
  return {
    dir,
    [Symbol.asyncDispose]: () => Deno.remove(parent, { recursive: true }),
  };
}

async function projectFiles(): Promise<string[]> {
  const { success, stdout, stderr } = await new Deno.Command("git", {
    // Whoever runs the tests may not own the directory.
    args: ["-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
    cwd: PROJECT_DIR,
    stdin: "null",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const listed = new TextDecoder().decode(stdout).split("\0").filter(Boolean);
  const present = await Promise.all(listed.map(async (path) => {
    const { isFile } = await Deno.stat(join(PROJECT_DIR, path)).catch(() => ({ isFile: false }));
    return isFile ? [path] : []; // deleted, and not yet committed
  }));
  return present.flat();
}
