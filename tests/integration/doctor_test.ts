import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { examine } from "../../scripts/doctor.ts";
import { type Check, programChecks } from "../../scripts/doctor/checks.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { missingGrants } from "../../store/installation.ts";
import { setUpJobs } from "../../scripts/setup_jobs.ts";
import { debian15IsInstalled } from "../helpers/clusters.ts";
import { startPeer } from "../helpers/peer.ts";
import { pgbouncerIsInstalled, startBouncer } from "../helpers/pgbouncer.ts";
import { ownCluster, type TestDatabase, testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");

/** An installation with nothing wrong but what `env` says. */
class Installation implements AsyncDisposable {
  readonly #db: TestDatabase;
  readonly #dir: string;
  readonly dsn: string;
  readonly #role: string;

  private constructor(db: TestDatabase, dir: string, dsn: string, role: string) {
    this.#db = db;
    this.#dir = dir;
    this.dsn = dsn;
    this.#role = role;
  }

  static async make(t: { name: string }): Promise<Installation> {
    const db = await testDatabase(t);
    const dir = await Deno.makeTempDir({ prefix: "etl-doctor-" });
    await Deno.mkdir(join(dir, "data"));
    const role = `doctor_${crypto.randomUUID().slice(0, 8)}`;
    await withClient(db.dsn, async (client) => {
      await client.query(`create role ${role} login password 'p'`);
      await client.query("select etl.grant_server_role($1)", [role]);
    });
    const dsn = new URL(db.dsn);
    [dsn.username, dsn.password] = [role, "p"];
    return new Installation(db, dir, dsn.href, role);
  }

  /** As the owner of the schema. */
  sql(text: string): Promise<unknown> {
    return withClient(this.#db.dsn, (client) => client.query(text));
  }

  get role(): string {
    return this.#role;
  }

  examine(env: Record<string, string> = {}, now?: () => number): Promise<Check[]> {
    return examine({
      projectDir: PROJECT_DIR,
      env: {
        KPIS_PG_DSN: this.dsn,
        ETL_DATA_DIR: join(this.#dir, "data"),
        ETL_SPOOL_DIR: join(this.#dir, "spool"),
        ETL_PORT: "0",
        ...env,
      },
      ...(now ? { now } : {}),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql(`drop owned by ${this.#role}; drop role ${this.#role}`);
    await this.#db[Symbol.asyncDispose]();
    await Deno.remove(this.#dir, { recursive: true });
  }
}

const bad = (checks: Check[]) => checks.filter(({ state }) => state !== "ok");

function found(checks: Check[], name: string, state: Check["state"]): string {
  const check = checks.find((each) => each.name === name && each.state === state);
  assert.ok(check, `${name} ${state} in ${JSON.stringify(checks, null, 1)}`);
  assert.ok(state === "ok" || check.remedy !== undefined);
  return `${check.found} → ${check.remedy ?? ""}`;
}

Deno.test("doctor finds nothing to mend in an installation that works", async (t) => {
  await using installation = await Installation.make(t);
  await using peer = startPeer();
  const checks = await installation.examine({
    ETL_ALERT_WEBHOOK: `${peer.address}/secret-path`,
    ETL_PUBLIC_URL: "https://etl.example.com",
    MLFLOW_TRACKING_URI: peer.address,
    ETL_CONNECTION_SHOP: installation.dsn,
  });
  // the dashboard may not have been built here, and databases of tests are not durable
  const others = bad(checks).filter(({ name }) => name !== "dashboard");
  assert.deepEqual(others.map(({ found }) => found), ["fsync is off", "full_page_writes is off"]);
  assert.match(found(checks, "schema", "ok"), /as this program has it/);
  assert.match(found(checks, "alert webhook", "ok"), /answers/);
  assert.ok(peer.requests.every(({ method, path }) => method === "HEAD" && path === "/"));
  assert.ok(!JSON.stringify(checks).includes("secret-path"));
});

Deno.test("doctor names what is wrong with the environment", async (t) => {
  await using installation = await Installation.make(t);
  const checks = await installation.examine({
    ETL_WORKRES: "3",
    SLACK_WEBHOK: "https://hooks.example.com",
    SLACK_BOT_TOKEN: "of another program",
    PGSSLMODE: "verify-full",
    ETL_ALERT_WEBHOOK: "http://127.0.0.1:1/secret-path",
    ETL_CONNECTION_SHOP: "postgres://u:geheim@127.0.0.1:1/shop",
  });
  const texts = bad(checks).map((check) => `${check.found} ${check.remedy}`).join("\n");
  assert.match(texts, /ETL_WORKRES .* Did you mean ETL_WORKERS/);
  assert.match(texts, /SLACK_WEBHOK .* Did you mean SLACK_WEBHOOK/);
  assert.ok(!texts.includes("SLACK_BOT_TOKEN"));
  // PGSSLMODE counts as it does for psql
  assert.match(texts, /does not speak TLS/);
  assert.match(found(checks, "alerts", "warn"), /ETL_PUBLIC_URL/);
  assert.match(found(checks, "alert webhook", "warn"), /127\.0\.0\.1:1 cannot be reached/);
  assert.match(found(checks, "connection shop", "warn"), /nothing listens there/);
  assert.ok(!/secret-path|geheim/.test(JSON.stringify(checks)));

  const invalid = await installation.examine({ ETL_WORKERS: "many" });
  assert.match(found(invalid, "environment", "fail"), /ETL_WORKERS/);
  const quiet = await installation.examine();
  assert.match(found(quiet, "alerts", "warn"), /not sent/);
});

Deno.test("doctor refuses to find a server fine that others can ask without a token", async (t) => {
  await using installation = await Installation.make(t);
  const open = await installation.examine({ ETL_HOST: "0.0.0.0" });
  assert.match(found(open, "access", "fail"), /ETL_HOST is 0\.0\.0\.0.*ETL_ADMIN_TOKEN/);
  const guarded = await installation.examine({
    ETL_HOST: "0.0.0.0",
    ETL_ADMIN_TOKEN: "x".repeat(40),
  });
  assert.match(found(guarded, "access", "ok"), /with a token/);
  assert.match(found(guarded, "access", "warn"), /ETL_ALLOWED_HOSTS/);
});

Deno.test("doctor sees a schema that is missing, incomplete or of another version", async (t) => {
  await using empty = await testDatabase(t, { setUp: false });
  await using installation = await Installation.make(t);
  const missing = await installation.examine({ KPIS_PG_DSN: empty.dsn });
  assert.match(found(missing, "schema", "fail"), /missing.*setup-db/);
  await installation.sql("alter table etl.run_logs rename to hidden");
  assert.match(
    found(await installation.examine(), "schema", "fail"),
    /missing: etl\.run_logs.*setup-db/,
  );
  await installation.sql("alter table etl.hidden rename to run_logs");
  await installation.sql(
    "create or replace function etl.iso(at timestamptz) returns text language sql stable as 'select at::text'",
  );
  assert.match(
    found(await installation.examine(), "schema", "fail"),
    /another version.*etl\.iso.*setup-db/,
  );
});

Deno.test("doctor finds a schema with which no server of this version starts", async (t) => {
  await using installation = await Installation.make(t);
  await installation.sql("insert into etl.setups (checksum) values ('of a later version')");
  const later = found(await installation.examine(), "schema", "warn");
  assert.match(later, /set up by another version since/);
  await installation.sql("delete from etl.setups where checksum <> 'of a later version'");
  assert.match(found(await installation.examine(), "schema", "fail"), /another version.*setup-db/);
});

Deno.test("doctor names the rights that the role lacks, and a role that has too many", async (t) => {
  await using installation = await Installation.make(t);
  await installation.sql(`revoke insert on etl.runs from ${installation.role}`);
  assert.match(
    found(await installation.examine(), "rights", "fail"),
    new RegExp(`lacks insert on etl\\.runs.*setup-db --role ${installation.role}`),
  );
  // and of a table of somebody's own, in whose words its owner grants it
  await installation.sql(
    `grant insert on etl.runs to ${installation.role};
    create schema shop; create table shop.orders (id int primary key, _etl_run_id uuid);
    grant usage on schema shop to ${installation.role}; grant select, insert on shop.orders to ${installation.role};
    insert into etl.datasets (dataset, schema_name, table_name, declared) values ('shop.orders', 'shop', 'orders', '{"own": true}')`,
  );
  const grants = async () => found(await installation.examine(), "rights", "fail").split(" → ")[1]!;
  assert.equal(
    await grants(),
    `As their owner: grant update on shop.orders to ${installation.role}`,
  );
  await installation.sql(
    `insert into etl.runs (run_id, run_label, conf, params, origins, schema_name, table_name, audit_table_name, dry_run, pool, overlap)
    values (gen_random_uuid(), 'x', '{}', '{"write": "append"}', '{}', 'shop', 'orders', 'etl_improved_audit', false, 'default_pool', 'queue')`,
  );
  assert.match(await grants(), /grant update on/, "a run that appends deletes nothing");
  await installation.sql(`update etl.runs set params = '{"write": "replace"}'`);
  const needed = `grant update, delete on shop.orders to ${installation.role}`;
  assert.equal(await grants(), `As their owner: ${needed}`, "a run that replaces deletes");
  await installation.sql(needed);
  found(await installation.examine(), "rights", "ok");
  await using db = await testDatabase(t);
  const checks = await installation.examine({ KPIS_PG_DSN: db.dsn });
  assert.match(found(checks, "rights", "warn"), /superuser/);
});

Deno.test("each right that a server's role lacks is named as it is granted", async (t) => {
  await using installation = await Installation.make(t);
  const { dsn, role } = installation;
  await installation.sql("select etl.ensure_destination('sales', 'orders', 'etl_improved_audit')");
  await installation.sql(`select etl.grant_server_role('${role}')`);
  const database = new URL(dsn).pathname.slice(1);
  await withClient(dsn, async (client) => {
    assert.deepEqual(await missingGrants(client), []);
    const lacks = async (...rights: string[]) => {
      const taken = rights.flatMap((right) =>
        ["public", role].map((of) => `revoke ${right} from ${of}`)
      );
      await installation.sql(taken.join("; "));
      return await missingGrants(client);
    };
    const some = [
      "delete on sales.orders",
      "execute on function etl.due_work",
      "insert on sales.etl_improved_audit",
      `temporary on database ${database}`,
      "update (fingerprints_from) on etl.datasets",
      "update on sales.etl_improved_metrics",
      "usage on schema public",
    ];
    assert.deepEqual(await lacks(...some), some);
    assert.ok((await lacks("usage on schema sales")).includes("usage on schema sales"));
    assert.deepEqual(await lacks("execute on function etl.rights"), [
      "everything that `setup-db --role` grants",
    ]);
    assert.deepEqual(await lacks("usage on schema etl"), ["usage on schema etl"]);
  });
});

Deno.test("doctor sees a database that cannot be used, and clocks that differ", async (t) => {
  await using installation = await Installation.make(t);
  const wrong = new URL(installation.dsn);
  wrong.password = "falsch-1";
  const checks = await installation.examine({ KPIS_PG_DSN: wrong.href });
  assert.match(found(checks, "database", "fail"), /user or password is wrong/);
  assert.ok(!JSON.stringify(checks).includes("falsch-1"));
  const late = (ms: number) => () => Date.now() - ms;
  assert.match(found(await installation.examine({}, late(5_000)), "clock", "warn"), /5 s ahead/);
  assert.match(
    found(await installation.examine({}, late(-90_000)), "clock", "fail"),
    /90 s behind/,
  );
});

Deno.test({
  name: "doctor sees PgBouncer, and which settings it calls for",
  ignore: !await pgbouncerIsInstalled(),
  async fn(t) {
    await using installation = await Installation.make(t);
    // the pooler knows one user, a superuser; the rest is the same
    await using db = await testDatabase(t);
    await using bouncer = await startBouncer(db.dsn);
    const lost = await installation.examine({ KPIS_PG_DSN: bouncer.dsn });
    assert.match(
      found(lost, "pooler", "fail"),
      /transaction mode.*ETL_LISTEN=false and ETL_PREPARED_STATEMENTS=false/,
    );
    const polled = await installation.examine({
      KPIS_PG_DSN: bouncer.dsn,
      ETL_LISTEN: "false",
      ETL_PREPARED_STATEMENTS: "false",
    });
    assert.match(found(polled, "pooler", "ok"), /polled/);
    await using session = await startBouncer(db.dsn, "session");
    const fine = await installation.examine({ KPIS_PG_DSN: session.dsn });
    assert.match(found(fine, "pooler", "ok"), /session mode/);
  },
});

Deno.test({
  name: "doctor says who runs the periodic jobs, and which grants pg_cron lacks",
  ignore: !await debian15IsInstalled(),
  async fn() {
    await using cluster = await ownCluster({ kind: "debian15" });
    await setupDatabase(cluster.dsn);
    const look = (dsn: string) =>
      examine({ projectDir: PROJECT_DIR, env: { KPIS_PG_DSN: dsn, ETL_PORT: "0" } });
    await setUpJobs(cluster.dsn);
    assert.match(found(await look(cluster.dsn), "jobs", "ok"), /run by pg_cron/);
    await withClient(cluster.dsn, async (client) => {
      await client.query("create role app login password 'p'");
      await setupDatabase(cluster.dsn, { role: "app" });
      await client.query("truncate etl.job_scheduler");
    });
    const dsn = new URL(cluster.dsn);
    [dsn.username, dsn.password] = ["app", "p"];
    await using _server = await startServer({ dsn: dsn.href });
    assert.match(
      found(await look(dsn.href), "jobs", "warn"),
      /For pg_cron, run in database etl: .*grant usage on schema cron to "?app/,
    );
  },
});

Deno.test("doctor looks at directories and at who has the port", async (t) => {
  await using installation = await Installation.make(t);
  const checks = await installation.examine({
    ETL_DATA_DIR: "/nowhere/data",
    ETL_SPOOL_DIR: "/proc/spool",
    ETL_TRANSFORMS_DIR: "/nowhere/transforms",
  });
  assert.match(found(checks, "data", "warn"), /\/nowhere\/data is not there/);
  assert.match(found(checks, "spool", "fail"), /\/proc\/spool cannot be written to/);
  assert.match(found(checks, "transforms", "fail"), /ETL_TRANSFORMS_DIR/);

  await using peer = startPeer();
  const other = await installation.examine({ ETL_PORT: new URL(peer.address).port });
  assert.match(found(other, "port", "fail"), /used by another program/);
  await using server = await startServer({ dsn: installation.dsn });
  const ours = await installation.examine({ ETL_PORT: new URL(server.address).port });
  assert.match(found(ours, "port", "ok"), /a server answers/);
});

Deno.test("doctor compares Deno and the packages with what the program is made for", async () => {
  const [old] = await programChecks(PROJECT_DIR, "2.1.0");
  assert.match(`${old!.state} ${old!.found} ${old!.remedy}`, /fail 2\.1\.0 is older.*npx/);
  const [newer] = await programChecks(PROJECT_DIR, "2.99.0");
  assert.equal(newer!.state, "warn");
  const dir = await Deno.makeTempDir();
  for (const file of ["deno.json", "deno.lock"]) {
    await Deno.copyFile(join(PROJECT_DIR, file), join(dir, file));
  }
  await Deno.mkdir(join(dir, "node_modules", ".deno"), { recursive: true });
  const checks = await programChecks(dir);
  assert.match(found(checks, "npm packages", "fail"), /not installed.*deno install --frozen/);
  assert.match(found(checks, "dashboard", "warn"), /build-dashboard/);
  const lock = JSON.parse(await Deno.readTextFile(join(dir, "deno.lock")));
  for (const key of Object.keys(lock.specifiers)) {
    if (key.startsWith("npm:zod@")) delete lock.specifiers[key];
  }
  await Deno.writeTextFile(join(dir, "deno.lock"), JSON.stringify(lock));
  assert.match(found(await programChecks(dir), "npm packages", "fail"), /does not know npm:zod/);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("deno task doctor ends with 1 when something is to be mended, also as JSON", async (t) => {
  await using installation = await Installation.make(t);
  const doctor = async (args: string[], env: Record<string, string>) => {
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--frozen", "-A", "scripts/doctor.ts", ...args],
      cwd: PROJECT_DIR,
      env: { KPIS_PG_DSN: installation.dsn, ETL_PORT: "0", NO_COLOR: "1", ...env },
      stderr: "inherit",
    }).output();
    return { code, out: new TextDecoder().decode(stdout) };
  };
  const fine = await doctor([], {});
  assert.equal(fine.code, 0, fine.out);
  assert.match(fine.out, /^ok {4}schema/m);
  assert.match(fine.out, /\d+ ok, \d+ warnings, 0 to fix/);
  const broken = await doctor(["--json"], { KPIS_PG_DSN: "postgres://u@127.0.0.1:1/x" });
  assert.equal(broken.code, 1);
  const { ok, checks } = JSON.parse(broken.out);
  assert.equal(ok, false);
  assert.match(found(checks, "database", "fail"), /127\.0\.0\.1:1/);
});
