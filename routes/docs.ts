import { baseOf, htmlBelow } from "./shared/base_path.ts";
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { html } from "hono/html";
import { Problem, type ProblemType, titleOf } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { PROBLEM_TYPES } from "../vocabulary/problem_types.ts";
import type { Lang } from "../islands/lib/locale.ts";
import { PROBLEMS_ES } from "../vocabulary/problems_es.ts";
import { wantsSpanish } from "./shared/language.ts";
import { VERSION } from "../vocabulary/version.ts";
import { neededFor, startsWork } from "./access/route_rules.ts";
import { SECURE_COOKIE } from "./access/session.ts";

/** What /api/openapi.json says about itself. */
const DOCUMENT = {
  openapi: "3.1.0",
  info: {
    title: "etl-improved",
    version: VERSION,
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
  app.get(
    "/api/openapi.json",
    (c) => c.json({ ...document(), servers: [{ url: baseOf(c) || "/" }] } as never),
  );
  app.get("/api/docs", (c) => c.html(htmlBelow(c, String(apiPage(document()))), 200, HEADERS));
  app.get("/api/docs/style.css", (c) => c.body(DOCS_STYLE, 200, { "content-type": "text/css" }));
  app.get(
    "/api/problems",
    (c) => {
      const lang = langOf(c);
      const items = Object.keys(PROBLEM_TYPES).map((type) => explained(type, lang));
      return wantsHtml(c)
        ? c.html(htmlBelow(c, String(problemsPage(items, lang))), 200, HEADERS)
        : c.json({ items });
    },
  );
  app.get("/api/problems/:type", (c) => {
    const type = c.req.param("type");
    if (!Object.hasOwn(PROBLEM_TYPES, type)) {
      throw new Problem("not-found", {
        detail: say("no-problem-type", { type: type.slice(0, 100) }),
      });
    }
    const lang = langOf(c);
    const problem = explained(type, lang);
    return wantsHtml(c)
      ? c.html(htmlBelow(c, String(problemPage(problem, lang))), 200, HEADERS)
      : c.json(problem);
  });
}

/** The dashboard says in the address which language its viewer has chosen; all others ask for it in a header. */
function langOf(c: Context): Lang {
  const lang = c.req.query("lang");
  return lang === "en" || lang === "es" ? lang : wantsSpanish(c) ? "es" : "en";
}

function explained(type: string, lang: Lang) {
  const known = type as ProblemType;
  return {
    type: `/api/problems/${known}`,
    title: titleOf(known),
    ...PROBLEM_TYPES[known],
    ...(lang === "es" ? PROBLEMS_ES[known] : {}),
  };
}

/** Browsers ask for HTML by name; everyone else gets JSON. */
function wantsHtml(c: Context): boolean {
  return (c.req.header("accept") ?? "").includes("text/html");
}

type Html = ReturnType<typeof html>;

interface Schema {
  $ref?: string;
  type?: string | string[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  default?: unknown;
  description?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
}

interface Content {
  [mediaType: string]: { schema?: Schema };
}

interface Operation {
  summary?: string;
  description?: string;
  parameters?: {
    name: string;
    in: string;
    required?: boolean;
    description?: string;
    schema?: Schema;
  }[];
  requestBody?: { content: Content };
  responses: Record<string, { description?: string; content?: Content }>;
  /** Who may use it; not there: anyone. */
  "x-role"?: string;
}

/** The part of an OpenAPI document that the page shows. */
interface OpenApiDocument {
  info: { title: string; version: string; description?: string };
  paths: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, Schema> };
}

interface ExplainedProblem {
  type: string;
  title: string;
  meaning: string;
  remedies: string[];
}

const METHODS = ["get", "post", "put", "patch", "delete"];

/** What pages of problems say themselves. */
const WORDS = {
  en: {
    problems: "Problems",
    about: html`Errors of the API and of runs have a <code>type</code>, which is one of these.`,
    what_to_do: "What to do",
    documentation: "Documentation",
  },
  es: {
    problems: "Problemas",
    about:
      html`Los errores de la API y de las ejecuciones tienen un <code>type</code>, que es uno de estos.`,
    what_to_do: "Qué hacer",
    documentation: "Documentación",
  },
};

function page(title: string, content: Html, lang: Lang = "en"): Html {
  return html`
    <!DOCTYPE html>
    <html lang="${lang}">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>${title} · etl-improved</title>
        <link rel="stylesheet" href="/api/docs/style.css">
      </head>
      <body>
        <header>
          <nav
            aria-label="${WORDS[lang]
              .documentation}"><a href="/api/docs">API</a> <a href="/api/problems?lang=${lang}">${WORDS[
                lang
              ]
              .problems}</a>
    <a href="/api/openapi.json">openapi.json</a></nav>
        </header>
        <main>${content}</main>
      </body>
    </html>
  `;
}

/** Every address of the API, from its OpenAPI document. */
function apiPage({ info, paths, components }: OpenApiDocument): Html {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    METHODS.flatMap((method) =>
      methods[method] ? [{ path, method, operation: methods[method] }] : []
    )
  );
  const schemas = Object.entries(components?.schemas ?? {});
  return page(
    "API",
    html`
      <h1>${info.title} <small>${info.version}</small></h1>
      <p>${info.description ?? ""}</p>
      <p>Errors are problem details (RFC 9457): <code>detail</code> explains what happened and what to do,
      <code>errors</code> lists each field. <a href="/api/problems">All kinds of problem</a>.</p>
      <h2>Addresses</h2>
      <table>
        <tbody>${operations.map(({ path, method, operation }) =>
          html`
            <tr>
              <td><code>${method.toUpperCase()}</code></td>
              <td><a href="#${anchor(method, path)}"><code>${path}</code></a></td>
              <td>${operation.summary ?? ""}</td>
            </tr>
          `
        )}</tbody>
      </table>
      ${operations.map(({ path, method, operation }) => operationSection(method, path, operation))}
      <h2>Schemas</h2>
      ${schemas.map(([name, schema]) =>
        html`<section id="schema-${name}"><h3>${name}</h3>${schemaView(schema)}</section>`
      )}
    `,
  );
}

