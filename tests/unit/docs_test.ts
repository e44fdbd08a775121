import assert from "node:assert/strict";
import { dirname, join, relative, resolve } from "node:path";
import { KNOWN_VARIABLES } from "../../server/environment_names.ts";
import { connectionsNeeded } from "../../scripts/doctor/database_checks.ts";
import { COMMANDS } from "../../scripts/cli/command_table.ts";
import { type JsonSchema, sourceTypes } from "../../islands/form/conf.ts";
import type { SourceRecord } from "../../pipeline/numbers.ts";
import { setCell } from "../../pipeline/sources/local/csv_values.ts";
import { confJsonSchema, confSchema } from "../../pipeline/params.ts";
import { COMMON_OPTIONS } from "../../scripts/cli/options.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");

interface Page {
  name: string;
  text: string;
  /** Without blocks of code. */
  prose: string;
}

const PAGES: Page[] = [
  ...[...Deno.readDirSync(ROOT)].map(({ name }) => name),
  ...[...Deno.readDirSync(join(ROOT, "docs"))].map(({ name }) => `docs/${name}`),
].filter((name) => name.endsWith(".md")).sort().map((name) => {
  const text = Deno.readTextFileSync(join(ROOT, name));
  return { name, text, prose: text.replaceAll(/^( *)```[\s\S]*?^\1```/gm, "") };
});

