import assert from "node:assert/strict";
import { COMMANDS } from "../../scripts/cli/command_table.ts";
import { UsageError } from "../../scripts/cli/exit_codes.ts";
import { parseArguments } from "../../scripts/cli/options.ts";

const command = (name: string) => COMMANDS.find((each) => each.name === name)!;

function refusal(name: string, ...args: string[]): string {
  try {
    parseArguments(command(name), args);
  } catch (error) {
    assert.ok(error instanceof UsageError);
    return error.message;
  }
  throw new Error("was accepted");
}

Deno.test("parseArguments() sorts values by kind", () => {
  const parsed = parseArguments(command("run"), [
    "--set",
    "a=1",
    "--set=b=2",
    "--json",
    "--server",
    "http://x",
  ]);
  assert.deepEqual(parsed.lists.set, ["a=1", "b=2"]);
  assert.equal(parsed.flags.json, true);
  assert.equal(parsed.flags.wait, false);
  assert.equal(parsed.text.server, "http://x");
  assert.equal(parsed.text.conf, undefined);
});

Deno.test("parseArguments() suggests the option that was probably meant", () => {
  assert.equal(refusal("run", "--jsn"), "there is no option --jsn; did you mean --json?");
  assert.equal(refusal("run", "--xyzzy"), "there is no option --xyzzy");
});

Deno.test("parseArguments() says which option lacks its value, and what it is", () => {
  assert.equal(refusal("run", "--conf"), "--conf needs a value: --conf JSON");
  assert.equal(refusal("run", "--json=yes"), "--json takes no value");
});

Deno.test("parseArguments() asks for what is missing and refuses what is too much", () => {
  assert.match(refusal("show"), /^etl show needs ID: /);
  assert.match(refusal("runs", "extra"), /does not know what to do with 'extra'/);
  assert.match(refusal("run", "batch_size=3"), /--set batch_size=3$/);
});

Deno.test("parseArguments() asks for nothing when the help is wanted", () => {
  assert.equal(parseArguments(command("show"), ["-h"]).flags.help, true);
});
