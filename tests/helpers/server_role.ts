import { setupDatabase } from "../../scripts/setup_db.ts";
import type { Queryable } from "../../store/pg.ts";

/**
 * `ETL_TEST_ROLE` has the program under test log in as a role that owns
 * nothing: `minimal` finds its destinations made, `creating` may make them.
 * Unset, it is the superuser, who made the database. Tests themselves look at
 * the database as the superuser always.
 */
export type ServerRole = "superuser" | "minimal" | "creating";

export function serverRole(): ServerRole {
  const given = Deno.env.get("ETL_TEST_ROLE") || "superuser";
  if (given === "superuser" || given === "minimal" || given === "creating") return given;
  throw new Error(`ETL_TEST_ROLE must be 'minimal' or 'creating': current value is '${given}'`);
}

/** Makes the schema; owns the database. No superuser. */
export const OWNER = "etl_test_owner";
/** What the program under test logs in as. */
const SERVER = "etl_test_server";
const PASSWORD = "etl";

/** Databases that the server's role was given. */
const given = new Set<string>();

/** Creates both roles where they are missing; for one at a time. */
export async function createRoles(client: Queryable): Promise<void> {
  for (const role of [OWNER, SERVER]) {
    const { rowCount } = await client.query("select from pg_roles where rolname = $1", [role]);
    if (rowCount === 0) await client.query(`create role ${role} login password '${PASSWORD}'`);
  }
}

/** How the set-up grants the server's role. */
export function serverGrants(): { role: string; mayCreate: boolean } {
  return { role: SERVER, mayCreate: serverRole() === "creating" };
}

/** Gives a new database to the server's role, and takes it from everybody else. */
export async function giveDatabase(client: Queryable, name: string): Promise<void> {
  await client.query(`revoke all on database "${name}" from public;
    grant connect, temporary ${serverRole() === "creating" ? ", create" : ""}
      on database "${name}" to ${SERVER}`);
  given.add(name);
}

/** The connection string of the owner of the schema. */
export function asOwner(dsn: string): string {
  return isGiven(dsn) ? loggedInAs(OWNER, dsn) : dsn;
}

/** The connection string as the program under test has it. */
export function asServer(dsn: string): string {
  return isGiven(dsn) ? loggedInAs(SERVER, dsn) : dsn;
}

/**
 * What an operator does whose run was refused because its destination is not
 * there: as the owner, the very command that the problem names. False where
 * the error is another one.
 */
export async function prepareAsTold(error: unknown, dsn: string): Promise<boolean> {
  const told =
    /setup-db --schema (\S+) --table (\S+)(?: --audit-table (\S+))? --role (\S+)` as the owner/
      .exec(String((error as Error).message));
  if (told === null) return false;
  const [, schema, table, auditTable, role] = told as unknown as string[];
  await setupDatabase(asOwner(dsn), {
    schema: schema!,
    table: table!,
    role: role!,
    ...(auditTable === undefined ? {} : { auditTable }),
  });
  return true;
}

/** The connection string with the name and password of one of the roles. */
export function loggedInAs(role: string, dsn: string): string {
  return Object.assign(new URL(dsn), { username: role, password: PASSWORD }).href;
}

function isGiven(dsn: string): boolean {
  return given.has(decodeURIComponent(new URL(dsn).pathname.slice(1)));
}
