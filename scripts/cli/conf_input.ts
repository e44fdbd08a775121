import { Canonicalizer } from "../../pipeline/canonical.ts";
import { paramsSchema } from "../../pipeline/params.ts";
import {
  fileSource,
  httpSource,
  inlineSource,
  moduleSource,
  postgresSource,
  s3Source,
  syntheticSource,
} from "../../pipeline/sources/schema.ts";
import { parseJson } from "../../pipeline/sources/json_text.ts";
import type { Json } from "../../pipeline/sources/source.ts";
import { UsageError } from "./exit_codes.ts";

interface Accepting {
  safeParse(value: unknown): { success: boolean };
}

/**
 * The conf of `--conf` (JSON, `@file` or `@-`), `--configuration`, `--source` and
 * `--set name=value`, each going over the one before.
 */
export async function readConf(
  given: {
    conf?: string | undefined;
    configuration?: string | undefined;
    source?: string | undefined;
    set: string[];
  },
  readFile: (path: string) => Promise<string>,
): Promise<Record<string, unknown>> {
  const conf = given.conf === undefined ? {} : await readObject("--conf", given.conf, readFile);
  if (given.configuration !== undefined) conf.configuration = given.configuration;
  if (given.source !== undefined) {
    conf.source = await readObject("--source", given.source, readFile);
  }
  for (const setting of given.set) applySetting(conf, setting);
  return conf;
}

async function readObject(
  option: string,
  text: string,
  readFile: (path: string) => Promise<string>,
): Promise<Record<string, unknown>> {
  const file = text.startsWith("@") ? text.slice(1) : undefined;
  const json = file === undefined ? text : await readFile(file);
  const what = file === undefined ? option : file === "-" ? "the standard input" : file;
  let value: unknown;
  try {
    value = parseJson(json);
  } catch (error) {
    const hint = file === undefined
      ? ` It was given as: ${text.slice(0, 200)}\nPut JSON into single quotes, names and texts ` +
        `into double quotes: ${option} '{"${
          option === "--conf" ? 'batch_size": 1000' : 'type": "file", "path": "a.csv"'
        }}', or into a file: ${option} @conf.json`
      : "";
    throw new UsageError(`${what} is not JSON: ${(error as Error).message}.${hint}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError(`${what} must be a JSON object, such as {"batch_size": 1000}`);
  }
  return value as Record<string, unknown>;
}

/** A conf as JSON; integers beyond 2^53 keep every digit, as they do in the source's records. */
export function confText(conf: Record<string, unknown>): string {
  return new Canonicalizer().text(conf as Json);
}

/** Sets `source.path=a.csv` in a conf. */
export function applySetting(conf: Record<string, unknown>, setting: string): void {
  const at = setting.indexOf("=");
  if (at < 1) {
    throw new UsageError(`--set needs name=value, such as batch_size=1000, not '${setting}'`);
  }
  const path = setting.slice(0, at).split(".");
  let target = conf;
  for (const name of path.slice(0, -1)) {
    const inner = Object.hasOwn(target, name) ? target[name] : undefined;
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) target[name] = {};
    target = target[name] as Record<string, unknown>;
  }
  target[path.at(-1)!] = settingValue(path, setting.slice(at + 1));
}

/** A value as text where the parameter takes text, else as the JSON that it is. */
export function settingValue(path: string[], text: string): unknown {
  const json = jsonOr(text);
  if (typeof json === "object") return json;
  const accepting = acceptingOf(path);
  if (accepting.length > 0 && accepting.every((schema) => schema.safeParse(text).success)) {
    return text;
  }
  return json;
}

function acceptingOf(path: string[]): Accepting[] {
  const [first = "", second = ""] = path;
  if (path.length === 1) {
    return Object.hasOwn(paramsSchema.shape, first)
      ? [(paramsSchema.shape as Record<string, Accepting>)[first]!]
      : [];
  }
  if (first !== "source" || path.length !== 2) return [];
  return [
    syntheticSource,
    inlineSource,
    fileSource,
    httpSource,
    postgresSource,
    s3Source,
    moduleSource,
  ]
    .flatMap(({ shape }) =>
      Object.hasOwn(shape, second) ? [(shape as Record<string, Accepting>)[second]!] : []
    );
}

function jsonOr(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return text;
  }
}
