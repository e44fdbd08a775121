import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { Problem, TerminalProblem } from "../vocabulary/problem.ts";
import { type DsnHost, parseDsn } from "./dsn.ts";

/** TLS as both drivers take it; see `node:tls` for the members. */
export interface TlsSettings {
  rejectUnauthorized: boolean;
  /** PEM of the authorities to trust instead of the public ones. */
  ca?: string;
  cert?: string;
  key?: string;
  /** What the certificate has to be made out to, where the host is an address. */
  host?: string;
  checkServerIdentity?: () => undefined;
}

/** A connection string as both drivers take it. */
export interface ConnectionTarget {
  /** In the order in which they are tried. */
  hosts: DsnHost[];
  user?: string;
  password?: string;
  database?: string;
  /** TLS; `prefer`: where the server speaks it, unchecked, else none. */
  ssl: TlsSettings | "prefer" | false;
  /** Which of several hosts is looked for; default any. */
  session: SessionAttributes;
  /** `-c name=value …` for the server. */
  options?: string;
  applicationName?: string;
  /** Seconds until an attempt to connect is given up; undefined: the caller's. */
  connectSeconds?: number;
  /** Seconds of silence after which the kernel probes a connection; null: it never does. Default 10. */
  keepAliveSeconds: number | null;
}

/**
 * What a session of the program calls itself: its own name, by which the program knows what is its own, and behind it the one that
 * the connection string gives. At most 63 characters, as PostgreSQL keeps no more.
 */
export function sessionName(own: string, { applicationName }: ConnectionTarget): string {
  return applicationName === undefined ? own : `${own} (${applicationName})`.slice(0, 63);
}

/** Both drivers read dates in ISO 8601 only, whatever style role or database have. Poolers know the setting. */
export const SESSION_STYLE = { DateStyle: "ISO" };

const SESSIONS = [
  "any",
  "read-write",
  "read-only",
  "primary",
  "standby",
  "prefer-standby",
] as const;
export type SessionAttributes = typeof SESSIONS[number];

/** Of libpq and of other clients' connection strings: handled here, or of no meaning to our drivers. */
const HANDLED = new Set([
  "sslmode",
  "ssl",
  "sslrootcert",
  "sslcert",
  "sslkey",
  "sslnegotiation",
  "sslcompression",
  "sslsni",
  "channel_binding",
  "gssencmode",
  "gssdelegation",
  "krbsrvname",
  "gsslib",
  "load_balance_hosts",
  "target_session_attrs",
  "options",
  "application_name",
  "fallback_application_name",
  "connect_timeout",
  "keepalives",
  "keepalives_idle",
  "keepalives_interval",
  "keepalives_count",
  "tcp_user_timeout",
  "client_encoding",
  // of Prisma and Supabase
  "pgbouncer",
  "connection_limit",
  "pool_timeout",
  "uselibpqcompat",
]);

/** What would silently be weaker or lead elsewhere than its author thinks. */
const REFUSED: Record<string, string> = {
  hostaddr: "write the address as the host",
  passfile: "put the password into a file and name that with KPIS_PG_DSN_FILE or PGPASSWORD_FILE",
  service: "write host, database and user",
  require_auth: "leave it to the server's pg_hba.conf",
  requirepeer: "leave it out",
  replication: "leave it out",
  sslcrl: "leave it out",
  sslcrldir: "leave it out",
  sslpassword: "use a key without a passphrase",
  ssl_min_protocol_version: "leave it to the server: TLS 1.2 is the least that is used here",
  ssl_max_protocol_version: "leave it to the server",
};

/** Values of `sslmode`, and what the other ways to write them mean. */
const MODES: Record<string, string> = {
  disable: "disable",
  allow: "prefer",
  prefer: "prefer",
  require: "require",
  "no-verify": "require",
  "verify-ca": "verify-ca",
  "verify-full": "verify-full",
};

/**
 * Reads a connection string for postgres.js and pg alike, with `sslmode` and its companions as
 * libpq has them: by themselves the one sends `sslrootcert` to the server, the other takes
 * `require` for `verify-full`. Without `sslmode` TLS is tried first. `channel_binding=require`,
 * which no driver here offers on all its connections, is met by checking the certificate
 * as `verify-full` does. Throws a Problem that never shows the password.
 */
