import type { OpenAPIHono } from "@hono/zod-openapi";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/** The HTTP methods that a path answers to; none where there is nothing. */
export function allowedMethods(app: OpenAPIHono, path: string): string[] {
  const handlers = (method: string) => app.router.match(method, path)[0].length;
  // what answers to any method is middleware
  const middleware = handlers("NONE");
  const found = METHODS.filter((method) => handlers(method) > middleware);
  return found.includes("GET") ? ["GET", "HEAD", ...found.slice(1)] : found;
}
