import { join } from "node:path";
import type { Config } from "../../server/config.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { connectionProblem } from "../../store/connection_problem.ts";
import { connectionTarget } from "../../store/connection_target.ts";
import { databasePlace, isNear } from "../../store/dsn.ts";
import { Database } from "../../store/database.ts";
import {
  functionTexts,
  missingGrants,
  missingOf,
  missingOwnGrants,
  notifies,
  type OriginalTable,
  originalTables,
  type ServerFacts,
  serverFacts,
  storedSecrets,
} from "../../store/installation.ts";
import { writesRefused } from "../../store/health.ts";
import { type Client, connect } from "../../store/pg.ts";
import { readSetupMark, requireSchemaVersion } from "../../store/schema_version.ts";
import { type Check, fail, guarded, ok, warn } from "./checks.ts";

export interface DatabaseCheckOptions {
  projectDir: string;
  dsn: string;
  config: Config;
  /** Milliseconds since 1970; default Date.now. */
  now?: (() => number) | undefined;
}

const SUPPORTED = { from: 15, to: 18 };
const SETUP = "Run deno task setup-db with the connection string of the schema's owner.";
/** A notification takes milliseconds; a pooler in transaction mode loses it. */
const NOTIFY_MS = 2_000;

/** Whether the database can be used, and is set up as this program needs it. */
export async function databaseChecks(options: DatabaseCheckOptions): Promise<Check[]> {
  const { dsn } = options;
  let client: Client;
  try {
    client = await connect(dsn, { applicationName: "etl-improved doctor" });
  } catch (error) {
    const problem = connectionProblem(error, dsn);
    return [fail("database", problem?.message ?? String(error), "Then look again.")];
  }
  try {
    const facts = await serverFacts(client, options.now ?? Date.now);
    const checks = [
      ...factChecks(facts, options),
      ...await guarded("pooler", () => pooler(facts, client, options)),
      ...await guarded("writes", () => writes(client)),
    ];
    checks.push(...await guarded("original", () => original(client, options), dsn));
    const schema = await guarded("schema", () => schemaVersion(client, options), dsn);
    checks.push(...schema);
    if (schema.every(({ state }) => state !== "fail")) {
      checks.push(...await guarded("rights", () => rights(client, facts), dsn));
      checks.push(...await guarded("datasets", () => distributed(client), dsn));
      checks.push(...await guarded("secrets", () => secrets(client), dsn));
    }
    return checks;
  } finally {
    await client.end().catch(() => {});
  }
}

/** What the facts of a database's server come to. */
export function factChecks(
  facts: ServerFacts,
  { dsn, config }: Pick<DatabaseCheckOptions, "dsn" | "config">,
): Check[] {
  return [
    version(facts),
    encryption(facts, dsn),
    clock(facts),
    connections(facts, config),
    ...settings(facts),
  ];
}

async function writes(client: Client): Promise<Check[]> {
  const { rows: [row] } = await client.query<{ standby: boolean; readonly: boolean }>(
    "select pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as readonly",
  );
  const refused = writesRefused(row!);
  return refused === null ? [] : [fail("writes", refused, "Then look again.")];
}

/** Tables of the Airflow system that this program replaces, and what the set-up will do with each. */
async function original(client: Client, { projectDir }: DatabaseCheckOptions): Promise<Check[]> {
  const found = await originalTables(
    client,
    await Deno.readTextFile(join(projectDir, "sql", "setup", "original_tables.sql")),
  );
  const becomes: Record<OriginalTable["kind"], string> = {
    events: "becomes a dataset in place; columns are renamed, no rows are rewritten",
    metrics: "its rows become runs",
    audit: "its rows become audit entries",
    alerts: "its rows become alerts",
  };
  return found.map(({ name, kind, rows, differences, dependents }) =>
    differences === null && dependents !== null
      ? fail(
        "original",
        `${name} would stop the set-up: other objects depend on it`,
        `Save their definitions, then: ${dependents}. Create them again after deno task setup-db.`,
      )
      : differences === null
      ? warn(
        "original",
        `${name} is the Airflow system's (about ${rows.toLocaleString("en")} rows): ${
          becomes[kind]
        }`,
        "Pause its DAGs and take a backup; then deno task setup-db takes it over. docs/airflow_migration.md has the steps.",
      )
      : fail(
        "original",
        `${name} would stop the set-up: ${differences}`,
        "Rename the table, or give it the expected columns.",
      )
  );
}

