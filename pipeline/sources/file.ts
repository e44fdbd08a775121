import { type Message, say } from "../../vocabulary/messages.ts";
import picomatch from "picomatch";
import { Problem } from "../../vocabulary/problem.ts";
import { areParts, planFiles, type PlanFilesOptions, readParts } from "./local/plan_files.ts";
import type { RawFile } from "./local/prepare_input.ts";
import type { FileConf } from "./schema.ts";
import type { Plain, Plan, PlanContext, SourceAdapter } from "./source.ts";
import { basename, join, relative, sep } from "node:path";
import { resolveBelow } from "./local/open_input.ts";
import { RE2JS } from "re2js";

/** Size and time of each file, as the run saw them first. */
function pinOf(files: RawFile[]) {
  return {
    files: files.map(({ path, size, mtime_ms }) => ({ path, size, mtime_ms })),
  };
}

/** A file as it was pinned: what of it is there says which content it has. */
interface PinnedFile {
  path: string;
  size: number;
  mtime_ms?: number;
  etag?: string;
}

/** @throws {Problem} `source-changed` unless the files are those of the pin. */
export function checkPin(pin: Plain, files: PinnedFile[]): void {
  const then = new Map((pin.files as unknown as PinnedFile[]).map((file) => [file.path, file]));
  const differences: string[] = [];
  for (const file of files) {
    const old = then.get(file.path);
    then.delete(file.path);
    if (old === undefined) differences.push(say("file-is-new", { path: file.path }));
    else if (old.size !== file.size) {
      differences.push(say("file-had", { path: file.path, then: old.size, now: file.size }));
    } else if (old.mtime_ms !== file.mtime_ms || old.etag !== file.etag) {
      differences.push(say("file-was-modified", { path: file.path }));
    }
  }
  for (const path of then.keys()) differences.push(say("file-is-gone", { path }));
  if (differences.length === 0) return;
  const shown = differences.slice(0, 5).join("; ") + (differences.length > 5 ? "; …" : "");
  throw new Problem("source-changed", {
    detail: say("files-changed", { which: shown }),
  });
}

/** Plans the files; a preview pins nothing and stops early. */
async function planFileSource(conf: FileConf, options: PlanFilesOptions): Promise<Plan> {
  const { ctx } = options;
  const { files, warnings } = await findFiles(conf.path, ctx.dataDir);
  const pin = pinOf(files);
  if (ctx.pin !== undefined) checkPin(ctx.pin, pin.files);
  const plan = await planFiles(files, conf, options);
  return { ...plan, pin, warnings: [...warnings, ...plan.warnings] };
}

/** Files of every format below ETL_DATA_DIR, compressed with gzip or zstd or not, by path or glob. */
export const fileAdapter: SourceAdapter<FileConf> = {
  everywhere(slices, { dataShared }) {
    if (!dataShared) return null;
    return areParts(slices, "data") ? "there" : "unpacked";
  },
  async isHere(pin, { dataDir }) {
    for (const { path, size, mtime_ms } of pin.files as unknown as PinnedFile[]) {
      const info = await Deno.stat(join(dataDir, path)).catch(() => null);
      if (info?.size !== size || info.mtime?.getTime() !== mtime_ms) return false;
    }
    return true;
  },
  planFirst: (conf, ctx, previewRecords) => planFileSource(conf, { ctx, previewRecords }),
  plan: (conf: FileConf, ctx: PlanContext) => planFileSource(conf, { ctx }),
  read: (conf, slice, ctx) => readParts(slice, ctx, conf),
};

// @ts-types="@types/picomatch"

const MAX_LISTED = 20;
const MAX_FILES = 10_000;

export interface FoundFiles {
  files: RawFile[];
  warnings: Message[];
}

/**
 * The files below `dataDir` that a path or glob names, in natural order: part-9 before part-10. A file that is called as
 * the glob is written is that file alone.
 *
 * @throws {Problem} `source-refused` for what is not below it, `source-unreadable` when nothing matches.
 */
async function findFiles(pattern: string, dataDir: string): Promise<FoundFiles> {
  checkPattern(pattern);
  const warnings: Message[] = [];
  const { isGlob, base } = picomatch.scan(pattern);
  const paths: string[] = [];
  // a file may be called as a glob is written: "sales [2026].csv"
  if (isGlob && !await isFile(join(dataDir, pattern))) {
    const matches = globMatcher(pattern);
    for await (const path of walk(dataDir, base, warnings)) {
      if (!matches(path)) continue;
      if (paths.push(path) > MAX_FILES) {
        throw new Problem("source-refused", {
          detail: say("too-many-files", { pattern, n: MAX_FILES }),
        });
      }
    }
  } else if (isGlob || await isThere(join(dataDir, pattern))) {
    paths.push(pattern.replace(/^(\.\/)+/, ""));
  }
  if (paths.length === 0) throw await nothingFound(pattern, dataDir);
  paths.sort(naturalOrder);
  const files: RawFile[] = [];
  for (const path of paths) files.push(await describe(path, dataDir));
  return { files, warnings };
}

/** Numbers in names by their value, all else by code unit: the same order on every server. */
export function naturalOrder(a: string, b: string): number {
  const [left, right]: [string[], string[]] = [
    a.match(/\d+|\D+/g) ?? [],
    b.match(/\d+|\D+/g) ?? [],
  ];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [x, y] = [left[i]!, right[i]!];
    if (x === y) continue;
    if (/^\d/.test(x) && /^\d/.test(y)) {
      const [m, n] = [x, y].map((digits) => digits.replace(/^0+(?=\d)/, "")) as [string, string];
      if (m.length !== n.length) return m.length - n.length;
      if (m !== n) return m < n ? -1 : 1;
      continue;
    }
    return x < y ? -1 : 1;
  }
  return left.length - right.length || (a < b ? -1 : a > b ? 1 : 0);
}

