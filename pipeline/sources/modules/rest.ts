import type { Json } from "../../numbers.ts";
import {
  defineSource,
  type FetchOptions,
  type SourceContext,
  type SourceRecord,
  z,
} from "./define.ts";

/*
 * Any JSON API with pages: the whole module is its config. It uses what define.ts has and nothing else,
 * so a copy of it in ETL_SOURCES_DIR, under another name, is a module of your own.
 */

const parameters = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));

const paging = z.discriminatedUnion("by", [
  z.strictObject({ by: z.literal("none") }).describe("one request has everything"),
  z.strictObject({ by: z.literal("link") })
    .describe("the answer's header Link names the next page (rel=next)"),
  z.strictObject({
    by: z.literal("cursor"),
    field: z.string().describe("path of the next cursor, or of the next URL, in the answer"),
    param: z.string().optional().describe("parameter that it goes to; default: it is a URL"),
  }),
  z.strictObject({
    by: z.literal("page"),
    param: z.string().default("page"),
    first: z.number().int().default(1),
    size_param: z.string().optional().describe("parameter for the records of a page"),
    size: z.number().int().min(1).optional(),
  }).describe("numbered pages until one is empty, or shorter than size and the others"),
  z.strictObject({
    by: z.literal("offset"),
    param: z.string().default("offset"),
    size_param: z.string().default("limit"),
    size: z.number().int().min(1).default(100),
  }).describe("offsets until a page is empty, or shorter than size and the others"),
]);

const config = z.strictObject({
  url: z.string().min(1).describe(
    "where the records are; with a connection, what follows its URL. {name} is a value of `each`, {since} the position",
  ),
  params: parameters.default({}).describe("query parameters of every request"),
  headers: z.record(z.string(), z.string()).default({}).describe("headers that are not secrets"),
  method: z.enum(["GET", "POST"]).default("GET"),
  body: z.unknown().optional().describe("JSON that a POST sends"),
  records_path: z.string().default("")
    .describe("path of the list in the answer: data.items; default: the answer, or its only list"),
  paging: paging.default({ by: "none" }),
  each: z.record(z.string(), z.array(z.union([z.string(), z.number()])).min(1).max(10_000))
    .refine((each) => Object.keys(each).length === 1, "takes one name")
    .optional().describe('reads the URL once for each value, side by side: {"repo": ["a", "b"]}'),
  incremental: z.strictObject({
    field: z.string().describe("field of the records that grows with every change"),
    param: z.string().describe("parameter that requests only newer records"),
    start: z.string().optional().describe("its value in the first run; default: left out"),
  }).optional(),
  oauth: z.strictObject({
    connection: z.string().describe(
      "connection whose URL is the token endpoint, with client id and secret as user and password",
    ),
    scope: z.string().optional(),
    params: parameters.default({}).describe("further form fields, such as audience"),
  }).optional().describe("client credentials (RFC 6749, 4.4)"),
  max_pages: z.number().int().min(1).default(100_000)
    .describe("pages of one slice; more is an error, as an API may repeat itself for ever"),
});

type Config = z.infer<typeof config>;
type Slice = { name: string; value: string } | null;

export default defineSource<Config, Slice>({
  config,
  hosts: ({ url }) => {
    const whole = url.replace(/\{\w+\}/g, "x");
    return URL.canParse(whole) ? [new URL(whole).host, hostAndPort(new URL(whole))] : [];
  },
  cursor: ({ incremental }) => incremental?.field,
  // between two pages something may move from one that is to come to one that was read
  steady: ({ paging }) => paging.by === "none",
  plan: ({ config: { each } }) =>
    each === undefined
      ? [null]
      : Object.entries(each).flatMap(([name, values]) =>
        values.map((value) => ({ name, value: String(value) }))
      ),
  async *read(slice, context) {
    const { config } = context;
    const pages = new Pages(slice, context);
    for (let page = 0; pages.next !== null; page++) {
      if (page >= config.max_pages) {
        throw new Error(
          `there are more than ${config.max_pages} pages: raise max_pages, or check paging`,
        );
      }
      const answer = await pages.fetch();
      if (answer === null) return;
      const { data, response } = answer;
      const records = recordsOf(data, config.records_path, response.url);
      yield records;
      pages.advance(records, data, response);
    }
  },
});

