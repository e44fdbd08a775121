import { TerminalProblem } from "../vocabulary/problem.ts";
import { type Dsn, formatDsn, parseDsn } from "../store/dsn.ts";

/** Variables that may be given as `<NAME>_FILE`: a file that holds the value, such as a mounted secret. */
const FROM_FILE = /^((KPIS|ETL|SLACK|MLFLOW|OPENLINEAGE)_[A-Za-z0-9_]+|PGPASSWORD)_FILE$/;

/**
 * The environment as the program takes it: `<NAME>_FILE` is replaced by `<NAME>` with what the
 * file holds, without the line end. What a connection string does not say of TLS it gets from libpq's
 * variables (`PGSSLMODE` and its companions), and `KPIS_PG_DSN` its password from `PGPASSWORD`, so
 * that whatever keeps passwords out of logs knows it. Throws a Problem that names
 * the file that cannot be read, never what one holds.
 */
export function resolveEnvironment(given: Record<string, string>): Record<string, string> {
  const env = { ...given };
  for (const [name, path] of Object.entries(given)) {
    const target = FROM_FILE.exec(name)?.[1];
    if (target === undefined || path === "") continue;
    if (env[target]) {
      throw new TerminalProblem("invalid-conf", {
        detail: `${target} and ${name} are both set: keep one of them.`,
      });
    }
    env[target] = read(name, path);
    delete env[name];
  }
  for (const [name, value] of Object.entries(env)) {
    const own = name === "KPIS_PG_DSN";
    if (!value || !own && name !== "ETL_PG_CRON_DSN" && !name.startsWith("ETL_CONNECTION_")) {
      continue;
    }
    env[name] = completed(value, env, own);
  }
  return env;
}

function read(name: string, path: string): string {
  let text: string;
  try {
    text = Deno.readTextFileSync(path).replace(/\r?\n$/, "");
  } catch (error) {
    throw new TerminalProblem("invalid-conf", {
      detail: `${name} names ${path}, which cannot be read (${(error as Error).name}): ` +
        "check that the file is mounted and that this account may read it.",
    });
  }
  if (text === "") {
    throw new TerminalProblem("invalid-conf", { detail: `${name} names ${path}, which is empty.` });
  }
  return text;
}

/** libpq's variables for what a connection string does not say, and their names in it. */
const TLS_PARAMETERS = {
  PGSSLMODE: "sslmode",
  PGSSLROOTCERT: "sslrootcert",
  PGSSLCERT: "sslcert",
  PGSSLKEY: "sslkey",
};
const OWN_PARAMETERS = {
  ...TLS_PARAMETERS,
  PGTARGETSESSIONATTRS: "target_session_attrs",
  PGCHANNELBINDING: "channel_binding",
};

/** What libpq would add from its variables; `own` is KPIS_PG_DSN, whose password may be in PGPASSWORD. */
function completed(text: string, env: Record<string, string>, own: boolean): string {
  let dsn: Dsn;
  try {
    dsn = parseDsn(text);
  } catch {
    return text; // readConfig says what is wrong
  }
  let changed = false;
  for (const [name, parameter] of Object.entries(own ? OWN_PARAMETERS : TLS_PARAMETERS)) {
    const decided = parameter === "sslmode" && dsn.parameters.has("ssl");
    if (!env[name] || dsn.parameters.has(parameter) || decided) continue;
    dsn.parameters.set(parameter, env[name]);
    changed = true;
  }
  if (own && env.PGPASSWORD && dsn.password === undefined && dsn.user !== undefined) {
    dsn.password = env.PGPASSWORD;
    changed = true;
  }
  return changed ? formatDsn(dsn) : text;
}
