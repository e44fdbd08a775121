import { parseArgs } from "node:util";
import { Problem, type ProblemType, TerminalProblem } from "../vocabulary/problem.ts";
import { errorCode, raisedProblem } from "../store/errors.ts";
import { delay } from "../store/retry.ts";
import { connect, quoteIdent } from "../store/pg.ts";
import { runScript, WrongUse } from "./run_script.ts";

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
  /** Milliseconds for which tries are repeated while others hold locks; default 300,000. */
  patienceMs?: number;
}

/** How long one try waits for a lock: whoever asks for a table meanwhile waits behind it. */
const LOCK_TIMEOUT = "2s";
/** How long tries are repeated while others hold what has to change. */
const PATIENCE_MS = 300_000;

/**
 * Applies the set-up in one transaction, again from its beginning while somebody holds a lock that it needs: a
 * deadlock with runs that go on, or a reader that takes minutes, must neither end it nor stop the servers.
 */
async function applyPatiently(client: Client, setup: string, patienceMs: number): Promise<void> {
  const until = Date.now() + patienceMs;
  await client.query(`set lock_timeout = '${LOCK_TIMEOUT}'`);
  for (;;) {
    try {
      await client.query(setup);
      break;
    } catch (error) {
      if (!["55P03", "40P01"].includes(errorCode(error) ?? "")) throw error;
      if (Date.now() > until) throw await heldUp(client, patienceMs);
      await delay(500 + Math.random() * 1000);
    }
  }
  await client.query("reset lock_timeout");
}

/** Who has held what the set-up needs, for whoever ran it. */
async function heldUp(client: Client, patienceMs: number): Promise<Problem> {
  const { rows } = await client.query<{ who: string }>(`
    select format('pid %s (%s, %s, since %s)', a.pid, a.application_name, a.state, a.xact_start) as who
    from pg_stat_activity as a where a.pid <> pg_backend_pid() and a.pid in (
      select l.pid from pg_locks as l join pg_class as c on c.oid = l.relation
      where l.granted and c.relnamespace in ('etl'::regnamespace, 'public'::regnamespace))
    order by a.xact_start limit 3`);
  return new TerminalProblem("unavailable", {
    detail:
      `The tables were in use for ${Math.round(patienceMs / 1000)} s, so nothing was changed` +
      (rows.length === 0 ? ". " : `: ${rows.map(({ who }) => who).join(", ")}. `) +
      "Set up again when that has ended.",
    transient: true,
  });
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
    await applyPatiently(client, setup, options.patienceMs ?? PATIENCE_MS);
    const dropped = await dropOwnPgBoss(client);
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
      ...dropped,
      ...(version === null || version === await lastSetup(client)
        ? []
        : ["existing functions and views, updated to this version"]),
      ...(original === null ? [] : [`${original} runs of the Airflow system, taken over`]),
    ];
  } catch (error) {
    const raised = raisedProblem(error);
    if (raised === null) throw await rightsProblem(client, error) ?? error;
    throw new TerminalProblem(raised.type as ProblemType, {
      detail: raised.detail,
      status: raised.status,
    });
  } finally {
    await client.end();
  }
}

/** What a role lacks that sets up, in words; null for another error. */
async function rightsProblem(client: Client, error: unknown): Promise<Problem | null> {
  const { message } = error as Error;
  const code = errorCode(error);
  if (code !== "42501" && code !== "25006") return null;
  await client.query("rollback");
  const { rows: [at] } = await client.query<
    {
      role: string;
      database: string;
      owner: string | null;
      table_owner: string | null;
      standby: boolean;
    }
  >(`select current_user as role, current_database() as database, pg_is_in_recovery() as standby,
      (select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'etl') as owner,
      (select pg_get_userbyid(relowner) from pg_class where oid = to_regclass('public.etl_improved_metrics')) as table_owner`);
  const { role, database, owner, table_owner: tableOwner, standby } = at!;
  const [user, name] = [quoteIdent(role), quoteIdent(database)];
  const remedy = code === "25006"
    ? standby
      ? "This is a standby: set up the primary; replication does the rest."
      : `The database takes no writes from role ${role}: alter role ${user} reset default_transaction_read_only, ` +
        `or alter database ${name} reset default_transaction_read_only.`
    : owner !== null && owner !== role
    ? `The schema etl belongs to role ${owner}: run setup-db with its connection string, and add --role ${role} ` +
      `to grant the servers' role its rights.`
    : tableOwner !== null && tableOwner !== role
    ? `The tables of this installation belong to role ${tableOwner}: run setup-db with its connection string.`
    : /database/.test(message)
    ? `Role ${role} may not create the schema etl. As the owner of the database: ` +
      `grant create on database ${name} to ${user}.`
    : `Role ${role} lacks the right to create what it needs. As the owner: grant create on database ${name} to ${user}; ` +
      `grant create on schema public to ${user}.`;
  return new TerminalProblem("forbidden", {
    detail: `The database cannot be set up (${message}), and nothing was changed. ${remedy}`,
  });
}

