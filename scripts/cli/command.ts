import type { Terminal } from "../terminal.ts";
import type { Api, ConnectOptions } from "./api.ts";
import type { ExitCode } from "./exit_codes.ts";
import type { Signals } from "./signals.ts";

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
  /** Asks a question that yes answers by default. */
  ask(question: string): boolean;
  /** What psql takes to reach the database; null where this process does not know. */
  psql: string | null;
  /** Whether a server was named; else connect() starts what is needed in this process. */
  usesServer: boolean;
  /** Connects to the server that was named, or starts what is needed in this process. */
  connect(options?: ConnectOptions): Promise<Api>;
}
