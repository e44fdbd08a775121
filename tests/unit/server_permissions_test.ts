import assert from "node:assert/strict";
import { dirname } from "node:path";
import { readableVariables, serverPermissions } from "../../scripts/server_permissions.ts";
import { prepareServerEnvironment } from "../../scripts/server_process.ts";

const env = {
  KPIS_PG_DSN: "postgres://etl:secret@db.internal/etl",
  ETL_DATA_DIR: "data",
  ETL_SPOOL_DIR: "/spool",
};

/** The values of one permission, e.g. of "allow-net". */
function values(more: Record<string, string>, name: string): string[] {
  const all = serverPermissions({ ...env, ...more }, { projectDir: "/project" });
  const found = all.find((argument) => argument.startsWith(`--${name}=`));
  return found?.slice(name.length + 3).split(",") ?? [];
}

Deno.test("serverPermissions() allows the database and the address to listen on, and no other host", () => {
  assert.deepEqual(values({}, "allow-net"), ["db.internal:5432", "127.0.0.1:8080"]);
});

Deno.test("serverPermissions() adds what the configuration names", () => {
  const more = {
    ETL_HOST: "::1",
    ETL_PORT: "0",
    ETL_CONNECTION_SHOP: "postgresql://reader@shop:6432/shop",
    ETL_PG_CRON_DSN: "postgres://app@cron.example.com/postgres",
    ETL_HTTP_SOURCES: "203.0.113.7",
    ETL_HTTP_PRIVATE_HOSTS: "10.0.0.7:9000",
    SLACK_WEBHOOK: "https://hooks.slack.com/services/x",
    ETL_SMTP_URL: "smtp://u:p@mail.example.com",
    ETL_ALERT_TEAMS_WEBHOOK: "https://teams.example.com/x",
    ETL_ALERT_PAGERDUTY_KEY: "k",
    STATSD_HOST: "statsd",
  };
  assert.deepEqual(values(more, "allow-net"), [
    "db.internal:5432",
    "shop:6432",
    "cron.example.com:5432",
    "[::1]:0",
    "203.0.113.7",
    "10.0.0.7:9000",
    "hooks.slack.com:443",
    "mail.example.com:587",
    "teams.example.com:443",
    "events.pagerduty.com:443",
    "statsd:8125",
    "0.0.0.0:0",
  ]);
});

Deno.test("serverPermissions() allows what each variable names, with the port that it implies", () => {
  const s3 = JSON.stringify({ type: "s3", endpoint: "http://10.0.0.7:9000" });
  const own = ["db.internal:5432", "127.0.0.1:8080"];
  for (
    const [more, hosts] of [
      [{ ETL_HTTP_PRIVATE_HOSTS: " 10.0.0.7:9000 , 10.0.0.8,, " }, ["10.0.0.7:9000", "10.0.0.8"]],
      [{ ETL_HTTP_SOURCES: "[fd00::7]" }, ["[fd00::7]"]],
      [{ ETL_CONNECTION_API: "https://u:p@10.0.0.7:8443/v1/" }, ["10.0.0.7:8443"]],
      [{ ETL_CONNECTION_API: "http://10.0.0.7/v1/" }, ["10.0.0.7:80"]],
      [{ ETL_CONNECTION_LAKE: s3 }, ["10.0.0.7:9000"]],
      [{ AWS_ENDPOINT_URL: "https://10.0.0.7" }, ["10.0.0.7:443"]],
      [{ ETL_CONSUMER_HOSTS: "api.example.com:443, 10.0.0.7" }, [
        "api.example.com:443",
        "10.0.0.7",
      ]],
      [{ OPENLINEAGE_URL: "http://lineage:5000" }, ["lineage:5000"]],
      [{ OPENLINEAGE_URL: "file:///var/lineage.jsonl" }, []],
      [{ SLACK_WEBHOOK_SALES: "https://hooks.example.com/x" }, ["hooks.example.com:443"]],
      [{ ETL_ALERT_WEBHOOK: "http://alerts.example.com/x" }, ["alerts.example.com:80"]],
      [{ ETL_SMTP_URL: "smtps://mail.example.com" }, [
        "mail.example.com:465",
      ]],
      [{ MLFLOW_TRACKING_URI: "http://[::1]:5001" }, ["[::1]:5001"]],
      [
        { ETL_ALERT_PAGERDUTY_KEY: "k", ETL_ALERT_PAGERDUTY_URL: "https://events.eu.example.com" },
        ["events.eu.example.com:443"],
      ],
      [{ ETL_ALERT_PAGERDUTY_URL: "https://events.eu.example.com" }, []],
      [{ STATSD_HOST: "::1", STATSD_PORT: "9125" }, ["[::1]:9125", "0.0.0.0:0"]],
    ] as [Record<string, string>, string[]][]
  ) {
    const given = values(more, "allow-net");
    assert.deepEqual(given, [...own, ...hosts], JSON.stringify(more));
  }
});

Deno.test("serverPermissions() opens the network for sources by name: they connect to checked addresses", () => {
  for (const ETL_HTTP_SOURCES of ["data.example.com", "*.example.org:8443"]) {
    const all = serverPermissions({ ...env, ETL_HTTP_SOURCES }, { projectDir: "/project" });
    assert.ok(all.includes("--allow-net"));
    assert.ok(
      all.includes(
        "--deny-net=169.254.0.0/16,168.63.129.16,100.100.100.200,192.0.0.192,[fd00:ec2::254],[fd00:ec2::23],[fd20:ce::254]",
      ),
    );
  }
});

