import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { Problem } from "../pipeline/problem.ts";

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

/** A connection string without what concerns TLS, and that as settings. */
export interface ConnectionTarget {
  dsn: string;
  ssl: TlsSettings | false;
}

/** Of libpq and of other clients' connection strings: handled here, or of no meaning to our drivers. */
const HANDLED = [
  "sslmode",
  "ssl",
  "sslrootcert",
  "sslcert",
  "sslkey",
  "sslnegotiation",
  "channel_binding",
  "gssencmode",
  // of Prisma and Supabase
  "pgbouncer",
  "connection_limit",
  "pool_timeout",
];

/** Values of `sslmode`, and what the other ways to write them mean. */
const MODES: Record<string, string> = {
  disable: "disable",
  require: "require",
  "no-verify": "require",
  "verify-ca": "verify-ca",
  "verify-full": "verify-full",
};

/**
 * Reads `sslmode` and its companions as libpq does, for postgres.js and pg
 * alike: by themselves the one sends `sslrootcert` to the server, the other takes
 * `require` for `verify-full`. Without `sslmode` there is no TLS. `channel_binding=require`,
 * which no driver here offers on all its connections, is met by checking the certificate
 * as `verify-full` does. Throws a Problem that never shows the password.
 */
export function connectionTarget(dsn: string): ConnectionTarget {
  const url = new URL(dsn);
  const given = (name: string) => url.searchParams.get(name) || undefined;
  const rootCert = given("sslrootcert");
  let mode = modeOf(given("sslmode") ?? given("ssl"), rootCert);
  if (given("channel_binding") === "require") mode = "verify-full";
  const [cert, key] = [given("sslcert"), given("sslkey")];
  if ((cert === undefined) !== (key === undefined)) {
    throw refused("has one of sslcert and sslkey, and needs both or none");
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  for (const name of HANDLED) url.searchParams.delete(name);
  if (mode === "disable") return { dsn: url.href, ssl: false };
  if (mode === "verify-ca" && (rootCert === undefined || rootCert === "system")) {
    throw refused(
      "has sslmode=verify-ca, which needs sslrootcert=/path/of/the/authority.crt; " +
        "with a public authority use verify-full",
    );
  }
  const ca = rootCert === undefined || rootCert === "system" ? undefined : rootCert;
  // libpq: with an authority at hand, require verifies that it has signed
  const verifies = mode !== "require" || ca !== undefined;
  return {
    dsn: url.href,
    ssl: {
      rejectUnauthorized: verifies,
      ...(ca === undefined ? {} : { ca: read("sslrootcert", ca) }),
      ...(cert === undefined ? {} : { cert: read("sslcert", cert) }),
      ...(key === undefined ? {} : { key: read("sslkey", key) }),
      ...(isIP(host) === 0 ? {} : { host }),
      ...(verifies && mode !== "verify-full" ? { checkServerIdentity: () => undefined } : {}),
    },
  };
}

function modeOf(text: string | undefined, rootCert: string | undefined): string {
  if (text === undefined) return rootCert === undefined ? "disable" : "verify-full";
  const mode = { true: "require", "1": "require", false: "disable", "0": "disable" }[text] ??
    MODES[text];
  if (mode === undefined) {
    throw refused(
      `has sslmode=${text.slice(0, 30)}, which is not offered, as nobody could tell whether the ` +
        "connection is encrypted: use disable, require, verify-ca or verify-full",
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
  return new Problem("invalid-conf", { detail: `The database's connection string ${what}.` });
}
