import http from "node:http";
import https from "node:https";
import { createHash, type Hash, randomUUID } from "node:crypto";
import { lookup as dnsLookup } from "node:dns/promises";
import type { IncomingMessage, RequestOptions } from "node:http";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Problem } from "../../../vocabulary/problem.ts";
import { isArrow, isParquet } from "../local/detect_format.ts";
import { asDiskFull, type SpoolFile } from "../local/spool.ts";
import type { SourceLimits } from "../source.ts";
import {
  type Address,
  allowedAddresses,
  type GuardOptions,
  hostOf,
  type Lookup,
  notPermitted,
} from "./address_guard.ts";
import type { Compression } from "../local/streams.ts";

/** Attempts in a row that may bring less than {@linkcode MIN_PROGRESS_BYTES}. */
const MAX_FRUITLESS = 5;
/** What an attempt that is cut must have brought, unless all is there: so much, and a thousandth of the whole. */
const MIN_PROGRESS_BYTES = 16 * 1024;
/** What must come in each window of {@linkcode DownloadOptions.paceMs}: 218 bytes a second. */
const MIN_PACE_BYTES = 64 * 1024;
/** Enough to know a format by its first bytes. */
const HEAD_BYTES = 16;
const MAX_DELAY_MS = 30_000;
/** How long a server may make us wait in all. */
const MAX_WAIT_MS = 300_000;
/** Partial answers that one download may be made of. */
const MAX_PARTS = 10_000;
/** Codings of Content-Encoding that are undone one within the other; curl takes as many. */
const MAX_CODINGS = 5;
/** Characters of a server's words that are shown. */
const MAX_WORDS = 100;

export interface DownloadOptions {
  limits: SourceLimits;
  signal: AbortSignal;
  /** Stop after so many bytes, unless it is a Parquet or Arrow file; default all. */
  previewBytes?: number | undefined;
  /** First pause before another attempt, in milliseconds; doubles each time. Default 250. */
  retryInitialMs?: number;
  /** Default 30,000. */
  idleTimeoutMs?: number;
  /** Milliseconds in which 64 KiB must come, while content comes. Default 300,000. */
  paceMs?: number;
  /** Default dns.lookup. */
  lookup?: Lookup;
  /** Headers for the server of the URL. */
  headers?: Record<string, string>;
}

export interface Download extends SpoolFile {
  sha256: string;
  etag: string;
  lastModified: string;
  contentType: string;
  /** Codings of Content-Encoding that the bytes still have, the last applied first. */
  contentEncodings: Compression[];
  /** Name of the file by Content-Disposition, else by the address where redirects ended. */
  fileName: string;
  /** Where redirects ended. */
  finalUrl: URL;
  /** Whether nothing told where the content ends: no length, no chunks. */
  openEnded: boolean;
  /** Whether it stopped after `previewBytes`. */
  truncated: boolean;
}

/** What the server said that may be different, or gone, a moment later. */
class Interrupted extends Error {
  override readonly name = "Interrupted";
  constructor(message: string, readonly retryAfterMs?: number) {
    super(message);
  }
}

/** Content comes, but so slowly that it might never end. */
class TooSlow extends Error {}

/** How one request ended: with all of the content, one part of it, or as much as was wanted. */
type Outcome = "complete" | "part" | "previewed";

/**
 * Downloads a URL to `dir`/`name`; goes on where it was interrupted as long
 * as the server says that it is still the same content.
 *
 * @throws {Problem} `source-refused`, `source-unreadable` (transient where
 * another try may help), `disk-full`.
 */
export async function download(
  url: URL,
  target: { dir: string; name: string },
  options: DownloadOptions,
): Promise<Download> {
  const transfer = new Transfer(url, target, options);
  try {
    return await transfer.run();
  } catch (error) {
    throw asDiskFull(error, target.dir);
  } finally {
    await transfer.close();
  }
}

