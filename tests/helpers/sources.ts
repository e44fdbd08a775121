import { join } from "node:path";
import { planSource, readSource } from "../../pipeline/sources/adapters.ts";
import type { SourceConf } from "../../pipeline/sources/schema.ts";
import { sourceSchema } from "../../pipeline/sources/schema.ts";
import {
  type Plan,
  type PlanContext,
  type ReadContext,
  type SourceRecord,
  Unreadable,
} from "../../pipeline/sources/source.ts";

export type SourceContext = PlanContext & ReadContext;

/** A data directory and a spool directory of one test, removed at its end. */
export class SourceFolder implements AsyncDisposable {
  readonly path: string;
  readonly ctx: SourceContext;

  constructor(path: string, options: Partial<SourceContext> = {}) {
    this.path = path;
    this.ctx = {
      dataDir: join(path, "data"),
      spoolDir: join(path, "spool"),
      connections: {},
      pageSize: 1_000,
      limits: { maxSpoolBytes: 1 << 30, maxRecordBytes: 1 << 20, allowPrivateHosts: [] },
      signal: new AbortController().signal,
      ...options,
    };
  }

  static async create(options: Partial<SourceContext> = {}): Promise<SourceFolder> {
    const path = await Deno.makeTempDir({ prefix: "etl_source_" });
    const folder = new SourceFolder(path, options);
    await Deno.mkdir(folder.ctx.dataDir, { recursive: true });
    return folder;
  }

  /** Writes a file below the data directory. */
  async write(name: string, content: string | Uint8Array): Promise<void> {
    const path = join(this.ctx.dataDir, name);
    await Deno.mkdir(join(path, ".."), { recursive: true });
    await Deno.writeFile(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** A conf with its defaults filled in. */
export function sourceConf(conf: Record<string, unknown>): SourceConf {
  return sourceSchema.parse(conf);
}

export interface ReadAll {
  plan: Plan;
  /** Records by slice. */
  slices: (SourceRecord | Unreadable)[][];
  records: SourceRecord[];
  unreadable: Unreadable[];
}

/** Plans a source and reads all of its slices. */
export async function readAll(
  conf: Record<string, unknown>,
  ctx: SourceContext,
): Promise<ReadAll> {
  const parsed = sourceConf(conf);
  const plan = await planSource(parsed, ctx);
  const slices: (SourceRecord | Unreadable)[][] = [];
  for (const slice of structuredClone(plan.slices)) {
    const own: (SourceRecord | Unreadable)[] = [];
    for await (const batch of readSource(parsed, slice, ctx)) own.push(...batch);
    slices.push(own);
  }
  const all = slices.flat();
  return {
    plan,
    slices,
    records: all.filter((record) => !(record instanceof Unreadable)) as SourceRecord[],
    unreadable: all.filter((record) => record instanceof Unreadable),
  };
}
