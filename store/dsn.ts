import { isAbsolute } from "node:path";
import { Problem, TerminalProblem } from "../vocabulary/problem.ts";

/** A machine of a connection string; `host` without brackets, or the directory of a Unix socket. */
export interface DsnHost {
  host: string;
  port: number;
}

/** What a connection string says, decoded. */
export interface Dsn {
  /** In the order in which they are tried; at least one. */
  hosts: DsnHost[];
  user?: string;
  password?: string;
  database?: string;
  /** The rest, by libpq's names. */
  parameters: Map<string, string>;
}

const HOSTS = String
  .raw`(?:(?:\[[0-9A-Fa-f:.%a-z]*\]|[^\[\]@:/?#,\s]*)(?::\d*)?)(?:,(?:\[[0-9A-Fa-f:.%a-z]*\]|[^\[\]@:/?#,\s]*)(?::\d*)?)*`;
/** What may follow the user and password. A slash or an at sign in the database's name has to be encoded. */
const ADDRESS = new RegExp(
  String.raw`^(${HOSTS})(?:/([^/@?]*))?(?:\?((?:[A-Za-z_]+=[^&]*(?:&|$))*))?$`,
  "s",
);

/**
 * Reads a connection string as libpq does (section 34.1.1 of PostgreSQL's manual): as a URL, with
 * several hosts and IPv6 literals, or as `key=value` pairs. More lenient in one thing: a character
 * that should have been percent-encoded counts as itself where that is unambiguous. The drivers'
 * own parsers differ from each other in all of this, so they get fields, never the text.
 *
 * @throws {Problem} `invalid-conf`, which never shows the text, as it holds a password.
 */
export function parseDsn(text: string): Dsn {
  const scheme = /^postgres(?:ql)?:\/\//i.exec(text);
  if (scheme !== null) return fromUrl(text.slice(scheme[0].length));
  if (/^\s*[a-z_]+\s*=/.test(text)) return fromPairs(text);
  throw malformed("It begins with neither");
}

/** A connection string to a database that sources read: PostgreSQL, or mysql://… and mariadb://…, by the same rules. */
export function parseSourceDsn(text: string): Dsn {
  const scheme = /^(?:mysql|mariadb):\/\//i.exec(text);
  return scheme === null ? parseDsn(text) : fromUrl(text.slice(scheme[0].length), 3306);
}

/** Whether a text has the form of a connection string. */
export function isDsn(text: string): boolean {
  try {
    parseSourceDsn(text);
    return true;
  } catch {
    return false;
  }
}

function fromUrl(rest: string, defaultPort = 5432): Dsn {
  // the first at sign that leaves an address, so that passwords may have others
  for (let at = -1;; at = rest.indexOf("@", at + 1)) {
    const address = ADDRESS.exec(rest.slice(at + 1));
    const userInfo = at < 0 ? "" : rest.slice(0, at);
    if (address !== null) return assembled(userInfo, address, defaultPort);
    if (rest.indexOf("@", at + 1) < 0) break;
  }
  throw malformed(whatIsWrong(rest));
}

function assembled(
  userInfo: string,
  [, hostList, database, query]: RegExpExecArray,
  defaultPort: number,
): Dsn {
  const colon = userInfo.indexOf(":");
  const user = decoded(colon < 0 ? userInfo : userInfo.slice(0, colon));
  const password = colon < 0 ? "" : decoded(userInfo.slice(colon + 1));
  const parameters = new Map(
    (query ?? "").split("&").filter(Boolean).map((pair) => {
      const equals = pair.indexOf("=");
      return [pair.slice(0, equals), decoded(pair.slice(equals + 1))] as const;
    }),
  );
  const hosts = hostList!.split(",").map((each) => {
    const [, bracketed, plain, port] = /^(?:\[(.*)\]|([^:]*))(?::(\d*))?$/.exec(each)!;
    return { host: bracketed ?? decoded(plain!), port: port ?? "" };
  });
  return settled({
    user,
    password,
    database: decoded(database ?? ""),
    hosts: hosts.map(({ host }) => host),
    ports: hosts.map(({ port }) => port || `${defaultPort}`),
    parameters,
  });
}

const PAIR = /\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s\\']|\\.)*))(?=\s|$)/ys;

function fromPairs(text: string): Dsn {
  const parameters = new Map<string, string>();
  PAIR.lastIndex = 0;
  while (PAIR.lastIndex < text.trimEnd().length) {
    const pair = PAIR.exec(text);
    if (pair === null) throw malformed("A value with a space or a quote is written 'in quotes'.");
    parameters.set(pair[1]!, (pair[2] ?? pair[3]!).replaceAll(/\\(.)/gs, "$1"));
  }
  return settled({ user: "", password: "", database: "", hosts: [], ports: [], parameters });
}

interface Parts {
  user: string;
  password: string;
  database: string;
  hosts: string[];
  ports: string[];
  parameters: Map<string, string>;
}