class Transfer {
  readonly #url: URL;
  readonly #label: string;
  readonly #options: DownloadOptions;
  readonly #dir: string;
  readonly #name: string;
  readonly #partial: string;
  #file: Deno.FsFile | undefined;
  #hash: Hash = createHash("sha256");
  #received = 0;
  #head = new Uint8Array(0);
  #validator: string | undefined;
  #headers: IncomingMessage["headers"] = {};
  #finalUrl: URL;
  /** Bytes of the whole content, once the server has told. */
  #total: number | undefined;
  #openEnded = false;
  #pace = { since: performance.now(), bytes: 0 };

  constructor(url: URL, target: { dir: string; name: string }, options: DownloadOptions) {
    this.#url = url;
    this.#finalUrl = url;
    this.#label = publicUrl(url);
    this.#options = options;
    this.#dir = target.dir;
    this.#name = target.name;
    this.#partial = join(target.dir, `${target.name}.${randomUUID()}.partial`);
  }

  async run(): Promise<Download> {
    const { signal, retryInitialMs = 250 } = this.#options;
    await Deno.mkdir(this.#dir, { recursive: true });
    this.#file = await Deno.open(this.#partial, { write: true, createNew: true });
    let fruitless = 0;
    let waited = 0;
    for (let attempt = 1, parts = 0;;) {
      const before = this.#received;
      try {
        const outcome = await this.#attempt();
        if (outcome !== "part") return await this.#finish(outcome);
        if (++parts >= MAX_PARTS) throw this.#refused(`comes in more than ${MAX_PARTS} parts`);
        fruitless = 0;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof Problem && !error.transient) throw error;
        if (error instanceof TooSlow) throw this.#givenUp(error, attempt);
        if (!isPassing(error)) throw error;
        fruitless = this.#hasProgressed(before) ? 0 : fruitless + 1;
        if (fruitless >= MAX_FRUITLESS) {
          throw this.#givenUp(error, attempt);
        }
        attempt++;
        const pause = Math.min(MAX_DELAY_MS, retryInitialMs * 2 ** fruitless);
        const asked = error instanceof Interrupted ? error.retryAfterMs ?? 0 : 0;
        const wait = Math.max(asked, pause * (0.5 + Math.random() / 2));
        waited = fruitless === 0 ? wait : waited + wait;
        if (waited > MAX_WAIT_MS) throw this.#givenUp(error, attempt, asked);
        await delay(wait, undefined, { signal });
        // what the pause took is not the server's
        this.#pace.since += wait;
      }
    }
  }

