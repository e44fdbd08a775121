import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import type { Role } from "../../vocabulary/words.ts";

/** Who may use a route: a role and those above it, or anyone, also without a token. */
export type Needed = Role | "anyone";

/** Bytes of a form: nobody needs to be known to send some of them. */
export const MAX_FORM_BYTES = 16 << 10;
const MIB = 1 << 20;
/** Bytes of a conf that may hold records. */
const RECORDS_BYTES = 8 * MIB;

/** What holds for a route before its handler is called. */
export interface RouteRule {
  /**
   * viewer looks; operator also starts, stops and repeats work; admin also changes what work there is, and
   * who may do it.
   */
  role: Needed;
  /** Whether it starts work: so many a minute, ETL_TRIGGERS_PER_MINUTE. Default false. */
  startsWork?: boolean;
  /** Bytes that its body may have; default 1 MiB, which is more than any conf without records needs. */
  maxBytes?: number;
}

/**
 * Every route and what holds for it, as OpenAPI writes paths. A route that is not
 * here keeps the server from starting: a new one is a line here.
 */
export const ROUTES: Record<string, RouteRule> = {
  "GET /": { role: "anyone" },
  "GET /livez": { role: "anyone" },
  "GET /readyz": { role: "anyone" },
  // what an error means is no secret, and is linked from every one
  "GET /api/problems": { role: "anyone" },
  "GET /api/problems/{type}": { role: "anyone" },
  "GET /api/openapi.json": { role: "viewer" },
  "GET /api/docs": { role: "viewer" },
  "GET /api/docs/style.css": { role: "anyone" },

  "POST /api/etl/run": { role: "operator", startsWork: true, maxBytes: RECORDS_BYTES },
  "POST /api/etl/preview": { role: "operator", startsWork: true, maxBytes: RECORDS_BYTES },
  "GET /api/connections/{name}/tables": { role: "operator", startsWork: true },
  "GET /api/etl/runs": { role: "viewer" },
  "GET /api/etl/runs/{id}": { role: "viewer" },
  "GET /api/etl/runs/{id}/chunks": { role: "viewer" },
  "GET /api/etl/runs/{id}/events": { role: "viewer" },
  "GET /api/etl/runs/{id}/exports": { role: "viewer" },
  "GET /api/etl/runs/{id}/logs": { role: "viewer" },
  "GET /api/etl/runs/{id}/quarantine": { role: "viewer" },
  "GET /api/etl/runs/{id}/validation": { role: "viewer" },
  "POST /api/etl/runs/{id}/cancel": { role: "operator" },
  "POST /api/etl/runs/{id}/retry": { role: "operator", startsWork: true },
  "POST /api/etl/runs/{id}/quarantine/replay": { role: "operator", startsWork: true },

  "GET /api/etl/health": { role: "viewer" },
  "GET /api/etl/metrics": { role: "viewer" },
  "GET /api/metrics/latest": { role: "viewer" },
  "GET /api/metrics/history": { role: "viewer" },
  "GET /api/alerts/recent": { role: "viewer" },
  "GET /api/alerts/open": { role: "viewer" },
  "GET /api/etl/consumer": { role: "viewer" },
  "POST /api/alerts/handle": { role: "operator" },
  "POST /api/alerts/test": { role: "operator" },
  "GET /api/datasets": { role: "viewer" },
  "GET /api/datasets/events": { role: "viewer" },
  "GET /api/datasets/{dataset}/columns": { role: "viewer" },
  "PUT /api/datasets/{dataset}/columns": { role: "admin" },
  "PATCH /api/datasets/{dataset}/columns": { role: "admin" },
  "PATCH /api/datasets/{dataset}/private": { role: "admin" },
  "POST /api/datasets/{dataset}/distribute": { role: "admin" },
  "POST /api/datasets/{dataset}/forget": { role: "admin", startsWork: true },
  "DELETE /api/datasets/{dataset}/columns": { role: "admin" },
  "GET /api/datasets/{dataset}/columns/proposal": { role: "viewer" },
  "GET /api/consumers": { role: "viewer" },
  "POST /api/consumers/{consumer}/redeliver": { role: "operator", startsWork: true },
  "POST /api/consumers/{consumer}/try": { role: "operator", startsWork: true },
  "GET /api/deliveries/{id}": { role: "viewer" },
  "GET /api/reports/latest": { role: "viewer" },
  "POST /api/datasets/{dataset}/compare": { role: "operator", startsWork: true },
  "POST /api/etl/downstream": { role: "operator", startsWork: true },
  "POST /api/etl/maintenance": { role: "operator", startsWork: true },
  "GET /api/etl/maintenance": { role: "viewer" },
  "GET /api/etl/maintenance/{id}": { role: "viewer" },
  "GET /api/jobs": { role: "viewer" },
  "GET /api/jobs/{name}": { role: "viewer" },

  "GET /api/schedules": { role: "viewer" },
  "GET /api/schedules/{name}": { role: "viewer" },
  "PUT /api/schedules/{name}": { role: "admin" },
  "DELETE /api/schedules/{name}": { role: "admin" },
  "POST /api/schedules/{name}/pause": { role: "operator" },
  "POST /api/schedules/{name}/resume": { role: "operator" },
  "POST /api/schedules/{name}/run": { role: "operator", startsWork: true },
  "POST /api/schedules/{name}/backfill": { role: "operator", startsWork: true },
  "GET /api/schedules/{name}/slots": { role: "viewer" },
  "POST /api/schedules/preview": { role: "viewer" },

  "GET /api/configurations": { role: "viewer" },
  "GET /api/configurations/{name}": { role: "viewer" },
  "PUT /api/configurations/{name}": { role: "admin" },
  "DELETE /api/configurations/{name}": { role: "admin" },
  "GET /api/variables": { role: "viewer" },
  "GET /api/variables/{name}": { role: "viewer" },
  "PUT /api/variables/{name}": { role: "admin" },
  "DELETE /api/variables/{name}": { role: "admin" },
  "GET /api/pools": { role: "viewer" },
  "GET /api/pools/{name}": { role: "viewer" },
  "PUT /api/pools/{name}": { role: "admin" },
  "DELETE /api/pools/{name}": { role: "admin" },
  "GET /api/suites": { role: "viewer" },
  "GET /api/suites/{name}": { role: "viewer" },
  "PUT /api/suites/{name}": { role: "admin", maxBytes: 4 * MIB },
  "DELETE /api/suites/{name}": { role: "admin" },
  "POST /api/suites/try": { role: "operator", startsWork: true, maxBytes: RECORDS_BYTES },
  "POST /api/suites/profile": { role: "operator", startsWork: true, maxBytes: RECORDS_BYTES },

  "GET /api/tokens": { role: "admin" },
  "POST /api/tokens": { role: "admin" },
  "DELETE /api/tokens/{name}": { role: "admin" },
  "DELETE /api/tokens/{name}/sessions": { role: "admin" },

  // pages say it themselves: PAGES in routes/dashboard/dashboard.tsx
  "GET /etl/events": { role: "viewer" },
  "GET /etl/*": { role: "viewer" },
  // the sign-in page has style sheets, a language and colours too
  "GET /etl/assets/{file}": { role: "anyone" },
  "POST /etl/preferences": { role: "anyone", maxBytes: MAX_FORM_BYTES },
  "GET /etl/sign-in": { role: "anyone" },
  "POST /etl/sign-in": { role: "anyone", maxBytes: MAX_FORM_BYTES },
  "POST /etl/sign-out": { role: "anyone", maxBytes: MAX_FORM_BYTES },
};

