import { parseArgs } from "node:util";
import { PgBoss } from "pg-boss";
import { Problem } from "../pipeline/problem.ts";
import { connectionTarget } from "../store/connection_target.ts";
import { connect, quoteIdent } from "../store/pg.ts";

export interface SetupOptions {
  /** Destination schema to prepare besides public. */
  schema?: string;
  /** Role that the server uses; it is granted what it needs. */
  role?: string;
}

/**
 * Creates or upgrades everything in the database. Idempotent, and safe when two
 * run at once. Answers what is new, in words; empty when nothing was missing.
 */
export async function setupDatabase(dsn: string, options: SetupOptions = {}): Promise<string[]> {
  const client = await connect(dsn, { applicationName: "etl-improved setup" });
  try {
    const before = await relations(client);
    await client.query(await Deno.readTextFile(new URL("../sql/etl_setup.sql", import.meta.url)));
    await setUpQueue(dsn);
    if (options.schema !== undefined) {
      await client.query(
        "select etl.ensure_destination($1, 'etl_improved_events', 'etl_improved_audit')",
        [
          options.schema,
        ],
      );
    }
    if (options.role !== undefined) await grant(client, options);
    const after = await relations(client);
    return [...after].filter((name) => !before.has(name)).sort();
  } finally {
    await client.end();
  }
}

/** pg-boss keeps its own schema; starting it once creates or migrates it. */
async function setUpQueue(dsn: string): Promise<void> {
  const target = connectionTarget(dsn);
  const boss = new PgBoss({
    connectionString: target.dsn,
    ssl: target.ssl,
    schema: "pgboss",
    supervise: false,
    schedule: false,
    registerInstance: false,
    max: 1,
  });
  boss.on("error", () => {});
  await boss.start();
  await boss.stop({ graceful: false, close: true });
}

type Client = Awaited<ReturnType<typeof connect>>;

async function relations(client: Client): Promise<Set<string>> {
  const { rows } = await client.query<{ name: string }>(`
    select 'schema ' || nspname as name from pg_namespace where nspname in ('etl', 'pgboss')
    union all
    select case c.relkind when 'v' then 'view ' when 'm' then 'materialized view ' else 'table ' end
      || n.nspname || '.' || c.relname
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm') and n.nspname !~ '^(pg_|information_schema)'
      and (n.nspname = 'etl' or c.relname ~ 'etl' or n.nspname = 'pgboss')
    union all
    select 'function ' || n.nspname || '.' || p.proname
    from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname = 'etl' or p.proname = 'refresh_etl_mvs'`);
  return new Set(rows.map((row) => row.name));
}

async function grant(client: Client, { role, schema }: SetupOptions): Promise<void> {
  const name = quoteIdent(role!);
  const { rowCount } = await client.query("select from pg_roles where rolname = $1", [role]);
  if (rowCount === 0) {
    throw new Problem("missing-grant", {
      detail: `There is no role ${role}. Create it first: create role ${name} login password '…'`,
    });
  }
  const { rows } = await client.query<{ database: string }>(
    "select current_database() as database",
  );
  const schemas = ["etl", "pgboss", "public", ...(schema === undefined ? [] : [schema])];
  const statements = [
    `grant connect, temporary on database ${quoteIdent(rows[0]!.database)} to ${name}`,
    ...schemas.flatMap((each) => [
      `grant usage on schema ${quoteIdent(each)} to ${name}`,
      `grant select, insert, update, delete, truncate on all tables in schema ${
        quoteIdent(each)
      } to ${name}`,
      `grant usage, select on all sequences in schema ${quoteIdent(each)} to ${name}`,
      `grant execute on all functions in schema ${quoteIdent(each)} to ${name}`,
    ]),
    // manifests are made in etl, queues in pgboss
    `grant create on schema etl, pgboss to ${name}`,
  ];
  await client.query(statements.join("; "));
}

const HELP = `Usage: deno task setup-db [--schema S] [--role R]

Creates or upgrades the schema in the database that KPIS_PG_DSN names, or in the
embedded one where it is not set. Safe to repeat, and for two at once.

  --schema S   prepare destination schema S besides public
  --role R     grant role R what the server needs, and no more; periodic jobs in pg_cron become its own
`;

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      schema: { type: "string" },
      role: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) {
    console.log(HELP);
  } else {
    const { withDatabase } = await import("./with_database.ts");
    const { setUpJobs } = await import("./setup_jobs.ts");
    await withDatabase(async (dsn, env) => {
      const created = await setupDatabase(dsn, {
        ...(values.schema === undefined ? {} : { schema: values.schema }),
        ...(values.role === undefined ? {} : { role: values.role }),
      });
      console.log(
        created.length === 0
          ? "Everything is there already."
          : `Created:\n${created.map((name) => `  ${name}`).join("\n")}`,
      );
      const cronDsn = env.ETL_PG_CRON_DSN || undefined;
      for (const line of await setUpJobs(dsn, { cronDsn, role: values.role })) console.log(line);
    });
  }
}
