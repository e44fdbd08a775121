import type { OsUser } from "./os_user.ts";

/** Runs one of PostgreSQL's programs to its end; its error output is the error's message. */
export async function runProgram(
  how: { program: string; user: OsUser | undefined },
  args: string[],
): Promise<void> {
  const { success, code, stderr, stdout } = await new Deno.Command(how.program, {
    args,
    cwd: "/",
    // Variables such as PGDATA or a locale that is not installed would change what it does.
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" },
    stdin: "null",
    ...(how.user ? { uid: how.user.uid, gid: how.user.gid } : {}),
  }).output();
  if (success) return;
  const said = new TextDecoder().decode(stderr) || new TextDecoder().decode(stdout);
  throw new Error(`${how.program} ended with ${code}: ${said.trim()}`);
}
