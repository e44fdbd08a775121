import { neededFor, TRIGGERS } from "./route_roles.ts";
import { SECURE_COOKIE } from "./session_cookie.ts";

interface Operation {
  description?: string;
  security?: Record<string, string[]>[];
  responses: Record<string, unknown>;
  [member: string]: unknown;
}

interface Document {
  paths?: Record<string, Record<string, Operation>>;
  components?: { securitySchemes?: Record<string, unknown>; [member: string]: unknown };
}

const METHODS = ["get", "post", "put", "patch", "delete"];

const PROBLEM = {
  "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
};
/** Adds to a description of the API who may use each route, and what those are told who may not. */
export function withAccess<T extends Document>(document: T): T {
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const method of METHODS) {
      const operation = item[method];
      if (operation === undefined) continue;
      const name = `${method.toUpperCase()} ${path}`;
      const needed = neededFor(name);
      const answers: Record<string, string> = { 403: "another host or origin asks" };
      if (needed === "anyone") operation.security = [];
      else {
        operation["x-role"] = needed;
        operation.security = [{ token: [] }, { session: [] }];
        answers[401] = "a token is needed, and there is none that is valid";
        answers[403] = `the role ${needed} is needed, or another host or origin asks`;
        answers[503] = "the database cannot be reached";
      }
      if (operation.requestBody !== undefined) {
        answers[413] = "the body is too large";
        answers[415] = "the body is of a type that is not taken here";
      }
      if (TRIGGERS.has(name)) answers[429] = "too many; Retry-After says when to try again";
      for (const [status, description] of Object.entries(answers)) {
        operation.responses[status] ??= { description, content: PROBLEM };
      }
    }
  }
  document.components = {
    ...document.components,
    securitySchemes: {
      token: {
        type: "http",
        scheme: "bearer",
        bearerFormat: "etl_…",
        description:
          "An API token with a role: viewer, operator or admin. Not needed on loopback " +
          "before there is a token.",
      },
      session: {
        type: "apiKey",
        in: "cookie",
        name: SECURE_COOKIE,
        description: "Of somebody who has signed in at /etl/sign-in.",
      },
    },
  };
  return document;
}