/** What is between backticks in the prose. */
function codeOf({ prose }: Page): string[] {
  return [...prose.matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** The anchor that a heading has on GitHub. */
function anchor(heading: string): string {
  return heading.replaceAll(/[`*]|\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase().trim()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(/\s/g, "-");
}

function anchorsOf(text: string): Set<string> {
  return new Set([...text.matchAll(/^#+\s+(.*)$/gm)].map((match) => anchor(match[1]!)));
}

Deno.test("every relative link of the documents leads to a file, and to a heading in it", async () => {
  assert.ok(PAGES.length > 15);
  const broken: string[] = [];
  for (const page of PAGES) {
    for (const [, target = ""] of page.prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = "", heading] = target.split("#");
      const file = path === ""
        ? page.name
        : relative(ROOT, resolve(ROOT, dirname(page.name), path));
      if (!await exists(join(ROOT, file))) broken.push(`${page.name}: ${target}`);
      else if (heading !== undefined) {
        const there = anchorsOf(await Deno.readTextFile(join(ROOT, file)));
        if (!there.has(heading)) broken.push(`${page.name}: ${target}: no such heading`);
      }
    }
  }
  assert.deepEqual(broken, []);
});

/** Variables that only the tests read. */
const TEST_VARIABLES = [
  "ETL_TEST_PG",
  "ETL_TEST_CITUS_DSN",
  "ETL_TEST_ROLE",
  "ETL_TEST_CACHE",
  "ETL_TEST_FUZZ_EXAMPLES",
  "ETL_TEST_FUZZ_SECONDS",
  "ETL_TEST_FUZZ_SEED",
  "ETL_TEST_PICTURES",
];

Deno.test("every variable that the documents name is one that the program reads", () => {
  const known = new Set([...KNOWN_VARIABLES, ...TEST_VARIABLES]);
  const unknown: string[] = [];
  for (const { name, text } of PAGES) {
    for (const [variable] of text.matchAll(/\b(ETL|KPIS)_[A-Z0-9_]*[A-Z0-9]\b(?![_<*])/g)) {
      const base = variable.replace(/_FILE$/, "");
      // names that are made up as needed: of connections, and a placeholder
      // and those of Grafana
      if (/^ETL_(CONNECTION|GRAFANA)_/.test(base) || base === "ETL_IMPROVED__X") continue;
      if (!known.has(base)) unknown.push(`${name}: ${variable}`);
    }
  }
  assert.deepEqual(unknown, []);
});

Deno.test("docs/configuration.md has every variable that the program reads", () => {
  const { text } = PAGES.find(({ name }) => name === "docs/configuration.md")!;
  const missing = KNOWN_VARIABLES.filter((name) =>
    // the launcher hands it to the server that it starts
    name !== "ETL_ENVIRONMENT" && !/^ETL_(IMPROVED|MAINTENANCE)__/.test(name) &&
    !text.includes(`| \`${name}\` |`)
  );
  assert.deepEqual(missing, []);
  for (const group of ["ETL_IMPROVED__<PARAMETER>", "ETL_MAINTENANCE__<PARAMETER>", "OTEL_*"]) {
    assert.ok(text.includes(`| \`${group}\` |`), group);
  }
});

Deno.test("docs/operations.md counts a server's connections as doctor does", () => {
  const { text } = PAGES.find(({ name }) => name === "docs/operations.md")!;
  const needed = connectionsNeeded({ runSlots: 4, workers: 2, role: "all" });
  assert.ok(text.includes(`${needed} with two workers and four slots`), String(needed));
  const other = PAGES.filter(({ text }) => /uses up to \d+ .*workers and .*slots/.test(text));
  assert.deepEqual(other.map(({ name }) => name), []);
});

/** Folders of the project; a path in backticks that begins with one has to be there. */
const FOLDERS =
  /^(bench|deploy|docs|islands|pipeline|queue|routes|scripts|sql|store|suites|telemetry|tests|timers)\/[\w./-]*$/;
/** Examples of what a user would put there. */
const EXAMPLES = [
  "pipeline/sources/NAME.ts",
  "suites/sales.json",
  "suites/daily.json",
  "suites/x.json",
];

Deno.test("every path of the project that the documents name is there", async () => {
  const missing: string[] = [];
  for (const page of PAGES) {
    // what the documents of a migration call by its old place is not ours
    for (const code of codeOf(page)) {
      if (FOLDERS.test(code) && !EXAMPLES.includes(code) && !await exists(join(ROOT, code))) {
        missing.push(`${page.name}: ${code}`);
      }
    }
    for (const [, path] of page.text.matchAll(/(?:-f|-k|sh|--conf) (deploy\/[\w./-]+)/g)) {
      if (!await exists(join(ROOT, path!))) missing.push(`${page.name}: ${path}`);
    }
  }
  assert.deepEqual(missing, []);
});

Deno.test("every task and command that the documents name is there", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  const commands = new Set([...COMMANDS.map(({ name }) => name), "help", "--help", "--version"]);
  const unknown: string[] = [];
  for (const { name, text } of PAGES) {
    for (const [, task = ""] of text.matchAll(/deno(?:@[\d.]+)? task ([\w:-]+)/g)) {
      if (!(task in tasks)) unknown.push(`${name}: deno task ${task}`);
    }
    for (const [, command = ""] of text.matchAll(/(?:deno task etl|`etl|^etl) ([\w-]+)/gm)) {
      // the installed command has the tasks, too
      if (!commands.has(command) && !(command in tasks)) unknown.push(`${name}: etl ${command}`);
    }
  }
  assert.deepEqual(unknown, []);
});

Deno.test("every action and option of a command that the documents name is one that it has", () => {
  const byName = new Map(COMMANDS.map((command) => [command.name, command]));
  const wrong: string[] = [];
  for (const { name, text } of PAGES) {
    // a command ends with its line, unless that is continued or a text in quotes goes on
    const whole = text.replaceAll(/\\\n\s*/g, " ");
    for (
      const [, command = "", rest = ""] of whole.matchAll(
        /(?:deno task etl|`etl|^etl|; etl|&& etl) ([\w-]+)([^`\n]*)/gm,
      )
    ) {
      const known = byName.get(command);
      if (known === undefined) continue;
      const words =
        (rest.replaceAll(/"[^"]*"|'[^']*'/g, "TEXT").split(/[;|&#)]|(?:^| )\.\.\.? /)[0] ?? "")
          .trim().split(/\s+/);
      const options = { ...COMMON_OPTIONS, ...known.options };
      for (const word of words) {
        const [, option] = /^--([a-z][\w-]*)/.exec(word) ?? [];
        if (option !== undefined && !Object.hasOwn(options, option)) {
          wrong.push(`${name}: etl ${command} --${option}`);
        }
      }
      const action = words[0] ?? "";
      const actions = known.actions?.() ?? [];
      if (actions.length > 0 && /^[a-z][a-z-]*$/.test(action) && !actions.includes(action)) {
        wrong.push(`${name}: etl ${command} ${action}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("npm is given a package of this folder as a path, and not what it takes for a repository of GitHub", () => {
  const found = PAGES.flatMap(({ name, text }) =>
    [...text.matchAll(/\b(?:npm install|npx)\b.*\s(\w[\w-]*\/\S+\.tgz)/g)].map(([, spec]) =>
      `${name}: ./${spec}`
    )
  );
  assert.deepEqual(found, []);
});

Deno.test("every task of deno.json is told of in a document", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  const all = PAGES.map(({ text }) => text).join("\n");
  const untold = Object.keys(tasks).filter((task) => {
    const name = task.replace(/[-:]/g, "[-:]");
    return !new RegExp(`deno(@[\\d.]+)? task ${name}(?![\\w:-])|\`${name}[ \`\\[]`).test(all);
  });
  assert.deepEqual(untold, []);
});

Deno.test("the Spanish README links to what the English one links to", () => {
  const links = (name: string) => {
    const { prose } = PAGES.find((page) => page.name === name)!;
    return new Set(
      [...prose.matchAll(/\]\(([^)\s]+\.md)\)/g)].map((match) => match[1]!)
        .filter((link) => !/^README/.test(link)),
    );
  };
  assert.deepEqual([...links("README.es.md")].sort(), [...links("README.md")].sort());
});

/** Names of the Spanish README's examples, as the English ones are called. */
const IN_ENGLISH: Record<string, string> = {
  pedidos: "orders",
  pedidos_typed: "orders_typed",
  id_pedido: "order_id",
  fecha: "ordered_at",
  ventas: "sales",
  crm_ventas: "crm_sales",
  diaria: "daily",
  nocturna: "nightly",
  usuario: "user",
  lector: "reader",
  clave: "password",
  bd: "db",
};

Deno.test("the Spanish README has the commands of the English one, which are executed", () => {
  const commands = (name: string) =>
    [...PAGES.find((page) => page.name === name)!.text.matchAll(/^```sh[^\n]*\n([\s\S]*?)^```$/gm)]
      .flatMap(([, block = ""]) => block.replaceAll(/\\\n\s*/g, " ").split("\n"))
      .map((line) =>
        line.replace(/(^|\s+)# .*$/, "").replaceAll(/[a-z_]+/g, (word) => IN_ENGLISH[word] ?? word)
          // where two English names have one Spanish
          .replaceAll("sold_at", "ordered_at").trim()
      )
      .filter((line) => line !== "").sort();
  assert.deepEqual(commands("README.es.md"), commands("README.md"));
});

Deno.test("what the documents give as a source or a conf is one that the program takes", () => {
  const refused: string[] = [];
  let found = 0;
  for (const { name, text } of PAGES) {
    for (const [, json = ""] of text.matchAll(/^ *```json[^\n]*\n([\s\S]*?)^ *```$/gm)) {
      // what is shown in part is no JSON
      if (json.includes("…")) continue;
      const value = JSON.parse(json) as Record<string, unknown>;
      const conf = "source" in value ? value : { source: value };
      const { type } = (conf.source ?? {}) as { type?: string };
      if (!sourceTypes(confJsonSchema() as JsonSchema).includes(type ?? "")) continue;
      found++;
      const { configuration: _of, ...own } = conf as Record<string, unknown>;
      const checked = confSchema.safeParse(own);
      if (!checked.success) refused.push(`${name}: ${checked.error.message}`);
    }
  }
  assert.ok(found >= 3, String(found));
  assert.deepEqual(refused, []);
});

Deno.test("cells of CSV become what the examples of docs/values.md say", () => {
  const { text } = PAGES.find(({ name }) => name === "docs/values.md")!;
  const [, table = ""] = /\| cell \| \w+ \|\n\|---\|---\|\n((?:\|.*\n)+)/.exec(text) ?? [];
  const rows = table.trim().split("\n").map((row) => row.split(" | "));
  const types = rows.map(([cells = ""]) =>
    [...cells.matchAll(/`([^`]*)`/g)].map(([, cell = ""]) => {
      const record: SourceRecord = {};
      setCell(record, "cell", cell.replace(/^""$/, ""));
      return record.cell === null ? "null" : typeof record.cell;
    })
  );
  assert.deepEqual(types.map((each) => [...new Set(each)]), [["number"], ["boolean"], ["null"], [
    "string",
  ]]);
  assert.ok(types.flat().length >= 14);
});

Deno.test("the changelog has the version of deno.json, and the license names the authors", async () => {
  const { version } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  assert.match(
    await Deno.readTextFile(join(ROOT, "CHANGELOG.md")),
    new RegExp(`^## ${version} `, "m"),
  );
  assert.match(
    await Deno.readTextFile(join(ROOT, "LICENSE")),
    /^MIT License\n\nCopyright \(c\) \d{4} the etl-improved authors/,
  );
});
