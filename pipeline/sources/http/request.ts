import { type Message, say } from "../../../vocabulary/messages.ts";
import http from "node:http";
import https from "node:https";
import type { IncomingMessage, RequestOptions } from "node:http";
import { finished, type Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { Problem } from "../../../vocabulary/problem.ts";
import {
  type Address,
  allowedAddresses,
  type GuardOptions,
  hostOf,
  notPermitted,
} from "./address_guard.ts";

/** Attempts in a row that may bring less than {@linkcode MIN_PROGRESS_BYTES}. */
const MAX_FRUITLESS = 5;
/** What an attempt that is cut must have brought, unless all is there: so much, and a thousandth of the whole. */
const MIN_PROGRESS_BYTES = 16 * 1024;
/** What must come in each window of `paceMs`: 218 bytes a second. */
const MIN_PACE_BYTES = 64 * 1024;
const MAX_DELAY_MS = 30_000;
/** How long a server may make us wait in all. */
const MAX_WAIT_MS = 300_000;
/** Characters of a server's words that are shown. */
const MAX_WORDS = 100;

/** What the server said that may be different, or gone, a moment later. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  constructor(message: string, readonly retryAfterMs?: number) {
    super(message);
  }
}

/** Content comes, but so slowly that it might never end. */
class TooSlow extends Error {}

/** How often, and after what pauses, something is asked for again that could not be fetched whole. */
export class Retries {
  readonly #label: string;
  readonly #initialMs: number;
  readonly #signal: AbortSignal;
  #attempts = 1;
  #fruitless = 0;
  #waitedMs = 0;
  readonly #paceMs: number;
  #pace = { since: performance.now(), bytes: 0 };

  constructor(label: string, { signal, retryInitialMs = 250, paceMs = 300_000 }: {
    signal: AbortSignal;
    /** First pause, in milliseconds; doubles each time. */
    retryInitialMs?: number | undefined;
    /** Milliseconds in which 64 KiB must come, while content comes. */
    paceMs?: number | undefined;
  }) {
    this.#label = label;
    this.#initialMs = retryInitialMs;
    this.#signal = signal;
    this.#paceMs = paceMs;
  }

  /**
   * Content came. Windows go on over attempts and parts, so that many short answers are no way around them.
   *
   * @throws {TooSlow} which `pause` turns into the end.
   */
  received(bytes: number): void {
    const now = performance.now();
    this.#pace.bytes += bytes;
    const ms = now - this.#pace.since;
    if (ms < this.#paceMs) return;
    if (this.#pace.bytes < MIN_PACE_BYTES) {
      throw new TooSlow(
        `${this.#pace.bytes} bytes in ${Math.round(ms / 1000)} s; the least is ${
          MIN_PACE_BYTES / 1024
        } KiB in ${this.#paceMs / 1000} s`,
      );
    }
    this.#pace = { since: now, bytes: 0 };
  }

  /** A part came as it was asked for. */
  succeeded(): void {
    this.#fruitless = 0;
  }

  /**
   * Waits before another attempt. `brought`: bytes that the last one has added to what is `total` bytes in all. A server
   * that cuts every answer short must not cost an attempt for each few bytes.
   *
   * @throws what was wrong, where another attempt cannot help; {Problem} `source-unreadable`, transient, after too many.
   */
  async pause(
    error: unknown,
    { brought, total }: { brought: number; total: number },
  ): Promise<void> {
    this.#signal.throwIfAborted();
    if (error instanceof Problem && !error.transient) throw error;
    if (error instanceof TooSlow) throw this.#givenUp(error);
    if (!isPassing(error)) throw error;
    const progressed = brought >= Math.max(MIN_PROGRESS_BYTES, total / 1000);
    this.#fruitless = progressed ? 0 : this.#fruitless + 1;
    if (this.#fruitless >= MAX_FRUITLESS) throw this.#givenUp(error);
    this.#attempts++;
    const pause = Math.min(MAX_DELAY_MS, this.#initialMs * 2 ** this.#fruitless);
    const asked = error instanceof Interrupted ? error.retryAfterMs ?? 0 : 0;
    const wait = Math.max(asked, pause * (0.5 + Math.random() / 2));
    this.#waitedMs = this.#fruitless === 0 ? wait : this.#waitedMs + wait;
    if (this.#waitedMs > MAX_WAIT_MS) throw this.#givenUp(error, asked);
    await delay(wait, undefined, { signal: this.#signal });
    // what the pause took is not the server's
    this.#pace.since += wait;
  }

  #givenUp(error: unknown, askedMs = 0): Problem {
    if (error instanceof Problem) return error;
    const said = error instanceof Error ? error.message : String(error);
    const message = askedMs > 0 ? `${said}, come back in ${Math.ceil(askedMs / 1000)} s` : said;
    return new Problem("source-unreadable", {
      detail: say("not-fetched", { url: this.#label, n: this.#attempts, error: message }),
      transient: true,
      cause: error,
    });
  }
}

/**
 * Milliseconds that Retry-After asks to wait, in seconds or as a date (RFC 9110, 10.2.3); a date
 * counts from the server's own clock where it tells it.
 */
export function retryAfterMs(headers: IncomingMessage["headers"]): number | undefined {
  const text = headers["retry-after"]?.trim();
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  const until = Date.parse(text);
  const now = Date.parse(headers.date ?? "");
  if (Number.isNaN(until)) return undefined;
  return Math.max(0, until - (Number.isNaN(now) ? Date.now() : now));
}

/** A server's own words in a message: short, and nothing in them that steers a terminal. */
export function shown(words: string): string {
  const some = words.length > MAX_WORDS ? `${words.slice(0, MAX_WORDS)}…` : words;
  return some.replaceAll(/\p{Cc}/gu, "�");
}

/** Whether another attempt may help. Errors of the disk and of our own are not of that kind. */
function isPassing(error: unknown): boolean {
  if (error instanceof Interrupted || error instanceof Problem) return true;
  if (!(error instanceof Error)) return false;
  const code = "code" in error ? String(error.code) : "";
  return code.startsWith("ECONN") || code.startsWith("EHOST") || code.startsWith("ENET") ||
    code === "EPIPE" || code === "ETIMEDOUT" || code === "ERR_STREAM_PREMATURE_CLOSE" ||
    code.startsWith("HPE_") || code.startsWith("EAI_") || /no byte for|socket/i.test(error.message);
}

/**
 * The content of an answer, also what had come before its connection was cut: iterated over, a stream that has failed gives
 * nothing any more of what it holds, and who is slow to write would get a file from its beginning only.
 */
export async function* contentOf(response: Readable): AsyncGenerator<Uint8Array> {
  let over: { error: unknown } | null = null;
  let wake = () => {};
  finished(response, { writable: false }, (error) => {
    over = { error: error ?? null };
    wake();
  });
  response.on("readable", () => wake());
  while (true) {
    const chunk: Uint8Array | null = response.read();
    if (chunk !== null) {
      yield chunk;
      continue;
    }
    if (over !== null) {
      const { error } = over as { error: unknown };
      if (error !== null) throw error;
      return;
    }
    await new Promise<void>((resolve) => wake = resolve);
  }
}

const MAX_REDIRECTS = 5;

/** A URL for messages: no credentials, and no query, which often holds them. */
export function publicUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

export interface GetOptions {
  guard: GuardOptions;
  headers: Record<string, string>;
  /** Sent to the server of the first URL only, wherever redirects lead. */
  ownHeaders?: Record<string, string>;
  /** Milliseconds without a byte after which the request fails. */
  idleTimeoutMs: number;
  signal: AbortSignal;
  /** Redirects that are followed; beyond 0 of them an answer is given as it is. Default 5. */
  redirects?: number;
}

/** The answer to a GET and where it came from, its redirects followed; its body must be read or destroyed. */
export async function get(
  start: URL,
  options: GetOptions,
): Promise<{ response: IncomingMessage; url: URL }> {
  let url = start;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const addresses = await allowedAddresses(url, options.guard);
    const own = url.origin === start.origin ? options.ownHeaders : {};
    const response = await getOnce(url, addresses, {
      ...options,
      headers: { ...own, ...options.headers },
    });
    const status = response.statusCode ?? 0;
    const location = response.headers.location;
    if (
      ![301, 302, 303, 307, 308].includes(status) || location === undefined ||
      options.redirects === 0
    ) {
      return { response, url };
    }
    response.destroy();
    url = redirected(url, location);
  }
  throw new Problem("source-unreadable", {
    detail: say("url-many-redirects", { url: publicUrl(start), n: MAX_REDIRECTS }),
  });
}

function redirected(from: URL, location: string): URL {
  const to = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const refused = (detail: Message) => new Problem("source-refused", { detail });
  const url = publicUrl(from);
  if (to === undefined) throw refused(say("redirects-no-url", { url }));
  if (to.protocol !== "http:" && to.protocol !== "https:") {
    throw refused(say("redirects-no-http", { url, protocol: to.protocol }));
  }
  if (from.protocol === "https:" && to.protocol === "http:") {
    throw refused(say("redirects-unencrypted", { url, to: publicUrl(to) }));
  }
  if (to.username === "" && to.password === "" && to.origin === from.origin) {
    to.username = from.username;
    to.password = from.password;
  }
  return to;
}

function credentialsOf(url: URL): string {
  try {
    return `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  } catch {
    throw new Problem("source-refused", {
      detail: say("url-credentials", { url: publicUrl(url) }),
    });
  }
}

function getOnce(url: URL, addresses: Address[], options: GetOptions): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const settings: RequestOptions = {
    host: hostOf(url),
    port: url.port === "" ? undefined : Number(url.port),
    path: url.pathname + url.search,
    headers: { host: url.host, "accept-encoding": "identity", ...options.headers },
    // A connection of its own to one of the checked addresses, whatever the name says by then.
    agent: false,
    lookup: (_host, { all }, callback) => {
      const first = addresses[0]!;
      if (all) callback(null, addresses);
      else callback(null, first.address, first.family);
    },
  };
  if (url.username !== "" || url.password !== "") {
    settings.auth = credentialsOf(url);
  }
  const request = (url.protocol === "https:" ? https : http).get(settings, resolve);
  // interim answers and slow headers keep the socket busy and are no answer
  const silent = (what: string) => new Interrupted(`no ${what} for ${options.idleTimeoutMs} ms`);
  const silence = setTimeout(() => request.destroy(silent("answer")), options.idleTimeoutMs);
  // after this there is no answer any more, whoever still waits for one
  request.on("upgrade", (_response, socket) => {
    socket.destroy();
    reject(
      new Problem("source-unreadable", {
        detail: say("url-other-protocol", { url: publicUrl(url) }),
      }),
    );
  });
  request.on("error", (error: Error & { code?: string }) => {
    const forbidden = error.code === "EPERM" || error.name === "NotCapable";
    reject(forbidden ? notPermitted(url.host, error) : error);
  });
  let response: IncomingMessage | undefined;
  request.setTimeout(options.idleTimeoutMs, () => {
    // who reads an answer is told by it, else only that it was aborted
    if (response === undefined) request.destroy(silent("answer"));
    else response.destroy(silent("byte of content"));
  });
  const abort = () => {
    request.destroy(options.signal.reason);
    reject(options.signal.reason);
  };
  options.signal.addEventListener("abort", abort, { once: true });
  request.on("close", () => options.signal.removeEventListener("abort", abort));
  promise.then((answer) => response = answer, () => {}).finally(() => clearTimeout(silence));
  return promise;
}