/** Datasets that Citus distributes, or that it distributed where this database was restored from. */
async function distributed(client: Client): Promise<Check[]> {
  const { rows } = await client.query<{
    dataset: string;
    distribution_column: string | null;
    shards: string;
    servers: string;
  }>("select dataset, distribution_column, shards, servers from etl.distributed_datasets()");
  return rows.map(({ dataset, distribution_column: by, shards, servers }) =>
    by === "event_id"
      ? ok("datasets", `${dataset} is distributed: ${shards} shards on ${servers} servers`)
      : by === null
      ? warn(
        "datasets",
        `${dataset} was distributed, and its rows are on one server, as after a restore`,
        `etl dataset distribute ${dataset} distributes it again.`,
      )
      : fail(
        "datasets",
        `${dataset} is distributed by ${by}, and runs find rows by event_id`,
        `select undistribute_table('${dataset}'), then etl dataset distribute ${dataset}.`,
      )
  );
}

/** Confs in which an earlier version has stored secrets; the secrets are not shown. */
async function secrets(client: Client): Promise<Check> {
  const found = await storedSecrets(client);
  if (found.length === 0) return ok("secrets", "no stored conf contains one");
  const places = found.map(({ kind, name, fields }) =>
    `${kind === "run" ? "runs of the past" : `${kind} ${name}`} (${fields.join(", ")})`
  );
  return warn(
    "secrets",
    `stored confs contain secrets: ${places.join("; ")}`,
    "Move them into ETL_CONNECTION_<NAME> of the servers and use the connection's name; such confs are refused. Old runs are " +
      "deleted after ETL_RETENTION_DAYS. Readers of the database or of a backup may know these secrets: change them.",
  );
}

function version({ version, versionText }: ServerFacts): Check {
  const major = Math.floor(version / 10_000);
  if (major < SUPPORTED.from) {
    return fail(
      "PostgreSQL",
      `${versionText} is older than ${SUPPORTED.from}`,
      `Upgrade it to ${SUPPORTED.from} or newer.`,
    );
  }
  if (major > SUPPORTED.to) {
    return warn(
      "PostgreSQL",
      `${versionText}; tested up to ${SUPPORTED.to}`,
      "Check for a newer version of the program.",
    );
  }
  return ok("PostgreSQL", versionText);
}

function encryption({ encrypted }: ServerFacts, dsn: string): Check {
  const near = isNear(dsn);
  if (!encrypted) {
    return near ? ok("encryption", "none, on this machine") : warn(
      "encryption",
      `the connection to ${databasePlace(dsn)} is not encrypted`,
      "Add ?sslmode=verify-full to KPIS_PG_DSN, unless the network between is your own.",
    );
  }
  const { ssl } = connectionTarget(dsn);
  return near || (typeof ssl === "object" && ssl.rejectUnauthorized)
    ? ok("encryption", "TLS")
    : warn(
      "encryption",
      "TLS without verification of the server",
      "Use sslmode=verify-full, with sslrootcert=/path/ca.crt if the authority is not public.",
    );
}

function clock({ clockAheadMs }: ServerFacts): Check {
  const seconds = Math.round(Math.abs(clockAheadMs) / 100) / 10;
  const found = `the database's clock is ${seconds} s ${clockAheadMs > 0 ? "ahead" : "behind"}`;
  const remedy = "Synchronize both machines with NTP.";
  if (seconds >= 60) return fail("clock", found, remedy);
  return seconds >= 2 ? warn("clock", found, remedy) : ok("clock", "both agree");
}

/**
 * Connections that a server may open: its pool (6 + 2 a slot, `server/server.ts`), 10 for the probe, LISTEN, ends of waits, jobs, maintenance
 * and consumers, and where runs are executed one a worker and 4 for coordinators.
 */
export function connectionsNeeded(config: Pick<Config, "runSlots" | "workers" | "role">): number {
  const { runSlots, workers, role } = config;
  return 6 + 2 * runSlots + 10 + (role === "api" ? 0 : workers + 4);
}

function connections(facts: ServerFacts, config: Config): Check {
  const needed = connectionsNeeded(config);
  const free = facts.maxConnections - facts.usedConnections;
  const found = `a server uses up to ${needed}; ${free} of ${facts.maxConnections} are free`;
  return free < needed
    ? warn("connections", found, "Raise max_connections, or lower ETL_RUN_SLOTS and ETL_WORKERS.")
    : ok("connections", found);
}

