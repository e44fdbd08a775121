import { Buffer } from "node:buffer";
import { Problem } from "../../../vocabulary/problem.ts";
import { isS3Connection } from "../s3/connection.ts";
import type { HttpConf } from "../schema.ts";

/** What an `ETL_CONNECTION_<NAME>` says of a server that http sources read from. */
export interface HttpConnection {
  /** Beginning of its URLs; may have a user, password and query, which every URL of the connection gets. */
  url: string;
  /** Sent to this server with every request, and to no other. */
  headers: Record<string, string>;
}

/** Where an http source is really fetched from: holds secrets, for the worker that downloads only. */
export type HttpTarget = HttpConnection;

/** Whether the value of an `ETL_CONNECTION_<NAME>` is meant for http sources, not for postgres ones. */
export function isHttpConnection(value: string): boolean {
  return /^\s*(\{|https?:)/i.test(value) && !isS3Connection(value);
}

/**
 * Reads `https://user:password@api.example.com/v1/` or
 * `{"url": "https://api.example.com/v1/", "headers": {"authorization": "Bearer …"}}`.
 *
 * @throws {Problem} `invalid-conf`, which never shows the value, as it holds secrets.
 */
export function parseHttpConnection(variable: string, value: string): HttpConnection {
  const wrong = (what: string) =>
    new Problem("invalid-conf", {
      detail: `${variable} ${what}. It must be a URL, https://user:password@host/path/, or ` +
        'JSON: {"url": "https://host/path/", "headers": {"authorization": "Bearer …"}}.',
    });
  let given: unknown = { url: value.trim() };
  if (value.trimStart().startsWith("{")) {
    try {
      given = JSON.parse(value);
    } catch {
      throw wrong("begins as JSON and is none");
    }
  }
  const { url, headers = {}, ...rest } = given as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw wrong("has more than url and headers");
  if (typeof url !== "string" || !URL.canParse(url)) throw wrong("has no URL");
  const { protocol, hash } = new URL(url);
  if (protocol !== "http:" && protocol !== "https:") throw wrong("has a URL that is not http(s)");
  if (hash !== "") throw wrong("has a URL with a #");
  if (typeof headers !== "object" || headers === null || Array.isArray(headers)) {
    throw wrong("has headers that are not an object");
  }
  for (const [name, text] of Object.entries(headers)) {
    if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) throw wrong("has a header with no valid name");
    if (typeof text !== "string" || /[^\t\x20-\x7e\x80-\xff]/.test(text)) {
      throw wrong(`has a header ${name} that is no text of one line`);
    }
    if (
      /^(host|connection|content-length|transfer-encoding|range|if-range|accept-encoding)$/i.test(
        name,
      )
    ) {
      throw wrong(`has a header ${name}, which is not yours to set`);
    }
  }
  return { url, headers: headers as Record<string, string> };
}

/** `host:port` of a connection, as address lists have it. */
export function hostOfConnection({ url }: HttpConnection): string {
  const { protocol, hostname, port } = new URL(url);
  return `${hostname}:${port || (protocol === "http:" ? "80" : "443")}`;
}

/** The passwords and header values of a connection, plain and encoded; for what hides them in logs. */
export function secretsOfConnection({ url, headers }: HttpConnection): string[] {
  const { username, password, searchParams } = new URL(url);
  const [user, secret] = [username, password].map(decodeURIComponent);
  // as the server gets it, who may quote it
  const basic = Buffer.from(`${user}:${secret}`).toString("base64");
  const userInfo = [username, password, user!, secret!, ...(secret === "" ? [] : [basic])];
  const bare = Object.values(headers).map((text) => text.replace(/^(bearer|basic|token)\s+/i, ""));
  return [...userInfo, ...searchParams.values(), ...Object.values(headers), ...bare]
    .filter((text) => text.length >= 6);
}

/**
 * What an http source is fetched from: its URL, or below its connection's.
 *
 * @throws {Problem} `invalid-conf` for an unknown connection, `source-refused` for a URL of another server.
 */
export function httpTarget(
  { url, connection: name }: HttpConf,
  { http: connections }: { http: Record<string, HttpConnection> },
): HttpTarget {
  if (name === undefined) return { url, headers: {} };
  const connection = Object.hasOwn(connections, name) ? connections[name] : undefined;
  if (connection === undefined) {
    const known = Object.keys(connections).sort();
    throw new Problem("invalid-conf", {
      detail:
        `There is no connection "${name}" for http sources: set ETL_CONNECTION_${name.toUpperCase()} ` +
        "to its URL, or to JSON with url and headers, and restart the server." +
        (known.length > 0 ? ` Known: ${known.join(", ")}.` : ""),
      errors: [{ field: "source.connection", message: "unknown", value: name }],
    });
  }
  const base = new URL(connection.url);
  if (!base.pathname.endsWith("/") && url !== "") base.pathname += "/";
  const target = URL.canParse(url, base) ? new URL(url, base) : undefined;
  if (target === undefined || target.origin !== base.origin) {
    throw new Problem("source-refused", {
      detail:
        `source.url leads away from the server of connection "${name}": give the part that follows its URL.`,
      errors: [{
        field: "source.url",
        message: "leads away from the connection's server",
        expected: 'a URL relative to the connection\'s, such as "exports/day.csv"',
      }],
    });
  }
  target.username = base.username;
  target.password = base.password;
  for (const [key, value] of base.searchParams) {
    if (!target.searchParams.has(key)) target.searchParams.append(key, value);
  }
  return { url: target.href, headers: connection.headers };
}
