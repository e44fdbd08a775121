import "../../islands/lib/addresses.ts";
import { at, renderBelow } from "../../islands/lib/base.ts";
import { baseOf } from "../shared/base_path.ts";
import type { Context } from "hono";
import { type ComponentChildren, type ComponentType, createContext } from "preact";
import { useContext } from "preact/hooks";
import { renderToString } from "preact-render-to-string";
import { runLabels } from "../../store/dashboard.ts";
import type { WrongTokens } from "../access/auth_failures.ts";
import type { Needed } from "../access/route_rules.ts";
import type { AppDeps } from "../shared/deps.ts";
import { Briefly } from "../shared/lookups.ts";
import { LocaleContext, type Viewer, ViewerContext } from "../../islands/lib/context.tsx";
import { createLocale, type Locale } from "../../islands/lib/locale.ts";
import { identityOf } from "../access/identity.ts";
import { Turns } from "../shared/load.ts";
import type { Assets, Manifest } from "./assets.ts";
import { AloneLayout, Layout, type MenuItem, type NavName } from "./layout.tsx";
import { readPreferences } from "./preferences.ts";

/** Nothing inline, nothing from elsewhere. */
const CSP = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

export const SECURITY_HEADERS = {
  "content-security-policy": CSP,
  "x-content-type-options": "nosniff",
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
};

/** What the pages of the dashboard need. */
export interface DashboardDeps extends AppDeps {
  assets: Assets;
  /** What pages show, looked up once for all who load them at the same time. */
  briefly: Briefly;
  wrongTokens: WrongTokens;
}

/** A page of the dashboard, said once: `PAGES` in dashboard.tsx lists them in the order of the menu. */
export type Page = {
  /** Below /etl, as Hono writes it. */
  path: string;
  /** Who may look at it. */
  role: Needed;
  /** Who may look at its data; default: who may look at it. */
  dataRole?: Needed;
  /** What it shows, or an answer of another kind: one that leads elsewhere. */
  load(c: Context, deps: DashboardDeps): Promise<PageContent | Response>;
  /** What its scripts look up, and other forms of it, by path below /etl. */
  data?: Record<string, (c: Context, deps: DashboardDeps) => Promise<Response>>;
} & (OfMenu | { nav: NavName; menu?: undefined });

interface OfMenu {
  /** The line of the menu that is marked, and the title where the content has none. */
  nav: MenuItem["name"];
  /** Its own line in the menu; default: none. */
  menu: Pick<MenuItem, "group" | "key">;
}

export interface PageContent {
  /** In the viewer's language; default: what the menu calls it. */
  title?: (t: Locale["t"]) => string;
  main: ComponentChildren;
  /**
   * What `main` shows beside the viewer's role, language and zone, in a key: it is rendered once for all who load the same
   * within a second. Default: for each of them, as it shows who looks.
   */
  shared?: string;
  /** Whether it shows what rows hold, which no browser keeps. Default: false. */
  holdsRows?: boolean;
  status?: 200 | 401 | 404 | 422 | 429 | 500 | 503;
}

interface Frame {
  /** Absent where nothing leads to other pages. */
  menu?: MenuItem[];
  /** The line of the menu that is marked; null: none. */
  nav: NavName | null;
}

/** Run labels that filters offer. */
const MAX_LABELS = 200;

/** The run labels there are, for filters and suggestions. */
export function knownLabels({ briefly, sql }: DashboardDeps): Promise<string[]> {
  return briefly.get("labels", () => runLabels(sql, { limit: MAX_LABELS }));
}

/** Where the browser asked, for examples: what a proxy says of the protocol counts for nothing else. */
export function originOf(c: Context): string {
  const url = new URL(c.req.url);
  const origin = c.req.header("x-forwarded-proto") === "https" ? `https://${url.host}` : url.origin;
  return origin + baseOf(c);
}

/** The islands that a page has turned out to have. */
const Scripts = createContext(new Set<string>());

/** Has the page load a script: islands/<name>. */
export function useScript(name: string): void {
  useContext(Scripts).add(name);
}

const rendering = new Turns(1);
/** Main parts by what they show, for each server. */
const rendered = new WeakMap<Assets, Briefly>();

interface RenderedMain {
  html: string;
  scripts: Set<string>;
}

