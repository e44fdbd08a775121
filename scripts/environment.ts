import { Problem } from "../pipeline/problem.ts";

/** Variables that may be given as `<NAME>_FILE`: a file that holds the value, such as a mounted secret. */
const FROM_FILE = /^((KPIS|ETL|SLACK|MLFLOW|OPENLINEAGE)_[A-Za-z0-9_]+|PGPASSWORD)_FILE$/;

/**
 * The environment as the program takes it: `<NAME>_FILE` is replaced by `<NAME>` with what the
 * file holds, without the line end, and `PGPASSWORD` goes into a `KPIS_PG_DSN` that has no
 * password, so that whatever keeps passwords out of logs knows it. Throws a Problem that names
 * the file that cannot be read, never what one holds.
 */
export function resolveEnvironment(given: Record<string, string>): Record<string, string> {
  const env = { ...given };
  for (const [name, path] of Object.entries(given)) {
    const target = FROM_FILE.exec(name)?.[1];
    if (target === undefined || path === "") continue;
    if (env[target]) {
      throw new Problem("invalid-conf", {
        detail: `${target} and ${name} are both set: keep one of them.`,
      });
    }
    env[target] = read(name, path);
    delete env[name];
  }
  if (env.KPIS_PG_DSN && env.PGPASSWORD) env.KPIS_PG_DSN = withPassword(env);
  return env;
}

function read(name: string, path: string): string {
  let text: string;
  try {
    text = Deno.readTextFileSync(path).replace(/\r?\n$/, "");
  } catch (error) {
    throw new Problem("invalid-conf", {
      detail: `${name} names ${path}, which cannot be read (${(error as Error).name}): ` +
        "check that the file is mounted and that this account may read it.",
    });
  }
  if (text === "") {
    throw new Problem("invalid-conf", { detail: `${name} names ${path}, which is empty.` });
  }
  return text;
}

function withPassword({ KPIS_PG_DSN, PGPASSWORD }: Record<string, string>): string {
  if (!URL.canParse(KPIS_PG_DSN!)) return KPIS_PG_DSN!; // readConfig says what is wrong
  const url = new URL(KPIS_PG_DSN!);
  if (url.password === "" && url.username !== "") url.password = encodeURIComponent(PGPASSWORD!);
  return url.href;
}
