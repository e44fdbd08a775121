import type { Command, Option } from "./command.ts";
import { type Described, describeMapping, describeParams, describeSources } from "./describe.ts";
import { EXIT, EXIT_MEANINGS } from "./exit_codes.ts";
import { COMMON_OPTIONS } from "./options.ts";

const WIDTH = 96;

/** How the command line is called in a checkout. */
export const DEFAULT_TOOL = "deno task etl";

/** `etl --help`: a page to learn the tool from. */
export function mainHelp(commands: Command[], tool = DEFAULT_TOOL): string {
  return `etl loads data into PostgreSQL: it reads a source, turns each record into an event, checks it,
and inserts or updates the table. Loading the same data again changes nothing.

Usage:  ${tool} <command> [options]
        ${tool} help <command>

${tool === "etl" ? "" : `Below, etl stands for \`${tool}\`.\n\n`}${
    titled("Try it", [
      "etl run                                    500 made-up records into etl_improved_events",
      "etl run                                    again: nothing changes, nothing is written",
      `etl preview --source '{"type": "file", "path": "sales.csv", "key": "id"}'`,
      "                                           how 20 records of data/sales.csv would be stored",
      `etl run --conf '{"source": {"type": "file", "path": "sales.csv", "key": "id"}}'`,
      "etl run --conf @sales.json --set dry_run=true",
      "                                           a conf from a file; a dry run, which writes nothing",
      "etl runs                                   the runs; \`etl show latest\` shows one in detail",
    ])
  }

${titled("Commands", columns(commands.map(({ name, summary }) => [name, summary])))}

${
    titled(
      "Topics",
      columns([
        ["help params", "every parameter of a run, with bounds and defaults"],
        ["help sources", "types of sources, and how records become events"],
        ["--version", "the version of the program, and of Deno"],
      ]),
    )
  }

${titled("Options of every command", optionLines(COMMON_OPTIONS))}

${
    titled("Where it works", [
      "With --server, or ETL_SERVER set, commands send requests to that server. Otherwise this",
      "process does everything: it uses the database in KPIS_PG_DSN, or starts an embedded PostgreSQL",
      "(its data is kept), executes the run, and ends. Then Ctrl-C cancels the run; \`etl retry\`",
      "continues it. With a server, Ctrl-C only stops watching.",
      ...(tool === "etl"
        ? [
          "`etl start`, `etl setup-db`, `etl doctor`, `etl backup`, `etl restore` and `etl quickstart` are the",
          "same as `deno task start` and so on in the documentation.",
        ]
        : []),
      "Results go to standard output, progress and messages to standard error.",
    ])
  }

${
    titled(
      "Exit codes",
      columns(
        Object.entries(EXIT).map((
          [name, code],
        ) => [String(code), EXIT_MEANINGS[name as keyof typeof EXIT]]),
      ),
    )
  }

docs/configuration.md describes every parameter, source and environment variable.`;
}

/** `etl <command> --help` */
export function commandHelp(command: Command, tool = DEFAULT_TOOL): string {
  const args = (command.arguments ?? []).map(({ name, optional }) => optional ? `[${name}]` : name);
  const usage = [tool, command.name, ...args, "[options]"].join(" ");
  return [
    `${command.description}\n\nUsage:  ${usage}`,
    ...(command.arguments?.length
      ? [titled("Arguments", columns(command.arguments.map(({ name, help }) => [name, help])))]
      : []),
    titled("Options", optionLines({ ...command.options, ...COMMON_OPTIONS })),
    titled("Examples", command.examples),
    ...(command.more ? [command.more()] : []),
  ].join("\n\n");
}

/** `etl help params` and a part of `etl run --help`. */
export function paramsHelp(): string {
  return [
    titled(
      "Parameters of a run (members of --conf, or --set name=value)",
      describeParams().flatMap(memberLines),
    ),
    titled("Where a value comes from, first wins", [
      'the conf, a saved configuration ("configuration": name), a variable (etl_improved__<name>),',
      "the environment (ETL_IMPROVED__<NAME>), the default. `etl show ID` shows which it was.",
    ]),
  ].join("\n\n");
}

/** `etl help sources` */
export function sourcesHelp(): string {
  return [
    'A source is an object with a type: "source": {"type": "file", "path": "sales.csv", "key": "id"}',
    titled("Members of every source", describeMapping().flatMap(memberLines)),
    ...describeSources().map(({ type, description, members }) =>
      titled(`"type": "${type}": ${description}`, members.flatMap(memberLines))
    ),
    "The values and how records become events: docs/configuration.md.",
  ].join("\n\n");
}

function memberLines({ name, type, default: value, required, description }: Described): string[] {
  const facts = [
    type,
    ...(required ? ["required"] : []),
    ...(value === null ? [] : [`default ${value}`]),
  ].join("; ");
  return [
    ...columns([[name, description]], 26),
    ...wrapped(facts, WIDTH - 30).map((line) => `${" ".repeat(28)}${line}`),
  ];
}

function optionLines(options: Record<string, Option>): string[] {
  return columns(
    Object.entries(options).map(([name, { short, value, help, multiple }]) => [
      `${short ? `-${short}, ` : ""}--${name}${value ? ` ${value}` : ""}`,
      multiple ? `${help} (may be repeated)` : help,
    ]),
  );
}

function titled(title: string, lines: string[]): string {
  return [`${title}:`, ...lines.map((line) => `  ${line}`)].join("\n");
}

/** Two columns, the second wrapped. */
function columns(rows: string[][], width?: number): string[] {
  const first = width ?? Math.max(...rows.map(([name = ""]) => name.length));
  return rows.flatMap(([name = "", text = ""]) =>
    wrapped(text, WIDTH - first - 4).map((line, i) =>
      `${(i === 0 ? name : "").padEnd(first)}  ${line}`
    )
  );
}

function wrapped(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line !== "" && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}
