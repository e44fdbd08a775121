import type { Context } from "hono";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { z } from "zod";

const TYPES: Record<string, string> = {
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  woff2: "font/woff2",
};

/** What a file may be there as, the smallest first. */
const ENCODINGS = [
  { encoding: "br", extension: ".br" },
  { encoding: "gzip", extension: ".gz" },
  { encoding: null, extension: "" },
];

/** Gives out what scripts/build_islands.ts has made, and sees when it has been made anew. */
export class Assets {
  readonly #dir: URL;
  readonly #files = new Map<string, Uint8Array<ArrayBuffer>>();
  #manifest: Manifest | null = null;
  #modifiedAt = 0;

  constructor(dir = new URL("../../.data/assets/", import.meta.url)) {
    this.#dir = dir;
  }

  /** What the last build has made; null where there was none: pages then do without. */
  async manifest(): Promise<Manifest | null> {
    try {
      const url = new URL("manifest.json", this.#dir);
      const modifiedAt = (await Deno.stat(url)).mtime?.getTime() ?? 0;
      if (this.#manifest === null || modifiedAt !== this.#modifiedAt) {
        this.#manifest = manifestSchema.parse(JSON.parse(await Deno.readTextFile(url)));
        this.#modifiedAt = modifiedAt;
      }
      return this.#manifest;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }

  /** A file by its name, cacheable for ever as the name changes with the content. */
  async serve(c: Context, name: string): Promise<Response> {
    const type = TYPES[name.slice(name.lastIndexOf(".") + 1)];
    if (type === undefined || !/^[A-Za-z0-9_-]+\.[a-z0-9]+$/.test(name)) throw noSuchFile(name);
    const accepted = c.req.header("accept-encoding") ?? "";
    for (const { encoding, extension } of ENCODINGS) {
      if (encoding !== null && !new RegExp(`\\b${encoding}\\b`).test(accepted)) continue;
      const content = await this.#read(name + extension);
      if (content === null) continue;
      if (encoding !== null) c.header("content-encoding", encoding);
      return c.body(content, 200, {
        "content-type": type,
        "cache-control": "public, max-age=31536000, immutable",
        vary: "Accept-Encoding",
        "x-content-type-options": "nosniff",
      });
    }
    throw noSuchFile(name);
  }

  async #read(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    const known = this.#files.get(name);
    if (known !== undefined) return known;
    try {
      const content = await Deno.readFile(new URL(name, this.#dir));
      this.#files.set(name, content);
      return content;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }
}

function noSuchFile(name: string): Problem {
  return new Problem("not-found", {
    detail: say("no-asset", { name: name.slice(0, 100) }),
  });
}

/** What a build of the dashboard's assets has made; file names are below /etl/assets/. */
export const manifestSchema = z.object({
  /** Hash of the sources that it was made from. */
  sources: z.string(),
  /** Entry by name: its file, and the files that it imports at once. */
  scripts: z.record(z.string(), z.object({ file: z.string(), imports: z.array(z.string()) })),
  style: z.string(),
  /** Style sheet on top of it where no script runs. */
  noscript: z.string(),
  font: z.string(),
  icon: z.string(),
  files: z.array(z.string()),
});

export type Manifest = z.infer<typeof manifestSchema>;

/** Names of the files that a bundle imports statically. */
export function assetReferences(text: string): string[] {
  const found = text.matchAll(/(?:\bfrom|\bimport)\s*["']\.\/([^"']+)["']/g);
  return [...new Set([...found].map((match) => match[1]!))];
}
