import { createHash } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { connectionTarget } from "../store/connection_target.ts";
import type { Same } from "../store/sharing.ts";
import { VERSION } from "../vocabulary/version.ts";
import { Canonicalizer } from "./canonical.ts";
import { jsonText } from "./numbers.ts";
import { adapterFor } from "./sources/adapters.ts";
import { publicUrl } from "./sources/http/request.ts";
import { parseJson } from "./sources/json_text.ts";
import { spillMaker } from "./workers/environment.ts";
import type { RunContext } from "./workers/task.ts";

/** What {@linkcode sameOf} has hashes of. */
const PARTS = ["program", "modules", "personal", "source", "run"] as const;

/** Hashes of all that a run's rows follow from, besides its records: with the same ones every server makes the same rows. */
export async function sameOf(context: RunContext): Promise<Same> {
  const { orderRunId, late, appends, sourceName, cursorPosition, limits } = context;
  const rest = { orderRunId, late, appends, sourceName, cursorPosition: { ...cursorPosition } };
  const { maxRecordBytes } = limits;
  return {
    program: await programHash(),
    modules: await moduleHash(context),
    // the run's id keeps equal secrets of two runs from looking equal
    personal: hashOf({ runId: context.runId, privacy: context.privacy }),
    source: hashOf(sourceTarget(context)),
    run: hashOf({ maker: spillMaker(context), maxRecordBytes, ...rest }),
  };
}

/** What differs. */
export function differenceOf(theirs: Same, ours: Same): typeof PARTS[number][] {
  return PARTS.filter((name) => theirs[name] !== ours[name]);
}

function hashOf(value: unknown): string {
  // what has been in the database comes back with its keys in another order
  const text = new Canonicalizer().text(parseJson(jsonText(value)));
  return createHash("sha256").update(text).digest("hex");
}

/** Where the source is, without its secrets. */
function sourceTarget({ params: { source }, connections, target }: RunContext): unknown {
  const name = adapterFor(source).connection?.(source);
  const dsn = name === undefined ? undefined : connections[name];
  if (dsn !== undefined) {
    const { hosts, user, database, options } = connectionTarget(dsn);
    return { hosts, user: user ?? null, database: database ?? null, options: options ?? null };
  }
  if (target === undefined) return {};
  if (!("endpoint" in target)) return { url: publicUrl(new URL(target.url)) };
  const { endpoint, region, pathStyle } = target;
  return { endpoint, region, pathStyle };
}

let program: Promise<string> | undefined;

/** Of the version and of all code that runs go through. */
export function programHash(): Promise<string> {
  return program ??= (async () => {
    const hash = createHash("sha256").update(VERSION);
    for (const folder of [".", "../store", "../vocabulary"]) {
      const files = await codeIn(fileURLToPath(new URL(folder, import.meta.url)));
      for (const path of files) hash.update(await Deno.readFile(path));
    }
    return hash.digest("hex");
  })();
}

async function codeIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (isDirectory) found.push(...await codeIn(path));
    else if (name.endsWith(".ts")) found.push(path);
  }
  return found.sort();
}

const RELATIVE_IMPORT = /\b(?:from|import)\s*\(?\s*["'](\.{1,2}\/[^"']+)["']/g;

/** Of the run's transform module and all that it imports by relative paths. */
async function moduleHash({ params, transformsDir }: RunContext): Promise<string> {
  if (params.transform === null) return "";
  const texts = new Map<string, string>();
  const first = resolve(transformsDir, `${params.transform}.ts`);
  const pending = [first];
  while (pending.length > 0) {
    const path = pending.pop()!;
    if (texts.has(path)) continue;
    const text = await Deno.readTextFile(path).catch(() => "");
    texts.set(path, text);
    for (const [, specifier] of text.matchAll(RELATIVE_IMPORT)) {
      pending.push(join(dirname(path), specifier!));
    }
  }
  const hash = createHash("sha256");
  // in the order in which they are imported, which does not depend on where they are
  for (const text of texts.values()) hash.update(`${text.length} ${text}`);
  return hash.digest("hex");
}
