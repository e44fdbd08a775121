import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import type { Role } from "../../vocabulary/words.ts";

/** Who may use a route: a role and those above it, or anyone, also without a token. */
export type Needed = Role | "anyone";

/**
 * Every route and who may use it, as OpenAPI writes paths. A route that is not
 * here keeps the server from starting: a new one is a line here.
 *
 * viewer looks; operator also starts, stops and repeats work; admin also changes
 * what work there is, and who may do it.
 */
export const ROUTE_ROLES: Record<string, Needed> = {
  "GET /": "anyone",
  "GET /livez": "anyone",
  "GET /readyz": "anyone",
  // what an error means is no secret, and is linked from every one
  "GET /api/problems": "anyone",
  "GET /api/problems/{type}": "anyone",
  "GET /api/openapi.json": "viewer",
  "GET /api/docs": "viewer",
  "GET /api/docs/style.css": "anyone",

  "POST /api/etl/run": "operator",
  "POST /api/etl/preview": "operator",
  "GET /api/etl/runs": "viewer",
  "GET /api/etl/runs/{id}": "viewer",
  "GET /api/etl/runs/{id}/chunks": "viewer",
  "GET /api/etl/runs/{id}/events": "viewer",
  "GET /api/etl/runs/{id}/exports": "viewer",
  "GET /api/etl/runs/{id}/logs": "viewer",
  "GET /api/etl/runs/{id}/quarantine": "viewer",
  "GET /api/etl/runs/{id}/validation": "viewer",
  "POST /api/etl/runs/{id}/cancel": "operator",
  "POST /api/etl/runs/{id}/retry": "operator",
  "POST /api/etl/runs/{id}/quarantine/replay": "operator",

  "GET /api/etl/health": "viewer",
  "GET /api/etl/metrics": "viewer",
  "GET /api/metrics/latest": "viewer",
  "GET /api/metrics/history": "viewer",
  "GET /api/alerts/recent": "viewer",
  "GET /api/alerts/open": "viewer",
  "POST /api/alerts/handle": "operator",
  "POST /api/alerts/test": "operator",
  "GET /api/datasets": "viewer",
  "GET /api/datasets/events": "viewer",
  "GET /api/datasets/{dataset}/columns": "viewer",
  "PUT /api/datasets/{dataset}/columns": "admin",
  "DELETE /api/datasets/{dataset}/columns": "admin",
  "GET /api/datasets/{dataset}/columns/proposal": "viewer",
  "GET /api/consumers": "viewer",
  "GET /api/deliveries/{id}": "viewer",
  "GET /api/reports/latest": "viewer",
  "POST /api/etl/downstream": "operator",
  "POST /api/etl/maintenance": "operator",
  "GET /api/etl/maintenance": "viewer",
  "GET /api/etl/maintenance/{id}": "viewer",
  "GET /api/jobs": "viewer",
  "GET /api/jobs/{name}": "viewer",

  "GET /api/schedules": "viewer",
  "GET /api/schedules/{name}": "viewer",
  "PUT /api/schedules/{name}": "admin",
  "DELETE /api/schedules/{name}": "admin",
  "POST /api/schedules/{name}/pause": "operator",
  "POST /api/schedules/{name}/resume": "operator",
  "POST /api/schedules/{name}/run": "operator",
  "POST /api/schedules/{name}/backfill": "operator",
  "GET /api/schedules/{name}/slots": "viewer",
  "POST /api/schedules/preview": "viewer",

  "GET /api/configurations": "viewer",
  "GET /api/configurations/{name}": "viewer",
  "PUT /api/configurations/{name}": "admin",
  "DELETE /api/configurations/{name}": "admin",
  "GET /api/variables": "viewer",
  "GET /api/variables/{name}": "viewer",
  "PUT /api/variables/{name}": "admin",
  "DELETE /api/variables/{name}": "admin",
  "GET /api/pools": "viewer",
  "GET /api/pools/{name}": "viewer",
  "PUT /api/pools/{name}": "admin",
  "DELETE /api/pools/{name}": "admin",
  "GET /api/suites": "viewer",
  "GET /api/suites/{name}": "viewer",
  "PUT /api/suites/{name}": "admin",
  "DELETE /api/suites/{name}": "admin",
  "POST /api/suites/try": "operator",
  "POST /api/suites/profile": "operator",

  "GET /api/tokens": "admin",
  "POST /api/tokens": "admin",
  "DELETE /api/tokens/{name}": "admin",
  "DELETE /api/tokens/{name}/sessions": "admin",

  // pages say it themselves: PAGES in routes/dashboard/dashboard.tsx
  "GET /etl/events": "viewer",
  "GET /etl/*": "viewer",
  // the sign-in page has style sheets, a language and colours too
  "GET /etl/assets/{file}": "anyone",
  "POST /etl/preferences": "anyone",
  "GET /etl/sign-in": "anyone",
  "POST /etl/sign-in": "anyone",
  "POST /etl/sign-out": "anyone",
};

/** Says who may use a route where it is registered, as pages of the dashboard do. */
export function allow(route: string, needed: Needed): void {
  ROUTE_ROLES[route] = needed;
}

/** What starts work: so many a minute, ETL_TRIGGERS_PER_MINUTE. */
export const TRIGGERS: ReadonlySet<string> = new Set([
  "POST /api/etl/run",
  "POST /api/etl/preview",
  "POST /api/etl/runs/{id}/retry",
  "POST /api/etl/runs/{id}/quarantine/replay",
  "POST /api/etl/downstream",
  "POST /api/etl/maintenance",
  "POST /api/schedules/{name}/run",
  "POST /api/schedules/{name}/backfill",
  "POST /api/suites/try",
  "POST /api/suites/profile",
]);

interface Route {
  method: string;
  path: string;
}

/** A route as ROUTE_ROLES writes it; null for middleware. */
export function routeName({ method, path }: Route): string | null {
  if (method === "ALL") return null;
  const plain = path.replaceAll(/:([A-Za-z_]+)(\{[^/]*\})?/g, "{$1}");
  return `${method} ${plain.length > 1 ? plain.replace(/\/$/, "") : plain}`;
}

/** The route that will answer, as ROUTE_ROLES writes it; undefined where there is none. */
export function routeOf(c: Context): string | undefined {
  for (const route of matchedRoutes(c)) {
    const name = routeName(route);
    if (name !== null) return name;
  }
  return undefined;
}

/** Who may use a route; what is not known is for nobody below an admin. */
export function neededFor(name: string | undefined): Needed {
  return name === undefined ? "viewer" : ROUTE_ROLES[name] ?? "admin";
}

/** Throws where a route has no role, or answers to every method so that none can be looked up. */
export function requireRoles(routes: Route[]): void {
  const names = new Set(routes.map(routeName).filter((name) => name !== null));
  const forgotten = [...names].filter((name) => !Object.hasOwn(ROUTE_ROLES, name));
  if (forgotten.length > 0) {
    throw new Error(
      `Nobody has said who may use ${forgotten.join(", ")}. ` +
        "Add a line for each to ROUTE_ROLES in routes/access/route_roles.ts.",
    );
  }
  const handled = routes.filter(({ method, path }) => method === "ALL" && !path.endsWith("*"));
  if (handled.length > 0) {
    throw new Error(
      `${handled.map(({ path }) => path).join(", ")} answers to every method. Register one each, ` +
        "so that routes/access/route_roles.ts can say who may use it.",
    );
  }
}
