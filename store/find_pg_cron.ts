import { inDatabase, parseDsn } from "./dsn.ts";
import { errorCode } from "./errors.ts";
import { type Client, connect } from "./pg.ts";
import type { PgCron } from "./pg_cron.ts";

export interface FindOptions {
  /** Connection string to pg_cron's database; default: the same server, found by name. */
  cronDsn?: string | undefined;
  /** pg_cron's database as somebody found it who may see settings. */
  remembered?: string | undefined;
  /** Whether to create the extension where it is loaded for this database; default false. */
  create?: boolean;
}

/** Why there is no pg_cron to use, in words. */
export interface NoPgCron {
  reason: string;
}

const INSUFFICIENT_PRIVILEGE = "42501";
const APPLICATION = { applicationName: "etl-improved jobs", connectTimeoutMs: 5_000 };

/** Looks for pg_cron: in the database itself, or in another one of the same server. The caller ends the client. */
export async function findPgCron(
  dsn: string,
  options: FindOptions = {},
): Promise<PgCron | NoPgCron> {
  const { cronDsn, remembered, create = false } = options;
  const own = await connect(dsn, APPLICATION);
  let keep = false;
  try {
    const { rows: [me] } = await own.query<
      { target: string; extension: boolean; superuser: boolean; started: string }
    >(`select current_database() as target, exists (select from pg_extension where extname = 'pg_cron') as extension,
      (select rolsuper from pg_roles where rolname = current_user) as superuser, pg_postmaster_start_time()::text as started`);
    const { target, superuser, started } = me!;
    const configured = await configuredDatabase(own);
    if (configured === null && cronDsn === undefined) {
      return { reason: "pg_cron is not loaded in this PostgreSQL (shared_preload_libraries)" };
    }
    let { extension } = me!;
    if (!extension && create && superuser && configured === target) {
      await own.query("create extension if not exists pg_cron");
      extension = true;
    }
    if (extension) {
      keep = true;
      return await described(own, target);
    }
    if (configured === target) {
      return {
        reason: `pg_cron is loaded for database ${target}, but its extension is not there; ` +
          `as a superuser in database ${target}: create extension pg_cron`,
      };
    }
    const database = typeof configured === "string" ? configured : remembered ?? "postgres";
    return await elsewhere(cronDsn ?? inDatabase(dsn, database), {
      target,
      started,
      known: configured !== undefined,
    });
  } finally {
    if (!keep) await own.end().catch(() => {});
  }
}

/** cron.database_name; null where pg_cron is not loaded, undefined where this role may not see it. */
async function configuredDatabase(client: Client): Promise<string | null | undefined> {
  try {
    const { rows } = await client.query<{ name: string | null }>(
      "select current_setting('cron.database_name', true) as name",
    );
    return rows[0]!.name;
  } catch (error) {
    if (errorCode(error) === INSUFFICIENT_PRIVILEGE) return undefined;
    throw error;
  }
}

async function elsewhere(
  dsn: string,
  { target, started, known }: { target: string; started: string; known: boolean },
): Promise<PgCron | NoPgCron> {
  const name = parseDsn(dsn).database;
  const hint = known
    ? "set ETL_PG_CRON_DSN to a connection string that reaches it"
    : "set ETL_PG_CRON_DSN if it is in another one";
  let client: Client;
  try {
    client = await connect(dsn, APPLICATION);
  } catch (error) {
    return {
      reason: `pg_cron is not in this database, and database ${name} cannot be reached ` +
        `(${(error as Error).message}); ${hint}`,
    };
  }
  let keep = false;
  try {
    const { rows: [row] } = await client.query<
      { extension: boolean; started: string; database: string }
    >(`select exists (select from pg_extension where extname = 'pg_cron') as extension,
      pg_postmaster_start_time()::text as started, current_database() as database`);
    if (row!.started !== started) {
      return {
        reason:
          "ETL_PG_CRON_DSN is of another PostgreSQL server: pg_cron runs jobs in its own only",
      };
    }
    if (!row!.extension) {
      return {
        reason: `pg_cron's extension is not in database ${row!.database}; ` +
          `as a superuser in database ${row!.database}: create extension pg_cron` +
          (known ? "" : `; or ${hint}`),
      };
    }
    keep = true;
    return await described(client, target);
  } finally {
    if (!keep) await client.end().catch(() => {});
  }
}

async function described(client: Client, target: string): Promise<PgCron> {
  const { rows: [row] } = await client.query<
    Pick<PgCron, "database" | "role" | "superuser" | "mayUse"> & { functions: number }
  >(`select current_database() as database, current_user as role,
      (select rolsuper from pg_roles where rolname = current_user) as superuser,
      has_schema_privilege(n.oid, 'usage') as "mayUse",
      (select count(*)::integer from pg_proc as p where p.pronamespace = n.oid
        and (p.proname, oidvectortypes(p.proargtypes)) in (values
          ('schedule_in_database', 'text, text, text, text, text, boolean'), ('alter_job', 'bigint, text, text, text, text, boolean'))
        and has_function_privilege(p.oid, 'execute')) as functions
    from pg_namespace as n where n.nspname = 'cron'`);
  const { functions, ...found } = row!;
  return { client, target, ...found, maySchedule: found.mayUse && functions === 2 };
}