/**
 * Version 0.1.0 kept its queue in a schema pgboss, which only woke servers up. It goes when every queue in it was ours;
 * one that another application uses too is left alone. While something of it is locked it stays until the next set-up.
 */
async function dropOwnPgBoss(client: Client): Promise<string[]> {
  const { rows: [found] } = await client.query<{ queues: boolean }>(
    "select to_regclass('pgboss.queue') is not null as queues",
  );
  if (!found!.queues) return [];
  const { rows: [known] } = await client.query<{ ours: boolean }>(
    `select coalesce(bool_and(name ~ '^(etl_|__pgboss__)') and bool_or(name = 'etl_run'), false) as ours from pgboss.queue`,
  );
  if (!known!.ours) return [];
  try {
    await client.query(
      "begin; set local lock_timeout = '3s'; set local client_min_messages = warning; drop schema pgboss cascade; commit",
    );
    return ["schema pgboss of version 0.1.0, dropped"];
  } catch (error) {
    await client.query("rollback");
    return [
      `schema pgboss of version 0.1.0 could not be dropped now (${(error as Error).message})`,
    ];
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
    select 'schema ' || nspname as name from pg_namespace where nspname = 'etl'
    union all
    select case c.relkind when 'v' then 'view ' when 'm' then 'materialized view ' else 'table ' end
      || n.nspname || '.' || c.relname
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm') and n.nspname !~ '^(pg_|information_schema)'
      and (n.nspname = 'etl' or c.relname ~ 'etl')
    union all
    select 'function ' || n.nspname || '.' || p.proname
    from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname = 'etl' or p.proname = 'refresh_etl_mvs'`);
  return new Set(rows.map((row) => row.name));
}

const HELP =
  `Usage: deno task setup-db [--schema S] [--table T] [--audit-table A] [--role R [--may-create]]
                            [--reader R] [--revoke R]

Creates or upgrades the schema in the database of KPIS_PG_DSN; if that is not set, in
the embedded one. Safe to repeat, also several at once.

  --schema S       also prepare schema S for destinations
  --table T        prepare destination table T, in S or public
  --audit-table A  prepare an audit table with another name
  --role R         grant role R exactly what servers need; later set-ups renew the grants;
                   periodic jobs in pg_cron are transferred to R
  --may-create     let runs of role R create missing destinations; otherwise they are
                   refused, with the command that prepares one
  --no-may-create  revoke that
  --reader R       grant role R exactly what dashboards read; later set-ups renew the grants
  --revoke R       revoke everything granted to role R as a server's or reader's role
`;

/** Above it a kind of object is counted, not listed. */
const LISTED = 8;

/** What a set-up has created, in words: single objects by name, many of a kind by their number. */
export function saidOf(created: string[]): string[] {
  if (created.length === 0) return ["Everything is up to date."];
  if (created.length <= LISTED) return ["Created:", ...created.map((name) => `  ${name}`)];
  const kinds = new Map<string, number>();
  const others: string[] = [];
  for (const name of created) {
    const kind = /^(schema|table|view|materialized view|function) [^ ]+$/.exec(name)?.[1];
    if (kind === undefined) others.push(name);
    else kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  const counted = [...kinds].map(([kind, n]) => `${n} ${kind}${n === 1 ? "" : "s"}`);
  return [
    `Created ${counted.join(", ")}.`,
    ...others.map((name) => `  ${name}`),
  ];
}

/** What a command line asks for. */
export function setupOptions(args: string[]): SetupOptions {
  const { values } = parseArgs({
    args,
    options: {
      schema: { type: "string" },
      table: { type: "string" },
      "audit-table": { type: "string" },
      role: { type: "string" },
      "may-create": { type: "boolean" },
      reader: { type: "string" },
      revoke: { type: "string" },
    },
    allowNegative: true,
  });
  const { "audit-table": auditTable, "may-create": mayCreate, ...others } = values;
  if (mayCreate !== undefined && others.role === undefined) {
    const option = mayCreate ? "--may-create" : "--no-may-create";
    throw new WrongUse(
      `${option} is about the role that the server uses, and none is named: add --role R, as in --role etl_server ${option}.`,
    );
  }
  return {
    ...others,
    ...(auditTable === undefined ? {} : { auditTable }),
    ...(mayCreate === undefined ? {} : { mayCreate }),
  };
}

async function main(): Promise<number> {
  const options = setupOptions(Deno.args);
  const { withDatabase } = await import("./with_database.ts");
  const { setUpJobs } = await import("./setup_jobs.ts");
  await withDatabase(async (dsn, env) => {
    for (const line of saidOf(await setupDatabase(dsn, options))) console.log(line);
    const cronDsn = env.ETL_PG_CRON_DSN || undefined;
    for (const line of await setUpJobs(dsn, { cronDsn, role: options.role })) console.log(line);
    console.log("Next: deno task start. deno task doctor checks whether anything is missing.");
  });
  return 0;
}

if (import.meta.main) await runScript(main, { help: HELP });
