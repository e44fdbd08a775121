import { pathToFileURL } from "node:url";
import { Problem } from "./problem.ts";
import type { TransformFunction } from "./stages/transform.ts";

/**
 * Loads a transform module: `<name>.ts` in the directory of transforms, whose
 * export `transform` (or default) maps a record to none, one or several.
 */
export async function loadTransform(dir: string, name: string): Promise<TransformFunction> {
  const path = `${dir}/${name}.ts`;
  let module: Record<string, unknown>;
  try {
    await Deno.stat(path);
    module = await import(pathToFileURL(path).href);
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    throw new Problem("transform-failed", {
      detail: missing
        ? `There is no transform module ${name}: ${path} does not exist. ${await known(dir)}`
        : `The transform module ${path} cannot be loaded: ${(error as Error).message}`,
      errors: [{
        field: "transform",
        value: name,
        message: missing ? "does not exist" : "cannot be loaded",
      }],
      cause: error,
    });
  }
  const found = module.transform ?? module.default;
  if (typeof found !== "function") {
    throw new Problem("transform-failed", {
      detail: `The transform module ${path} exports no function named transform.`,
      errors: [{ field: "transform", value: name, message: "exports no function named transform" }],
    });
  }
  return found as TransformFunction;
}

/** Names of the transform modules in a directory. */
export async function transformNames(dir: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(dir)) {
      const match = /^([a-z][a-z0-9_]{0,63})\.ts$/.exec(entry.name);
      if (match !== null) names.push(match[1]!);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names.sort();
}

async function known(dir: string): Promise<string> {
  const names = await transformNames(dir);
  return names.length === 0 ? "No module is there yet." : `Known: ${names.join(", ")}.`;
}
