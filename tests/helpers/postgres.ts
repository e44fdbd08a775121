import pg from "pg";
import { createHash } from "node:crypto";
import type { Cluster } from "../../scripts/postgres/cluster.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { startTestCluster, testClusterDir, type TestClusterOptions } from "./clusters.ts";
import { childrenOf, isAlive } from "./processes.ts";
import {
  createRoles,
  giveDatabase,
  loggedInAs,
  OWNER,
  serverGrants,
  serverRole,
} from "./server_role.ts";
import { waitFor } from "./wait_for.ts";

export interface TestDatabase {
  /** Connection string of a superuser to a database of the test's own. */
  dsn: string;
  name: string;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface TestDatabaseOptions {
  /** Whether sql/etl_setup.sql has been applied; default true. */
  setUp?: boolean;
}

const SETUP_SQL = new URL("../../sql/etl_setup.sql", import.meta.url);

let lazyCluster: Promise<string> | undefined;

/** Templates that are there, by the cluster and the set-up that they are of. */
const templates = new Map<string, Promise<string>>();

/**
 * A fresh database, dropped (with whoever is still connected) at the end of the scope:
 *
 *     await using db = await testDatabase(t);
 *
 * It is in the cluster that `deno task test` started; when a file is run with
 * plain `deno test -A`, in one that is started now and ends with the process.
 * `ETL_TEST_PG=debian15` chooses Debian's PostgreSQL 15.
 */
export async function testDatabase(
  t?: { name: string },
  options: TestDatabaseOptions = {},
): Promise<TestDatabase> {
  const server = await sharedCluster();
  const template = options.setUp === false ? "template0" : await ensureTemplate(server);
  const restricted = template !== "template0" && serverRole() !== "superuser";
  const slug = (t?.name ?? "t").toLowerCase().replaceAll(/[^a-z0-9]+/g, "_").slice(0, 40);
  const name = `${slug}_${crypto.randomUUID().slice(0, 8)}`;
  await maintain(
    server,
    async (client) => {
      const owner = restricted ? `owner ${OWNER}` : "";
      await client.query(
        `create database "${name}" template ${template} strategy file_copy ${owner}`,
      );
      if (restricted) await giveDatabase(client, name);
    },
  );
  return {
    name,
    dsn: inDatabase(server, name),
    [Symbol.asyncDispose]: () =>
      maintain(server, (client) => client.query(`drop database if exists "${name}" with (force)`)),
  };
}

/** Connection string of the superuser to the shared cluster's maintenance database. */
export async function sharedCluster(): Promise<string> {
  const given = Deno.env.get("ETL_TEST_DSN");
  if (given) return given;
  lazyCluster ??= startTestCluster(testClusterDir(String(Deno.pid))).then(({ dsn }) => dsn);
  return await lazyCluster;
}

export interface OwnCluster {
  /** Connection string of the superuser to its only database, `etl`; the same after a restart. */
  dsn: string;
  /** Kills the postmaster and its processes with SIGKILL, as a crash would. */
  crash(): Promise<void>;
  /** Starts it again on the same port after a crash. */
  restart(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A cluster of the test's own, for tests that crash PostgreSQL or use pg_cron
 * (`{ kind: "debian15" }`; pg_cron is preloaded for database `etl`). Takes 1–2 s.
 */
export async function ownCluster(options: TestClusterOptions = {}): Promise<OwnCluster> {
  const dir = testClusterDir(`${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`, options);
  let cluster: Cluster = await startTestCluster(dir, options);
  return {
    dsn: cluster.dsn,
    crash: () => crash(cluster),
    async restart() {
      const { port } = cluster;
      cluster = await startTestCluster(dir, options);
      if (cluster.port !== port) {
        throw new Error(
          `The cluster is back on port ${cluster.port}; another program took ${port}`,
        );
      }
    },
    async [Symbol.asyncDispose]() {
      await cluster.stop();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

/** Ends a postmaster and all of its processes at once, and waits until the kernel has them no more. */
async function crash({ pid }: Cluster): Promise<void> {
  // stopped, it starts no process that nobody would know of
  Deno.kill(pid, "SIGSTOP");
  const processes = [pid, ...await childrenOf(pid)];
  for (const each of processes) {
    try {
      Deno.kill(each, "SIGKILL");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  await waitFor(async () => (await Promise.all(processes.map(isAlive))).every((alive) => !alive), {
    timeoutMs: 30_000,
    what: `the processes ${processes.join(", ")} of PostgreSQL to end`,
  });
}

/** The template of what sql/etl_setup.sql makes; made once per version of that file and cluster. */
async function ensureTemplate(server: string): Promise<string> {
  let sql: string;
  try {
    sql = await Deno.readTextFile(SETUP_SQL);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "template0";
    throw error;
  }
  const key = `${server} ${serverRole()} ${sql}`;
  const template = templates.get(key) ?? makeTemplate(server, sql);
  templates.set(key, template);
  // who asks next tries again
  template.catch(() => templates.delete(key));
  return await template;
}

/** Makes the template database of a set-up, with grants where ETL_TEST_ROLE asks for them; answers its name. */
export async function makeTemplate(server: string, sql: string): Promise<string> {
  const role = serverRole();
  const suffix = role === "superuser" ? "" : `_${role}`;
  const name = `template_${createHash("sha256").update(sql).digest("hex").slice(0, 16)}${suffix}`;
  await maintain(server, async (client) => {
    const found = () => client.query("select from pg_database where datname = $1", [name]);
    if ((await found()).rowCount) return;
    await client.query("select pg_advisory_lock(hashtext($1))", [name]);
    if ((await found()).rowCount) return;
    await client.query(`drop database if exists ${name}_building with (force)`);
    const building = inDatabase(server, `${name}_building`);
    if (role === "superuser") {
      await client.query(`create database ${name}_building template template0`);
      await maintain(building, (inside) => inside.query(sql));
    } else {
      await client.query("select pg_advisory_lock(hashtext('etl test roles'))");
      await createRoles(client);
      await client.query(`create database ${name}_building template template0 owner ${OWNER}`);
      await setupDatabase(loggedInAs(OWNER, building), serverGrants());
    }
    await client.query(`alter database ${name}_building allow_connections false`);
    await client.query(`alter database ${name}_building rename to ${name}`);
  });
  return name;
}

/** Drops a template that no test needs any more. */
export async function dropTemplate(server: string, name: string): Promise<void> {
  await maintain(server, (client) => client.query(`drop database if exists ${name} with (force)`));
}

function inDatabase(dsn: string, name: string): string {
  const url = new URL(dsn);
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs `use` with a connection of its own; a connection that breaks meanwhile is no error. */
async function maintain(
  dsn: string,
  use: (client: pg.Client) => Promise<unknown>,
): Promise<void> {
  const client = new pg.Client({ connectionString: dsn });
  client.on("error", () => {});
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end();
  }
}
