import { createHash, type Hash, randomUUID } from "node:crypto";
import { lookup as dnsLookup } from "node:dns/promises";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Problem } from "../../problem.ts";
import { asDiskFull, type SpoolFile } from "../local/spool.ts";
import type { SourceLimits } from "../source.ts";
import type { Lookup } from "./address_guard.ts";
import { get, publicUrl } from "./request.ts";

/** Attempts in a row that may bring no byte. */
const MAX_FRUITLESS = 5;
const MAX_ATTEMPTS = 50;
const MAX_DELAY_MS = 30_000;

export interface DownloadOptions {
  limits: SourceLimits;
  signal: AbortSignal;
  /** Stop after so many bytes, unless it is a Parquet file; default all. */
  previewBytes?: number | undefined;
  /** First pause before another attempt, in milliseconds; doubles each time. Default 250. */
  retryInitialMs?: number;
  /** Default 30,000. */
  idleTimeoutMs?: number;
  /** Default dns.lookup. */
  lookup?: Lookup;
}

export interface Download extends SpoolFile {
  sha256: string;
  etag: string;
  lastModified: string;
  contentType: string;
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

  constructor(url: URL, target: { dir: string; name: string }, options: DownloadOptions) {
    this.#url = url;
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
    for (let attempt = 1;; attempt++) {
      const before = this.#received;
      try {
        return await this.#finish(await this.#attempt());
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof Problem && !error.transient) throw error;
        if (!isPassing(error)) throw error;
        fruitless = this.#received > before ? 0 : fruitless + 1;
        if (fruitless >= MAX_FRUITLESS || attempt >= MAX_ATTEMPTS) {
          throw this.#givenUp(error, attempt);
        }
        const pause = Math.min(MAX_DELAY_MS, retryInitialMs * 2 ** fruitless);
        const asked = error instanceof Interrupted ? error.retryAfterMs ?? 0 : 0;
        await delay(
          Math.min(MAX_DELAY_MS, Math.max(asked, pause * (0.5 + Math.random() / 2))),
          undefined,
          {
            signal,
          },
        );
      }
    }
  }

  async close(): Promise<void> {
    this.#file?.close();
    await Deno.remove(this.#partial).catch(() => {});
  }

  /** One request; true when the body was read to its end, false when it was cut on purpose. */
  async #attempt(): Promise<boolean> {
    const { limits, signal, idleTimeoutMs = 30_000 } = this.#options;
    const lookup = this.#options.lookup ?? ((host: string) => dnsLookup(host, { all: true }));
    const headers: Record<string, string> = {};
    const resuming = this.#received > 0 && this.#validator !== undefined;
    if (resuming) {
      headers.range = `bytes=${this.#received}-`;
      headers["if-range"] = this.#validator!;
    }
    const response = await get(this.#url, {
      guard: {
        hosts: limits.httpHosts,
        allowPrivateHosts: limits.allowPrivateHosts,
        lookup,
      },
      headers,
      idleTimeoutMs,
      signal,
    });
    try {
      this.#checkStatus(response);
      if (response.statusCode !== 206 || !this.#continues(response)) await this.#restart(response);
      this.#checkSize(this.#received + Number(response.headers["content-length"] ?? 0));
      for await (const chunk of response as AsyncIterable<Uint8Array>) {
        await this.#write(chunk);
        if (this.#isPreviewed()) return false;
      }
      if (!response.complete) throw new Interrupted("the connection was closed early");
      return true;
    } finally {
      response.destroy();
    }
  }

  #checkStatus(response: IncomingMessage): void {
    const status = response.statusCode ?? 0;
    if (status === 200 || status === 206) return;
    const what = `${this.#label} answered ${status} ${response.statusMessage ?? ""}`.trim();
    if (status === 408 || status === 416 || status === 425 || status === 429 || status >= 500) {
      if (status === 416) this.#validator = undefined;
      const seconds = Number(response.headers["retry-after"]);
      throw new Interrupted(what, Number.isFinite(seconds) ? seconds * 1_000 : undefined);
    }
    const next = status === 401 || status === 403
      ? "Check its credentials and rights."
      : "Check the URL.";
    throw new Problem("source-unreadable", { detail: `${what}. ${next}` });
  }

  /** Whether a partial answer starts where we stand. */
  #continues(response: IncomingMessage): boolean {
    const range = /^bytes (\d+)-/.exec(response.headers["content-range"] ?? "");
    if (range !== null && Number(range[1]) === this.#received) return true;
    // Asking again without a range is the only way to get what we need.
    this.#validator = undefined;
    throw new Interrupted("the server answered with another range than asked for");
  }

  async #restart(response: IncomingMessage): Promise<void> {
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
  }

  async #write(chunk: Uint8Array): Promise<void> {
    this.#received += chunk.length;
    this.#checkSize(this.#received);
    if (this.#head.length < 4) {
      this.#head = Uint8Array.from([...this.#head, ...chunk.subarray(0, 4)]);
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

  #isPreviewed(): boolean {
    const { previewBytes = Infinity, limits } = this.#options;
    const parquet = new TextDecoder().decode(this.#head.subarray(0, 4)) === "PAR1";
    return this.#received >= (parquet ? limits.maxSpoolBytes : previewBytes);
  }

  async #finish(complete: boolean): Promise<Download> {
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
      truncated: !complete,
    };
  }

  #givenUp(error: unknown, attempts: number): Problem {
    if (error instanceof Problem) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new Problem("source-unreadable", {
      detail: `${this.#label} could not be fetched in ${attempts} attempts (${message}): ` +
        "try again when it is reachable.",
      transient: true,
      cause: error,
    });
  }
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
