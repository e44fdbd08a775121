import { type Context, Hono } from "hono";
import { h } from "preact";
import { renderToString } from "preact-render-to-string";
import type { ComponentType } from "preact";
import { en } from "../../islands/i18n/en.ts";
import { es } from "../../islands/i18n/es.ts";
import {
  LocaleContext,
  type LocaleNow,
  type Viewer,
  ViewerContext,
} from "../../islands/lib/context.tsx";
import { createLocale, type Lang } from "../../islands/lib/locale.ts";
import { inSpanish } from "../../vocabulary/messages.ts";
import { type DashboardDeps, type Page, renderPage } from "../../routes/dashboard/page.tsx";
import type { MenuItem } from "../../routes/dashboard/layout.tsx";
import type { Identity } from "../../routes/access/identity.ts";

/** An id of a run. */
export const RUN = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;

/** How somebody looks at a page. */
export interface Visit {
  /** What is found for what the page looks up, by the beginning of its key; a function is given the key. */
  found?: Record<string, unknown>;
  /** What the database answers to a statement that has the text; default: nothing. */
  rows?: Record<string, unknown[]>;
  /** Default: nobody who is known. */
  identity?: Identity;
  headers?: Record<string, string>;
  menu?: MenuItem[];
  /** One server's, which keeps for a second what it has rendered; default: another server each time. */
  assets?: DashboardDeps["assets"];
}

/** A database that answers a statement, its values included, with the rows whose key is part of it. */
export function databaseOf(rows: Record<string, unknown[]>): DashboardDeps["sql"] {
  return ((parts: TemplateStringsArray | string, ...values: unknown[]) => {
    if (typeof parts === "string") return parts;
    const text = parts.map((part, i) => part + (values[i] ?? "")).join("");
    const key = Object.keys(rows).find((each) => text.includes(each));
    return Promise.resolve(key === undefined ? [] : rows[key]);
  }) as never;
}

/** A server that has built nothing for browsers. */
export const newAssets = () =>
  ({ manifest: () => Promise.resolve(null) }) as unknown as DashboardDeps["assets"];

/** A page as a browser gets it, without scripts, server and database. */
export async function visit(page: Page, path: string, options: Visit = {}): Promise<Response> {
  const { found = {}, rows = {}, identity, headers = {}, menu = [], assets = newAssets() } =
    options;
  const deps = {
    sql: databaseOf(rows),
    assets,
    briefly: {
      get(key: string, look: () => unknown) {
        const known = Object.keys(found).find((each) => key.startsWith(each));
        if (known === undefined) return look();
        const value = found[known];
        return Promise.resolve(typeof value === "function" ? value(key) : value);
      },
    },
  } as unknown as DashboardDeps;
  const app = new Hono();
  const answer = (load: (c: Context) => Promise<Response>) => (c: Context) => {
    if (identity !== undefined) c.set("identity", identity);
    return load(c);
  };
  for (const [at, load] of Object.entries(page.data ?? {})) {
    app.get(`/etl${at}`, answer((c) => load(c, deps)));
  }
  const at = `/etl${page.path}`.replace(/\/$/, "");
  app.get(
    at,
    answer(async (c) => {
      const content = await page.load(c, deps);
      if (content instanceof Response) return content;
      return await renderPage(c, deps.assets, { ...content, menu, nav: page.nav });
    }),
  );
  return await app.request(path, { headers: { "accept-language": "en-GB", ...headers } });
}

/** The main part of a page as HTML. */
export async function mainOf(page: Page, path: string, options: Visit = {}): Promise<string> {
  const html = await (await visit(page, path, options)).text();
  return html.slice(html.indexOf("<main"), html.indexOf("</main>"));
}

export interface Look {
  /** Default: English. */
  lang?: Lang;
  /** Default: UTC. */
  zone?: string;
  /** Now, as ISO 8601; default: 2026-01-02T12:00:00Z. */
  now?: string;
  /** Default: admin. */
  role?: "viewer" | "operator" | "admin";
}

/** What pages and islands are rendered with. */
export function contextsOf(
  { lang = "en", zone = "UTC", now = "2026-01-02T12:00:00Z", role = "admin" }: Look,
): { locale: LocaleNow; viewer: Viewer } {
  const tag = lang === "es" ? "es-ES" : "en-GB";
  const messages = lang === "es" ? es : en;
  const translate = lang === "es" ? inSpanish : (text: string) => text;
  return {
    locale: {
      locale: createLocale({ lang, tag, zone, messages, translate }),
      now: Date.parse(now),
    },
    viewer: { role, needsToken: false, origin: "http://here" },
  };
}

/** A component as HTML. */
export function htmlOf<P extends object>(
  component: ComponentType<P>,
  props: P,
  look: Look = {},
): string {
  const { locale, viewer } = contextsOf(look);
  const inside = h(ViewerContext.Provider, { value: viewer, children: h(component, props) });
  return renderToString(h(LocaleContext.Provider, { value: locale, children: inside }));
}

/** What follows the name of a tag; a text in quotes may hold any sign but those. */
const REST = '(?:[^>"]|"[^"]*")*>';
const TAG = new RegExp(`<${REST}`, "g");
const VOID = /^<(?:input|meta|link|br)\b|\/>$/;

/** The elements of a tag whose opening has a text, as HTML with all that they hold; those inside of one are not listed. */
export function elements(html: string, tag: string, having = ""): string[] {
  const found: string[] = [];
  const each = new RegExp(`<${tag}(?=[\\s>/])${REST}|</${tag}>`, "g");
  let depth = 0;
  let from = -1;
  let inside = 0;
  for (const { 0: text, index } of html.matchAll(each)) {
    const closes = text.startsWith("</");
    const single = VOID.test(text);
    if (from < 0 && !closes && text.includes(having)) {
      from = index;
      inside = depth;
    }
    if (closes) depth--;
    else if (!single) depth++;
    if (from >= 0 && depth === inside) {
      found.push(html.slice(from, index + text.length));
      from = -1;
    }
  }
  return found;
}

/** The only such element. */
export function element(html: string, tag: string, having = ""): string {
  const found = elements(html, tag, having);
  if (found.length !== 1) {
    throw new Error(`${found.length} of <${tag} ${having}> in ${html.slice(0, 4000)}`);
  }
  return found[0]!;
}

const ENTITIES: Record<string, string> = { lt: "<", gt: ">", quot: '"', amp: "&", "#39": "'" };

const decoded = (text: string) =>
  text.replace(/&(lt|gt|quot|amp|#39);/g, (_, name: string) => ENTITIES[name]!);

/** What is read in it, text by text. */
export function texts(html: string): string[] {
  return html.split(TAG).map((text) => decoded(text).replace(/\s+/g, " ").trim())
    .filter((text) => text !== "");
}

/** The same in one line. */
export const textOf = (html: string): string => texts(html).join(" ");

/** The value of an attribute in the opening of an element; null where it has none. */
export function attribute(html: string, name: string): string | null {
  const opening = new RegExp(`^<${REST}`).exec(html)![0];
  const found = new RegExp(`\\s${name}(?:="([^"]*)")?(?=[\\s>/])`).exec(opening);
  return found === null ? null : decoded(found[1] ?? "");
}
