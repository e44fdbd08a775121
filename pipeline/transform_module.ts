import { pathToFileURL } from "node:url";
import type { z } from "zod";
import { type PayloadCheck, zodPayloadCheck } from "./expectations/payload_schema.ts";
import { Problem } from "./problem.ts";
import type { TransformFunction } from "./stages/transform.ts";

/** What a module of the user's own brings; at least one of the two. */
export interface TransformModule {
  /** Maps a record to none, one or several. */
  transform?: TransformFunction;
  /** Checks a payload, from the module's zod schema. */
  check?: PayloadCheck;
}

/**
 * Loads a transform module: `<name>.ts` in the directory of transforms. Its
 * export `transform` (or default) maps records; its export `schema`, a zod
 * schema, says what a payload must be after that.
 */
export async function loadTransform(dir: string, name: string): Promise<TransformModule> {
  const path = `${dir}/${name}.ts`;
  let module: Record<string, unknown>;
  try {
    const { mtime, size } = await Deno.stat(path);
    // a module that was changed has another address, so no restart is needed to use it
    const version = `${mtime?.getTime() ?? 0}-${size}`;
    module = await import(`${pathToFileURL(path).href}?${version}`);
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
  const transform = module.transform ?? module.default;
  const { schema } = module;
  const isSchema = typeof (schema as { safeParse?: unknown } | undefined)?.safeParse === "function";
  if (typeof transform !== "function" && !isSchema) {
    const message = "exports neither a function named transform nor a zod schema named schema";
    throw new Problem("transform-failed", {
      detail: `The transform module ${path} ${message}.`,
      errors: [{ field: "transform", value: name, message }],
    });
  }
  return {
    ...(typeof transform === "function" ? { transform: transform as TransformFunction } : {}),
    ...(isSchema ? { check: zodPayloadCheck(schema as z.ZodType) } : {}),
  };
}

/** Names of the transform modules in a directory. */
async function transformNames(dir: string): Promise<string[]> {
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
