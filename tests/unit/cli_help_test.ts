import assert from "node:assert/strict";
import { paramNames } from "../../pipeline/params.ts";
import { COMMANDS } from "../../scripts/cli/command_table.ts";
import {
  describeMapping,
  describeParams,
  describeSources,
  typeText,
} from "../../scripts/cli/describe.ts";
import type { Command } from "../../scripts/cli/command.ts";
import { completion } from "../../scripts/cli/completion.ts";
import { commandHelp, mainHelp, sourcesHelp } from "../../scripts/cli/help.ts";
import { Terminal } from "../../scripts/terminal.ts";

const SET = { type: "string", multiple: true, value: "NAME=VALUE", help: "one" } as const;
const LONG = { type: "boolean", help: Array(60).fill("word").join(" ") } as const;

Deno.test("mainHelp() names every command, topic and exit code", () => {
  const help = mainHelp(COMMANDS);
  for (const { name, summary } of COMMANDS) assert.ok(help.includes(`  ${name} `), summary);
  for (const code of ["0", "1", "2", "3", "4", "130"]) {
    assert.match(help, new RegExp(`^ +${code} `, "m"));
  }
  assert.match(help, /help params/);
});

Deno.test("commandHelp() names every option of a command and the common ones", () => {
  for (const command of COMMANDS) {
    const help = commandHelp(command);
    for (const option of [...Object.keys(command.options), "server", "json", "help"]) {
      assert.ok(help.includes(`--${option}`), `${command.name} --${option}`);
    }
    assert.ok(help.includes(command.examples[0]!));
  }
});

Deno.test("the help of run describes every parameter with bounds and default", () => {
  const help = commandHelp(COMMANDS.find(({ name }) => name === "run")!);
  for (const name of [...paramNames, "configuration"]) {
    assert.match(help, new RegExp(`^  ${name} `, "m"));
  }
  assert.match(help, /whole number, 0 to 1,000,000,000; default 500/);
});

Deno.test("help fits a terminal of 100 columns", () => {
  const texts = [mainHelp(COMMANDS), sourcesHelp(), ...COMMANDS.map((each) => commandHelp(each))];
  const long = texts.flatMap((text) => text.split("\n")).filter((line) => line.length > 100);
  assert.deepEqual(long, []);
});

/** A command with one of everything. */
const sample: Command = {
  ...{ name: "sample", summary: "what's it: a \\ and more", description: "It does nothing." },
  arguments: [{ name: "WHAT", help: "a thing" }, { name: "HOW", help: "a way", optional: true }],
  actions: () => ["go", "stay"],
  options: {
    set: { type: "string", multiple: true, value: "NAME=VALUE", help: "one\nparameter" },
    yes: { type: "boolean", short: "y", help: "do not: ask" },
  },
  examples: ["etl sample x"],
  more: () => "More of it.",
  run: () => Promise.resolve(0),
};

Deno.test("commandHelp() shows what is optional, what may be repeated, and short names", () => {
  const help = commandHelp(
    { ...sample, options: { ...sample.options, set: SET, long: LONG } },
    "etl",
  );
  const [before, options] = help.split("\n\nOptions:\n");
  assert.equal(
    before,
    "It does nothing.\n\nUsage:  etl sample WHAT [HOW] [options]\n\n" +
      "Arguments:\n  WHAT  a thing\n  HOW   a way",
  );
  const lines = options!.split("\n");
  assert.equal(lines[0], "  --set NAME=VALUE   one (may be repeated)");
  assert.equal(lines[1], "  -y, --yes          do not: ask");
  assert.equal(lines[2], `  --long             ${Array(15).fill("word").join(" ")}`);
  assert.match(lines[3]!, /^ {21}word word/);
  assert.match(options!, /\n\nExamples:\n {2}etl sample x\n\nMore of it\.$/);
});

Deno.test("mainHelp() says what stands for the tool where it is called otherwise, and how the installed one starts servers", () => {
  const checkout = mainHelp([sample], "deno task etl");
  assert.match(checkout, /\n\nBelow, etl stands for `deno task etl`\.\n\n/);
  assert.doesNotMatch(checkout, /`etl start`/);
  const installed = mainHelp([sample], "etl");
  assert.doesNotMatch(installed, /stands for/);
  assert.match(installed, /`etl start`, `etl setup-db`/);
});

