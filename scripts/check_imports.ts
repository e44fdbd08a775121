/**
 * Part of `deno task ok`: who may import whom, who may read the environment, and
 * where SQL stands. Prints each violation with its line and ends with 1 if there is one.
 */
import { dirname, join, relative, resolve, sep } from "node:path";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..");

/** Folders of the program, and the other folders of ours that each may import from. */
const DIRECTIONS: Record<string, string[]> = {
  server: ["routes", "pipeline", "queue", "timers", "store", "telemetry", "islands"],
  // islands are rendered by the pages that hold them
  routes: ["pipeline", "queue", "timers", "store", "telemetry", "islands"],
  queue: ["timers", "pipeline", "store", "telemetry"],
  timers: ["pipeline", "store", "telemetry"],
  pipeline: ["store", "telemetry"],
  telemetry: ["store"],
  store: [],
  vocabulary: [],
  islands: [],
};

/** Folders and files for which everything of ours is in reach. */
const UNBOUND = new Set(["scripts", "tests", "bench"]);

/** Folders that the rest of the program enters by one module; tests and measurements may look at their parts. */
const PACKAGES: Readonly<Record<string, string>> = {
  "pipeline/expectations": "pipeline/expectations/expectations.ts",
};
const MAY_LOOK_INSIDE = new Set(["tests", "bench"]);

/**
 * A module of each circle of imports, types included, that is still there. Take one out once its circle is gone; none
 * may be added.
 */
const KNOWN_CYCLES: readonly string[] = [
  "islands/overview.tsx",
  "pipeline/sources/source.ts",
  "pipeline/workers/aside_worker.ts",
  "pipeline/workers/task.ts",
];

/** What every folder may import: the words of the product and its version, and schemas, from which types come. */
const SHARED = /^(deno\.json|vocabulary\/.*|pipeline\/(params|.*schemas?)\.ts)$/;

/**
 * Where SQL may stand besides the unbound folders: what the program asks of its own database is in store/, a source
 * asks the user's, the example of a consumer is user code, and islands show statements to copy.
 */
const SQL_PLACES =
  /^(store|islands|pipeline\/sources\/(?:postgres|modules))\/|^pipeline\/consumers\/downstream_example\.ts$/;

