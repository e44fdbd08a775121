import assert from "node:assert/strict";
import { readConfig } from "../../server/config.ts";
import { secretsOf } from "../../server/secrets.ts";

const DSN = "postgres://etl@db.internal/etl";
const read = (env: Record<string, string> = {}) => readConfig({ KPIS_PG_DSN: DSN, ...env }, 3);

Deno.test("an environment that says no more than where the database is has the documented defaults", () => {
  const config = read({ ETL_PORT: "", ETL_ADMIN_TOKEN: "" });
  const { host, port, basePath, role, workers, runSlots, maxAttempts, retentionDays } = config;
  assert.deepEqual(
    { host, port, basePath, role, workers, runSlots, maxAttempts, retentionDays },
    {
      host: "127.0.0.1",
      port: 8080,
      basePath: "",
      role: "all",
      workers: 3,
      runSlots: 4,
      maxAttempts: 5,
      retentionDays: 90,
    },
  );
  const { workerMemoryBytes, maxBodyBytes, maxSpoolBytes, maxRecordBytes, maxBodiesBytes } = config;
  assert.deepEqual(
    { workerMemoryBytes, maxBodyBytes, maxSpoolBytes, maxRecordBytes, maxBodiesBytes },
    {
      workerMemoryBytes: 1_024_000_000,
      maxBodyBytes: 64 << 20,
      maxSpoolBytes: 20 * 2 ** 30,
      maxRecordBytes: 16 << 20,
      maxBodiesBytes: 64 << 20,
    },
  );
  const { bodyTimeoutMs, probeMs, outageMinutes, triggersPerMinute, signInsPerMinute } = config;
  assert.deepEqual(
    { bodyTimeoutMs, probeMs, outageMinutes, triggersPerMinute, signInsPerMinute },
    {
      bodyTimeoutMs: 30_000,
      probeMs: 10_000,
      outageMinutes: 30,
      triggersPerMinute: 6000,
      signInsPerMinute: 10,
    },
  );
  const { maxRequests, maxStreams, maxUploads, listen, preparedStatements, dataShared } = config;
  assert.deepEqual(
    { maxRequests, maxStreams, maxUploads, listen, preparedStatements, dataShared },
    {
      maxRequests: 512,
      maxStreams: 1000,
      maxUploads: 32,
      listen: true,
      preparedStatements: true,
      dataShared: false,
    },
  );
  const { adminToken, hashSecret, consumersDir, httpSources, privateHosts, trustedProxies } =
    config;
  assert.deepEqual(
    { adminToken, hashSecret, consumersDir, httpSources, privateHosts, trustedProxies },
    {
      adminToken: null,
      hashSecret: null,
      consumersDir: null,
      httpSources: [],
      privateHosts: [],
      trustedProxies: [],
    },
  );
  assert.deepEqual([config.params, config.maintenance, config.connections], [{}, {}, {}]);
});

Deno.test("lists of the environment are taken without blanks, host names in lower case", () => {
  const config = read({
    ETL_ALLOWED_HOSTS: " ETL.Example.com , ,b",
    ETL_HTTP_SOURCES: "a.test, *.b.test,",
    ETL_TRUSTED_PROXIES: "10.0.0.0/8, ::1",
    ETL_CONNECTION_API: "https://user:pw@api.test:8443/v1/",
    ETL_CONNECTION_CRM: "postgres://u:p@h/d",
    ETL_CONNECTION_lower: "postgres://u:p@h/d",
  });
  assert.deepEqual(config.allowedHosts, ["etl.example.com", "b"]);
  assert.deepEqual(config.httpSources, ["a.test", "*.b.test", "api.test:8443"]);
  assert.deepEqual(config.trustedProxies, ["10.0.0.0/8", "::1"]);
  assert.deepEqual(Object.keys(config.connections), ["crm"]);
  assert.deepEqual(Object.keys(config.remotes.http), ["api"]);
  assert.throws(() => read({ ETL_TRUSTED_PROXIES: "10.0.0.1,proxy" }), /"proxy" is none/);
});

Deno.test("the path below which a proxy publishes the server is its public one, unless another is given", () => {
  const pathOf = (env: Record<string, string>) => read(env).basePath;
  assert.equal(pathOf({ ETL_PUBLIC_URL: "https://h.test/tools/etl/" }), "/tools/etl");
  assert.equal(pathOf({ ETL_PUBLIC_URL: "https://h.test/" }), "");
  assert.equal(pathOf({ ETL_PUBLIC_URL: "https://h.test/a", ETL_BASE_PATH: "/b" }), "/b");
  for (const wrong of ["b", "/b/", "/../b", "/a//b", '/"b']) {
    assert.throws(() => pathOf({ ETL_BASE_PATH: wrong }), /ETL_BASE_PATH/, wrong);
  }
});

