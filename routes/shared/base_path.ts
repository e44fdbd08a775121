import type { Context, MiddlewareHandler } from "hono";
import type { Config } from "../../server/config.ts";
import { isTrustedPeer } from "../access/client_address.ts";

/** A prefix of paths as proxies have it: no empty part, no dots alone, nothing that HTML or a header would read otherwise. */
const BASE_PATH = /^(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._~-]+)+$/;

/** What stands in front of our paths in the address that the browser has asked for; "" without a proxy that says so. */
export const baseOf = (c: Context): string => c.get("base") ?? "";

/**
 * Puts the prefix under which a proxy publishes the server into all that leads back to it: what X-Forwarded-Prefix of a
 * trusted proxy says, else ETL_BASE_PATH. Pages put it into their addresses themselves (`islands/lib/base.ts`).
 */
export function belowBase(config: Pick<Config, "basePath" | "trustedProxies">): MiddlewareHandler {
  return async (c, next) => {
    const given = c.req.header("x-forwarded-prefix")?.replace(/\/+$/, "");
    const believed = given !== undefined && isTrustedPeer(c, config.trustedProxies);
    const base = believed && (given === "" || BASE_PATH.test(given)) ? given : config.basePath;
    c.set("base", base);
    await next();
    if (base === "") return;
    const { headers } = c.res;
    const location = headers.get("location");
    if (location !== null && /^\/(?!\/)/.test(location)) headers.set("location", base + location);
    const link = headers.get("link");
    if (link !== null) headers.set("link", link.replaceAll("</", `<${base}/`));
    const cookies = headers.getSetCookie();
    headers.delete("set-cookie");
    for (const each of cookies) {
      headers.append("set-cookie", each.replace(/(; *path=)(\/etl\b)/i, `$1${base}$2`));
    }
  };
}

/** The request as it is without the prefix, which a proxy may leave in its path. */
export function withoutBase(request: Request, basePath: string): Request {
  if (basePath === "") return request;
  const url = new URL(request.url);
  if (url.pathname !== basePath && !url.pathname.startsWith(`${basePath}/`)) return request;
  url.pathname = url.pathname.slice(basePath.length) || "/";
  return new Request(url, request);
}

/** The prefix in the addresses of a page that is written as HTML. */
export const htmlBelow = (c: Context, html: string): string =>
  html.replaceAll(/\b(href|src|action)="\/(?!\/)/g, `$1="${baseOf(c)}/`);

/** A problem whose `type` leads to its explanation also below a prefix. */
export const problemBelow = <T extends { type?: unknown }>(c: Context, problem: T): T =>
  typeof problem.type === "string" && problem.type.startsWith("/api/")
    ? { ...problem, type: baseOf(c) + problem.type }
    : problem;

interface WithErrors {
  error: { type?: unknown } | null;
  stages?: { error?: { type?: unknown } | null }[];
}

/** The same for the errors of a run and of its stages. */
export const runBelow = <T extends WithErrors>(c: Context, run: T): T =>
  run.error === null || baseOf(c) === "" ? run : {
    ...run,
    error: problemBelow(c, run.error),
    ...(run.stages === undefined ? {} : {
      stages: run.stages.map((stage) =>
        stage.error == null ? stage : { ...stage, error: problemBelow(c, stage.error) }
      ),
    }),
  };