/** Says who may use a route where it is registered, as pages of the dashboard do. */
export function allow(route: string, needed: Needed): void {
  ROUTES[route] = { role: needed };
}

interface Route {
  method: string;
  path: string;
}

/** A route as ROUTES writes it; null for middleware. */
export function routeName({ method, path }: Route): string | null {
  if (method === "ALL") return null;
  const plain = path.replaceAll(/:([A-Za-z_]+)(\{[^/]*\})?/g, "{$1}");
  return `${method} ${plain.length > 1 ? plain.replace(/\/$/, "") : plain}`;
}

/** The route that will answer, as ROUTES writes it; undefined where there is none. */
export function routeOf(c: Context): string | undefined {
  for (const route of matchedRoutes(c)) {
    const name = routeName(route);
    if (name !== null) return name;
  }
  return undefined;
}

/** Who may use a route; what is not known is for nobody below an admin. */
export function neededFor(name: string | undefined): Needed {
  return name === undefined ? "viewer" : ROUTES[name]?.role ?? "admin";
}

/** Whether a route starts work. */
export function startsWork(name: string | undefined): boolean {
  return name !== undefined && (ROUTES[name]?.startsWork ?? false);
}

/** Bytes that the body of a route may have. */
export function bodyBytesOf(name: string | undefined): number {
  return (name === undefined ? undefined : ROUTES[name]?.maxBytes) ?? MIB;
}

/** Throws where a route has no role, or answers to every method so that none can be looked up. */
export function requireRoles(routes: Route[]): void {
  const names = new Set(routes.map(routeName).filter((name) => name !== null));
  const forgotten = [...names].filter((name) => !Object.hasOwn(ROUTES, name));
  if (forgotten.length > 0) {
    throw new Error(
      `No role is declared for ${forgotten.join(", ")}. ` +
        "Add a line for each to ROUTES in routes/access/route_rules.ts.",
    );
  }
  const handled = routes.filter(({ method, path }) => method === "ALL" && !path.endsWith("*"));
  if (handled.length > 0) {
    throw new Error(
      `${handled.map(({ path }) => path).join(", ")} answers to every method. Register one each, ` +
        "so that routes/access/route_rules.ts can say who may use it.",
    );
  }
}
