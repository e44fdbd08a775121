import { say } from "../../../vocabulary/messages.ts";
import { createHash, type Hash, randomUUID } from "node:crypto";
import { lookup as dnsLookup } from "node:dns/promises";
import type { IncomingMessage } from "node:http";
import { basename, join } from "node:path";
import { Problem } from "../../../vocabulary/problem.ts";
import { isArrow, isParquet } from "../local/detect_format.ts";
import { asDiskFull, type SpoolFile } from "../local/spool.ts";
import type { SourceLimits } from "../source.ts";
import type { GuardOptions, Lookup } from "./address_guard.ts";
import { contentOf, get, Interrupted, publicUrl, Retries, retryAfterMs, shown } from "./request.ts";
import type { Compression } from "../local/streams.ts";

/** Enough to know a format by its first bytes. */
const HEAD_BYTES = 16;
/** Partial answers that one download may be made of. */
const MAX_PARTS = 10_000;
/** Codings of Content-Encoding that are undone one within the other; curl takes as many. */
const MAX_CODINGS = 5;
/** What is here after one answer is not worth to be asked for in parts. */
const MIN_RANGED_BYTES = 1 << 18;

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
  /** Whether what the server gives by ranges is left where it is; default false. */
  leavesRanged?: boolean;
}

/** What a server says of its content. */
export interface Described {
  /** Bytes of all of it. */
  size: number;
  etag: string;
  lastModified: string;
  contentType: string;
  /** Codings of Content-Encoding that the bytes still have, the last applied first. */
  contentEncodings: Compression[];
  /** Name of the file by Content-Disposition, else by the address where redirects ended. */
  fileName: string;
  /** Where redirects ended. */
  finalUrl: URL;
}

export interface Download extends Described, SpoolFile {
  sha256: string;
  /** Whether nothing told where the content ends: no length, no chunks. */
  openEnded: boolean;
  /** Whether it stopped after `previewBytes`. */
  truncated: boolean;
  /** Why it was not left where it is. */
  because: Unranged;
}

/** Why content is downloaded that might have been read by ranges. */
export type Unranged =
  | "not asked"
  | "no ranges"
  | "no strong ETag"
  | "no steady ETag"
  | "no length"
  | "small";

/** How one request ended: with all of the content, one part of it, as much as was wanted, or with what can be read by ranges. */
type Outcome = "complete" | "part" | "previewed" | "ranged";

/**
 * Downloads a URL to `dir`/`name`; goes on where it was interrupted as long
 * as the server says that it is still the same content. With `leavesRanged` only says of content
 * what it is, where the first answer promises that it can be read by ranges.
 *
 * @throws {Problem} `source-refused`, `source-unreadable` (transient where
 * another try may help), `disk-full`.
 */
