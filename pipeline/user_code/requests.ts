import http from "node:http";
import https from "node:https";
import { lookup as dnsLookup } from "node:dns/promises";
import type { IncomingMessage } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import {
  type Address,
  allowedAddresses,
  hostOf,
  type Lookup,
  notPermitted,
} from "../sources/http/address_guard.ts";
import { type HttpConnection, httpTarget } from "../sources/http/connection.ts";
import type { SourceLimits } from "../sources/source.ts";
import { type Message, say } from "../../vocabulary/messages.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { cut, type SourceRequest } from "./messages.ts";
import { ObtainedSecrets } from "./obtained_secrets.ts";

/** Attempts that one request may have. */
const MAX_ATTEMPTS = 8;
/** How long servers may make one request wait in all. */
const MAX_WAIT_MS = 300_000;
const MAX_DELAY_MS = 30_000;
const MAX_REDIRECTS = 5;
/** Bytes of an answer: more is a file for an http source, or wants smaller pages. */
const MAX_ANSWER_BYTES = 64 * 1024 ** 2;
const IDLE_MS = 30_000;
/** Requests under way at once, of one module in one worker. */
const MAX_AT_ONCE = 4;
/** Headers that a module may not set. */
const OURS =
  /^(host|connection|content-length|transfer-encoding|accept-encoding|expect|upgrade|proxy-.*)$/i;
/** Headers that may hold what is meant for one server only. */
const FOR_ONE_SERVER = /auth|cookie|key|token|secret|pass|session|sign|cred/i;

export interface RequesterOptions {
  /** Those that the conf gives to the source, with their secrets. */
  connections: Record<string, HttpConnection>;
  limits: SourceLimits;
  /** First pause before another attempt, in milliseconds; doubles each time. Default 500. */
  retryInitialMs?: number;
  /** Default dns.lookup. */
  lookup?: Lookup;
}

export interface SourceAnswer {
  status: number;
  headers: [string, string][];
  body: Uint8Array<ArrayBuffer>;
  /** Without what its connection adds: user, password and parameters of the query. */
  url: string;
}

interface Target {
  url: URL;
  own: HttpConnection;
  /** Parameters of the query that the connection adds, which may be secrets. */
  hidden: string[];
}

/**
 * Carries out what source modules ask of servers: only of those that the module lists or a connection
 * names, as far as this server may read from them. Waits as the server says, tries again what may pass,
 * and adds the credentials of a connection to requests to its server, and to no other.
 */
export class Requester {
  readonly #options: RequesterOptions;
  readonly #waiting: (() => void)[] = [];
  readonly #secrets: ObtainedSecrets;
  #underWay = 0;

  /** @param secrets Told what requests and answers have of the kind. */
  constructor(options: RequesterOptions, secrets = new ObtainedSecrets()) {
    this.#options = options;
    this.#secrets = secrets;
  }

  /** @throws {Problem} `source-refused`, `source-unreadable` (transient where another try may help). */
  async ask(request: SourceRequest, hosts: string[]): Promise<SourceAnswer> {
    this.#secrets.request(request);
    await this.#place();
    try {
      return await this.#retried(request, hosts);
    } finally {
      this.#underWay--;
      this.#waiting.shift()?.();
    }
  }

  async #place(): Promise<void> {
    if (this.#underWay >= MAX_AT_ONCE) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#underWay++;
  }