Deno.test("parameters come from the environment in either case of their names, as the type that they have", () => {
  const { params, maintenance } = read({
    ETL_POOL: "small",
    ETL_IMPROVED__BATCH_SIZE: "500",
    etl_improved__dry_run: "True",
    ETL_IMPROVED__ENFORCE_GE: "False",
    etl_improved__enforce_ge: "True",
    ETL_IMPROVED__RUN_LABEL: "007",
    ETL_IMPROVED__SOURCE: '{"type": "synthetic"}',
    etl_maintenance__retention_days_metrics: "7",
  });
  assert.deepEqual(params, {
    pool: "small",
    batch_size: 500,
    dry_run: true,
    enforce_ge: false,
    run_label: "007",
    source: { type: "synthetic" },
  });
  assert.deepEqual(maintenance, { retention_days_metrics: 7 });
  assert.equal(read({ ETL_IMPROVED__RUN_LABEL: "2026" }).params.run_label, "2026", "a text is one");
  assert.equal(read({ ETL_WORKERS: "61" }).workers, 61);
  assert.equal(read({ ETL_POOL: "small", ETL_IMPROVED__POOL: "large" }).params.pool, "large");
  assert.throws(
    () => read({ ETL_IMPROVED__BATCH_SIZE: "many" }),
    /environment variable for batch_size is not valid/,
  );
});

Deno.test("every variable that is wrong is named at once", () => {
  assert.throws(
    () => read({ ETL_PORT: "65536", ETL_WORKERS: "0", ETL_HASH_SECRET: "short" }),
    /ETL_PORT .*; .*ETL_WORKERS .*|ETL_WORKERS .*; .*ETL_PORT /,
  );
  const limits: Record<string, [number, number]> = {
    ETL_PORT: [0, 65_535],
    ETL_WORKERS: [1, 64],
    ETL_RUN_SLOTS: [1, 64],
    ETL_RUN_MAX_ATTEMPTS: [1, 100],
    ETL_OUTAGE_MINUTES: [0, 10_080],
    ETL_RETENTION_DAYS: [-1, 36_500],
    ETL_MAX_BODY_BYTES: [1024, 1 << 30],
    ETL_MAX_RECORD_BYTES: [64, 1 << 28],
    ETL_MAX_REQUESTS: [1, 100_000],
    ETL_DB_PROBE_SECONDS: [1, 3600],
    KEEP_BACKUPS: [1, 100_000],
  };
  for (const [name, [least, most]] of Object.entries(limits)) {
    for (const value of [least, most]) assert.ok(read({ [name]: `${value}` }), `${name}=${value}`);
    for (const value of [least - 1, most + 1]) {
      assert.throws(() => read({ [name]: `${value}` }), new RegExp(name), `${name}=${value}`);
    }
  }
  for (const secret of ["ETL_ADMIN_TOKEN", "ETL_HASH_SECRET"]) {
    assert.ok(read({ [secret]: "x".repeat(32) }));
    assert.throws(() => read({ [secret]: "x".repeat(31) }), /at least 32 characters/);
  }
  assert.throws(() => read({ ETL_ADMIN_TOKEN: `${"x".repeat(32)} y` }), /must be letters, digits/);
});

Deno.test("every secret of the environment is one that no line of a log may show", () => {
  const secret = (name: string) => `s3cret-${name}-${"x".repeat(32)}`;
  const hidden = secretsOf(read({
    KPIS_PG_DSN: `postgres://etl:${secret("dsn")}@db/etl`,
    ETL_PG_CRON_DSN: `postgres://etl:${secret("cron")}@db/postgres`,
    ETL_CONNECTION_CRM: `postgres://u:${secret("crm")}@h/d`,
    ETL_CONNECTION_SHOP: `mysql://u:${secret("mysql")}@h/d`,
    ETL_CONNECTION_API: `https://u:${secret("http")}@h.test/`,
    ETL_CONNECTION_LAKE: JSON.stringify({
      type: "s3",
      endpoint: "https://s3.test",
      access_key_id: "AK",
      secret_access_key: secret("s3"),
    }),
    AWS_REGION: "eu-west-1",
    AWS_ACCESS_KEY_ID: "AK",
    AWS_SECRET_ACCESS_KEY: secret("aws"),
    ETL_ADMIN_TOKEN: secret("admin"),
    ETL_HASH_SECRET: secret("hash"),
    SLACK_WEBHOOK: `https://hooks.test/services/${secret("slack")}`,
    ETL_ALERT_WEBHOOK: `https://hook.test/x?key=${secret("hook")}`,
    ETL_ALERT_WEBHOOK_TOKEN: secret("token"),
    ETL_ALERT_TEAMS_WEBHOOK: `https://teams.test/x?sig=${secret("teams")}`,
    ETL_ALERT_PAGERDUTY_KEY: secret("pager"),
    ETL_SMTP_URL: `smtp://u:${secret("smtp")}@mail.test`,
    ETL_ALERT_EMAIL_TO: "a@b.test",
    MLFLOW_TRACKING_URI: `https://u:${secret("mlflow")}@mlflow.test`,
    MLFLOW_TRACKING_TOKEN: secret("bearer"),
    OPENLINEAGE_URL: "https://lineage.test",
    OPENLINEAGE_API_KEY: secret("lineage"),
  }));
  for (
    const name of [
      ...["dsn", "cron", "crm", "mysql", "http", "s3", "aws", "admin", "hash"],
      ...["slack", "hook", "token", "teams", "pager", "smtp", "mlflow", "bearer", "lineage"],
    ]
  ) {
    assert.ok(hidden.some((each) => each.includes(secret(name))), name);
  }
});
