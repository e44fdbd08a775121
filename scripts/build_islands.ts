/**
 * Builds what browsers get for the dashboard: the islands' code, the style
 * sheet and the typeface, each under a name with the hash of its content, and
 * a manifest that says which page needs what. Nothing is done when nothing has
 * changed since the last time.
 */
import { createHash } from "node:crypto";
import { basename, join, resolve } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { TerminalProblem } from "../vocabulary/problem.ts";
import { assetReferences, type Manifest, manifestSchema } from "../routes/dashboard/assets.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..");
const TYPEFACE = "node_modules/@fontsource-variable/inter/files/inter-latin-wght-normal.woff2";
const NOSCRIPT_STYLE = join("islands", "style", "noscript.css");

export interface BuildOptions {
  /** Directory of the project; default: this one. */
  projectDir?: string;
  /** Where to write; default: .data/assets below the project. */
  outputDir?: string;
}

/** Builds, unless the last build was of the same sources. Throws a Problem when the code has errors. */
export async function buildIslands(options: BuildOptions = {}): Promise<Manifest> {
  const projectDir = options.projectDir ?? PROJECT_DIR;
  const outputDir = options.outputDir ?? join(projectDir, ".data", "assets");
  const sources = await sourceHash(projectDir);
  const before = await readManifest(outputDir);
  if (before?.sources === sources && await allExist(outputDir, before)) return before;

  await Deno.mkdir(outputDir, { recursive: true });
  const written = new Writer(outputDir);
  const scripts = await bundle(projectDir, written);
  const font = await written.add("inter.woff2", await Deno.readFile(join(projectDir, TYPEFACE)));
  const icon = await written.add(
    "icon.svg",
    await Deno.readFile(join(projectDir, "islands/style/icon.svg")),
  );
  const style = await written.add("style.css", await styleSheet(projectDir, font));
  const noscript = await written.add(
    "noscript.css",
    await Deno.readFile(join(projectDir, NOSCRIPT_STYLE)),
  );
  const files = written.names;
  const manifest: Manifest = { sources, scripts, style, noscript, font, icon, files };
  const temporary = join(outputDir, `manifest.${crypto.randomUUID()}.json`);
  await Deno.writeTextFile(temporary, JSON.stringify(manifest, null, 2));
  await Deno.rename(temporary, join(outputDir, "manifest.json"));
  await removeOld(outputDir, [...manifest.files, ...before?.files ?? []]);
  return manifest;
}

/** Builds anew whenever a source changes, until disposed of. */
export function watchIslands(
  options: BuildOptions & { log?: (message: string) => void },
): Disposable {
  const watcher = Deno.watchFs(join(options.projectDir ?? PROJECT_DIR, "islands"));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const build = () =>
    buildIslands(options).catch((error) => options.log?.((error as Error).message));
  void (async () => {
    for await (const _event of watcher) {
      clearTimeout(timer);
      timer = setTimeout(build, 100);
    }
  })();
  return {
    [Symbol.dispose]() {
      clearTimeout(timer);
      watcher.close();
    },
  };
}

/** Bundles the entries; files that import each other keep the names that the bundler gave them. */
async function bundle(projectDir: string, written: Writer): Promise<Manifest["scripts"]> {
  const entries = (await Promise.all(
    ["islands", join("islands", "i18n")].map((folder) => modulesIn(join(projectDir, folder))),
  )).flat();
  const result = await Deno.bundle({
    entrypoints: entries,
    outputDir: written.dir,
    platform: "browser",
    format: "esm",
    codeSplitting: true,
    minify: true,
    write: false,
  });
  if (!result.success) {
    throw new TerminalProblem("internal", {
      detail: `The dashboard's scripts could not be built:\n${
        result.errors.map(({ text, location }) => `${location?.file}:${location?.line}: ${text}`)
          .join("\n")
      }`,
    });
  }
  const outputs = (result.outputFiles ?? []).map((file) => ({
    name: basename(file.path),
    text: file.text(),
  }));
  const entryNames = new Set(entries.map((path) => basename(path).replace(/\.tsx?$/, ".js")));
  const chunkNames = new Set<string>();
  for (const { name, text } of outputs) {
    if (entryNames.has(name)) continue;
    chunkNames.add(await written.addAs(name, text));
  }
  const scripts: Manifest["scripts"] = {};
  const importsOf = new Map(
    outputs.map(({ name, text }) => [name, assetReferences(text).filter((n) => chunkNames.has(n))]),
  );
  for (const { name, text } of outputs) {
    if (!entryNames.has(name)) continue;
    const needed = new Set<string>();
    const visit = (each: string) => {
      if (needed.has(each)) return;
      needed.add(each);
      importsOf.get(each)?.forEach(visit);
    };
    importsOf.get(name)?.forEach(visit);
    scripts[name.replace(/\.js$/, "")] = {
      file: await written.add(name, new TextEncoder().encode(text)),
      imports: [...needed],
    };
  }
  return scripts;
}

