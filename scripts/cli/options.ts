import { nearestName } from "../../vocabulary/nearest_name.ts";
import { parseArgs } from "node:util";
import type { Command, Option } from "./command.ts";
import { UsageError } from "./exit_codes.ts";

/** Options that every command has. */
export const COMMON_OPTIONS: Record<string, Option> = {
  server: {
    type: "string",
    value: "URL",
    help: "a running server; default: ETL_SERVER, otherwise everything runs in this process",
  },
  "token-file": {
    type: "string",
    value: "FILE",
    help: "a file with the API token for the server; default: the token in ETL_TOKEN",
  },
  json: { type: "boolean", help: "print the result as one line of JSON, at the end" },
  verbose: { type: "boolean", short: "v", help: "also print the log of this process" },
  help: { type: "boolean", short: "h", help: "show this help" },
};

export interface ParsedArguments {
  text: Record<string, string | undefined>;
  lists: Record<string, string[]>;
  flags: Record<string, boolean>;
  args: string[];
}

/** Parses the arguments of a command. Throws UsageError with what was probably meant. */
export function parseArguments(
  command: Pick<Command, "name" | "options" | "arguments">,
  args: string[],
): ParsedArguments {
  const options = { ...COMMON_OPTIONS, ...command.options };
  const { values, positionals } = parse(options, args);
  const parsed: ParsedArguments = { text: {}, lists: {}, flags: {}, args: positionals };
  for (const [name, option] of Object.entries(options)) {
    const value = values[name];
    if (option.type === "boolean") parsed.flags[name] = value === true;
    else if (option.multiple) parsed.lists[name] = (value as string[] | undefined) ?? [];
    else parsed.text[name] = value as string | undefined;
  }
  if (!parsed.flags.help) checkCount(command, positionals);
  return parsed;
}

function parse(options: Record<string, Option>, args: string[]) {
  const described = Object.fromEntries(
    Object.entries(options).map(([name, { type, multiple, short }]) => [name, {
      type,
      ...(multiple ? { multiple } : {}),
      ...(short ? { short } : {}),
    }]),
  );
  try {
    return parseArgs({ args, options: described, allowPositionals: true });
  } catch (error) {
    throw new UsageError(explained(error as Error & { code?: string }, options));
  }
}

function explained(error: Error & { code?: string }, options: Record<string, Option>): string {
  const name = /'(?:-\w, )?--([^' =]+)/.exec(error.message)?.[1];
  if (error.code === "ERR_PARSE_ARGS_UNKNOWN_OPTION") {
    const given = /'([^']+)'/.exec(error.message)?.[1] ?? "";
    const meant = nearestName(given.replace(/^-+/, ""), Object.keys(options));
    return `there is no option ${given}${meant === undefined ? "" : `; did you mean --${meant}?`}`;
  }
  const option = name === undefined ? undefined : options[name];
  if (option?.type === "string") return `--${name} needs a value: --${name} ${option.value}`;
  if (option?.type === "boolean") return `--${name} takes no value`;
  return error.message;
}

function checkCount(command: Pick<Command, "name" | "arguments">, positionals: string[]): void {
  const wanted = command.arguments ?? [];
  const missing = wanted.slice(positionals.length).find(({ optional }) => !optional);
  if (missing !== undefined) {
    throw new UsageError(`etl ${command.name} needs ${missing.name}: ${missing.help}`);
  }
  const extra = positionals[wanted.length];
  if (extra !== undefined) {
    const hint = extra.includes("=") ? ` To set a parameter: --set ${extra}` : "";
    throw new UsageError(`etl ${command.name} does not know what to do with '${extra}'.${hint}`);
  }
}
