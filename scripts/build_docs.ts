/**
 * Fills in the parts of docs/*.md that are made from the program: what is between
 * `<!-- begin NAME -->` and `<!-- end NAME -->`. `--check` only says whether
 * they are current.
 */
import { environmentSchema } from "../server/config.ts";
import { ALERT_KINDS } from "../vocabulary/alert_kinds.ts";
import { PROBLEM_TYPES } from "../vocabulary/problem_types.ts";
import {
  type Described,
  describeEnvironment,
  describeMapping,
  describeParams,
  describeSources,
} from "./cli/describe.ts";
import { FUNCTIONS, TABLES } from "./rights.ts";
import { EXIT, EXIT_MEANINGS } from "./cli/exit_codes.ts";

const root = new URL("../", import.meta.url);

const PARTS: Record<string, () => string> = {
  params: () => members(describeParams(), "Parameter"),
  mapping: () => members(describeMapping(), "Member"),
  sources: () =>
    describeSources().map(({ type, description, members: own }) =>
      `### \`"type": "${type}"\`: ${description}\n\n${members(own, "Member")}`
    ).join("\n\n"),
  environment: () => members(describeEnvironment(environmentSchema), "Variable"),
  example: () =>
    `\`\`\`ts\n${
      Deno.readTextFileSync(new URL("pipeline/transforms/example.ts", root)).trim()
    }\n\`\`\``,
  problems: () =>
    Object.entries(PROBLEM_TYPES).map(([type, { meaning, remedies }]) =>
      `### ${type}\n${meaning}\n\n${remedies.map((each) => `- ${each}`).join("\n")}`
    ).join("\n\n"),
  ...Object.fromEntries(
    Object.entries(ALERT_KINDS).map(([kind, { title, when }]) => [
      `alert_${kind}`,
      () => `**${title}.** It opens when ${when}.`,
    ]),
  ),
  rights: () =>
    [TABLES, FUNCTIONS].map((all, index) => {
      const of = index === 0 ? "Tables and views" : "Functions";
      const groups = Map.groupBy(Object.keys(all), (name) =>
        [all[name]!.server, all[name]!.reader, all[name]!.everybody].map((each) =>
          each ?? ""
        )
          .join("|"));
      return table(
        [of, "Server", "Reader", "Everybody"],
        [...groups].map(([rights, names]) => [
          names.map(code).join(", "),
          ...rights.split("|"),
        ]),
      );
    }).join("\n\n"),
  exit_codes: () =>
    table(
      ["Code", "Meaning"],
      Object.entries(EXIT).map((
        [name, code],
      ) => [String(code), EXIT_MEANINGS[name as keyof typeof EXIT]]),
    ),
};

function members(all: Described[], title: string): string {
  return table(
    [title, "Type", "Default", "Meaning"],
    all.map(({ name, type, default: value, required, description }) => [
      code(name),
      type,
      required ? "**required**" : value === null ? "" : code(value),
      description,
    ]),
  );
}

function code(text: string): string {
  return `\`${text}\``;
}

function table(titles: string[], rows: string[][]): string {
  const line = (cells: string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("<", "&lt;")).join(" | ")} |`;
  return [line(titles), `|${"---|".repeat(titles.length)}`, ...rows.map(line)].join("\n");
}

/** A page with its parts filled in. Throws where a part is not known or has no end. */
export function filled(page: string): string {
  return page.replace(
    /(<!-- begin (\w+) -->\n)[\s\S]*?(<!-- end (\w+) -->)/g,
    (_whole, begin: string, name: string, end: string, endName: string) => {
      const part = PARTS[name];
      if (part === undefined || name !== endName) {
        throw new Error(`docs: part '${name}' is not known, or has no end of its own`);
      }
      return `${begin}\n${part()}\n\n${end}`;
    },
  );
}

if (import.meta.main) {
  const check = Deno.args.includes("--check");
  let stale = 0;
  for (const { name } of Deno.readDirSync(new URL("docs", root))) {
    if (!name.endsWith(".md")) continue;
    const path = new URL(`docs/${name}`, root);
    const before = Deno.readTextFileSync(path);
    const after = filled(before);
    if (after === before) continue;
    if (!check) Deno.writeTextFileSync(path, after);
    else {
      console.error(`docs/${name} is not current: run \`deno task build-docs\`.`);
      stale++;
    }
  }
  if (stale > 0) Deno.exit(1);
}
