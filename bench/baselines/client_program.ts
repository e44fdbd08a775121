/** What a baseline took. */
export interface Timed {
  seconds: number;
  /** CPU seconds of the client program. */
  clientCpuSeconds: number;
}

/** Runs a program that speaks to the database through libpq; answers what it printed. */
export async function runClient(
  program: string,
  args: string[],
  { dsn, hint }: { dsn: string; hint: string },
): Promise<string> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(program, {
      args,
      // not in the arguments, which every user of the machine can read
      env: libpqEnvironment(dsn),
      stdin: "null",
    }).output();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Error(`A baseline needs ${program}, which is not installed. ${hint}`, { cause });
  }
  const decoder = new TextDecoder();
  if (!output.success) {
    throw new Error(`${program} failed (${hint}): ${decoder.decode(output.stderr)}`);
  }
  return decoder.decode(output.stdout);
}

/** A connection string as libpq finds it in the environment. */
export function libpqEnvironment(dsn: string): Record<string, string> {
  const url = new URL(dsn);
  return {
    PGHOST: url.hostname,
    PGPORT: url.port,
    PGUSER: decodeURIComponent(url.username),
    PGPASSWORD: decodeURIComponent(url.password),
    PGDATABASE: url.pathname.slice(1),
  };
}