/** The parts in the order of their names, without comments and indentation. */
async function styleSheet(projectDir: string, font: string): Promise<Uint8Array> {
  const parts: string[] = [];
  for (const path of await filesBelow(join(projectDir, "islands", "style"))) {
    if (path.endsWith(".css") && !path.endsWith(NOSCRIPT_STYLE)) {
      parts.push(await Deno.readTextFile(path));
    }
  }
  const text = parts.join("\n").replaceAll("inter.woff2", font)
    .replace(/\/\*.*?\*\//gs, "").replace(/^\s+/gm, "").replace(/\n+/g, "\n");
  return new TextEncoder().encode(text);
}

class Writer {
  readonly names: string[] = [];
  constructor(readonly dir: string) {}

  /** Writes a file under a name with the hash of its content; answers the name. */
  async add(name: string, content: Uint8Array): Promise<string> {
    const hash = createHash("sha256").update(content).digest("hex").slice(0, 10);
    return await this.#write(name.replace(/(\.\w+)$/, `-${hash}$1`), content);
  }

  /** Writes a file whose name has a hash already. */
  async addAs(name: string, text: string): Promise<string> {
    return await this.#write(name, new TextEncoder().encode(text));
  }

  /** With what compresses well beside it, compressed as well as can be. */
  async #write(name: string, content: Uint8Array): Promise<string> {
    await this.#put(name, content);
    if (/\.(js|css|svg)$/.test(name)) {
      await this.#put(`${name}.br`, brotliCompressSync(content));
      await this.#put(`${name}.gz`, gzipSync(content, { level: 9 }));
    }
    return name;
  }

  async #put(name: string, content: Uint8Array): Promise<void> {
    await Deno.writeFile(join(this.dir, name), content);
    this.names.push(name);
  }
}

/** A hash of everything that the build reads, and of the program that does it. */
async function sourceHash(projectDir: string): Promise<string> {
  const hash = createHash("sha256").update(Deno.version.deno);
  const lock = join(projectDir, "deno.lock");
  const paths = [
    ...await filesBelow(join(projectDir, "islands")),
    join(projectDir, "scripts", "build_islands.ts"),
    lock,
  ];
  for (const path of paths) {
    hash.update(path.slice(projectDir.length)).update(await Deno.readFile(path));
  }
  return hash.digest("hex");
}

/** A page's island, the shell or a catalogue is a module in its folder; what they share lies deeper. */
async function modulesIn(dir: string): Promise<string[]> {
  const names = (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name);
  return names.filter((name) => /\.tsx?$/.test(name)).sort().map((name) => join(dir, name));
}

async function filesBelow(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    if (isDirectory) found.push(...await filesBelow(join(dir, name)));
    else found.push(join(dir, name));
  }
  return found.sort();
}

async function readManifest(dir: string): Promise<Manifest | undefined> {
  try {
    return manifestSchema.parse(JSON.parse(await Deno.readTextFile(join(dir, "manifest.json"))));
  } catch {
    return undefined;
  }
}

async function allExist(dir: string, manifest: Manifest): Promise<boolean> {
  const stats = manifest.files.map((name) => Deno.stat(join(dir, name)));
  return (await Promise.allSettled(stats)).every(({ status }) => status === "fulfilled");
}

/** Files of the build before stay: a server may be giving them out still. */
async function removeOld(dir: string, keep: string[]): Promise<void> {
  const kept = new Set([...keep, "manifest.json"]);
  for await (const { name, isFile } of Deno.readDir(dir)) {
    if (isFile && !kept.has(name)) await Deno.remove(join(dir, name)).catch(() => {});
  }
}

if (import.meta.main) {
  const { files } = await buildIslands();
  console.log(`The dashboard's ${files.length} files are in .data/assets.`);
}