/** So many pages in a row that were there before are no accident. */
const MOST_REPEATED = 10;

/** What APIs answer when asked for a page behind the last. */
const NO_SUCH_PAGE = [400, 404, 410, 416, 422];

/** Walks through the pages of one slice. */
class Pages {
  next: { url: string; params: Record<string, string> } | null;
  readonly #context: SourceContext<Config>;
  #position: number;
  #token: string | null = null;
  /** Records of the longest page so far. */
  #longest = 0;
  /** Whether the page before had fewer records than were asked for: it may have been the last. */
  #maybeOver = false;
  readonly #seen = new Set<string>();
  /** Of pages that were read, and how many of the last ones were there before. */
  readonly #hashes = new Set<number>();
  #repeated = 0;

  constructor(slice: Slice, context: SourceContext<Config>) {
    this.#context = context;
    const { config: { url, params, incremental, paging }, since } = context;
    const from = since ?? incremental?.start;
    const filled = url.replaceAll(/\{(\w+)\}/g, (whole, name) => {
      if (slice !== null && name === slice.name) return encodeURIComponent(slice.value);
      if (name === "since") return encodeURIComponent(from ?? "");
      throw new Error(`url has ${whole}, which is neither {since} nor a name of each`);
    });
    this.#position = paging.by === "page" ? paging.first : 0;
    this.next = {
      url: filled,
      params: {
        ...Object.fromEntries(Object.entries(params).map(([name, value]) => [name, String(value)])),
        ...(incremental === undefined || from === undefined ? {} : { [incremental.param]: from }),
        ...this.#pageParams(),
      },
    };
  }