function operationSection(method: string, path: string, operation: Operation): Html {
  const { summary = "", description = "", parameters = [], requestBody, responses } = operation;
  return html`<section id="${anchor(method, path)}">
<h3><code>${method.toUpperCase()} ${path}</code></h3>
<p>${summary}${summary ? "." : ""} ${description}</p>
<p>For ${operation["x-role"] === undefined ? "anyone" : `the role ${operation["x-role"]}`}.</p>
${
    parameters.length === 0 ? "" : html`
      <h4>Parameters</h4>
      <table>
        <thead>
          <tr>
            <th>Name</th>
            <th>In</th>
            <th>Type</th>
            <th>Meaning</th>
          </tr>
        </thead>
        <tbody>${parameters.map((each) =>
          html`
            <tr>
              <td><code>${each.name}</code>${each.required ? " (required)" : ""}</td>
              <td>${each.in}</td>
              <td>${typeView(each.schema ?? {})}</td>
              <td>${each.description ?? ""}</td>
            </tr>
          `
        )}</tbody>
      </table>
    `
  }
${requestBody === undefined ? "" : html`<h4>Body</h4>${contentView(requestBody.content)}`}
<h4>Answers</h4>
<ul>${
    Object.entries(responses).map(([status, response]) =>
      html`<li><code>${status}</code> ${response.description ?? ""}
${status.startsWith("2") ? contentView(response.content ?? {}) : ""}</li>`
    )
  }</ul>
</section>`;
}

function contentView(content: Content): Html {
  const plain = Object.entries(content).filter(([, { schema }]) => schema?.format === "binary");
  const described = Object.entries(content).filter(([, { schema }]) => schema?.format !== "binary");
  return html`${
    described.map(([type, { schema }]) =>
      html`<p><code>${type}</code></p>${schema === undefined ? "" : schemaView(schema)}`
    )
  }${
    plain.length === 0
      ? ""
      : html`<p>Data: ${
        plain.map(([type], i) => html`${i > 0 ? ", " : ""}<code>${type}</code>`)
      }</p>`
  }`;
}

/** Members of an object, or what else the schema says. */
function schemaView(schema: Schema): Html {
  if (schema.properties === undefined) return html`<p>${typeView(schema)}</p>`;
  const required = new Set(schema.required ?? []);
  return html`
    <table>
      <thead>
        <tr>
          <th>Member</th>
          <th>Type</th>
          <th>Default</th>
          <th>Meaning</th>
        </tr>
      </thead>
      <tbody>${Object.entries(schema.properties).map(([name, member]) =>
        html`
          <tr>
            <td><code>${name}</code>${required.has(name) ? "" : html`
              <small>optional</small>
            `}</td>
            <td>${typeView(member)}</td>
            <td>${member.default === undefined
              ? ""
              : html`<code>${JSON.stringify(member.default)}</code>`}</td>
            <td>${member.description ?? ""}</td>
          </tr>
        `
      )}</tbody>
    </table>
  `;
}

