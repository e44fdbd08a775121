import type { Context } from "hono";
import { join, resolve } from "node:path";
import type { DataEntry } from "../../islands/form/data.tsx";
import { resolveBelow } from "../../pipeline/sources/local/open_input.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import type { DashboardDeps } from "./page.tsx";

/** Entries of a folder that are shown. */
const SHOWN = 500;

/** What a folder of the data directory holds, folders first: for whoever may read it by a preview. */
export async function dataFiles(c: Context, { config }: DashboardDeps): Promise<Response> {
  const folder = (c.req.query("folder") ?? "").slice(0, 1024);
  const { absolutePath, info } = await resolveBelow(resolve(config.dataDir), folder);
  if (!info.isDirectory) {
    throw new Problem("bad-request", {
      detail: say("not-a-folder", { folder }),
    });
  }
  const entries: DataEntry[] = [];
  let more = false;
  for await (const { name, isDirectory, isFile } of Deno.readDir(absolutePath)) {
    if (name.startsWith(".") || !(isDirectory || isFile)) continue;
    if (entries.length === SHOWN) {
      more = true;
      break;
    }
    entries.push({ name, folder: isDirectory, bytes: null });
  }
  entries.sort((a, b) => Number(b.folder) - Number(a.folder) || (a.name < b.name ? -1 : 1));
  await Promise.all(
    entries.filter(({ folder }) => !folder).map(async (entry) => {
      entry.bytes = (await Deno.stat(join(absolutePath, entry.name)).catch(() => null))?.size ??
        null;
    }),
  );
  return c.json({ entries, more }, 200, { "cache-control": "no-store" });
}

/** Transform modules by name; none where the directory cannot be read. */
export async function transformNames(transformsDir: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name, isFile } of Deno.readDir(resolve(transformsDir))) {
      const [, base] = /^([a-z][a-z0-9_]{0,63})\.[cm]?[jt]s$/.exec(name) ?? [];
      if (isFile && base !== undefined) names.push(base);
    }
  } catch {
    return [];
  }
  return names.sort();
}