Deno.test("serverPermissions() lets the server write in its spool directory only", () => {
  assert.deepEqual(values({}, "allow-write"), ["/spool"]);
});

Deno.test("serverPermissions() lets the server read its workers' modules and its directories, not the project", () => {
  const own = { ETL_TRANSFORMS_DIR: "/mine", ETL_SUITES_DIR: "rules" };
  assert.deepEqual(values(own, "allow-read"), [
    "/project/pipeline",
    "/project/store",
    "/project/telemetry",
    "/project/vocabulary",
    "/project/suites",
    "/project/sources",
    "/project/sql/cron",
    "/project/sql/etl_setup.sql",
    "/project/.data/assets",
    "/mine",
    "/project/rules",
    "/project/data",
    "/spool",
  ]);
});

Deno.test("serverPermissions() lets the server read what its variables name, each once, and the parser of SQL consumers", () => {
  const plain = values({}, "allow-read");
  for (
    const [more, paths] of [
      [{ ETL_SOURCES_DIR: "/modules" }, ["/modules"]],
      [{ ETL_CONSUMERS_DIR: "mine" }, ["/project/mine", "/project/node_modules/libpg-query/wasm"]],
      [{ ETL_SUITES_DIR: "/spool" }, []],
      [{ KPIS_PG_DSN: `${env.KPIS_PG_DSN}?sslrootcert=/ca.crt` }, ["/ca.crt"]],
      [
        { ETL_CONNECTION_SHOP: "postgres://shop/x?sslcert=/c.crt&sslkey=/c.key" },
        ["/c.crt", "/c.key"],
      ],
    ] as [Record<string, string>, string[]][]
  ) {
    const read = values(more, "allow-read");
    const added = read.filter((path) => !plain.includes(path));
    assert.deepEqual(added, paths, JSON.stringify(more));
    assert.equal(new Set(read).size, read.length, JSON.stringify(more));
  }
  const lineage = { OPENLINEAGE_URL: "file:///var/log/lineage.jsonl" };
  assert.deepEqual(values(lineage, "allow-write"), ["/spool", "/var/log/lineage.jsonl"]);
});

Deno.test("serverPermissions() keeps cloud credentials out of reach when every host is allowed", () => {
  const all = serverPermissions({ ...env, ETL_HTTP_SOURCES: "*" }, { projectDir: "/project" });
  assert.ok(all.includes("--allow-net"));
  assert.ok(
    all.includes(
      "--deny-net=169.254.0.0/16,168.63.129.16,100.100.100.200,192.0.0.192,[fd00:ec2::254],[fd00:ec2::23],[fd20:ce::254]",
    ),
  );
});

Deno.test("serverPermissions() never allows subprocesses, native libraries or everything", () => {
  for (const more of [{}, { ETL_HTTP_SOURCES: "*" }]) {
    const all = serverPermissions({ ...env, ...more }, { projectDir: "/project" }).join(" ");
    assert.match(all, /^--no-prompt /);
    assert.doesNotMatch(all, /-A\b|--allow-(all|run|ffi)|--allow-(read|write|env|sys)( |$)/);
  }
});

Deno.test("serverPermissions() explains what it cannot express", () => {
  assert.throws(() => values({ ETL_DATA_DIR: "/a,b" }, "x"), /\/a,b has a comma/);
  assert.throws(() => values({ ETL_HTTP_SOURCES: "https://x/" }, "x"), /"https:\/\/x\/" is none/);
  assert.throws(() => values({ KPIS_PG_DSN: "" }, "x"), /KPIS_PG_DSN is not set/);
  assert.throws(() => values({ ETL_SPOOL_DIR: "" }, "x"), /ETL_SPOOL_DIR is not set/);
  assert.throws(
    () => values({ KPIS_PG_DSN: "host=/run dbname=x" }, "x"),
    /KPIS_PG_DSN names a Unix/,
  );
  assert.throws(
    () => values({ MLFLOW_TRACKING_URI: "mlflow" }, "x"),
    /MLFLOW_TRACKING_URI must be/,
  );
  assert.throws(() => values({ ETL_CONNECTION_SHOP: "shop pw=s3cret" }, "x"), (error: Error) => {
    assert.match(error.message, /^ETL_CONNECTION_SHOP must be a connection string/);
    assert.doesNotMatch(error.message, /s3cret/);
    return true;
  });
});

Deno.test("readableVariables() names the variables that the server may read", () => {
  const all = {
    ETL_PORT: "1",
    etl_improved__pool: "p",
    USER: "u",
    USERNAME: "u",
    HOME: "/",
    PATH: "/",
  };
  assert.deepEqual(readableVariables(all), ["ETL_PORT", "etl_improved__pool", "USER"]);
});

Deno.test("a directory below /dev is refused before the server starts, as it could open nothing there", async () => {
  const dir = await Deno.makeTempDir({ dir: "/dev/shm", prefix: "etl-spool-" });
  const link = `${await Deno.makeTempDir()}/link`;
  await Deno.symlink(dir, link);
  try {
    for (const name of ["ETL_SPOOL_DIR", "ETL_DATA_DIR"]) {
      for (const path of [dir, link]) {
        await assert.rejects(
          prepareServerEnvironment(
            { ETL_SPOOL_DIR: dirname(link), ETL_DATA_DIR: dirname(link), [name]: path },
            { projectDir: dirname(link) },
          ),
          { message: new RegExp(`^${name} is ${path}, below /dev, .+Name a directory elsewhere`) },
        );
      }
    }
  } finally {
    await Deno.remove(dir);
    await Deno.remove(dirname(link), { recursive: true });
  }
});
