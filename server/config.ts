import ipaddr from "ipaddr.js";
import { z } from "zod";
import { maintenanceSchema } from "../pipeline/maintenance/params.ts";
import { paramsSchema } from "../pipeline/params.ts";
import { TerminalProblem } from "../vocabulary/problem.ts";
import {
  hostOfConnection,
  isHttpConnection,
  parseHttpConnection,
} from "../pipeline/sources/http/connection.ts";
import {
  isS3Connection,
  parseS3Connection,
  s3Environment,
} from "../pipeline/sources/s3/connection.ts";
import type { Remotes } from "../pipeline/sources/source.ts";
import { connectionTarget } from "../store/connection_target.ts";
import { telemetryEnvironment, telemetrySettings } from "../telemetry/settings_schema.ts";

const flag = z.enum(["true", "false", "1", "0", "on", "off"])
  .transform((text) => ["true", "1", "on"].includes(text));
const whole = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

const dsnSchema = z.string().superRefine((text, ctx) => {
  try {
    connectionTarget(text);
  } catch (error) {
    ctx.addIssue({ code: "custom", message: `is not valid: ${(error as Error).message}` });
  }
});

/** The environment of the server: every variable, what it means and its default. */
export const environmentSchema = z.object({
  KPIS_PG_DSN: dsnSchema
    .describe("connection string of the database"),
  ETL_PG_CRON_DSN: dsnSchema.optional()
    .describe(
      "connection string to the database that pg_cron lives in, where it is another one of the same server; default: it is looked for",
    ),
  ETL_HOST: z.string().default("127.0.0.1").describe("address to listen on"),
  ETL_PORT: whole(0, 65535).default(8080).describe("port to listen on; 0: any free one"),
  ETL_BASE_PATH: z.string().regex(
    /^(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._~-]+)+$/,
    "must be a path such as /tools/etl, without a slash at its end",
  ).optional()
    .describe(
      "path under which a proxy publishes the server, where it sends no X-Forwarded-Prefix; default: that of ETL_PUBLIC_URL",
    ),
  ETL_ROLE: z.enum(["all", "api", "worker"]).default("all")
    .describe("api: answers requests; worker: executes runs; all: both"),
  ETL_DATA_DIR: z.string().default("data").describe("directory that file sources may read"),
  ETL_SPOOL_DIR: z.string().default(".data/spool")
    .describe(
      "directory for finished rows, downloads and uploads on their way; needs room for the largest run",
    ),
  ETL_TRANSFORMS_DIR: z.string().default("pipeline/transforms")
    .describe("directory of transform modules"),
  ETL_SOURCES_DIR: z.string().default("sources")
    .describe("directory of source modules of your own; it need not be there"),
  ETL_CONSUMERS_DIR: z.string().optional()
    .describe("directory of consumers of your own; default: none"),
  ETL_CONSUMER_HOSTS: z.string().optional()
    .describe("hosts that consumers may reach if they list them, e.g. `api.example.com:443,…`"),
  ETL_SUITES_DIR: z.string().default("suites")
    .describe("directory of expectation suites, one JSON file each"),
  ETL_WORKERS: whole(1, 64).optional().describe("Web Workers; default: the number of cores"),
  ETL_WORKER_MEMORY_MB: whole(1, 1_000_000).default(1024)
    .describe("MB that one of them may hold between two batches; a run that needs more fails"),
  ETL_RUN_SLOTS: whole(1, 64).default(4).describe("runs that this server executes at once"),
  ETL_DATA_SHARED: flag.default(false)
    .describe(
      "whether ETL_DATA_DIR is the same directory on every server (a network file system), so that all of them may work on a run of its files",
    ),
  ETL_ONE_SERVER_RUNS: flag.default(false)
    .describe("whether this server executes its runs alone, and does not help with others'"),
  ETL_RUN_MAX_ATTEMPTS: whole(1, 100).default(5)
    .describe("starts of one run before it is given up"),
  ETL_OUTAGE_MINUTES: z.coerce.number().min(0).max(10_080).default(30)
    .describe(
      "minutes that a run waits for a database, source or disk that is away, before it fails",
    ),
  ETL_RETENTION_DAYS: whole(-1, 36_500).default(90)
    .describe(
      "days that ended runs are kept, with their chunks, quarantine and logs; -1: for ever",
    ),
  ETL_MAX_BODY_BYTES: whole(1024, 1 << 30).default(64 << 20)
    .describe("bytes of a request body that carries data; a JSON conf may have 8 MiB"),
  ETL_MAX_SPOOL_BYTES: whole(1024, Number.MAX_SAFE_INTEGER).default(20 * 2 ** 30)
    .describe("bytes that one download or decompressed file may have"),
  ETL_MAX_RECORD_BYTES: whole(64, 1 << 28).default(16 << 20)
    .describe("bytes of one record; a longer one is quarantined"),
  ETL_HTTP_SOURCES: z.string().default("")
    .describe("hosts that http sources may read from: name, name:port, *.name; * for any"),
  ETL_HTTP_PRIVATE_HOSTS: z.string().default("")
    .describe("host[:port] list that http sources may read although the address is private"),
  ETL_ALLOWED_HOSTS: z.string().default("")
    .describe(
      "host names, besides the loopback ones, at which clients reach this server; requires a token",
    ),
  ETL_ADMIN_TOKEN: z.string().min(32, "must have at least 32 characters: `openssl rand -hex 32`")
    .regex(/^[A-Za-z0-9._~+\/=-]+$/, "must be letters, digits and . _ ~ + / = -").optional()
    .describe("API token with the role admin, to begin with; `deno task etl token` makes others"),
  ETL_HASH_SECRET: z.string().min(32, "must have at least 32 characters: `openssl rand -hex 32`")
    .optional()
    .describe(
      "key of the hashes that replace personal data (`hash`), the same on every server; another key gives other hashes",
    ),
  ETL_TRUSTED_PROXIES: z.string().default("")
    .describe(
      "addresses and CIDR ranges of proxies whose X-Forwarded-For and -Proto are believed",
    ),
  ETL_TRIGGERS_PER_MINUTE: whole(0, 1_000_000).default(6000)
    .describe(
      "runs, retries, previews and the like per minute and server for one token, or address without one; 0: any number",
    ),
  ETL_SIGN_INS_PER_MINUTE: whole(0, 1_000_000).default(10)
    .describe(
      "wrong tokens that one address, or one token prefix, may show a server in a minute; a right one is never refused; 0: any number",
    ),
  ETL_MAX_REQUESTS: whole(1, 100_000).default(512)
    .describe("concurrent requests; more are answered 503 with Retry-After"),
  ETL_MAX_STREAMS: whole(1, 100_000).default(1000)
    .describe("streams of events and requests with wait=true that are open at once"),
  ETL_MAX_UPLOADS: whole(1, 10_000).default(32)
    .describe("bodies of data that are received at once, into ETL_SPOOL_DIR"),
  ETL_MAX_BODIES_BYTES: whole(8 << 20, 2 ** 40).default(64 << 20)
    .describe("bytes of all other request bodies being received"),
  ETL_BODY_TIMEOUT_SECONDS: whole(1, 3600).default(30)
    .describe(
      "seconds without a byte after which a request body is given up; after so long it also has to have come at 32 KiB a second",
    ),
  ETL_LISTEN: flag.default(true)
    .describe("LISTEN/NOTIFY; off behind PgBouncer in transaction mode, then the queue is polled"),
  ETL_PREPARED_STATEMENTS: flag.default(true)
    .describe("named prepared statements; off behind PgBouncer in transaction mode"),
  ETL_DB_PROBE_SECONDS: whole(1, 3600).default(10)
    .describe(
      "seconds between checks of a silent database connection; after two failed checks it is replaced",
    ),
  ETL_LOG_LEVEL: z.enum(["debug", "info", "warn", "error"]).default("info").describe("log level"),
  ETL_LOG_FORMAT: z.enum(["text", "json"]).default("text").describe("log format"),
  BACKUP_DIR: z.string().default("./backups")
    .describe("directory that `deno task backup` writes to; the server does not use it"),
  KEEP_BACKUPS: whole(1, 100_000).default(7)
    .describe("backups that `deno task backup` leaves there; older ones are deleted"),
  ...telemetryEnvironment,
});