function typeView(schema: Schema): Html {
  const { $ref, oneOf, anyOf, items, type } = schema;
  if ($ref !== undefined) {
    const name = $ref.slice($ref.lastIndexOf("/") + 1);
    return html`<a href="#schema-${name}">${name}</a>`;
  }
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`;
  if (schema.enum) {
    return joined(schema.enum.map((value) => html`<code>${JSON.stringify(value)}</code>`));
  }
  if (oneOf ?? anyOf) return joined((oneOf ?? anyOf)!.map(typeView));
  if (type === "array") return html`list of ${typeView(items ?? {})}`;
  if (type === "object" && schema.properties !== undefined) {
    return html`<details><summary>${schema.description ?? "object"}</summary>${
      schemaView(schema)
    }</details>`;
  }
  const { minimum, maximum, format } = schema;
  const bounds = minimum === undefined && maximum === undefined
    ? ""
    : ` ${minimum ?? "…"} to ${maximum ?? "…"}`;
  return html`${[type ?? "anything"].flat().join(" or ")}${format ? ` (${format})` : ""}${bounds}`;
}

function joined(parts: Html[]): Html {
  return html`${parts.map((part, i) => html`${i > 0 ? " or " : ""}${part}`)}`;
}

function anchor(method: string, path: string): string {
  return `${method}${path.replaceAll(/[^a-z0-9]+/gi, "-").replace(/-$/, "")}`;
}

/** All kinds of problem. */
function problemsPage(problems: ExplainedProblem[], lang: Lang): Html {
  return page(
    WORDS[lang].problems,
    html`
      <h1>${WORDS[lang].problems}</h1>
      <p>${WORDS[lang].about}</p>
      <table>
        <tbody>${problems.map(({ type, title, meaning }) =>
          html`
            <tr>
              <td><a href="${type}?lang=${lang}">${title}</a></td>
              <td>${withCode(meaning)}</td>
            </tr>
          `
        )}</tbody>
      </table>
    `,
    lang,
  );
}

/** One kind of problem: what it means and what to do. */
function problemPage({ type, title, meaning, remedies }: ExplainedProblem, lang: Lang): Html {
  return page(
    title,
    html`<h1>${title}</h1>
<p><code>${type}</code></p>
<p>${withCode(meaning)}</p>
<h2>${WORDS[lang].what_to_do}</h2>
<ul>${remedies.map((remedy) => html`<li>${withCode(remedy)}</li>`)}</ul>`,
    lang,
  );
}

/** Text whose parts between backticks are code. */
function withCode(text: string): Html {
  return html`${text.split("`").map((part, i) => i % 2 === 1 ? html`<code>${part}</code>` : part)}`;
}

const DOCS_STYLE = `:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 0 1rem 4rem; }
header { border-bottom: 1px solid #8886; padding: .75rem 0; }
nav a { margin-right: 1rem; }
h1 small { font-size: 1rem; font-weight: normal; }
section { border-top: 1px solid #8886; margin-top: 2rem; padding-top: .5rem; }
code { font: .9em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .5rem 0; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: .35rem .75rem .35rem 0; text-align: left; vertical-align: top; }
td table { font-size: .95em; }
details > summary { cursor: pointer; }
`;

interface GuardedOperation {
  description?: string;
  security?: Record<string, string[]>[];
  responses: Record<string, unknown>;
  [member: string]: unknown;
}

interface GuardedDocument {
  paths?: Record<string, Record<string, GuardedOperation>>;
  components?: { securitySchemes?: Record<string, unknown>; [member: string]: unknown };
}

const PROBLEM = {
  "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
};
/** Adds to a description of the API who may use each route, and what those are told who may not. */
function withAccess<T extends GuardedDocument>(document: T): T {
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const method of METHODS) {
      const operation = item[method];
      if (operation === undefined) continue;
      const name = `${method.toUpperCase()} ${path}`;
      const needed = neededFor(name);
      const answers: Record<string, string> = { 403: "a foreign host or origin" };
      if (needed === "anyone") operation.security = [];
      else {
        operation["x-role"] = needed;
        operation.security = [{ token: [] }, { session: [] }];
        answers[401] = "a token is needed, and there is none that is valid";
        answers[403] = `the role ${needed} is needed, or another host or origin asks`;
        answers[503] = "the database cannot be reached";
      }
      if (operation.parameters !== undefined || operation.requestBody !== undefined) {
        answers[400] = "a parameter is wrong; errors names each with its field";
      }
      if (operation.requestBody !== undefined) {
        answers[413] = "the body is too large";
        answers[415] = "the body is of a type that is not taken here";
      }
      if (startsWork(name)) answers[429] = "too many; try again after Retry-After";
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
        description: "The session of somebody who has signed in at /etl/sign-in.",
      },
    },
  };
  return document;
}