/** A whole page around its main part, in the viewer's language, zone and colours. */
export async function renderPage(
  c: Context,
  assets: Assets,
  { title, main, shared, holdsRows = false, status = 200, menu, nav }: PageContent & Frame,
): Promise<Response> {
  const { lang, tag, zone, clock, theme, messages, translate } = readPreferences(c);
  const manifest = await assets.manifest();
  const locale = createLocale({ lang, tag, zone, messages, translate });
  const now = Date.now();
  const url = new URL(c.req.url);
  const here = url.pathname + url.search;
  const identity = identityOf(c);
  const viewer: Viewer = {
    role: identity?.role ?? "viewer",
    needsToken: identity !== undefined && identity.via !== "open",
    origin: originOf(c),
  };
  const scripts = new Set(["shell"]);
  const base = baseOf(c);
  const inContext = (children: ComponentChildren, scripts: Set<string>) => {
    renderBelow(base);
    return renderToString(
      <LocaleContext.Provider value={{ locale, now }}>
        <ViewerContext.Provider value={viewer}>
          <Scripts.Provider value={scripts}>{children}</Scripts.Provider>
        </ViewerContext.Provider>
      </LocaleContext.Provider>,
    );
  };
  const renderMain = (): Promise<RenderedMain> =>
    rendering.take(() => {
      const scripts = new Set<string>();
      return Promise.resolve({ html: inContext(main, scripts), scripts });
    });
  let kept = rendered.get(assets);
  if (kept === undefined) rendered.set(assets, kept = new Briefly());
  const known = shared === undefined
    ? undefined
    : await kept.get(JSON.stringify([shared, viewer, lang, tag, zone, base]), renderMain);
  known?.scripts.forEach((name) => scripts.add(name));
  const place = crypto.randomUUID();
  const html = await rendering.take(async () => {
    const children = known === undefined ? main : place;
    const body = inContext(
      menu === undefined
        ? <AloneLayout theme={theme} clock={clock} here={here}>{children}</AloneLayout>
        : (
          <Layout menu={menu} nav={nav} theme={theme} clock={clock} here={here} identity={identity}>
            {children}
          </Layout>
        ),
      scripts,
    ).replace(place, () => known?.html ?? place);
    const page = renderToString(
      <html
        lang={lang}
        data-tag={tag}
        data-zone={zone}
        data-clock={clock}
        data-now={now}
        data-theme={theme}
        data-role={viewer.role}
        data-origin={viewer.origin}
        data-needs-token={viewer.needsToken ? "" : undefined}
        data-messages={manifest === null ? undefined : at(path(manifest.scripts[lang]!.file))}
        data-said={lang === "es" && manifest !== null
          ? at(path(manifest.scripts.said_es!.file))
          : undefined}
        data-base={base === "" ? undefined : base}
      >
        <head>
          <meta charset="utf-8" />
          <title>{`${title?.(locale.t) ?? locale.t(`nav.${nav!}`)} · etl-improved`}</title>
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <meta name="color-scheme" content="light dark" />
          {manifest !== null && <Links manifest={manifest} lang={lang} scripts={[...scripts]} />}
        </head>
        {/* deno-lint-ignore react-no-danger */}
        <body dangerouslySetInnerHTML={{ __html: body }} />
      </html>,
    );
    // others than pages get their turn, too: a probe must not wait for all who load the dashboard
    await new Promise((done) => setTimeout(done, 0));
    return page;
  });
  return c.html(`<!doctype html>${html}`, status, {
    ...SECURITY_HEADERS,
    "cache-control": holdsRows ? "no-store" : "private, no-cache",
    "content-language": lang,
    vary: "Cookie, Accept-Language",
  });
}

const path = (file: string) => `/etl/assets/${file}`;

interface LinksProps {
  manifest: Manifest;
  lang: string;
  scripts: string[];
}

function Links({ manifest, lang, scripts }: LinksProps) {
  const entries = scripts.map((name) => {
    const entry = manifest.scripts[name];
    if (entry === undefined) throw new Error(`There is no island ${name}`);
    return entry;
  });
  const preloaded = new Set(entries.flatMap((entry) => entry.imports));
  if (scripts.length > 1) preloaded.add(manifest.scripts[lang]!.file);
  return (
    <>
      <link
        rel="preload"
        as="font"
        type="font/woff2"
        href={path(manifest.font)}
        crossorigin="anonymous"
      />
      <link rel="stylesheet" href={path(manifest.style)} />
      <noscript>
        <link rel="stylesheet" href={path(manifest.noscript)} />
      </noscript>
      <link rel="icon" type="image/svg+xml" href={path(manifest.icon)} />
      {[...preloaded].map((file) => <link rel="modulepreload" key={file} href={path(file)} />)}
      {entries.map(({ file }) => <script type="module" key={file} src={path(file)} />)}
    </>
  );
}

interface IslandProps<P extends object> {
  /** Its module: islands/<name>.tsx */
  name: string;
  component: ComponentType<P>;
  props: P;
}

/** A part of the page that its script makes alive: rendered here, with its properties beside it. */
export function Island<P extends object>({ name, component: Component, props }: IslandProps<P>) {
  useScript(name);
  return (
    <>
      <div class="island" data-island={name}>
        <Component {...props} />
      </div>
      <script
        type="application/json"
        // deno-lint-ignore react-no-danger
        dangerouslySetInnerHTML={{ __html: inScript(props) }}
      />
    </>
  );
}

/** JSON that cannot end the script element that holds it. */
function inScript(value: unknown): string {
  return JSON.stringify(value).replaceAll("<", "\\u003c").replaceAll("\u2028", "\\u2028")
    .replaceAll("\u2029", "\\u2029");
}
