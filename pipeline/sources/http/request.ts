import type { IncomingMessage, RequestOptions } from "node:http";
import http from "node:http";
import https from "node:https";
import { Problem } from "../../../vocabulary/problem.ts";
import {
  type Address,
  allowedAddresses,
  type GuardOptions,
  hostOf,
  notPermitted,
} from "./address_guard.ts";

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
    settings.auth = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  }
  const request = (url.protocol === "https:" ? https : http).get(settings, resolve);
  request.on("error", (error: Error & { code?: string }) => {
    const forbidden = error.code === "EPERM" || error.name === "NotCapable";
    reject(forbidden ? notPermitted(url.host, error) : error);
  });
  request.setTimeout(options.idleTimeoutMs, () => {
    request.destroy(new Error(`no byte for ${options.idleTimeoutMs} ms`));
  });
  const abort = () => request.destroy(options.signal.reason);
  options.signal.addEventListener("abort", abort, { once: true });
  request.on("close", () => options.signal.removeEventListener("abort", abort));
  return promise;
}
