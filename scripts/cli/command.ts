import { parseJson } from "../../pipeline/sources/json_text.ts";
import { nearestName } from "../../vocabulary/nearest_name.ts";
import type { Terminal } from "../terminal.ts";
import { type Api, type ConnectOptions, problemOf } from "./api.ts";
import { EXIT, type ExitCode, UsageError } from "./exit_codes.ts";
import type { Signals } from "./signals.ts";
import { type Column, table } from "./text.ts";

export interface Option {
  type: "boolean" | "string";
  /** Whether it may be given several times. */
  multiple?: boolean;
  short?: string;
  /** Name of the value in the help: "JSON". */
  value?: string;
  help: string;
}

export interface Argument {
  name: string;
  help: string;
  optional?: boolean;
}

/** A command of the tool; a file in commands/ each, listed in command_table.ts. */
export interface Command {
  name: string;
  /** One line of the list of commands. */
  summary: string;
  /** What a newcomer should know, below the usage. */
  description: string;
  arguments?: Argument[];
  /** Names of its actions, one of which is the first argument; default: it has none. */
  actions?: () => string[];
  options: Record<string, Option>;
  examples: string[];
  /** More sections of its help. */
  more?: () => string;
  run(call: Call): Promise<ExitCode>;
}

/** What a command was called with and what it may use. */
export interface Call {
  /** Values of string options. */
  text: Record<string, string | undefined>;
  /** Values of options that may be given several times. */
  lists: Record<string, string[]>;
  flags: Record<string, boolean>;
  args: string[];
  /** Results go here, to stdout. */
  out: Terminal;
  /** Progress and remarks go here, to stderr. */
  err: Terminal;
  signals: Signals;
  /** A file that the user named, as text; "-" is the standard input. */
  readFile(path: string): Promise<string>;
  /** Writes a file that the user named; one that is there already is not overwritten. */
  writeNewFile(path: string, text: string): Promise<void>;
  /** A path that the user named, from the root on. */
  resolvePath(path: string): string;
  /** Whether somebody can be asked: the standard input is a terminal. */
  canAsk: boolean;
  /** Asks a question, to which Enter alone is the answer `otherwise`. */
  ask(question: string, otherwise: "yes" | "no"): boolean;
  /** A task as the user calls it: "deno task start", of the installed program "etl start". */
  task(name: string): string;
  /** What psql takes to reach the database; null where this process does not know. */
  psql: string | null;
  /** Whether a server was named; else connect() starts what is needed in this process. */
  usesServer: boolean;
  /** Connects to the server that was named, or starts what is needed in this process. */
  connect(options?: ConnectOptions): Promise<Api>;
}

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
export function printTable<T>(out: Terminal, items: T[], columns: Column<T>[]): void {
  const [title, ...lines] = table(items, columns);
  out.line(out.paint("bold", title!));
  for (const line of lines) out.line(line);
}

/** Writes what a list holds: with --json as that, else a table, or `none` where it is empty. */
export function printList<T>(
  { out, flags }: Call,
  items: T[],
  { none, columns }: { none?: string; columns: Column<T>[] },
): ExitCode {
  if (flags.json) out.line(JSON.stringify(items));
  else if (items.length === 0 && none !== undefined) out.line(none);
  else printTable(out, items, columns);
  return EXIT.succeeded;
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