export async function download(
  url: URL,
  target: { dir: string; name: string },
  options: DownloadOptions & { leavesRanged: true },
): Promise<Download | Described>;
export async function download(
  url: URL,
  target: { dir: string; name: string },
  options: DownloadOptions,
): Promise<Download>;
export async function download(
  url: URL,
  target: { dir: string; name: string },
  options: DownloadOptions,
): Promise<Download | Described> {
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
  #because: Unranged = "not asked";
  readonly #retries: Retries;

  constructor(url: URL, target: { dir: string; name: string }, options: DownloadOptions) {
    this.#url = url;
    this.#finalUrl = url;
    this.#label = publicUrl(url);
    this.#options = options;
    this.#retries = new Retries(this.#label, options);
    this.#dir = target.dir;
    this.#name = target.name;
    this.#partial = join(target.dir, `${target.name}.${randomUUID()}.partial`);
  }

  async run(): Promise<Download | Described> {
    const retries = this.#retries;
    await Deno.mkdir(this.#dir, { recursive: true });
    this.#file = await Deno.open(this.#partial, { write: true, createNew: true });
    for (let parts = 0;;) {
      const before = this.#received;
      try {
        const outcome = await this.#attempt();
        if (outcome === "ranged") return this.#described();
        if (outcome !== "part") return await this.#finish(outcome);
        if (++parts >= MAX_PARTS) {
          throw new Problem("source-unreadable", {
            detail: say("url-many-parts", { url: this.#label, n: MAX_PARTS }),
          });
        }
        retries.succeeded();
      } catch (error) {
        const brought = this.#received - before;
        await retries.pause(error, { brought, total: this.#total ?? this.#received });
      }
    }
  }

  async close(): Promise<void> {
    this.#file?.close();
    await Deno.remove(this.#partial).catch(() => {});
  }

  /** One request. */
  async #attempt(): Promise<Outcome> {
    const { limits, signal, lookup, idleTimeoutMs = 30_000 } = this.#options;
    const headers: Record<string, string> = {};
    const resuming = this.#received > 0 && this.#validator !== undefined;
    if (resuming) {
      headers.range = `bytes=${this.#received}-`;
      headers["if-range"] = this.#validator!;
    }
    const { response, url } = await get(this.#url, {
      guard: guardOf(limits, lookup),
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
      if (partEnd === undefined && this.#options.leavesRanged) {
        const because = whyUnranged(response.headers);
        if (because === null) return "ranged";
        this.#because = because;
      }
      const length = response.headers["content-length"];
      this.#checkSize(this.#received + Number(length ?? 0));
      // what comes and is no content (extensions of chunks, trailers) keeps the socket busy
      const silence = setTimeout(
        () => response.destroy(new Interrupted(`no byte of content for ${idleTimeoutMs} ms`)),
        idleTimeoutMs,
      );
      try {
        for await (const chunk of contentOf(response)) {
          await this.#write(chunk);
          this.#retries.received(chunk.length);
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
    throw refusedAnswer(response, this.#label);
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
      const told = headers["content-range"];
      throw new Problem("source-unreadable", {
        detail: told === undefined
          ? say("url-part-unsaid", { url: this.#label })
          : say("url-part-unasked", { url: this.#label, range: shown(told) }),
      });
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
      : strongDate(response.headers);
    contentEncodings(this.#label, response.headers);
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
      detail: say("larger-than", { url: this.#label, n: maxSpoolBytes }),
    });
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
      ...this.#described(),
      path: this.#name,
      absolutePath,
      size: this.#received,
      sha256: this.#hash.digest("hex"),
      openEnded: this.#openEnded,
      truncated: outcome === "previewed",
      because: this.#because,
    };
  }

  #described(): Described {
    return {
      size: this.#total ?? 0,
      etag: this.#headers.etag ?? "",
      lastModified: this.#headers["last-modified"] ?? "",
      contentType: this.#headers["content-type"] ?? "",
      contentEncodings: contentEncodings(this.#label, this.#headers),
      fileName: fileNameOf(this.#headers, this.#finalUrl),
      finalUrl: this.#finalUrl,
    };
  }
}

/** Whom http sources may read from. */
export function guardOf(
  { httpHosts, allowPrivateHosts }: SourceLimits,
  lookup: Lookup = (host) => dnsLookup(host, { all: true }),
): GuardOptions {
  return { hosts: httpHosts, allowPrivateHosts, lookup };
}

/** What is wrong where another try cannot help. */
export function refusedAnswer(response: IncomingMessage, label: string): Problem {
  const code = response.statusCode ?? 0;
  const status = `${code} ${shown(response.statusMessage ?? "")}`.trim();
  return new Problem("source-unreadable", {
    detail: code === 401 || code === 403
      ? say("answered-check-rights", { url: label, status })
      : say("answered-check-url", { url: label, status }),
  });
}

/** Why content with these headers is not read by ranges; null where it can be (RFC 9110, 8.8.3 and 14.3). */
function whyUnranged(headers: IncomingMessage["headers"]): Unranged | null {
  if (!/\bbytes\b/i.test(headers["accept-ranges"] ?? "")) return "no ranges";
  if (!/^"[\x21\x23-\x7e\x80-\xff]*"$/.test(headers.etag ?? "")) return "no strong ETag";
  const length = headers["content-length"];
  if (length === undefined) return "no length";
  return Number(length) <= MIN_RANGED_BYTES ? "small" : null;
}

/** A time of change that tells one content from the next (RFC 9110, 8.8.2.2): within its second there may have been another. */
function strongDate(
  { "last-modified": changed, date }: IncomingMessage["headers"],
): string | undefined {
  return Date.parse(date ?? "") - Date.parse(changed ?? "") >= 1_000 ? changed : undefined;
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
export function contentEncodings(
  label: string,
  headers: IncomingMessage["headers"],
): Compression[] {
  const names = (headers["content-encoding"] ?? "").toLowerCase().split(",")
    .map((name) => name.trim()).filter((name) =>
      name !== "" && name !== "identity" && name !== "aws-chunked"
    );
  if (names.length > MAX_CODINGS) {
    throw new Problem("source-unreadable", {
      detail: say("url-many-codings", { url: label, n: names.length, most: MAX_CODINGS }),
    });
  }
  return names.reverse().map((name) => {
    const coding = CODINGS[name];
    if (coding !== undefined) return coding;
    throw new Problem("source-unreadable", {
      detail: say("url-unknown-coding", { url: label, name: name.slice(0, 40) }),
    });
  });
}

/** The name that the server gives the content, for its format. */
function fileNameOf(headers: IncomingMessage["headers"], url: URL): string {
  const disposition = headers["content-disposition"] ?? "";
  const extended = /filename\*\s*=\s*[\w-]+'[^']*'([^;\s]+)/i.exec(disposition)?.[1];
  const plain = /filename\s*=\s*(?:"([^"]*)"|([^;\s]+))/i.exec(disposition);
  return basename(extended ?? plain?.[1] ?? plain?.[2] ?? url.pathname);
}