export function connectionTarget(dsn: string): ConnectionTarget {
  const { hosts, user, password, database, parameters } = parseDsn(dsn);
  const given = (name: string) => parameters.get(name) || undefined;
  for (const name of parameters.keys()) {
    if (REFUSED[name]) throw refused(`has ${name}, which is not offered: ${REFUSED[name]}`);
  }
  const session = (given("target_session_attrs") ?? "any") as SessionAttributes;
  if (!SESSIONS.includes(session)) {
    throw refused(
      `has target_session_attrs=${session.slice(0, 30)}: use one of ${SESSIONS.join(", ")}`,
    );
  }
  const connectSeconds = seconds("connect_timeout", given("connect_timeout"));
  const idle = seconds("keepalives_idle", given("keepalives_idle"));
  const options = serverOptions(parameters);
  const applicationName = given("application_name");
  return {
    hosts,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(database === undefined ? {} : { database }),
    ssl: hosts.every(({ host }) => host.startsWith("/")) ? false : tlsOf(given, hosts),
    session,
    ...(options === "" ? {} : { options }),
    ...(applicationName === undefined ? {} : { applicationName }),
    // as in libpq, 0 and less mean for ever
    ...(connectSeconds ? { connectSeconds } : {}),
    keepAliveSeconds: given("keepalives") === "0" ? null : idle || 10,
  };
}

function seconds(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^-?\d+$/.test(text)) {
    throw refused(`has ${name}=${text.slice(0, 30)}: use a number of seconds`);
  }
  return Math.max(0, Number(text));
}

/** What is no parameter of libpq is a setting of the server. */
function serverOptions(parameters: Map<string, string>): string {
  const settings = [...parameters].filter(([name]) => !HANDLED.has(name)).map(([name, value]) =>
    `-c ${name}=${value.replaceAll(/[\\\s]/g, "\\$&")}`
  );
  return [parameters.get("options") ?? "", ...settings].filter(Boolean).join(" ");
}

function tlsOf(
  given: (name: string) => string | undefined,
  hosts: DsnHost[],
): ConnectionTarget["ssl"] {
  const rootCert = given("sslrootcert");
  let mode = modeOf(given("sslmode") ?? given("ssl"), rootCert);
  if (given("channel_binding") === "require") mode = "verify-full";
  const [cert, key] = [given("sslcert"), given("sslkey")];
  if ((cert === undefined) !== (key === undefined)) {
    throw refused("has one of sslcert and sslkey, and needs both or none");
  }
  if (mode === "disable") return false;
  if (mode === "prefer") return "prefer";
  if (mode === "verify-ca" && (rootCert === undefined || rootCert === "system")) {
    throw refused(
      "has sslmode=verify-ca, which needs sslrootcert=/path/of/the/authority.crt; " +
        "with a public authority use verify-full",
    );
  }
  const ca = rootCert === undefined || rootCert === "system" ? undefined : rootCert;
  // libpq: with an authority at hand, require verifies that it has signed
  const verifies = mode !== "require" || ca !== undefined;
  const address = hosts.length === 1 && isIP(hosts[0]!.host) !== 0 ? hosts[0]!.host : undefined;
  return {
    rejectUnauthorized: verifies,
    ...(ca === undefined ? {} : { ca: read("sslrootcert", ca) }),
    ...(cert === undefined ? {} : { cert: read("sslcert", cert) }),
    ...(key === undefined ? {} : { key: read("sslkey", key) }),
    ...(address === undefined ? {} : { host: address }),
    ...(verifies && mode !== "verify-full" ? { checkServerIdentity: () => undefined } : {}),
  };
}

function modeOf(text: string | undefined, rootCert: string | undefined): string {
  if (text === undefined) return rootCert === undefined ? "prefer" : "verify-full";
  const mode = { true: "require", "1": "require", false: "disable", "0": "disable" }[text] ??
    MODES[text];
  if (mode === undefined) {
    throw refused(
      `has sslmode=${
        text.slice(0, 30)
      }: use one of disable, prefer, require, verify-ca, verify-full`,
    );
  }
  // libpq: the public authorities sign for anybody, so that the name has to be checked too
  return rootCert === "system" && mode !== "disable" ? "verify-full" : mode;
}

function read(name: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw refused(
      `names ${path} under ${name}, which cannot be read (${
        (error as { code?: string }).code ?? (error as Error).name
      }): give the absolute path of a PEM file that the server's account may read`,
    );
  }
}

function refused(what: string): Problem {
  return new TerminalProblem("invalid-conf", {
    detail: `The database's connection string ${what}.`,
  });
}
