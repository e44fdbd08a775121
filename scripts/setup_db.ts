import { parseArgs } from "node:util";
import { PgBoss } from "pg-boss";
import { Problem, type ProblemType } from "../pipeline/problem.ts";
import { createFirstQueues } from "../queue/queues.ts";
import { raisedProblem } from "../store/errors.ts";
import { bossConnection, connect } from "../store/pg.ts";
import { runScript } from "./run_script.ts";

export interface SetupOptions {
  /** Destination schema to prepare besides public. */
  schema?: string;
  /** Destination table to prepare in it; default: etl_improved_events. */
  table?: string;
  /** Audit table to prepare in it; default: etl_improved_audit. */
  auditTable?: string;
  /** Role that the server uses; it is granted what it needs. */
  role?: string;
  /** Whether runs may create missing destinations as that role; default: as it was, at first not. */
  mayCreate?: boolean;
  /** Role that dashboards read with; it is granted what they show. */
  reader?: string;
  /** Role from which everything is taken back that it was granted as server or reader. */
  revoke?: string;
  /** What to set up; default sql/etl_setup.sql. */
  setupSql?: string;
}

/**
 * Creates or upgrades everything in the database. Idempotent, and safe when two
 * run at once. Answers what is new, in words; empty when nothing was missing.
 */
export async function setupDatabase(dsn: string, options: SetupOptions = {}): Promise<string[]> {
  const client = await connect(dsn, {
    applicationName: "etl-improved setup",
    ownNamesOnly: true,
  });
  try {
    const before = await relations(client);
    const original = await originalRuns(client);
    const version = await lastSetup(client);
    const setup = options.setupSql ??
      await Deno.readTextFile(new URL("../sql/etl_setup.sql", import.meta.url));
    await client.query(setup);
    await setUpQueue(dsn);
    const { schema, table, auditTable } = options;
    if (schema !== undefined || table !== undefined || auditTable !== undefined) {
      await client.query("select etl.ensure_destination($1, $2, $3)", [
        schema ?? "public",
        table ?? "etl_improved_events",
        auditTable ?? "etl_improved_audit",
      ]);
    }
    if (options.role !== undefined) {
      await client.query("select etl.grant_server_role($1, $2)", [
        options.role,
        options.mayCreate ?? null,
      ]);
    }
    await grantQueue(client);
    if (options.reader !== undefined) {
      await client.query("select etl.grant_reader_role($1)", [options.reader]);
    }
    if (options.revoke !== undefined) {
      await client.query("select etl.revoke_role($1)", [options.revoke]);
    }
    const after = await relations(client);
    const made = [...after].filter((name) => !before.has(name)).sort();
    return [
      ...made,
      ...(version === null || version === await lastSetup(client)
        ? []
        : ["functions and views that were there, as this version has them"]),
      ...(original === null ? [] : [`${original} runs of the Airflow system, taken over`]),
    ];
  } catch (error) {
    const raised = raisedProblem(error);
    if (raised === null) throw error;
    throw new Problem(raised.type as ProblemType, { detail: raised.detail, status: raised.status });
  } finally {
    await client.end();
  }
}

/** pg-boss keeps its own schema; starting it once creates or migrates it. */
async function setUpQueue(dsn: string): Promise<void> {
  const boss = new PgBoss({
    ...await bossConnection(dsn),
    schema: "pgboss",
    supervise: false,
    schedule: false,
    registerInstance: false,
    max: 1,
  });
  boss.on("error", () => {});
  await boss.start();
  await createFirstQueues(boss);
  await boss.stop({ graceful: false, close: true });
}

/** Goes with pg-boss. */
async function grantQueue(client: Client): Promise<void> {
  const { rows } = await client.query<{ role: string }>(
    "select quote_ident(role_name) as role from etl.server_roles where exists (select from pg_roles where rolname = role_name)",
  );
  for (const { role } of rows) {
    await client.query(`grant usage on schema pgboss to ${role};
      grant select, insert, update, delete on all tables in schema pgboss to ${role};
      grant usage, select on all sequences in schema pgboss to ${role};
      grant execute on all routines in schema pgboss to ${role}`);
  }
}

type Client = Awaited<ReturnType<typeof connect>>;

/** What the database was set up with last; null where it never was. */
async function lastSetup(client: Client): Promise<string | null> {
  const { rows: [known] } = await client.query(
    "select to_regclass('etl.setups') is not null as ok",
  );
  if (!known!.ok) return null;
  const { rows } = await client.query<{ checksum: string }>(
    "select checksum from etl.setups order by applied_at desc limit 1",
  );
  return rows[0]?.checksum ?? null;
}

/** Rows of the metrics table of the system that this project replaces, where it is still there. */
async function originalRuns(client: Client): Promise<number | null> {
  const { rows } = await client.query<{ original: boolean }>(`
    select to_regclass('public.etl_improved_metrics') is not null and not exists (
      select from pg_attribute where attrelid = to_regclass('public.etl_improved_metrics') and attname = 'stages') as original`);
  if (!rows[0]!.original) return null;
  const counted = await client.query<{ n: number }>(
    "select count(*)::integer as n from public.etl_improved_metrics",
  );
  return counted.rows[0]!.n;
}

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

const HELP =
  `Usage: deno task setup-db [--schema S] [--table T] [--audit-table A] [--role R [--may-create]]
                            [--reader R] [--revoke R]

Creates or upgrades the schema in the database that KPIS_PG_DSN names, or in the
embedded one where it is not set. Safe to repeat, and for two at once.

  --schema S       prepare destination schema S besides public
  --table T        prepare destination table T, in S or public
  --audit-table A  the same for an audit table of another name
  --role R         grant role R what the server needs, and no more; later set-ups renew it;
                   periodic jobs in pg_cron become its own
  --may-create     let runs create destinations that are missing, as role R; else they are
                   refused, naming the command that prepares one
  --no-may-create  take that back
  --reader R       grant role R what dashboards read, and no more; later set-ups renew it
  --revoke R       take back everything that role R was granted as a server's or reader's role
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      schema: { type: "string" },
      table: { type: "string" },
      "audit-table": { type: "string" },
      role: { type: "string" },
      "may-create": { type: "boolean" },
      reader: { type: "string" },
      revoke: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
    allowNegative: true,
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const { withDatabase } = await import("./with_database.ts");
  const { setUpJobs } = await import("./setup_jobs.ts");
  await withDatabase(async (dsn, env) => {
    const created = await setupDatabase(dsn, {
      ...(values.schema === undefined ? {} : { schema: values.schema }),
      ...(values.table === undefined ? {} : { table: values.table }),
      ...(values["audit-table"] === undefined ? {} : { auditTable: values["audit-table"] }),
      ...(values.role === undefined ? {} : { role: values.role }),
      ...(values["may-create"] === undefined ? {} : { mayCreate: values["may-create"] }),
      ...(values.reader === undefined ? {} : { reader: values.reader }),
      ...(values.revoke === undefined ? {} : { revoke: values.revoke }),
    });
    console.log(
      created.length === 0
        ? "Everything is there already."
        : `Created:\n${created.map((name) => `  ${name}`).join("\n")}`,
    );
    const cronDsn = env.ETL_PG_CRON_DSN || undefined;
    for (const line of await setUpJobs(dsn, { cronDsn, role: values.role })) console.log(line);
  });
  return 0;
}

if (import.meta.main) await runScript(main);
