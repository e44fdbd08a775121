/**
 * `deno task doctor`: looks at an installation from the outside in, and says
 * what is wrong and how to mend it. Ends with 1 if something keeps it from working.
 */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { requireSafeAddress } from "../routes/access/access.ts";
import { Database, type Sql } from "../store/database.ts";
import { jobsReport } from "../store/jobs.ts";
import {
  type Check,
  environmentChecks,
  fail,
  guarded,
  machineChecks,
  ok,
  programChecks,
  serviceChecks,
  warn,
} from "./doctor/checks.ts";
import { databaseChecks } from "./doctor/database_checks.ts";
import { resolveEnvironment } from "./environment.ts";
import { defaultDataDir, startEmbeddedPostgres } from "./postgres/embedded.ts";
import { runScript } from "./run_script.ts";
import { Terminal } from "./terminal.ts";

export interface ExamineOptions {
  projectDir: string;
  env: Record<string, string>;
  /** Milliseconds since 1970; default Date.now. */
  now?: () => number;
}

/** Everything that was looked at, in the order in which one mends it. */
export async function examine(
  { projectDir, env: given, now }: ExamineOptions,
): Promise<Check[]> {
  const checks = await guarded("program", () => programChecks(projectDir));
  let env: Record<string, string>;
  try {
    env = resolveEnvironment(given);
  } catch (error) {
    return [...checks, fail("environment", (error as Error).message, "Then look again.")];
  }
  const { checks: found, config } = environmentChecks(env);
  checks.push(...found);
  if (config === undefined) return checks;
  checks.push(...await machineChecks(projectDir, config));
  checks.push(
    ...await guarded("database", () => {
      if (env.KPIS_PG_DSN) {
        return databaseAndAccess({ projectDir, config, now, dsn: env.KPIS_PG_DSN });
      }
      return embedded(
        env,
        (dsn) => databaseAndAccess({ projectDir, config, now, dsn }),
      );
    }),
  );
  checks.push(...await serviceChecks(config));
  return checks;
}

type DatabaseOptions = Parameters<typeof databaseChecks>[0];

async function databaseAndAccess(options: DatabaseOptions): Promise<Check[]> {
  const checks = await databaseChecks(options);
  if (checks.some(({ name, state }) => ["database", "schema"].includes(name) && state === "fail")) {
    return checks;
  }
  const { dsn, config } = options;
  const database = new Database(dsn, {
    applicationName: "etl-improved doctor",
    max: 1,
    prepare: config.preparedStatements,
  });
  try {
    return [
      ...checks,
      ...await guarded("jobs", () => jobs(database.sql, options)),
      ...await guarded("access", () => access(database.sql, options)),
    ];
  } finally {
    await database.close({ timeoutSeconds: 1 });
  }
}

/** Who runs the periodic jobs, and how they went. */
async function jobs(sql: Sql, { dsn, config }: DatabaseOptions): Promise<Check[]> {
  const { scheduler, warnings } = await jobsReport(sql, { dsn, cronDsn: config.cronDsn });
  const why = scheduler.reason === null ? "" : ` (${scheduler.reason})`;
  if (scheduler.grants.length > 0) {
    const remedy = `For pg_cron, run in database ${scheduler.database}: ${
      scheduler.grants.join("; ")
    }`;
    return [warn("jobs", `run by ${scheduler.in_use}${why}`, remedy)];
  }
  if (warnings.length > 0) {
    return warnings.map((text) => warn("jobs", text, "See deno task etl jobs."));
  }
  return [ok("jobs", `run by ${scheduler.in_use}${why}`)];
}

async function access(sql: Sql, { config }: DatabaseOptions): Promise<Check> {
  try {
    await requireSafeAddress({ sql, config });
    return ok(
      "access",
      `${config.host}: ${config.adminToken ? "with a token" : "no token needed"}`,
    );
  } catch (error) {
    return fail("access", (error as Error).message, "Do either.");
  }
}

/** The embedded database, if it was made; looking makes none. */
async function embedded(
  env: Record<string, string>,
  use: (dsn: string) => Promise<Check[]>,
): Promise<Check[]> {
  const dataDir = env.ETL_EMBEDDED_PG_DIR || defaultDataDir();
  const made = await Deno.stat(join(dataDir, "data", "PG_VERSION")).then(() => true, () => false);
  if (!made) {
    return [
      ok("database", "KPIS_PG_DSN is not set: the first start creates an embedded PostgreSQL"),
    ];
  }
  const postgres = await startEmbeddedPostgres({ dataDir });
  try {
    // it belongs to this program, with a superuser's rights
    return (await use(postgres.dsn)).filter(({ name }) => name !== "rights");
  } finally {
    await postgres.stop();
  }
}

function print(checks: Check[], terminal: Terminal): void {
  const colours = { ok: "green", warn: "yellow", fail: "red" } as const;
  const width = Math.max(...checks.map(({ name }) => name.length));
  for (const { name, state, found, remedy } of checks) {
    const mark = terminal.paint(colours[state], state.padEnd(4));
    terminal.line(`${mark}  ${name.padEnd(width)}  ${found}`);
    if (remedy !== undefined) terminal.line(`      ${" ".repeat(width)}  → ${remedy}`);
  }
  const of = (state: Check["state"]) => checks.filter((check) => check.state === state).length;
  terminal.line(`\n${of("ok")} ok, ${of("warn")} warnings, ${of("fail")} to fix`);
}

const HELP = `Usage: deno task doctor [--json]

Checks this installation: Deno and its packages, the environment, directories, the
port, the database, and the systems that the server connects to. Changes nothing.
Exits with 0 if everything works, even with warnings, and with 1 if something needs fixing.

  --json   print the findings as JSON
`;

if (import.meta.main) {
  await runScript(async () => {
    const { values } = parseArgs({
      args: Deno.args,
      options: { json: { type: "boolean" } },
    });
    const checks = await examine({
      projectDir: resolve(import.meta.dirname ?? ".", ".."),
      env: Deno.env.toObject(),
    });
    const healthy = checks.every(({ state }) => state !== "fail");
    if (values.json) console.log(JSON.stringify({ ok: healthy, checks }, null, 2));
    else print(checks, new Terminal());
    return healthy ? 0 : 1;
  }, { help: HELP });
}
