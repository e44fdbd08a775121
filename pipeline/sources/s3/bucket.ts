import { say } from "../../../vocabulary/messages.ts";
import type { IncomingMessage } from "node:http";
import { lookup as dnsLookup } from "node:dns/promises";
import { AwsV4Signer } from "aws4fetch";
import { XMLParser } from "fast-xml-parser";
import { Problem } from "../../../vocabulary/problem.ts";
import { RemoteFile } from "../http/remote_file.ts";
import { get, Interrupted, Retries, retryAfterMs, shown } from "../http/request.ts";
import type { SourceLimits } from "../source.ts";
import type { S3Connection } from "./connection.ts";

/** A page has at most 1,000 keys of at most 1,024 bytes, each percent-encoded. */
const MAX_PAGE_BYTES = 1 << 23;
const MAX_ERROR_BYTES = 1 << 14;

/** An object as a listing, or a HEAD, describes it. */
export interface S3Object {
  key: string;
  size: number;
  /** In quotes. */
  etag: string;
}

export interface BucketOptions {
  limits: SourceLimits;
  signal: AbortSignal;
  /** First pause before another attempt, in milliseconds; default 250. */
  retryInitialMs?: number | undefined;
}

/** One bucket: what is in it, and its objects by ranges. Every request keeps to the rules of egress. */
export class Bucket {
  readonly #name: string;
  readonly #connection: S3Connection;
  readonly #options: BucketOptions;
  /** Of derived signing keys. */
  readonly #signingKeys = new Map<string, ArrayBuffer>();

  constructor(name: string, connection: S3Connection, options: BucketOptions) {
    this.#name = name;
    this.#connection = connection;
    this.#options = options;
  }

  /** What messages call an object. */
  label(key: string): string {
    return `s3://${this.#name}/${key}`;
  }