  /** The next page; null where it turns out that there is none. */
  async fetch(): Promise<{ data: Json; response: Response } | null> {
    const { config } = this.#context;
    const { url, params } = this.next!;
    const target = withParams(url, params);
    if (this.#seen.has(target)) {
      throw new Error(`the API returned ${target} as next page a second time: check paging`);
    }
    this.#seen.add(target);
    const options = async (): Promise<FetchOptions> => ({
      method: config.method,
      headers: {
        accept: "application/json",
        ...config.headers,
        ...(config.oauth === undefined ? {} : { authorization: `Bearer ${await this.#bearer()}` }),
      },
      ...(config.body === undefined ? {} : { body: config.body as Json }),
      ...this.#connection(url),
    });
    let response = await this.#context.fetch(target, await options());
    if (config.oauth !== undefined && response.status === 401) {
      // it may have expired on the way
      this.#token = null;
      response = await this.#context.fetch(target, await options());
    }
    if (this.#maybeOver && NO_SUCH_PAGE.includes(response.status)) return null;
    return { data: await this.#context.readJson(response), response };
  }

  advance(records: object[], data: Json, response: Response): void {
    const count = records.length;
    const { paging } = this.#context.config;
    const { url, params } = this.next!;
    if (count > 0) this.#refuseRepeats(records, withParams(url, params));
    this.next = null;
    switch (paging.by) {
      case "none":
        return;
      case "link": {
        const link = nextLink(response.headers.get("link") ?? "");
        if (link !== null) this.next = { url: new URL(link, response.url).href, params: {} };
        return;
      }
      case "cursor": {
        const cursor = at(data, paging.field);
        if (cursor === null || cursor === undefined || cursor === "" || cursor === false) return;
        this.next = paging.param === undefined
          ? { url: new URL(String(cursor), response.url).href, params: {} }
          : { url, params: { ...params, [paging.param]: String(cursor) } };
        return;
      }
      case "page":
      case "offset":
        this.#maybeOver = paging.size !== undefined && count < paging.size;
        // an API may give shorter pages than it is asked for: then only one that is shorter still is the last
        if (count === 0 || this.#maybeOver && count < this.#longest) return;
        this.#longest = Math.max(this.#longest, count);
        this.#position += paging.by === "page" ? 1 : count;
        this.next = { url, params: { ...params, ...this.#pageParams() } };
    }
  }

  /** An API that does not know the parameter answers the same for ever, and so may one that is asked for a page behind its last. */
  #refuseRepeats(records: object[], url: string): void {
    const hash = hashOf(records);
    this.#repeated = this.#hashes.has(hash) ? this.#repeated + 1 : 0;
    this.#hashes.add(hash);
    if (this.#repeated < MOST_REPEATED) return;
    throw new Error(
      `the last ${MOST_REPEATED} pages, up to ${url}, have the records of earlier ones: the API may not know the parameter of paging, or begin again behind its last page. Check paging`,
    );
  }

  #pageParams(): Record<string, string> {
    const { paging } = this.#context.config;
    if (paging.by !== "page" && paging.by !== "offset") return {};
    const { param, size_param, size } = paging;
    return {
      [param]: String(this.#position),
      ...(size_param === undefined || size === undefined ? {} : { [size_param]: String(size) }),
    };
  }

  /** A relative URL belongs to the connection that is not the token endpoint's. */
  #connection(url: string): { connection?: string } {
    const { config: { oauth }, connections } = this.#context;
    const others = connections.filter((name) => name !== oauth?.connection);
    return URL.canParse(url) || others.length !== 1 ? {} : { connection: others[0]! };
  }

  async #bearer(): Promise<string> {
    if (this.#token !== null) return this.#token;
    const { connection, scope, params } = this.#context.config.oauth!;
    const body = new URLSearchParams({ grant_type: "client_credentials" });
    if (scope !== undefined) body.set("scope", scope);
    for (const [name, value] of Object.entries(params)) body.set(name, String(value));
    const { data } = await this.#context.fetchJson("", { method: "POST", body, connection });
    const token = at(data, "access_token");
    if (typeof token !== "string") {
      throw new Error(`the token endpoint of connection ${connection} gives no access_token`);
    }
    return this.#token = token;
  }
}

/** 53 bits that tell the texts of pages apart. */
function hashOf(records: object[]): number {
  const text = JSON.stringify(
    records,
    (_name, value) => typeof value === "bigint" ? `${value}` : value,
  );
  let [high, low] = [0xdeadbeef, 0x41c6ce57];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    high = Math.imul(high ^ code, 2654435761);
    low = Math.imul(low ^ code, 1597334677);
  }
  return (high >>> 0) * 2 ** 21 + (low >>> 11);
}

function hostAndPort({ hostname, port, protocol }: URL): string {
  return `${hostname}:${port || (protocol === "http:" ? "80" : "443")}`;
}

/** A URL, relative ones too, with parameters set. */
function withParams(url: string, params: Record<string, string>): string {
  if (Object.keys(params).length === 0) return url;
  const [path = "", query = ""] = url.split("?", 2);
  const all = new URLSearchParams(query);
  for (const [name, value] of Object.entries(params)) all.set(name, value);
  return `${path}?${all}`;
}

/** The value at a path of names joined by dots. */
function at(value: Json, path: string): Json | undefined {
  let found: Json | undefined = value;
  for (const name of path.split(".")) {
    if (typeof found !== "object" || found === null) return undefined;
    found = (found as SourceRecord)[name];
  }
  return found;
}

function recordsOf(data: Json, path: string, url: string): object[] {
  if (path !== "") {
    const found = at(data, path);
    if (Array.isArray(found)) return found as object[];
    if (found === null) return [];
    throw new Error(`${url} answers without a list at records_path ${path}`);
  }
  if (Array.isArray(data)) return data as object[];
  const lists = Object.values((data ?? {}) as SourceRecord).filter(Array.isArray);
  if (lists.length === 1) return lists[0] as object[];
  throw new Error(`${url} answers with ${lists.length} lists: say which one in records_path`);
}

/** The URL of rel=next (RFC 8288). */
function nextLink(header: string): string | null {
  for (const [, url, rest] of header.matchAll(/<([^>]*)>([^<]*)/g)) {
    if (/;\s*rel\s*=\s*"?(?:[^"]*\s)?next(?:\s[^"]*)?"?\s*(?:[;,]|$)/i.test(rest!)) return url!;
  }
  return null;
}
