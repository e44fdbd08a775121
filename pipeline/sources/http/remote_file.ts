import { type Message, say } from "../../../vocabulary/messages.ts";
import type { IncomingMessage } from "node:http";
import { Problem } from "../../../vocabulary/problem.ts";
import type { Ranges, Reading } from "../local/ranges.ts";
import { contentOf, Interrupted, Retries, retryAfterMs, shown } from "./request.ts";

/** What is read at first, mostly of a header or to know a format; then eight times as much, and so on. */
const FIRST_WINDOW_BYTES = 1 << 18;
/** Read at once, and once more ahead of who reads. */
const MAX_WINDOW_BYTES = 1 << 23;
/** Column chunks of a row group and beginnings that a worker keeps: the next slice mostly wants them again. */
const KEPT_BYTES = 1 << 27;

export interface RemoteFileOptions {
  /** What messages call it. */
  label: string;
  /** What tells it from any other file beside its ETag: all of its address, and who asks. Never shown. */
  identity: string;
  size: number;
  /** Its strong validator, in quotes. */
  etag: string;
  /** Sends a GET with these headers, signed and within the rules of egress. */
  ask(headers: Record<string, string>, signal: AbortSignal): Promise<IncomingMessage>;
  /** What is wrong, by the answer's own words, where its status says that asking again cannot help. */
  refusal(response: IncomingMessage, what: string): Promise<Problem>;
  signal: AbortSignal;
  /** First pause before another attempt, in milliseconds. */
  retryInitialMs?: number | undefined;
  /** Milliseconds without a byte after which a request is given up; default 30,000. */
  idleTimeoutMs?: number | undefined;
}

/**
 * A file on another server that is read by ranges under the condition that it is still the one that was planned
 * (`If-Match`). A range that does not come whole is asked for again from where it broke off.
 *
 * @throws {Problem} from its readings: `source-changed`, `source-unreadable` (transient where another try may help).
 */
export class RemoteFile implements Ranges {
  readonly size: number;
  readonly #options: RemoteFileOptions;
  /** Headers of the last answer that brought a range. */
  headers: IncomingMessage["headers"] = {};

  constructor(options: RemoteFileOptions) {
    this.#options = options;
    this.size = options.size;
  }

  /** Fetches its beginning, which is kept, and says what the server tells of the file. */
  async describe(): Promise<IncomingMessage["headers"]> {
    if (this.size > 0) await this.#kept(0, Math.min(FIRST_WINDOW_BYTES, this.size));
    return this.headers;
  }

  reading(start: number, end: number): Reading {
    let at = start;
    let windowBytes = FIRST_WINDOW_BYTES;
    let held = new Uint8Array(0);
    let ahead: Promise<Uint8Array> | undefined;
    const next = (): Promise<Uint8Array> => {
      const to = Math.min(end, at + windowBytes);
      const bytes = at < FIRST_WINDOW_BYTES ? this.#fromBeginning(at, to) : this.#fetch(at, to);
      // who breaks off reading does not wait for what was asked for ahead
      bytes.catch(() => {});
      return bytes;
    };
    return {
      read: async (buffer) => {
        if (held.length === 0) {
          if (at >= end) return null;
          held = await (ahead ?? next()) as Uint8Array<ArrayBuffer>;
          ahead = undefined;
          at += held.length;
          windowBytes = Math.min(windowBytes * 8, MAX_WINDOW_BYTES);
          if (at < end && windowBytes === MAX_WINDOW_BYTES) ahead = next();
        }
        const got = Math.min(buffer.length, held.length);
        buffer.set(held.subarray(0, got));
        held = held.subarray(got);
        return got;
      },
    };
  }

  async slice(start: number, end: number): Promise<ArrayBuffer> {
    const bytes = await this.#kept(start, end);
    return bytes.slice().buffer as ArrayBuffer;
  }

