import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { Problem, type ProblemType } from "../vocabulary/problem.ts";
import { PROBLEM_TYPES } from "../vocabulary/problem_types.ts";
import { withAccess } from "./access/documented.ts";
import {
  apiPage,
  DOCS_STYLE,
  type OpenApiDocument,
  problemPage,
  problemsPage,
} from "./docs_page.ts";

/** What /api/openapi.json says about itself. */
const DOCUMENT = {
  openapi: "3.1.0",
  info: {
    title: "etl-improved",
    version: "0.1.0",
    description:
      "An ETL pipeline with a queue, validation, metrics and a dashboard, on PostgreSQL alone.",
  },
};

/** The pages are plain HTML with one style sheet: nothing of them may run. */
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};

/**
 * The description of the API: for programs /api/openapi.json, for people
 * /api/docs and /api/problems. Registered after all other routes.
 */
export function docsRoutes(app: OpenAPIHono): void {
  const document = () => withAccess(app.getOpenAPI31Document(DOCUMENT) as never) as OpenApiDocument;
  app.get("/api/openapi.json", (c) => c.json(document() as never));
  app.get("/api/docs", (c) => c.html(apiPage(document()), 200, HEADERS));
  app.get("/api/docs/style.css", (c) => c.body(DOCS_STYLE, 200, { "content-type": "text/css" }));
  app.get(
    "/api/problems",
    (c) =>
      wantsHtml(c)
        ? c.html(problemsPage(Object.keys(PROBLEM_TYPES).map(explained)), 200, HEADERS)
        : c.json({ items: Object.keys(PROBLEM_TYPES).map(explained) }),
  );
  app.get("/api/problems/:type", (c) => {
    const type = c.req.param("type");
    if (!Object.hasOwn(PROBLEM_TYPES, type)) {
      throw new Problem("not-found", {
        status: 404,
        detail: `There is no kind of problem ${type.slice(0, 100)}. /api/problems lists them.`,
      });
    }
    const problem = explained(type);
    return wantsHtml(c) ? c.html(problemPage(problem), 200, HEADERS) : c.json(problem);
  });
}

function explained(type: string) {
  const known = type as ProblemType;
  const { type: uri, title } = new Problem(known, { detail: "" }).toJSON();
  return { type: uri, title, ...PROBLEM_TYPES[known] };
}

/** Browsers ask for HTML by name; everyone else gets JSON. */
function wantsHtml(c: Context): boolean {
  return (c.req.header("accept") ?? "").includes("text/html");
}
