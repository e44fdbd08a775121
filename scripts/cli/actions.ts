import { parseJson } from "../../pipeline/sources/json_text.ts";
import { type Api, problemOf } from "./api.ts";
import type { Call } from "./command.ts";
import { type ExitCode, UsageError } from "./exit_codes.ts";
import { nearestName } from "../../vocabulary/nearest_name.ts";
import { type Column, table } from "./table.ts";

/** What a command does with one of its actions: `etl suite get NAME`. */
export interface Action {
  /** What has to follow it, in words; default: nothing. */
  needs?: string;
  run(call: Call, ...args: string[]): Promise<ExitCode>;
}

/** Runs the action that the first argument names. Throws UsageError with what was probably meant. */
export async function runAction(
  command: string,
  actions: Record<string, Action>,
  call: Call,
): Promise<ExitCode> {
  const [name = "", ...args] = call.args;
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (action === undefined) {
    const meant = nearestName(name, Object.keys(actions));
    throw new UsageError(
      `etl ${command} cannot '${name}'${meant === undefined ? "" : `; did you mean ${meant}?`}`,
    );
  }
  if (action.needs !== undefined && args.length === 0) {
    throw new UsageError(`etl ${command} ${name} needs ${action.needs}`);
  }
  return await action.run(call, ...args);
}

/** Removes what is at a path of the API. A problem that is answered is thrown. */
export async function remove(api: Api, path: string): Promise<void> {
  const response = await api.fetch(path, { method: "DELETE" });
  const text = await response.text();
  if (!response.ok) throw problemOf(response, text);
}

/** Reads a file of JSON that the user named; "-" is the standard input. */
export async function readJsonFile(call: Call, file: string): Promise<unknown> {
  try {
    return parseJson(await call.readFile(file));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${whatFile(file)} is not JSON: ${(error as Error).message}`);
  }
}

/** A file as messages name it. */
export function whatFile(file: string): string {
  return file === "-" ? "the standard input" : file;
}

/** Writes a table, its titles in bold. */
export function printTable({ out }: Call, columns: Column[], rows: string[][]): void {
  const [title, ...lines] = table(columns, rows);
  out.line(out.paint("bold", title!));
  for (const line of lines) out.line(line);
}

/** A whole number that an option gives. Throws UsageError outside of its bounds. */
export function wholeNumber(
  call: Call,
  option: string,
  { least, most, otherwise }: { least: number; most: number; otherwise: number },
): number {
  const text = call.text[option];
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new UsageError(
    `--${option} must be a whole number from ${least} to ${most}, not '${text}'`,
  );
}