Deno.test("sourcesHelp() tells of each kind what it needs, and not what only a server gives it", () => {
  const help = sourcesHelp();
  assert.match(help, /"type": "file": [\s\S]*? {2}path {20}.*[\s\S]*?\n +text.*; required\n/);
  assert.doesNotMatch(help, /upload_id/);
  assert.match(help, /; default "?\w/);
});

Deno.test("completion scripts quote what a shell would take for its own, and know which options take a value", async () => {
  const scripts = new Map<string, string>();
  for (const shell of ["bash", "zsh", "fish"]) {
    let text = "";
    const out = new Terminal({ isTerminal: false, write: (part) => text += part });
    await completion(() => [sample]).run({ args: [shell], out } as never);
    scripts.set(shell, text);
  }
  const valued = "--set|--server|--token-file";
  assert.ok(scripts.get("bash")!.includes(`    ${valued})\n`), scripts.get("bash")!);
  assert.match(
    scripts.get("bash")!,
    /\n {4}sample\) options='--set --yes --server .* actions='go stay' ;;/,
  );
  const zsh = scripts.get("zsh")!;
  assert.ok(zsh.includes(`    ${valued}) _files; return ;;\n`), zsh);
  assert.ok(zsh.includes("\n    'sample:what'\\''s it: a \\ and more'\n"), zsh);
  assert.ok(zsh.includes("\n        '--set:one parameter'\n"), zsh);
  const fish = scripts.get("fish")!;
  assert.ok(fish.includes("-f -a sample -d 'what\\'s it: a \\\\ and more'\n"), fish);
  assert.ok(fish.includes("'__etl_in sample' -l set -r -d 'one"), fish);
  assert.ok(fish.includes("'__etl_in sample' -l yes -s y -d 'do not: ask'\n"), fish);
  await assert.rejects(
    async () => await completion(() => [sample]).run({ args: ["sh"] } as never),
    /there is no completion for 'sh', only for bash, zsh, fish/,
  );
});

Deno.test("describeParams() follows the schema", () => {
  const params = describeParams();
  assert.deepEqual(params.map(({ name }) => name), [...paramNames, "configuration"]);
  assert.ok(params.every(({ description }) => description !== ""));
});

Deno.test("describeSources() tells each kind's own members, and describeMapping() the common ones", () => {
  assert.deepEqual(
    describeMapping().map(({ name }) => name),
    ["name", "key", "event_type", "occurred_at", "version"],
  );
  const file = describeSources().find(({ type }) => type === "file")!;
  assert.deepEqual(file.members.filter(({ required }) => required).map(({ name }) => name), [
    "path",
  ]);
  assert.ok(!describeSources().some(({ members }) => members.some(({ name }) => name === "key")));
});

Deno.test("typeText() says types in words", () => {
  assert.equal(
    typeText({ type: "integer", minimum: 1, maximum: 2000 }),
    "whole number, 1 to 2,000",
  );
  assert.equal(typeText({ type: "number", exclusiveMinimum: 0 }), "number, above 0");
  assert.equal(typeText({ type: "string", minLength: 1, maxLength: 1 }), "text of 1 character");
  assert.equal(typeText({ enum: ["a", 1] }), '"a" | 1');
  assert.equal(
    typeText({ anyOf: [{ type: "string" }, { type: "array", items: { type: "string" } }] }),
    "text or list of text",
  );
  const said: [Parameters<typeof typeText>[0], string][] = [
    [{ type: "integer" }, "whole number"],
    [{ type: "integer", minimum: 0 }, "whole number, at least 0"],
    [{ type: "number", exclusiveMinimum: 0, maximum: 1 }, "number, above 0 to 1"],
    [{ type: "string", maxLength: 63, minLength: 1 }, "text of up to 63 characters"],
    [{ type: "string", maxLength: 9, minLength: 2 }, "text of 2 to 9 characters"],
    [{ type: "string", format: "uri", maxLength: 9 }, "URL"],
    [{ type: "string", const: "a", maxLength: 9 }, '"a"'],
    [
      { type: "array", items: { type: "string" }, maxItems: 5000 },
      "list of text of up to 5,000 items",
    ],
    [{ type: "array", items: {} }, "list of any values"],
    [{ type: "boolean" }, "true | false"],
    [{ default: true }, "true | false"],
    [{}, "anything"],
    [
      { oneOf: ["a", "b"].map((each) => ({ properties: { type: { const: each } } })) },
      "object with type a, b",
    ],
    [
      {
        type: "object",
        required: ["a"],
        properties: {
          a: { type: "object", properties: { c: { type: "integer" } }, required: ["c"] },
          b: { type: "array", items: { type: "integer" } },
        },
      },
      "{a: {c}, b?: list of whole number}",
    ],
  ];
  for (const [schema, text] of said) assert.equal(typeText(schema), text);
});