  /** A server that cuts every answer short must not cost an attempt for each few bytes. */
  #hasProgressed(before: number): boolean {
    const least = Math.max(MIN_PROGRESS_BYTES, (this.#total ?? this.#received) / 1000);
    return this.#received - before >= least;
  }

  async close(): Promise<void> {
    this.#file?.close();
    await Deno.remove(this.#partial).catch(() => {});
  }

  /** One request. */
  async #attempt(): Promise<Outcome> {
    const { limits, signal, idleTimeoutMs = 30_000 } = this.#options;
    const lookup = this.#options.lookup ?? ((host: string) => dnsLookup(host, { all: true }));
    const headers: Record<string, string> = {};
    const resuming = this.#received > 0 && this.#validator !== undefined;
    if (resuming) {
      headers.range = `bytes=${this.#received}-`;
      headers["if-range"] = this.#validator!;
    }
    const { response, url } = await get(this.#url, {
      guard: {
        hosts: limits.httpHosts,
        allowPrivateHosts: limits.allowPrivateHosts,
        lookup,
      },
      headers,
      ownHeaders: this.#options.headers ?? {},
      idleTimeoutMs,
      signal,
    });
    try {
      if (response.statusCode === 416 && resuming && this.#isWhole(response)) return "complete";
      this.#checkStatus(response);
      const partEnd = response.statusCode === 206
        ? this.#continued(response, resuming)
        : await this.#restart(response, url);
      const length = response.headers["content-length"];
      this.#checkSize(this.#received + Number(length ?? 0));
      // what comes and is no content (extensions of chunks, trailers) keeps the socket busy
      const silence = setTimeout(
        () => response.destroy(new Interrupted(`no byte of content for ${idleTimeoutMs} ms`)),
        idleTimeoutMs,
      );
      try {
        for await (const chunk of response as AsyncIterable<Uint8Array>) {
          await this.#write(chunk);
          this.#checkPace(chunk.length);
          silence.refresh();
          if (this.#isPreviewed()) return "previewed";
        }
      } finally {
        clearTimeout(silence);
      }
      if (!response.complete) throw new Interrupted("the connection was closed early");
      return this.#outcome(partEnd);
    } finally {
      response.destroy();
    }
  }

  /** What a body that was read to its end makes of the download; `partEnd`: byte after a part. */
  #outcome(partEnd: number | undefined): Outcome {
    const expected = partEnd ?? this.#total;
    if (expected !== undefined && this.#received < expected) {
      throw new Interrupted(`the connection was closed ${expected - this.#received} bytes early`);
    }
    if (expected !== undefined && this.#received > expected) {
      this.#validator = undefined;
      throw new Interrupted("the server sent more than it had announced");
    }
    if (partEnd === undefined) return "complete";
    // a total that nobody has told: asking for more tells whether there is more
    return this.#total === undefined || this.#received < this.#total ? "part" : "complete";
  }

  #checkStatus(response: IncomingMessage): void {
    const status = response.statusCode ?? 0;
    if (status === 200 || status === 206) return;
    const words = shown(response.statusMessage ?? "");
    const what = `${this.#label} answered ${status} ${words}`.trim();
    if (status === 408 || status === 416 || status === 425 || status === 429 || status >= 500) {
      if (status === 416) this.#validator = undefined;
      throw new Interrupted(what, retryAfterMs(response.headers));
    }
    const next = status === 401 || status === 403
      ? "Check its credentials and rights."
      : "Check the URL.";
    throw new Problem("source-unreadable", { detail: `${what}. ${next}` });
  }