function settings({ off }: ServerFacts): Check[] {
  return off.map((name) =>
    warn(
      "settings",
      `${name} is off`,
      name === "autovacuum"
        ? "Switch it on: without it, tables grow without limit."
        : "Switch it on: without it, a crash of the machine can damage the database.",
    )
  );
}

async function pooler(
  { pooled }: ServerFacts,
  client: Client,
  { dsn, config }: DatabaseCheckOptions,
): Promise<Check> {
  if (!pooled) return ok("pooler", "none between");
  const other = await connect(dsn, { applicationName: "etl-improved doctor" });
  let heard: boolean;
  try {
    heard = await notifies(client, other, NOTIFY_MS);
  } finally {
    await other.end().catch(() => {});
  }
  if (heard) return ok("pooler", "found, in session mode");
  const wrong = [
    ...(config.listen ? ["ETL_LISTEN=false"] : []),
    ...(config.preparedStatements ? ["ETL_PREPARED_STATEMENTS=false"] : []),
  ];
  return wrong.length === 0
    ? ok("pooler", "found, in transaction mode; the queue is polled")
    : fail(
      "pooler",
      "found, and it loses notifications: PgBouncer in transaction mode?",
      `Set ${wrong.join(" and ")}, or connect directly to PostgreSQL or to a pool in session mode.`,
    );
}

async function schemaVersion(
  client: Client,
  { projectDir, dsn }: DatabaseCheckOptions,
): Promise<Check> {
  const setup = await Deno.readTextFile(join(projectDir, "sql", "etl_setup.sql"));
  const missing = await missingOf(client, tablesOf(setup));
  if (missing.length > 0) {
    return fail("schema", `missing: ${some(missing)}`, SETUP);
  }
  const there = await functionTexts(client);
  const other: string[] = [];
  for (const { name, text } of functionsOf(setup)) {
    if (!there.get(name)?.includes(text)) other.push(name);
  }
  return other.length > 0
    ? fail(
      "schema",
      `of another version than this program: ${some(other)}`,
      `${SETUP} If the schema is newer, update the program instead.`,
    )
    : await startable(dsn, setup);
}

/** Asks of the schema what a server asks when it starts. */
async function startable(dsn: string, setup: string): Promise<Check> {
  const database = new Database(dsn, { applicationName: "etl-improved doctor" });
  try {
    const warning = await requireSchemaVersion(database.sql, readSetupMark(setup));
    return warning === null ? ok("schema", "as this program has it") : warn(
      "schema",
      warning,
      "Start the servers with the program version that last ran setup-db.",
    );
  } catch (error) {
    if (error instanceof Problem) return fail("schema", error.message, SETUP);
    throw error;
  } finally {
    await database.close({ timeoutSeconds: 1 });
  }
}

async function rights(client: Client, { role, superuser }: ServerFacts): Promise<Check> {
  if (superuser) {
    return warn(
      "rights",
      `${role} is a superuser`,
      "Give the server its own role: create role etl login password '…'; then deno task setup-db --role etl",
    );
  }
  const lacks = await missingGrants(client);
  if (lacks.length > 0) {
    return fail(
      "rights",
      `${role} lacks ${some(lacks)}`,
      `Run deno task setup-db --role ${role} with the connection string of the schema's owner.`,
    );
  }
  const own = await missingOwnGrants(client);
  return own.length > 0
    ? fail(
      "rights",
      `${role} lacks rights on tables of other owners`,
      `As their owner: ${own.join("; ")}`,
    )
    : ok("rights", `${role} has all it needs`);
}

/** Tables that the set-up makes. */
function tablesOf(setup: string): string[] {
  const made = setup.matchAll(/^create table if not exists ([a-z_]+\.[a-z_]+)/gm);
  return [...new Set(["public.mv_etl_metrics_daily", ...made.map(([, name]) => name!)])];
}

/** Functions that the set-up makes, with their texts as PostgreSQL keeps them. */
function functionsOf(setup: string): { name: string; text: string }[] {
  const pattern =
    /^create or replace function (etl\.[a-z0-9_]+)\s*\((?:(?!^create or replace)[\s\S])*?\bas (\$[a-z_]*\$)([\s\S]*?)\2/gm;
  return [...setup.matchAll(pattern)].map((match) => ({ name: match[1]!, text: match[3]! }));
}

/** The first three, and how many more. */
function some(names: string[]): string {
  const rest = names.length - 3;
  return names.slice(0, 3).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
