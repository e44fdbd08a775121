import { realPaths } from "../pipeline/workers/permissions.ts";
import { resolve } from "node:path";
import { CLOUD_METADATA } from "../pipeline/sources/http/address_guard.ts";
import { Problem, TerminalProblem } from "../vocabulary/problem.ts";
import {
  hostOfConnection,
  isHttpConnection,
  parseHttpConnection,
} from "../pipeline/sources/http/connection.ts";
import {
  AWS_VARIABLES,
  hostsOfS3,
  isS3Connection,
  parseS3Connection,
  s3Environment,
} from "../pipeline/sources/s3/connection.ts";
import { PAGERDUTY_URL } from "../telemetry/settings_schema.ts";
import { certificateFiles, databaseAddresses, parseSourceDsn } from "../store/dsn.ts";

/** Names and beginnings of names of environment variables that the server reads. */
const ENVIRONMENT = [
  "KPIS_*",
  "ETL_*",
  "etl_*",
  "PG*",
  "OTEL_*",
  "STATSD_*",
  "SLACK_*",
  "MLFLOW_*",
  "OPENLINEAGE_*",
  "AIRFLOW_*",
  ...AWS_VARIABLES,
  // the StatsD client takes tags from these
  "DD_*",
  "DATADOG_*",
  // pg looks at these
  "USER",
  "NODE_PG_FORCE_NATIVE",
  "NODE_ENV",
  "NO_COLOR",
  "TZ",
];

/** Deno takes ranges for IPv4 only; link-local IPv6 cannot be written in a URL, as it needs an interface. */
const DENIED = CLOUD_METADATA.map(bracketed);

/**
 * What the server reads of the project: modules of its workers (of the others
 * none, as they are imported statically), suites, periodic jobs, and what browsers get.
 */
const PROGRAM = [
  "pipeline",
  "store",
  "telemetry",
  "vocabulary",
  "suites",
  "sources",
  "sql/cron",
  "sql/etl_setup.sql",
  ".data/assets",
];

/** What reads SQL in ETL_CONSUMERS_DIR: WebAssembly, which its module reads as a file. */
const SQL_PARSER = "node_modules/libpg-query/wasm";

/** Variables that hold the address of something that the server talks to. */
const INTEGRATION_URLS =
  /^(SLACK_WEBHOOK(_[A-Z0-9_]+)?|ETL_ALERT_(TEAMS_)?WEBHOOK|ETL_SMTP_URL|MLFLOW_TRACKING_URI|OPENLINEAGE_URL)$/;

const DEFAULT_PORTS: Record<string, string> = { "http:": "80", "smtp:": "587", "smtps:": "465" };

/** Names of the variables in `env` that the server may read. */
export function readableVariables(env: Record<string, string>): string[] {
  return Object.keys(env).filter((name) =>
    ENVIRONMENT.some((each) =>
      each.endsWith("*") ? name.startsWith(each.slice(0, -1)) : name === each
    )
  );
}

export interface ServerPermissionsOptions {
  /** Directory of the project. */
  projectDir: string;
}

/**
 * The arguments of `deno run` that give the server what its configuration
 * needs and no more: no subprocesses, no native libraries, no other host.
 *
 * `env` has to have `KPIS_PG_DSN`, `ETL_DATA_DIR` and `ETL_SPOOL_DIR`.
 * `ETL_HTTP_SOURCES` lists the hosts (`name`, `name:port`, `*.name`) that `http` sources may read
 * from, `*` for any; those in `ETL_HTTP_PRIVATE_HOSTS` may be read from as well. A source connects
 * to the address that was checked, not to the name, and addresses cannot be known here: where names
 * are listed the network is open but for what is denied, and the server itself holds to the list.
 */
export function serverPermissions(
  env: Record<string, string>,
  { projectDir }: ServerPermissionsOptions,
): string[] {
  const dataDir = resolve(projectDir, required(env, "ETL_DATA_DIR"));
  const spoolDir = resolve(projectDir, required(env, "ETL_SPOOL_DIR"));
  const consumers = env.ETL_CONSUMERS_DIR ? [env.ETL_CONSUMERS_DIR, SQL_PARSER] : [];
  const own = [env.ETL_TRANSFORMS_DIR, env.ETL_SOURCES_DIR, ...consumers, env.ETL_SUITES_DIR]
    .flatMap((dir) => dir || []);
  const readable = [
    ...PROGRAM.map((dir) => resolve(projectDir, dir)),
    ...own.flatMap((dir) => realPaths(resolve(projectDir, dir))),
    ...realPaths(dataDir),
    ...realPaths(spoolDir),
    ...certificates(env),
  ];
  const net = allowedHosts(env);
  return [
    "--no-prompt",
    net === "any" ? "--allow-net" : `--allow-net=${net.join(",")}`,
    `--deny-net=${DENIED.join(",")}`,
    `--allow-read=${paths(readable)}`,
    `--allow-write=${paths([...realPaths(spoolDir), ...lineageFile(env)])}`,
    `--allow-env=${ENVIRONMENT.join(",")}`,
    // the release is in the user agent of Slack's library, statfs tells the room of a disk
    "--allow-sys=hostname,osRelease,statfs,setPriority",
  ];
}

