import assert from "node:assert/strict";
import { resolve } from "node:path";
import { examine } from "../../scripts/doctor.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { startCluster } from "../../scripts/postgres/cluster.ts";
import { findPgCron } from "../../store/pg_cron.ts";
import { debian15IsInstalled, testClusterOptions } from "../helpers/clusters.ts";
import { ownCluster, testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");

/** What somebody is told, who must see neither a stack nor a password. */
async function told(work: () => Promise<unknown>): Promise<string> {
  const { message } = await work().then(
    () => assert.fail("it went well"),
    (error: Error) => error,
  );
  const text = message.replace(/^The server ended .*\n/, "");
  assert.doesNotMatch(text, /\.ts:\d|\n\s+at |pw-first/);
  return text;
}

/** What doctor says is wrong, with what to do. */
async function examined(dsn: string): Promise<string> {
  const checks = await examine({
    projectDir: PROJECT_DIR,
    env: { KPIS_PG_DSN: dsn, ETL_PORT: "0" },
  });
  const text = checks.filter(({ state }) => state === "fail")
    .map(({ name, found, remedy }) => `${name}: ${found} → ${remedy}`).join("\n");
  assert.doesNotMatch(text, /\.ts:\d|\n\s+at |pw-first/);
  return text;
}

Deno.test("mistakes of the first day are one sentence with what to do: roles without rights, or that may not write", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const name = new URL(db.dsn).pathname.slice(1);
  const [owner, server, stranger] = ["owner", "server", "stranger"]
    .map((each) => `first_${each}_${crypto.randomUUID().slice(0, 6)}`) as [string, string, string];
  const as = (role: string) => {
    const url = new URL(db.dsn);
    [url.username, url.password] = [role, "pw-first"];
    return url.href;
  };
  const sql = (text: string) => withClient(db.dsn, (client) => client.query(text));
  const start = (role: string) => told(() => startServer({ dsn: as(role) }));
  const setUp = (role: string) => told(() => setupDatabase(as(role)));
  for (const role of [owner, server, stranger]) {
    await sql(`create role ${role} login password 'pw-first'`);
  }
  try {
    assert.match(await start(server), /not set up.*run `deno task setup-db`/);
    assert.match(
      await setUp(owner),
      new RegExp(
        `permission denied.*nothing was changed.*grant create on database "${name}" to "${owner}"`,
      ),
    );
    await sql(
      `grant create on database "${name}" to ${owner}; revoke create on schema public from public`,
    );
    assert.match(await setUp(owner), new RegExp(`grant create on schema public to "${owner}"`));
    await sql(`grant create on schema public to ${owner}`);
    // a superuser has taken the tables over by psql
    await sql(await Deno.readTextFile(new URL("../../sql/etl_migration.sql", import.meta.url)));
    assert.match(
      await setUp(owner),
      /tables of this installation belong to role \w+: run setup-db/,
    );
    await sql(
      "drop table public.etl_improved_audit, public.etl_improved_metrics, public.etl_improved_alerts",
    );

    // without --role
    await setupDatabase(as(owner));
    const lacking = new RegExp(`lacks rights.*setup-db --role ${server}`);
    assert.match(await start(server), lacking);
    assert.match(await examined(as(server)), lacking);
    assert.match(
      await setUp(stranger),
      new RegExp(`schema etl belongs to role ${owner}.*--role ${stranger}`),
    );

    await setupDatabase(as(owner), { role: server });
    for (const role of [owner, server]) {
      await sql(`alter role ${role} set default_transaction_read_only = on`);
    }
    const readOnly = /takes no writes.*default_transaction_read_only/;
    assert.match(await start(server), readOnly);
    assert.match(await examined(as(server)), readOnly);
    assert.match(
      await setUp(owner),
      new RegExp(`alter role "${owner}" reset default_transaction_read_only`),
    );
  } finally {
    await sql(
      `drop owned by ${owner}, ${server}, ${stranger} cascade; drop role ${owner}, ${server}, ${stranger}`,
    );
  }
});

Deno.test("a standby is named as one, at start, by setup-db and by doctor", async () => {
  const dir = await Deno.makeTempDir({ prefix: "etl-standby-" });
  const options = await testClusterOptions(dir, {
    settings: { wal_level: "replica", max_wal_senders: "2" },
  });
  const primary = await startCluster(options);
  await setupDatabase(primary.dsn);
  await primary.stop();
  await Deno.writeTextFile(`${dir}/data/standby.signal`, "");
  const standby = await startCluster(options);
  try {
    assert.match(
      await told(() => startServer({ dsn: standby.dsn })),
      /takes no writes: this is a standby.*Name the primary/,
    );
    assert.match(await told(() => setupDatabase(standby.dsn)), /standby: set up the primary/);
    assert.match(
      await examined(standby.dsn),
      /takes no writes: this is a standby.*Name the primary/,
    );
  } finally {
    await standby.stop();
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test({
  name:
    "a pg_cron that is too old is named, with the version that is needed; the servers run the jobs",
  ignore: !await debian15IsInstalled(),
  async fn() {
    await using cluster = await ownCluster({ kind: "debian15" });
    await withClient(cluster.dsn, async (client) => {
      await client.query("create extension if not exists pg_cron");
      await client.query("update pg_extension set extversion = '1.3' where extname = 'pg_cron'");
    });
    const found = await findPgCron(cluster.dsn);
    assert.ok("reason" in found);
    assert.match(
      found.reason,
      /pg_cron 1\.3 is too old, 1\.4 is needed.*alter extension pg_cron update/,
    );
  },
});