  async #retried(request: SourceRequest, hosts: string[]): Promise<SourceAnswer> {
    const { retryInitialMs = 500 } = this.#options;
    const target = this.#target(request, hosts);
    let waited = 0;
    for (let attempt = 1;; attempt++) {
      let why: string;
      let askedMs: number | undefined;
      try {
        const answer = await this.#once(request, target, hosts);
        if (!isPassing(answer.status)) return answer;
        why = `it answers ${answer.status}`;
        askedMs = retryAfterMs(answer.headers);
      } catch (error) {
        if (error instanceof Problem && !error.transient) throw error;
        why = error instanceof Error ? error.message : String(error);
      }
      const backoff = Math.min(retryInitialMs * 2 ** (attempt - 1), MAX_DELAY_MS);
      const pause = askedMs ?? backoff * (0.75 + Math.random() / 2);
      if (attempt >= MAX_ATTEMPTS || waited + pause > MAX_WAIT_MS) {
        const told = askedMs === undefined
          ? why
          : `${why}, come back in ${Math.ceil(askedMs / 1000)} s`;
        throw new Problem("source-unreadable", {
          detail: say("request-no-answer", { url: shownUrl(target.url), n: attempt, why: told }),
          transient: true,
        });
      }
      waited += pause;
      await delay(pause);
    }
  }

  /** Where a request goes: below a connection, or to a server that the module lists. */
  #target({ url, connection }: SourceRequest, hosts: string[]): Target {
    const { connections } = this.#options;
    const names = Object.keys(connections);
    const absolute = URL.canParse(url) ? new URL(url) : null;
    const meant = connection ??
      (absolute === null
        ? names.length === 1 ? names[0] : undefined
        : names.find((name) => new URL(connections[name]!.url).origin === absolute.origin));
    if (meant !== undefined) {
      if (!Object.hasOwn(connections, meant)) {
        throw new Problem("source-refused", {
          detail: say("request-connection", {
            name: meant,
            variable: `ETL_CONNECTION_${meant.toUpperCase()}`,
          }),
          errors: [{ field: "source.connections", message: `lacks ${meant}`, expected: meant }],
        });
      }
      const own = httpTarget({ type: "http", url, connection: meant }, { http: connections });
      const hidden = [...new URL(connections[meant]!.url).searchParams.keys()];
      return { url: new URL(own.url), own, hidden };
    }
    if (absolute === null) {
      throw new Problem("source-refused", {
        detail: say(names.length === 0 ? "request-no-connection" : "request-no-name", {
          url: cut(url, 200),
        }),
      });
    }
    if (absolute.protocol !== "http:" && absolute.protocol !== "https:") {
      throw new Problem("source-refused", {
        detail: say("request-protocol", { protocol: absolute.protocol }),
      });
    }
    requireListed(absolute, hosts);
    return { url: absolute, own: { url, headers: {} }, hidden: [] };
  }

  async #once(
    { method, headers, body }: SourceRequest,
    target: Target,
    hosts: string[],
  ): Promise<SourceAnswer> {
    const { limits, lookup = (host) => dnsLookup(host, { all: true }) } = this.#options;
    if (!["GET", "HEAD", "POST"].includes(method)) {
      throw new Problem("source-refused", {
        detail: say("request-method", { method: method.slice(0, 20) }),
      });
    }
    const given = Object.entries(headers).filter(([name]) => !OURS.test(name));
    let url = target.url;
    let send = { method, body };
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const addresses = await allowedAddresses(url, {
        hosts: limits.httpHosts,
        allowPrivateHosts: limits.allowPrivateHosts,
        lookup,
      });
      const same = url.origin === target.url.origin;
      const mine = same ? given : given.filter(([name]) => !FOR_ONE_SERVER.test(name));
      const response = await exchange(url, addresses, {
        ...send,
        headers: {
          accept: "*/*",
          "user-agent": "etl-improved",
          ...Object.fromEntries(mine),
          ...(same ? target.own.headers : {}),
        },
      });
      const status = response.statusCode ?? 0;
      const { location, "set-cookie": cookies = [] } = response.headers;
      this.#secrets.cookies(cookies);
      if (location !== undefined) this.#secrets.address(location);
      if (![301, 302, 303, 307, 308].includes(status) || location === undefined) {
        const answer = await received(url, response, target.hidden);
        this.#secrets.answer(answer.body);
        return answer;
      }
      response.destroy();
      const next = URL.canParse(location, url) ? new URL(location, url) : null;
      if (next === null || !/^https?:$/.test(next.protocol)) {
        throw refused(say("redirects-no-http-url", { url: shownUrl(url) }));
      }
      if (url.protocol === "https:" && next.protocol === "http:") {
        throw refused(say("redirects-not-encrypted", { url: shownUrl(url) }));
      }
      if (next.origin === target.url.origin) {
        next.username = target.url.username;
        next.password = target.url.password;
      } else if (next.origin !== url.origin) requireListed(next, hosts);
      if (status === 303) send = { method: method === "HEAD" ? "HEAD" : "GET", body: null };
      url = next;
    }
    throw refused(say("redirects-often", { url: shownUrl(target.url), n: MAX_REDIRECTS }));
  }
}