function checkPattern(pattern: string): void {
  const refuse = (why: Message) =>
    new Problem("source-refused", {
      detail: say("path-refused", { pattern: JSON.stringify(pattern), why }),
      errors: [{ field: "source.path", message: why, value: pattern }],
    });
  if (pattern.includes("\0")) throw refuse(say("holds-nul", {}));
  if (/^([/\\]|[A-Za-z]:)/.test(pattern)) throw refuse(say("is-absolute", {}));
  if (pattern.split(/[/\\{},()|]/).includes("..")) throw refuse(say("leads-upwards", {}));
}

async function describe(path: string, dataDir: string): Promise<RawFile> {
  const { absolutePath, info } = await resolveBelow(dataDir, path);
  if (!info.isFile) {
    throw new Problem("source-unreadable", {
      detail: info.isDirectory
        ? say("is-directory", { path, example: `${path.replace(/\/$/, "")}/*` })
        : say("no-regular-file", { path }),
    });
  }
  const mtime_ms = info.mtime?.getTime() ?? 0;
  return {
    root: "data",
    path,
    label: path,
    name: basename(path),
    size: info.size,
    mtime_ms,
    absolutePath,
    identity: `file:${path}:${info.size}:${mtime_ms}`,
  };
}

const isFile = (path: string) => Deno.stat(path).then((info) => info.isFile, () => false);

async function isThere(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    if ((error as { code?: string }).code === "ENAMETOOLONG") return false;
    throw error;
  }
}

/** All files below `base`, following links that stay inside; as paths relative to `dataDir`. */
async function* walk(dataDir: string, base: string, warnings: Message[]): AsyncGenerator<string> {
  const root = await Deno.realPath(dataDir).catch(() => undefined);
  if (root === undefined) return;
  const seen = new Set<string>();
  const pending = [join(dataDir, base)];
  while (pending.length > 0) {
    const dir = pending.pop()!;
    const real = await Deno.realPath(dir).catch(() => undefined);
    if (real === undefined || seen.has(real)) continue;
    if (real !== root && !real.startsWith(root + sep)) {
      warnings.push(say("not-searched", { dir: relative(dataDir, dir) }));
      continue;
    }
    seen.add(real);
    for await (const entry of entries(real)) {
      const path = join(dir, entry.name);
      const info = entry.isSymlink ? await Deno.stat(path).catch(() => undefined) : entry;
      if (info?.isDirectory) pending.push(path);
      // A link to a file outside is found here, so that it is refused by name.
      else if (info?.isFile) yield relative(dataDir, path);
    }
  }
}

async function* entries(dir: string): AsyncGenerator<Deno.DirEntry> {
  try {
    yield* Deno.readDir(dir);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotADirectory)) throw error;
  }
}

async function nothingFound(pattern: string, dataDir: string): Promise<Problem> {
  if (!await isThere(dataDir)) {
    return new Problem("source-unreadable", {
      detail: say("no-data-directory", {}),
    });
  }
  const there: string[] = [];
  try {
    for await (const path of walk(dataDir, "", [])) {
      there.push(path);
      if (there.length > MAX_LISTED) break;
    }
  } catch {
    // The list is only a help.
  }
  there.sort();
  const more = there.length > MAX_LISTED ? ", …" : "";
  const list = there.slice(0, MAX_LISTED).join(", ");
  return new Problem("source-unreadable", {
    detail: list === ""
      ? say("no-files-at-all", { pattern })
      : say("no-file-of", { pattern, list: `${list}${more}` }),
    errors: [{ field: "source.path", message: "matches no file", value: pattern }],
  });
}

// @ts-types="@types/picomatch"

/**
 * What picomatch puts in against empty segments, "." and "..", none of which
 * a path has that was found by walking; RE2 knows no lookahead.
 */
const LOOKAHEADS =
  /\(\?=\.\)|\(\?!\(\?:\^\|\\\/\)\\\.\{1,2\}\(\?:\\\/\|\$\)\)|\(\?!\\\.\{[01],[12]\}\(\?:\\\/\|\$\)\)/g;

/**
 * A test of paths against a glob (`*`, `**`, `?`, `[a-z]`, `{a,b}`), in time
 * that grows with the length of the path only: a backtracking engine takes
 * hours for some patterns. Names that begin with a dot are only found where
 * the glob names them so.
 *
 * @throws {Problem} `source-refused` for what is no glob.
 */
export function globMatcher(pattern: string, field = "source.path"): (path: string) => boolean {
  const hidden = /(^|[/{,(|])\.(?!\/)/.test(pattern);
  let compiled: RE2JS;
  try {
    const { source } = picomatch.makeRe(pattern, { nonegate: true, noextglob: true, dot: true });
    compiled = RE2JS.compile(source.replaceAll(LOOKAHEADS, ""), RE2JS.DOTALL);
  } catch {
    throw new Problem("source-refused", {
      detail: say("path-no-glob", { pattern: JSON.stringify(pattern) }),
      errors: [{ field, message: "is no glob", value: pattern }],
    });
  }
  return (path) => (hidden || !/(^|\/)\./.test(path)) && compiled.matches(path);
}
