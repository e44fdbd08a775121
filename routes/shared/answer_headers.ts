import type { MiddlewareHandler } from "hono";

/**
 * What every answer says to browsers: that its type is what it says, that pages of other origins may
 * not hold it, and, of what the interface for programs answers, that nobody keeps it.
 */
export function answerHeaders(): MiddlewareHandler {
  return async (c, next) => {
    await next();
    const { headers } = c.res;
    headers.set("x-content-type-options", "nosniff");
    headers.set("cross-origin-resource-policy", "same-origin");
    const isStyle = headers.get("content-type")?.startsWith("text/css") ?? false;
    if (!c.req.path.startsWith("/etl") && !isStyle) headers.set("cache-control", "no-store");
  };
}
