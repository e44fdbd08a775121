import http from "node:http";
import type { AddressInfo } from "node:net";
import { createHash } from "node:crypto";
import type { S3Connection } from "../../pipeline/sources/s3/connection.ts";

/** What a fault does instead of, or with, the answer. */
export type Fault =
  | { status: number; body?: string; headers?: Record<string, string> }
  /** Ends the connection after so many bytes of the body. */
  | { cutAfter: number }
  /** Ends the connection without an answer. */
  | "reset";

/** One request as it came. */
export interface Asked {
  path: string;
  range: string | undefined;
  ifMatch: string | undefined;
  signed: boolean;
  /** Whose signature it has. */
  accessKeyId: string | undefined;
}

/**
 * A local server that speaks as much of S3 as sources need, with one bucket in the path, and fails as it is told. What
 * a real service does with signatures and keys is tried with one in tests/conformance/seaweedfs_test.ts.
 */
export class FakeS3 implements AsyncDisposable {
  readonly objects = new Map<
    string,
    { bytes: Uint8Array; etag: string; headers: Record<string, string> }
  >();
  readonly asked: Asked[] = [];
  /** Decides before each answer; undefined: none. */
  fault: (asked: Asked) => Fault | undefined = () => undefined;
  /** Keys of a page. */
  pageSize = 1_000;
  /** Whether keys are percent-encoded as asked, or in XML's entities. */
  encodes = true;
  #server!: http.Server;

  static async start(): Promise<FakeS3> {
    const s3 = new FakeS3();
    s3.#server = http.createServer((request, response) => s3.#answer(request, response));
    const { promise, resolve } = Promise.withResolvers<void>();
    s3.#server.listen(0, "127.0.0.1", resolve);
    await promise;
    return s3;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get connection(): S3Connection {
    return {
      endpoint: `http://${this.host}/`,
      region: "us-east-1",
      pathStyle: true,
      keys: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "the-secret-key/+of=a-test" },
    };
  }

  put(key: string, content: string | Uint8Array, headers: Record<string, string> = {}): void {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const etag = `"${createHash("md5").update(bytes).digest("hex")}-2"`;
    this.objects.set(key, { bytes, etag, headers });
  }

  /** Ranges that were asked for of a key. */
  rangesOf(key: string): string[] {
    return this.asked.filter(({ path, range }) => path === `/lake/${key}` && range !== undefined)
      .map(({ range }) => range!);
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const url = new URL(request.url!, "http://s3");
    const asked: Asked = {
      path: decodeURIComponent(url.pathname),
      range: request.headers.range,
      ifMatch: request.headers["if-match"],
      signed: request.headers.authorization?.startsWith("AWS4-HMAC-SHA256 ") === true,
      accessKeyId: /Credential=([^/]+)/.exec(request.headers.authorization ?? "")?.[1],
    };
    this.asked.push(asked);
    const fault = this.fault(asked);
    if (fault === "reset") return void request.socket.destroy();
    if (fault !== undefined && "status" in fault) {
      response.writeHead(fault.status, { "content-type": "application/xml", ...fault.headers });
      return void response.end(fault.body ?? "");
    }
    if (url.searchParams.has("list-type")) {
      return void response.end(this.#list(url.searchParams));
    }
    const key = asked.path.replace(/^\/lake\//, "");
    const object = this.objects.get(key);
    if (object === undefined) {
      response.writeHead(404);
      return void response.end("<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>");
    }
    const { etag } = object;
    if (asked.ifMatch !== undefined && asked.ifMatch !== etag) {
      response.writeHead(412);
      return void response.end("<Error><Code>PreconditionFailed</Code></Error>");
    }
    const size = object.bytes.length;
    const [, from = "0", to = String(size - 1)] = /^bytes=(\d+)-(\d+)$/.exec(asked.range ?? "") ??
      [];
    const end = Math.min(Number(to) + 1, size);
    const body = object.bytes.subarray(Number(from), end);
    response.writeHead(asked.range === undefined ? 200 : 206, {
      "accept-ranges": "bytes",
      "content-range": `bytes ${from}-${end - 1}/${size}`,
      "content-length": body.length,
      etag,
      ...object.headers,
    });
    if (fault === undefined) return void response.end(body);
    response.write(body.subarray(0, fault.cutAfter), () => request.socket.destroy());
  }

  #list(query: URLSearchParams): string {
    const prefix = query.get("prefix") ?? "";
    const flat = query.get("delimiter") === "/";
    const keys = [...this.objects.keys()].filter((key) =>
      key.startsWith(prefix) && !(flat && key.slice(prefix.length).includes("/"))
    ).sort();
    const from = Number(query.get("continuation-token") ?? 0);
    const page = keys.slice(from, from + this.pageSize);
    const more = from + this.pageSize < keys.length;
    const shown = (key: string) =>
      this.encodes
        ? encodeURIComponent(key).replaceAll("%20", "+").replaceAll("%2F", "/")
        : key.replace(/[<>&'"\r\n\t]/g, (char) => `&#${char.charCodeAt(0)};`);
    return `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
      `<Name>lake</Name><IsTruncated>${more}</IsTruncated>` +
      (this.encodes ? "<EncodingType>url</EncodingType>" : "") +
      (more ? `<NextContinuationToken>${from + this.pageSize}</NextContinuationToken>` : "") +
      page.map((key) => {
        const { bytes, etag } = this.objects.get(key)!;
        return `<Contents><Key>${shown(key)}</Key><Size>${bytes.length}</Size><ETag>${
          etag.replaceAll('"', "&quot;")
        }</ETag></Contents>`;
      }).join("") + "</ListBucketResult>";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
