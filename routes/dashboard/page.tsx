import type { Context } from "hono";
import type { ComponentChildren, ComponentType } from "preact";
import { renderToString } from "preact-render-to-string";
import { LocaleContext, type Viewer, ViewerContext } from "../../islands/lib/context.tsx";
import { createLocale, type Locale } from "../../islands/lib/locale.ts";
import { identityOf } from "../access/identity.ts";
import { Turns } from "../shared/load.ts";
import type { Assets, Manifest } from "./assets.ts";
import { AloneLayout, Layout, type NavName } from "./layout.tsx";
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

export interface PageOptions {
  /** Text of the title, already in the viewer's language. */
  title: (t: Locale["t"]) => string;
  nav: NavName | null;
  /** Entries of the islands that the page has. */
  islands?: string[];
  /** Whether nothing leads to other pages; default false. */
  alone?: boolean;
  status?: 200 | 401 | 404 | 422 | 429 | 500 | 503;
  main: ComponentChildren;
}

const rendering = new Turns(1);

/** A whole page around its main part, in the viewer's language, zone and colours. */
export async function renderPage(
  c: Context,
  assets: Assets,
  options: PageOptions,
): Promise<Response> {
  const { lang, tag, zone, theme, messages } = readPreferences(c);
  const manifest = await assets.manifest();
  const locale = createLocale({ lang, tag, zone, messages });
  const now = Date.now();
  const url = new URL(c.req.url);
  const here = url.pathname + url.search;
  const identity = identityOf(c);
  const viewer: Viewer = {
    role: identity?.role ?? "viewer",
    needsToken: identity !== undefined && identity.via !== "open",
  };
  const html = await rendering.take(async () => {
    const body = renderToString(
      <LocaleContext.Provider value={{ locale, now }}>
        <ViewerContext.Provider value={viewer}>
          {options.alone
            ? <AloneLayout theme={theme} here={here}>{options.main}</AloneLayout>
            : (
              <Layout nav={options.nav} theme={theme} here={here} identity={identity}>
                {options.main}
              </Layout>
            )}
        </ViewerContext.Provider>
      </LocaleContext.Provider>,
    );
    const page = renderToString(
      <html
        lang={lang}
        data-tag={tag}
        data-zone={zone}
        data-now={now}
        data-theme={theme}
        data-role={viewer.role}
        data-needs-token={viewer.needsToken ? "" : undefined}
        data-messages={manifest === null ? undefined : path(manifest.scripts[lang]!.file)}
      >
        <head>
          <meta charset="utf-8" />
          <title>{`${options.title(locale.t)} · etl-improved`}</title>
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <meta name="color-scheme" content="light dark" />
          {manifest !== null && <Links manifest={manifest} lang={lang} islands={options.islands} />}
        </head>
        {/* deno-lint-ignore react-no-danger */}
        <body dangerouslySetInnerHTML={{ __html: body }} />
      </html>,
    );
    // others than pages get their turn, too: a probe must not wait for all who load the dashboard
    await new Promise((done) => setTimeout(done, 0));
    return page;
  });
  return c.html(`<!doctype html>${html}`, options.status ?? 200, {
    ...SECURITY_HEADERS,
    "cache-control": "private, no-cache",
    "content-language": lang,
    vary: "Cookie, Accept-Language",
  });
}

const path = (file: string) => `/etl/assets/${file}`;

interface LinksProps {
  manifest: Manifest;
  lang: string;
  islands: string[] | undefined;
}

function Links({ manifest, lang, islands = [] }: LinksProps) {
  const entries = ["shell", ...islands].map((name) => {
    const entry = manifest.scripts[name];
    if (entry === undefined) throw new Error(`There is no island ${name}`);
    return entry;
  });
  const preloaded = new Set(entries.flatMap((entry) => entry.imports));
  if (islands.length > 0) preloaded.add(manifest.scripts[lang]!.file);
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
  /** Entry of the island: islands/entries/<name>.ts */
  name: string;
  component: ComponentType<P>;
  props: P;
}

/** A part of the page that its script makes alive: rendered here, with its properties beside it. */
export function Island<P extends object>({ name, component: Component, props }: IslandProps<P>) {
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
