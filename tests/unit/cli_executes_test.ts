import assert from "node:assert/strict";
import { COMMANDS } from "../../scripts/cli/command_table.ts";
import type { Call } from "../../scripts/cli/command.ts";
import { parseArguments } from "../../scripts/cli/options.ts";
import { Terminal } from "../../scripts/terminal.ts";

const RUN = "00000000-0000-4000-8000-000000000001";

/** Whether a command has what it asks for executed by its own process, where it is given no server. */
async function executes(line: string): Promise<boolean> {
  const [name, ...args] = line.split(" ");
  const command = COMMANDS.find((each) => each.name === name)!;
  const asked = new Error("it connects");
  let connects: boolean | undefined;
  const terminal = new Terminal({ isTerminal: false, write: () => {} });
  const call = {
    ...parseArguments(command, args),
    out: terminal,
    err: terminal,
    usesServer: false,
    resolvePath: (path: string) => path,
    readFile: () => Promise.resolve("{}"),
    canAsk: false,
    task: (name: string) => name,
    connect: ({ executes = false } = {}) => {
      connects ??= executes;
      return Promise.reject(asked);
    },
  };
  await assert.rejects(command.run(call as unknown as Call), asked, line);
  return connects!;
}

Deno.test("without a server a command executes the runs that it asks for, and none where it only looks", async () => {
  for (
    const line of [
      "run --set batch_size=1",
      "schedule run nightly",
      "backfill nightly --from 2026-12-01",
      `retry ${RUN}`,
      `replay ${RUN}`,
      "consumer run report",
      "downstream",
      "maintenance",
      `show ${RUN} --follow`,
      "load https://data.example/a.csv",
      "replicate shop a.* --to x",
      "compare public.orders --source @s.json",
    ]
  ) assert.equal(await executes(line).catch((error) => `${line}: ${error.message}`), true, line);
  for (
    const line of [
      "runs",
      `show ${RUN}`,
      `logs ${RUN}`,
      `cancel ${RUN}`,
      "schedule list",
      "schedule show nightly",
      "schedule pause nightly",
      "backfill nightly --from 2026-12-01 --preview",
      "compare public.orders public.others",
      "consumer list",
      "consumer try report",
      "maintenance --dry-run",
      "replicate shop a.* --to x --dry-run",
      `quarantine ${RUN}`,
    ]
  ) assert.equal(await executes(line).catch((error) => `${line}: ${error.message}`), false, line);
});