function allowedHosts(env: Record<string, string>): string[] | "any" {
  const sources = list(env.ETL_HTTP_SOURCES);
  const fromEnvironment = s3Environment(env);
  const readFrom = [
    ...sources.filter((host) => host !== "*"),
    ...list(env.ETL_HTTP_PRIVATE_HOSTS),
    ...Object.entries(env).flatMap(([name, value]) =>
      name.startsWith("ETL_CONNECTION_") && isHttpConnection(value)
        ? [hostOfConnection(parseHttpConnection(name, value))]
        : name.startsWith("ETL_CONNECTION_") && isS3Connection(value)
        ? hostsOfS3(parseS3Connection(name, value))
        : []
    ),
    ...fromEnvironment === null ? [] : hostsOfS3(fromEnvironment),
  ].map(checked);
  if (sources.includes("*") || !readFrom.every(isAddress)) return "any";
  const hosts = new Set<string>();
  for (const each of databases("KPIS_PG_DSN", required(env, "KPIS_PG_DSN"))) hosts.add(each);
  for (const [name, value] of Object.entries(env)) {
    if (!isDsn(name, value) || !value) continue;
    for (const each of databases(name, value)) hosts.add(each);
  }
  hosts.add(`${bracketed(env.ETL_HOST || "127.0.0.1")}:${env.ETL_PORT || "8080"}`);
  for (const host of readFrom) hosts.add(host);
  for (const host of list(env.ETL_CONSUMER_HOSTS)) hosts.add(checked(host));
  for (const [name, value] of Object.entries(env)) {
    if (INTEGRATION_URLS.test(name) && value && !value.startsWith("file:")) {
      hosts.add(service(name, value));
    }
  }
  if (env.ETL_ALERT_PAGERDUTY_KEY) {
    const url = env.ETL_ALERT_PAGERDUTY_URL || PAGERDUTY_URL;
    hosts.add(service("ETL_ALERT_PAGERDUTY_URL", url));
  }
  if (env.STATSD_HOST) {
    hosts.add(`${bracketed(env.STATSD_HOST)}:${env.STATSD_PORT || "8125"}`);
    hosts.add("0.0.0.0:0"); // where its UDP socket is bound
  }
  return [...hosts];
}

/** Whether a variable holds a connection string besides KPIS_PG_DSN. */
function isDsn(name: string, value: string): boolean {
  return name === "ETL_PG_CRON_DSN" ||
    name.startsWith("ETL_CONNECTION_") && !isHttpConnection(value) && !isS3Connection(value);
}

/** Whether an entry is an IP address, with a port or not. */
function isAddress(host: string): boolean {
  return /^\d+\.\d+\.\d+\.\d+(:\d+)?$/.test(host) || host.startsWith("[");
}

function checked(host: string): string {
  if (/^(\*\.)?[a-z0-9_.-]+(:\d+)?$/i.test(host) || /^\[[0-9a-f:.]+\](:\d+)?$/i.test(host)) {
    return host;
  }
  throw new TerminalProblem("invalid-conf", {
    detail: `ETL_HTTP_SOURCES, ETL_HTTP_PRIVATE_HOSTS and ETL_CONSUMER_HOSTS list hosts, e.g. ` +
      `"data.example.com,*.example.org:8443", and "${host}" is none.`,
  });
}

function databases(name: string, dsn: string): string[] {
  named(name, dsn);
  return databaseAddresses(dsn);
}

/** Throws what is wrong with a connection string, with the variable's name. */
function named(name: string, dsn: string): void {
  let hosts;
  try {
    ({ hosts } = parseSourceDsn(dsn));
  } catch (error) {
    throw new TerminalProblem("invalid-conf", {
      detail: (error as Problem).message.replace(
        "The connection string must be",
        `${name} must be a connection string`,
      ),
    });
  }
  if (hosts.some(({ host }) => host.startsWith("/"))) {
    throw new TerminalProblem("invalid-conf", {
      detail: `${name} names a Unix socket, which the server may not use: write host=127.0.0.1.`,
    });
  }
}

function service(name: string, address: string): string {
  const url = parse(name, address);
  return `${url.hostname}:${url.port || DEFAULT_PORTS[url.protocol] || "443"}`;
}

function parse(name: string, value: string): URL {
  try {
    return new URL(value);
  } catch {
    throw new TerminalProblem("invalid-conf", {
      detail: `${name} must be a URL, e.g. https://host/path.`,
    });
  }
}

/** Files that the connection strings name for TLS. */
function certificates(env: Record<string, string>): string[] {
  return Object.entries(env)
    .filter(([name, value]) => value && (name === "KPIS_PG_DSN" || isDsn(name, value)))
    .flatMap(([name, value]) => {
      named(name, value);
      return certificateFiles(value);
    });
}

/** The file that lineage events are appended to, where they do not go to a server. */
function lineageFile(env: Record<string, string>): string[] {
  const url = env.OPENLINEAGE_URL;
  return url?.startsWith("file:") ? [parse("OPENLINEAGE_URL", url).pathname] : [];
}

function paths(all: string[]): string {
  const bad = all.find((path) => path.includes(","));
  if (bad !== undefined) {
    throw new TerminalProblem("invalid-conf", {
      detail: `${bad} has a comma in its path, which Deno's permissions cannot express. ` +
        "Use a directory without one.",
    });
  }
  return [...new Set(all)].join(",");
}

function bracketed(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}

function list(value: string | undefined): string[] {
  return (value ?? "").split(",").map((item) => item.trim()).filter(Boolean);
}

function required(env: Record<string, string>, name: string): string {
  const value = env[name];
  if (!value) throw new TerminalProblem("invalid-conf", { detail: `${name} is not set.` });
  return value;
}
