import assert from "node:assert/strict";
import { COMMANDS } from "../../scripts/cli/command_table.ts";
import { parseArguments } from "../../scripts/cli/options.ts";
import { ALERT_KINDS } from "../../vocabulary/alert_kinds.ts";

const page = Deno.readTextFileSync(new URL("../../docs/alerts.md", import.meta.url));

/** The text below each heading that is a kind of alert, in the order of the page. */
const sections = new Map(
  page.split(/^## /m).slice(1).flatMap((text): [string, string][] => {
    const heading = text.slice(0, text.indexOf("\n"));
    const kind = /^`(.*)`$/.exec(heading)?.[1];
    return kind === undefined ? [] : [[kind, text]];
  }),
);

Deno.test("docs/alerts.md has a section for each kind of alert, and for nothing else", () => {
  assert.deepEqual([...sections.keys()], Object.keys(ALERT_KINDS));
});

Deno.test("each section of docs/alerts.md says when it opens, what to look at, what to do, when it ends", () => {
  for (const [kind, text] of sections) {
    assert.ok(text.includes(`<!-- begin alert_${kind} -->\n\n**`), `${kind}: when it opens`);
    for (const part of ["Look first", "Do", "Ends", "Change the rule"]) {
      assert.match(
        text,
        new RegExp(`^- \\*\\*${part}\\*\\*(:| when| with) \\S`, "m"),
        `${kind}: ${part}`,
      );
    }
  }
});

Deno.test("each command of docs/alerts.md has its action, arguments and options", () => {
  const lines = [
    ...[...page.matchAll(/`(etl [^`\n]+)`/g)].map(([, line]) => line!),
    ...[...page.matchAll(/^ *(etl [^#\n]+)/gm)].map(([, line]) => line!),
  ];
  assert.ok(lines.length > 25);
  for (const line of lines) {
    const [name, ...args] = [...line.replace(/ > \S+/, "").matchAll(/'[^']*'|"[^"]*"|\S+/g)]
      .map(([word]) => word).slice(1);
    const command = COMMANDS.find((each) => each.name === name);
    assert.ok(command !== undefined, line);
    const { args: given } = parseArguments(command, args);
    const actions = command.actions?.();
    if (actions !== undefined && given.length > 0) {
      assert.ok(actions.includes(given[0]!), `${line}: ${given[0]} is no action`);
    }
  }
});