/** The server's configuration, resolved once and passed in. */
export type Config = ReturnType<typeof readConfig>;

/** Reads the environment. Throws a Problem that names every variable that is wrong. */
export function readConfig(env: Record<string, string>, cores: number) {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
  const parsed = environmentSchema.safeParse(set);
  if (!parsed.success) {
    throw new TerminalProblem("invalid-conf", {
      detail: "The environment is not valid: " +
        parsed.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`).join("; "),
    });
  }
  const values = parsed.data;
  const named = namedConnections(set);
  return {
    dsn: values.KPIS_PG_DSN,
    cronDsn: values.ETL_PG_CRON_DSN,
    host: values.ETL_HOST,
    port: values.ETL_PORT,
    /** What a proxy has in front of our paths, "/tools/etl"; "" without. */
    basePath: values.ETL_BASE_PATH ?? pathOf(values.ETL_PUBLIC_URL),
    role: values.ETL_ROLE,
    dataDir: values.ETL_DATA_DIR,
    spoolDir: values.ETL_SPOOL_DIR,
    transformsDir: values.ETL_TRANSFORMS_DIR,
    sourcesDir: values.ETL_SOURCES_DIR,
    consumersDir: values.ETL_CONSUMERS_DIR ?? null,
    suitesDir: values.ETL_SUITES_DIR,
    workers: values.ETL_WORKERS ?? cores,
    workerMemoryBytes: values.ETL_WORKER_MEMORY_MB * 1_000_000,
    runSlots: values.ETL_RUN_SLOTS,
    dataShared: values.ETL_DATA_SHARED,
    oneServerRuns: values.ETL_ONE_SERVER_RUNS,
    maxAttempts: values.ETL_RUN_MAX_ATTEMPTS,
    outageMinutes: values.ETL_OUTAGE_MINUTES,
    retentionDays: values.ETL_RETENTION_DAYS,
    maxBodyBytes: values.ETL_MAX_BODY_BYTES,
    maxSpoolBytes: values.ETL_MAX_SPOOL_BYTES,
    maxRequests: values.ETL_MAX_REQUESTS,
    maxStreams: values.ETL_MAX_STREAMS,
    maxUploads: values.ETL_MAX_UPLOADS,
    maxBodiesBytes: values.ETL_MAX_BODIES_BYTES,
    bodyTimeoutMs: values.ETL_BODY_TIMEOUT_SECONDS * 1000,
    maxRecordBytes: values.ETL_MAX_RECORD_BYTES,
    // whoever names a connection means its host
    httpSources: [
      ...list(values.ETL_HTTP_SOURCES),
      ...Object.values(named.remotes.http).map(hostOfConnection),
    ],
    privateHosts: list(values.ETL_HTTP_PRIVATE_HOSTS),
    allowedHosts: list(values.ETL_ALLOWED_HOSTS).map((host) => host.toLowerCase()),
    adminToken: values.ETL_ADMIN_TOKEN ?? null,
    hashSecret: values.ETL_HASH_SECRET ?? null,
    trustedProxies: addressRanges(values.ETL_TRUSTED_PROXIES),
    triggersPerMinute: values.ETL_TRIGGERS_PER_MINUTE,
    signInsPerMinute: values.ETL_SIGN_INS_PER_MINUTE,
    listen: values.ETL_LISTEN,
    preparedStatements: values.ETL_PREPARED_STATEMENTS,
    probeMs: values.ETL_DB_PROBE_SECONDS * 1000,
    logLevel: values.ETL_LOG_LEVEL,
    logFormat: values.ETL_LOG_FORMAT,
    ...named,
    /** Run parameters from ETL_IMPROVED__<NAME> or etl_improved__<name>. */
    params: paramsFromEnvironment(set),
    /** Parameters of etl_maintenance from ETL_MAINTENANCE__<NAME> or etl_maintenance__<name>. */
    maintenance: valuesFromEnvironment(set, "etl_maintenance", maintenanceSchema),
    telemetry: telemetrySettings(set),
  };
}

/** The path of an address without a slash at its end; "" where it has none. */
const pathOf = (url: string | undefined): string =>
  url === undefined ? "" : new URL(url).pathname.replace(/\/+$/, "");

function list(text: string): string[] {
  return text.split(",").map((item) => item.trim()).filter((item) => item !== "");
}

function addressRanges(text: string): string[] {
  const ranges = list(text);
  const wrong = ranges.find((each) => !ipaddr.isValid(each) && !ipaddr.isValidCIDR(each));
  if (wrong === undefined) return ranges;
  throw new TerminalProblem("invalid-conf", {
    detail: `ETL_TRUSTED_PROXIES lists addresses and ranges, e.g. "10.0.0.0/8,::1", and ` +
      `"${wrong}" is none.`,
  });
}

function namedConnections(
  env: Record<string, string>,
): {
  /** DSN by name, from ETL_CONNECTION_<NAME>. */
  connections: Record<string, string>;
  /** The others of them, and those of the environment. */
  remotes: Remotes;
} {
  const connections: Record<string, string> = {};
  const remotes: Remotes = { http: {}, s3: {}, s3Environment: s3Environment(env) };
  for (const [variable, value] of Object.entries(env)) {
    const name = /^ETL_CONNECTION_([A-Z][A-Z0-9_]*)$/.exec(variable)?.[1]?.toLowerCase();
    if (name === undefined) continue;
    if (isS3Connection(value)) remotes.s3[name] = parseS3Connection(variable, value);
    else if (isHttpConnection(value)) remotes.http[name] = parseHttpConnection(variable, value);
    else connections[name] = value;
  }
  return { connections, remotes };
}

/** Run parameters from the environment; ETL_POOL is the original's name for the pool. */
function paramsFromEnvironment(env: Record<string, string>): Record<string, unknown> {
  return {
    ...(env.ETL_POOL === undefined ? {} : { pool: env.ETL_POOL }),
    ...valuesFromEnvironment(env, "etl_improved", paramsSchema),
  };
}

/**
 * Values of parameters from `PREFIX__<NAME>`, in upper or lower case. A value
 * that is JSON is taken as such, except where the parameter is text.
 */
function valuesFromEnvironment(
  env: Record<string, string>,
  prefix: string,
  schemas: z.ZodObject,
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [key, schema] of Object.entries(schemas.shape)) {
    const name = `${prefix}__${key}`;
    const text = env[name.toUpperCase()] ?? env[name];
    if (text === undefined) continue;
    const value = schema.safeParse(text).success ? text : jsonOr(text);
    const checked = schema.safeParse(value);
    if (!checked.success) {
      throw new TerminalProblem("invalid-conf", {
        detail: `The environment variable for ${key} is not valid: ${
          checked.error.issues.map((issue: { message: string }) => issue.message).join("; ")
        }`,
      });
    }
    values[key] = value;
  }
  return values;
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text.toLowerCase() === "true" ? "true" : text === "False" ? "false" : text);
  } catch {
    return text;
  }
}
