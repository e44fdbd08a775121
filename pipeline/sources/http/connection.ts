import { type Message, say } from "../../../vocabulary/messages.ts";
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
  const wrong = (what: Message) =>
    new Problem("invalid-conf", {
      detail: say("http-connection-wrong", { variable, what }),
    });
  let given: unknown = { url: value.trim() };
  if (value.trimStart().startsWith("{")) {
    try {
      given = JSON.parse(value);
    } catch {
      throw wrong(say("begins-as-json", {}));
    }
  }
  const { url, headers = {}, ...rest } = given as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw wrong(say("more-than-url", {}));
  if (typeof url !== "string" || !URL.canParse(url)) throw wrong(say("has-no-url", {}));
  const { protocol, hash } = new URL(url);
  if (protocol !== "http:" && protocol !== "https:") throw wrong(say("url-not-http", {}));
  if (hash !== "") throw wrong(say("url-with-hash", {}));
  if (typeof headers !== "object" || headers === null || Array.isArray(headers)) {
    throw wrong(say("headers-no-object", {}));
  }
  for (const [name, text] of Object.entries(headers)) {
    if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) throw wrong(say("header-no-name", {}));
    if (typeof text !== "string" || /[^\t\x20-\x7e\x80-\xff]/.test(text)) {
      throw wrong(say("header-no-line", { name }));
    }
    if (
      /^(host|connection|content-length|transfer-encoding|range|if-range|accept-encoding)$/i.test(
        name,
      )
    ) {
      throw wrong(say("header-not-yours", { name }));
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
    const list = Object.keys(connections).sort().join(", ");
    const wanted = { name, variable: `ETL_CONNECTION_${name.toUpperCase()}` };
    throw new Problem("invalid-conf", {
      detail: list === ""
        ? say("no-http-connection", wanted)
        : say("no-http-connection-known", { ...wanted, list }),
      errors: [{ field: "source.connection", message: "unknown", value: name }],
    });
  }
  const base = new URL(connection.url);
  if (!base.pathname.endsWith("/") && url !== "") base.pathname += "/";
  const target = URL.canParse(url, base) ? new URL(url, base) : undefined;
  if (target === undefined || target.origin !== base.origin) {
    throw new Problem("source-refused", {
      detail: say("url-leads-away", { name }),
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