  /**
   * The objects whose keys begin with `prefix`, in the order of their keys; with `flat` only those that have no slash
   * after it. Pages follow each other as they are asked for.
   *
   * @throws {Problem} `source-unreadable`.
   */
  async *list(prefix: string, { flat }: { flat: boolean }): AsyncGenerator<S3Object, void, void> {
    let token: string | undefined;
    do {
      const query = new URLSearchParams({
        "list-type": "2",
        "encoding-type": "url",
        prefix,
        ...(flat ? { delimiter: "/" } : {}),
        ...(token === undefined ? {} : { "continuation-token": token }),
      });
      const page = readPage(await this.#page(query), this.label(prefix));
      yield* page.objects;
      if (page.next !== undefined && page.next === token) {
        throw new Problem("source-unreadable", {
          detail: say("s3-same-page", { what: this.label(prefix) }),
        });
      }
      token = page.next;
    } while (token !== undefined);
  }

  /** The object of a key; undefined where there is none. */
  async find(key: string): Promise<S3Object | undefined> {
    // a HEAD's refusal has no body that would say why; the listing begins with the key itself
    for await (const object of this.list(key, { flat: false })) {
      return object.key === key ? object : undefined;
    }
    return undefined;
  }

  /** An object, to be read by ranges as long as it stays as it is. */
  open({ key, size, etag }: S3Object): RemoteFile {
    const url = this.#url(key);
    return new RemoteFile({
      label: this.label(key),
      identity: JSON.stringify([url.href, this.#connection.keys?.accessKeyId]),
      size,
      etag,
      ask: (headers, signal) => this.#get(url, headers, signal),
      refusal: (response, what) => this.#refusal(response, what),
      signal: this.#options.signal,
      retryInitialMs: this.#options.retryInitialMs,
    });
  }

  /** The XML of one page; asked for again where that may help. */
  async #page(query: URLSearchParams): Promise<string> {
    const url = this.#url("");
    // a space as %20, as it is signed
    url.search = query.toString().replaceAll("+", "%20");
    const what = `the keys of s3://${this.#name}/${query.get("prefix")}`;
    const { signal } = this.#options;
    const retries = new Retries(what, this.#options);
    while (true) {
      try {
        const response = await this.#get(url, {}, signal);
        try {
          const status = response.statusCode ?? 0;
          if (status === 200) return await textOf(response, MAX_PAGE_BYTES);
          if (status === 408 || status === 429 || status >= 500) {
            const said = `answered ${status} ${shown(response.statusMessage ?? "")}`.trim();
            throw new Interrupted(said, retryAfterMs(response.headers));
          }
          throw await this.#refusal(response, what);
        } finally {
          response.destroy();
        }
      } catch (error) {
        await retries.pause(error, { brought: 0, total: 0 });
      }
    }
  }

  #url(key: string): URL {
    if (key.split("/").some((segment) => segment === "." || segment === "..")) {
      throw new Problem("source-unreadable", {
        detail: say("s3-dot-key", { key: this.label(key) }),
      });
    }
    const { endpoint, pathStyle } = this.#connection;
    const url = new URL(endpoint);
    // a certificate for *.host has no name with another dot
    const inPath = pathStyle || (url.protocol === "https:" && this.#name.includes("."));
    if (!inPath) url.hostname = `${this.#name}.${url.hostname}`;
    const base = url.pathname.replace(/\/$/, "");
    url.pathname = `${base}${inPath ? `/${this.#name}` : ""}/${encodedKey(key)}`;
    return url;
  }

  async #get(
    url: URL,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const { keys, region, endpoint } = this.#connection;
    const signed = keys === null ? headers : Object.fromEntries(
      (await new AwsV4Signer(
        {
          url: url.href,
          headers,
          ...keys,
          ...(keys.sessionToken === undefined ? {} : { sessionToken: keys.sessionToken }),
          service: "s3",
          region,
          cache: this.#signingKeys,
        } as ConstructorParameters<typeof AwsV4Signer>[0],
      ).sign()).headers,
    );
    const { allowPrivateHosts } = this.#options.limits;
    const { response } = await get(url, {
      guard: {
        // the endpoint is the operator's own; whether its address may be private is asked as of any
        allowPrivateHosts: allowsEndpoint(endpoint, allowPrivateHosts)
          ? [...allowPrivateHosts, url.host, url.hostname]
          : allowPrivateHosts,
        lookup: (host) => dnsLookup(host, { all: true }),
      },
      headers: signed,
      idleTimeoutMs: 30_000,
      signal,
      // a signature holds for one address
      redirects: 0,
    });
    return response;
  }

  async #refusal(response: IncomingMessage, what: string): Promise<Problem> {
    const status = response.statusCode ?? 0;
    const { code, message } = errorOf(await textOf(response, MAX_ERROR_BYTES).catch(() => ""));
    const region = response.headers["x-amz-bucket-region"];
    const words = [code, message].filter(Boolean).map((text) => shown(text!)).join(": ");
    const { keys } = this.#connection;
    const told = { what, answer: `${status} ${words}`.trim() };
    const detail = region !== undefined && region !== this.#connection.region
      ? say("s3-other-region", { ...told, region: shown(String(region)) })
      : code === "NoSuchBucket"
      ? say("s3-no-bucket", told)
      : status === 401 || status === 403
      ? say(keys === null ? "s3-no-keys" : "s3-refused", told)
      : say(status === 404 && code === "NoSuchKey" ? "s3-no-object" : "s3-answered", told);
    return new Problem("source-unreadable", {
      detail,
    });
  }
}

/** A key as a path has it: every byte but of letters, digits and -_.~ percent-encoded. */
function encodedKey(key: string): string {
  return encodeURIComponent(key).replaceAll("%2F", "/")
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

function allowsEndpoint(endpoint: string, allowed: string[]): boolean {
  const { hostname, port, protocol } = new URL(endpoint);
  const host = hostname.replace(/^\[|\]$/g, "");
  const names = [host, hostname]
    .flatMap((name) => [name, `${name}:${port || (protocol === "https:" ? "443" : "80")}`]);
  return allowed.some((entry) => names.includes(entry.trim().toLowerCase()));
}

async function textOf(response: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > maxBytes) {
      throw new Problem("source-unreadable", {
        detail: say("s3-long-answer", { n: maxBytes }),
      });
    }
    chunks.push(chunk);
  }
  if (!response.complete) throw new Interrupted("the connection was closed early");
  return new TextDecoder().decode(Buffer.concat(chunks));
}

const parser = new XMLParser({
  // keys are text, whatever they look like
  parseTagValue: false,
  trimValues: false,
  ignoreDeclaration: true,
  htmlEntities: true,
  isArray: (name) => name === "Contents",
});

/** What a page of ListObjectsV2 says. */
function readPage(xml: string, label: string): { objects: S3Object[]; next: string | undefined } {
  const result = parsed(xml)?.ListBucketResult as {
    EncodingType?: string;
    IsTruncated?: string;
    NextContinuationToken?: string;
    Contents?: { Key?: string; Size?: string; ETag?: string }[];
  } | undefined;
  if (result === undefined) {
    throw new Problem("source-unreadable", {
      detail: say("s3-no-listing", { what: label }),
    });
  }
  const encoded = result.EncodingType === "url";
  const objects = (result.Contents ?? []).map(({ Key = "", Size, ETag = "" }) => {
    const key = encoded ? decodeURIComponent(Key.replaceAll("+", "%20")) : Key;
    const etag = /^".*"$/.test(ETag) ? ETag : `"${ETag}"`;
    return { key, size: Number(Size), etag };
  });
  const more = result.IsTruncated === "true";
  if (more && !result.NextContinuationToken) {
    throw new Problem("source-unreadable", {
      detail: say("s3-no-next-page", { what: label }),
    });
  }
  return { objects, next: more ? result.NextContinuationToken : undefined };
}

function errorOf(xml: string): { code?: string | undefined; message?: string | undefined } {
  const error = parsed(xml)?.Error as Record<string, unknown> | undefined;
  const text = (name: string) => typeof error?.[name] === "string" ? error[name] : undefined;
  return { code: text("Code"), message: text("Message") };
}

function parsed(xml: string): Record<string, unknown> | undefined {
  try {
    return parser.parse(xml);
  } catch {
    return undefined;
  }
}