/** The beginning of a statement in a string or template. */
const STATEMENT =
  /["'`]\s*(?:select\s|insert into\s|delete from\s|update \S+ (?:as \w+ )?set\s|with (?:recursive )?\w+(?: \([^)]*\))? as \(|copy \S+ (?:\(.*\) )?(?:from|to)\s|(?:create|alter|drop|truncate|lock) (?:temp |unlogged )?(?:table|index|view|schema|role|function)\s|truncate \S+["'`]|declare \w+ .*cursor|fetch \S+ from\s|set local\s|begin[;"'`]|commit["'`]|rollback["'`]|vacuum\s|analyze \S+["'`]|do \$)|(?<!`)\bsql(?:<[^`]*>)?`|\.unsafe\(/g;

interface Import {
  specifier: string;
  line: number;
  typeOnly: boolean;
}

const STATIC = /^[ \t]*(?:import|export)\s+(type\s+)?([^"'`;=]*?)\s*from\s*["']([^"']+)["']/gm;
const BARE = /^[ \t]*import\s*["']([^"']+)["']/gm;
const DYNAMIC = /\bimport\(\s*["']([^"']+)["']/g;

/** The imports of a module's text. */
export function importsOf(text: string): Import[] {
  const found: Import[] = [];
  const at = (index: number) => text.slice(0, index).split("\n").length;
  for (const match of text.matchAll(STATIC)) {
    const [, type, names = "", specifier = ""] = match;
    found.push({
      specifier,
      line: at(match.index),
      typeOnly: type !== undefined || onlyTypes(names),
    });
  }
  for (const pattern of [BARE, DYNAMIC]) {
    for (const match of text.matchAll(pattern)) {
      found.push({ specifier: match[1] ?? "", line: at(match.index), typeOnly: false });
    }
  }
  return found;
}

function onlyTypes(names: string): boolean {
  const inBraces = /^\{([^}]*)\}$/s.exec(names.trim());
  if (!inBraces) return false;
  const each = (inBraces[1] ?? "").split(",").map((name) => name.trim()).filter(Boolean);
  return each.length > 0 && each.every((name) => name.startsWith("type "));
}

/** What is wrong with a module; `path` is below the project, with forward slashes. */
export function violations(path: string, text: string): string[] {
  const found: string[] = [];
  const folder = path.includes("/") ? path.slice(0, path.indexOf("/")) : "";
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (!/^[a-z0-9_]+(\.d)?\.tsx?$/.test(name)) found.push(`${path}: name it in snake_case`);
  if (/^(index|mod)\.tsx?$/.test(name)) found.push(`${path}: name it after what it does`);
  if (!MAY_LOOK_INSIDE.has(folder)) found.push(...reachesInto(path, text));
  if (UNBOUND.has(folder)) return found;
  if (folder !== "" || name !== "main.ts") {
    for (const match of text.matchAll(/\bDeno\.env\b|\bprocess\.env\b/g)) {
      const line = text.slice(0, match.index).split("\n").length;
      found.push(`${path}:${line}: only main.ts and scripts read the environment`);
    }
  }
  if (!SQL_PLACES.test(path)) {
    for (const match of text.matchAll(STATEMENT)) {
      const line = text.slice(0, match.index).split("\n").length;
      found.push(`${path}:${line}: put SQL into store/, in a function named after what it does`);
    }
  }
  for (const { specifier, line, typeOnly } of importsOf(text)) {
    if (!specifier.startsWith(".")) continue;
    const target = join(dirname(path), specifier).replaceAll(sep, "/");
    const to = target.includes("/") ? target.slice(0, target.indexOf("/")) : "";
    const where = `${path}:${line}`;
    if (UNBOUND.has(to)) found.push(`${where}: the program must not import ${to}/`);
    if (folder === "" || to === folder || SHARED.test(target)) continue;
    if (target === "server/config.ts" && typeOnly) continue; // resolved by main.ts, and passed in
    if (folder === "islands") {
      if (!typeOnly) found.push(`${where}: islands import types and words only, not ${target}`);
      continue;
    }
    if (!(DIRECTIONS[folder] ?? []).includes(to) && !UNBOUND.has(to)) {
      found.push(`${where}: ${folder}/ must not import ${target}`);
    }
  }
  return found;
}

/** Imports of the parts of a package of ours by a module that is not of it. */
function reachesInto(path: string, text: string): string[] {
  const found: string[] = [];
  for (const { specifier, line } of importsOf(text)) {
    const target = targetOf(path, specifier);
    for (const [folder, door] of Object.entries(PACKAGES)) {
      if (target === undefined || !target.startsWith(`${folder}/`) || target === door) continue;
      if (!path.startsWith(`${folder}/`)) {
        found.push(`${path}:${line}: import ${door}, not ${target}`);
      }
    }
  }
  return found;
}

/** The module that an import of ours names, below the project; undefined for a library. */
function targetOf(path: string, specifier: string): string | undefined {
  return specifier.startsWith(".")
    ? join(dirname(path), specifier).replaceAll(sep, "/")
    : undefined;
}

/**
 * Groups of modules that reach each other by their imports, types included: each sorted, and sorted by its first.
 * `texts`: the modules' texts by path. (Tarjan's strongly connected components.)
 */
export function cycles(texts: ReadonlyMap<string, string>): string[][] {
  const imports = new Map([...texts].map(([path, text]) => [
    path,
    importsOf(text).map(({ specifier }) => targetOf(path, specifier))
      .filter((target) => target !== undefined && texts.has(target)) as string[],
  ]));
  const found: string[][] = [];
  const number = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const visit = (path: string): void => {
    number.set(path, number.size);
    lowest.set(path, number.get(path)!);
    open.push(path);
    for (const target of imports.get(path)!) {
      if (!number.has(target)) visit(target);
      else if (!open.includes(target)) continue;
      lowest.set(path, Math.min(lowest.get(path)!, lowest.get(target)!));
    }
    if (lowest.get(path) !== number.get(path)) return;
    const group = open.splice(open.indexOf(path));
    if (group.length > 1 || imports.get(path)!.includes(path)) found.push(group.sort());
  };
  for (const path of texts.keys()) if (!number.has(path)) visit(path);
  return found.sort(([a], [b]) => a! < b! ? -1 : 1);
}

/** `deno task pack` leaves a copy of the program in dist/. */
const NOT_OURS = ["node_modules", "data", "dist"];

/** Paths of the modules below a directory that are to be checked. */
export async function* modules(dir: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(dir)) {
    if (entry.name.startsWith(".") || NOT_OURS.includes(entry.name)) {
      continue;
    }
    const path = join(dir, entry.name);
    if (entry.isDirectory) yield* modules(path);
    else if (/\.tsx?$/.test(entry.name)) yield path;
  }
}

if (import.meta.main) {
  const texts = new Map<string, string>();
  for await (const module of modules(PROJECT_DIR)) {
    texts.set(relative(PROJECT_DIR, module).replaceAll(sep, "/"), await Deno.readTextFile(module));
  }
  const found = [...texts].flatMap(([path, text]) => violations(path, text));
  const circles = cycles(texts);
  for (const group of circles.filter((each) => !each.some((one) => KNOWN_CYCLES.includes(one)))) {
    found.push(`these modules import each other in a circle: ${group.join(", ")}`);
  }
  for (const known of KNOWN_CYCLES.filter((one) => !circles.flat().includes(one))) {
    found.push(`${known} is in no circle any more: take it out of KNOWN_CYCLES`);
  }
  for (const one of found) console.error(one);
  Deno.exit(found.length === 0 ? 0 : 1);
}