const refused = (detail: Message): Problem => new Problem("source-refused", { detail });

function requireListed(url: URL, hosts: string[]): void {
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const host = `${url.hostname}:${port}`;
  const names = [url.hostname, host];
  if (hosts.some((each) => names.includes(each.trim().toLowerCase()))) return;
  throw new Problem("source-refused", {
    detail: hosts.length === 0
      ? say("request-not-listed", { host, named: host })
      : say("request-not-among", { host, named: host, list: hosts.join(", ") }),
  });
}

function shownUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

const isPassing = (status: number) =>
  status === 429 || status === 408 || status >= 500 && status !== 501 && status !== 505;

/** Milliseconds that Retry-After asks to wait, in seconds or as a date (RFC 9110, 10.2.3). */
function retryAfterMs(headers: [string, string][]): number | undefined {
  const of = (wanted: string) => headers.find(([name]) => name === wanted)?.[1].trim();
  const text = of("retry-after");
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  const until = Date.parse(text);
  const now = Date.parse(of("date") ?? "");
  if (Number.isNaN(until)) return undefined;
  return Math.max(0, until - (Number.isNaN(now) ? Date.now() : now));
}

interface Send {
  method: string;
  headers: Record<string, string>;
  body: string | null;
}

/** One request to one of the checked addresses, whatever the name says by then. */
function exchange(
  url: URL,
  addresses: Address[],
  { method, headers, body }: Send,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const bytes = body === null ? null : new TextEncoder().encode(body);
  const secret = url.username !== "" || url.password !== "";
  const request = (url.protocol === "https:" ? https : http).request({
    host: hostOf(url),
    port: url.port === "" ? undefined : Number(url.port),
    path: url.pathname + url.search,
    method,
    headers: {
      ...headers,
      host: url.host,
      "accept-encoding": "gzip, identity",
      ...(bytes === null ? {} : { "content-length": String(bytes.length) }),
    },
    ...(secret
      ? { auth: `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}` }
      : {}),
    agent: false,
    lookup: (_host, { all }, callback) => {
      const first = addresses[0]!;
      if (all) callback(null, addresses);
      else callback(null, first.address, first.family);
    },
  }, resolve);
  const silent = () => request.destroy(new Error(`no answer for ${IDLE_MS / 1000} s`));
  const silence = setTimeout(silent, IDLE_MS);
  request.setTimeout(IDLE_MS, silent);
  request.on("upgrade", (_response, socket) => {
    socket.destroy();
    reject(new Error("it switches to another protocol instead of answering"));
  });
  request.on("error", (error: Error & { code?: string }) => {
    const forbidden = error.code === "EPERM" || error.name === "NotCapable";
    reject(forbidden ? notPermitted(url.host, error) : error);
  });
  const answered = () => clearTimeout(silence);
  promise.then(answered, answered);
  request.end(bytes ?? undefined);
  return promise;
}

async function received(
  url: URL,
  response: IncomingMessage,
  hidden: string[],
): Promise<SourceAnswer> {
  const gzip = /^(x-)?gzip$/i.test(response.headers["content-encoding"] ?? "");
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async start(controller) {
      try {
        for await (const chunk of response) controller.enqueue(new Uint8Array(chunk));
        controller.close();
      } catch (error) {
        controller.error(error);
      }
    },
    cancel: () => void response.destroy(),
  });
  const parts: Uint8Array[] = [];
  let length = 0;
  const bytes = gzip ? stream.pipeThrough(new DecompressionStream("gzip")) : stream;
  for await (const part of bytes) {
    parts.push(part);
    length += part.length;
    if (length <= MAX_ANSWER_BYTES) continue;
    response.destroy();
    throw new Problem("source-unreadable", {
      detail: say("request-large", { url: shownUrl(url), n: MAX_ANSWER_BYTES / 1024 ** 2 }),
    });
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.length;
  }
  const shown = new URL(url);
  shown.username = shown.password = "";
  for (const name of hidden) shown.searchParams.delete(name);
  const headers = Object.entries(response.headers).flatMap(([name, value]) =>
    value === undefined || name === "set-cookie" || name === "content-encoding"
      ? []
      : [[name, [value].flat().join(", ")] as [string, string]]
  );
  return { status: response.statusCode ?? 0, headers, body, url: shown.href };
}
