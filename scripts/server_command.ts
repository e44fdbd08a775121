/**
 * Prints shell commands that become the server in the process that runs them:
 *
 *     eval "$(deno run … scripts/server_command.ts)"
 *
 * They set what the server needs of the environment and `exec` Deno with the
 * permissions that the configuration calls for. In a container and under
 * systemd nothing else stays running then: no process that may start others.
 * There is no embedded PostgreSQL here; `KPIS_PG_DSN` has to be set.
 */
import { resolve } from "node:path";
import { TerminalProblem } from "../vocabulary/problem.ts";
import { resolveEnvironment } from "./environment.ts";
import { runScript } from "./run_script.ts";
import { prepareServerEnvironment, serverArguments, serverVariables } from "./server_process.ts";

/** The commands, for a POSIX shell. */
function serverCommand(env: Record<string, string>, projectDir: string): string {
  const added = Object.entries(serverVariables(env)).filter(([name, value]) =>
    Deno.env.get(name) !== value
  );
  const args = [Deno.execPath(), ...serverArguments(env, { projectDir })];
  return [
    ...added.map(([name, value]) => `export ${name}=${quoted(value)}`),
    `cd ${quoted(projectDir)}`,
    `exec ${args.map(quoted).join(" ")}`,
  ].join("\n");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

if (import.meta.main) {
  await runScript(async () => {
    const projectDir = resolve(import.meta.dirname ?? ".", "..");
    const env = resolveEnvironment(Deno.env.toObject());
    if (!env.KPIS_PG_DSN) {
      throw new TerminalProblem("invalid-conf", {
        detail: "KPIS_PG_DSN is not set, and nothing here starts a PostgreSQL: give it, or a " +
          "file that holds it as KPIS_PG_DSN_FILE.",
      });
    }
    await prepareServerEnvironment(env, { projectDir });
    console.log(serverCommand(env, projectDir));
    return 0;
  });
}
