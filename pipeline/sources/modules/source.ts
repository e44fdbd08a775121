import { say } from "../../../vocabulary/messages.ts";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ModuleConf } from "../schema.ts";
import {
  type Plain,
  type Plan,
  type PlanContext,
  type ReadContext,
  type RecordBatch,
  refuseManySlices,
  type Slice,
  type SourceAdapter,
} from "../source.ts";
import type { SourceClient } from "../../user_code/source_client.ts";
import { compileColumns } from "../columns.ts";
import { asDeclared } from "../local/plan_files.ts";
import { notePosition } from "./positions.ts";
import { type OpenModule, openTrusted, TRUSTED, type TrustedName } from "./trusted.ts";

/** Modules that are part of the program and run in a host, as anybody's do. */
const HOSTED = ["rest"];

/** Directory of the modules that are part of the program. */
const SHIPPED_DIR = fileURLToPath(new URL(".", import.meta.url));

/** Names of the modules that are part of the program; no file of the user's takes their place. */
export const SHIPPED: readonly string[] = [...HOSTED, ...Object.keys(TRUSTED)];

/** The module that a conf names. */
export function moduleOf({ module, name }: ModuleConf): string {
  return module ?? name!;
}

/** Whether a module is part of the program and runs beside its other sources, as it needs files or sockets. */
function isTrusted(module: string): module is TrustedName {
  return Object.hasOwn(TRUSTED, module);
}

/** The file of a module that runs in a host; null for one that needs none. */
export function hostedFile(
  conf: ModuleConf,
  sourcesDir: string,
): { dir: string; path: string } | null {
  const module = moduleOf(conf);
  if (isTrusted(module)) return null;
  const dir = HOSTED.includes(module) ? SHIPPED_DIR : sourcesDir;
  return { dir, path: join(dir, `${module}.ts`) };
}

type Context = (PlanContext | ReadContext) & { module?: SourceClient | null };

async function open(conf: ModuleConf, ctx: Context): Promise<OpenModule> {
  const module = moduleOf(conf);
  const opening = {
    config: conf.config,
    since: ctx.cursorPosition?.position ?? null,
    connections: conf.connections,
    pageSize: "pageSize" in ctx ? ctx.pageSize : 1_000,
    maxRecordBytes: ctx.limits.maxRecordBytes,
  };
  if (isTrusted(module)) return openTrusted(module, { ...opening, key: conf.key }, ctx);
  const client = ctx.module;
  if (client === null || client === undefined) {
    throw new Error(`there is no host for the source module ${module}`);
  }
  const { cursor, repeatable, steady } = await client.open(opening);
  return {
    cursor,
    repeatable,
    steady,
    plan: () => client.plan(),
    read: (slice) => client.read(slice),
  };
}

async function planModule(conf: ModuleConf, ctx: PlanContext): Promise<Plan> {
  // what was planned once is the run's plan: another answer of the source would be another run
  const pinned = ctx.pin?.slices as Slice[] | undefined;
  if (pinned !== undefined) return { pin: ctx.pin!, slices: pinned, warnings: [] };
  const { cursor, repeatable, steady: says, plan } = await open(conf, ctx);
  const { slices: texts, position, steady = says } = await plan();
  refuseManySlices(texts.length);
  const cut = ctx.maxRecords !== undefined;
  // how many records a slice has is known when it has been read, so what is cut is read in one go
  const slices: Slice[] = cut
    ? [{ slices: texts, most: ctx.maxRecords! }]
    : texts.map((text) => ({ slices: [text] }));
  const lower = ctx.cursorPosition?.position ?? null;
  const incremental = cursor !== null || position !== null;
  const pin: Plain = {
    slices,
    module: moduleOf(conf),
    cut,
    // what changes while a table is read is the next run's, also where it had no position before
    ...(isTrusted(moduleOf(conf)) && cursor !== null ? { planned: true } : {}),
    ...(steady ? {} : { steady }),
    ...(incremental
      ? {
        cursor_column: cursor ?? "position",
        cursor_lower: lower,
        cursor_upper: cut ? null : position,
      }
      : {}),
  };
  const warnings = repeatable ? [] : [say("not-repeatable", { module: moduleOf(conf) })];
  return { pin, slices, warnings };
}

async function* readModule(
  conf: ModuleConf,
  { slices, most }: Slice,
  ctx: ReadContext,
): AsyncGenerator<RecordBatch> {
  const { cursor, read } = await open(conf, ctx);
  const columns = compileColumns(conf);
  let left = typeof most === "number" ? most : Infinity;
  for (const slice of slices as string[]) {
    if (left <= 0) return;
    for await (const batch of read(slice)) {
      const some: RecordBatch = batch.length > left ? batch.slice(0, left) : batch;
      left -= some.length;
      if (batch.types !== undefined) some.types = batch.types;
      if (cursor !== null) notePosition(some, cursor, ctx.now ?? Date.now());
      yield asDeclared(some, conf, columns);
      if (left <= 0) break;
    }
  }
}

/** An API, a database or whatever else, read by a module: docs/sources.md. */
export const moduleAdapter: SourceAdapter<ModuleConf> = {
  incremental: true,
  connection: (conf) => isTrusted(moduleOf(conf)) ? conf.connections[0] : undefined,
  plan: planModule,
  read: readModule,
};