/** Parameters that say what the URL says elsewhere take its place, as in libpq. */
function settled(parts: Parts): Dsn {
  const { parameters } = parts;
  const taken = (name: string) => {
    const value = parameters.get(name);
    parameters.delete(name);
    return value || undefined;
  };
  const user = taken("user") ?? parts.user;
  const password = taken("password") ?? parts.password;
  const database = taken("dbname") ?? parts.database;
  const hosts = taken("host")?.split(",") ?? parts.hosts;
  const ports = taken("port")?.split(",") ?? parts.ports;
  if (hosts.length === 0) hosts.push("");
  if (ports.length > 1 && ports.length !== hosts.length) {
    throw malformed(`It names ${hosts.length} hosts and ${ports.length} ports.`);
  }
  return {
    hosts: hosts.map((host, i) => ({
      host: host.replace(/^\[(.*)\]$/, "$1") || "localhost",
      port: portOf(ports.length === 1 ? ports[0]! : ports[i] ?? ""),
    })),
    ...(user === "" ? {} : { user }),
    ...(password === "" ? {} : { password }),
    ...(database === "" ? {} : { database }),
    parameters,
  };
}

function portOf(text: string): number {
  const port = text === "" ? 5432 : Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw malformed("A port is a number from 1 to 65535.");
}

/** Percent-encoded parts decoded; a percent sign that begins none is one. */
function decoded(text: string): string {
  return text.replaceAll(/(?:%[0-9A-Fa-f]{2})+/g, (bytes) => {
    try {
      return decodeURIComponent(bytes);
    } catch {
      return bytes;
    }
  });
}

function whatIsWrong(rest: string): string {
  const after = rest.slice(rest.lastIndexOf("@") + 1);
  if (after.split("/").length > 2) return "A slash in user, password or database is written %2F.";
  if (/:(?!\d*(?:[,/?]|$))/.test(after.replace(/\[.*?\]/g, ""))) {
    return "A port is a number; an IPv6 address is written in brackets, as [::1].";
  }
  return "Special characters in user and password are percent-encoded: @ as %40, / as %2F.";
}

/** Without the text: it holds a password. */
function malformed(hint: string): Problem {
  const form = "postgres://user:password@host:5432/database";
  return new TerminalProblem("invalid-conf", {
    detail: hint.startsWith("It begins")
      ? `The connection string must be of the form ${form}, or pairs as in ` +
        "host=… dbname=… user=…."
      : `The connection string must be of the form ${form}. ${hint}`,
  });
}

/** The URL of a connection string: each part percent-encoded, IPv6 in brackets. */
export function formatDsn({ hosts, user, password, database, parameters }: Dsn): string {
  const code = encodeURIComponent;
  const userInfo = user === undefined && password === undefined
    ? ""
    : `${code(user ?? "")}${password === undefined ? "" : `:${code(password)}`}@`;
  const named = hosts.some(({ host }) => host.startsWith("/"))
    ? {
      list: "",
      query: [["host", hosts.map(({ host }) => host).join(",")], ["port", String(hosts[0]!.port)]],
    }
    : { list: hosts.map(hostAndPort).join(","), query: [] };
  const query = [...named.query, ...parameters].map(([name, value]) => `${name}=${code(value!)}`);
  return `postgres://${userInfo}${named.list}/${code(database ?? "")}` +
    (query.length === 0 ? "" : `?${query.join("&")}`);
}

/** The same connection string with another database. */
export function inDatabase(dsn: string, database: string): string {
  return formatDsn({ ...parseDsn(dsn), database });
}

function hostAndPort({ host, port }: DsnHost): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Host and port of each database server that a connection string names: "db:5432", "[::1]:5432". */
export function databaseAddresses(dsn: string): string[] {
  return parseSourceDsn(dsn).hosts.map(hostAndPort);
}

/** Where a connection string leads, for people: "db:5432", or "a:5432 or b:5432". */
export function databasePlace(dsn: string): string {
  return databaseAddresses(dsn).join(" or ");
}

/** Whether all hosts of a connection string are this machine. */
export function isNear(dsn: string): boolean {
  return parseDsn(dsn).hosts.every(({ host }) =>
    host.startsWith("/") || host === "localhost" || host === "::1" || /^127\./.test(host)
  );
}

/** Files that a connection string names for TLS. */
export function certificateFiles(dsn: string): string[] {
  const { parameters } = parseSourceDsn(dsn);
  return ["sslrootcert", "sslcert", "sslkey"]
    .flatMap((name) => parameters.get(name) ?? [])
    .filter(isAbsolute);
}

/** Whether a connection string leaves the password to PGPASSWORD. */
export function lacksPassword(dsn: string): boolean {
  return parseSourceDsn(dsn).password === undefined;
}

/** The password of a connection string in each form in which a text may show it. */
export function passwordForms(dsn: string): string[] {
  const { password } = parseSourceDsn(dsn);
  if (password === undefined) return [];
  const strict = encodeURIComponent(password);
  // as it was written, where it was neither plain nor encoded throughout
  const written = /:([^@]*(?:@[^@]*)*)@/.exec(dsn.replace(/^[^:]*:\/\//, ""))?.[1] ?? "";
  return [...new Set([password, strict, encodeURI(password), written])].filter((each) =>
    each !== "" && decoded(each) === password
  );
}