  /** Whether "range not satisfiable" says that there is nothing after what we have. */
  #isWhole(response: IncomingMessage): boolean {
    const total = /^bytes \*\/(\d+)$/.exec(response.headers["content-range"] ?? "");
    return this.#total === undefined && total !== null && Number(total[1]) === this.#received;
  }

  /** Checks that a partial answer goes on where we stand; gives the byte after its last. */
  #continued(response: IncomingMessage, asked: boolean): number {
    const { headers } = response;
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers["content-range"] ?? "");
    if (!asked) {
      throw this.#refused(
        `answered 206 with a part of the content (${
          shown(headers["content-range"] ?? "which is not said")
        }) ` +
          "although all of it was asked for",
      );
    }
    const total = range === null || range[3] === "*" ? undefined : Number(range[3]);
    const same = sameContent(this.#headers, headers) &&
      (total === undefined || this.#total === undefined || total === this.#total);
    const end = Number(range?.[2]) + 1;
    const within = end > this.#received && end <= (total ?? this.#total ?? Number.MAX_SAFE_INTEGER);
    if (range === null || Number(range[1]) !== this.#received || !within || !same) {
      // Asking again without a range is the only way to get what we need.
      this.#validator = undefined;
      throw new Interrupted(
        same
          ? "the server answered with another range than asked for"
          : "the content changed while it was fetched",
      );
    }
    this.#total ??= total;
    return end;
  }

  /** Begins anew with an answer that holds all of the content. */
  async #restart(response: IncomingMessage, url: URL): Promise<undefined> {
    const { "content-length": length, "transfer-encoding": transfer } = response.headers;
    this.#total = length === undefined ? undefined : Number(length);
    // only chunks tell where they end (RFC 9112, 6.3)
    this.#openEnded = length === undefined && !/\bchunked\s*$/i.test(transfer ?? "");
    this.#finalUrl = url;
    this.#received = 0;
    this.#head = new Uint8Array(0);
    this.#hash = createHash("sha256");
    await this.#file!.truncate(0);
    await this.#file!.seek(0, Deno.SeekMode.Start);
    this.#headers = response.headers;
    const { etag } = response.headers;
    this.#validator = etag !== undefined && !etag.startsWith("W/")
      ? etag
      : response.headers["last-modified"];
    contentEncodings(this.#label, response.headers);
  }

  #refused(what: string): Problem {
    return new Problem("source-unreadable", { detail: `${this.#label} ${what}. Check the URL.` });
  }

  async #write(chunk: Uint8Array): Promise<void> {
    this.#received += chunk.length;
    this.#checkSize(this.#received);
    if (this.#head.length < HEAD_BYTES) {
      this.#head = Uint8Array.from([...this.#head, ...chunk.subarray(0, HEAD_BYTES)]);
    }
    this.#hash.update(chunk);
    for (let from = 0; from < chunk.length;) from += await this.#file!.write(chunk.subarray(from));
  }

  #checkSize(bytes: number): void {
    const { maxSpoolBytes } = this.#options.limits;
    if (bytes <= maxSpoolBytes || this.#options.previewBytes !== undefined) return;
    throw new Problem("source-unreadable", {
      detail: `${this.#label} is larger than ${maxSpoolBytes} bytes, which is the limit. ` +
        "Load it in smaller files, or raise the limit.",
    });
  }

  /** Windows go on over attempts and parts, so that many short answers are no way around them. */
  #checkPace(bytes: number): void {
    const { paceMs = 300_000 } = this.#options;
    const now = performance.now();
    this.#pace.bytes += bytes;
    const ms = now - this.#pace.since;
    if (ms < paceMs) return;
    if (this.#pace.bytes < MIN_PACE_BYTES) {
      throw new TooSlow(
        `${this.#pace.bytes} bytes in ${Math.round(ms / 1000)} s; the least is ${
          MIN_PACE_BYTES / 1024
        } KiB in ${paceMs / 1000} s`,
      );
    }
    this.#pace = { since: now, bytes: 0 };
  }

  #isPreviewed(): boolean {
    const { previewBytes = Infinity, limits } = this.#options;
    // what is read from its end, or in large pieces, is of no use in part
    const whole = isParquet(this.#head) || isArrow(this.#head);
    return this.#received >= (whole ? limits.maxSpoolBytes : previewBytes);
  }

  async #finish(outcome: Outcome): Promise<Download> {
    const absolutePath = join(this.#dir, this.#name);
    await Deno.rename(this.#partial, absolutePath);
    return {
      path: this.#name,
      absolutePath,
      size: this.#received,
      sha256: this.#hash.digest("hex"),
      etag: this.#headers.etag ?? "",
      lastModified: this.#headers["last-modified"] ?? "",
      contentType: this.#headers["content-type"] ?? "",
      contentEncodings: contentEncodings(this.#label, this.#headers),
      fileName: fileNameOf(this.#headers, this.#finalUrl),
      finalUrl: this.#finalUrl,
      openEnded: this.#openEnded,
      truncated: outcome === "previewed",
    };
  }

  #givenUp(error: unknown, attempts: number, askedMs = 0): Problem {
    if (error instanceof Problem) return error;
    const said = error instanceof Error ? error.message : String(error);
    const message = askedMs > 0 ? `${said}, come back in ${Math.ceil(askedMs / 1000)} s` : said;
    return new Problem("source-unreadable", {
      detail: `${this.#label} could not be fetched in ${attempts} attempts (${message}): ` +
        "try again when it is reachable.",
      transient: true,
      cause: error,
    });
  }
}

/**
 * Milliseconds that Retry-After asks to wait, in seconds or as a date (RFC 9110, 10.2.3); a date
 * counts from the server's own clock where it tells it.
 */
function retryAfterMs(headers: IncomingMessage["headers"]): number | undefined {
  const text = headers["retry-after"]?.trim();
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  const until = Date.parse(text);
  const now = Date.parse(headers.date ?? "");
  if (Number.isNaN(until)) return undefined;
  return Math.max(0, until - (Number.isNaN(now) ? Date.now() : now));
}

/** Whether two answers do not say that they are of different contents. */
function sameContent(a: IncomingMessage["headers"], b: IncomingMessage["headers"]): boolean {
  return (["etag", "last-modified", "content-encoding"] as const).every((name) =>
    a[name] === undefined || b[name] === undefined || a[name] === b[name]
  );
}

const CODINGS: Record<string, Compression> = {
  gzip: "gzip",
  "x-gzip": "gzip",
  deflate: "deflate",
  br: "br",
  zstd: "zstd",
};

/** How the body is compressed, though it was asked for as it is; the last coding first. */
function contentEncodings(label: string, headers: IncomingMessage["headers"]): Compression[] {
  const names = (headers["content-encoding"] ?? "").toLowerCase().split(",")
    .map((name) => name.trim()).filter((name) => name !== "" && name !== "identity");
  if (names.length > MAX_CODINGS) {
    throw new Problem("source-unreadable", {
      detail: `${label} answers with ${names.length} codings of Content-Encoding; at most ` +
        `${MAX_CODINGS} are undone: let its server send the data as it is, or with one of them.`,
    });
  }
  return names.reverse().map((name) => {
    const coding = CODINGS[name];
    if (coding !== undefined) return coding;
    throw new Problem("source-unreadable", {
      detail: `${label} answers with Content-Encoding ${name.slice(0, 40)}, which is not read: ` +
        "let its server send the data as it is, or with gzip, deflate, br or zstd.",
    });
  });
}

/** A server's own words in a message: short, and nothing in them that steers a terminal. */
function shown(words: string): string {
  return words.slice(0, MAX_WORDS).replaceAll(/\p{Cc}/gu, "�");
}

/** The name that the server gives the content, for its format. */
function fileNameOf(headers: IncomingMessage["headers"], url: URL): string {
  const disposition = headers["content-disposition"] ?? "";
  const extended = /filename\*\s*=\s*[\w-]+'[^']*'([^;\s]+)/i.exec(disposition)?.[1];
  const plain = /filename\s*=\s*(?:"([^"]*)"|([^;\s]+))/i.exec(disposition);
  return basename(extended ?? plain?.[1] ?? plain?.[2] ?? url.pathname);
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
    if (![301, 302, 303, 307, 308].includes(status) || location === undefined) {
      return { response, url };
    }
    response.destroy();
    url = redirected(url, location);
  }
  throw new Problem("source-unreadable", {
    detail: `${publicUrl(start)} redirects more than ${MAX_REDIRECTS} times: ` +
      "use the address where it ends.",
  });
}

