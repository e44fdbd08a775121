import assert from "node:assert/strict";
import { paramNames } from "../../pipeline/params.ts";
import { COMMANDS } from "../../scripts/cli/command_table.ts";
import {
  describeMapping,
  describeParams,
  describeSources,
  typeText,
} from "../../scripts/cli/describe.ts";
import { commandHelp, mainHelp, sourcesHelp } from "../../scripts/cli/help.ts";

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
});
