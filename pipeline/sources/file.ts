import { Problem } from "../../vocabulary/problem.ts";
import { findFiles } from "./local/find_files.ts";
import { planFiles, type PlanFilesOptions, readParts } from "./local/plan_files.ts";
import type { RawFile } from "./local/prepare_input.ts";
import type { FileConf } from "./schema.ts";
import type { Plain, Plan, PlanContext, SourceAdapter } from "./source.ts";

/** Size and time of each file, as the run saw them first. */
function pinOf(files: RawFile[]): Plain {
  return {
    files: files.map(({ path, size, mtime_ms }) => ({ path, size, mtime_ms })),
  };
}

function checkPin(pin: Plain, files: RawFile[]): void {
  const then = new Map((pin.files as { path: string; size: number; mtime_ms: number }[])
    .map((file) => [file.path, file]));
  const differences: string[] = [];
  for (const file of files) {
    const old = then.get(file.path);
    then.delete(file.path);
    if (old === undefined) differences.push(`${file.path} is new`);
    else if (old.size !== file.size) {
      differences.push(`${file.path} had ${old.size} bytes and has ${file.size}`);
    } else if (old.mtime_ms !== file.mtime_ms) differences.push(`${file.path} was modified`);
  }
  for (const path of then.keys()) differences.push(`${path} is gone`);
  if (differences.length === 0) return;
  const shown = differences.slice(0, 5).join("; ") + (differences.length > 5 ? "; …" : "");
  throw new Problem("source-changed", {
    detail: `The files changed since the run first read them (${shown}): ` +
      "start a new run to load them as they are now.",
  });
}

/** Plans the files; a preview pins nothing and stops early. */
export async function planFileSource(conf: FileConf, options: PlanFilesOptions): Promise<Plan> {
  const { ctx } = options;
  const { files, warnings } = await findFiles(conf.path, ctx.dataDir);
  if (ctx.pin !== undefined) checkPin(ctx.pin, files);
  const plan = await planFiles(files, conf, options);
  return { ...plan, pin: pinOf(files), warnings: [...warnings, ...plan.warnings] };
}

/** Files of every format below ETL_DATA_DIR, compressed with gzip or zstd or not, by path or glob. */
export const fileAdapter: SourceAdapter<FileConf> = {
  plan: (conf: FileConf, ctx: PlanContext) => planFileSource(conf, { ctx }),
  read: (conf, slice, ctx) => readParts(slice, ctx, conf),
};