function redirected(from: URL, location: string): URL {
  const to = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const refuse = (what: string) =>
    new Problem("source-refused", { detail: `${publicUrl(from)} redirects to ${what}.` });
  if (to === undefined) throw refuse("something that is no URL");
  if (to.protocol !== "http:" && to.protocol !== "https:") throw refuse(`${to.protocol}, not HTTP`);
  if (from.protocol === "https:" && to.protocol === "http:") {
    throw refuse(`${publicUrl(to)}, which is not encrypted`);
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
      detail: `${publicUrl(url)}: the user or password in the address is not percent-encoded: ` +
        "write % as %25.",
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
  const silence = setTimeout(() => {
    request.destroy(new Interrupted(`no answer for ${options.idleTimeoutMs} ms`));
  }, options.idleTimeoutMs);
  // after this there is no answer any more, whoever still waits for one
  request.on("upgrade", (_response, socket) => {
    socket.destroy();
    reject(
      new Problem("source-unreadable", {
        detail: `${
          publicUrl(url)
        } switches to another protocol instead of answering. Check the URL.`,
      }),
    );
  });
  request.on("error", (error: Error & { code?: string }) => {
    const forbidden = error.code === "EPERM" || error.name === "NotCapable";
    reject(forbidden ? notPermitted(url.host, error) : error);
  });
  request.setTimeout(options.idleTimeoutMs, () => {
    request.destroy(new Error(`no byte for ${options.idleTimeoutMs} ms`));
  });
  const abort = () => {
    request.destroy(options.signal.reason);
    reject(options.signal.reason);
  };
  options.signal.addEventListener("abort", abort, { once: true });
  request.on("close", () => options.signal.removeEventListener("abort", abort));
  const answered = () => clearTimeout(silence);
  promise.then(answered, answered);
  return promise;
}