  async #fromBeginning(start: number, end: number): Promise<Uint8Array> {
    const head = await this.#kept(0, Math.min(FIRST_WINDOW_BYTES, this.size));
    return head.subarray(start, end);
  }

  async #kept(start: number, end: number): Promise<Uint8Array> {
    const { identity, etag } = this.#options;
    return await kept.get([identity, etag, this.size, start, end].join("\n"), async () => {
      return await this.#fetch(start, end);
    });
  }

  /** The bytes [start, end), all of them. */
  async #fetch(start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(end - start);
    const { label } = this.#options;
    const what = `bytes ${start}-${end - 1} of ${label}`;
    const retries = new Retries(what, this.#options);
    for (let got = 0; got < bytes.length;) {
      const before = got;
      try {
        // some servers give less at once than they are asked for
        for await (const chunk of this.#ask(start + got, end, what)) {
          if (got + chunk.length > bytes.length) {
            throw new Interrupted("the server sent more than it had announced");
          }
          bytes.set(chunk, got);
          got += chunk.length;
          retries.received(chunk.length);
        }
        if (got === before) throw new Interrupted("the server sent nothing");
        retries.succeeded();
      } catch (error) {
        await retries.pause(error, { brought: got - before, total: bytes.length });
      }
    }
    return bytes;
  }

  /** One request. */
  async *#ask(start: number, end: number, what: string): AsyncGenerator<Uint8Array> {
    const { ask, etag, signal, idleTimeoutMs = 30_000 } = this.#options;
    const response = await ask({ range: `bytes=${start}-${end - 1}`, "if-match": etag }, signal);
    try {
      let missing = await this.#check(response, { start, end, what });
      this.headers = response.headers;
      // what comes and is no content (extensions of chunks, trailers) keeps the socket busy
      const silence = setTimeout(
        () => response.destroy(new Interrupted(`no byte of content for ${idleTimeoutMs} ms`)),
        idleTimeoutMs,
      );
      try {
        for await (const chunk of contentOf(response)) {
          missing -= chunk.length;
          yield chunk;
          silence.refresh();
        }
      } finally {
        clearTimeout(silence);
      }
      if (!response.complete) throw new Interrupted("the connection was closed early");
      if (missing > 0) throw new Interrupted(`the connection was closed ${missing} bytes early`);
    } finally {
      response.destroy();
    }
  }

  /** How many bytes the answer promises. */
  async #check(
    response: IncomingMessage,
    { start, end, what }: { start: number; end: number; what: string },
  ): Promise<number> {
    const { label, size, etag, refusal } = this.#options;
    const status = response.statusCode ?? 0;
    const { headers } = response;
    if (status === 412) throw this.#changed(say("it-was-replaced", {}));
    if (status === 404 || status === 410) throw this.#changed(say("it-is-gone", {}));
    if (status === 416) throw this.#changed(say("it-is-shorter", {}));
    if (status === 206 || (status === 200 && start === 0 && end === size)) {
      const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers["content-range"] ?? "");
      const total = range === null ? headers["content-length"] : range[3];
      if (total !== undefined && total !== "*" && Number(total) !== size) {
        throw this.#changed(say("bytes-then-now", { then: size, now: shown(total) }));
      }
      // some servers know no If-Match
      if (headers.etag !== etag) {
        throw this.#changed(
          headers.etag === undefined ? say("no-etag-any-more", {}) : say("it-was-replaced", {}),
        );
      }
      if (status === 200) return size;
      const [first, last] = [Number(range?.[1]), Number(range?.[2])];
      if (first === start && last >= start && last < end) return last + 1 - start;
      throw new Interrupted("the server sent another range than requested");
    }
    if (status === 200) {
      throw new NoRanges(label, what);
    }
    if (status === 408 || status === 425 || status === 429 || status >= 500) {
      throw new Interrupted(
        `answered ${status} ${shown(response.statusMessage ?? "")}`.trim(),
        retryAfterMs(headers),
      );
    }
    throw await refusal(response, what);
  }

  #changed(how: Message): Problem {
    return new Problem("source-changed", {
      detail: say("url-changed-meanwhile", { url: this.#options.label, how }),
    });
  }
}

/** The server gives all of it, whatever is asked for. */
export class NoRanges extends Problem {
  constructor(label: string, what: string) {
    super("source-unreadable", {
      detail: say("url-no-ranges", { url: label, what }),
    });
  }
}

/** Ranges that were fetched lately, each once for all who wait for it. */
class Kept {
  readonly #entries = new Map<string, { bytes: Promise<Uint8Array>; size: number }>();
  #size = 0;

  async get(key: string, fetch: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const there = this.#entries.get(key);
    if (there !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, there);
      return await there.bytes;
    }
    const entry = { bytes: fetch(), size: 0 };
    this.#entries.set(key, entry);
    try {
      const bytes = await entry.bytes;
      entry.size = bytes.length;
      this.#size += bytes.length;
      this.trim(KEPT_BYTES);
      return bytes;
    } catch (error) {
      this.#entries.delete(key);
      throw error;
    }
  }

  /** Drops what was not used for longest, until the rest has at most so many bytes. */
  trim(limit: number): void {
    for (const [key, { size }] of this.#entries) {
      if (this.#size <= limit) return;
      if (size === 0) continue;
      this.#entries.delete(key);
      this.#size -= size;
    }
  }
}

const kept = new Kept();

/** Lets go of the ranges that this worker keeps; what reads on fetches them anew. */
export function forgetRanges(): void {
  kept.trim(0);
}
